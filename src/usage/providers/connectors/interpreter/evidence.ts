/** What meters and predicates may look at in one exchange (of a stream: in one record of it). */

import type { Probes } from "./probes.ts";

export interface Evidence {
  readonly status: number;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** First value, name in lower case. */
  requestHeader(lowerName: string): string | undefined;
  responseHeader(lowerName: string): string | undefined;
  /** What was found in the response so far. */
  readonly response: Probes;
  /** No more of the response will come: what was not found is not there. */
  readonly isResponseWhole: boolean;
  /** The body of kind "text", trimmed; undefined: not whole, or longer than a few bytes. */
  readonly text: string | undefined;
  /** What was found in the request; undefined: its body is not known whole. */
  request(): Probes | undefined;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

/** What is known when the request's head is in: enough for `query` and `when` of a route. */
export type RequestEvidence = Pick<Evidence, "params" | "query" | "requestHeader">;
