import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { deltaText } from "../../../../src/usage/providers/protocols/delta-text.ts";
import { createPlainDeltas } from "../../../../src/usage/providers/protocols/plain-delta.ts";

const MEMBERS = ['content":', 'reasoning":'];

function chunk(content: string, { reason = null, padding, index = 0 }: { reason?: string | null; padding?: string; index?: number } = {}): string {
  const choice = { index, delta: { content }, finish_reason: reason };
  return JSON.stringify({ id: "c-1", choices: [choice], usage: null, ...(padding === undefined ? {} : { obfuscation: padding }) });
}

function learnt(data: string): ReturnType<typeof createPlainDeltas> {
  const deltas = createPlainDeltas();
  deltas.learn(data, MEMBERS);
  return deltas;
}

describe("plain deltas", () => {
  it("know an event by all but its text, escapes included", () => {
    const deltas = learnt(chunk("Hello"));
    expect(deltas.textOf(chunk(" world"))).toBe(" world");
    expect(deltas.textOf(chunk('say "no" \\'))).toBe('say \\"no\\" \\\\');
    expect(deltas.textOf(chunk("héllo 🎈"))).toBe("héllo 🎈");
  });

  it("know it with padding at its end, of any length", () => {
    const deltas = learnt(chunk("Hello", { padding: "abc" }));
    expect(deltas.textOf(chunk("a", { padding: "" }))).toBe("a");
    expect(deltas.textOf(chunk("b", { padding: "0123456789" }))).toBe("b");
  });

  it.each([
    ["a finish reason", chunk("Hello", { reason: "stop" })],
    ["usage", chunk("Hello").replace('"usage":null', '"usage":{"prompt_tokens":1}')],
    ["another choice", chunk("Hello", { index: 1 })],
    ["a member behind the text", chunk("Hello").replace('"Hello"', '"Hello","refusal":"no"')],
    ["a member behind it all", chunk("Hello").replace(/}$/, ',"error":{"code":1}}')],
    ["no text", chunk("")],
    ["a text that is cut", chunk("Hello").slice(0, chunk("").indexOf('""') + 3)],
    ["another kind of text", chunk("Hello").replace("content", "reasoning")],
  ])("do not know one with %s", (_what, data) => {
    expect(learnt(chunk("Hello")).textOf(data)).toBeUndefined();
    expect(learnt(chunk("Hello", { padding: "xyz" })).textOf(data)).toBeUndefined();
  });

  it("give nothing before they learnt, and give up on streams whose events all differ", () => {
    const deltas = createPlainDeltas();
    expect(deltas.textOf(chunk("Hello"))).toBeUndefined();
    for (let index = 0; index < 20; index++) {
      expect(deltas.textOf(chunk("x", { index }))).toBeUndefined();
      deltas.learn(chunk("x", { index }), MEMBERS);
    }
    expect(deltas.textOf(chunk("y", { index: 19 }))).toBeUndefined();
  });

  it("find what reading finds, whatever was learnt", () => {
    const event = fc.tuple(fc.string({ unit: "grapheme" }), fc.option(fc.string(), { nil: undefined }), fc.constantFrom(null, "stop")).map(([text, padding, reason]) =>
      chunk(text, { reason, ...(padding === undefined ? {} : { padding }) }),
    );
    fc.assert(
      fc.property(event, event, (first, second) => {
        const text = learnt(first).textOf(second);
        if (text === undefined) return;
        const place = deltaText(second, MEMBERS);
        expect(text).toBe(second.slice(place?.start, place?.end));
      }),
    );
  });
});
