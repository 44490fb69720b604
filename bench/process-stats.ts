/** What a process costs, read from Linux's /proc: all its threads, nanosecond CPU time. */

import { readdirSync, readFileSync } from "node:fs";

/**
 * CPU time of the process in microseconds, user and system, all live threads. sched(7)'s run time, not the ticks of
 * /proc/PID/stat: those are 10 ms.
 */
export function cpuUs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return nanoseconds / 1000;
}

/** Resident memory in bytes. */
export function rssBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} has ended`);
  return Number(kib) * 1024;
}
