/** What can go wrong with the store, as coded errors. */

/**
 * - `data_dir_unwritable`: the data directory cannot be made or written.
 * - `not_a_database`: tallyman.db is something else, or damaged.
 * - `database_replaced`: another file stands where the database was; the next worker opens that.
 * - `schema_too_new`: a newer Tallyman made the database.
 * - `ledger_missing`: there is no ledger in this data directory yet (readers only).
 * - `disk_full`, `disk_io`, `database_locked`, `database_failed`: a write or read failed; trying again may help.
 * - `memory_full`: records waiting for the disk are over the memory bound; this one was dropped and counted.
 * - `store_restarting`: the worker that owns the database ended and is being started again.
 * - `store_closed`: the store was closed.
 * - `unknown_sink`, `too_many_sinks`: a sink that this store was not opened with, or one more than a database can tell apart.
 */
export type StoreErrorCode =
  | "data_dir_unwritable"
  | "not_a_database"
  | "database_replaced"
  | "schema_too_new"
  | "ledger_missing"
  | "disk_full"
  | "disk_io"
  | "database_locked"
  | "database_failed"
  | "memory_full"
  | "store_restarting"
  | "store_closed"
  | "unknown_sink"
  | "too_many_sinks";

/** An error of the store. `code` is stable; `message` says what to do where the user can do something. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
