import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createInputEstimate } from "../../../src/usage/estimate/input-estimate.ts";

function tokensOf(chunks: readonly Uint8Array[]): number {
  const estimate = createInputEstimate();
  for (const chunk of chunks) estimate.push(chunk);
  return estimate.tokens();
}

describe("an input estimate", () => {
  it("is zero without a body", () => {
    expect(tokensOf([])).toBe(0);
  });

  it("is a quarter of the bytes, rounded up", () => {
    expect(tokensOf([Buffer.from("one two th")])).toBe(3);
    expect(tokensOf([Buffer.from("some words and more. ".repeat(1000))])).toBe(5250);
  });

  it("leaves base64 out, but for its ends", () => {
    const image = Buffer.alloc(300_000, 0xa7).toString("base64");
    const body = `{"text":"${"look at this. ".repeat(100)}","data":"${image}","more":"${"and at that. ".repeat(100)}"}`;
    const text = body.length - image.length;
    expect(tokensOf([Buffer.from(body)])).toBeGreaterThanOrEqual(Math.floor(text / 4));
    expect(tokensOf([Buffer.from(body)])).toBeLessThanOrEqual((text + 2 * 1024) / 4);
  });

  it("does not take text without spaces in other scripts for base64", () => {
    const body = Buffer.from("これは日本語の文章です".repeat(500));
    expect(tokensOf([body])).toBe(Math.ceil(body.length / 4));
  });

  it("does not depend on how the body is cut", () => {
    const body = Buffer.from(`${"words in a row ".repeat(150)}${"QUJD".repeat(1500)}${"more words ".repeat(100)}`);
    const whole = tokensOf([body]);
    expect(whole).toBeLessThan(body.length / 4);
    fc.assert(
      fc.property(fc.array(fc.nat(body.length), { maxLength: 30 }), (cuts) => {
        const ends = [...cuts.toSorted((a, b) => a - b), body.length];
        expect(tokensOf(ends.map((end, index) => body.subarray(index === 0 ? 0 : ends[index - 1], end)))).toBe(whole);
      }),
    );
  });
});
