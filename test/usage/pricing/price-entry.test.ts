import { describe, expect, it } from "vitest";
import { PriceFileError, readPriceFile } from "../../../src/usage/pricing/price-entry.ts";

function faultsOf(json: unknown): readonly string[] {
  try {
    readPriceFile(json);
  } catch (error) {
    if (error instanceof PriceFileError) return error.faults;
    throw error;
  }
  return [];
}

describe("a price file", () => {
  it("is read when it is of the format", () => {
    const models = [{ match: "a*", from: "2026-01-31", per_million: { input_tokens: "0.000000000001" }, when: { speed: "fast" } }];
    expect(readPriceFile({ models })).toEqual({ models, connectors: [] });
  });

  it.each([
    ["no object", [], "the file"],
    ["no models", {}, "models"],
    ["an unknown field", { models: [{ match: "a", price: 1 }] }, "models.0"],
    ["an unknown category", { models: [{ match: "a", per_million: { tokens: 1 } }] }, "models.0.per_million"],
    ["a negative price", { models: [{ match: "a", per_million: { input_tokens: -1 } }] }, "models.0.per_million.input_tokens"],
    ["a price with a sign", { models: [{ match: "a", per_million: { input_tokens: "+1" } }] }, "models.0.per_million.input_tokens"],
    ["a price too fine", { models: [{ match: "a", per_unit: { pages: "0.0000000000001" } }] }, "models.0.per_unit.pages"],
    ["a star in the middle", { models: [{ match: "a*b" }] }, "models.0.match"],
    ["a star alone", { models: [{ match: "*" }] }, "models.0.match"],
    ["no such day", { models: [{ match: "a", from: "2026-02-30" }] }, "models.0.from"],
    [
      "a long-context price without its base",
      { models: [{ match: "a", long_context: { over_prompt_tokens: 1, per_million: { input_tokens: 1 } } }] },
      "models.0",
    ],
  ])("is refused with %s, naming the place", (_what, json, place) => {
    const faults = faultsOf(json);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(new RegExp(`^${place.replaceAll(".", "\\.")}: .`));
  });

  it("is refused with every fault at once", () => {
    const faults = faultsOf({ models: [{ match: "" }, { match: "b", per_million: { input_tokens: "x" } }] });
    expect(faults.join("\n")).toMatch(/models\.0\.match/);
    expect(faults.join("\n")).toMatch(/models\.1\.per_million\.input_tokens/);
  });
});
