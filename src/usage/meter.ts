/**
 * The observer of flows: finds the handler of a flow's host, keeps what passes until there is time to read it, and at
 * the end turns its readings into events and commits them. Watching costs the traffic a push to a list; the reading is
 * done in batches. Nothing here can delay a flow for longer than the commit bound.
 */

import type { Logger } from "pino";

import type { FlowHead, FlowObserver, FlowOutcome, FlowTap, ResponseHead } from "../flow/flow.ts";
import type { HostTable } from "../flow/route.ts";
import type { LedgerRecord, Store } from "../store/store.ts";
import type { Counters, FlowLease } from "./counters.ts";
import { isDelivered, type EventBuilder, type FlowEnding, type FlowFacts } from "./event.ts";
import type { UsageEvent } from "./event-types.ts";
import { FlowReading, reportFault, type FlowReadingOptions } from "./flow-reading.ts";
import type { Handler, Reading } from "./handler.ts";
import { createWorkQueue, type WorkQueue } from "./work-queue.ts";

export interface MeterOptions extends FlowReadingOptions {
  readonly hosts: HostTable<Handler>;
  readonly events: EventBuilder;
  readonly store: Pick<Store, "begin" | "commit" | "recordGap" | "failure">;
  readonly counters: Counters;
  /** False: nothing receives events, so none waits for delivery. */
  readonly hasReceiver: boolean;
  /** True: the outbox is at its bound and its events are dropped (`drop_newest`): kept in the ledger, counted in a durable gap. */
  readonly isQueueFull: () => boolean;
  /** True: the last byte of a response waits for the commit. */
  readonly isStrict: boolean;
  /** The bound of that wait. */
  readonly commitWaitMs: number;
  readonly monotonicMs: () => number;
  readonly logger: Pick<Logger, "warn" | "error" | "debug">;
  /** Called after the events of a flow are stored. */
  readonly onStored: (events: readonly BuiltEvent[]) => void;
  readonly onFlowStart: (flow: ActiveFlow) => void;
  readonly onFlowEnd: (flow: ActiveFlow, ending: FlowEnding, readings: readonly Reading[], outcome: FlowOutcome) => void;
  readonly onCommitWait: (waitedMs: number, isTimeout: boolean) => void;
}

/** An event, and whether it is for the receiver (free ones are not). */
export interface BuiltEvent {
  readonly event: UsageEvent;
  readonly isDelivered: boolean;
}

/** A flow under way, for the dashboard and the log. Asking for its facts opens its reader. */
export interface ActiveFlow {
  readonly flowId: string;
  readonly facts: FlowFacts;
  readonly method: string;
}

/** How long ended flows are gathered where nobody waits for them. */
const RELAXED_GATHER_MS = 10;

export function createMeter(options: MeterOptions): FlowObserver {
  const shared: Shared = {
    options,
    ended: createWorkQueue({ gatherMs: options.isStrict ? 0 : RELAXED_GATHER_MS, monotonicMs: options.monotonicMs }),
    keptBytes: 0,
  };
  return {
    isMetered: (host, port) => options.hosts.lookup(host, port) !== undefined,
    open(head) {
      try {
        const handler = options.hosts.lookup(head.host, head.port);
        return handler === undefined ? undefined : new MeteredFlow(head, new FlowReading(handler, head, options), shared);
      } catch (error) {
        reportFault(options.logger, "open", error);
        return undefined;
      }
    },
    errorShape(head, error) {
      try {
        return options.hosts.lookup(head.host, head.port)?.errorBody?.(error);
      } catch (fault) {
        reportFault(options.logger, "error body", fault);
        return undefined;
      }
    },
  };
}

/** What the flows of one meter have in common. */
interface Shared {
  readonly options: MeterOptions;
  readonly ended: WorkQueue;
  /** Bytes of all flows that passed and are not read yet. */
  keptBytes: number;
}

/** What passes is kept by reference up to these bounds, then it is read: of one flow, in pieces and bytes, and of all. */
const MAX_KEPT_PIECES = 128;
const MAX_KEPT_BYTES = 32 * 1024;
const MAX_KEPT_BYTES_OF_ALL = 8 * 1024 * 1024;

