import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createNdjsonReader } from "../../../src/usage/extract/ndjson.ts";
import type { NdjsonReader } from "../../../src/usage/extract/ndjson.ts";

const MAX_LINE_BYTES = 40;

interface Outcome {
  /** Records, and the texts of long lines, in order. */
  readonly seen: readonly unknown[];
  readonly endedInsideLine: boolean;
}

function open(seen: unknown[], maxLineBytes = MAX_LINE_BYTES): NdjsonReader {
  return createNdjsonReader({
    maxLineBytes,
    onRecord: (record) => seen.push(record),
    onLongLine: () => {
      let text = "";
      return {
        push: (chunk) => void (text += Buffer.from(chunk).toString("latin1")),
        end: () => seen.push(Buffer.from(text, "latin1").toString()),
      };
    },
  });
}

function read(chunks: readonly Uint8Array[]): Outcome {
  const seen: unknown[] = [];
  const reader = open(seen);
  for (const chunk of chunks) {
    // The reader may keep nothing of a chunk: what it was given is overwritten as soon as the call is over.
    const lent = Uint8Array.from(chunk);
    reader.push(lent);
    lent.fill(0x23);
  }
  reader.end();
  return { seen, endedInsideLine: reader.endedInsideLine };
}

function readText(text: string): Outcome {
  return read([Buffer.from(text)]);
}

/** Every way to cut a stream in two, and the cut into single bytes. */
function* splits(bytes: Uint8Array): Generator<Uint8Array[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

const LONG = JSON.stringify({ text: "a line that is longer than the cap: grüße 漢字" });
const STREAM = ['{"text":"grüße 漢字 😀"}\n', '{"crlf":true}\r\n', "\n", " \r\n", "null\n", `${LONG}\n`, "no JSON\n", ' {"a":[1,2]}\n', `${LONG}\n`, "7\n", '{"last":1}'].join("");
const RECORDS = [{ text: "grüße 漢字 😀" }, { crlf: true }, LONG, { a: [1, 2] }, LONG, 7, { last: 1 }];

describe("an NDJSON reader", () => {
  it("gives the values of the lines, whatever their ends, and skips what is no value", () => {
    expect(readText(STREAM)).toEqual({ seen: RECORDS, endedInsideLine: true });
  });

  it("gives the same wherever the stream is cut", () => {
    for (const chunks of splits(Buffer.from(STREAM))) expect(read(chunks).seen, String(chunks[0]?.length)).toEqual(RECORDS);
  });

  it("tells how many lines were no JSON, wherever the stream is cut; blank, null and long ones are not", () => {
    const text = ["1\n", "oh\n", "{\n", "\n", "null\n", `${LONG}\n`, "{} x\r\n", "2\n", '{"cu'].join("");
    for (const chunks of splits(Buffer.from(text))) {
      const reader = open([]);
      for (const chunk of chunks) reader.push(chunk);
      expect(reader.badLines, String(chunks[0]?.length)).toBe(3);
      reader.end();
      expect(reader.badLines, String(chunks[0]?.length)).toBe(4);
    }
  });

  it("reports inside push and inside end, also in a later turn of the loop", async () => {
    const seen: unknown[] = [];
    const reader = open(seen);
    reader.push(Buffer.from("1\n2\n3"));
    expect(seen).toEqual([1, 2]);
    await new Promise((resolve) => setImmediate(resolve));
    reader.push(Buffer.from("\n4\n"));
    expect(seen).toEqual([1, 2, 3, 4]);
    await new Promise((resolve) => setImmediate(resolve));
    for (let line = 5; line < 105; line++) reader.push(Buffer.from(`${line}\n`));
    expect(seen).toHaveLength(104);
    reader.push(Buffer.from("105"));
    reader.end();
    expect(seen.at(-1)).toBe(105);
  });

  it("goes on after a line that is null", () => {
    expect(readText("null\n1\n  null\n2\nnull\nnull\n3\n").seen).toEqual([1, 2, 3]);
  });

  it("tells whether the last line had its end", () => {
    expect(readText("1\n2\n").endedInsideLine).toBe(false);
    expect(readText('1\n{"cut":')).toEqual({ seen: [1], endedInsideLine: true });
    expect(readText("")).toEqual({ seen: [], endedInsideLine: false });
    expect(readText(LONG)).toEqual({ seen: [LONG], endedInsideLine: true });
  });

  it("reads a line of exactly the cap and hands on one that is a byte longer", () => {
    const text = (bytes: number): string => `"${"x".repeat(bytes - 2)}"`;
    expect(readText(`${text(MAX_LINE_BYTES)}\n`).seen).toEqual(["x".repeat(MAX_LINE_BYTES - 2)]);
    expect(readText(`${text(MAX_LINE_BYTES + 1)}\n`).seen).toEqual([text(MAX_LINE_BYTES + 1)]);
  });

  it("skips a long line that nobody takes", () => {
    const seen: unknown[] = [];
    for (const onLongLine of [undefined, () => undefined]) {
      const reader = createNdjsonReader({ maxLineBytes: 8, onRecord: (record) => seen.push(record), ...(onLongLine === undefined ? {} : { onLongLine }) });
      reader.push(Buffer.from(`1\n${LONG}\n2\n${LONG}`));
      reader.end();
    }
    expect(seen).toEqual([1, 2, 1, 2]);
  });

  it("ignores what comes after the end", () => {
    const seen: unknown[] = [];
    const reader = open(seen);
    reader.push(Buffer.from("1"));
    reader.end();
    reader.push(Buffer.from("\n2\n"));
    reader.end();
    expect(seen).toEqual([1]);
  });

  it("throws the first error of a callback once the chunk was read, and stays usable", () => {
    const seen: unknown[] = [];
    const reader = createNdjsonReader({
      onRecord(record) {
        seen.push(record);
        if (record !== 3) throw new Error(`at ${String(record)}`);
      },
    });
    expect(() => reader.push(Buffer.from("1\n2\n"))).toThrow("at 1");
    reader.push(Buffer.from("3\n4"));
    expect(() => reader.end()).toThrow("at 4");
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it("does not throw for any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }), (chunks) => {
        const bytes = Buffer.concat(chunks);
        expect(read(chunks)).toEqual(read([bytes]));
      }),
    );
  });

  it("gives every record of any stream, however it is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 12 }), fc.integer({ min: 1, max: 64 }), (values, size) => {
        const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
        const seen: unknown[] = [];
        const reader = open(seen, 1024 * 1024);
        for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
        reader.end();
        expect(seen).toEqual(values.filter((value) => value !== null).map((value): unknown => JSON.parse(JSON.stringify(value))));
      }),
    );
  });

  it("holds no more than the cap of a line that never ends", () => {
    const chunk = Buffer.alloc(64 * 1024, 0x61);
    const reader = createNdjsonReader({ onRecord: () => undefined });
    reader.push(chunk);
    const before = process.memoryUsage();
    for (let count = 0; count < 2000; count++) reader.push(chunk);
    const after = process.memoryUsage();
    expect(after.external + after.heapUsed - before.external - before.heapUsed).toBeLessThan(16 * 1024 * 1024);
  });

  it("takes a line in single bytes without looking at all of it again", () => {
    const seen: unknown[] = [];
    const reader = open(seen, 1024 * 1024);
    const byte = Buffer.from("1");
    // With the work growing by the square of the length this takes minutes and runs into the test's time limit.
    for (let count = 0; count < 1_000_000; count++) reader.push(byte);
    reader.push(Buffer.from("\n"));
    expect(seen).toEqual([Infinity]);
  });
});
