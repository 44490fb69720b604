/** Whether an event's bytes are still those that were stored: SQLite sees damage of its own pages, not of the texts on them. */

import { crc32 } from "node:zlib";

export function checksumOf(body: string): number {
  return crc32(body);
}

/** True also for an event without a checksum. */
export function isIntact(body: string, checksum: unknown): boolean {
  return checksum === null || checksum === checksumOf(body);
}
