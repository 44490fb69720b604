import { inspect } from "node:util";
import fc from "fast-check";
import { estimateTokenCount } from "tokenx";
import { describe, expect, it } from "vitest";
import { createRunningEstimate } from "../../../src/usage/estimate/running-estimate.ts";

describe("a running estimate", () => {
  it("is zero without text", () => {
    const estimate = createRunningEstimate();
    estimate.add("");
    estimate.addChars(0);
    expect(estimate.tokens()).toBe(0);
  });

  it("equals the estimate of the whole text while that fits the window, however it is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 40 }), { maxLength: 200 }), (pieces) => {
        const estimate = createRunningEstimate();
        for (const piece of pieces) estimate.add(piece);
        expect(estimate.tokens()).toBe(estimateTokenCount(pieces.join("")));
      }),
    );
  });

  it("scales the window's estimate to the length of a longer text", () => {
    const sentence = "The quick brown fox jumps over the lazy dog. ";
    const estimate = createRunningEstimate({ windowChars: sentence.length * 10 });
    for (let i = 0; i < 1000; i++) estimate.add(sentence);
    const whole = estimateTokenCount(sentence.repeat(1000));
    expect(estimate.tokens()).toBeGreaterThan(whole * 0.98);
    expect(estimate.tokens()).toBeLessThan(whole * 1.02);
  });

  it("decodes the escapes of JSON text, also when the window cuts one", () => {
    const text = 'say "yes" and\nthen "no" to the naïve café '.repeat(20);
    const escaped = JSON.stringify(text).slice(1, -1).replaceAll("ï", "\\u00ef");
    const plain = estimateTokenCount(text);
    for (let windowChars = escaped.length - 60; windowChars <= escaped.length; windowChars++) {
      const estimate = createRunningEstimate({ windowChars });
      for (let at = 0; at < escaped.length; at += 7) estimate.addEscaped(escaped.slice(at, at + 7));
      expect(estimate.tokens()).toBeGreaterThan(plain * 0.95);
      expect(estimate.tokens()).toBeLessThan(plain * 1.05);
    }
  });

  it("counts characters that it never held", () => {
    const estimate = createRunningEstimate();
    estimate.addChars(4001);
    expect(estimate.tokens()).toBe(1001);
  });

  it("can go on after it was asked", () => {
    const estimate = createRunningEstimate();
    estimate.add("one two three");
    const first = estimate.tokens();
    expect(estimate.tokens()).toBe(first);
    estimate.add(" four five six seven");
    expect(estimate.tokens()).toBe(estimateTokenCount("one two three four five six seven"));
  });

  it("forgets what was reported", () => {
    const estimate = createRunningEstimate();
    estimate.add("one two three");
    estimate.reset();
    expect(estimate.tokens()).toBe(0);
    estimate.add("four");
    expect(estimate.tokens()).toBe(estimateTokenCount("four"));
  });
});

describe("a running estimate of a text that was reported in part", () => {
  it("tells the rest and the whole apart", () => {
    const estimate = createRunningEstimate();
    estimate.add("one two three ");
    estimate.reset();
    estimate.addEscaped('say \\"four\\"');
    expect(estimate.rest()).toEqual({ text: 'say "four"', scale: 1 });
    expect(estimate.tokens()).toBe(estimateTokenCount('say "four"'));
    expect(estimate.tokensOfAll()).toBe(estimateTokenCount('one two three say "four"'));
  });

  it("has a sample of the rest as far as the window goes, and none behind it", () => {
    const estimate = createRunningEstimate({ windowChars: 10 });
    estimate.add("abcde ");
    estimate.reset();
    expect(estimate.rest()).toBeUndefined();
    estimate.add("fghijklmnopq");
    expect(estimate.rest()).toEqual({ text: "fghi", scale: 3 });
    estimate.reset();
    estimate.add("behind the window");
    expect(estimate.rest()).toBeUndefined();
    expect(estimate.tokens()).toBeGreaterThan(0);
  });

  it("shows its text to nobody who prints it", () => {
    const estimate = createRunningEstimate();
    estimate.add("the user's own words");
    expect(JSON.stringify({ estimate })).toBe('{"estimate":{}}');
    expect(inspect(estimate, { depth: 5, showHidden: true })).not.toContain("own words");
  });
});
