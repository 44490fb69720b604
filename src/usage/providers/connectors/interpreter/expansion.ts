/** What a response that holds further exchanges comes to. The outer exchange's reading takes it all up. */

import type { ExchangeInfo, Reading } from "../../../handler.ts";

export interface Expansion {
  /** Bytes of the outer response. */
  push(chunk: Uint8Array): void;
  /** The response is over; `isComplete`: it arrived whole. Once. */
  end(isComplete: boolean): Expanded;
}

export interface Expanded {
  /** Of the inner exchanges whose answers came. */
  readonly readings: readonly Reading[];
  /** Counted by the expansion itself. */
  readonly counts: Readonly<Record<string, number>>;
  /** Some of `counts` were not told by the response. */
  readonly isEstimated: boolean;
  /** Inner writes whose answers did not come, as far as they should have. */
  readonly attempted: number;
  /** Every answer came. */
  readonly isWhole: boolean;
  readonly dims: Readonly<Record<string, string>>;
}

/** An exchange inside another one. `routeId`: of a route that is known; else it is found by method and path. */
export interface InnerRequest extends Pick<ExchangeInfo, "method" | "path" | "query" | "headers"> {
  readonly routeId?: string;
  readonly body: Uint8Array;
}
