/**
 * Losses as events: a gap that means usage which the receiver will never see is told to it by an event of its own
 * (`usage.gap.v1`, docs/events.md). The gap's counter and the event are one transaction, whichever process reports it.
 */

import { newFlowId } from "../flow/flow-id.ts";
import { checksumOf } from "./checksum.ts";
import type { Database } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { DELIVERY } from "./migrations.ts";

/** Counts a gap: kind, count, epoch milliseconds. */
export const ADD_GAP = `
  INSERT INTO gaps (kind, count, since_ms) VALUES (?, ?, ?) ON CONFLICT (kind) DO UPDATE SET
    since_ms = CASE WHEN count = reported THEN excluded.since_ms ELSE since_ms END, count = count + excluded.count`;

/** The gaps that are losses. The others are counted only: their usage is stored late, or comes back as `unknown`. */
const LOSSES = ["database_damaged", "event_damaged", "memory_full", "queue_full"];

/** A gap that goes on is reported so often; one that has stopped growing at once. */
const REPORT_EVERY_MS = 60_000;

export interface GapReports {
  /** Stores an event for each loss that has stopped growing since the last call, or is due. Returns how many. */
  report(nowMs: number, monotonicMs: number): number;
  /** Stores an event for each loss that has none yet. */
  reportAll(nowMs: number): number;
}

export interface GapReportsOptions {
  readonly ownerId: number;
  readonly source: string;
  /** The sinks that the events wait for. 0: nothing is reported, and left to a process that delivers. */
  readonly waitingMask: number;
}

interface Loss {
  readonly kind: string;
  readonly count: number;
  readonly reported: number;
  readonly sinceMs: number;
}

export function createGapReports(db: Database, { ownerId, source, waitingMask }: GapReportsOptions): GapReports {
  const open = db.prepare(`
    SELECT kind, count, reported, coalesce(since_ms, 0) AS since_ms FROM gaps
    WHERE count > reported AND kind IN (SELECT value FROM json_each(?)) ORDER BY kind`);
  const mark = db.prepare("UPDATE gaps SET reported = ? WHERE kind = ?");
  const insert = db.prepare("INSERT INTO events (id, time_ms, delivery, waiting, owner, body, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)");
  const seen = new Map<string, number>();
  const reportedMs = new Map<string, number>();

  const losses = (): Loss[] =>
    open.all(JSON.stringify(LOSSES)).map((row) => ({
      kind: textOf(row["kind"]),
      count: integerOf(row["count"]),
      reported: integerOf(row["reported"]),
      sinceMs: integerOf(row["since_ms"]),
    }));

  const store = (due: (loss: Loss) => boolean, nowMs: number): Loss[] => {
    // A look without the write lock first: nearly always there is nothing to report.
    if (waitingMask === 0 || !db.read(losses).some(due)) return [];
    return db.transaction(() => {
      const stored = losses().filter(due);
      for (const loss of stored) {
        const id = newFlowId(nowMs);
        const body = gapEvent(loss, id, source, nowMs);
        insert.run(id, nowMs, DELIVERY.pending, waitingMask, ownerId, body, checksumOf(body));
        mark.run(loss.count, loss.kind);
      }
      return stored;
    }, "full");
  };

  return {
    report(nowMs, monotonicMs) {
      const isDue = ({ kind, count }: Loss): boolean => seen.get(kind) === count || monotonicMs - (reportedMs.get(kind) ?? monotonicMs) >= REPORT_EVERY_MS;
      const stored = store(isDue, nowMs);
      for (const { kind } of stored) reportedMs.set(kind, monotonicMs);
      if (waitingMask !== 0) {
        for (const { kind, count } of db.read(losses)) {
          seen.set(kind, count);
          if (!reportedMs.has(kind)) reportedMs.set(kind, monotonicMs);
        }
      }
      return stored.length;
    },
    reportAll: (nowMs) => store(() => true, nowMs).length,
  };
}

/** Counts only: of a loss nothing else is known. */
function gapEvent({ kind, count, reported, sinceMs }: Loss, id: string, source: string, nowMs: number): string {
  return JSON.stringify({
    specversion: "1.0",
    type: "usage.gap.v1",
    id,
    source,
    subject: "default",
    time: new Date(nowMs).toISOString(),
    datacontenttype: "application/json",
    data: { kind, count: count - reported, total: count, since: new Date(sinceMs).toISOString(), until: new Date(nowMs).toISOString() },
  });
}
