import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBatcher } from "../../../src/usage/delivery/batcher.ts";

const LIMITS = { maxEvents: 10, maxBytes: 1000, maxWaitMs: 100 };

describe("the batcher", () => {
  it("closes a batch when the oldest event has waited long enough", () => {
    const batcher = createBatcher(LIMITS);
    expect(batcher.dueInMs(0)).toBeUndefined();
    batcher.add(1, 10, 1000);
    batcher.add(1, 10, 1050);
    expect(batcher.dueInMs(1060)).toBe(40);
    expect(batcher.dueInMs(1100)).toBe(0);
  });

  it("closes a batch at enough events or bytes, and counts the rest from their own age", () => {
    const batcher = createBatcher(LIMITS);
    batcher.add(8, 80, 0);
    batcher.add(5, 50, 50);
    expect(batcher.dueInMs(50)).toBe(0);
    batcher.took(10, 100, 50);
    expect(batcher.dueInMs(50)).toBe(100);
    batcher.add(1, 1000, 60);
    expect(batcher.dueInMs(60)).toBe(0);
    batcher.took(4, 1030, 60);
    expect(batcher.dueInMs(60)).toBeUndefined();
  });

  it("is due at once when it does not know what waits, until the outbox is found empty", () => {
    const batcher = createBatcher(LIMITS);
    batcher.addUnknown();
    expect(batcher.dueInMs(0)).toBe(0);
    batcher.took(3, 30, 0);
    expect(batcher.dueInMs(0)).toBe(0);
    batcher.empty();
    expect(batcher.dueInMs(0)).toBeUndefined();
  });

  it("never lets an event wait past its time, nor closes a small batch before it", () => {
    const step = fc.record({ afterMs: fc.nat(40), events: fc.integer({ min: 1, max: 3 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const batcher = createBatcher(LIMITS);
        let waiting: number[] = [];
        let nowMs = 0;
        for (const { afterMs, events } of steps) {
          nowMs += afterMs;
          batcher.add(events, events, nowMs);
          waiting.push(...Array.from({ length: events }, () => nowMs));
          const isDue = batcher.dueInMs(nowMs) === 0;
          const oldestMs = nowMs - (waiting[0] ?? nowMs);
          // Arrivals within a tenth of the wait count as one, by the older.
          if (oldestMs >= LIMITS.maxWaitMs || waiting.length >= LIMITS.maxEvents) expect(isDue).toBe(true);
          else if (oldestMs < LIMITS.maxWaitMs * 0.9) expect(isDue).toBe(false);
          if (isDue) {
            const taken = Math.min(LIMITS.maxEvents, waiting.length);
            waiting = waiting.slice(taken);
            batcher.took(taken, taken, nowMs);
          }
        }
      }),
    );
  });
});
