/**
 * The SQL of delivery: what waits for a sink is frozen into batches, each settled as a whole, or cut in two. A batch
 * keeps its id and its events until then, over restarts and adoptions too, so that a receiver that answered into a
 * broken connection sees the same id again. Every sink has its own batches and its own position in the events.
 */

import { randomUUID } from "node:crypto";
import type { Database } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { ADD_GAP } from "./gap-reports.ts";
import { isIntact } from "./checksum.ts";
import { DELIVERY } from "./migrations.ts";
import type { Owners } from "./owners.ts";
import type { SinkBits } from "./sink-bits.ts";
import type { OutboxBatch } from "./store.ts";

/** Every method but `hold`, `letGo` and the counts is to be called inside a transaction. */
export interface Outbox {
  /**
   * The oldest batch of ours for the sink that nobody works on, else a new one of at most `maxEvents` events whose bodies,
   * as a JSON array, fit `maxBytes` (one event at least). The caller must `hold` it once committed.
   */
  take(sink: string, maxEvents: number, maxBytes: number, nowMs: number): OutboxBatch | undefined;
  /** Marks a batch as worked on. */
  hold(batchId: string): void;
  /** Ends the work on a batch: the next `take` may give it again. */
  letGo(batchId: string): void;
  /** A batch of ours as it stands. */
  read(batchId: string): OutboxBatch | undefined;
  /** Keeps what the sink made of the batch's events, once and for all. */
  freeze(batchId: string, requests: string): void;
  /**
   * The sink has the batch, whoever owns it by now. Returns how many of its events wait for no sink any more; undefined for
   * one that is not known.
   */
  settle(batchId: string): number | undefined;
  /** The sink refuses the batch for good: its events become dead letters. Returns as `settle`; undefined also for one that is not ours. */
  refuse(batchId: string, reason: string, nowMs: number): number | undefined;
  /** Puts two batches in the place of one; none where it is not known, not ours, or of a single event. The caller must `hold` them once committed. */
  split(batchId: string): OutboxBatch[];
  /** Events of ours that wait for any of our sinks, or for one of them. */
  pending(sink?: string): number;
}

/** Why an event that is not as it was stored became a dead letter. */
const DAMAGED = "damaged on disk";

interface Row {
  readonly position: number;
  readonly id: string;
  readonly body: string;
}

interface Frozen {
  readonly id: string;
  readonly sink: number;
  readonly positions: string;
  readonly createdAtMs: number;
  readonly requests: string | undefined;
}

const BATCH_COLUMNS = "id, sink, positions, created_at_ms, requests";

/** An event waits for one sink less. It is dead when no sink is left and one has refused it. */
const LEAVE = `
  UPDATE events SET waiting = waiting & ~?1, delivery = CASE
      WHEN waiting & ~?1 <> 0 THEN ${DELIVERY.pending}
      WHEN EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.position = events.position) THEN ${DELIVERY.dead}
      ELSE ${DELIVERY.delivered} END
  WHERE position IN (SELECT value FROM json_each(?2)) AND waiting & ?1 <> 0`;

