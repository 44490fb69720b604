/**
 * The watching of one WebSocket: its bytes are decoded into messages as they pass, each response (or turn) that a
 * message finishes becomes events at once, and that message waits for their commit. A socket that is refused, and one
 * on which nothing finished, leaves one record at its end.
 */

import type { FlowHead, FlowOutcome, FlowTap, ResponseHead } from "../flow/flow.ts";
import { getHeaderValues } from "../flow/headers.ts";
import type { Store } from "../store/store.ts";
import type { Counters, FlowLease } from "./counters.ts";
import { requestIdOf, type EventBuilder, type FlowEnding, type FlowFacts } from "./event.ts";
import { readExtensions } from "./extract/websocket-inflate.ts";
import { createWebSocketDecoder, type WebSocketDecoder } from "./extract/websocket-messages.ts";
import { reportFault } from "./fault.ts";
import type { OpenedFlow } from "./flow-opening.ts";
import type { Reading, SocketMessage, SocketReader } from "./handler.ts";
import { INTERVAL_MS, scheduleWithTimers, type Schedule } from "./interval-parts.ts";
import type { ActiveFlow } from "./meter.ts";
import { isolate, type Settlement, type SettlementOptions } from "./settlement.ts";

export interface SocketFlowOptions extends SettlementOptions {
  readonly events: EventBuilder;
  readonly store: Pick<Store, "begin" | "commit" | "recordGap" | "failure">;
  readonly counters: Counters;
  /** Of sockets without turns. Default: timers. */
  readonly schedule?: Schedule;
  readonly onFlowStart: (flow: ActiveFlow) => void;
  readonly onFlowEnd: (flow: ActiveFlow, ending: FlowEnding, readings: readonly Reading[], outcome: FlowOutcome) => void;
}

export interface SocketFlowDeps {
  readonly options: SocketFlowOptions;
  readonly settlement: Settlement;
}

/** What passed since the last events, for the times and sizes of the next. */
interface Turn {
  /** Monotonic; undefined until the client has said something. */
  startedAt: number | undefined;
  firstByteAt: number | undefined;
  bytesUp: number;
  bytesDown: number;
}

/** A class for its identity: one socket from its request to its end. */
export class SocketFlow implements FlowTap, ActiveFlow {
  readonly flowId: string;
  readonly method: string;
  readonly facts: FlowFacts;
  readonly #deps: SocketFlowDeps;
  readonly #lease: FlowLease;
  readonly #openedAt: number;
  #reader: SocketReader | undefined;
  #clientDecoder: WebSocketDecoder | undefined;
  #serverDecoder: WebSocketDecoder | undefined;
  #status: number | null = null;
  #requestId: string | null = null;
  #turn: Turn = emptyTurn();
  #sequence = 0;
  /** Readings of the bytes that are being decoded. */
  #found: Reading[] = [];
  /** Why what passes is not understood any more. */
  #fault: string | undefined;
  /** Of a socket whose reader is asked at intervals. */
  #stopIntervals: (() => void) | undefined;

  constructor(head: FlowHead, { facts, opened }: OpenedFlow, deps: SocketFlowDeps) {
    this.flowId = head.flowId;
    this.method = head.method;
    this.facts = facts;
    this.#deps = deps;
    this.#reader = opened.socket;
    this.#openedAt = deps.options.monotonicMs();
    this.#lease = deps.options.counters.startFlow();
    this.#begin();
    isolate(deps.options, () => deps.options.onFlowStart(this));
  }

  requestData(chunk: Uint8Array): void {
    this.#turn.startedAt ??= this.#deps.options.monotonicMs();
    this.#turn.bytesUp += chunk.length;
    this.#decode(this.#clientDecoder, chunk);
  }

  requestEnd(): void {
    // The request of an upgrade has no body; the socket's own end is told by end().
  }

