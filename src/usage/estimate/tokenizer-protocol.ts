/** What the tokenizer (main thread) and its worker say to each other: one job at a time, one answer for each. */

import type { EncodingName } from "./encoding-of-model.ts";

/** What is counted. */
export type CountSubject =
  | { readonly kind: "text"; readonly text: string }
  /** A request's JSON body: its text is counted (prompt-text.ts). */
  | { readonly kind: "prompt"; readonly body: Uint8Array<ArrayBuffer> };

export interface CountJob {
  readonly id: number;
  readonly encoding: EncodingName;
  readonly subject: CountSubject;
}

/** Why a subject has no count that the worker stands by. */
export type CountFailure =
  /** The body is no JSON document. */
  | "not_json"
  /** A text was so long and so like base64 that it was not held whole. */
  | "left_out"
  | "too_costly"
  | "fault";

export type CountAnswer =
  | { readonly id: number; readonly kind: "counted"; readonly tokens: number; readonly messages: number }
  | { readonly id: number; readonly kind: "failed"; readonly reason: CountFailure };
