/**
 * Delivery of usage events to one sink: takes batches out of its outbox as they close and has them sent until the sink
 * has each at least once, with the same ids and bytes at every attempt.
 */

import type { SinkOutbox } from "../../store/store.ts";
import { createBatcher } from "./batcher.ts";
import type { DeliveryLogger } from "./delivery-log.ts";
import { createDispatcher } from "./dispatcher.ts";
import type { DeliveryState, DispatcherOptions } from "./dispatcher.ts";
import type { Sink } from "./sink.ts";
import { unrefTimer } from "./timers.ts";
import type { SetTimer } from "./timers.ts";

export type { DeliveryLogger } from "./delivery-log.ts";
export type { AttemptResult, DeliveryState } from "./dispatcher.ts";

/** What delivery needs of the store. A listener that is told how much became pending closes batches by number and size too. */
export interface OutboxStore {
  outbox(sink: string): SinkOutbox;
  onPending(listener: (events?: number, bytes?: number) => void): void;
}

export interface DeliveryOptions extends Pick<DispatcherOptions, "onAttempt" | "onSettled"> {
  readonly store: OutboxStore;
  readonly sink: Sink;
  readonly logger: DeliveryLogger;
  /** Epoch milliseconds; only shown. */
  readonly clock?: () => number;
  /** Milliseconds that never jump. */
  readonly monotonicMs?: () => number;
  /** [0, 1), for the jitter. */
  readonly random?: () => number;
  readonly setTimer?: SetTimer;
}

export interface Delivery {
  /** Begins with what the outbox holds already. */
  start(): void;
  /** Sends everything at once; true when nothing of this process waits for the sink any more, false after `deadlineMs` from now, or once that cannot be reached. */
  flush(deadlineMs: number): Promise<boolean>;
  /** Takes nothing more, gives attempts under way `deadlineMs` (STOP_MS unless given), releases the rest. Idempotent. */
  stop(deadlineMs?: number): Promise<void>;
  state(): DeliveryState;
}

/** Before the outbox is asked again after it failed. */
const STORE_RETRY_MS = 1000;

/** An attempt has a deadline of its own, which is shorter. */
const STOP_MS = 60_000;

/** How often a flush looks whether all is delivered. */
const FLUSH_POLL_MS = 20;

export function createDelivery(options: DeliveryOptions): Delivery {
  const { store, sink, monotonicMs = () => performance.now(), setTimer = unrefTimer } = options;
  const outbox = store.outbox(sink.id);
  const batcher = createBatcher(sink.limits);
  const dispatcher = createDispatcher({
    sink,
    outbox,
    clock: options.clock ?? Date.now,
    monotonicMs,
    random: options.random ?? Math.random,
    setTimer,
    logger: options.logger,
    onRoom: () => wake(),
    ...(options.onAttempt === undefined ? {} : { onAttempt: options.onAttempt }),
    ...(options.onSettled === undefined ? {} : { onSettled: options.onSettled }),
  });
  let isRunning = false;
  let isTaking = false;
  /** Woken while taking: something may have changed behind the loop's back. */
  let isWokenAgain = false;
  let isUnreadable = false;
  let notices = 0;
  let flushes = 0;
  let cancelWake: (() => void) | undefined;
  let stopped: Promise<void> | undefined;

  /** Takes every batch that is closed, then sleeps until the next one closes. */
  const wake = (): void => {
    cancelWake?.();
    cancelWake = undefined;
    isWokenAgain = isTaking;
    if (!isRunning || isTaking) return;
    isTaking = true;
    takeClosed().then(
      (waitMs) => {
        isUnreadable = false;
        sleep(waitMs);
      },
      (error: unknown) => {
        if (!isUnreadable) options.logger.warn({ sink: sink.id, err: error }, "the outbox cannot be read; trying again");
        isUnreadable = true;
        sleep(STORE_RETRY_MS);
      },
    );
  };

  const canTake = (): boolean => isRunning && dispatcher.hasRoom;

  /** Resolves to the time until a batch closes; undefined when only an event can change anything. */
  const takeClosed = async (): Promise<number | undefined> => {
    while (canTake()) {
      const dueMs = batcher.dueInMs(monotonicMs());
      if (dueMs === undefined || (dueMs > 0 && flushes === 0)) return dueMs;
      const noticesBefore = notices;
      const batch = await outbox.take(sink.limits.maxEvents, sink.limits.maxBytes);
      if (batch === undefined) {
        // What became pending after the outbox was asked is not covered by its answer.
        if (notices !== noticesBefore) continue;
        batcher.empty();
        return undefined;
      }
      batcher.took(batch.events.length, batch.events.reduce((sum, event) => sum + event.body.length, 0), monotonicMs());
      dispatcher.accept(batch);
    }
    return undefined;
  };

  const sleep = (waitMs: number | undefined): void => {
    isTaking = false;
    if (isWokenAgain) wake();
    else if (waitMs !== undefined && isRunning) cancelWake = setTimer(wake, waitMs);
  };

  store.onPending((events, bytes) => {
    notices += 1;
    if (events === undefined || bytes === undefined) batcher.addUnknown();
    else batcher.add(events, bytes, monotonicMs());
    if (batcher.dueInMs(monotonicMs()) === 0 || cancelWake === undefined) wake();
  });

  const isAllDelivered = async (): Promise<boolean> => (await outbox.pending().catch(() => undefined)) === 0;

  return {
    start() {
      if (stopped !== undefined) return;
      isRunning = true;
      batcher.addUnknown();
      wake();
    },
    async flush(deadlineMs) {
      const endMs = performance.now() + deadlineMs;
      flushes += 1;
      try {
        batcher.addUnknown();
        dispatcher.hurry();
        wake();
        for (;;) {
          if (await isAllDelivered()) return true;
          const leftMs = endMs - performance.now();
          // A sink that will not be tried again in time is not worth waiting for.
          if (leftMs <= 0 || (dispatcher.probeInMs ?? 0) > leftMs) return false;
          await new Promise((resolve) => setTimeout(resolve, Math.min(FLUSH_POLL_MS, deadlineMs)));
        }
      } finally {
        flushes -= 1;
      }
    },
    stop(deadlineMs = STOP_MS) {
      isRunning = false;
      cancelWake?.();
      stopped ??= dispatcher.stop(deadlineMs);
      return stopped;
    },
    state: () => dispatcher.state(),
  };
}
