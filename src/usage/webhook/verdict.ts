/** What an answer of the receiver means for the batch: the table of the contract's section 5. */

import type { PostResult } from "./post.ts";

export type Verdict =
  | { readonly kind: "delivered" }
  /** Tried again with backoff, or when the receiver said. */
  | { readonly kind: "retry"; readonly reason: string; readonly retryAfter: string | undefined }
  /** The receiver takes nothing as things are: no further batch goes out until one has passed. */
  | { readonly kind: "pause"; readonly reason: string }
  /** The receiver does not take this batch: the others go on. */
  | { readonly kind: "hold"; readonly reason: string };

/** Answers about the address or the credentials. Redirects are not followed: they count as a wrong address. */
const PAUSING = new Set([401, 403, 404, 410]);

/** Answers about the batch itself. */
const HOLDING = new Set([400, 413, 422]);

/** Judges the outcome of one attempt. Every answer that the contract does not name is tried again. */
export function judge(result: PostResult): Verdict {
  if (result.kind === "failed") return { kind: "retry", reason: result.reason, retryAfter: undefined };
  const { status, retryAfter } = result;
  const reason = `HTTP ${status}`;
  if (status >= 200 && status < 300) return { kind: "delivered" };
  if (PAUSING.has(status) || (status >= 300 && status < 400)) return { kind: "pause", reason };
  if (HOLDING.has(status)) return { kind: "hold", reason };
  return { kind: "retry", reason, retryAfter };
}
