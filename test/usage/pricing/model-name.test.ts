import { describe, expect, it } from "vitest";
import { isAtLeast, modelNameCandidates, modelVendor, modelVersion } from "../../../src/usage/pricing/model-name.ts";

describe("model names", () => {
  it.each([
    ["claude-sonnet-4-5", "claude-sonnet-4-5"],
    ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5"],
    ["us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"],
    ["arn:aws:bedrock:us-east-1:111122223333:inference-profile/eu.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"],
    ["claude-opus-4-1@20250805", "claude-opus-4-1"],
    ["claude-sonnet-5@default", "claude-sonnet-5"],
    ["gpt-5.4-2026-03-05", "gpt-5.4"],
    ["anthropic/claude-sonnet-4.5:beta", "claude-sonnet-4.5"],
    ["models/gemini-2.5-pro", "gemini-2.5-pro"],
    ["GPT-6-Sol", "gpt-6-sol"],
    ["o3-mini", "o3-mini"],
    ["gpt-4.1", "gpt-4.1"],
  ])("takes the decoration off %s", (model, bare) => {
    const names = modelNameCandidates(model);
    expect(names[0]).toBe(model.toLowerCase());
    expect(names.at(-1)).toBe(bare);
    expect(new Set(names).size).toBe(names.length);
  });

  it("never turns a free variant into the paid model", () => {
    expect(modelNameCandidates("deepseek/deepseek-r1:free")).toEqual(["deepseek/deepseek-r1:free"]);
  });

  it.each([
    ["claude-sonnet-4-5", "claude", 4, 5],
    ["claude-3-5-haiku-latest", "claude", 3, 5],
    ["claude-opus-4-20250514", "claude", 4, 0],
    ["claude-opus-5.5", "claude", 5, 5],
    ["gpt-5.6-sol", "gpt", 5, 6],
    ["gpt-5-2025-08-07", "gpt", 5, 0],
    ["gpt-6-sol", "gpt", 6, 0],
  ])("reads the release of %s", (name, family, major, minor) => {
    expect(modelVersion(name)).toEqual({ family, major, minor });
  });

  it("knows no release where a name has none", () => {
    expect(modelVersion("gemini-2.5-pro")).toBeUndefined();
    expect(modelVersion("gpt-oss-120b")).toBeUndefined();
  });

  it("compares releases number by number", () => {
    const version = { family: "gpt", major: 5, minor: 10 } as const;
    expect(isAtLeast(version, 5, 6)).toBe(true);
    expect(isAtLeast(version, 5, 11)).toBe(false);
    expect(isAtLeast(version, 4, 99)).toBe(true);
    expect(isAtLeast(version, 6, 0)).toBe(false);
  });

  it("tells whose cache rules hold", () => {
    expect(modelVendor("claude-sonnet-4-5")).toBe("anthropic");
    expect(modelVendor("gpt-5.6-sol")).toBe("openai");
    expect(modelVendor("o3-mini")).toBe("openai");
    expect(modelVendor("gpt-oss-120b")).toBeUndefined();
    expect(modelVendor("gemini-2.5-pro")).toBeUndefined();
  });
});
