/**
 * The main thread's implementation of `Store`: collects calls into groups, sends them to the worker that owns the
 * database, keeps what could not be stored and tries it again. Nothing here throws into the traffic.
 */

import { accessSync, constants, mkdirSync } from "node:fs";
import { join } from "node:path";
import { OutgoingGroups, rejected } from "./outgoing.ts";
import type { FromWorker, WorkerSetup } from "./protocol.ts";
import { DATABASE_FILE, queriesOver, unexpectedAnswer } from "./reader.ts";
import type { LedgerQueries } from "./reader.ts";
import type {
  DeadLetter,
  DeadLetterQuery,
  EventQuery,
  FlowIntent,
  LedgerRecord,
  SinkOutbox,
  Store,
  StoreCounts,
  StoredRecord,
  UsageQuery,
  UsageRow,
} from "./store.ts";
import { pendingOf, sinkOutbox } from "./sink-outbox.ts";
import { StoreError, type StoreErrorCode } from "./store-error.ts";
import { WorkerLink } from "./worker-link.ts";

export { openLedgerReader } from "./reader.ts";
export type { LedgerReader } from "./reader.ts";
export { StoreError } from "./store-error.ts";

/** Where the store says what the operator should know: once for each change of its state. */
export interface StoreLogger {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

export interface StoreOptions {
  /** Made with mode 0700 if it is missing; holds tallyman.db and SQLite's files beside it. */
  readonly dataDir: string;
  /** `strict`: a commit resolves after fsync. `relaxed`: groups wait RELAXED_WAIT_MS, and resolve when written. */
  readonly durability: "strict" | "relaxed";
  /**
   * Ids of the sinks that this process delivers to; the webhook alone unless given. Without any it adopts no pending events,
   * and nothing of its own is for delivery.
   */
  readonly sinks?: readonly string[];
  /** Delivered and free records older than this are pruned every hour. Without it nothing is pruned. */
  readonly retentionMs?: number;
  /** The database file never grows past this; commits then fail with `disk_full`. */
  readonly maxBytes?: number;
  /** How long a write waits for another process's. Default 2000. */
  readonly busyTimeoutMs?: number;
  readonly logger?: StoreLogger;
  /** Epoch milliseconds; decides what retention prunes. */
  readonly clock?: () => number;
}

/** The store that `openStore` gives: the contract, and what only its owner needs. */
export interface DurableStore extends Store {
  /** `events` and `bytes` say how much became pending; undefined where the outbox has changed in another way (an adoption). */
  onPending(listener: (events?: number, bytes?: number) => void): void;
  /** Called for each gap that this process notes, those of before included. */
  onGap(listener: (kind: string, count: number) => void): void;
  /** Removes delivered and free records older than `beforeMs`, in small transactions. Resolves to how many. */
  prune(beforeMs: number): Promise<number>;
  /** Records in memory that are not known to be stored. */
  readonly unstored: number;
}

const DEFAULT_BUSY_TIMEOUT_MS = 2000;

/** A group's age when it is sent. */
const RELAXED_WAIT_MS = 50;

/** A flow's age when its intent is sent. Most flows end within it, so that their intents are never written. */
const RELAXED_INTENT_WAIT_MS = 1000;

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 1000;
const PRUNE_EVERY_MS = 3_600_000;

/** How long `close` goes on trying to store what is still in memory. */
const CLOSE_FLUSH_MS = 3000;

/**
 * Opens the data directory, adopts what dead processes left in it, and keeps the process alive until `close`.
 * Rejects with a StoreError whose message says what to do.
 */
export async function openStore(options: StoreOptions): Promise<DurableStore> {
  makeDataDir(options.dataDir);
  const store = new StoreClient(options);
  await store.open();
  return store;
}

class StoreClient implements DurableStore {
  readonly #options: StoreOptions;
  readonly #outgoing: OutgoingGroups;
  readonly #link: WorkerLink;
  readonly #taken = new Set<string>();
  readonly #jobs = new Map<string, number>();
  readonly #listeners: ((events?: number, bytes?: number) => void)[] = [];
  readonly #queries: LedgerQueries;
  #deploymentId = "";
  #ownerId: number | undefined;
  #recovered = 0;
  #isScheduled = false;
  /** Undefined while all is well. */
  #retryMs: number | undefined;
  #failure: StoreErrorCode | undefined;
  #isHeartbeatLost = false;
  #isSuspect = false;
  #pruneTimer: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;
  #onSettled: (() => void) | undefined;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#outgoing = new OutgoingGroups(options.durability === "strict" ? 0 : RELAXED_INTENT_WAIT_MS);
    this.#link = new WorkerLink({
      setup: () => ({
        ...setupOf(options),
        ownerId: this.#ownerId,
        nextSeq: this.#outgoing.nextSeq,
        isSuspect: this.#isSuspect,
        takenBatches: [...this.#taken],
      }),
      onNotice: (notice) => this.#notice(notice),
      onDown: (error) => this.#failed(error),
      onUp: (ready) => {
        this.#isSuspect = false;
        this.#ownerId = ready.ownerId;
        this.#noteDamage(ready.damaged);
        this.#adopted(ready.recovered);
        this.#flush();
      },
    });
    this.#queries = queriesOver(this.#link);
  }

  async open(): Promise<void> {
    const ready = await this.#link.start();
    this.#deploymentId = ready.deploymentId;
    this.#ownerId = ready.ownerId;
    this.#recovered = ready.recovered;
    for (const [key, startedAtMs] of ready.jobs) this.#jobs.set(key, startedAtMs);
    this.#noteDamage(ready.damaged);
    this.#startPruning();
  }

  get deploymentId(): string {
    return this.#deploymentId;
  }

  get recovered(): number {
    return this.#recovered;
  }

  get unstored(): number {
    return this.#outgoing.records;
  }

  get isNearlyFull(): boolean {
    return this.#outgoing.isNearlyFull;
  }

  get failure(): StoreErrorCode | undefined {
    return this.#failure;
  }

  get pendingJobs(): ReadonlyMap<string, number> {
    return this.#jobs;
  }

  begin(intent: FlowIntent): void {
    if (this.#closed !== undefined) return;
    this.#outgoing.begin(intent, performance.now());
    this.#schedule();
  }

  commit(flowId: string, records: readonly LedgerRecord[]): Promise<void> {
    if (this.#closed !== undefined) return rejected(new StoreError("store_closed", "The store is closed."));
    const stored = this.#outgoing.commit(flowId, records);
    this.#schedule();
    return stored;
  }

  recordGap(kind: string, count: number): void {
    if (this.#closed !== undefined) return;
    this.#outgoing.addGap(kind, count);
    this.#schedule();
  }

  onGap(listener: (kind: string, count: number) => void): void {
    this.#outgoing.onGap(listener);
  }

  saveJob(key: string, startedAtMs: number): void {
    this.#jobs.set(key, startedAtMs);
    this.#setJob(key, startedAtMs);
  }

  removeJob(key: string): void {
    this.#jobs.delete(key);
    this.#setJob(key, null);
  }

  #setJob(key: string, startedAtMs: number | null): void {
    if (this.#closed !== undefined) return;
    this.#outgoing.setJob(key, startedAtMs);
    this.#schedule();
  }

  outbox(sink: string): SinkOutbox {
    return sinkOutbox(sink, { call: (call) => this.#link.call(call), taken: this.#taken, onUnknown: () => this.#tellPending() });
  }

  async pending(): Promise<number> {
    return pendingOf(await this.#link.call({ name: "pending", sink: undefined }));
  }

  async prune(beforeMs: number): Promise<number> {
    const answer = await this.#link.call({ name: "prune", beforeMs });
    if (answer.name !== "pruned") throw unexpectedAnswer(answer);
    return answer.removed;
  }

  events(query: EventQuery): Promise<readonly StoredRecord[]> {
    return this.#queries.events(query);
  }

  usage(query: UsageQuery): Promise<readonly UsageRow[]> {
    return this.#queries.usage(query);
  }

  counts(): Promise<StoreCounts> {
    return this.#queries.counts();
  }

  deadLetters(query: DeadLetterQuery): Promise<readonly DeadLetter[]> {
    return this.#queries.deadLetters(query);
  }

  replayDeadLetters(ids?: readonly string[]): Promise<number> {
    return this.#changeDeadLetters("replay", ids);
  }

  discardDeadLetters(ids?: readonly string[]): Promise<number> {
    return this.#changeDeadLetters("discard", ids);
  }

  async #changeDeadLetters(change: "replay" | "discard", ids: readonly string[] | undefined): Promise<number> {
    const answer = await this.#link.call({ name: "changeDeadLetters", change, ids });
    if (answer.name !== "changed") throw unexpectedAnswer(answer);
    if (change === "replay" && answer.events > 0) this.#tellPending();
    return answer.events;
  }

  onPending(listener: (events?: number, bytes?: number) => void): void {
    this.#listeners.push(listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearInterval(this.#pruneTimer);
    await this.#settle();
    if (!this.#outgoing.isEmpty) {
      this.#options.logger?.error({ records: this.#outgoing.records }, "the store closes with records that could not be written; they are lost");
      this.#outgoing.abandon(new StoreError("store_closed", "The store closed before this could be written."));
    }
    await this.#link.close();
  }

  /** Waits until everything is stored, or no more can be done. */
  async #settle(): Promise<void> {
    this.#flush();
    if (this.#outgoing.isEmpty) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onSettled = resolve;
    const limit = setTimeout(resolve, CLOSE_FLUSH_MS);
    await promise;
    clearTimeout(limit);
  }

  /** Strict: at the next turn of the loop. Relaxed: later, so that more is one transaction. While failing: see #failed. */
  #schedule(): void {
    if (this.#isScheduled || this.#retryMs !== undefined) return;
    this.#isScheduled = true;
    if (this.#options.durability === "strict") setImmediate(this.#flushScheduled);
    else setTimeout(this.#flushScheduled, RELAXED_WAIT_MS);
  }

  readonly #flushScheduled = (): void => {
    this.#isScheduled = false;
    if (this.#retryMs === undefined) this.#flush();
  };

  /** Sends all groups; while storing fails only one, to see whether it works again. */
  #flush(): void {
    if (!this.#link.isUp) return;
    if (this.#outgoing.ripen(this.#closed === undefined ? performance.now() : Number.POSITIVE_INFINITY)) this.#schedule();
    for (;;) {
      if (this.#retryMs !== undefined && this.#outgoing.inFlight > 0) return;
      const group = this.#outgoing.next();
      if (group === undefined) break;
      this.#link.post(group);
    }
    // A worker that died with nothing to do has failed nobody.
    if (!this.#outgoing.isEmpty) return;
    this.#retryMs = undefined;
    this.#failure = undefined;
  }

  #notice(notice: Extract<FromWorker, { kind: "written" | "refused" | "adopted" | "heartbeat" }>): void {
    switch (notice.kind) {
      case "written":
        return this.#written(notice.seq);
      case "refused":
        return this.#failed(new StoreError(notice.error.code, notice.error.message));
      case "adopted":
        return this.#adopted(notice.recovered);
      case "heartbeat":
        return this.#heartbeat(notice.error?.message);
      default:
        return notice satisfies never;
    }
  }

  #written(seq: number): void {
    const { pendingEvents, pendingBytes } = this.#outgoing.stored(seq);
    if (this.#retryMs !== undefined) {
      this.#retryMs = undefined;
      this.#failure = undefined;
      this.#options.logger?.info({ waiting: this.#outgoing.records }, "the store writes again");
      this.#flush();
    }
    if (pendingEvents > 0) this.#tellPending(pendingEvents, pendingBytes);
    if (this.#outgoing.isEmpty) this.#onSettled?.();
  }

  /** What the lost database held and had not been delivered is in its file alone, which is one gap of unknown size. */
  #noteDamage(path: string | undefined): void {
    if (path === undefined) return;
    this.#options.logger?.error({ path }, "the database was damaged: it was set aside under this name, and a new one is in use (docs/operations.md)");
    this.recordGap("database_damaged", 1);
    for (const [key, startedAtMs] of this.#jobs) this.#setJob(key, startedAtMs);
  }

  #failed(error: StoreError): void {
    if (error.code === "not_a_database") this.#isSuspect = true;
    this.#outgoing.refused();
    this.#failure = error.code;
    if (this.#retryMs === undefined) {
      this.#options.logger?.error({ code: error.code, reason: error.message }, "the store cannot write; records are kept in memory and tried again");
    }
    this.#retryMs = this.#retryMs === undefined ? FIRST_RETRY_MS : Math.min(LAST_RETRY_MS, this.#retryMs * 2);
    setTimeout(() => this.#flush(), this.#retryMs);
  }

  #adopted(recovered: number): void {
    this.#recovered += recovered;
    if (recovered > 0) this.#options.logger?.info({ recovered }, "flows of a process that is gone were stored as unknown");
    this.#tellPending();
  }

  #heartbeat(failure: string | undefined): void {
    const isLost = failure !== undefined;
    if (isLost === this.#isHeartbeatLost) return;
    this.#isHeartbeatLost = isLost;
    if (isLost) this.#options.logger?.warn({ reason: failure }, "the store's heartbeat fails");
    else this.#options.logger?.info({}, "the store's heartbeat works again");
  }

  #tellPending(events?: number, bytes?: number): void {
    for (const listener of this.#listeners) {
      try {
        listener(events, bytes);
      } catch (error) {
        this.#options.logger?.error({ err: error }, "a listener of pending events failed");
      }
    }
  }

  #startPruning(): void {
    const { retentionMs, clock = Date.now } = this.#options;
    if (retentionMs === undefined) return;
    const prune = (): void => {
      this.prune(clock() - retentionMs).catch((error: unknown) => {
        if (this.#closed === undefined) this.#options.logger?.warn({ err: error }, "old records could not be pruned");
      });
    };
    this.#pruneTimer = setInterval(prune, PRUNE_EVERY_MS);
    prune();
  }
}

function setupOf(options: StoreOptions): WorkerSetup {
  return {
    mode: "owner",
    path: join(options.dataDir, DATABASE_FILE),
    durability: options.durability,
    sinks: options.sinks ?? ["webhook"],
    busyTimeoutMs: options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS,
    maxBytes: options.maxBytes,
    ownerId: undefined,
    nextSeq: 1,
    isSuspect: false,
    takenBatches: [],
  };
}

function makeDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    accessSync(dataDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new StoreError(
      "data_dir_unwritable",
      `The data directory ${dataDir} cannot be written (${error instanceof Error ? error.message : "unknown reason"}). Make it writable for this user, or set TALLYMAN_DATA_DIR to a directory that is.`,
      error,
    );
  }
}
