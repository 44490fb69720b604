/**
 * The SQL of flows and their records: what a group commit writes, and what pruning removes. One insert per event; an
 * intent whose flow ends in the same group is never written.
 */

import type { Database, Sync } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { ADD_GAP } from "./gap-reports.ts";
import { checksumOf } from "./checksum.ts";
import { DELIVERY } from "./migrations.ts";
import type { GroupMessage } from "./protocol.ts";

/** What of a group the flow's intents and records are. */
export interface Ledger {
  /** Writes groups, oldest first, in one transaction. Throws StoreError; then nothing of them is stored. */
  write(groups: readonly GroupMessage[]): void;
  /** Removes up to `limit` delivered or free records older than `beforeMs`; returns how many it removed. */
  pruneStep(beforeMs: number, limit: number): number;
  /** Gives up to `pages` free pages back to the file system; false when there is no more worth giving back. */
  shrinkStep(pages: number): boolean;
  jobs(): [key: string, startedAtMs: number][];
  gaps(): Record<string, number>;
}

export interface LedgerOptions {
  readonly ownerId: number;
  /** How the transactions that hold records or gaps are synced; those that hold only intents never wait for the disk. */
  readonly recordSync: Sync;
  /** The sinks that this process's events wait for. */
  readonly waitingMask: number;
}

/**
 * A second record with the same id is ignored, unless the first is the guess that adoption stored while its flow was
 * still under way in a stopped process, and no sink has taken it into a batch yet.
 */
const INSERT_EVENT = `
  INSERT INTO events (id, time_ms, delivery, waiting, owner, body, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET
    time_ms = excluded.time_ms, delivery = excluded.delivery, waiting = excluded.waiting, body = excluded.body, checksum = excluded.checksum, recovered = 0
    WHERE recovered = 1 AND NOT EXISTS (SELECT 1 FROM cursors WHERE cursors.owner = events.owner AND cursors.position >= events.position)`;

/** What waits for a sink and what can be replayed stays. The newest row stays too, so that positions keep rising. */
const PRUNE = `
  DELETE FROM events WHERE position IN (
    SELECT position FROM events
    WHERE time_ms < ? AND waiting = 0 AND delivery <> ${DELIVERY.pending} AND position < (SELECT max(position) FROM events)
      AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.position = events.position)
    ORDER BY time_ms LIMIT ?)`;

/** Free pages that are kept for what comes next: 8 MiB. */
const SPARE_PAGES = 1000;

/** Prepares the ledger's statements. */
export function createLedger(db: Database, options: LedgerOptions): Ledger {
  const { ownerId, waitingMask } = options;
  const unknownDelivery = waitingMask === 0 ? DELIVERY.none : DELIVERY.pending;
  const insertEvent = db.prepare(INSERT_EVENT);
  const insertIntent = db.prepare("INSERT OR REPLACE INTO intents (flow_id, owner, started_at_ms, delivery, waiting, unknown_event) VALUES (?, ?, ?, ?, ?, ?)");
  const deleteIntent = db.prepare("DELETE FROM intents WHERE flow_id = ?");
  const addGap = db.prepare(ADD_GAP);
  const saveJob = db.prepare("INSERT OR REPLACE INTO jobs VALUES (?, ?)");
  const removeJob = db.prepare("DELETE FROM jobs WHERE key = ?");
  const prune = db.prepare(PRUNE);
  const countPruned = db.prepare("UPDATE meta SET value = CAST(value AS INTEGER) + ? WHERE key = 'pruned'");

  const writeFlows = (groups: readonly GroupMessage[]): void => {
    const { begins, ends } = coalesce(groups);
    for (const flowId of ends) deleteIntent.run(flowId);
    for (const [flowId, intent] of begins) insertIntent.run(flowId, ownerId, intent.startedAtMs, unknownDelivery, waitingMask, intent.unknownEvent);
  };

  const writeRecords = (records: GroupMessage["records"]): void => {
    for (let i = 0; i + 3 < records.length; i += 4) {
      const body = String(records[i + 3]);
      const isPending = waitingMask !== 0 && records[i + 2] === DELIVERY.pending;
      insertEvent.run(records[i] ?? null, records[i + 1] ?? null, isPending ? DELIVERY.pending : DELIVERY.none, isPending ? waitingMask : 0, ownerId, body, checksumOf(body));
    }
  };

  const writeGroup = (group: GroupMessage): void => {
    writeRecords(group.records);
    for (const [kind, count] of group.gaps) addGap.run(kind, count, Date.now());
    for (const [key, startedAtMs] of group.jobs) {
      if (startedAtMs === null) removeJob.run(key);
      else saveJob.run(key, startedAtMs);
    }
  };

  return {
    write(groups) {
      const waitsForDisk = groups.some((group) => group.records.length + group.gaps.length + group.jobs.length > 0);
      db.transaction(
        () => {
          writeFlows(groups);
          for (const group of groups) writeGroup(group);
        },
        waitsForDisk ? options.recordSync : "normal",
      );
    },
    pruneStep: (beforeMs, limit) =>
      db.transaction(() => {
        const removed = Number(prune.run(beforeMs, limit).changes);
        if (removed > 0) countPruned.run(removed);
        return removed;
      }, "normal"),
    shrinkStep(pages) {
      const free = db.read(() => integerOf(db.prepare("PRAGMA freelist_count").get()?.["freelist_count"]));
      if (free <= SPARE_PAGES) return false;
      db.read(() => db.exec(`PRAGMA incremental_vacuum(${Math.min(pages, free - SPARE_PAGES)})`));
      return true;
    },
    jobs: () => db.read(() => db.prepare("SELECT key, started_at_ms FROM jobs").all()).map((row) => [textOf(row["key"]), integerOf(row["started_at_ms"])]),
    gaps: () => readGaps(db),
  };
}

/** Durable gaps by kind. */
export function readGaps(db: Database): Record<string, number> {
  const rows = db.read(() => db.prepare("SELECT kind, count FROM gaps ORDER BY kind").all());
  return Object.fromEntries(rows.map((row) => [textOf(row["kind"]), integerOf(row["count"])]));
}

interface Begun {
  readonly startedAtMs: number;
  readonly unknownEvent: string;
}

/** The begins and ends of several groups, less the flows that begin and end within them. */
function coalesce(groups: readonly GroupMessage[]): { begins: Map<string, Begun>; ends: string[] } {
  const begins = new Map<string, Begun>();
  const ends: string[] = [];
  for (const group of groups) {
    for (const flowId of group.ends) if (!begins.delete(flowId)) ends.push(flowId);
    for (let i = 0; i + 2 < group.begins.length; i += 3) {
      begins.set(textOf(group.begins[i]), { startedAtMs: integerOf(group.begins[i + 1]), unknownEvent: textOf(group.begins[i + 2]) });
    }
  }
  return { begins, ends };
}
