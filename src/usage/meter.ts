/**
 * The observer of flows: finds the handler of a flow's host, feeds one reader with decoded bytes, and at the end turns
 * its readings into events and commits them. Isolates every fault: whatever a handler throws becomes an `unknown`
 * event, and nothing here can delay a flow for longer than the commit bound.
 */

import type { Logger } from "pino";

import { createDecoder, parseContentEncoding, type Decoder } from "../flow/content-coding.ts";
import type { FlowHead, FlowObserver, FlowOutcome, FlowTap, ResponseHead } from "../flow/flow.ts";
import { getHeader } from "../flow/headers.ts";
import type { HostTable } from "../flow/route.ts";
import type { LedgerRecord, Store } from "../store/store.ts";
import type { Attribution } from "./attribution.ts";
import type { Counters, FlowLease } from "./counters.ts";
import { isDelivered, requestIdOf, type EventBuilder, type FlowEnding, type FlowFacts } from "./event.ts";
import type { UsageEvent } from "./event-types.ts";
import type { Handler, OpenedExchange, PendingJobs, Reader, ReadEnd, Reading } from "./handler.ts";

export interface MeterOptions {
  readonly hosts: HostTable<Handler>;
  readonly attribute: (head: FlowHead) => Attribution;
  readonly isBillable: (meter: string, head: FlowHead) => boolean;
  readonly events: EventBuilder;
  readonly store: Pick<Store, "begin" | "commit" | "recordGap" | "failure">;
  readonly counters: Counters;
  readonly jobsFor: (handler: Handler, head: FlowHead) => PendingJobs;
  readonly isEstimateAllowed: boolean;
  /** False: nothing receives events, so none waits for delivery. */
  readonly hasReceiver: boolean;
  /** True: the outbox is at its bound and its events are dropped (`drop_newest`): kept in the ledger, counted in a durable gap. */
  readonly isQueueFull: () => boolean;
  /** True: the last byte of a response waits for the commit. */
  readonly isStrict: boolean;
  /** The bound of that wait. */
  readonly commitWaitMs: number;
  readonly now: () => number;
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

/** A flow under way, for the dashboard and the log. */
export interface ActiveFlow {
  readonly facts: FlowFacts;
  readonly method: string;
}

export function createMeter(options: MeterOptions): FlowObserver {
  return {
    isMetered: (host, port) => options.hosts.lookup(host, port) !== undefined,
    open(head) {
      try {
        const handler = options.hosts.lookup(head.host, head.port);
        return handler === undefined ? undefined : openFlow(handler, head, options);
      } catch (error) {
        reportFault(options, "open", error);
        return undefined;
      }
    },
    errorShape(head, error) {
      try {
        return options.hosts.lookup(head.host, head.port)?.errorBody?.(error);
      } catch (fault) {
        reportFault(options, "error body", fault);
        return undefined;
      }
    },
  };
}

function openFlow(handler: Handler, head: FlowHead, options: MeterOptions): FlowTap {
  const opened = openExchange(handler, head, options);
  const facts: FlowFacts = {
    flowId: head.flowId,
    startedAtMs: head.startedAtMs,
    host: head.host,
    meter: handler.id,
    kind: handler.kind,
    api: opened.api,
    operation: opened.operation,
    attribution: attributionOf(head, options),
    billable: options.isBillable(handler.id, head),
  };
  return new MeteredFlow(head, facts, opened.reader, options);
}

function attributionOf(head: FlowHead, options: MeterOptions): Attribution {
  try {
    return options.attribute(head);
  } catch (error) {
    reportFault(options, "attribution", error);
    return NOBODY;
  }
}

const NOBODY: Attribution = { orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} };

function openExchange(handler: Handler, head: FlowHead, options: MeterOptions): OpenedExchange {
  const question = head.target.indexOf("?");
  const exchange = {
    host: head.host,
    port: head.port,
    protocol: head.protocol,
    method: head.method,
    path: question === -1 ? head.target : head.target.slice(0, question),
    query: question === -1 ? "" : head.target.slice(question + 1),
    headers: head.headers,
  };
  try {
    return handler.open(exchange, { isEstimateAllowed: options.isEstimateAllowed, jobs: options.jobsFor(handler, head) });
  } catch (error) {
    reportFault(options, handler.id, error);
    return { api: `${handler.id}.other`, operation: "other", isBillable: true, reader: brokenReader };
  }
}

/** Stands in for a reader that could not be made. */
const brokenReader: Reader = {
  response: () => undefined,
  push: () => undefined,
  end: () => [{ kind: "unmeasured", reason: "meter_fault" }],
};

