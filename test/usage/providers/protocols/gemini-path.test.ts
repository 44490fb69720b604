import { describe, expect, it } from "vitest";
import { geminiPath } from "../../../../src/usage/providers/protocols/gemini-path.ts";
import { bareModel } from "../../../../src/usage/providers/protocols/gemini-request.ts";

describe("geminiPath", () => {
  it.each([
    ["/v1beta/models/gemini-3.8-flash:generateContent", "generateContent", "gemini-3.8-flash"],
    ["/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-5-5@20260801:rawPredict", "rawPredict", "claude-opus-5-5@20260801"],
    ["/v1/models/claude%40default%3ArawPredict/", "rawPredict", "claude@default"],
    ["/v1beta/models%2Fgemini-3.8-flash:embedContent", "embedContent", "gemini-3.8-flash"],
    ["/v1beta/tunedModels/t-1:generateContent", "generateContent", "tunedModels/t-1"],
    ["/v1/projects/p/locations/l/endpoints/123:generateContent", "generateContent", "endpoints/123"],
    ["/v1beta/models/veo-3.1/operations/op1", undefined, "veo-3.1"],
    ["/v1beta/models", undefined, null],
    ["/v1internal:generateContent", "generateContent", null],
    ["/v1beta/models/%E0%A4:generateContent", "generateContent", "%E0%A4"],
    ["", undefined, null],
  ])("%s has verb %s and model %s", (path, verb, model) => {
    expect(geminiPath(path)).toMatchObject({ verb, model });
  });
});

describe("bareModel", () => {
  it.each([
    ["models/gemini-3.8-flash", "gemini-3.8-flash"],
    ["projects/p/locations/l/publishers/google/models/m", "m"],
    ["m", "m"],
    ["tunedModels/t", "tunedModels/t"],
    ["models/", undefined],
    ["", undefined],
    [7, undefined],
  ])("of %s is %s", (name, bare) => {
    expect(bareModel(name)).toBe(bare);
  });
});
