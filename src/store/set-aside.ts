/**
 * A database that cannot be read is moved away, with SQLite's files beside it, so that a new one can take its place. Any
 * number of processes may find the damage at once: one of them moves the file, the others find a sound one.
 */

import { closeSync, existsSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { StoreError } from "./store-error.ts";

/** A lock older than this was left by a process that died with it. */
const STALE_LOCK_MS = 10_000;

const POLL_MS = 20;

/**
 * Moves the database away if `isDamaged` still says so once nobody else can, and has a new one made before anybody else
 * looks. Returns the old one's new path, undefined when it is sound.
 */
export function setAside(path: string, nowMs: number, isDamaged: () => boolean, makeNew: () => void): string | undefined {
  const lock = `${path}.set-aside`;
  takeLock(lock);
  try {
    if (!isDamaged()) return undefined;
    const target = freeName(`${path}.damaged-${new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "")}`);
    // The log and its index first: without them a new file of the old name is no heir to them.
    for (const suffix of ["-wal", "-shm", ""]) if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
    makeNew();
    return target;
  } catch (error) {
    throw new StoreError("not_a_database", `${path} is damaged and cannot be moved away (${error instanceof Error ? error.message : "unknown reason"}). Move it away, or set TALLYMAN_DATA_DIR to another directory.`, error);
  } finally {
    rmSync(lock, { force: true });
  }
}

function takeLock(lock: string): void {
  for (;;) {
    try {
      closeSync(openSync(lock, "wx", 0o600));
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const bornMs = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
    if (bornMs !== undefined && Math.abs(Date.now() - bornMs) > STALE_LOCK_MS) rmSync(lock, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
  }
}

function freeName(name: string): string {
  let free = name;
  for (let n = 2; existsSync(free); n++) free = `${name}-${n}`;
  return free;
}
