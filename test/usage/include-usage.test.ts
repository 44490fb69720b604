import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { askForUsage, createUsageChunkFilter } from "../../src/usage/include-usage.ts";

describe("a request", () => {
  it.each([
    ['{"stream":true}', '{"stream":true,"stream_options":{"include_usage":true}}'],
    ['{ "stream" : true , "n": 12345678901234567890 }\n', '{ "stream" : true , "n": 12345678901234567890 ,"stream_options":{"include_usage":true}}\n'],
    ['{"stream":true,"stream_options":null}', '{"stream":true,"stream_options":{"include_usage":true}}'],
    ['{"stream":true,"stream_options":{}}', '{"stream":true,"stream_options":{"include_usage":true}}'],
    ['{"stream":true,"stream_options": {"include_obfuscation":false}}', '{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}'],
    ['{"stream":true,"stream_options":{"include_usage":false}}', '{"stream":true,"stream_options":{"include_usage":true}}'],
  ])("%s asks for usage, and nothing else of it changes", (text, asked) => {
    expect(askForUsage(text)).toBe(asked);
  });

  it.each([
    ['{"stream":false}'],
    ['{"model":"m"}'],
    ['{"stream":true,"stream_options":{"include_usage":true}}'],
    ['[{"stream":true}]'],
    ["no json"],
    // The same text stands in the prompt: which of the two is meant is not known without a parser of positions.
    [JSON.stringify({ stream: true, stream_options: {}, messages: [{ stream_options: {} }] })],
  ])("%s passes as it is", (text) => {
    expect(askForUsage(text)).toBeUndefined();
  });
});

describe("a stream", () => {
  const chunk = (content: string, usage: unknown = null): string => `data: ${JSON.stringify({ choices: [{ delta: { content } }], usage })}\n\n`;
  const usageChunk = (end: string): string => `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 3 } })}${end}${end}`;
  const run = (pieces: readonly string[]): string => {
    const filter = createUsageChunkFilter();
    const passed = pieces.map((piece) => filter.push(Buffer.from(piece, "latin1")));
    return Buffer.concat([...passed, filter.end()]).toString("latin1");
  };

  it.each([["\n"], ["\r\n"]])("loses its usage chunk and nothing else, wherever it is cut", (end) => {
    const before = chunk("hi") + chunk('"choices":[] "usage":{}');
    const after = `: comment${end}${end}data: [DONE]${end}${end}`;
    const whole = before + usageChunk(end) + after;
    for (let cut = 0; cut <= whole.length; cut += 1) expect(run([whole.slice(0, cut), whole.slice(cut)])).toBe(before + after);
    expect(run(whole.split(""))).toBe(before + after);
  });

  it("that ends inside its usage chunk loses what came of it only when it is whole", () => {
    expect(run([usageChunk("\n").trimEnd()])).toBe("");
    expect(run(['data: {"choices":[],"usa'])).toBe('data: {"choices":[],"usa');
  });

  it("keeps a chunk with filter results and no choices", () => {
    const first = `data: ${JSON.stringify({ choices: [], prompt_filter_results: [], usage: null })}\n\n`;
    expect(run([first])).toBe(first);
  });

  it("of anything else passes byte for byte, however long its events are", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ maxLength: 40 }), fc.constant("\n\n"), fc.constant("x".repeat(70_000))), { maxLength: 8 }), (pieces) => {
        const bytes = pieces.map((piece) => Buffer.from(piece, "utf8").toString("latin1"));
        expect(run(bytes)).toBe(bytes.join(""));
      }),
      { seed: 7, numRuns: 200 },
    );
  });
});
