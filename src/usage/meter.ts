/**
 * The observer of flows: finds the handler of a flow's host, keeps what passes until there is time to read it, and at
 * the end turns its readings into events and commits them. Watching costs the traffic a push to a list; the reading is
 * done in batches. Nothing here can delay a flow for longer than the commit bound.
 */

import type { Logger } from "pino";

import type { FlowHead, FlowObserver, FlowOutcome, FlowTap, ResponseHead } from "../flow/flow.ts";
import type { HostTable } from "../flow/route.ts";
import type { Store } from "../store/store.ts";
import type { Counters, FlowLease } from "./counters.ts";
import type { EventBuilder, FlowEnding, FlowFacts } from "./event.ts";
import { reportFault } from "./fault.ts";
import { FlowReading, type FlowReadingOptions } from "./flow-reading.ts";
import { openFlow } from "./flow-opening.ts";
import type { Handler, Reading } from "./handler.ts";
import type { Recognition } from "./recognition.ts";
import { IntervalParts, scheduleWithTimers, type Schedule } from "./interval-parts.ts";
import { KeptPieces, type KeptBytes } from "./kept-pieces.ts";
import { createSettlement, isolate, type FrozenEvent, type Settlement, type SettlementOptions } from "./settlement.ts";
import { ownerOf } from "./shared-host.ts";
import { SocketFlow } from "./socket-flow.ts";
import { createWorkQueue, type WorkQueue } from "./work-queue.ts";

export interface MeterOptions extends FlowReadingOptions, SettlementOptions {
  readonly hosts: HostTable<Handler>;
  /** The handler of a flow whose host is nobody's. Left out: such flows pass unwatched. */
  readonly recognize?: Recognition | undefined;
  readonly events: EventBuilder;
  readonly store: Pick<Store, "begin" | "commit" | "recordGap" | "failure">;
  readonly counters: Counters;
  readonly monotonicMs: () => number;
  /** Of responses that never end. Default: timers. */
  readonly schedule?: Schedule;
  readonly logger: Pick<Logger, "warn" | "error" | "debug">;
  readonly onFlowStart: (flow: ActiveFlow) => void;
  readonly onFlowEnd: (flow: ActiveFlow, ending: FlowEnding, readings: readonly Reading[], outcome: FlowOutcome) => void;
}

/** A flow under way, for the dashboard and the log. Asking for its facts opens its reader. */
export interface ActiveFlow {
  readonly flowId: string;
  readonly facts: FlowFacts;
  readonly method: string;
}

/** How long ended flows are gathered where nobody waits for them. */
const RELAXED_GATHER_MS = 10;

/** Of the bound of the commit, what the counting of tokens may take: the rest is for the disk. */
const COUNTING_SHARE = 0.6;

/** How long tokens may be counted where nobody waits: of an answer that was cut off, and under `relaxed`. */
const UNHURRIED_COUNTING_MS = 5000;

