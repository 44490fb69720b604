/** The chaos of `npm run chaos`, a few rounds of it. */

import { describe, expect, it } from "vitest";

import { runChaos } from "./chaos.ts";
import { judge } from "./judge.ts";

const ROUNDS = 10;
const SEED = 7;

describe("programs that are killed, stopped and drained under load, with a receiver of many moods", () => {
  it("lose nothing, deliver nothing in two forms, and make nothing up", async () => {
    const report = await runChaos({ rounds: ROUNDS, seed: SEED });
    expect(report.faults).toEqual([]);
    expect(report).toMatchObject({ rounds: ROUNDS, lost: 0 });
    expect(report.kills).toBeGreaterThan(0);
    expect(report.duplicates).toBeGreaterThan(0);
  }, 900_000);
});

describe("the judge of the chaos", () => {
  const event = (thread: string, data: object): string =>
    JSON.stringify({ type: "llm.usage.v1", id: thread, data: { thread_id: thread, usage: {}, completeness: "complete", usage_source: "provider", totals: { input_tokens: 3, output_tokens: 4, total_tokens: 7 }, ...data } });
  const notes = { begun: new Set(["a", "h"]), ended: [{ thread: "a", input: 3, output: 4, heldMs: 100 }], held: ["h"] };
  const held = event("h", { completeness: "unknown", usage_source: "none" });
  const right: [string, string][] = [["1", event("a", {})], ["2", held]];

  it.each<[string, [string, string][], number]>([
    ["nothing where all is right", right, 0],
    ["a response without its event", [["2", held]], 1],
    ["another number", [["1", event("a", { totals: { input_tokens: 3, output_tokens: 5, total_tokens: 8 } })], ["2", held]], 1],
    ["two events of one call", [...right, ["3", event("a", {})]], 2],
    ["an event that nobody caused", [...right, ["3", event("z", {})]], 1],
    ["a number for what was open at the kill", [["1", event("a", {})], ["2", event("h", {})]], 1],
  ])("finds %s", (_, events, faults) => {
    expect(judge(notes, { taken: new Map(events), broken: [] })).toHaveLength(faults);
  });

  it.each<[number, number]>([
    [100, 1],
    [300, 0],
  ])("holds a crash against a response that was held for %s ms only within the bound", (heldMs, faults) => {
    const late = { ...notes, ended: [{ thread: "a", input: 3, output: 4, heldMs }] };
    expect(judge(late, { taken: new Map([["1", event("a", { completeness: "unknown", usage_source: "none", totals: { input_tokens: 0, output_tokens: 0, total_tokens: 0 } })], ["2", held]]), broken: [] })).toHaveLength(faults);
  });
});
