import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decimal, MAX_KEY_LENGTH, named, usageValues } from "../../../src/usage/sinks/usage-values.ts";
import { eventBody } from "../../store/records.ts";

const TIME_MS = Date.parse("2026-11-21T10:00:00.500Z");

function values(data: object, id = "0193-1"): ReturnType<typeof usageValues> {
  const event: unknown = JSON.parse(eventBody(id, TIME_MS, { ...data }));
  return usageValues({ id, body: JSON.stringify({ ...Object(event), subject: "acme" }) });
}

describe("usageValues", () => {
  it("gives each category of an event under event:category", () => {
    expect(values({ usage: { input_tokens: 3, "posts.read": 12, audio_seconds_in: 1.5 } })).toEqual([
      { key: "0193-1:input_tokens", subject: "acme", timeMs: TIME_MS, category: "input_tokens", amount: 3 },
      { key: "0193-1:posts.read", subject: "acme", timeMs: TIME_MS, category: "posts.read", amount: 12 },
      { key: "0193-1:audio_seconds_in", subject: "acme", timeMs: TIME_MS, category: "audio_seconds_in", amount: 1.5 },
    ]);
  });

  it.each<[string, object]>([
    ["is not billable", { usage: { input_tokens: 3 }, billable: false }],
    ["has no usage", { usage: {} }],
    ["used nothing", { usage: { input_tokens: 0 } }],
    ["is none of usage", { usage: null }],
  ])("gives nothing for an event that %s", (_, data) => {
    expect(values(data)).toEqual([]);
  });

  it("keeps keys within the bound, and apart, however long a category is", () => {
    const long = "c".repeat(200);
    const keys = values({ usage: { [`${long}1`]: 1, [`${long}2`]: 1 } }, "0193f0a2-7d4a-7c10-8cb3-1a7f6cfd0193-17").map(({ key }) => key);
    expect(new Set(keys).size).toBe(2);
    for (const key of keys) expect(key.length).toBeLessThanOrEqual(MAX_KEY_LENGTH);
  });

  it("throws for what is no JSON", () => {
    expect(() => usageValues({ id: "1", body: "{" })).toThrow(SyntaxError);
  });
});

describe("decimal", () => {
  it("writes every amount without an exponent, and as the same number", () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), fc.maxSafeNat()), (amount) => {
        const text = decimal(amount);
        expect(text).toMatch(/^\d+(\.\d+)?$/);
        expect(Math.abs(Number(text) - amount)).toBeLessThanOrEqual(amount * 1e-9);
      }),
    );
  });
});

describe("named", () => {
  it("gives our own name without a table, and nothing for a name that the table lacks", () => {
    expect([named(undefined, "a"), named({ a: "b" }, "a"), named({ a: "b" }, "c"), named({}, "constructor")]).toEqual(["a", "b", undefined, undefined]);
  });
});
