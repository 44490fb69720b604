import { describe, expect, it } from "vitest";

import { createPendingJobs } from "../../src/usage/pending-jobs.ts";

const DAY_MS = 24 * 3_600_000;

function setUp(initial: readonly (readonly [string, number])[] = []) {
  const pendingJobs = new Map(initial);
  const clock = { ms: 1_000_000_000_000 };
  const store = {
    pendingJobs,
    saveJob: (key: string, startedAtMs: number) => void pendingJobs.set(key, startedAtMs),
    removeJob: (key: string) => void pendingJobs.delete(key),
  };
  const jobsFor = createPendingJobs(store, () => clock.ms);
  return { pendingJobs, clock, jobs: (scope: string) => jobsFor(() => scope) };
}

describe("pending jobs", () => {
  it("finish once", () => {
    const { jobs } = setUp();
    jobs("openai|k").start("resp_1");
    expect(jobs("openai|k").finish("resp_1")).toBe(true);
    expect(jobs("openai|k").finish("resp_1")).toBe(false);
    expect(jobs("openai|k").finish("resp_2")).toBe(false);
  });

  it("are claimed once, started or not", () => {
    const { jobs } = setUp([["anthropic|k|claimed|msgbatch_0", 1_000_000_000_000]]);
    jobs("anthropic|k").start("msgbatch_1");
    expect(["msgbatch_0", "msgbatch_1", "msgbatch_1", "msgbatch_2", "", "x".repeat(257)].map((id) => jobs("anthropic|k").claim(id))).toEqual([
      false,
      true,
      false,
      true,
      false,
      false,
    ]);
    expect(jobs("anthropic|other").claim("msgbatch_1")).toBe(true);
  });

  it("are those of a handler and a credential", () => {
    const { jobs } = setUp();
    jobs("openai|k").start("resp_1");
    expect(jobs("openai|other").finish("resp_1")).toBe(false);
    expect(jobs("xai|k").finish("resp_1")).toBe(false);
    expect(jobs("openai|k").finish("resp_1")).toBe(true);
  });

  it("of an earlier run are known", () => {
    const { jobs } = setUp([["openai|k|resp_1", 1_000_000_000_000]]);
    expect(jobs("openai|k").finish("resp_1")).toBe(true);
  });

  it("without an id, or with one that is no id, are not kept", () => {
    const { jobs, pendingJobs } = setUp();
    jobs("s").start("");
    jobs("s").start("x".repeat(257));
    expect(pendingJobs.size).toBe(0);
    jobs("s").start("x".repeat(256));
    expect(pendingJobs.size).toBe(1);
  });

  it("are forgotten after 30 days", () => {
    const { jobs, clock, pendingJobs } = setUp();
    jobs("s").start("old");
    clock.ms += 30 * DAY_MS;
    jobs("s").start("on the edge");
    expect(pendingJobs.size).toBe(2);
    clock.ms += 1;
    jobs("s").start("new");
    expect([...pendingJobs.keys()]).toEqual(["s|on the edge", "s|new"]);
  });

  it("are bounded: the oldest goes first", () => {
    const { jobs, clock, pendingJobs } = setUp();
    for (let count = 0; count < 10_050; count += 1) {
      clock.ms += 1;
      jobs("s").start(`r${count}`);
    }
    expect(pendingJobs.size).toBe(10_000);
    expect(jobs("s").finish("r49")).toBe(false);
    expect(jobs("s").finish("r50")).toBe(true);
  });
});
