import { describe, expect, it } from "vitest";

import { createWorkQueue, MAX_WAITING } from "../../src/usage/work-queue.ts";
import { until } from "../support/until.ts";

describe("a work queue", () => {
  it.each([0, 5])("runs jobs later, in order, when it gathers for %i ms", async (gatherMs) => {
    const queue = createWorkQueue({ gatherMs, monotonicMs: () => 0 });
    const done: number[] = [];
    for (let i = 0; i < 5; i++) queue.add(() => void done.push(i));
    expect(done).toEqual([]);
    expect(queue.size).toBe(5);
    await until(() => done.length === 5, "the jobs");
    expect(done).toEqual([0, 1, 2, 3, 4]);
    expect(queue.size).toBe(0);
  });

  it("lets the event loop turn inside a long batch, and keeps the order of what came meanwhile", async () => {
    let now = 0;
    const queue = createWorkQueue({ gatherMs: 0, monotonicMs: () => now });
    const done: string[] = [];
    for (const name of ["a", "b", "c"]) {
      queue.add(() => {
        done.push(name);
        now += 10;
        if (name === "a") setImmediate(() => done.push("the loop"));
        if (name === "b") queue.add(() => void done.push("late"));
      });
    }
    await until(() => done.length === 5, "the jobs");
    expect(done.indexOf("the loop")).toBeLessThan(done.indexOf("c"));
    expect(done.filter((name) => name !== "the loop")).toEqual(["a", "b", "c", "late"]);
  });

  it("runs everything at once at its bound", () => {
    const queue = createWorkQueue({ gatherMs: 60_000, monotonicMs: () => performance.now() });
    let done = 0;
    for (let i = 1; i < MAX_WAITING; i++) queue.add(() => void done++);
    expect(done).toBe(0);
    queue.add(() => void done++);
    expect(done).toBe(MAX_WAITING);
    expect(queue.size).toBe(0);
  });

  it("keeps up with more work a turn than a part may take", async () => {
    let now = 0;
    const queue = createWorkQueue({ gatherMs: 0, monotonicMs: () => now });
    let done = 0;
    let most = 0;
    // Each turn brings 100 jobs of 50 µs: more than the least part of 2 ms holds.
    for (let turn = 0; turn < 300; turn++) {
      for (let i = 0; i < 100; i++) {
        queue.add(() => {
          done++;
          now += 0.05;
        });
      }
      most = Math.max(most, queue.size);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => done === 30_000, "the jobs");
    expect(most).toBeLessThan(1000);
  });
});
