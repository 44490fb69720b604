import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSseReader } from "../../../src/usage/extract/sse.ts";
import type { SseEvent, SseReader } from "../../../src/usage/extract/sse.ts";

interface Outcome {
  readonly events: SseEvent[];
  readonly endedInsideEvent: boolean;
}

function read(chunks: readonly Uint8Array[]): Outcome {
  const events: SseEvent[] = [];
  const reader = createSseReader({ onEvent: (event) => events.push(event) });
  for (const chunk of chunks) reader.push(chunk);
  reader.end();
  return { events, endedInsideEvent: reader.endedInsideEvent };
}

function readText(text: string): Outcome {
  return read([Buffer.from(text)]);
}

/** Every way to cut a stream in two, and the cut into single bytes. */
function* splits(bytes: Uint8Array): Generator<Uint8Array[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

const STREAM = [
  "\uFEFF: a comment\n",
  "event: message_start\ndata: {\"text\":\"grüße 漢字 😀\"}\n\n",
  "event:ping\r\ndata:one\r\ndata: two\r\n\r\n",
  "id: 7\rretry: 10\rdata: with cr\r\r",
  ": keep-alive\n\n",
  "data\n\n",
  "event: nothing\n\n",
  "unknown: field\n",
  "data: [DONE]\n\n",
].join("");

const EVENTS: SseEvent[] = [
  { event: "message_start", data: '{"text":"grüße 漢字 😀"}' },
  { event: "ping", data: "one\ntwo" },
  { event: undefined, data: "with cr" },
  { event: undefined, data: "" },
  { event: undefined, data: "[DONE]" },
];

describe("createSseReader", () => {
  it("reads events of every line ending, comments and multi-line data, split at every byte", () => {
    for (const chunks of splits(Buffer.from(STREAM))) {
      expect(read(chunks)).toEqual({ events: EVENTS, endedInsideEvent: false });
    }
  });

  it("reads any stream the same however it is cut", () => {
    const piece = fc.constantFrom("data: ", "data:", "event: a", "\n", "\r", "\r\n", "\n\n", ": c", "é", "😀", "x", " ", "id: 1", "\uFEFF");
    fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), fc.array(fc.nat(200), { maxLength: 6 }), (pieces, cuts) => {
      const bytes = Buffer.from(pieces.join(""));
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((to, i) => bytes.subarray(at[i], to));
      expect(read(chunks)).toEqual(read([bytes]));
    }), { numRuns: 500 });
  });

  it.each(["data: {\"cut\":", "data: {\"cut\":\n", "data: {\"cut\":\r\n", "data: {\"cut\":\r"])("reports a last event without its blank line: %j", (tail) => {
    for (const chunks of splits(Buffer.from(`data: first\n\n${tail}`))) {
      expect(read(chunks)).toEqual({ events: [{ event: undefined, data: "first" }, { event: undefined, data: '{"cut":' }], endedInsideEvent: true });
    }
  });

  it.each(["", "data: x\n\n", "data: x\r\n\r\n", "data: x\r\r", "data: x\n\n: bye\n", "data: x\n\nevent: y\n"])("has not ended inside an event after %j", (text) => {
    expect(readText(text).endedInsideEvent).toBe(false);
  });

  it("replaces a character that the end cuts", () => {
    const cut = Buffer.from("data: é").subarray(0, -1);
    expect(read([cut])).toEqual({ events: [{ event: undefined, data: "\uFFFD" }], endedInsideEvent: true });
  });

  it("reports nothing for a body that is no event stream", () => {
    expect(readText('{"error":{"message":"no"}}')).toEqual({ events: [], endedInsideEvent: false });
  });

  it("ignores what comes after the end", () => {
    const events: SseEvent[] = [];
    const reader = createSseReader({ onEvent: (event) => events.push(event) });
    reader.push(Buffer.from("data: a\n"));
    reader.end();
    reader.end();
    reader.push(Buffer.from("data: b\n\n"));
    expect(events).toEqual([{ event: undefined, data: "a" }]);
  });
});

describe("a reader that met an event too large", () => {
  function overflowing(): { readonly reader: SseReader; readonly events: SseEvent[]; readonly overflows: () => number } {
    const events: SseEvent[] = [];
    let count = 0;
    const reader = createSseReader({ onEvent: (event) => events.push(event), maxEventChars: 1000, onOverflow: () => count++ });
    return { reader, events, overflows: () => count };
  }

  it.each([["in one line", "x".repeat(100)], ["in many lines", `${"x".repeat(20)}\ndata: `]])("stops there, %s", (_, piece) => {
    const { reader, events, overflows } = overflowing();
    reader.push(Buffer.from("data: before\n\ndata: "));
    for (let i = 0; i < 200; i++) reader.push(Buffer.from(piece));
    expect(reader.hasOverflowed).toBe(true);
    reader.push(Buffer.from("\n\ndata: after\n\n"));
    reader.end();
    expect(events).toEqual([{ event: undefined, data: "before" }]);
    expect(overflows()).toBe(1);
    expect(reader.endedInsideEvent).toBe(false);
  });

  it("has not overflowed for many events whose sum is larger", () => {
    const { reader, events, overflows } = overflowing();
    for (let i = 0; i < 100; i++) reader.push(Buffer.from(`data: ${"x".repeat(500)}\n\n`));
    reader.end();
    expect([events.length, overflows(), reader.hasOverflowed]).toEqual([100, 0, false]);
  });
});

describe("a reader whose onEvent throws", () => {
  function throwing(on: string): { readonly reader: SseReader; readonly seen: string[] } {
    const seen: string[] = [];
    const reader = createSseReader({
      onEvent: (event) => {
        seen.push(event.data);
        if (event.data.startsWith(on)) throw new Error(`thrown on ${event.data}`);
      },
    });
    return { reader, seen };
  }

  it.each([["one line", "data: bad\n\n"], ["two lines", "data: bad\ndata: more\n\n"], ["carriage returns", "data: bad\r\r"]])("throws from push and goes on after it: %s", (_, bad) => {
    const { reader, seen } = throwing("bad");
    expect(() => reader.push(Buffer.from(`data: a\n\n${bad}data: b\n\ndata: c`))).toThrow("thrown on bad");
    reader.push(Buffer.from("d\n\n"));
    reader.end();
    expect(seen.map((data) => data.split("\n")[0])).toEqual(["a", "bad", "b", "cd"]);
  });

  it("throws the first of several errors", () => {
    const { reader } = throwing("");
    expect(() => reader.push(Buffer.from("data: a\n\ndata: b\n\n"))).toThrow("thrown on a");
  });

  it("throws from end and is closed after it", () => {
    const { reader, seen } = throwing("bad");
    reader.push(Buffer.from("data: bad"));
    expect(() => reader.end()).toThrow("thrown on bad");
    reader.end();
    reader.push(Buffer.from("data: late\n\n"));
    expect(seen).toEqual(["bad"]);
    expect(reader.endedInsideEvent).toBe(true);
  });
});
