/** Flow and event ids: UUIDv7 (RFC 9562 section 5.7), time-ordered, 74 random bits. */

import { randomFillSync } from "node:crypto";

const POOL_BYTES = 4096;
const RANDOM_BYTES_PER_ID = 10;
const pool = Buffer.allocUnsafe(POOL_BYTES);
let poolOffset = POOL_BYTES;

/** A new UUIDv7 for a moment given in epoch milliseconds (0 to 2^48-1). */
export function newFlowId(nowMs: number): string {
  if (poolOffset + RANDOM_BYTES_PER_ID > POOL_BYTES) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const random = pool.toString("hex", poolOffset, poolOffset + RANDOM_BYTES_PER_ID);
  poolOffset += RANDOM_BYTES_PER_ID;
  const time = Math.max(0, Math.trunc(nowMs)).toString(16).padStart(12, "0");
  // 4 hex digits of the variant group: two fixed bits "10", then random ones.
  const variant = "89ab"[Number.parseInt(random.charAt(3), 16) & 3] as string;
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`;
}

/** The event id of the n-th event of a flow: the flow id itself, then with a suffix (contract section 4). */
export function eventId(flowId: string, sequence: number): string {
  return sequence === 0 ? flowId : `${flowId}-${sequence}`;
}
