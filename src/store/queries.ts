/**
 * Questions to the ledger. They run in the worker on the connection that writes, in steps of a few milliseconds with
 * the event loop between them, so that a group commit never waits for more than one step. No cursor is open between
 * two steps, so that the WAL can be checkpointed. A second thread would cost 10 MB in every process for what is
 * asked now and then.
 */

import type { Database, Statement } from "./database.ts";
import { integerOf, textOf } from "./database.ts";
import { createDeadLetters } from "./dead-letters.ts";
import { readGaps } from "./ledger.ts";
import { DELIVERY } from "./migrations.ts";
import type { DeadLetter, DeadLetterQuery, DeliveryState, EventQuery, StoreCounts, StoredRecord, UsageQuery, UsageRow } from "./store.ts";
import { createUsageTotals } from "./usage-totals.ts";

/** Lets the event loop turn. */
export type Pause = () => Promise<void>;

export interface Queries {
  /** Records in order of position. Without a `limit` at most DEFAULT_EVENTS. `untilMs` is exclusive. */
  events(query: EventQuery): Promise<StoredRecord[]>;
  usage(query: UsageQuery): Promise<UsageRow[]>;
  counts(): Promise<StoreCounts>;
  deadLetters(query: DeadLetterQuery): DeadLetter[];
}

export interface QueriesOptions {
  readonly pause: Pause;
  /** The owner that `ownOnly` means; undefined for readers, who own nothing. */
  readonly ownerId: number | undefined;
  /** No record of this owner is at or before this position. */
  readonly ownAfterPosition: number;
  pending(): number;
}

export const DEFAULT_EVENTS = 1000;

/** Rows of one step: about 2 ms with the parsing of 1.5 KB each. */
const STEP_ROWS = 300;

/** Rows of one step that only counts. */
const COUNT_STEP = 20_000;

const COLUMNS = "position, id, time_ms, delivery, owner, body";

interface Row extends StoredRecord {
  readonly owner: number;
}

/** Prepares the ledger's queries. */
export function createQueries(db: Database, options: QueriesOptions): Queries {
  const after = db.prepare(`SELECT ${COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?`);
  const forward = db.prepare(
    `SELECT ${COLUMNS} FROM events WHERE time_ms >= ? AND time_ms < ? AND (time_ms, position) > (?, ?) ORDER BY time_ms, position LIMIT ?`,
  );
  const backward = db.prepare(
    `SELECT ${COLUMNS} FROM events WHERE time_ms >= ? AND time_ms < ? AND (time_ms, position) < (?, ?) ORDER BY time_ms DESC, position DESC LIMIT ?`,
  );
  const read = (statement: Statement, ...values: number[]): Row[] => db.read(() => statement.all(...values)).map(rowOf);

  /** Every row of the time range, a step at a time. */
  async function* scan(range: Range, afterPosition: number | undefined): AsyncGenerator<Row[]> {
    let position = afterPosition ?? 0;
    let timeMs = range.sinceMs;
    for (;;) {
      const rows =
        afterPosition === undefined ? read(forward, range.sinceMs, range.untilMs, timeMs, position, STEP_ROWS) : read(after, position, STEP_ROWS);
      const last = rows.at(-1);
      if (last === undefined) return;
      yield afterPosition === undefined ? rows : rows.filter((row) => row.timeMs >= range.sinceMs && row.timeMs < range.untilMs);
      position = last.position;
      timeMs = last.timeMs;
      await options.pause();
    }
  }

  async function firstAfter(range: Range, afterPosition: number, limit: number): Promise<Row[]> {
    const found: Row[] = [];
    for await (const rows of scan(range, afterPosition)) {
      found.push(...rows);
      if (found.length >= limit) break;
    }
    return found.slice(0, limit);
  }

  async function newest(range: Range, limit: number): Promise<Row[]> {
    const found: Row[] = [];
    let position = Number.MAX_SAFE_INTEGER;
    let timeMs = range.untilMs;
    while (found.length < limit) {
      const rows = read(backward, range.sinceMs, range.untilMs, timeMs, position, Math.min(STEP_ROWS, limit - found.length));
      const last = rows.at(-1);
      if (last === undefined) break;
      found.push(...rows);
      position = last.position;
      timeMs = last.timeMs;
      await options.pause();
    }
    return found.toSorted((a, b) => a.position - b.position);
  }

  const deadLetters = createDeadLetters(db);
  const countRecords = createRecordCounter(db, options.pause);
  return {
    async events(query) {
      const limit = query.limit ?? DEFAULT_EVENTS;
      const rows = query.afterPosition === undefined ? await newest(rangeOf(query), limit) : await firstAfter(rangeOf(query), query.afterPosition, limit);
      return rows.map(({ position, id, timeMs, delivery, body }) => ({ position, id, timeMs, delivery, body }));
    },
    async usage(query) {
      const totals = createUsageTotals(query.by);
      const owner = query.ownOnly === true ? options.ownerId : undefined;
      for await (const rows of scan(rangeOf(query), owner === undefined ? undefined : options.ownAfterPosition)) {
        for (const row of rows) {
          if (owner === undefined || row.owner === owner) totals.add(row.body, row.timeMs, row.delivery !== "none");
        }
      }
      return totals.rows();
    },
    async counts() {
      return { pending: options.pending(), records: await countRecords(), dead_letters: deadLetters.count(), gaps: readGaps(db) };
    },
    deadLetters: (query) => deadLetters.list(query),
  };
}

interface Range {
  readonly sinceMs: number;
  readonly untilMs: number;
}

function rangeOf(query: { readonly sinceMs?: number; readonly untilMs?: number }): Range {
  return { sinceMs: Math.trunc(query.sinceMs ?? 0), untilMs: Math.trunc(query.untilMs ?? Number.MAX_SAFE_INTEGER) };
}

/** Counts the whole ledger once, then only what came and what was pruned since. */
function createRecordCounter(db: Database, pause: Pause): () => Promise<number> {
  const step = db.prepare("SELECT count(*) AS n, max(position) AS last FROM (SELECT position FROM events WHERE position > ? ORDER BY position LIMIT ?)");
  const pruned = db.prepare("SELECT CAST(value AS INTEGER) AS n FROM meta WHERE key = 'pruned'");
  const readPruned = (): number => integerOf(db.read(() => pruned.get())?.["n"]);
  let position = 0;
  let records = 0;
  let prunedBefore = readPruned();
  return async () => {
    for (;;) {
      const row = db.read(() => step.get(position, COUNT_STEP));
      const found = integerOf(row?.["n"]);
      if (found === 0) break;
      position = integerOf(row?.["last"]);
      records += found;
      await pause();
    }
    const prunedNow = readPruned();
    records -= prunedNow - prunedBefore;
    prunedBefore = prunedNow;
    return records;
  };
}

const STATES: ReadonlyMap<number, DeliveryState> = new Map([
  [DELIVERY.none, "none"],
  [DELIVERY.pending, "pending"],
  [DELIVERY.delivered, "delivered"],
  [DELIVERY.dead, "dead"],
]);

function rowOf(row: Record<string, unknown>): Row {
  return {
    position: integerOf(row["position"]),
    id: textOf(row["id"]),
    timeMs: integerOf(row["time_ms"]),
    delivery: STATES.get(integerOf(row["delivery"])) ?? "pending",
    owner: integerOf(row["owner"]),
    body: textOf(row["body"]),
  };
}
