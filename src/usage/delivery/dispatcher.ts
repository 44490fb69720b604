/**
 * Works on the batches that were taken from a sink's outbox: has them sent, at most `concurrency` at once, and keeps each
 * until the sink has it. A batch that waits for its retry holds no slot, so that others go on; retries and new batches
 * stand in one queue. While the circuit is not closed only a probe goes out.
 */

import PQueue from "p-queue";
import type { OutboxBatch, SinkOutbox } from "../../store/store.ts";
import { backoffMs } from "./backoff.ts";
import { createCircuit } from "./circuit.ts";
import type { CircuitState } from "./circuit.ts";
import { createDeliveryLog } from "./delivery-log.ts";
import type { DeliveryLogger } from "./delivery-log.ts";
import { createHeldBatches } from "./held-batches.ts";
import type { HeldBatch } from "./held-batches.ts";
import { createSender } from "./sender.ts";
import type { Sink, Verdict } from "./sink.ts";
import type { SetTimer } from "./timers.ts";

/** What became of one attempt: taken, to be tried again, put aside as a dead letter, or cut in two. */
export type AttemptResult = "delivered" | "retried" | "refused" | "split";

/** How delivery to a sink stands. */
export interface DeliveryState {
  /** `paused`: the sink refuses everything (address or credentials); tried again every minute. */
  readonly status: "idle" | "delivering" | "retrying" | "paused";
  readonly circuit: CircuitState;
  /** Failures since the sink last answered. */
  readonly consecutiveFailures: number;
  /** "HTTP 503" or a network code; never an address or a body. Gone when nothing fails any more. */
  readonly lastError?: string;
  /** Epoch milliseconds. */
  readonly lastSuccessMs?: number;
  /** Posts under way. */
  readonly inFlight: number;
}

export interface DispatcherOptions {
  readonly sink: Sink;
  readonly outbox: SinkOutbox;
  /** Epoch milliseconds. */
  readonly clock: () => number;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly setTimer: SetTimer;
  readonly logger: DeliveryLogger;
  /** A batch left, or the circuit closed: there may be room for more. */
  readonly onRoom: () => void;
  /** After each attempt, of a batch of `events` events. */
  readonly onAttempt?: (result: AttemptResult, events: number) => void;
  /** This many events wait for no sink any more. */
  readonly onSettled?: (events: number) => void;
}

export interface Dispatcher {
  /** Whether a further batch may be given. */
  readonly hasRoom: boolean;
  accept(batch: OutboxBatch): void;
  /** Retries at once what waits for our own backoff or circuit (not for a Retry-After or a pause). */
  hurry(): void;
  /** While nothing can be sent before a probe, and none is under way: how long until then. */
  readonly probeInMs: number | undefined;
  state(): DeliveryState;
  /** Starts no further post, gives those under way until the deadline, and releases what is not delivered. */
  stop(deadlineMs: number): Promise<void>;
}

/** Batches in memory for each post at once; also the batches that are tried while the sink answers about none. */
const LOADED_PER_SLOT = 4;

/** Batches that are worked on at all. Those that have failed take little memory, and do not keep new ones back. */
const MAX_HELD = 1000;