/** A class for its identity: one flow from its head to its commit. */
class MeteredFlow implements FlowTap, ActiveFlow {
  readonly facts: FlowFacts;
  readonly method: string;
  readonly #options: MeterOptions;
  readonly #lease: FlowLease;
  readonly #openedAt: number;
  #reader: Reader | undefined;
  #requestDecoder: Decoder | undefined;
  #responseDecoder: Decoder | undefined;
  /** Settled when a decoded request is read to its end; undefined while its body still comes, or where nothing is decoded. */
  #requestDecoded: Promise<void> | undefined;
  #isRequestReadable = true;
  #isUndecodable = false;
  #hasFault = false;
  #status: number | null = null;
  #requestId: string | null = null;
  #firstByteAt: number | null = null;
  #bytesUp = 0;
  #bytesDown = 0;

  constructor(head: FlowHead, facts: FlowFacts, reader: Reader | undefined, options: MeterOptions) {
    this.facts = facts;
    this.method = head.method;
    this.#options = options;
    this.#reader = reader;
    this.#openedAt = options.monotonicMs();
    this.#lease = options.counters.startFlow();
    const { events, store } = options;
    store.begin({
      flowId: facts.flowId,
      startedAtMs: facts.startedAtMs,
      // Only built when the flow outlives its first group commit.
      get unknownEvent() {
        return JSON.stringify(events.buildUnknown(facts));
      },
    });
    this.#openRequestDecoder(head);
    isolate(options, () => options.onFlowStart(this));
  }

  requestData(chunk: Uint8Array): void {
    this.#bytesUp += chunk.length;
    if (!this.#isRequestReadable) return;
    if (this.#requestDecoder !== undefined) this.#requestDecoder.push(chunk);
    else this.#guard(() => this.#reader?.requestData?.(chunk));
  }

  requestEnd(): void {
    const decoder = this.#requestDecoder;
    if (decoder !== undefined) {
      this.#requestDecoded = new Promise((resolve) => {
        this.#onRequestDecoded = resolve;
      });
      decoder.end();
    } else this.#guard(() => this.#reader?.requestEnd?.());
  }

