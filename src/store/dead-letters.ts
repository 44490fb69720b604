/**
 * The SQL of dead letters: events that a sink refused for good. One that is replayed waits for its sink again, as a batch
 * of its own under the id that it was refused with; whoever delivers adopts it from the process that replays.
 */

import type { Database } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { DELIVERY } from "./migrations.ts";
import type { DeadLetter, DeadLetterQuery } from "./store.ts";

export interface DeadLetters {
  /** In the order in which they were refused. */
  list(query: DeadLetterQuery): DeadLetter[];
  count(): number;
}

/** To be called inside a transaction. Each handles `limit` dead letters at most, of these events or of all, and returns how many. */
export interface DeadLetterChanges {
  replay(ids: readonly string[] | undefined, limit: number, nowMs: number): number;
  /** The events stay in the ledger as `dead`. */
  discard(ids: readonly string[] | undefined, limit: number): number;
}

const DEFAULT_LIMIT = 1000;

const FROM = `
  FROM dead_letters JOIN events ON events.position = dead_letters.position JOIN sinks ON sinks.bit = dead_letters.sink
  WHERE (?1 IS NULL OR events.id IN (SELECT value FROM json_each(?1))) ORDER BY dead_letters.at_ms, dead_letters.position LIMIT ?2`;

/** Prepares the questions. */
export function createDeadLetters(db: Database): DeadLetters {
  const list = db.prepare(`SELECT events.id, events.body, sinks.id AS sink, dead_letters.reason, dead_letters.at_ms ${FROM}`);
  const count = db.prepare("SELECT count(*) AS n FROM dead_letters");
  return {
    list: ({ ids, limit = DEFAULT_LIMIT }) =>
      db.read(() => list.all(idsJson(ids), limit)).map((row) => ({
        id: textOf(row["id"]),
        sink: textOf(row["sink"]),
        reason: textOf(row["reason"]),
        refusedAtMs: integerOf(row["at_ms"]),
        body: textOf(row["body"]),
      })),
    count: () => integerOf(db.read(() => count.get())?.["n"]),
  };
}

/** Prepares the changes, for the owner that makes them. */
export function createDeadLetterChanges(db: Database, ownerId: number): DeadLetterChanges {
  const find = db.prepare(`SELECT dead_letters.position, dead_letters.sink, dead_letters.batch ${FROM}`);
  const remove = db.prepare("DELETE FROM dead_letters WHERE position = ? AND sink = ?");
  // The owner is whoever answers for the delivery: the replaying process, and then its adopter.
  const revive = db.prepare(`UPDATE events SET waiting = waiting | ?, delivery = ${DELIVERY.pending}, owner = ? WHERE position = ?`);
  const insert = db.prepare("INSERT INTO batches (id, owner, sink, created_at_ms, events, positions, first) VALUES (?, ?, ?, ?, 1, ?, ?)");
  const advance = db.prepare("INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT (owner, sink) DO UPDATE SET position = max(position, excluded.position)");

  const each = (ids: readonly string[] | undefined, limit: number, change: (position: number, sink: number, batch: string) => void): number => {
    const rows = find.all(idsJson(ids), limit);
    for (const row of rows) {
      const position = integerOf(row["position"]);
      const sink = integerOf(row["sink"]);
      remove.run(position, sink);
      change(position, sink, textOf(row["batch"]));
    }
    return rows.length;
  };

  return {
    replay: (ids, limit, nowMs) =>
      each(ids, limit, (position, sink, batch) => {
        revive.run(1 << sink, ownerId, position);
        insert.run(batch, ownerId, sink, nowMs, JSON.stringify([position]), position);
        advance.run(ownerId, sink, position);
      }),
    discard: (ids, limit) => each(ids, limit, () => undefined),
  };
}

function idsJson(ids: readonly string[] | undefined): string | null {
  return ids === undefined ? null : JSON.stringify(ids);
}