  responseHead(head: ResponseHead): void {
    this.#status = head.status;
    this.#requestId = requestIdOf(head.headers);
    if (head.status !== 101 || this.#reader === undefined) return;
    const extensions = readExtensions(getHeaderValues(head.headers, "sec-websocket-extensions").join(", "));
    if (extensions === "unknown_extension") {
      this.#fault = extensions;
      return;
    }
    this.#clientDecoder = this.#decoder("client", extensions.client, (message, reader) => reader.clientMessage(message));
    this.#serverDecoder = this.#decoder("server", extensions.server, (message, reader) => void this.#found.push(...reader.serverMessage(message)));
    if (this.#reader.deltas !== undefined) this.#startIntervals();
  }

  responseData(chunk: Uint8Array): Promise<void> | undefined {
    this.#turn.firstByteAt ??= this.#deps.options.monotonicMs();
    this.#turn.bytesDown += chunk.length;
    this.#decode(this.#serverDecoder, chunk);
    if (this.#found.length === 0) return undefined;
    const readings = this.#found;
    this.#found = [];
    return this.#storePart(readings);
  }

  end(outcome: FlowOutcome): Promise<void> | undefined {
    const { options, settlement } = this.#deps;
    this.#stopIntervals?.();
    const readings = this.#readOut(outcome);
    const ending = this.#ending(outcome);
    this.#lease.buffer();
    const built = settlement.build(this.#factsOfTurn(), ending, readings, this.#sequence);
    isolate(options, () => options.onFlowEnd(this, ending, readings, outcome));
    // Of a socket that has ended no byte waits; of the answer that refused one, the last does.
    return settlement.boundedWait(settlement.commit(this.flowId, built, this.#lease), this.#status !== 101);
  }

  #startIntervals(): void {
    const { options } = this.#deps;
    this.#stopIntervals = (options.schedule ?? scheduleWithTimers)(() => isolate(options, () => this.#storeDelta()), INTERVAL_MS);
  }

  #storeDelta(): void {
    let readings: readonly Reading[] = [];
    if (this.#fault === undefined) this.#guard(() => void (readings = this.#reader?.deltas?.take() ?? []));
    if (readings.length > 0) void this.#storePart(readings);
  }

  /** Stores what a message finished; the socket goes on, and a crash from here on leaves an `unknown` event behind it. */
  #storePart(readings: readonly Reading[]): Promise<void> | undefined {
    const { options, settlement } = this.#deps;
    const lease = options.counters.startPart();
    const built = settlement.build(this.#factsOfTurn(), this.#ending({ kind: "complete" }), readings, this.#sequence);
    this.#sequence += built.length;
    this.#turn = emptyTurn();
    const stored = settlement.commit(this.flowId, built, lease);
    this.#begin();
    return settlement.boundedWait(stored);
  }

  #begin(): void {
    const { store, events } = this.#deps.options;
    const { flowId, facts } = this;
    const sequence = this.#sequence;
    store.begin({
      flowId,
      startedAtMs: facts.startedAtMs,
      get unknownEvent() {
        return JSON.stringify(events.buildUnknown(facts, sequence));
      },
    });
  }

  #decoder(
    direction: "client" | "server",
    deflate: Parameters<typeof createWebSocketDecoder>[0]["deflate"],
    onMessage: (message: SocketMessage, reader: SocketReader) => void,
  ): WebSocketDecoder {
    return createWebSocketDecoder({
      direction,
      deflate,
      onMessage: (message) => {
        // A reader that threw is not asked again, not even for what else came in the same bytes.
        const reader = this.#reader;
        if (reader !== undefined && this.#fault !== "meter_fault") this.#guard(() => onMessage(message, reader));
      },
      onFault: (reason) => void (this.#fault = reason),
    });
  }

  /** Whatever the decoder or the reader throws ends the reading, not the socket. */
  #decode(decoder: WebSocketDecoder | undefined, chunk: Uint8Array): void {
    if (this.#fault === undefined) this.#guard(() => decoder?.feed(chunk));
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fault = "meter_fault";
      reportFault(this.#deps.options.logger, this.facts.meter, error);
    }
  }

  /** What is left, and whether it is all: at least one reading where the socket has left no record yet. */
  #readOut(outcome: FlowOutcome): readonly Reading[] {
    if (outcome.kind === "refused") return [{ kind: "free", reason: outcome.code }];
    if (this.#status !== 101) return [{ kind: "free", reason: "upgrade_refused" }];
    const readings = [...this.#found, ...this.#lastReadings(outcome)];
    const fault = this.#reader === undefined ? "socket_unread" : this.#fault;
    if (fault !== undefined) readings.push({ kind: "unmeasured", reason: fault });
    return readings.length === 0 && this.#sequence === 0 ? [{ kind: "free", reason: "nothing_billable" }] : readings;
  }

  #lastReadings(outcome: FlowOutcome): readonly Reading[] {
    if (this.#fault === "meter_fault" || outcome.kind === "refused") return [];
    let readings: readonly Reading[] = [];
    this.#guard(() => {
      readings = this.#reader?.end({ kind: outcome.kind }) ?? [];
    });
    return readings;
  }

  /** A response begins when the client first says something after the one before it. */
  #factsOfTurn(): FlowFacts {
    const startedAt = this.#turn.startedAt ?? this.#openedAt;
    return { ...this.facts, startedAtMs: this.facts.startedAtMs + Math.max(0, startedAt - this.#openedAt) };
  }

  #ending(outcome: FlowOutcome): FlowEnding {
    const now = this.#deps.options.monotonicMs();
    const startedAt = this.#turn.startedAt ?? this.#openedAt;
    const { firstByteAt } = this.#turn;
    return {
      endedAtMs: this.facts.startedAtMs + Math.max(0, now - this.#openedAt),
      status: this.#status ?? (outcome.kind === "refused" ? outcome.status : null),
      requestId: this.#requestId,
      latencyMs: now - startedAt,
      timeToFirstByteMs: firstByteAt === undefined ? null : Math.max(0, firstByteAt - startedAt),
      bytesUp: this.#turn.bytesUp,
      bytesDown: this.#turn.bytesDown,
    };
  }
}

function emptyTurn(): Turn {
  return { startedAt: undefined, firstByteAt: undefined, bytesUp: 0, bytesDown: 0 };
}
