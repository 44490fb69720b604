/**
 * The schema and how it grows: each entry of MIGRATIONS takes a database from version i to i+1 (PRAGMA user_version).
 * An entry that has been released is never changed; a new one is added.
 */

import { randomUUID } from "node:crypto";
import type { Database } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { StoreError } from "./store-error.ts";

/** `events.delivery`: how a record stands. 2 was a pending record in a batch, in databases of version 1. */
export const DELIVERY = { none: 0, pending: 1, delivered: 3, dead: 4 } as const;

/**
 * events is the ledger and the outbox in one, so that an event is one insert. `position` needs no AUTOINCREMENT
 * (a page write for each commit) because pruning keeps the newest row, so that positions never come again.
 * `owner` is who saw the flow and never changes: adoption marks the owner (`adopted_by`), not its thousands of events.
 * `recovered` marks what adoption stored for a flow that never ended. A batch holds the positions of its events: its
 * membership and webhook-id outlive the process.
 */
const VERSION_1 = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL, process_start TEXT NOT NULL, host TEXT NOT NULL, pid_namespace TEXT NOT NULL,
    heartbeat_ms INTEGER NOT NULL, is_closed INTEGER NOT NULL DEFAULT 0, adopted_by INTEGER
  ) STRICT;
  CREATE TABLE intents (
    flow_id TEXT PRIMARY KEY, owner INTEGER NOT NULL, started_at_ms INTEGER NOT NULL, delivery INTEGER NOT NULL,
    unknown_event TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    time_ms INTEGER NOT NULL, delivery INTEGER NOT NULL, owner INTEGER NOT NULL, recovered INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_time ON events (time_ms);
  CREATE INDEX events_pending ON events (owner, position) WHERE delivery = 1;
  CREATE TABLE batches (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL, created_at_ms INTEGER NOT NULL,
    events INTEGER NOT NULL, positions TEXT NOT NULL
  ) STRICT;
  CREATE TABLE gaps (kind TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE jobs (key TEXT PRIMARY KEY, started_at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('pruned', '0');
`;

/**
 * Several sinks. `waiting` is the set of sinks (bits, see `sinks`) that have yet to take the event; it is `pending` while
 * that is not empty. A sink's position in the events of an owner is its cursor: what is at or before it has been frozen
 * into batches, what is after it and waits has not. `batches.first` is the batch's first position, by which batches keep
 * the order of their events when one is split; `requests` are the bytes that a sink made of the events, where it does
 * not send them as they are. A dead letter keeps the id of the batch in which it was refused, for its replay.
 */
const VERSION_2 = `
  CREATE TABLE sinks (id TEXT PRIMARY KEY, bit INTEGER NOT NULL UNIQUE) STRICT, WITHOUT ROWID;
  INSERT INTO sinks VALUES ('webhook', 0);
  CREATE TABLE cursors (owner INTEGER, sink INTEGER, position INTEGER NOT NULL, PRIMARY KEY (owner, sink)) STRICT, WITHOUT ROWID;
  INSERT INTO cursors SELECT owner, 0, max(position) FROM events WHERE delivery >= 2 GROUP BY owner;
  DROP INDEX events_pending;
  ALTER TABLE events ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
  UPDATE events SET waiting = 1, delivery = 1 WHERE delivery IN (1, 2);
  CREATE INDEX events_waiting ON events (owner, position, waiting) WHERE waiting <> 0;
  ALTER TABLE intents ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
  UPDATE intents SET waiting = 1 WHERE delivery = 1;
  ALTER TABLE batches ADD COLUMN sink INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE batches ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE batches ADD COLUMN requests TEXT;
  UPDATE batches SET first = positions ->> '$[0]';
  CREATE INDEX batches_in_order ON batches (owner, sink, first);
  CREATE TABLE dead_letters (
    position INTEGER, sink INTEGER, batch TEXT NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (position, sink)
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE gaps ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
`;

/** When the part of a gap that is not reported yet began. */
const VERSION_3 = "ALTER TABLE gaps ADD COLUMN since_ms INTEGER";

/** Of `body` (checksum.ts). NULL: stored by an earlier version, and not checked. */
const VERSION_4 = "ALTER TABLE events ADD COLUMN checksum INTEGER";

const MIGRATIONS: readonly string[] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4];

/** Brings the schema up to date and returns the deployment id, made once whoever comes first; `knownId` in a new database. */
export function migrate(db: Database, knownId?: string): string {
  if (schemaVersion(db) < MIGRATIONS.length) {
    db.transaction(() => {
      for (let version = schemaVersion(db); version < MIGRATIONS.length; version++) db.exec(MIGRATIONS[version] ?? "");
      db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
      db.prepare("INSERT OR IGNORE INTO meta VALUES ('deployment_id', ?)").run(knownId ?? randomUUID());
    }, "full");
  }
  return readDeploymentId(db);
}

/** Checks that a reader understands the database. */
export function checkSchema(db: Database): void {
  if (schemaVersion(db) === 0) {
    throw new StoreError("ledger_missing", `The ledger at ${db.path} is empty. It is filled by "tallyman serve" or "tallyman run".`);
  }
}

/** The id in every event's `source`. */
export function readDeploymentId(db: Database): string {
  return textOf(db.prepare("SELECT value FROM meta WHERE key = 'deployment_id'").get()?.["value"]);
}

function schemaVersion(db: Database): number {
  const version = integerOf(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version > MIGRATIONS.length) {
    throw new StoreError("schema_too_new", `${db.path} was made by a newer Tallyman (schema ${version}, this one knows ${MIGRATIONS.length}). Install that version or set TALLYMAN_DATA_DIR to another directory.`);
  }
  return version;
}
