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
