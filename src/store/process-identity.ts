/** Who this process is, and whether another one on this machine still lives. */

import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** Enough to tell a living process from one that is gone, also when its pid was given out again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot at which it started (proc_pid_stat(5), field 22); "" where the system does not tell. */
  readonly processStart: string;
  readonly host: string;
  /** Pids of another namespace (a container beside us under one host name) mean nothing here; "" where there are none. */
  readonly pidNamespace: string;
}

/** The identity of the running process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, processStart: processStart(process.pid), host: hostname(), pidNamespace: pidNamespace() };
}

/** A live process refreshes its heartbeat every second; one that has not for this long is taken for dead. */
export const HEARTBEAT_LIMIT_MS = 30_000;

/** The limit for a process whose pid cannot be looked up but whose clock is ours (a container that was started again). */
const SAME_HOST_LIMIT_MS = 10_000;

/** Long enough to see a beat of whoever lives. */
const WATCH_MS = 5000;

/** How long another process has been silent: as this one has seen it, which no jump of a clock changes, and by the clocks of both. */
export interface Silence {
  readonly watchedMs: number;
  readonly clockMs: number;
}

/**
 * Whether `other` is gone. A stopped process (SIGSTOP) counts as gone once it is silent. An old heartbeat alone is no proof,
 * because clocks jump and differ: it must stay as it is while it is watched.
 */
export function isDead(other: ProcessIdentity, silence: Silence, self: ProcessIdentity): boolean {
  if (other.host !== self.host) return isSilent(silence, HEARTBEAT_LIMIT_MS);
  if (other.pidNamespace !== self.pidNamespace) return isSilent(silence, SAME_HOST_LIMIT_MS);
  if (!isRunning(other.pid)) return true;
  const start = processStart(other.pid);
  if (start !== "" && other.processStart !== "" && start !== other.processStart) return true;
  return isSilent(silence, HEARTBEAT_LIMIT_MS);
}

function isSilent({ watchedMs, clockMs }: Silence, limitMs: number): boolean {
  return watchedMs > limitMs || (watchedMs > WATCH_MS && clockMs > limitMs);
}

/** Signal 0 tests for existence; EPERM means that it exists and belongs to somebody else. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

function processStart(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in brackets and may hold spaces and brackets itself.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return ""; // No /proc on this system, or the process is gone.
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return ""; // No namespaces on this system.
  }
}
