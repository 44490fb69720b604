import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEventStreamReader, MAX_FRAME_BYTES } from "../../../src/usage/extract/eventstream.ts";
import type { EventStreamHeader } from "../../../src/usage/extract/eventstream.ts";
import { encodeEvent, encodeFrame, sized } from "../../../src/usage/replay-frames.ts";

interface Seen {
  readonly headers: Readonly<Record<string, EventStreamHeader>>;
  readonly payload: string;
}

function read(chunks: readonly Uint8Array[], maxFrameBytes?: number): { readonly messages: readonly Seen[]; readonly fault: string | undefined; readonly isInsideFrame: boolean } {
  const messages: Seen[] = [];
  const reader = createEventStreamReader({
    onMessage: ({ headers, payload }) => messages.push({ headers: Object.fromEntries(headers), payload: payload.toString("latin1") }),
    ...(maxFrameBytes === undefined ? {} : { maxFrameBytes }),
  });
  for (const chunk of chunks) reader.push(chunk);
  return { messages, fault: reader.fault, isInsideFrame: reader.isInsideFrame };
}

/** The example of the protocol in the public documentation of Amazon Transcribe and S3 Select: no headers, no payload. */
const EMPTY_FRAME = Buffer.from("000000100000000005c248eb7d98c8ff", "hex");

/** From the same documentation: the header content-type: application/json and the payload {'foo':'bar'}. */
const DOCUMENTED_FRAME = Buffer.from(
  "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1",
  "hex",
);

const BODY = Buffer.concat([
  encodeEvent("chunk", '{"bytes":"e30="}'),
  EMPTY_FRAME,
  encodeEvent("chunk", '{"bytes":"W10="}'),
  encodeEvent("metadata", `{"p":"${"x".repeat(300)}"}`),
]);

describe("an event stream", () => {
  it("is read as documented", () => {
    expect(read([DOCUMENTED_FRAME, EMPTY_FRAME])).toEqual({
      messages: [
        { headers: { "content-type": "application/json" }, payload: "{'foo':'bar'}" },
        { headers: {}, payload: "" },
      ],
      fault: undefined,
      isInsideFrame: false,
    });
  });

  it("gives the same messages wherever it is cut", () => {
    const whole = read([BODY]);
    expect(whole.messages.map(({ headers }) => headers[":event-type"])).toEqual(["chunk", undefined, "chunk", "metadata"]);
    expect(read(Array.from(BODY, (byte) => Uint8Array.of(byte)))).toEqual(whole);
    for (let at = 1; at < BODY.length; at++) expect(read([BODY.subarray(0, at), BODY.subarray(at)]), `cut at ${at}`).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat(BODY.length), { maxLength: 8 }), (cuts) => {
        const places = [0, ...cuts.toSorted((a, b) => a - b), BODY.length];
        expect(read(places.slice(1).map((to, index) => BODY.subarray(places[index], to)))).toEqual(whole);
      }),
    );
  });

  it("does not keep the chunks", () => {
    const payloads: string[] = [];
    const reader = createEventStreamReader({ onMessage: ({ payload }) => payloads.push(payload.toString()) });
    for (const byte of DOCUMENTED_FRAME) {
      const chunk = Buffer.of(byte);
      reader.push(chunk);
      chunk.fill(0xff);
    }
    expect(payloads).toEqual(["{'foo':'bar'}"]);
  });

  it("reads chunks that are views into a larger buffer", () => {
    const larger = new Uint8Array(DOCUMENTED_FRAME.length + 20).fill(0xee);
    larger.set(DOCUMENTED_FRAME, 7);
    expect(read([larger.subarray(7, 7 + DOCUMENTED_FRAME.length)]).messages).toHaveLength(1);
  });

  it("has headers of every type", () => {
    const long = Buffer.alloc(8);
    long.writeBigInt64BE(-(2n ** 40n));
    const time = Buffer.alloc(8);
    time.writeBigInt64BE(BigInt(Date.UTC(2026, 10, 21)));
    const frame = encodeFrame(
      {
        yes: { type: 0, bytes: Buffer.alloc(0) },
        no: { type: 1, bytes: Buffer.alloc(0) },
        byte: { type: 2, bytes: Buffer.of(0xfe) },
        short: { type: 3, bytes: Buffer.of(0xff, 0xfd) },
        int: { type: 4, bytes: Buffer.of(0x7f, 0xff, 0xff, 0xff) },
        long: { type: 5, bytes: long },
        bytes: { type: 6, bytes: sized(Buffer.of(1, 2, 3)) },
        text: "zwölf",
        time: { type: 8, bytes: time },
        uuid: { type: 9, bytes: Buffer.from("0193f0a2000070008000abcdefabcdef", "hex") },
      },
      Buffer.from("p"),
    );
    expect(read([frame]).messages[0]?.headers).toEqual({
      yes: true,
      no: false,
      byte: -2,
      short: -3,
      int: 2_147_483_647,
      long: -(2n ** 40n),
      bytes: Uint8Array.of(1, 2, 3),
      text: "zwölf",
      time: new Date(Date.UTC(2026, 10, 21)),
      uuid: "0193f0a2-0000-7000-8000-abcdefabcdef",
    });
  });

  it("does not take the headers of one frame for those of another of the same length", () => {
    const { messages } = read([Buffer.concat([encodeEvent("aaaa", "1"), encodeEvent("bbbb", "2"), encodeEvent("aaaa", "3")])]);
    expect(messages.map(({ headers, payload }) => `${String(headers[":event-type"])}${payload}`)).toEqual(["aaaa1", "bbbb2", "aaaa3"]);
  });
});

