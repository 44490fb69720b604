/** A monotonic clock and timers that stand still until a test moves them. */

import type { SetTimer } from "../../src/usage/delivery/timers.ts";

export interface ManualTime {
  readonly monotonicMs: () => number;
  readonly setTimer: SetTimer;
  /** The waits that were asked for and neither ran nor were cancelled, shortest first. */
  waits(): number[];
  /** Moves the clock and runs what is due, in order. */
  advance(ms: number): void;
}

export function manualTime(): ManualTime {
  let nowMs = 1000;
  const timers = new Set<{ readonly dueMs: number; readonly run: () => void }>();
  const inOrder = (): { readonly dueMs: number; readonly run: () => void }[] => [...timers].toSorted((a, b) => a.dueMs - b.dueMs);
  return {
    monotonicMs: () => nowMs,
    setTimer(run, delayMs) {
      const timer = { dueMs: nowMs + delayMs, run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    waits: () => inOrder().map(({ dueMs }) => dueMs - nowMs),
    advance(ms) {
      const endMs = nowMs + ms;
      for (let next = inOrder()[0]; next !== undefined && next.dueMs <= endMs; next = inOrder()[0]) {
        timers.delete(next);
        nowMs = Math.max(nowMs, next.dueMs);
        next.run();
      }
      nowMs = endMs;
    },
  };
}
