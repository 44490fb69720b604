/**
 * Delivery of usage events to the webhook receiver: takes batches out of the outbox as they close and has them
 * posted until the receiver has each at least once, with the same ids and bytes at every attempt.
 */

import type { Store } from "../../store/store.ts";
import { createBatcher } from "./batcher.ts";
import { createDispatcher } from "./dispatcher.ts";
import type { DeliveryLogger, DeliveryState } from "./dispatcher.ts";
import { createPoster } from "./post.ts";
import { signingKey } from "./signature.ts";
import { unrefTimer } from "./timers.ts";
import type { SetTimer } from "./timers.ts";

export type { DeliveryLogger, DeliveryState } from "./dispatcher.ts";

/** What delivery needs of the store. A listener that is told how much became pending closes batches by number and size too. */
export type Outbox = Pick<Store, "takeBatch" | "delivered" | "releaseBatch" | "counts"> & {
  onPending(listener: (events?: number, bytes?: number) => void): void;
};

export interface DeliveryOptions {
  readonly store: Outbox;
  /** http or https. A user name and password in it become a Basic Authorization header. */
  readonly url: string;
  /** "whsec_" and base64, newest first; each signs. None: posts are not signed. */
  readonly secrets: readonly string[];
  /** Further request headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** A batch closes at the first of these three. */
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
  /** Posts at once. */
  readonly concurrency: number;
  /** The whole of one post, name resolution included. */
  readonly timeoutMs: number;
  /** The program's version, for the user agent. */
  readonly version: string;
  readonly logger: DeliveryLogger;
  /** PEM roots trusted beside the public ones. */
  readonly ca?: string;
  /** Epoch milliseconds. */
  readonly clock?: () => number;
  /** [0, 1), for the jitter. */
  readonly random?: () => number;
  readonly setTimer?: SetTimer;
}

export interface Delivery {
  /** Begins with what the outbox holds already. */
  start(): void;
  /** Sends everything at once; true when nothing of this process is pending any more, false after `deadlineMs` from now. */
  flush(deadlineMs: number): Promise<boolean>;
  /** Takes nothing more, gives posts under way `deadlineMs` (the post timeout unless given), releases the rest. Idempotent. */
  stop(deadlineMs?: number): Promise<void>;
  state(): DeliveryState;
}

/** Before the outbox is asked again after it failed. */
const STORE_RETRY_MS = 1000;

/** How often a flush looks whether all is delivered. */
const FLUSH_POLL_MS = 20;

export function createDelivery(options: DeliveryOptions): Delivery {
  const { store, clock = Date.now, random = Math.random, setTimer = unrefTimer } = options;
  const batcher = createBatcher(options);
  const dispatcher = createDispatcher({
    store,
    poster: createPoster({ ...options, keys: options.secrets.map(signingKey), clock }),
    concurrency: options.concurrency,
    clock,
    random,
    setTimer,
    logger: options.logger,
    onRoom: () => wake(),
  });
  let isRunning = false;
  let isTaking = false;
  /** Woken while taking: something may have changed behind the loop's back. */
  let isWokenAgain = false;
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
      (waitMs) => sleep(waitMs),
      (error: unknown) => {
        options.logger.warn({ err: error }, "the outbox cannot be read; trying again");
        sleep(STORE_RETRY_MS);
      },
    );
  };

  const canTake = (): boolean => isRunning && dispatcher.hasRoom;

  /** Resolves to the time until a batch closes; undefined when only an event can change anything. */
  const takeClosed = async (): Promise<number | undefined> => {
    while (canTake()) {
      const dueMs = batcher.dueInMs(clock());
      if (dueMs === undefined || (dueMs > 0 && flushes === 0)) return dueMs;
      const noticesBefore = notices;
      const batch = await store.takeBatch(options.maxEvents, options.maxBytes);
      if (batch === undefined) {
        // What became pending after the outbox was asked is not covered by its answer.
        if (notices !== noticesBefore) continue;
        batcher.empty();
        return undefined;
      }
      batcher.took(batch.events.length, batch.events.reduce((sum, event) => sum + event.body.length, 0), clock());
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
    else batcher.add(events, bytes, clock());
    if (batcher.dueInMs(clock()) === 0 || cancelWake === undefined) wake();
  });

  const isAllDelivered = async (): Promise<boolean> => (await store.counts().catch(() => undefined))?.pending === 0;

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
          if (performance.now() >= endMs) return false;
          await new Promise((resolve) => setTimeout(resolve, Math.min(FLUSH_POLL_MS, deadlineMs)));
        }
      } finally {
        flushes -= 1;
      }
    },
    stop(deadlineMs = options.timeoutMs) {
      isRunning = false;
      cancelWake?.();
      stopped ??= dispatcher.stop(deadlineMs);
      return stopped;
    },
    state: () => dispatcher.state(),
  };
}