/** Between two attempts to write an outcome down. */
const STORE_RETRY_MS = 1000;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { sink, outbox, monotonicMs, setTimer } = options;
  const queue = new PQueue({ concurrency: sink.limits.concurrency });
  const held = createHeldBatches();
  const circuit = createCircuit(options.random);
  const log = createDeliveryLog(options.logger, sink.id, monotonicMs);
  const abort = new AbortController();
  const sender = createSender({ sink, outbox, monotonicMs, signal: abort.signal });
  let isStopping = false;
  let inFlight = 0;
  let lastError: string | undefined;
  let lastSuccessMs: number | undefined;
  let cancelProbe: (() => void) | undefined;
  let probeAtMs = 0;

  const enqueue = (batch: HeldBatch): void => {
    batch.cancelWait = undefined;
    batch.phase = held.isBlocked(batch) ? "blocked" : "queued";
    if (batch.phase === "queued") void queue.add(() => (batch.phase === "queued" ? attempt(batch) : undefined));
  };

  const unblock = (): void => {
    for (const batch of held.all()) if (batch.phase === "blocked") enqueue(batch);
  };

  const attempt = async (batch: HeldBatch, isProbe = false): Promise<void> => {
    if (isStopping) return;
    batch.phase = "sending";
    inFlight += 1;
    const verdict = await sender.send(batch);
    inFlight -= 1;
    if (verdict === "aborted") return;
    if (verdict === "gone") leave(batch);
    else if (verdict === "unreadable") retryLater(batch, STORE_RETRY_MS);
    else judge(batch, verdict, isProbe);
  };

  const judge = (batch: HeldBatch, verdict: Verdict, isProbe: boolean): void => {
    switch (verdict.kind) {
      case "delivered":
        answered(batch);
        lastSuccessMs = options.clock();
        options.onAttempt?.("delivered", batch.size);
        return void conclude(batch, async () => settled(await outbox.delivered(batch.id)));
      case "too_large":
      case "refused":
        answered(batch);
        return refused(batch, verdict.reason);
      case "retry":
      case "pause":
        return failed(batch, verdict, isProbe);
      default:
        return verdict satisfies never;
    }
  };

  const answered = (batch: HeldBatch): void => {
    const wasClosed = circuit.state === "closed";
    circuit.answered();
    batch.failures = 0;
    if (!wasClosed) reopen(0);
    if (held.all().some((each) => each.failures > 0)) return;
    log.allWell();
    lastError = undefined;
  };

  /** The circuit has closed: what waited for it goes on, and what failed for the sink's sake and not for its own is free of that. */
  const reopen = (failures: number): void => {
    cancelProbe?.();
    cancelProbe = undefined;
    for (const each of held.all()) {
      each.failures = Math.min(each.failures, failures);
      if (each.phase === "waiting") requeue(each);
    }
    queue.start();
  };

  const refused = (batch: HeldBatch, reason: string): void => {
    if (batch.size > 1) {
      options.onAttempt?.("split", batch.size);
      return void conclude(batch, async () => {
        const parts = held.add(await outbox.split(batch.id), monotonicMs(), batch);
        for (const part of parts) enqueue(part);
      });
    }
    options.onAttempt?.("refused", 1);
    log.deadLetter(batch.batch?.events[0]?.id, reason);
    return void conclude(batch, async () => settled(await outbox.refuse(batch.id, reason)));
  };

  const settled = (events: number): void => options.onSettled?.(events);

  /** Writes an outcome down, however often that fails: the batch is not sent again meanwhile. */
  const conclude = async (batch: HeldBatch, write: () => Promise<void>): Promise<void> => {
    try {
      await write();
    } catch (error) {
      log.unsettled(batch.id, error);
      if (!isStopping) batch.cancelWait = setTimer(() => void conclude(batch, write), STORE_RETRY_MS);
      return;
    }
    leave(batch);
  };

  const leave = (batch: HeldBatch): void => {
    held.remove(batch);
    unblock();
    options.onRoom();
  };

  const failed = (batch: HeldBatch, verdict: Extract<Verdict, { kind: "retry" | "pause" }>, isProbe: boolean): void => {
    options.onAttempt?.("retried", batch.size);
    const before = circuit.state;
    batch.inRow = { generation: circuit.generation, count: failuresInRow(batch) + 1 };
    const probeMs = verdict.kind === "pause" ? circuit.refused() : circuit.failed(batch.inRow.count, isProbe, verdict.retryAfterMs);
    log.failed(verdict.reason, circuit.state, circuit.failures);
    lastError = verdict.reason;
    batch.failures += 1;
    batch.batch = undefined;
    if (isStopping) return;
    if (probeMs !== undefined) probeLater(probeMs);
    else if (before !== "closed" && circuit.state === "closed") reopen(batch.failures);
    retryLater(batch, backoffMs(batch.failures, options.random));
    unblock();
    options.onRoom();
  };

  const failuresInRow = ({ inRow }: HeldBatch): number => (inRow.generation === circuit.generation ? inRow.count : 0);

  /** While the circuit is not closed, the probe's timer wakes whatever is to be tried. */
  const retryLater = (batch: HeldBatch, waitMs: number): void => {
    batch.phase = "waiting";
    if (circuit.state === "closed") batch.cancelWait = setTimer(() => enqueue(batch), waitMs);
  };

  const requeue = (batch: HeldBatch): void => {
    batch.cancelWait?.();
    enqueue(batch);
  };

  const probeLater = (waitMs: number): void => {
    queue.pause();
    cancelProbe?.();
    cancelProbe = setTimer(probe, waitMs);
    probeAtMs = monotonicMs() + waitMs;
  };

  /** Outside the queue, which stands still. Nothing to try: the next batch that comes will be. */
  const probe = (): void => {
    cancelProbe = undefined;
    const batch = held.all().find((each) => each.phase === "waiting" || each.phase === "queued");
    if (isStopping || batch === undefined) return;
    batch.cancelWait?.();
    batch.cancelWait = undefined;
    void attempt(batch, true);
  };

  return {
    get hasRoom() {
      if (isStopping) return false;
      if (circuit.state !== "closed") return held.size === 0;
      const isBelow = (count: number): boolean => count < sink.limits.concurrency * LOADED_PER_SLOT;
      return isBelow(held.loaded) && isBelow(held.all().filter((each) => failuresInRow(each) > 0).length) && held.size < MAX_HELD;
    },
    accept(batch) {
      for (const each of held.add([batch], monotonicMs())) enqueue(each);
      if (circuit.state !== "closed" && cancelProbe === undefined && inFlight === 0) probe();
    },
    hurry() {
      if (circuit.state === "open" && inFlight === 0) {
        cancelProbe?.();
        probe();
      }
      for (const batch of held.all()) if (batch.phase === "waiting" && circuit.state === "closed") requeue(batch);
    },
    get probeInMs() {
      return inFlight > 0 || cancelProbe === undefined ? undefined : probeAtMs - monotonicMs();
    },
    state() {
      return {
        status: statusOf(circuit.state, held.all()),
        circuit: circuit.state,
        consecutiveFailures: circuit.failures,
        ...(lastError === undefined ? {} : { lastError }),
        ...(lastSuccessMs === undefined ? {} : { lastSuccessMs }),
        inFlight,
      };
    },
    async stop(deadlineMs) {
      isStopping = true;
      cancelProbe?.();
      for (const batch of held.all()) batch.cancelWait?.();
      queue.start();
      const limit = setTimeout(() => abort.abort(), deadlineMs);
      await queue.onIdle();
      await sender.idle();
      clearTimeout(limit);
      // The store may be gone already: then the next start finds the batches as they were frozen.
      await Promise.all(held.all().map((batch) => outbox.release(batch.id).catch(() => undefined)));
      await sink.close();
    },
  };
}

function statusOf(circuit: CircuitState, held: readonly HeldBatch[]): DeliveryState["status"] {
  if (circuit === "paused") return "paused";
  if (circuit !== "closed" || held.some((batch) => batch.failures > 0)) return "retrying";
  return held.length > 0 ? "delivering" : "idle";
}
