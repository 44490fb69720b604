/** The orderly end: nothing new, the flows under way to their end, the outbox to the receiver. */

import type { Refusal } from "../flow/flow.ts";
import type { Counters, CounterSnapshot, Deliveries } from "../usage/index.ts";

/** What new connections and requests are told meanwhile. */
export const DRAINING: Refusal = { status: 503, code: "draining", message: "this proxy is shutting down; try again with its successor" };

export interface DrainReport {
  /** False when the time was up before everything was done. What is left is on disk. */
  readonly drained: boolean;
  readonly counters: CounterSnapshot;
}

const DRAIN_POLL_MS = 10;

/** What is kept of the time for closing: a tenth, and a second at most. */
function closingMs(boundMs: number): number {
  return Math.min(1000, boundMs / 10);
}

interface DrainParts {
  readonly state: { isDraining: boolean };
  readonly counters: Counters;
  readonly delivery: Deliveries | undefined;
  readonly timeoutMs: number;
}

/** Refuses what is new, waits for the flows under way and their usage, then sends what waits in the outbox. */
export function createDrain({ state, counters, delivery, timeoutMs }: DrainParts): (timeoutMs?: number) => Promise<DrainReport> {
  let running: Promise<DrainReport> | undefined;
  const drain = async (boundMs: number): Promise<DrainReport> => {
    state.isDraining = true;
    const deadline = performance.now() + boundMs - closingMs(boundMs);
    const isBusy = (): boolean => {
      const { flows, buffered } = counters.snapshot();
      return flows + buffered > 0;
    };
    while (isBusy() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    const isSent = (await delivery?.flush(Math.max(0, deadline - performance.now()))) ?? true;
    return { drained: isSent && !isBusy(), counters: counters.snapshot() };
  };
  return (boundMs = timeoutMs) => (running ??= drain(boundMs));
}