describe("a broken event stream", () => {
  it("ends at the first changed byte, wherever that is, with the messages before it", () => {
    const frame = encodeEvent("chunk", "{}");
    for (let at = 0; at < frame.length; at++) {
      const damaged = Buffer.concat([EMPTY_FRAME, frame, EMPTY_FRAME]);
      damaged[EMPTY_FRAME.length + at]! ^= 0x10;
      const { messages, fault } = read([damaged]);
      expect(messages, `byte ${at}`).toHaveLength(1);
      expect(fault).toBe(at < 12 ? "prelude_checksum" : "message_checksum");
    }
  });

  it.each([
    ["a frame shorter than a frame can be", lengths(15, 0), "bad_length"],
    ["headers longer than the frame", lengths(64, 49), "bad_length"],
    ["a frame over the bound", lengths(MAX_FRAME_BYTES + 1, 0), "frame_too_large"],
  ])("ends at %s", (_name, prelude, fault) => {
    expect(read([prelude, Buffer.alloc(100)])).toEqual({ messages: [], fault, isInsideFrame: false });
    expect(read(Array.from(prelude, (byte) => Uint8Array.of(byte))).fault).toBe(fault);
  });

  it.each([
    ["an unknown type", { a: { type: 10, bytes: Buffer.alloc(4) } }],
    ["a number that is cut", { a: { type: 4, bytes: Buffer.alloc(3) } }],
    ["a length that is cut", { a: { type: 7, bytes: Buffer.alloc(1) } }],
    ["a text that is cut", { a: { type: 7, bytes: Buffer.of(0, 9, 65) } }],
  ])("ends at a header of %s", (_name, headers) => {
    expect(read([encodeFrame(headers, Buffer.from("p")), EMPTY_FRAME])).toMatchObject({ messages: [], fault: "bad_headers" });
  });

  it("ends at a header whose name is cut", () => {
    const frame = encodeFrame({ abc: { type: 0, bytes: Buffer.alloc(0) } }, Buffer.alloc(0));
    frame[12] = 200;
    frame.writeUInt32BE(checksumOf(frame.subarray(0, -4)), frame.length - 4);
    expect(read([frame]).fault).toBe("bad_headers");
  });

  it("keeps to a bound that is set, and reads a frame of exactly that size", () => {
    const frame = encodeEvent("chunk", "x".repeat(500));
    expect(read([frame], frame.length).messages).toHaveLength(1);
    expect(read([frame], frame.length - 1)).toMatchObject({ messages: [], fault: "frame_too_large" });
  });

  it("is known to end inside a frame, also in the prelude", () => {
    for (const at of [1, 11, 12, DOCUMENTED_FRAME.length - 1]) {
      expect(read([EMPTY_FRAME, DOCUMENTED_FRAME.subarray(0, at)]), `cut at ${at}`).toMatchObject({ messages: [{}], fault: undefined, isInsideFrame: true });
    }
  });

  it("holds no more than has come of a frame that claims to be large", () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 200 }, () => createEventStreamReader({ onMessage: () => undefined }));
    for (const reader of readers) reader.push(lengths(MAX_FRAME_BYTES, 0));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MAX_FRAME_BYTES);
    expect(readers.every((reader) => reader.isInsideFrame)).toBe(true);
  });
});

/** A prelude with a right checksum. */
function lengths(total: number, headers: number): Buffer {
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(total, 0);
  prelude.writeUInt32BE(headers, 4);
  prelude.writeUInt32BE(checksumOf(prelude.subarray(0, 8)), 8);
  return prelude;
}

/** CRC-32 bit by bit, apart from the library's. */
function checksumOf(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
