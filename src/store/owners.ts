/**
 * Which process owns what. Every open store has a row in `owners` with a heartbeat. What a dead or closed owner left
 * is adopted exactly once, in one transaction: flows that never ended become their `unknown` events, and its pending
 * events and frozen batches become the adopter's.
 */

import { checksumOf } from "./checksum.ts";
import type { Database, Sync } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import type { ProcessIdentity, Silence } from "./process-identity.ts";
import { isDead } from "./process-identity.ts";

/** What an adoption brought. */
export interface Adoption {
  /** `unknown` events stored. */
  readonly recovered: number;
  /** Owners whose pending events and batches are ours now. */
  readonly owners: number;
}

export interface Owners {
  readonly id: number;
  /** Ids of this owner and of those that it adopted, oldest first. */
  ownedIds(): number[];
  /** Refreshes the heartbeat; takes ownership back if it was lost meanwhile (a process that was stopped). */
  beat(nowMs: number): void;
  /** Adopts what dead and closed owners left. `monotonicMs` never jumps: it measures for how long others are silent. */
  adopt(nowMs: number, monotonicMs: number): Adoption;
  /** Gives everything up, so that any other process may adopt it at once. */
  release(): void;
}

export interface OwnersOptions {
  readonly self: ProcessIdentity;
  /** The id of this process if it had one before its worker was started again. */
  readonly ownerId: number | undefined;
  /** A process without a sink adopts flows, but leaves pending events to those that deliver. */
  readonly delivers: boolean;
  readonly adoptionSync: Sync;
  readonly nowMs: number;
}

const NOTHING: Adoption = { recovered: 0, owners: 0 };

