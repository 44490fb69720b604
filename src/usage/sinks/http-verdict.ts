/** What an HTTP answer means for a batch: the table of the contract's section 5. */

import type { Verdict } from "../delivery/sink.ts";
import type { PostResult } from "./http-post.ts";
import { retryAfterMs } from "./retry-after.ts";

/** Answers about the address or the credentials. Redirects are not followed: they count as a wrong address. */
const PAUSING = new Set([401, 403, 404, 410]);

/** Answers about an event in the batch. */
const REFUSING = new Set([400, 422]);

/** Judges the outcome of one attempt. Every answer that the contract does not name is tried again. `nowMs`: epoch milliseconds. */
export function judge(result: PostResult, nowMs: number): Verdict {
  if (result.kind === "failed") return { kind: "retry", reason: result.reason };
  const { status } = result;
  const reason = `HTTP ${status}`;
  if (status >= 200 && status < 300) return { kind: "delivered" };
  if (PAUSING.has(status) || (status >= 300 && status < 400)) return { kind: "pause", reason };
  if (REFUSING.has(status)) return { kind: "refused", reason };
  if (status === 413) return { kind: "too_large", reason };
  const waitMs = retryAfterMs(result.retryAfter, nowMs);
  return { kind: "retry", reason, ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }) };
}