/** One call of the tap that is still to be made of the reading. */
type Piece =
  | { readonly kind: "request"; readonly chunk: Uint8Array }
  | { readonly kind: "request_end" }
  | { readonly kind: "head"; readonly head: ResponseHead }
  | { readonly kind: "response"; readonly chunk: Uint8Array };

const REQUEST_END: Piece = { kind: "request_end" };

/** A class for its identity: one flow from its head to its commit. */
class MeteredFlow implements FlowTap, ActiveFlow {
  readonly flowId: string;
  readonly method: string;
  readonly #shared: Shared;
  readonly #reading: FlowReading;
  readonly #lease: FlowLease;
  readonly #startedAtMs: number;
  readonly #openedAt: number;
  #kept: Piece[] = [];
  #keptBytes = 0;
  #status: number | null = null;
  #firstByteAt: number | null = null;
  #bytesUp = 0;
  #bytesDown = 0;

  constructor(head: FlowHead, reading: FlowReading, shared: Shared) {
    const { events, store, counters, monotonicMs, onFlowStart } = shared.options;
    this.flowId = head.flowId;
    this.method = head.method;
    this.#shared = shared;
    this.#reading = reading;
    this.#startedAtMs = head.startedAtMs;
    this.#openedAt = monotonicMs();
    this.#lease = counters.startFlow();
    store.begin({
      flowId: head.flowId,
      startedAtMs: head.startedAtMs,
      // Only built when the flow outlives its first group commit.
      get unknownEvent() {
        return JSON.stringify(events.buildUnknown(reading.facts));
      },
    });
    isolate(shared.options, () => onFlowStart(this));
  }

  get facts(): FlowFacts {
    return this.#reading.facts;
  }

  requestData(chunk: Uint8Array): void {
    this.#bytesUp += chunk.length;
    this.#keep({ kind: "request", chunk }, chunk.length);
  }

  requestEnd(): void {
    this.#keep(REQUEST_END, 0);
  }

  responseHead(head: ResponseHead): void {
    this.#status = head.status;
    this.#firstByteAt = this.#shared.options.monotonicMs();
    this.#keep({ kind: "head", head }, 0);
  }

  responseData(chunk: Uint8Array): void {
    this.#bytesDown += chunk.length;
    this.#keep({ kind: "response", chunk }, chunk.length);
  }