/** Registers this process (again) and returns its ownership. */
export function registerOwner(db: Database, options: OwnersOptions): Owners {
  const { self, delivers } = options;
  const insert = db.prepare("INSERT INTO owners (id, pid, process_start, host, pid_namespace, heartbeat_ms) VALUES (?, ?, ?, ?, ?, ?)");
  const refresh = db.prepare("UPDATE owners SET heartbeat_ms = ?, is_closed = 0, adopted_by = NULL WHERE id = ?");
  const others = db.prepare("SELECT * FROM owners WHERE id <> ? AND adopted_by IS NULL");
  const owned = db.prepare("SELECT id FROM owners WHERE id = ? OR adopted_by = ? ORDER BY id");
  const markAdopted = db.prepare("UPDATE owners SET adopted_by = ? WHERE id = ? OR adopted_by = ?");
  const moveBatches = db.prepare("UPDATE batches SET owner = ? WHERE owner = ?");
  const markClosed = db.prepare("UPDATE owners SET is_closed = 1 WHERE id = ?");
  const hasIntents = db.prepare("SELECT 1 FROM intents WHERE owner = ? LIMIT 1");
  const intents = db.prepare("SELECT flow_id, started_at_ms, delivery, waiting, unknown_event FROM intents WHERE owner = ?");
  const dropIntents = db.prepare("DELETE FROM intents WHERE owner = ?");
  const insertUnknown = db.prepare(
    "INSERT INTO events (id, time_ms, delivery, waiting, owner, recovered, body, checksum) VALUES (?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (id) DO NOTHING",
  );
  const dropEmpty = db.prepare(`
    DELETE FROM owners WHERE id <> ?1 AND (adopted_by = ?1 OR is_closed = 1)
      AND NOT EXISTS (SELECT 1 FROM events WHERE events.owner = owners.id AND waiting <> 0)
      AND NOT EXISTS (SELECT 1 FROM batches WHERE batches.owner = owners.id)
      AND NOT EXISTS (SELECT 1 FROM intents WHERE intents.owner = owners.id)`);

  const dropCursors = db.prepare("DELETE FROM cursors WHERE owner NOT IN (SELECT id FROM owners)");

  const write = (ownerId: number | null, nowMs: number): number =>
    Number(insert.run(ownerId, self.pid, self.processStart, self.host, self.pidNamespace, nowMs).lastInsertRowid);

  const id = db.transaction(() => {
    const known = options.ownerId;
    if (known === undefined) return write(null, options.nowMs);
    if (refresh.run(options.nowMs, known).changes === 0) write(known, options.nowMs);
    return known;
  }, "normal");

  const watched = new Map<number, { readonly heartbeatMs: number; readonly sinceMs: number }>();
  const silenceOf = (row: Record<string, unknown>, nowMs: number, monotonicMs: number): Silence => {
    const ownerId = integerOf(row["id"]);
    const heartbeatMs = integerOf(row["heartbeat_ms"]);
    const before = watched.get(ownerId);
    const sinceMs = before?.heartbeatMs === heartbeatMs ? before.sinceMs : monotonicMs;
    watched.set(ownerId, { heartbeatMs, sinceMs });
    return { watchedMs: monotonicMs - sinceMs, clockMs: nowMs - heartbeatMs };
  };

  const findDead = (nowMs: number, monotonicMs: number): number[] => {
    const rows = others.all(id);
    const there = new Set(rows.map((row) => integerOf(row["id"])));
    for (const ownerId of watched.keys()) if (!there.has(ownerId)) watched.delete(ownerId);
    return rows
      .filter((row) => row["is_closed"] === 1 || isDead(identityOf(row), silenceOf(row, nowMs, monotonicMs), self))
      .filter((row) => delivers || row["is_closed"] === 0 || hasIntents.get(integerOf(row["id"])) !== undefined)
      .map((row) => integerOf(row["id"]));
  };

  const recoverFlows = (dead: number): number => {
    let recovered = 0;
    for (const row of intents.all(dead)) {
      const flow = unknownRecord(textOf(row["flow_id"]), integerOf(row["started_at_ms"]), textOf(row["unknown_event"]));
      recovered += Number(insertUnknown.run(flow.id, flow.timeMs, integerOf(row["delivery"]), integerOf(row["waiting"]), dead, flow.body, checksumOf(flow.body)).changes);
    }
    dropIntents.run(dead);
    return recovered;
  };

  const adoptOne = (dead: number): number => {
    const recovered = recoverFlows(dead);
    if (delivers) {
      markAdopted.run(id, dead, dead);
      moveBatches.run(id, dead);
    } else markClosed.run(dead);
    return recovered;
  };

  return {
    id,
    ownedIds: () => owned.all(id, id).map((row) => integerOf(row["id"])),
    beat(nowMs) {
      db.transaction(() => {
        if (refresh.run(nowMs, id).changes === 0) write(id, nowMs);
        // An owner that comes back has nothing that waits before its next event: it begins without a cursor.
        if (dropEmpty.run(id).changes > 0) dropCursors.run();
      }, "normal");
    },
    adopt(nowMs, monotonicMs) {
      // A look without the write lock first: nearly always there is nobody to adopt.
      if (findDead(nowMs, monotonicMs).length === 0) return NOTHING;
      return db.transaction(() => {
        const dead = findDead(nowMs, monotonicMs);
        return { recovered: dead.reduce((sum, each) => sum + adoptOne(each), 0), owners: dead.length };
      }, options.adoptionSync);
    },
    release() {
      db.transaction(() => {
        for (const each of owned.all(id, id)) markClosed.run(integerOf(each["id"]));
        db.prepare("UPDATE owners SET adopted_by = NULL WHERE adopted_by = ?").run(id);
        // Under an id that no owner has: this removes our own row too when nothing is left.
        dropEmpty.run(0);
      }, "full");
    },
  };
}

function identityOf(row: Record<string, unknown>): ProcessIdentity {
  return {
    pid: integerOf(row["pid"]),
    processStart: textOf(row["process_start"]),
    host: textOf(row["host"]),
    pidNamespace: textOf(row["pid_namespace"]),
  };
}

/** The id and time inside the frozen event; the flow's own where they cannot be read. */
function unknownRecord(flowId: string, startedAtMs: number, body: string): { id: string; timeMs: number; body: string } {
  let event: unknown;
  try {
    event = JSON.parse(body);
  } catch {
    event = undefined; // Not JSON: stored as it is all the same, under the flow's id.
  }
  if (typeof event !== "object" || event === null) return { id: flowId, timeMs: startedAtMs, body };
  const id = "id" in event && typeof event.id === "string" ? event.id : flowId;
  const timeMs = "time" in event && typeof event.time === "string" ? Date.parse(event.time) : Number.NaN;
  return { id, timeMs: Number.isFinite(timeMs) ? timeMs : startedAtMs, body };
}
