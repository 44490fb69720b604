/** The memory of another process, as Linux tells it. */

import { readFileSync } from "node:fs";

const SAMPLE_MS = 20;
const KIB = 1024;

/** Whether this system tells it. */
export const isMemoryTold = process.platform === "linux";

/** Resident bytes now; 0 where the system does not tell. */
export function residentBytes(pid: number): number {
  if (!isMemoryTold) return 0;
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * KIB;
}

/** The most resident bytes that were seen while some work went on. */
export async function peakDuring(pid: number, work: () => Promise<void>): Promise<number> {
  let peak = residentBytes(pid);
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(pid));
  }, SAMPLE_MS);
  try {
    await work();
    return Math.max(peak, residentBytes(pid));
  } finally {
    clearInterval(timer);
  }
}