export function createMeter(options: MeterOptions): FlowObserver {
  const shared: Shared = {
    options,
    settlement: createSettlement(options),
    ended: createWorkQueue({ gatherMs: options.isStrict ? 0 : RELAXED_GATHER_MS, monotonicMs: options.monotonicMs }),
    keptBytes: { ofAll: 0 },
  };
  const handlerOf = (head: FlowHead): Handler | undefined => {
    const known = options.hosts.lookup(head.host, head.port);
    return known === undefined ? options.recognize?.(head) : ownerOf(known, head);
  };
  return {
    isMetered: (host, port) => options.hosts.lookup(host, port) !== undefined,
    open(head) {
      try {
        const handler = handlerOf(head);
        if (handler === undefined) return undefined;
        if (head.protocol === "websocket") return new SocketFlow(head, openFlow(handler, head, options), { options, settlement: shared.settlement });
        return new MeteredFlow(head, new FlowReading(handler, head, options), shared);
      } catch (error) {
        reportFault(options.logger, "open", error);
        return undefined;
      }
    },
    errorShape(head, error) {
      try {
        return handlerOf(head)?.errorBody?.(error);
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
  readonly settlement: Settlement;
  readonly ended: WorkQueue;
  readonly keptBytes: KeptBytes;
}

/** A class for its identity: one flow from its head to its commit. */
class MeteredFlow implements FlowTap, ActiveFlow {
  readonly flowId: string;
  readonly method: string;
  readonly #shared: Shared;
  readonly #reading: FlowReading;
  readonly #lease: FlowLease;
  readonly #startedAtMs: number;
  readonly #openedAt: number;
  /** Of a response that may never end. */
  #parts: IntervalParts | undefined;
  readonly #kept: KeptPieces;
  #status: number | null = null;
  #firstByteAt: number | null = null;
  #bytesUp = 0;
  #bytesDown = 0;

  constructor(head: FlowHead, reading: FlowReading, shared: Shared) {
    const { counters, monotonicMs, onFlowStart } = shared.options;
    this.flowId = head.flowId;
    this.method = head.method;
    this.#shared = shared;
    this.#reading = reading;
    this.#kept = new KeptPieces(shared.keptBytes);
    this.#startedAtMs = head.startedAtMs;
    this.#openedAt = monotonicMs();
    this.#lease = counters.startFlow();
    this.#begin(0);
    isolate(shared.options, () => onFlowStart(this));
  }

  get facts(): FlowFacts {
    return this.#reading.facts;
  }

  requestData(chunk: Uint8Array): void {
    this.#bytesUp += chunk.length;
    this.#kept.requestData(chunk);
    this.#readIfFull();
  }

  requestEnd(): void {
    this.#kept.requestEnd();
    if (this.#shared.options.estimator?.hasCanonicalTokens === true) isolate(this.#shared.options, () => this.#read());
  }

  responseHead(head: ResponseHead): void {
    this.#status = head.status;
    this.#firstByteAt = this.#shared.options.monotonicMs();
    this.#kept.responseHead(head);
    if (this.#reading.kind === "connector") isolate(this.#shared.options, () => this.#openParts());
  }

  responseData(chunk: Uint8Array): void {
    this.#bytesDown += chunk.length;
    this.#kept.responseData(chunk);
    this.#readIfFull();
  }

  end(outcome: FlowOutcome): Promise<void> | undefined {
    const endedAt = this.#shared.options.monotonicMs();
    this.#lease.buffer();
    this.#parts?.stop();
    return this.#shared.settlement.boundedWait(
      new Promise((resolve) => {
        this.#shared.ended.add(() => {
          // #settle never rejects.
          void this.#settle(outcome, endedAt).then(resolve);
        });
      }),
      isHeld(outcome),
    );
  }

  /** `sequence`: how many events the flow has. */
  #begin(sequence: number): void {
    const { events, store } = this.#shared.options;
    const reading = this.#reading;
    store.begin({
      flowId: this.flowId,
      startedAtMs: this.#startedAtMs,
      // Only built when the flow outlives its first group commit.
      get unknownEvent() {
        return JSON.stringify(events.buildUnknown(reading.facts, sequence));
      },
    });
  }

  #openParts(): void {
    this.#read();
    if (this.#reading.isDeltaDue === undefined) return;
    const { options, settlement } = this.#shared;
    this.#parts = new IntervalParts(
      {
        flowId: this.flowId,
        facts: this.facts,
        settlement,
        monotonicMs: options.monotonicMs,
        schedule: (work, ms) => (options.schedule ?? scheduleWithTimers)(() => isolate(options, work), ms),
        startPart: () => options.counters.startPart(),
        begin: (sequence) => this.#begin(sequence),
        takeDelta: () => {
          this.#read();
          return this.#reading.takeDelta();
        },
        ending: () => this.#ending({ kind: "complete" }, options.monotonicMs()),
      },
      this.#openedAt,
    );
  }

  /** Called from the traffic: a fault that the reading does not catch itself must end here. */
  #readIfFull(): void {
    if (this.#kept.isFull) isolate(this.#shared.options, () => this.#readOn());
  }

  #readOn(): void {
    this.#read();
    if (this.#reading.isDeltaDue === true) this.#parts?.store();
  }

  /** Feeds the reading with what was kept, while the flow goes on. */
  #read(): void {
    this.#kept.feed(this.#reading);
    this.#reading.hold();
  }

  /** Reads out, builds the events and commits them. Resolves when they are stored; never rejects. */
  async #settle(outcome: FlowOutcome, endedAt: number): Promise<void> {
    const { options, settlement } = this.#shared;
    try {
      this.#kept.feed(this.#reading);
      const found = this.#reading.finish(outcome);
      const concluding = this.#reading.conclude(found instanceof Promise ? await found : found, this.#countingMs(outcome));
      const { readings, canonicalInputTokens } = concluding instanceof Promise ? await concluding : concluding;
      const ending = { ...this.#ending(outcome, endedAt), canonicalInputTokens };
      const built = this.#parts === undefined ? settlement.build(this.facts, ending, readings, 0) : this.#lastPart(this.#parts, readings);
      isolate(options, () => options.onFlowEnd(this, ending, readings, outcome));
      await settlement.commit(this.flowId, built, this.#lease);
    } catch (error) {
      reportFault(options.logger, "settle", error);
      this.#lease.drop();
    }
  }

  /** A flow that has left events ends in one more only where there is more to tell. */
  #lastPart(parts: IntervalParts, readings: readonly Reading[]): readonly FrozenEvent[] {
    const { facts, ending } = parts.part();
    const left = parts.sequence === 0 ? readings : readings.filter(({ kind }) => kind !== "free");
    return this.#shared.settlement.build(facts, ending, left, parts.sequence);
  }

  #countingMs(outcome: FlowOutcome): number {
    const { isStrict, commitWaitMs } = this.#shared.options;
    return isStrict && isHeld(outcome) ? commitWaitMs * COUNTING_SHARE : UNHURRIED_COUNTING_MS;
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
}

/** Whether a last byte waits for the commit: an answer that was cut off has none. */
function isHeld(outcome: FlowOutcome): boolean {
  return outcome.kind === "complete";
}