  end(outcome: FlowOutcome): Promise<void> | undefined {
    const endedAt = this.#shared.options.monotonicMs();
    this.#lease.buffer();
    return this.#boundedWait(
      new Promise((resolve) => {
        this.#shared.ended.add(() => {
          // #settle never rejects.
          void this.#settle(outcome, endedAt).then(resolve);
        });
      }),
    );
  }

  #keep(piece: Piece, bytes: number): void {
    this.#kept.push(piece);
    this.#keptBytes += bytes;
    this.#shared.keptBytes += bytes;
    const isOver = this.#kept.length >= MAX_KEPT_PIECES || this.#keptBytes >= MAX_KEPT_BYTES || this.#shared.keptBytes >= MAX_KEPT_BYTES_OF_ALL;
    // Called from the traffic: a fault that the reading does not catch itself must end here.
    if (isOver) isolate(this.#shared.options, () => this.#read());
  }

  /** Feeds the reading with what was kept. */
  #read(): void {
    const kept = this.#kept;
    this.#kept = [];
    this.#shared.keptBytes -= this.#keptBytes;
    this.#keptBytes = 0;
    const reading = this.#reading;
    for (let i = 0; i < kept.length; i++) {
      const piece = kept[i] as Piece;
      switch (piece.kind) {
        case "request":
          reading.requestData(piece.chunk);
          break;
        case "request_end":
          reading.requestEnd();
          break;
        case "head":
          reading.responseHead(piece.head);
          break;
        case "response": {
          // The events of a stream come one by one; read together they cost a fraction.
          const run = runOfResponse(kept, i);
          reading.responseData(run.length === 1 ? piece.chunk : Buffer.concat(run));
          i += run.length - 1;
          break;
        }
        default:
          piece satisfies never;
      }
    }
  }

  /** Reads out, builds the events and commits them. Resolves when they are stored; never rejects. */
  async #settle(outcome: FlowOutcome, endedAt: number): Promise<void> {
    const { options } = this.#shared;
    try {
      this.#read();
      const found = this.#reading.finish(outcome);
      const readings = found instanceof Promise ? await found : found;
      const ending = this.#ending(outcome, endedAt);
      const built = readings.map((reading, sequence) => this.#buildEvent(reading, ending, sequence));
      const records = built.map((each) => this.#recordOf(each, ending));
      isolate(options, () => options.onFlowEnd(this, ending, readings, outcome));
      await options.store.commit(this.flowId, records);
      this.#lease.store(records.filter((record) => record.delivery === "pending").length);
      isolate(options, () => options.onStored(built));
    } catch (error) {
      // The store has counted what it lost and said so; any other fault is a defect, and its flow comes back as unknown.
      reportFault(options.logger, "settle", error);
      this.#lease.drop();
    }
  }

  #ending(outcome: FlowOutcome, endedAt: number): FlowEnding {
    return {
      endedAtMs: this.#startedAtMs + Math.max(0, endedAt - this.#openedAt),
      status: this.#status ?? (outcome.kind === "refused" ? outcome.status : null),
      requestId: this.#reading.requestId,
      latencyMs: endedAt - this.#openedAt,
      timeToFirstByteMs: this.#firstByteAt === null ? null : this.#firstByteAt - this.#openedAt,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
    };
  }

  /** A reading that makes no event happened all the same: its event says that its usage is not known. */
  #buildEvent(reading: Reading, ending: FlowEnding, sequence: number): BuiltEvent & { readonly body: string } {
    const { events, logger } = this.#shared.options;
    const build = (from: Reading): BuiltEvent & { readonly body: string } => {
      const event = events.build(this.facts, ending, from, sequence);
      return { event, body: JSON.stringify(event), isDelivered: isDelivered(from) };
    };
    try {
      return build(reading);
    } catch (error) {
      reportFault(logger, this.facts.meter, error);
      return build({ kind: "unmeasured", reason: "meter_fault" });
    }
  }

  #recordOf({ event, body, isDelivered: isForReceiver }: BuiltEvent & { readonly body: string }, ending: FlowEnding): LedgerRecord {
    const { hasReceiver } = this.#shared.options;
    return {
      id: event.id,
      flowId: this.flowId,
      timeMs: Math.trunc(ending.endedAtMs),
      delivery: hasReceiver && isForReceiver && !this.#isDropped() ? "pending" : "none",
      body,
    };
  }

  #isDropped(): boolean {
    const { isQueueFull, store } = this.#shared.options;
    if (!isQueueFull()) return false;
    store.recordGap("queue_full", 1);
    return true;
  }

  /** Under `relaxed` nothing waits; under `strict` the wait ends at its bound and leaves a durable gap. */
  #boundedWait(stored: Promise<void>): Promise<void> | undefined {
    const { options } = this.#shared;
    const { isStrict, commitWaitMs, monotonicMs, store, onCommitWait } = options;
    if (!isStrict) return undefined;
    if (store.failure !== undefined) {
      // Nothing can be written now: waiting would only delay the traffic.
      store.recordGap("commit_timeout", 1);
      isolate(options, () => onCommitWait(0, true));
      return undefined;
    }
    const from = monotonicMs();
    return new Promise((resolve) => {
      const over = (isTimeout: boolean): void => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        if (isTimeout) store.recordGap("commit_timeout", 1);
        isolate(options, () => onCommitWait(monotonicMs() - from, isTimeout));
        resolve();
      };
      let isOver = false;
      const timer = setTimeout(over, commitWaitMs, true);
      void stored.then(() => over(false));
    });
  }
}

/** The response bytes from a place on, as far as nothing else comes between them. */
function runOfResponse(kept: readonly Piece[], from: number): Uint8Array[] {
  const run: Uint8Array[] = [];
  for (let i = from; i < kept.length; i++) {
    const piece = kept[i];
    if (piece?.kind !== "response") break;
    run.push(piece.chunk);
  }
  return run;
}

function isolate(options: MeterOptions, work: () => void): void {
  try {
    work();
  } catch (error) {
    reportFault(options.logger, "listener", error);
  }
}