/** Prepares the outbox's statements. `taken` are the batches that this process worked on before its worker was started again. */
export function createOutbox(db: Database, owners: Owners, sinks: SinkBits, taken: readonly string[]): Outbox {
  const held = new Set(taken);
  const inOrder = db.prepare("SELECT id FROM batches WHERE owner = ? AND sink = ? ORDER BY first");
  const find = db.prepare(`SELECT ${BATCH_COLUMNS} FROM batches WHERE id = ?`);
  const findOwn = db.prepare(`SELECT ${BATCH_COLUMNS} FROM batches WHERE id = ? AND owner = ?`);
  const members = db.prepare("SELECT position, id, body, checksum FROM events WHERE position IN (SELECT value FROM json_each(?)) AND waiting & ? <> 0 ORDER BY position");
  const waiting = db.prepare("SELECT position, id, body FROM events WHERE owner = ? AND position > ? AND waiting <> 0 AND waiting & ? <> 0 ORDER BY position LIMIT ?");
  const cursor = db.prepare("SELECT position FROM cursors WHERE owner = ? AND sink = ?");
  const advance = db.prepare("INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT (owner, sink) DO UPDATE SET position = max(position, excluded.position)");
  const insert = db.prepare("INSERT INTO batches (id, owner, sink, created_at_ms, events, positions, first) VALUES (?, ?, ?, ?, ?, ?, ?)");
  const remove = db.prepare("DELETE FROM batches WHERE id = ?");
  const keepRequests = db.prepare("UPDATE batches SET requests = ? WHERE id = ? AND requests IS NULL");
  const leave = db.prepare(LEAVE);
  const countLeft = db.prepare("SELECT count(*) AS n FROM events WHERE position IN (SELECT value FROM json_each(?)) AND waiting = 0");
  const bury = db.prepare("INSERT OR REPLACE INTO dead_letters SELECT value, ?, ?, ?, ? FROM json_each(?)");
  const known = db.prepare("SELECT position FROM dead_letters WHERE position IN (SELECT value FROM json_each(?)) AND reason = ?");
  const addGap = db.prepare(ADD_GAP);
  const countWaiting = db.prepare("SELECT count(*) AS n FROM events WHERE owner = ? AND waiting <> 0 AND waiting & ? <> 0");

  const read = (batchId: string): Frozen | undefined => frozenOf(findOwn.get(batchId, owners.id));

  /** What is not as it was stored is delivered to nobody: a dead letter, and a gap. */
  const setAside = ({ id, sink }: Frozen, damaged: readonly number[]): void => {
    const positions = JSON.stringify(damaged);
    const isCounted = new Set(known.all(positions, DAMAGED).map((row) => integerOf(row["position"])));
    const fresh = damaged.filter((position) => !isCounted.has(position)).length;
    if (fresh > 0) addGap.run("event_damaged", fresh, Date.now());
    bury.run(sink, id, DAMAGED, Date.now(), positions);
    leave.run(1 << sink, positions);
  };

  const batchOf = (frozen: Frozen): OutboxBatch | undefined => {
    const rows = members.all(frozen.positions, 1 << frozen.sink);
    const damaged = rows.filter((row) => !isIntact(textOf(row["body"]), row["checksum"])).map((row) => integerOf(row["position"]));
    if (damaged.length > 0) setAside(frozen, damaged);
    const events = rows.map(rowOf).flatMap(({ position, id, body }) => (damaged.includes(position) ? [] : [{ id, body }]));
    const { id, createdAtMs, requests } = frozen;
    return events.length === 0 ? undefined : { id, createdAtMs, events, ...(requests === undefined ? {} : { requests }) };
  };

  const takeFrozen = (bit: number): OutboxBatch | undefined => {
    for (const row of inOrder.all(owners.id, bit)) {
      const id = textOf(row["id"]);
      if (held.has(id)) continue;
      const frozen = read(id);
      const batch = frozen && batchOf(frozen);
      if (batch !== undefined) return batch;
      remove.run(id);
    }
    return undefined;
  };

  const write = (bit: number, positions: readonly number[], createdAtMs: number): Frozen => {
    const frozen = { id: `msg_${randomUUID()}`, sink: bit, positions: JSON.stringify(positions), createdAtMs, requests: undefined };
    insert.run(frozen.id, owners.id, bit, createdAtMs, positions.length, frozen.positions, positions[0] ?? 0);
    return frozen;
  };

  const takeWaiting = (bit: number, maxEvents: number, maxBytes: number, nowMs: number): OutboxBatch | undefined => {
    for (const ownerId of owners.ownedIds()) {
      for (;;) {
        const after = integerOf(cursor.get(ownerId, bit)?.["position"] ?? 0);
        const positions = fitting(waiting.iterate(ownerId, after, 1 << bit, maxEvents), maxBytes);
        const last = positions.at(-1);
        if (last === undefined) break;
        advance.run(ownerId, bit, last);
        const batch = batchOf(write(bit, positions, nowMs));
        // None: all of it was damaged.
        if (batch !== undefined) return batch;
      }
    }
    return undefined;
  };

  const end = (frozen: Frozen | undefined): number | undefined => {
    if (frozen === undefined) return undefined;
    leave.run(1 << frozen.sink, frozen.positions);
    remove.run(frozen.id);
    return integerOf(countLeft.get(frozen.positions)?.["n"]);
  };

  return {
    take(sink, maxEvents, maxBytes, nowMs) {
      const bit = sinks.bitOf(sink);
      return takeFrozen(bit) ?? takeWaiting(bit, maxEvents, maxBytes, nowMs);
    },
    hold: (batchId) => void held.add(batchId),
    letGo: (batchId) => void held.delete(batchId),
    read(batchId) {
      const frozen = read(batchId);
      return frozen && batchOf(frozen);
    },
    freeze: (batchId, requests) => void keepRequests.run(requests, batchId),
    settle: (batchId) => end(frozenOf(find.get(batchId))),
    refuse(batchId, reason, nowMs) {
      const frozen = read(batchId);
      if (frozen !== undefined) bury.run(frozen.sink, frozen.id, reason, nowMs, frozen.positions);
      return end(frozen);
    },
    split(batchId) {
      const frozen = read(batchId);
      const positions = frozen === undefined ? [] : members.all(frozen.positions, 1 << frozen.sink).map((row) => integerOf(row["position"]));
      if (frozen === undefined || positions.length < 2) return [];
      const middle = Math.ceil(positions.length / 2);
      remove.run(batchId);
      return [positions.slice(0, middle), positions.slice(middle)].flatMap((part) => batchOf(write(frozen.sink, part, frozen.createdAtMs)) ?? []);
    },
    pending(sink) {
      const mask = sink === undefined ? sinks.mask : 1 << sinks.bitOf(sink);
      return db.read(() => owners.ownedIds().reduce((sum, id) => sum + integerOf(countWaiting.get(id, mask)?.["n"]), 0));
    },
  };
}

/** Events of every owner that wait for any sink (readers have no outbox of their own). */
export function countAllPending(db: Database): number {
  return integerOf(db.read(() => db.prepare("SELECT count(*) AS n FROM events WHERE waiting <> 0").get())?.["n"]);
}

/** The positions of the first rows whose bodies, as a JSON array, fit `maxBytes`; one at least. */
function fitting(rows: Iterable<Record<string, unknown>>, maxBytes: number): number[] {
  const positions: number[] = [];
  let bytes = 1;
  for (const row of rows) {
    const { position, body } = rowOf(row);
    bytes += Buffer.byteLength(body) + 1;
    if (positions.length > 0 && bytes > maxBytes) break;
    positions.push(position);
  }
  return positions;
}

function rowOf(row: Record<string, unknown>): Row {
  return { position: integerOf(row["position"]), id: textOf(row["id"]), body: textOf(row["body"]) };
}

function frozenOf(row: Record<string, unknown> | undefined): Frozen | undefined {
  if (row === undefined) return undefined;
  return {
    id: textOf(row["id"]),
    sink: integerOf(row["sink"]),
    positions: textOf(row["positions"]),
    createdAtMs: integerOf(row["created_at_ms"]),
    requests: row["requests"] === null ? undefined : textOf(row["requests"]),
  };
}
