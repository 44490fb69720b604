import { describe, expect, it } from "vitest";
import type { ContestantId } from "../../bench/contestants.ts";
import type { Sample } from "../../bench/measure.ts";
import { ratios, render, type Results } from "../../bench/report.ts";

function sample(round: number, subject: ContestantId, cpuUsPerUnit: number): Sample {
  return { round, subject, workload: "json64", units: 1000, seconds: 0.5, cpuUsPerUnit, p50Us: 900, p99Us: 1900 };
}

function results(samples: readonly Sample[]): Results {
  return {
    setting: { node: "v24", cpu: "CPU", cpus: 2, system: "Linux", fileSystem: "ext4", isPinned: true, program: "src/main.ts", rounds: 3, seconds: 60, startedAt: "2026-01-01" },
    titles: { stock: "stock", intercepting: "intercepting" },
    samples: [...samples, { ...sample(1, "stock", 0), subject: "direct", cpuUsPerUnit: undefined, p50Us: 400, p99Us: 500 }],
    memory: [{ subject: "strict", idleBytes: 100 * 2 ** 20, afterBytes: 110 * 2 ** 20, stalledGrowthBytes: 60 * 2 ** 20 }],
    failures: [{ subject: "stock", workload: "paced", message: "it broke" }],
  };
}

describe("the bench's report", () => {
  it("compares contestants within a round, so that a slow round does not move the ratio", () => {
    const samples = [1, 2, 3].flatMap((round) => {
      const slowness = round === 2 ? 10 : 1;
      return [sample(round, "stock", 100 * slowness), sample(round, "intercepting", 50 * slowness)];
    });
    const ratio = ratios(samples).find(({ over, workload }) => over === "intercepting" && workload === "json64");
    expect(ratio).toMatchObject({ value: 0.5, bar: 0.6 });
  });

  it("says beside each bar whether it is met", () => {
    const met = render(results([sample(1, "stock", 100), sample(1, "intercepting", 60)]));
    expect(met).toMatch(/^intercepting \/ stock +2 KB JSON, 64 connections +0\.60 +<= 0\.60 +met$/m);
    const missed = render(results([sample(1, "stock", 100), sample(1, "intercepting", 61)]));
    expect(missed).toMatch(/^intercepting \/ stock +2 KB JSON, 64 connections +0\.61 +<= 0\.60 +not met$/m);
    expect(missed).toMatch(/^metering strict \/ relaxed +2 KB JSON, 64 connections +- +<= 1\.50 +not run$/m);
    expect(missed).toMatch(/^strict +100 +<= 120 +met +60 +<= 50 +not met +110$/m);
  });

  it("gives latency as what the proxy adds, and names what was not measured", () => {
    const text = render(results([sample(1, "stock", 100)]));
    expect(text).toMatch(/^direct, no proxy: the latency itself +2000 +400 +500$/m);
    expect(text).toMatch(/^stock +100\.0 +2000 +500 +1400$/m);
    expect(text).toContain("stock, paced: it broke");
  });
});
