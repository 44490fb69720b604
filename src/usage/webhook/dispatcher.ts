/**
 * Works on the batches that were taken from the outbox: posts them, at most `concurrency` at once, and keeps each until
 * the receiver has it. A batch that waits for its retry holds no slot, so that others go on.
 */

import PQueue from "p-queue";
import type { OutboxBatch, Store } from "../../store/store.ts";
import { backoffMs, retryAfterMs } from "./backoff.ts";
import type { Poster, PostResult } from "./post.ts";
import type { SetTimer } from "./timers.ts";
import { judge } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";

export interface DeliveryLogger {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

/** How delivery stands. */
export interface DeliveryState {
  /** `paused`: the receiver refuses everything (address or credentials); tried again every minute. */
  readonly status: "idle" | "delivering" | "retrying" | "paused";
  /** Failed attempts since the last success. */
  readonly consecutiveFailures: number;
  /** "HTTP 503" or a network code; never an address or a body. Gone when nothing fails any more. */
  readonly lastError?: string;
  readonly lastSuccessMs?: number;
  /** Posts under way. */
  readonly inFlight: number;
}

export interface DispatcherOptions {
  readonly store: Pick<Store, "delivered" | "releaseBatch">;
  readonly poster: Poster;
  readonly concurrency: number;
  readonly clock: () => number;
  readonly random: () => number;
  readonly setTimer: SetTimer;
  readonly logger: DeliveryLogger;
  /** A batch was settled or a pause is over: there may be room for more. */
  readonly onRoom: () => void;
}

export interface Dispatcher {
  /** Whether a further batch may be given. */
  readonly hasRoom: boolean;
  accept(batch: OutboxBatch): void;
  /** Retries at once what waits for our own backoff (not for a Retry-After or a pause). */
  hurry(): void;
  state(): DeliveryState;
  /** Starts no further post, gives those under way until the deadline, and releases what is not delivered. */
  stop(deadlineMs: number): Promise<void>;
}

interface HeldBatch {
  readonly id: string;
  readonly body: Uint8Array;
  failures: number;
  /** Ends the wait for a retry. */
  cancelWait: (() => void) | undefined;
  canHurry: boolean;
}

/** Batches in memory for each post at once: a few that fail do not stop the others, a receiver that is down fills no memory. */
const HELD_PER_SLOT = 4;

/** Between two attempts of what only a person can put right. */
const PAUSE_MS = 60_000;

/** Between two attempts to write down that a batch was delivered. */
const SETTLE_RETRY_MS = 1000;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { store, poster, clock, logger } = options;
  const queue = new PQueue({ concurrency: options.concurrency });
  const held = new Map<string, HeldBatch>();
  const abort = new AbortController();
  let isStopping = false;
  let isPaused = false;
  let inFlight = 0;
  let consecutiveFailures = 0;
  let lastError: string | undefined;
  let lastSuccessMs: number | undefined;

  const enqueue = (batch: HeldBatch): void => {
    batch.cancelWait = undefined;
    void queue.add(() => attempt(batch));
  };

  const attempt = async (batch: HeldBatch): Promise<void> => {
    if (isStopping) return;
    inFlight += 1;
    const result: PostResult = await poster.post(batch, abort.signal);
    inFlight -= 1;
    if (abort.signal.aborted && result.kind === "failed") return;
    const verdict = judge(result);
    if (verdict.kind === "delivered") succeeded(batch);
    else failed(batch, verdict);
  };

  const succeeded = (batch: HeldBatch): void => {
    if (isPaused || consecutiveFailures > 0) logger.info({ afterFailures: consecutiveFailures }, "webhook delivery works again");
    isPaused = false;
    consecutiveFailures = 0;
    lastSuccessMs = clock();
    batch.failures = 0;
    if (![...held.values()].some((each) => each.failures > 0)) lastError = undefined;
    void settle(batch);
  };

  /** The receiver has it: the batch is not posted again, however often writing that down fails. */
  const settle = async (batch: HeldBatch): Promise<void> => {
    try {
      await store.delivered(batch.id);
    } catch (error) {
      logger.warn({ err: error, batch: batch.id }, "a delivered batch could not be marked; trying again");
      if (!isStopping) batch.cancelWait = options.setTimer(() => void settle(batch), SETTLE_RETRY_MS);
      return;
    }
    held.delete(batch.id);
    options.onRoom();
  };

  const failed = (batch: HeldBatch, verdict: Exclude<Verdict, { kind: "delivered" }>): void => {
    report(batch, verdict);
    batch.failures += 1;
    consecutiveFailures += 1;
    lastError = verdict.reason;
    if (verdict.kind === "pause") isPaused = true;
    if (isStopping) return;
    const askedMs = verdict.kind === "retry" ? retryAfterMs(verdict.retryAfter, clock()) : PAUSE_MS;
    batch.canHurry = askedMs === undefined;
    batch.cancelWait = options.setTimer(() => enqueue(batch), askedMs ?? backoffMs(batch.failures, options.random));
  };

  /** Once for each change: when failures begin, when delivery pauses, and for each batch that the receiver does not take. */
  const report = (batch: HeldBatch, verdict: Exclude<Verdict, { kind: "delivered" }>): void => {
    const fields = { reason: verdict.reason, batch: batch.id };
    if (verdict.kind === "pause") {
      if (!isPaused) logger.error(fields, "the webhook receiver refuses delivery; check its address and credentials. Nothing is dropped; tried again every minute");
    } else if (verdict.kind === "hold") {
      if (batch.failures === 0) logger.error(fields, "the webhook receiver refuses a batch; it is kept and tried again every minute");
    } else if (consecutiveFailures === 0) logger.warn(fields, "webhook delivery fails; trying again");
  };

  return {
    get hasRoom() {
      return !isStopping && !isPaused && held.size < options.concurrency * HELD_PER_SLOT;
    },
    accept(batch) {
      const each: HeldBatch = { id: batch.id, body: bodyOf(batch), failures: 0, cancelWait: undefined, canHurry: false };
      held.set(each.id, each);
      enqueue(each);
    },
    hurry() {
      for (const batch of held.values()) {
        if (batch.cancelWait === undefined || !batch.canHurry || batch.failures === 0) continue;
        batch.cancelWait();
        enqueue(batch);
      }
    },
    state() {
      return {
        status: statusOf(isPaused, [...held.values()]),
        consecutiveFailures,
        ...(lastError === undefined ? {} : { lastError }),
        ...(lastSuccessMs === undefined ? {} : { lastSuccessMs }),
        inFlight,
      };
    },
    async stop(deadlineMs) {
      isStopping = true;
      for (const batch of held.values()) batch.cancelWait?.();
      const limit = setTimeout(() => abort.abort(), deadlineMs);
      await queue.onIdle();
      clearTimeout(limit);
      await Promise.all([...held.keys()].map((id) => release(store, id)));
      await poster.close();
    },
  };
}

/** The store may be gone already: then the next start finds the batch as it was frozen. */
async function release(store: Pick<Store, "releaseBatch">, id: string): Promise<void> {
  await store.releaseBatch(id).catch(() => undefined);
}

function statusOf(isPaused: boolean, held: readonly HeldBatch[]): DeliveryState["status"] {
  if (isPaused) return "paused";
  if (held.some((batch) => batch.failures > 0)) return "retrying";
  return held.length > 0 ? "delivering" : "idle";
}

/** A JSON array of the frozen events, byte for byte. */
function bodyOf(batch: OutboxBatch): Uint8Array {
  return Buffer.from(`[${batch.events.map((event) => event.body).join(",")}]`);
}
