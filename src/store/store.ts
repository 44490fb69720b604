/**
 * The main thread's view of the durable store: ledger and outbox in one SQLite database that a worker thread owns.
 * Every call is a message; groups of messages are one transaction (group commit). This file is the contract and the
 * client of the worker; SQL is in ledger.ts and outbox.ts.
 */

/** Written at the start of a flow, so that a crash leaves a trace. `unknownEvent` is stored as it is if the flow never ends. */
export interface FlowIntent {
  readonly flowId: string;
  readonly startedAtMs: number;
  /** The frozen bytes of the `unknown` event that recovery will store for this flow. */
  readonly unknownEvent: string;
}

/** What becomes of a record: `none` is never delivered (it costs nothing), `pending` waits in the outbox. */
export type DeliveryState = "none" | "pending" | "delivered" | "dead";

/** One ledger record: an event, frozen. */
export interface LedgerRecord {
  /** The event id; unique in the ledger. A second record with the same id is ignored. */
  readonly id: string;
  readonly flowId: string;
  /** Epoch milliseconds of the event's `time`. */
  readonly timeMs: number;
  readonly delivery: "none" | "pending";
  /** The serialized CloudEvent, byte for byte as it will be delivered. */
  readonly body: string;
}

/** A ledger record as read back. */
export interface StoredRecord {
  /** Position in the ledger; rises with time of storing. */
  readonly position: number;
  readonly id: string;
  readonly timeMs: number;
  readonly delivery: DeliveryState;
  readonly body: string;
}

/** Events taken from the outbox for one sink. They stay pending until `delivered`, and are taken by nobody else meanwhile. */
export interface OutboxBatch {
  /** Stable for the batch: the webhook-id. */
  readonly id: string;
  /** When its events were put together, epoch milliseconds. Kept by the parts of a batch that is split. */
  readonly createdAtMs: number;
  /** In order of storing. */
  readonly events: readonly { readonly id: string; readonly body: string }[];
  /** What `freeze` has kept. */
  readonly requests?: string;
}

/** One sink's part of the outbox: its own position in the events, its own batches. */
export interface SinkOutbox {
  /** The next batch of this process's pending events, oldest first; undefined when there is none. */
  take(maxEvents: number, maxBytes: number): Promise<OutboxBatch | undefined>;
  /** A batch that was taken before, as it stands; undefined when another process has settled it or owns it now. */
  read(batchId: string): Promise<OutboxBatch | undefined>;
  /** Keeps what the sink made of the events, to be sent in the same bytes after a restart. The first call counts. */
  freeze(batchId: string, requests: string): Promise<void>;
  /** The sink has the batch. Resolves to how many of its events wait for no sink any more. */
  delivered(batchId: string): Promise<number>;
  /** The sink refuses the batch for good: its events become dead letters, for a `reason` without any content. Resolves as `delivered`. */
  refuse(batchId: string, reason: string): Promise<number>;
  /** Puts two halves in the place of a batch, each taken already. None when another process owns it now. */
  split(batchId: string): Promise<readonly OutboxBatch[]>;
  /** Gives a batch back (shutdown). */
  release(batchId: string): Promise<void>;
  /** Events of this process that the sink has yet to take. */
  pending(): Promise<number>;
}

/** Dimensions of `usage --by`. */
export type UsageDimension = "model" | "provider" | "connector" | "agent" | "thread" | "org" | "user" | "day" | "hour";

/** One line of totals. `usage` sums each category; `cost` is a decimal string of the priced events, null when none was priced. */
export interface UsageRow {
  readonly key: string;
  readonly requests: number;
  readonly usage: Readonly<Record<string, number>>;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly total_tokens: number;
  /** Decimal USD string of the priced events; null when no event of the row has a price. */
  readonly cost: string | null;
  /** Billable events without a price. */
  readonly unpriced: number;
  readonly partial: number;
  readonly unknown: number;
}

export interface EventQuery {
  /** Epoch ms, inclusive, on the event's time. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** Only records after this position. */
  readonly afterPosition?: number;
  /** The newest `limit` records (with afterPosition: the first `limit` after it). Result is newest last. */
  readonly limit?: number;
}

export interface UsageQuery {
  readonly by?: UsageDimension;
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** Only flows of this process (the summary at the end of `tallyman run`). */
  readonly ownOnly?: boolean;
}

/** An event that a sink refused for good. */
export interface DeadLetter {
  /** The event's id. An event that two sinks refused is two dead letters. */
  readonly id: string;
  readonly sink: string;
  /** "HTTP 422" or another code; never what the sink answered. */
  readonly reason: string;
  readonly refusedAtMs: number;
  /** The event, byte for byte. */
  readonly body: string;
}

export interface DeadLetterQuery {
  /** Of these events; of all unless given. */
  readonly ids?: readonly string[];
  /** The oldest. Default 1000. */
  readonly limit?: number;
}

export interface StoreCounts {
  /** Events stored and not yet delivered, owned by this process. */
  readonly pending: number;
  /** Records in the ledger. */
  readonly records: number;
  /** Events that a sink refused for good and that were neither replayed nor discarded since. */
  readonly dead_letters: number;
  /** Durable gaps by kind, since the database was made. */
  readonly gaps: Readonly<Record<string, number>>;
}

export interface Store {
  /** Random id kept in the data directory; part of every event's `source`. */
  readonly deploymentId: string;
  /** How many `unknown` events recovery stored when this store was opened (and by later adoptions). */
  readonly recovered: number;
  /** Notes the start of a flow. Joins the next group commit. Never throws. */
  begin(intent: FlowIntent): void;
  /**
   * Ends a flow: its records are stored and its intent removed in one transaction. Resolves once they are on disk
   * (fsynced under `strict`), however late: what cannot be written stays in memory and is tried again. Rejects with a
   * StoreError only when the records are lost (`memory_full`: the bound of that memory; `store_closed`).
   */
  commit(flowId: string, records: readonly LedgerRecord[]): Promise<void>;
  /** Why nothing can be written at the moment; undefined while all is well. */
  readonly failure: string | undefined;
  /** Nothing has been written for so long that what waits in memory is near its bound. */
  readonly isNearlyFull: boolean;
  /** Adds to a durable gap counter (`commit_timeout`, `queue_full` …). Never throws. */
  recordGap(kind: string, count: number): void;
  /** The outbox of one of the sinks that the store was opened with. */
  outbox(sink: string): SinkOutbox;
  /** Events of this process that wait for any of its sinks, exactly as of the last commit that resolved. */
  pending(): Promise<number>;
  /** Jobs of background responses that survive a restart (see usage/handler.ts PendingJobs): loaded at open. */
  readonly pendingJobs: ReadonlyMap<string, number>;
  saveJob(key: string, startedAtMs: number): void;
  removeJob(key: string): void;
  events(query: EventQuery): Promise<readonly StoredRecord[]>;
  usage(query: UsageQuery): Promise<readonly UsageRow[]>;
  counts(): Promise<StoreCounts>;
  deadLetters(query: DeadLetterQuery): Promise<readonly DeadLetter[]>;
  /** Has dead letters delivered again, by whichever process delivers, under their old ids. Resolves to how many; all without `ids`. */
  replayDeadLetters(ids?: readonly string[]): Promise<number>;
  /** Gives dead letters up; their events stay in the ledger. Resolves to how many; all without `ids`. */
  discardDeadLetters(ids?: readonly string[]): Promise<number>;
  /** Called after each commit that added pending events (drives delivery), and after adoption. */
  onPending(listener: () => void): void;
  /** Flushes, gives up ownership, closes the database and ends the worker. Idempotent. */
  close(): Promise<void>;
}
