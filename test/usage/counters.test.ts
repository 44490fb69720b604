import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { createCounters, type Counters, type CounterSnapshot } from "../../src/usage/counters.ts";
import { until } from "../support/until.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tallyman-counters-"));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function counters(pendingFile?: string, onFileError: (error: unknown) => void = () => undefined): Counters {
  return createCounters({ pendingFile, onFileError, now: Date.now });
}

const counts = (flows: number, buffered: number, reports: number): CounterSnapshot => ({ flows, buffered, reports });

describe("a flow", () => {
  it("goes from flows to buffered to reports, and out by delivery", () => {
    const all = counters();
    const lease = all.startFlow();
    expect(all.snapshot()).toEqual(counts(1, 0, 0));
    lease.buffer();
    expect(all.snapshot()).toEqual(counts(0, 1, 0));
    lease.store(3);
    expect(all.snapshot()).toEqual(counts(0, 0, 3));
    all.reportsDone(2);
    all.reportsDone(1);
    expect(all.snapshot()).toEqual(counts(0, 0, 0));
  });

  it("may leave at any stage, and takes each step once", () => {
    const all = counters();
    all.startFlow().drop();
    const stored = all.startFlow();
    stored.store(1);
    const buffered = all.startFlow();
    buffered.buffer();
    buffered.buffer();
    buffered.drop();
    for (const lease of [stored, buffered]) {
      lease.buffer();
      lease.store(5);
      lease.drop();
    }
    expect(all.snapshot()).toEqual(counts(0, 0, 1));
  });

  it("is never counted nowhere between two stages, whoever looks and whenever", () => {
    const all = counters();
    const seen: CounterSnapshot[] = [];
    const lease = all.startFlow();
    all.onChange(() => seen.push(all.snapshot()));
    lease.buffer();
    lease.store(2);
    all.reportsDone(1);
    expect(seen.length).toBeGreaterThanOrEqual(3);
    for (const { flows, buffered, reports } of seen) expect(flows + buffered + reports).toBeGreaterThan(0);
  });

  it("keeps the sum right in any order of many flows", () => {
    const step = fc.tuple(fc.nat({ max: 4 }), fc.constantFrom("buffer", "store", "drop", "done"));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const all = counters();
        const leases = Array.from({ length: 5 }, () => all.startFlow());
        const stages = Array.from({ length: 5 }, () => "flow");
        let reports = 0;
        for (const [index, action] of steps) {
          const lease = leases[index];
          if (action === "done") {
            if (reports === 0) continue;
            reports -= 1;
            all.reportsDone(1);
          } else if (action === "store") {
            lease?.store(2);
            if (stages[index] !== "over") reports += 2;
            stages[index] = "over";
          } else if (action === "drop") {
            lease?.drop();
            stages[index] = "over";
          } else {
            lease?.buffer();
            if (stages[index] === "flow") stages[index] = "buffered";
          }
          const held = (stage: string): number => stages.filter((other) => other === stage).length;
          expect(all.snapshot()).toEqual(counts(held("flow"), held("buffered"), reports));
        }
      }),
    );
  });
});

describe("reports", () => {
  it("of other processes and runs are added, and never fall below zero", () => {
    const all = counters();
    all.reportsFound(4);
    all.reportsDone(9);
    expect(all.snapshot()).toEqual(counts(0, 0, 0));
    all.reportsFound(1);
    expect(all.snapshot()).toEqual(counts(0, 0, 1));
  });
});

describe("a snapshot", () => {
  it("does not change when the counters do", () => {
    const all = counters();
    const before = all.snapshot();
    all.startFlow();
    expect(before).toEqual(counts(0, 0, 0));
  });
});

