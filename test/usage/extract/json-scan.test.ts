import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createJsonScan } from "../../../src/usage/extract/json-scan.ts";
import type { JsonPath } from "../../../src/usage/extract/json-scan.ts";

interface Outcome {
  readonly found: [path: JsonPath, value: unknown][];
  readonly oversize: JsonPath[];
  readonly isWhole: boolean;
  readonly isBroken: boolean;
}

function scan(paths: readonly JsonPath[], chunks: Iterable<Uint8Array>, maxValueBytes?: number): Outcome {
  const found: [JsonPath, unknown][] = [];
  const oversize: JsonPath[] = [];
  const scanner = createJsonScan({
    paths,
    onValue: (path, value) => found.push([path, value]),
    onOversize: (path) => oversize.push(path),
    ...(maxValueBytes === undefined ? {} : { maxValueBytes }),
  });
  for (const chunk of chunks) scanner.push(chunk);
  return { found, oversize, isWhole: scanner.end(), isBroken: scanner.isBroken };
}

function scanText(paths: readonly JsonPath[], text: string): Outcome {
  return scan(paths, [Buffer.from(text)]);
}

/** Every way to cut a document in two, and the cut into single bytes (plain arrays, not Buffers). */
function* splits(bytes: Uint8Array): Generator<Uint8Array[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

/** What the scan should find, out of the parsed document. */
function expected(paths: readonly JsonPath[], document: unknown): [JsonPath, unknown][] {
  const found: [JsonPath, unknown][] = [];
  const walk = (value: unknown, active: readonly JsonPath[], depth: number): void => {
    for (const path of active) if (path.length === depth) found.push([path, value]);
    if (typeof value !== "object" || value === null) return;
    for (const [key, child] of Object.entries(value)) {
      const isMatch = (step: string | undefined): boolean => step === "*" || (!Array.isArray(value) && step === key);
      walk(child, active.filter((path) => path.length > depth && isMatch(path[depth])), depth + 1);
    }
  };
  walk(document, paths, 0);
  return found;
}

const PATHS: readonly JsonPath[] = [["usage"], ["model"], ["choices", "*", "usage"], ["choices", "*", "finish"], ["data", "*"], ["*", "x_id"], ["deep", "a", "b"]];

const DOCUMENT = String.raw`{
  "id": "usage", "text": "a \"usage\": {\"n\":1} \\", "none": {"usage": {"no": 1}, "model": [{"usage": 2}]},
  "args": "{\"usage\":{\"input\":99}}", "usage": {"input": 3, "nested": {"usage": [1, "]}", "\\\""]}}, "long": "${"漢字 \\\\ ".repeat(20)}",
  "choices": [{"usage": null, "finish": "stop"}, [], 7, {"index": 1, "usage": {"n": -1.5e3}, "message": {"usage": 1}}, {"finish": true}],
  "data": ["s", 12.25, false, null, [1, [2]], {}], "deep": {"a": {"c": 1, "b": "😀"}}, "other": {"x_id": "é"},
  "\u0075sage": {"input": 4}, "m\u006fdel": "gpt", "e": "", "numbers": [-1, 0.5, 2e10, -3E-2], "usage": {"input": 5} }`;

describe("createJsonScan", () => {
  it("finds what JSON.parse finds, and no look-alike, split at every byte", () => {
    const found: [JsonPath, unknown][] = [
      [["usage"], { input: 3, nested: { usage: [1, "]}", '\\"'] } }],
      [["choices", "*", "usage"], null],
      [["choices", "*", "finish"], "stop"],
      [["choices", "*", "usage"], { n: -1500 }],
      [["choices", "*", "finish"], true],
      ...["s", 12.25, false, null, [1, [2]], {}].map((value): [JsonPath, unknown] => [["data", "*"], value]),
      [["deep", "a", "b"], "😀"],
      [["*", "x_id"], "é"],
      [["usage"], { input: 4 }],
      [["model"], "gpt"],
      [["usage"], { input: 5 }],
    ];
    for (const chunks of splits(Buffer.from(DOCUMENT))) {
      expect(scan(PATHS, chunks)).toEqual({ found, oversize: [], isWhole: true, isBroken: false });
    }
  });

  it("keeps its place in long strings full of escapes, split at every byte", () => {
    const long = `${"plain ".repeat(12)}\\"usage\\":{},${"\\\\".repeat(30)}\\"${"x".repeat(60)}\\\\`;
    const text = `{"a":"${long}","k${long}":["${long}"],"usage":"${long}"}`;
    const found = [[["usage"], JSON.parse(`"${long}"`)]];
    for (const chunks of splits(Buffer.from(text))) {
      expect(scan([["usage"]], chunks)).toEqual({ found, oversize: [], isWhole: true, isBroken: false });
    }
  });

  it("gives the path object that it was given", () => {
    const paths: JsonPath[] = [["a"], ["*"], ["a"]];
    expect(scanText(paths, '{"a":1,"b":2}').found.map(([path]) => paths.indexOf(path))).toEqual([0, 1, 2, 1]);
  });

  it("finds in random documents, however cut, what a walk over the document finds", () => {
    const key = fc.constantFrom("usage", "a", "b", "*", "é", "", "usag", "usages", "😀");
    const paths = fc.array(fc.array(key, { maxLength: 4 }), { maxLength: 6 });
    fc.assert(fc.property(documents(key), paths, fc.constantFrom("", " ", "\t"), CUTS, (document, wanted, indent, cuts) => {
      const chunks = cut(Buffer.from(JSON.stringify(document, null, indent)), cuts);
      expect(scan(wanted, chunks)).toEqual({ found: expected(wanted, document), oversize: [], isWhole: true, isBroken: false });
    }), { numRuns: 1500 });
  });

  it("finds the same values behind keys written with escapes", () => {
    const key = fc.constantFrom("usage", "a", "b", "*", "é", "", 'x"y', "\\", "\n", "😀");
    const paths = fc.integer({ min: 1, max: 4 }).chain((steps) => fc.array(fc.array(key, { minLength: steps, maxLength: steps }), { maxLength: 6 }));
    fc.assert(fc.property(documents(key), paths, CUTS, (document, wanted, cuts) => {
      const { found, isWhole } = scan(wanted, cut(Buffer.from(escapeAll(document)), cuts));
      expect(isWhole).toBe(true);
      expect(found.map(([path, value]) => [path, outside(value)])).toEqual(expected(wanted, document).map(([path, value]) => [path, outside(value)]));
    }), { numRuns: 1500 });
  });

  it.each([["42", 42], [" -1.5e2 ", -150], ["true", true], ["null", null], ['"text"', "text"], ["[1]", [1]], ['\uFEFF{"a":1}\n', { a: 1 }]])("captures a whole document by the empty path: %s", (text, value) => {
    for (const chunks of splits(Buffer.from(text))) {
      expect(scan([[]], chunks)).toEqual({ found: [[[], value]], oversize: [], isWhole: true, isBroken: false });
    }
  });

  it("matches a long key by a wildcard only, and a name that merely begins like a wanted one not at all", () => {
    const long = "k".repeat(300);
    const text = JSON.stringify({ [long]: 1, usage2: 2, ["k".repeat(256)]: 3 });
    const paths = [[long], ["usage"], ["k".repeat(256)], ["*"]];
    for (const chunks of splits(Buffer.from(text))) {
      expect(scan(paths, chunks).found).toEqual([[["*"], 1], [["*"], 2], [["k".repeat(256)], 3], [["*"], 3]]);
    }
  });

  it("takes names of Object.prototype for plain keys", () => {
    const text = '{"__proto__":{"usage":1},"constructor":2,"toString":3}';
    expect(scanText([["usage"], ["constructor"], ["__proto__", "usage"]], text).found).toEqual([[["__proto__", "usage"], 1], [["constructor"], 2]]);
  });

  it("looks into a captured value for longer paths", () => {
    const paths = [["usage"], ["*", "id"], ["usage", "list", "*"]];
    const text = '{"usage":{"id":1,"list":[2,{"id":3}],"other":{"id":4}},"x":{"id":5}}';
    for (const chunks of splits(Buffer.from(text))) {
      const { found } = scan(paths, chunks);
      expect(found.map(([path, value]) => [paths.findIndex((candidate) => candidate === path), value])).toEqual([
        [0, { id: 1, list: [2, { id: 3 }], other: { id: 4 } }], [1, 1], [2, 2], [2, { id: 3 }], [1, 5],
      ]);
    }
  });

  it("throws what onValue throws, and reads no more", () => {
    const found: unknown[] = [];
    const scanner = createJsonScan({
      paths: [["a"]],
      onValue: (_, value) => {
        found.push(value);
        throw new Error("reader");
      },
    });
    expect(() => scanner.push(Buffer.from('{"a":1,"a":2}'))).toThrow("reader");
    scanner.push(Buffer.from(',"a":3}'));
    expect([found, scanner.isBroken, scanner.end()]).toEqual([[1], true, false]);
  });
});

describe("a document with a fault", () => {
  it.each([
    ['{"a":1,}', true], ['{"a":1]', true], ['{"a" 1}', false], ['{a:1}', false], ['{"a":1}{', true], ['{"a":1} x', true], ['{"b":[1,]}', false], ["]", false],
    ['{"a":1 "b":2}', true], ['{"a":1,"a":tru}', true], ['{"a":1,"a":1.2.3}', true], ['{"a":1,"a":{"b":}}', true], ['{"a":1,"\\x":1}', true],
    ['{"a":1,"b":?}', true], ["<html>", false], ["\u00EF{}", false], ['{"a":1,,"b":2}', true], ['{"a":1,"b"}', true],
  ])("is broken: %s", (text, hasValue) => {
    for (const chunks of splits(Buffer.from(text))) {
      const outcome = scan([["a"], ["b", "*", "x"]], chunks);
      expect([outcome.isBroken, outcome.isWhole, outcome.found]).toEqual([true, false, hasValue ? [[["a"], 1]] : []]);
    }
  });

  it("is broken when a byte order mark is cut short", () => {
    expect(scan([[]], [Uint8Array.of(0xef, 0xbb), Buffer.from("{}")])).toMatchObject({ isBroken: true, found: [] });
  });

  it("is not whole when it is cut anywhere, and gives what came before the cut", () => {
    const bytes = Buffer.from('{"a":{"n":1},"b":[{"a":"]"}],"a":2}');
    for (let at = 0; at < bytes.length; at++) {
      const outcome = scan([["a"]], [bytes.subarray(0, at)]);
      expect([outcome.isWhole, outcome.isBroken]).toEqual([false, false]);
      expect(outcome.found).toEqual(at < 12 ? [] : [[["a"], { n: 1 }]]);
    }
  });

  it("never throws, whatever the bytes", () => {
    const token = fc.constantFrom("{", "}", "[", "]", '"', "\\", ":", ",", "a", '"a"', "1", "-", "null", " ", "\u00EF", "\\u00", "é");
    fc.assert(fc.property(fc.array(token, { maxLength: 60 }), fc.nat(60), (tokens, at) => {
      const bytes = Buffer.from(tokens.join(""));
      const one = scan([["a"], ["*", "a"]], [bytes]);
      expect(scan([["a"], ["*", "a"]], [bytes.subarray(0, at), bytes.subarray(at)])).toEqual(one);
      expect(one.isWhole || !isJson(bytes.toString())).toBe(true);
    }), { numRuns: 2000 });
  });
});

describe("bounds", () => {
  it("steps over a captured value that is too large, however it is cut", () => {
    const text = JSON.stringify({ a: "x".repeat(200), b: { big: [1, "y".repeat(300)] }, a2: 0, c: "z".repeat(98), d: 1 });
    for (const chunks of splits(Buffer.from(text))) {
      const outcome = scan([["a"], ["b"], ["c"], ["d"]], chunks, 100);
      expect(outcome).toEqual({ found: [[["c"], "z".repeat(98)], [["d"], 1]], oversize: [["a"], ["b"]], isWhole: true, isBroken: false });
    }
  });

  it("captures up to 256 KiB by default", () => {
    const fits = `"${"x".repeat(256 * 1024 - 2)}"`;
    const bytes = Buffer.from(`{"a":${fits},"b":${fits.slice(0, -1)}x"}`);
    const chunks = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, i) => bytes.subarray(i * 1000, (i + 1) * 1000));
    const outcome = scan([["a"], ["b"]], chunks);
    expect([outcome.found.map(([path]) => path), outcome.oversize, outcome.isWhole]).toEqual([[["a"]], [["b"]], true]);
  });

  it.each([["arrays", "[", "]"], ["objects", '{"a":', "}"]])("reads a million nested %s", (_, open, close) => {
    const count = 1_000_000;
    const text = `{"deep":${open.repeat(count)}1${close.repeat(count)},"usage":{"n":1}}`;
    expect(scanText([["usage"], ["*", "*", "*", "x"]], text)).toMatchObject({ found: [[["usage"], { n: 1 }]], isWhole: true });
  });

  it("holds nothing of a million open brackets under a wildcard path that never ends", () => {
    expect(scanText([["usage"], ["*", "*", "*", "*"]], "[".repeat(1_000_000))).toMatchObject({ found: [], isWhole: false });
  });

  it("finds usage at the end of a 40 MB body without holding the body", () => {
    const scanner = createJsonScan({ paths: [["usage"], ["data", "*", "index"]], onValue: (_, value) => found.push(value) });
    const found: unknown[] = [];
    const block = Buffer.from(`{"index":0,"b64_json":"${"QUJD\\/\\\"".repeat(100_000)}","embedding":[${"0.123456789,".repeat(10_000)}1]},`);
    scanner.push(Buffer.from('{"data":['));
    scanner.push(block);
    const before = memory();
    let peak = 0;
    const blocks = Math.ceil(40_000_000 / block.length);
    for (let i = 1; i < blocks; i++) {
      // A fresh copy each time: a scan that kept the chunks would keep 40 MB.
      const copy = Buffer.from(block);
      for (let at = 0; at < copy.length; at += 65_536) scanner.push(copy.subarray(at, at + 65_536));
      if (i % 8 === 0) peak = Math.max(peak, memory() - before);
    }
    scanner.push(Buffer.from('{"index":1}],"usage":{"total_tokens":7}}'));
    expect([scanner.end(), found.at(-1), found.length]).toEqual([true, { total_tokens: 7 }, blocks + 2]);
    expect(peak).toBeLessThan(10_000_000);
  });
});