  responseHead(head: ResponseHead): void {
    this.#status = head.status;
    this.#firstByteAt = this.#options.monotonicMs();
    this.#guard(() => {
      this.#requestId = requestIdOf(head.headers);
      this.#reader?.response(head);
      this.#openResponseDecoder(head);
    });
  }

  responseData(chunk: Uint8Array): void {
    this.#bytesDown += chunk.length;
    if (this.#reader === undefined || this.#isUndecodable) return;
    if (this.#responseDecoder !== undefined) this.#responseDecoder.push(chunk);
    else this.#guard(() => this.#reader?.push(chunk));
  }

  end(outcome: FlowOutcome): Promise<void> | undefined {
    const endedAt = this.#options.monotonicMs();
    this.#lease.buffer();
    // A request whose body has not ended is read no further; one that has is read to its end.
    if (this.#requestDecoded === undefined) this.#requestDecoder?.destroy();
    const decoded = [this.#requestDecoded, this.#endResponseDecoder()].filter((each) => each !== undefined);
    const settled = decoded.length === 0 ? this.#settle(outcome, endedAt) : Promise.all(decoded).then(() => this.#settle(outcome, endedAt));
    return this.#boundedWait(settled);
  }

  #onRequestDecoded: (() => void) | undefined;
  #onResponseDecoded: (() => void) | undefined;

  /** Undefined where nothing is decoded. */
  #endResponseDecoder(): Promise<void> | undefined {
    const decoder = this.#responseDecoder;
    if (decoder === undefined) return undefined;
    return new Promise((resolve) => {
      this.#onResponseDecoded = resolve;
      decoder.end();
    });
  }

  #openRequestDecoder(head: FlowHead): void {
    const coding = getHeader(head.headers, "content-encoding");
    if (this.#reader?.requestData === undefined || coding === undefined) return;
    const codings = parseContentEncoding(coding);
    if (codings === undefined) this.#isRequestReadable = false;
    else if (codings.some((name) => name !== "identity")) {
      this.#requestDecoder = createDecoder({
        codings,
        onData: (chunk) => this.#guard(() => this.#reader?.requestData?.(chunk)),
        onEnd: () => {
          this.#guard(() => this.#reader?.requestEnd?.());
          this.#onRequestDecoded?.();
        },
      });
    }
  }

  #openResponseDecoder(head: ResponseHead): void {
    const coding = getHeader(head.headers, "content-encoding");
    if (coding === undefined || this.#reader === undefined) return;
    const codings = parseContentEncoding(coding);
    if (codings === undefined) this.#isUndecodable = true;
    else if (codings.some((name) => name !== "identity")) {
      this.#responseDecoder = createDecoder({
        codings,
        onData: (chunk) => this.#guard(() => this.#reader?.push(chunk)),
        onEnd: (result) => {
          if (result === "corrupt" || result === "overflow") this.#isUndecodable = true;
          if (result === "truncated") this.#isCut = true;
          this.#onResponseDecoded?.();
        },
      });
    }
  }

  #isCut = false;

  /** Reads out, builds the events and commits them. Resolves when they are stored; never rejects. */
  async #settle(outcome: FlowOutcome, endedAt: number): Promise<void> {
    const options = this.#options;
    const ending: FlowEnding = {
      endedAtMs: this.facts.startedAtMs + Math.max(0, endedAt - this.#openedAt),
      status: this.#status ?? (outcome.kind === "refused" ? outcome.status : null),
      requestId: this.#requestId,
      latencyMs: endedAt - this.#openedAt,
      timeToFirstByteMs: this.#firstByteAt === null ? null : this.#firstByteAt - this.#openedAt,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
    };
    const readings = this.#readOut(outcome);
    const built = readings.map((reading, sequence) => this.#buildEvent(reading, ending, sequence));
    const records = built.map(({ event, body, isDelivered: isForReceiver }): LedgerRecord => ({
      id: event.id,
      flowId: this.facts.flowId,
      timeMs: Math.trunc(ending.endedAtMs),
      delivery: options.hasReceiver && isForReceiver && !this.#isDropped() ? "pending" : "none",
      body,
    }));
    isolate(options, () => options.onFlowEnd(this, ending, readings, outcome));
    try {
      await options.store.commit(this.facts.flowId, records);
      this.#lease.store(records.filter((record) => record.delivery === "pending").length);
      isolate(options, () => options.onStored(built));
    } catch (error) {
      // The store has counted what it lost and said so.
      options.logger.debug({ err: error }, "usage could not be stored");
      this.#lease.drop();
    }
  }

  /** A reading that makes no event happened all the same: its event says that its usage is not known. */
  #buildEvent(reading: Reading, ending: FlowEnding, sequence: number): BuiltEvent & { readonly body: string } {
    const { events } = this.#options;
    const build = (from: Reading): BuiltEvent & { readonly body: string } => {
      const event = events.build(this.facts, ending, from, sequence);
      return { event, body: JSON.stringify(event), isDelivered: isDelivered(from) };
    };
    try {
      return build(reading);
    } catch (error) {
      reportFault(this.#options, this.facts.meter, error);
      return build({ kind: "unmeasured", reason: "meter_fault" });
    }
  }

  #isDropped(): boolean {
    if (!this.#options.isQueueFull()) return false;
    this.#options.store.recordGap("queue_full", 1);
    return true;
  }

  #readOut(outcome: FlowOutcome): readonly Reading[] {
    const reader = this.#reader;
    this.#reader = undefined;
    if (this.#hasFault) return [{ kind: "unmeasured", reason: "meter_fault" }];
    if (outcome.kind === "refused") return [{ kind: "free", reason: outcome.code }];
    if (reader === undefined) return [{ kind: "free", reason: "nothing_billable" }];
    try {
      const readings = reader.end({ kind: this.#endKind(outcome.kind) });
      return readings.length > 0 ? readings : [{ kind: "free", reason: "nothing_billable" }];
    } catch (error) {
      reportFault(this.#options, this.facts.meter, error);
      return [{ kind: "unmeasured", reason: "meter_fault" }];
    }
  }

  #endKind(outcome: "complete" | "client_aborted" | "upstream_aborted"): ReadEnd["kind"] {
    if (this.#isUndecodable) return "undecodable";
    return outcome === "complete" && this.#isCut ? "upstream_aborted" : outcome;
  }

  /** Under `relaxed` nothing waits; under `strict` the wait ends at its bound and leaves a durable gap. */
  #boundedWait(stored: Promise<void>): Promise<void> | undefined {
    const { isStrict, commitWaitMs, monotonicMs, store, onCommitWait } = this.#options;
    if (!isStrict) return undefined;
    if (store.failure !== undefined) {
      // Nothing can be written now: waiting would only delay the traffic.
      store.recordGap("commit_timeout", 1);
      isolate(this.#options, () => onCommitWait(0, true));
      return undefined;
    }
    const from = monotonicMs();
    return new Promise((resolve) => {
      const over = (isTimeout: boolean): void => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        if (isTimeout) store.recordGap("commit_timeout", 1);
        isolate(this.#options, () => onCommitWait(monotonicMs() - from, isTimeout));
        resolve();
      };
      let isOver = false;
      const timer = setTimeout(over, commitWaitMs, true);
      void stored.then(() => over(false));
    });
  }

  /** Runs reader code; after a throw the reader is not called again. */
  #guard(work: () => void): void {
    if (this.#hasFault) return;
    try {
      work();
    } catch (error) {
      this.#hasFault = true;
      this.#reader = undefined;
      reportFault(this.#options, this.facts.meter, error);
    }
  }
}

function isolate(options: MeterOptions, work: () => void): void {
  try {
    work();
  } catch (error) {
    reportFault(options, "listener", error);
  }
}

/** Logs where a fault happened. Its message is left out: a parser quotes the text that it choked on. */
function reportFault(options: MeterOptions, where: string, error: unknown): void {
  const name = error instanceof Error ? error.name : typeof error;
  const frames = error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)).slice(0, 4) : [];
  options.logger.error({ where, error: name, frames: frames.map((line) => line.trim()) }, "a meter failed; the traffic is unharmed");
}
