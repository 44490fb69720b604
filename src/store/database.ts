/**
 * The one place that imports node:sqlite (its class is being renamed upstream). Opens the database, sets the
 * pragmas, runs transactions and turns SQLite's result codes into StoreErrors. Runs in the store's worker thread:
 * every call here is synchronous and may wait for the disk.
 */

import { closeSync, existsSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { StatementSync } from "node:sqlite";
import { StoreError } from "./store-error.ts";
import type { StoreErrorCode } from "./store-error.ts";

export type Statement = StatementSync;

/** Whether a transaction waits for the disk (`full`) or leaves that to a later one (`normal`): sqlite.org/pragma.html#pragma_synchronous. */
export type Sync = "full" | "normal";

export interface Database {
  readonly path: string;
  prepare(sql: string): Statement;
  exec(sql: string): void;
  /** Runs `work` between BEGIN IMMEDIATE and COMMIT; on any failure rolls back and throws a StoreError. */
  transaction<T>(work: () => T, sync: Sync): T;
  /** Runs `work` and turns what SQLite throws into a StoreError. */
  read<T>(work: () => T): T;
  close(): void;
}

export interface DatabaseOptions {
  readonly path: string;
  readonly isReadOnly?: boolean;
  /** How long a call waits for another process that holds the write lock. */
  readonly busyTimeoutMs: number;
  /** The file never grows past this; writes then fail with `disk_full`. */
  readonly maxBytes?: number | undefined;
}

/** Three events of the usual size fit one page, and a group commit touches fewer of them: 15 % less CPU than 4096. */
const PAGE_BYTES = 8192;

/** Pages in the WAL before a commit copies them into the database file: 8 MiB. */
const CHECKPOINT_PAGES = 1000;

/** Page cache, as SQLite takes it: negative KiB. */
const CACHE_SIZE = -4096;

/** Opens the file, makes it (mode 0600) if it is missing, in WAL mode. Throws StoreError. */
export function openDatabase(options: DatabaseOptions): Database {
  const { path } = options;
  if (options.isReadOnly === true && !existsSync(path)) {
    throw new StoreError("ledger_missing", `There is no ledger at ${path} yet. It is made by the first "tallyman serve" or "tallyman run".`);
  }
  try {
    if (options.isReadOnly !== true) makePrivateFile(path);
    const handle = new DatabaseSync(path, { readOnly: options.isReadOnly === true, timeout: options.busyTimeoutMs });
    configure(handle, options);
    return wrap(handle, path);
  } catch (error) {
    throw openingError(error, path);
  }
}

/** SQLite gives its -wal and -shm files the mode of the database file. */
function makePrivateFile(path: string): void {
  closeSync(openSync(path, "a", 0o600));
}

function configure(handle: DatabaseSync, options: DatabaseOptions): void {
  if (options.isReadOnly !== true) {
    // Both count only where the file is made. Free pages go back to the file system in steps, after pruning.
    handle.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL`);
    enterWalMode(handle, options.busyTimeoutMs);
    handle.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA journal_size_limit = ${16 * 1024 * 1024}`);
    if (options.maxBytes !== undefined) handle.exec(`PRAGMA max_page_count = ${Math.ceil(options.maxBytes / PAGE_BYTES)}`);
  }
  handle.exec(`PRAGMA cache_size = ${CACHE_SIZE}; PRAGMA temp_store = MEMORY`);
  handle.prepare("SELECT count(*) FROM sqlite_schema").get();
}

/** Changing the journal mode needs the file alone and does not call the busy handler: several processes may try at once. */
function enterWalMode(handle: DatabaseSync, timeoutMs: number): void {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      handle.exec("PRAGMA journal_mode = WAL");
      return;
    } catch (error) {
      if (resultCode(error) !== SQLITE_BUSY || Date.now() >= deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

function wrap(handle: DatabaseSync, path: string): Database {
  const begin = handle.prepare("BEGIN IMMEDIATE");
  const commit = handle.prepare("COMMIT");
  let current: Sync | undefined;
  const setSync = (sync: Sync): void => {
    if (sync === current) return;
    handle.exec(sync === "full" ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    current = sync;
  };
  return {
    path,
    prepare: (sql) => handle.prepare(sql),
    exec: (sql) => handle.exec(sql),
    transaction(work, sync) {
      try {
        setSync(sync);
        begin.run();
        const result = work();
        commit.run();
        return result;
      } catch (error) {
        rollBack(handle);
        throw toStoreError(error);
      }
    },
    read(work) {
      try {
        return work();
      } catch (error) {
        throw toStoreError(error);
      }
    },
    close: () => handle.close(),
  };
}

/** A full disk rolls back by itself, so that there may be nothing left to roll back. */
function rollBack(handle: DatabaseSync): void {
  if (handle.isTransaction) handle.exec("ROLLBACK");
}

/** Primary result codes: sqlite.org/rescode.html. */
const SQLITE_BUSY = 5;
const CODES: ReadonlyMap<number, StoreErrorCode> = new Map([
  [SQLITE_BUSY, "database_locked"],
  [6, "database_locked"],
  [8, "data_dir_unwritable"],
  [10, "disk_io"],
  [11, "not_a_database"],
  [13, "disk_full"],
  [14, "data_dir_unwritable"],
  [26, "not_a_database"],
]);

function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode & 0xff;
}

/** Any failure of a statement as a StoreError. */
export function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const code = CODES.get(resultCode(error) ?? -1) ?? "database_failed";
  return new StoreError(code, error instanceof Error ? error.message : String(error), error);
}

function openingError(error: unknown, path: string): StoreError {
  const found = toStoreError(error);
  switch (found.code) {
    case "not_a_database":
      return new StoreError(found.code, `${path} is not a Tallyman database, or it is damaged. Move it away, or set TALLYMAN_DATA_DIR to another directory.`, error);
    case "database_locked":
      return new StoreError(found.code, `${path} is locked by another program. End that program, or set TALLYMAN_DATA_DIR to another directory.`, error);
    case "database_failed":
    case "data_dir_unwritable":
      return new StoreError("data_dir_unwritable", `${path} cannot be opened for writing (${found.message}). Make its directory writable for this user, or set TALLYMAN_DATA_DIR to one that is.`, error);
    default:
      return new StoreError(found.code, `${path} cannot be opened: ${found.message}.`, error);
  }
}

/** A text column. */
export function textOf(value: unknown): string {
  if (typeof value !== "string") throw new StoreError("not_a_database", "A text column of the ledger holds something else.");
  return value;
}

/** An integer column within 2^53. */
export function integerOf(value: unknown): number {
  if (typeof value !== "number") throw new StoreError("not_a_database", "An integer column of the ledger holds something else.");
  return value;
}
