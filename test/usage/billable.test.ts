import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";

import { createBillable, keyFingerprint } from "../../src/usage/billable.ts";

const fingerprint = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 16);

describe("keyFingerprint", () => {
  it("is what `printf %s key | sha256sum | cut -c1-16` prints", () => {
    expect(keyFingerprint(["x-api-key", "sk-test"])).toBe("f3abf2a6cc4f0098");
  });

  it.each([
    ["X-Api-Key", "k"],
    ["api-key", "k"],
    ["X-Goog-Api-Key", "k"],
    ["Authorization", "Bearer k"],
    ["authorization", "bearer   k"],
  ])("finds the key in %s: %s", (name, value) => {
    expect(keyFingerprint(["a", "1", name, value])).toBe(fingerprint("k"));
  });

  it("prefers the provider's own header, passes over an empty one, and has none without a key", () => {
    expect(keyFingerprint(["authorization", "Bearer a", "x-api-key", "b"])).toBe(fingerprint("b"));
    expect(keyFingerprint(["x-api-key", "", "authorization", "Bearer a"])).toBe(fingerprint("a"));
    expect(keyFingerprint(["cookie", "a"])).toBeUndefined();
  });
});

describe("createBillable", () => {
  it("says the same of every flow for all and none", () => {
    expect(createBillable("all")("openai", [])).toBe(true);
    expect(createBillable("none")("openai", ["x-api-key", "k"])).toBe(false);
  });

  it("knows meters, and single keys of a meter", () => {
    const isBillable = createBillable([
      { meter: "openai", keyFingerprint: undefined },
      { meter: "anthropic", keyFingerprint: fingerprint("k") },
    ]);
    expect(isBillable("openai", [])).toBe(true);
    expect(isBillable("anthropic", ["x-api-key", "k"])).toBe(true);
    expect(isBillable("anthropic", ["x-api-key", "other"])).toBe(false);
    expect(isBillable("anthropic", [])).toBe(false);
    expect(isBillable("gemini", ["x-api-key", "k"])).toBe(false);
    expect(createBillable([])("openai", [])).toBe(false);
  });
});
