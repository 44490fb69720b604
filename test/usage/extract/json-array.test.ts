import { describe, expect, it } from "vitest";
import { createJsonArrayScan } from "../../../src/usage/extract/json-array.ts";
import type { JsonPath } from "../../../src/usage/extract/json-path.ts";

const PATHS: readonly JsonPath[] = [["id"], ["usage", "n"], ["parts", "*", "text"]];

interface Outcome {
  /** Values and ends of elements, in order. */
  readonly seen: readonly unknown[];
  readonly oversize: readonly JsonPath[];
  readonly isWhole: boolean;
  readonly isBroken: boolean;
}

function scan(chunks: Iterable<Uint8Array>, paths = PATHS, maxValueBytes?: number): Outcome {
  const seen: unknown[] = [];
  const oversize: JsonPath[] = [];
  const scanner = createJsonArrayScan({
    paths,
    onValue: (path, value) => seen.push([PATHS.includes(path) ? path.join(".") : path, value]),
    onElement: () => seen.push("end"),
    onOversize: (path) => oversize.push(path),
    ...(maxValueBytes === undefined ? {} : { maxValueBytes }),
  });
  for (const chunk of chunks) scanner.push(chunk);
  return { seen, oversize, isWhole: scanner.end(), isBroken: scanner.isBroken };
}

function scanText(text: string): Outcome {
  return scan([Buffer.from(text)]);
}

/** Every way to cut a document in two, and the cut into single bytes. */
function* splits(text: string): Generator<Uint8Array[]> {
  const bytes = Buffer.from(text);
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

const STREAM = '\uFEFF \n[{"id":"a","usage":{"n":1},"id2":{"id":"no"}}\n,\r\n{"parts":[{"text":"x]}"},{"text":"\\"y"}],"usage":{"n":2}}\n,[{"id":"no"}],7,"s",{},{"x":{"id":1}}]\n';

describe("createJsonArrayScan", () => {
  it("gives the values of each element and then its end, split at every byte", () => {
    const seen = [
      ["id", "a"], ["usage.n", 1], "end",
      ["parts.*.text", "x]}"], ["parts.*.text", '"y'], ["usage.n", 2], "end",
      "end", "end", "end", "end", "end",
    ];
    for (const chunks of splits(STREAM)) expect(scan(chunks)).toEqual({ seen, oversize: [], isWhole: true, isBroken: false });
  });

  it("gives whole elements by the empty path", () => {
    const paths: readonly JsonPath[] = [[]];
    for (const chunks of splits('[1, {"a":[2]} ,null]')) {
      expect(scan(chunks, paths).seen).toEqual([[[], 1], "end", [[], { a: [2] }], "end", [[], null], "end"]);
    }
  });

  it("gives the path object that it was given", () => {
    const given: JsonPath[] = [];
    const scanner = createJsonArrayScan({ paths: PATHS, onValue: (path) => given.push(path), onElement: () => undefined });
    scanner.push(Buffer.from('[{"id":1,"usage":{"n":2}}]'));
    expect(given.map((path) => PATHS.indexOf(path))).toEqual([0, 1]);
  });

  it("is whole without elements", () => {
    for (const chunks of splits(" [ ] ")) expect(scan(chunks)).toEqual({ seen: [], oversize: [], isWhole: true, isBroken: false });
  });

  it("gives no end of an element that is cut off, but what it had", () => {
    const text = '[{"id":"a"},{"id":"b","usage":{"n":3},"parts":[]}]';
    for (let at = 0; at < text.length; at++) {
      const outcome = scanText(text.slice(0, at));
      expect([outcome.isWhole, outcome.isBroken]).toEqual([false, false]);
      expect(outcome.seen.filter((seen) => seen === "end")).toHaveLength(at < 11 ? 0 : at < text.length - 1 ? 1 : 2);
    }
    expect(scanText(text.slice(0, -12)).seen).toEqual([["id", "a"], "end", ["id", "b"], ["usage.n", 3]]);
  });

  it.each(['{"a":{"id":1}}', '"[1]"', "7", "x[1]", '[{"id":1}]]', '[{"id":1},]', '[{"id":1}{"id":2}]'])("is broken by %s", (text) => {
    for (const chunks of splits(text)) expect(scan(chunks)).toMatchObject({ isWhole: false, isBroken: true });
  });

  it("finds nothing in a document that is no array", () => {
    for (const chunks of splits('{"a":{"id":1}}')) expect(scan(chunks).seen).toEqual([]);
  });

  it("steps over a value that is too large, and reads on behind it", () => {
    const { seen, oversize, isWhole } = scan([Buffer.from(`[{"id":"${"x".repeat(100)}","usage":{"n":1}},{"id":"y"}]`)], PATHS, 50);
    expect([seen, oversize, isWhole]).toEqual([[["usage.n", 1], "end", ["id", "y"], "end"], [["id"]], true]);
  });

  it("throws what onElement throws, and reads no more", () => {
    let ends = 0;
    const scanner = createJsonArrayScan({
      paths: PATHS,
      onValue: () => undefined,
      onElement: () => {
        ends++;
        throw new Error("reader");
      },
    });
    expect(() => scanner.push(Buffer.from("[{},{}]"))).toThrow("reader");
    scanner.push(Buffer.from(",{}]"));
    expect([ends, scanner.isBroken, scanner.end()]).toEqual([1, true, false]);
  });
});
