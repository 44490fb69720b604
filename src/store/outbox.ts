/**
 * The SQL of delivery: pending events are frozen into batches, and a batch is settled as a whole. A batch keeps its
 * id and its events until it is delivered, over restarts and adoptions too, so that a receiver that answered into a
 * broken connection sees the same webhook-id again.
 */

import { randomUUID } from "node:crypto";
import type { Database } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { DELIVERY } from "./migrations.ts";
import type { Owners } from "./owners.ts";
import type { OutboxBatch } from "./store.ts";

export interface Outbox {
  /**
   * The oldest batch of ours that nobody works on, else a new one of at most `maxEvents` events whose bodies, as a JSON
   * array, fit `maxBytes` (one event at least). To be called inside a transaction. The caller must `hold` it once committed.
   */
  take(maxEvents: number, maxBytes: number, nowMs: number): OutboxBatch | undefined;
  /** Marks a batch as worked on. */
  hold(batchId: string): void;
  /** Ends the work on a batch: the next `take` may give it again. */
  letGo(batchId: string): void;
  /** Marks the events of a batch delivered and forgets the batch. Does nothing for one that is not known. */
  settle(batchId: string): void;
  /** Pending events of ours, batched ones included. */
  pending(): number;
}

interface Row {
  readonly position: number;
  readonly id: string;
  readonly body: string;
}

/** Prepares the outbox's statements. `taken` are the batches that this process worked on before its worker was started again. */
export function createOutbox(db: Database, owners: Owners, taken: readonly string[]): Outbox {
  const held = new Set(taken);
  const frozen = db.prepare("SELECT id, positions FROM batches WHERE owner = ? ORDER BY seq");
  const members = db.prepare(`
    SELECT position, id, body FROM events
    WHERE position IN (SELECT value FROM json_each(?)) AND delivery = ${DELIVERY.claimed} ORDER BY position`);
  const waiting = db.prepare("SELECT position, id, body FROM events WHERE owner = ? AND delivery = 1 ORDER BY position LIMIT ?");
  const mark = db.prepare("UPDATE events SET delivery = ? WHERE position IN (SELECT value FROM json_each(?))");
  const insert = db.prepare("INSERT INTO batches (id, owner, created_at_ms, events, positions) VALUES (?, ?, ?, ?, ?)");
  const find = db.prepare("SELECT positions FROM batches WHERE id = ?");
  const remove = db.prepare("DELETE FROM batches WHERE id = ?");
  const countWaiting = db.prepare("SELECT count(*) AS n FROM events WHERE owner = ? AND delivery = 1");
  const countFrozen = db.prepare("SELECT coalesce(sum(events), 0) AS n FROM batches WHERE owner = ?");

  const takeFrozen = (): OutboxBatch | undefined => {
    for (const row of frozen.all(owners.id)) {
      const id = textOf(row["id"]);
      if (held.has(id)) continue;
      const rows = members.all(textOf(row["positions"])).map(rowOf);
      if (rows.length > 0) return { id, events: rows };
      remove.run(id);
    }
    return undefined;
  };

  const freeze = (rows: readonly Row[], nowMs: number): OutboxBatch => {
    const id = `msg_${randomUUID()}`;
    const positions = JSON.stringify(rows.map((row) => row.position));
    mark.run(DELIVERY.claimed, positions);
    insert.run(id, owners.id, nowMs, rows.length, positions);
    return { id, events: rows };
  };

  const takeWaiting = (maxEvents: number, maxBytes: number, nowMs: number): OutboxBatch | undefined => {
    for (const ownerId of owners.ownedIds()) {
      const rows: Row[] = [];
      let bytes = 1;
      for (const each of waiting.iterate(ownerId, maxEvents)) {
        const row = rowOf(each);
        bytes += Buffer.byteLength(row.body) + 1;
        if (rows.length > 0 && bytes > maxBytes) break;
        rows.push(row);
      }
      if (rows.length > 0) return freeze(rows, nowMs);
    }
    return undefined;
  };

  return {
    take: (maxEvents, maxBytes, nowMs) => publicBatch(takeFrozen() ?? takeWaiting(maxEvents, maxBytes, nowMs)),
    hold: (batchId) => void held.add(batchId),
    letGo: (batchId) => void held.delete(batchId),
    settle(batchId) {
      const row = find.get(batchId);
      if (row === undefined) return;
      mark.run(DELIVERY.delivered, textOf(row["positions"]));
      remove.run(batchId);
    },
    pending: () =>
      db.read(() => {
        const waitingCount = owners.ownedIds().reduce((sum, id) => sum + integerOf(countWaiting.get(id)?.["n"]), 0);
        return waitingCount + integerOf(countFrozen.get(owners.id)?.["n"]);
      }),
  };
}

/** Pending events of every owner (readers have no outbox of their own). */
export function countAllPending(db: Database): number {
  const row = db.read(() =>
    db.prepare("SELECT (SELECT count(*) FROM events WHERE delivery = 1) + (SELECT coalesce(sum(events), 0) FROM batches) AS n").get(),
  );
  return integerOf(row?.["n"]);
}

function rowOf(row: Record<string, unknown>): Row {
  return { position: integerOf(row["position"]), id: textOf(row["id"]), body: textOf(row["body"]) };
}

/** Positions are the store's own affair. */
function publicBatch(batch: OutboxBatch | undefined): OutboxBatch | undefined {
  return batch && { id: batch.id, events: batch.events.map(({ id, body }) => ({ id, body })) };
}
