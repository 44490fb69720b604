import { getEncodingNameForModel } from "js-tiktoken/lite";
import { describe, expect, it } from "vitest";
import { encodingOfModel } from "../../../src/usage/estimate/encoding-of-model.ts";

describe("the encoding of a model", () => {
  it.each([
    ["gpt-4o-mini-2024-07-18", "o200k_base"],
    ["gpt-4.1-nano", "o200k_base"],
    ["gpt-5.6-sol", "o200k_base"],
    ["o3", "o200k_base"],
    ["o4-mini-2025-04-16", "o200k_base"],
    ["chatgpt-4o-latest", "o200k_base"],
    ["gpt-oss-120b", "o200k_base"],
    ["gpt-4", "cl100k_base"],
    ["gpt-4-turbo", "cl100k_base"],
    ["gpt-3.5-turbo-0125", "cl100k_base"],
    ["gpt-35-turbo-16k", "cl100k_base"],
    ["text-embedding-3-large", "cl100k_base"],
    ["ft:gpt-4o-mini-2024-07-18:acme::id", "o200k_base"],
    ["ft:gpt-3.5-turbo:acme::id", "cl100k_base"],
  ])("%s is %s", (model, encoding) => {
    expect(encodingOfModel(model)).toBe(encoding);
  });

  it("is found behind the name of a router or a cloud", () => {
    expect(encodingOfModel("openai/GPT-4o")).toBe("o200k_base");
    expect(encodingOfModel("openai.gpt-oss-120b-1:0")).toBe("o200k_base");
    expect(encodingOfModel("azure/gpt-4")).toBe("cl100k_base");
  });

  it.each(["claude-opus-5-5", "gemini-3.8-flash", "gpt-6-sol", "gpt-4all", "whisper-1", "text-davinci-003", "someone/gpt-4o", "my-deployment", ""])(
    "%s has none that is known",
    (model) => {
      expect(encodingOfModel(model)).toBeUndefined();
    },
  );

  it("is what js-tiktoken says, for models that both know", () => {
    for (const model of ["gpt-4o", "gpt-4.1-mini", "gpt-5", "gpt-5-nano", "o1", "o3-mini", "gpt-4-turbo", "gpt-35-turbo", "text-embedding-ada-002"] as const) {
      expect(encodingOfModel(model), model).toBe(getEncodingNameForModel(model));
    }
  });
});
