import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeSnapshot } from "../../../../src/usage/providers/protocols/snapshot.ts";

describe("merging usage snapshots", () => {
  it("lets a later positive value replace an earlier one, also when it is lower", () => {
    expect(mergeSnapshot({ input_tokens: 900, output_tokens: 3 }, { input_tokens: 200, output_tokens: 40 })).toEqual({
      input_tokens: 200,
      output_tokens: 40,
    });
  });

  it.each([[null], [0], [undefined], [-1], [""], [[]]])("never erases a value with %j", (blank) => {
    const earlier = { cached: 7, tier: "standard", iterations: [{ type: "message" }] };
    expect(mergeSnapshot(earlier, { cached: blank, tier: blank, iterations: blank })).toEqual(earlier);
  });

  it("keeps a zero where nothing was reported before", () => {
    expect(mergeSnapshot({ input_tokens: 1 }, { output_tokens: 0 })).toEqual({ input_tokens: 1, output_tokens: 0 });
  });

  it("merges details field by field", () => {
    const earlier = { details: { cached: 5, written: 2 } };
    expect(mergeSnapshot(earlier, { details: { cached: 0, written: 3, audio: 1 } })).toEqual({ details: { cached: 5, written: 3, audio: 1 } });
    expect(mergeSnapshot(earlier, { details: null })).toEqual(earlier);
    expect(earlier).toEqual({ details: { cached: 5, written: 2 } });
  });

  it("lets counts replace a null", () => {
    expect(mergeSnapshot({ details: null }, { details: { cached: 5 } })).toEqual({ details: { cached: 5 } });
  });

  it("is the last positive value of each field, whatever came in between", () => {
    const counts = fc.array(fc.constantFrom(null, 0, 1, 2, 3), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(counts, (values) => {
        const merged = values.reduce<Readonly<Record<string, unknown>>>((usage, value) => mergeSnapshot(usage, { tokens: value }), {});
        const last = values.findLast((value) => value !== null && value > 0);
        expect(merged["tokens"] ?? 0).toBe(last ?? 0);
      }),
    );
  });

  it("does not grow without bound, nor change prototypes", () => {
    let usage: Readonly<Record<string, unknown>> = {};
    for (let i = 0; i < 2000; i++) usage = mergeSnapshot(usage, { [`field_${i}`]: 1 });
    expect(Object.keys(usage).length).toBeLessThanOrEqual(256);
    const hostile: unknown = JSON.parse('{"__proto__":{"input_tokens":5},"a":1}');
    const merged = mergeSnapshot({ b: 1 }, Object(hostile));
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect(merged["input_tokens"]).toBeUndefined();
  });
});
