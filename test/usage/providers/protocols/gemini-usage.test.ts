import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { totalsOf } from "../../../../src/usage/categories.ts";
import { mapGeminiUsage, mapInteractionUsage } from "../../../../src/usage/providers/protocols/gemini-usage.ts";

const details = (name: string) =>
  fc.array(fc.record({ modality: fc.constantFrom("TEXT", "AUDIO", "IMAGE", "VIDEO", "DOCUMENT", "MODALITY_UNSPECIFIED", "SMELL"), [name]: fc.nat(2000) }), { maxLength: 5 });
const count = fc.option(fc.nat(5000), { nil: undefined });

describe("mapGeminiUsage", () => {
  it("is as large as the totals, whatever the details say, while the cache is inside the prompt", () => {
    const usage = fc.record({
      prompt: fc.nat(5000),
      cachedShare: fc.double({ min: 0, max: 1, noNaN: true }),
      output: count,
      thoughts: count,
      toolUse: count,
      promptTokensDetails: details("tokenCount"),
      candidatesTokensDetails: details("tokenCount"),
    });
    fc.assert(
      fc.property(usage, ({ prompt, cachedShare, output, thoughts, toolUse, ...rest }) => {
        const cached = Math.floor(prompt * cachedShare);
        const raw = { promptTokenCount: prompt, cachedContentTokenCount: cached, candidatesTokenCount: output, thoughtsTokenCount: thoughts, toolUsePromptTokenCount: toolUse, ...rest };
        const mapped = mapGeminiUsage(raw).usage;
        expect(totalsOf(mapped)).toMatchObject({ input_tokens: prompt + (toolUse ?? 0), output_tokens: (output ?? 0) + (thoughts ?? 0) });
        const reads = [mapped.cache_read_tokens, mapped.cache_read_audio_tokens, mapped.cache_read_image_tokens, mapped.cache_read_video_tokens];
        expect(reads.reduce<number>((sum, read) => sum + (read ?? 0), 0)).toBe(cached);
      }),
    );
  });

  it("is never negative, whatever is reported", () => {
    const raw = fc.record({ promptTokenCount: count, cachedContentTokenCount: count, candidatesTokenCount: count, promptTokensDetails: details("tokenCount"), cacheTokensDetails: details("tokenCount"), totalTokenCount: count });
    fc.assert(
      fc.property(raw, (usage) => {
        for (const value of Object.values(mapGeminiUsage(usage).usage)) expect(value).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it("reads the names that Live has", () => {
    const raw = { promptTokenCount: 10, responseTokenCount: 30, responseTokensDetails: [{ modality: "AUDIO", tokenCount: 25 }, { modality: "TEXT", tokenCount: 5 }], totalTokenCount: 40 };
    expect(mapGeminiUsage(raw)).toEqual({ usage: { input_tokens: 10, output_tokens: 5, output_audio_tokens: 25 }, anomalies: [] });
  });

  it("adds entries of one modality", () => {
    const raw = { promptTokenCount: 100, promptTokensDetails: [{ modality: "IMAGE", tokenCount: 30 }, { modality: "IMAGE", tokenCount: 20 }, { modality: "IMAGE" }] };
    expect(mapGeminiUsage(raw).usage).toEqual({ input_tokens: 50, input_image_tokens: 50 });
  });

  it("leaves out what is not reported, and nothing else", () => {
    expect(mapGeminiUsage({ thoughtsTokenCount: 7, totalTokenCount: 7 })).toEqual({ usage: { output_reasoning_tokens: 7 }, anomalies: [] });
    expect(mapGeminiUsage({ cachedContentTokenCount: 7 }).usage).toEqual({ input_tokens: 0, cache_read_tokens: 7 });
    expect(mapGeminiUsage({ promptTokenCount: -1, candidatesTokenCount: "three" }).usage).toEqual({});
  });
});

describe("mapInteractionUsage", () => {
  it("adds the counts of one kind of grounding and leaves out other kinds", () => {
    const grounding_tool_count = [{ type: "google_search", count: 2 }, { type: "google_search", count: 1 }, { type: "retrieval", count: 9 }, { type: "google_maps", count: 0 }, null];
    expect(mapInteractionUsage({ total_input_tokens: 1, grounding_tool_count }).usage).toEqual({ input_tokens: 1, grounding_queries: 3 });
  });
});
