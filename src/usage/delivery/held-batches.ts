/**
 * The batches that a dispatcher works on, in order of their events, and which of them have to wait for another: events
 * of one thread go out one batch after the other, for as long as the earlier one is not stuck.
 */

import type { OutboxBatch } from "../../store/store.ts";
import { threadsOf } from "./thread-order.ts";

/**
 * - `blocked`: waits for an earlier batch with a thread in common.
 * - `queued`: will be sent when it is its turn.
 * - `sending`: on its way, or its outcome is being written down.
 * - `waiting`: has failed, and will be queued again.
 */
export type Phase = "blocked" | "queued" | "sending" | "waiting";

export interface HeldBatch {
  readonly id: string;
  readonly size: number;
  readonly threads: ReadonlySet<string>;
  /** Undefined after a failure: read anew before the next attempt, so that what fails for long fills no memory. */
  batch: OutboxBatch | undefined;
  /** When `batch` was read from the outbox, on the monotonic clock. */
  readAtMs: number;
  phase: Phase;
  failures: number;
  /** Failures since the sink last answered about any batch, valid for that generation of the circuit. */
  inRow: { readonly generation: number; readonly count: number };
  /** Ends the wait for a retry. */
  cancelWait: (() => void) | undefined;
}

export interface HeldBatches {
  readonly size: number;
  /** Batches whose events are in memory. */
  readonly loaded: number;
  all(): readonly HeldBatch[];
  /** Adds a batch after all others, or several in the place of one. */
  add(batches: readonly OutboxBatch[], nowMs: number, inPlaceOf?: HeldBatch): readonly HeldBatch[];
  remove(batch: HeldBatch): void;
  isBlocked(batch: HeldBatch): boolean;
}

/** A batch that failed so often does not hold its threads back any longer: the receiver does not keep up with it. */
const STUCK_FAILURES = 3;

export function createHeldBatches(): HeldBatches {
  let held: HeldBatch[] = [];
  return {
    get size() {
      return held.length;
    },
    get loaded() {
      return held.reduce((sum, each) => sum + (each.batch === undefined ? 0 : 1), 0);
    },
    all: () => held,
    add(batches, nowMs, inPlaceOf) {
      const added = batches.map((batch) => heldBatch(batch, nowMs));
      const place = inPlaceOf === undefined ? -1 : held.indexOf(inPlaceOf);
      held = place === -1 ? [...held, ...added] : held.toSpliced(place, 1, ...added);
      return added;
    },
    remove(batch) {
      held = held.filter((each) => each !== batch);
    },
    isBlocked(batch) {
      if (batch.threads.size === 0) return false;
      for (const earlier of held) {
        if (earlier === batch) return false;
        if (earlier.failures < STUCK_FAILURES && shares(earlier.threads, batch.threads)) return true;
      }
      return false;
    },
  };
}

function shares(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  for (const thread of one) if (other.has(thread)) return true;
  return false;
}

function heldBatch(batch: OutboxBatch, nowMs: number): HeldBatch {
  return {
    id: batch.id,
    size: batch.events.length,
    threads: threadsOf(batch.events),
    batch,
    readAtMs: nowMs,
    phase: "blocked",
    failures: 0,
    inRow: { generation: 0, count: 0 },
    cancelWait: undefined,
  };
}