const CUTS = fc.array(fc.nat(400), { maxLength: 5 });

function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [0, ...cuts.map((index) => Math.min(index, bytes.length)).toSorted((a, b) => a - b), bytes.length];
  return at.slice(1).map((to, i) => bytes.subarray(at[i], to));
}

function documents(key: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (value === 0 ? 0 : value));
  const text = fc.oneof(fc.string({ unit: "grapheme", maxLength: 120 }), fc.constantFrom('{"usage":1}', "\\", '"', "]}", "\u0000"));
  const leaf = fc.oneof(fc.integer(), number, fc.boolean(), fc.constant(null), text);
  return fc.letrec((tie) => ({
    document: fc.oneof({ depthSize: "medium" }, leaf, fc.array(tie("document"), { maxLength: 5 }), fc.dictionary(key, tie("document"), { maxKeys: 6 })),
  })).document;
}

/** JSON with every character of every string as an escape of its own. */
function escapeAll(value: unknown): string {
  if (typeof value === "string") return `"${Array.from({ length: value.length }, (_, i) => `\\u${value.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")}"`;
  if (Array.isArray(value)) return `[${value.map(escapeAll).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, child]) => `${escapeAll(key)} :${escapeAll(child)}`).join(",")}}`;
}

/**
 * A value with no look at the keys inside it: JSON.parse of Node 24 (V8 13.6) can mistake a key that is written with
 * an escape for another one (https://github.com/nodejs/node/issues/63785, read 2026-11-22).
 */
function outside(value: unknown): unknown {
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : value;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Bytes in use after a collection. */
function memory(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
