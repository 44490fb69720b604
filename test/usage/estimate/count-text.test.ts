import fc from "fast-check";
import { Tiktoken } from "js-tiktoken/lite";
import cl100k from "js-tiktoken/ranks/cl100k_base";
import o200k from "js-tiktoken/ranks/o200k_base";
import { beforeAll, describe, expect, it } from "vitest";
import { loadTextCounter, MAX_WORK, TooCostly, type TextCounter } from "../../../src/usage/estimate/count-text.ts";

/** Kept as it is: its counts below are those of the published vocabularies. */
const FIXED_TEXT = `Tallyman counts what agents use: 12,304 tokens in, 550 out.
    if (usage.input_tokens > 200_000) throw new Error("too long"); // naïve café, 東京都, привет 👩‍💻
`;

let counters: Record<"cl100k_base" | "o200k_base", TextCounter>;
let whole: Record<"cl100k_base" | "o200k_base", Tiktoken>;

beforeAll(async () => {
  counters = { cl100k_base: await loadTextCounter("cl100k_base"), o200k_base: await loadTextCounter("o200k_base") };
  whole = { cl100k_base: new Tiktoken(cl100k), o200k_base: new Tiktoken(o200k) };
});

const count = (encoding: "cl100k_base" | "o200k_base", text: string): number => counters[encoding].count(text, { left: MAX_WORK });

describe("counting a text", () => {
  it("gives zero for the empty text", () => {
    expect(count("cl100k_base", "")).toBe(0);
    expect(count("o200k_base", "")).toBe(0);
  });

  it("has not drifted", () => {
    expect([count("cl100k_base", FIXED_TEXT), count("o200k_base", FIXED_TEXT)]).toEqual([58, 53]);
  });

  // https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
  it.each([
    ["tiktoken is great!", 6, 6],
    ["antidisestablishmentarianism", 6, 6],
    ["2 + 2 = 4", 7, 7],
    ["お誕生日おめでとう", 9, 8],
  ])("agrees with OpenAI's own examples: %s", (text, inCl100k, inO200k) => {
    expect([count("cl100k_base", text), count("o200k_base", text)]).toEqual([inCl100k, inO200k]);
  });

  it.each(["cl100k_base", "o200k_base"] as const)("is what js-tiktoken counts over the whole text: %s", (encoding) => {
    const word = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 30 }),
      fc.constantFrom(" ", "  ", "\n", "\r\n\t", "'s", "don't", "x".repeat(40), "123456", "...!!!", "漢字かな", "<|endoftext|>", "\ud800"),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), (words) => {
        const text = words.join("");
        const pieces = Array.from(text.matchAll(/\S+|\s+/gu), ([piece]) => piece.length);
        fc.pre(Math.max(0, ...pieces) <= 128);
        expect(count(encoding, text)).toBe(whole[encoding].encode(text, [], []).length);
      }),
      { numRuns: 300 },
    );
  });

  it("takes special tokens for plain text", () => {
    expect(count("cl100k_base", "<|endoftext|>")).toBeGreaterThan(1);
    expect(count("cl100k_base", "<|endoftext|>")).toBe(count("cl100k_base", "<|") + count("cl100k_base", "endoftext") + count("cl100k_base", "|>"));
    expect(count("o200k_base", "<|endofprompt|>")).toBeGreaterThan(1);
  });

  it("counts runs without end in parts, none of which ends inside a character", () => {
    expect(count("cl100k_base", "a".repeat(1_000_000))).toBe(125_000);
    expect(count("o200k_base", " ".repeat(1_000_000))).toBeGreaterThan(0);
    const emoji = count("o200k_base", "😀".repeat(64));
    expect(count("o200k_base", ` ${"😀".repeat(64 * 50)}`)).toBeLessThanOrEqual((emoji + 1) * 50 + 2);
  });

  it("gives up a text whose words cost too much", () => {
    const words = Array.from({ length: 3000 }, (_, index) => letters(index));
    expect(() => counters.cl100k_base.count(words.join(" "), { left: 100_000 })).toThrow(TooCostly);
  });

  it("shares what it may cost among the texts of a job", () => {
    const work = { left: 5000 };
    counters.cl100k_base.count("one two three", work);
    expect(work.left).toBeLessThan(5000);
    expect(() => counters.cl100k_base.count(letters(1), work)).toThrow(TooCostly);
  });
});

/** A word of 100 letters, another for each seed. */
function letters(seed: number): string {
  let state = seed + 1;
  return Array.from({ length: 100 }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return String.fromCharCode(97 + (Math.floor(state / 65_536) % 26));
  }).join("");
}