describe("the pending file", () => {
  const read = (path: string): Record<string, unknown> => {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value !== "object" || value === null) throw new Error("no object");
    return { ...value };
  };
  const exists = (path: string): boolean => readdirSync(dir).includes(path.slice(dir.length + 1));

  it("is written without any flow, with the contract's fields in their order", async () => {
    const path = join(dir, "pending.json");
    const all = counters(path);
    await until(() => exists(path), "the file");
    const content = read(path);
    expect(Object.keys(content)).toEqual(["pid", "state_id", "updated_at_ms", "flows", "buffered", "reports"]);
    expect(content).toMatchObject({ pid: process.pid, flows: 0, buffered: 0, reports: 0 });
    expect(content["state_id"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(readFileSync(path, "utf8")).toMatch(/\}\n$/);
    all.close();
  });

  it("follows the counters, under one state_id, and is left alone by its temporary file", async () => {
    const path = join(dir, "pending.json");
    const all = counters(path);
    await until(() => exists(path), "the file");
    const first = read(path);
    const lease = all.startFlow();
    await until(() => read(path)["flows"] === 1, "the flow");
    lease.buffer();
    lease.store(2);
    await until(() => read(path)["reports"] === 2, "the reports");
    expect(read(path)["state_id"]).toBe(first["state_id"]);
    all.close();
    expect(readdirSync(dir)).toEqual(["pending.json"]);
  });

  it("has another state_id in each run", () => {
    const states = ["a.json", "b.json"].map((name) => {
      counters(join(dir, name)).close();
      return read(join(dir, name))["state_id"];
    });
    expect(states[0]).not.toBe(states[1]);
  });

  it("is written at most once in 100 ms, and is whole whenever it is read", async () => {
    const path = join(dir, "pending.json");
    const all = counters(path);
    await until(() => exists(path), "the file");
    const inodes = new Map<number, number>();
    const from = performance.now();
    while (performance.now() - from < 700) {
      for (let count = 0; count < 50; count += 1) all.startFlow().drop();
      all.startFlow();
      expect(Object.keys(read(path))).toHaveLength(6);
      // A rename brings a new file.
      const { ino, mtimeMs } = statSync(path);
      inodes.set(mtimeMs, ino);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const elapsed = performance.now() - from;
    expect(inodes.size).toBeGreaterThan(1);
    expect(inodes.size).toBeLessThanOrEqual(Math.floor(elapsed / 100) + 1);
    all.close();
    expect(read(path)["flows"]).toBe(all.snapshot().flows);
  });

  it("has the last truth when it is closed, also in the middle of a write", async () => {
    const path = join(dir, "pending.json");
    for (let round = 0; round < 20; round += 1) {
      const all = counters(path);
      const lease = all.startFlow();
      // The write of the first change begins after 100 ms; the rounds end at different moments around it.
      await new Promise((resolve) => setTimeout(resolve, 98 + (round % 5)));
      lease.buffer();
      lease.store(7);
      all.close();
      // What was under way when it was closed is over by then.
      await new Promise((resolve) => setTimeout(resolve, 5));
      await until(() => read(path)["reports"] === 7, "the last truth", 2000);
      expect(read(path)).toMatchObject({ flows: 0, buffered: 0, reports: 7 });
    }
    await until(() => readdirSync(dir).length === 1, "the temporary files to go");
  });

  it("that cannot be written is reported once, and written when it can be again", async () => {
    const folder = join(dir, "missing");
    const path = join(folder, "pending.json");
    const errors: unknown[] = [];
    const all = counters(path, (error) => errors.push(error));
    await until(() => errors.length === 1, "the error");
    expect(errors[0]).toMatchObject({ code: "ENOENT" });
    all.startFlow();
    await new Promise((resolve) => setTimeout(resolve, 250));
    all.startFlow();
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(errors).toHaveLength(1);
    mkdirSync(folder);
    all.startFlow();
    await until(() => readdirSync(folder).includes("pending.json"), "the file");
    expect(read(path)).toMatchObject({ flows: 3 });
    all.close();
    expect(errors).toHaveLength(1);
  });

  it("that cannot be written at the end is reported, and closing goes on", () => {
    const errors: unknown[] = [];
    counters(join(dir, "missing", "pending.json"), (error) => errors.push(error)).close();
    expect(errors).toHaveLength(1);
  });
});
