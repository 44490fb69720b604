import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHostTable, hostMatches, hostPatternFault, pathEndsWith } from "../../src/flow/route.ts";

describe("hostMatches", () => {
  it.each([
    ["api.openai.com", "api.openai.com", 443, true],
    ["API.OpenAI.com", "api.openai.com", 443, true],
    ["api.openai.com", "eu.api.openai.com", 443, false],
    ["api.openai.com", "xapi.openai.com", 443, false],
    ["api.openai.com:8443", "api.openai.com", 8443, true],
    ["api.openai.com:8443", "api.openai.com", 443, false],
    ["*.example.com", "a.example.com", 443, true],
    ["*.example.com", "a.b.example.com", 443, true],
    ["*.example.com", "example.com", 443, false],
    ["*.example.com", ".example.com", 443, false],
    ["*.example.com", "badexample.com", 443, false],
    ["*.example.com:1", "a.example.com", 1, true],
    ["*.example.com:1", "a.example.com", 2, false],
    ["localhost:11434", "localhost", 11434, true],
    ["127.0.0.1", "127.0.0.1", 80, true],
    ["::1", "::1", 443, true],
    ["[::1]", "::1", 443, true],
    ["[::1]:443", "::1", 443, true],
    ["[::1]:443", "::1", 444, false],
    ["[::FFFF:1.2.3.4]:443", "::ffff:1.2.3.4", 443, true],
    ["not a host", "not a host", 443, false],
    ["run.*.example.com", "run.eu-1.example.com", 443, true],
    ["run.*.example.com", "run.eu.one.example.com", 443, false],
    ["run.*.example.com", "run.example.com", 443, false],
    ["run.*.example.com:1", "run.a.example.com", 2, false],
    ["*.run.*.example.com", "vpce-1.run.eu-1.example.com", 443, true],
    ["*.run.*.example.com", "run.eu-1.example.com", 443, false],
    ["*-api.example.com", "eu-1-api.example.com", 443, true],
    ["*-api.example.com", "-api.example.com", 443, false],
    ["*-api.example.com", "a.eu-api.example.com", 443, false],
  ])("says of %s and %s port %i: %s", (pattern, host, port, expected) => {
    expect(hostMatches(pattern, host, port)).toBe(expected);
  });
});

describe("createHostTable", () => {
  const table = createHostTable<string>([
    ["*.com", "com"],
    ["*.example.com", "suffix"],
    ["*.deep.example.com", "longer suffix"],
    ["*.example.com:8443", "suffix with port"],
    ["api.example.com", "exact"],
    ["api.example.com:8443", "exact with port"],
    ["api.example.com", "a later duplicate"],
    ["run.*.example.com", "inner"],
    ["[::1]:443", "six"],
  ]);

  it.each([
    ["api.example.com", 443, "exact"],
    ["run.eu.example.com", 443, "inner"],
    ["run.eu.one.example.com", 443, "suffix"],
    ["api.example.com", 8443, "exact with port"],
    ["b.example.com", 443, "suffix"],
    ["b.example.com", 8443, "suffix with port"],
    ["a.deep.example.com", 443, "longer suffix"],
    ["a.deep.example.com", 8443, "longer suffix"],
    ["a.b.deep.example.com", 443, "longer suffix"],
    ["deep.example.com", 443, "suffix"],
    ["example.com", 443, "com"],
    ["com", 443, undefined],
    ["::1", 443, "six"],
    ["::1", 80, undefined],
    ["", 443, undefined],
  ])("finds for %s port %i: %s", (host, port, expected) => {
    expect(table.lookup(host, port)).toBe(expected);
  });

  it.each(["constructor", "__proto__", "toString", "a.__proto__", "constructor.prototype"])("knows no %s unless it is an entry", (host) => {
    expect(table.lookup(host, 443)).toBeUndefined();
    expect(createHostTable([["constructor", 1], ["__proto__", 2], ["*.prototype", 3]]).lookup("constructor", 443)).toBe(1);
  });

  it("takes a host of many labels in bounded time, and matches it with no wildcard", () => {
    const host = `${"a.".repeat(100_000)}example.com`;
    expect(table.lookup(host, 443)).toBeUndefined();
    expect(hostMatches("*.example.com", host, 443)).toBe(false);
  });

  it("refuses a pattern with a fault", () => {
    expect(() => createHostTable([["a*.example.com", 1]])).toThrow(RangeError);
  });

  it("agrees with hostMatches for every single pattern", () => {
    const label = fc.constantFrom("a", "b", "com", "x-1");
    const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
    const port = fc.constantFrom(80, 443);
    const pattern = fc.tuple(fc.boolean(), name, fc.option(port)).map(([isWild, host, at]) => `${isWild ? "*." : ""}${host}${at === null ? "" : `:${at}`}`);
    fc.assert(fc.property(pattern, name, port, (text, host, at) => {
      expect(createHostTable([[text, true]]).lookup(host, at) === true).toBe(hostMatches(text, host, at));
    }), { numRuns: 500 });
  });
});

describe("hostPatternFault", () => {
  it.each(["api.openai.com", "*.azure.com", "localhost:11434", "10.0.0.1:8080", "::1", "[::1]", "[fd00::1]:443", "my_host", "XN--BCHER-KVA.example"])("finds none in %s", (pattern) => {
    expect(hostPatternFault(pattern)).toBeUndefined();
  });

  it.each([
    "", "*", "*.", "a.*.com", "a*.com", "a..b", ".a", "a.", "-a.com", "a b", "https://a.com", "a.com/path", "a.com:", "a.com:0", "a.com:65536",
    "a.com:x", "a.com:443x", "[::1", "[]", "[a.com]:443", "[::1]:0", "[::1]x", "::1%eth0", "*.0.0.1", `${"a".repeat(64)}.com`, `${"a.".repeat(130)}com`,
  ])("finds one in %j", (pattern) => {
    expect(hostPatternFault(pattern)).toEqual(expect.any(String));
    expect(hostMatches(pattern, pattern, 443)).toBe(false);
  });
});

describe("pathEndsWith", () => {
  it.each([
    ["/v1/messages", "/v1/messages", true],
    ["/proxy/v1/messages", "/v1/messages", true],
    ["/proxyv1/messages", "/v1/messages", false],
    ["/proxy/v1/messages", "v1/messages", true],
    ["/proxyv1/messages", "v1/messages", false],
    ["/v1/messages/batches", "/v1/messages", false],
    ["/v1/messages/", "/v1/messages", false],
    ["/messages", "/v1/messages", false],
  ])("says of %s and %s: %s", (path, suffix, expected) => {
    expect(pathEndsWith(path, suffix)).toBe(expected);
  });
});
