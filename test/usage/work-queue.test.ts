import { describe, expect, it } from "vitest";

import { createWorkQueue } from "../../src/usage/work-queue.ts";
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
});
