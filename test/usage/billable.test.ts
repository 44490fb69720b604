import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";

import { createBillable, keyFingerprint } from "../../src/usage/billable.ts";

const head = (headers: readonly string[], target = "/") => ({ headers, target });
const fingerprint = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 16);

describe("keyFingerprint", () => {
  it("is what `printf %s key | sha256sum | cut -c1-16` prints", () => {
    expect(keyFingerprint(head(["x-api-key", "sk-test"]))).toBe("f3abf2a6cc4f0098");
  });

  it.each([
    ["X-Api-Key", "k"],
    ["api-key", "k"],
    ["X-Goog-Api-Key", "k"],
    ["Authorization", "Bearer k"],
    ["authorization", "bearer   k"],
  ])("finds the key in %s: %s", (name, value) => {
    expect(keyFingerprint(head(["a", "1", name, value]))).toBe(fingerprint("k"));
  });

  it("prefers the provider's own header, passes over an empty one, and has none without a key", () => {
    expect(keyFingerprint(head(["authorization", "Bearer a", "x-api-key", "b"]))).toBe(fingerprint("b"));
    expect(keyFingerprint(head(["x-api-key", "", "authorization", "Bearer a"]))).toBe(fingerprint("a"));
    expect(keyFingerprint(head(["cookie", "a"]))).toBeUndefined();
  });
});

describe("a key that is in no header of its own", () => {
  it("is in the query, as Google's APIs take it", () => {
    expect(keyFingerprint(head(["accept", "*/*"], "/v1beta/models/gemini:generateContent?alt=sse&key=k"))).toBe(fingerprint("k"));
    expect(keyFingerprint(head([], "/v1beta/models?monkey=k"))).toBeUndefined();
  });

  it("is the access key's id where AWS signs each request anew", () => {
    const signed = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=5d67";
    expect(keyFingerprint(head(["authorization", signed]))).toBe(fingerprint("AKIDEXAMPLE"));
  });
});

describe("createBillable", () => {
  it("says the same of every flow for all and none", () => {
    expect(createBillable("all")("openai", head([]))).toBe(true);
    expect(createBillable("none")("openai", head(["x-api-key", "k"]))).toBe(false);
  });

  it("knows meters, and single keys of a meter", () => {
    const isBillable = createBillable([
      { meter: "openai", keyFingerprint: undefined },
      { meter: "anthropic", keyFingerprint: fingerprint("k") },
    ]);
    expect(isBillable("openai", head([]))).toBe(true);
    expect(isBillable("anthropic", head(["x-api-key", "k"]))).toBe(true);
    expect(isBillable("anthropic", head(["x-api-key", "other"]))).toBe(false);
    expect(isBillable("anthropic", head([]))).toBe(false);
    expect(isBillable("gemini", head(["x-api-key", "k"]))).toBe(false);
    expect(createBillable([])("openai", head([]))).toBe(false);
  });

  it("takes a shorter or longer beginning of the key's digest", () => {
    const digest = createHash("sha256").update("k").digest("hex");
    for (const length of [8, 16, 64]) {
      const isBillable = createBillable([{ meter: "openai", keyFingerprint: digest.slice(0, length) }]);
      expect([isBillable("openai", head(["x-api-key", "k"])), isBillable("openai", head(["x-api-key", "l"])), isBillable("gemini", head(["x-api-key", "k"]))]).toEqual([true, false, false]);
    }
  });
});
