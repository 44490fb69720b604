import { constants, createDeflateRaw, deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readExtensions } from "../../../src/usage/extract/websocket-inflate.ts";
import type { DeflateParameters } from "../../../src/usage/extract/websocket-inflate.ts";
import { createWebSocketDecoder, MAX_MESSAGE_BYTES } from "../../../src/usage/extract/websocket-messages.ts";
import type { WebSocketDecoder, WebSocketDecoderOptions } from "../../../src/usage/extract/websocket-messages.ts";

type Event = string | number | { readonly oversized: number } | { readonly fault: string } | readonly number[];

interface Run {
  readonly decoder: WebSocketDecoder;
  /** A text, the bytes of a binary message, an oversized message, a close code, a fault: in order. */
  readonly events: Event[];
}

const TAKEOVER: DeflateParameters = { contextTakeover: true, maxWindowBits: 15 };
const NO_TAKEOVER: DeflateParameters = { contextTakeover: false, maxWindowBits: 15 };

function open(options: Partial<WebSocketDecoderOptions> = {}): Run {
  const events: Event[] = [];
  const decoder = createWebSocketDecoder({
    direction: "server",
    deflate: undefined,
    onMessage: (message) => {
      if (message.kind === "text") events.push(message.text);
      else if (message.kind === "binary") events.push([...message.bytes]);
      else events.push({ oversized: message.bytes });
    },
    onClose: (code) => events.push(code),
    onFault: (fault) => events.push({ fault }),
    ...options,
  });
  return { decoder, events };
}

function read(chunks: readonly Uint8Array[], options?: Partial<WebSocketDecoderOptions>): Run {
  const run = open(options);
  for (const chunk of chunks) run.decoder.feed(chunk);
  return run;
}

const bytes = (...values: number[]): Buffer => Buffer.from(values);

interface FrameOptions {
  readonly isFinal?: boolean;
  readonly rsv?: number;
  readonly key?: Uint8Array;
  /** Length of the length field: 0, 2 or 8. */
  readonly lengthBytes?: number;
}

const TEXT = 1;
const BINARY = 2;
const CONTINUATION = 0;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** The frame of RFC 6455 section 5.2, byte by byte. */
function frame(opcode: number, content: string | Uint8Array, options: FrameOptions = {}): Buffer {
  const { isFinal = true, rsv = 0, key } = options;
  const payload = Buffer.from(content);
  const lengthBytes = options.lengthBytes ?? (payload.length < 126 ? 0 : payload.length < 65536 ? 2 : 8);
  const length = Buffer.alloc(lengthBytes);
  if (lengthBytes === 2) length.writeUInt16BE(payload.length);
  if (lengthBytes === 8) length.writeBigUInt64BE(BigInt(payload.length));
  const shortLength = lengthBytes === 0 ? payload.length : lengthBytes === 2 ? 126 : 127;
  const head = bytes((isFinal ? 0x80 : 0) | (rsv << 4) | opcode, (key === undefined ? 0 : 0x80) | shortLength);
  if (key !== undefined) payload.forEach((byte, i) => payload.writeUInt8(byte ^ key[i % 4]!, i));
  return Buffer.concat([head, length, key ?? bytes(), payload]);
}

const RSV1 = 4;

/** What a sender makes of messages: one zlib stream for all with takeover, one for each without. */
async function compress(messages: readonly (string | Uint8Array)[], isTakeover = true, options = {}): Promise<Buffer[]> {
  const compressed: Buffer[] = [];
  let stream = createDeflateRaw(options);
  for (const message of messages) {
    if (!isTakeover) stream = createDeflateRaw(options);
    const pieces: Buffer[] = [];
    const take = (piece: Buffer): number => pieces.push(piece);
    stream.on("data", take);
    stream.write(message);
    await new Promise<void>((resolve) => stream.flush(constants.Z_SYNC_FLUSH, resolve));
    stream.off("data", take);
    const whole = Buffer.concat(pieces);
    expect(whole.subarray(-4)).toEqual(bytes(0, 0, 0xff, 0xff));
    compressed.push(whole.subarray(0, -4));
  }
  return compressed;
}

async function compressedFrames(messages: readonly string[], isTakeover = true, options = {}): Promise<Buffer[]> {
  return (await compress(messages, isTakeover, options)).map((payload) => frame(TEXT, payload, { rsv: RSV1 }));
}

/** Every way to cut a stream in two, and the cut into single bytes. */
function* splits(stream: Uint8Array): Generator<Uint8Array[]> {
  for (let at = 0; at <= stream.length; at++) yield [stream.subarray(0, at), stream.subarray(at)];
  yield Array.from(stream, (byte) => Uint8Array.of(byte));
}

const KEY = bytes(0x37, 0xfa, 0x21, 0x3d);

/** Text without order, so that it hardly compresses. */
function noise(length: number, seed = 1): string {
  let state = seed;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return String.fromCharCode(33 + ((state >>> 16) % 90));
  }).join("");
}

/** Without a picture of the difference, which takes long to draw of long texts. */
function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

describe("createWebSocketDecoder", () => {
  describe("with the examples of RFC 6455 section 5.7", () => {
    it.each([
      ["an unmasked text", "server", "810548656c6c6f", ["Hello"]],
      ["a masked text", "client", "818537fa213d7f9f4d5158", ["Hello"]],
      ["a fragmented text", "server", "010348656c80026c6f", ["Hello"]],
      ["an unmasked ping", "server", "890548656c6c6f", []],
      ["a masked pong", "client", "8a8537fa213d7f9f4d5158", []],
    ] as const)("reads %s", (_, direction, hex, events) => {
      for (const chunks of splits(Buffer.from(hex, "hex"))) expect(read(chunks, { direction }).events).toEqual(events);
    });

    it.each([[256, 2], [65536, 8]])("reads a binary message of %i bytes with a length of %i bytes", (length, lengthBytes) => {
      const content = Uint8Array.from({ length }, (_, i) => i % 251);
      expect(read([frame(BINARY, content, { lengthBytes })]).events).toEqual([[...content]]);
    });
  });

  describe("with the examples of RFC 7692 section 7.2.3", () => {
    it.each([
      ["one block", "c107f248cdc9c90700", ["Hello"]],
      ["two fragments", "4103f248cd8004c9c90700", ["Hello"]],
      ["a window that is kept", "c107f248cdc9c90700c105f200110000", ["Hello", "Hello"]],
      ["a block without compression", "c10b000500faff48656c6c6f00", ["Hello"]],
      ["a final block", "c108f348cdc9c9070000", ["Hello"]],
      ["two blocks", "c10df24805000000ffffcac9c90700", ["Hello"]],
      ["no content", "c10100", [""]],
    ])("reads %s", (_, hex, events) => {
      for (const chunks of splits(Buffer.from(hex, "hex"))) expect(read(chunks, { deflate: TAKEOVER }).events).toEqual(events);
    });
  });

  describe("for frames", () => {
    it("reads the same however the bytes are cut: fragments, masks, control frames between fragments", () => {
      const stream = Buffer.concat([
        frame(TEXT, "grüße ", { isFinal: false, key: KEY }),
        frame(PING, "are you there", { key: bytes(9, 8, 7, 6) }),
        frame(CONTINUATION, Buffer.from("漢").subarray(0, 2), { isFinal: false, key: bytes(0, 0, 0, 0) }),
        frame(PONG, "", { key: KEY }),
        frame(CONTINUATION, "", { isFinal: false, key: KEY }),
        frame(CONTINUATION, Buffer.from("漢").subarray(2), { key: bytes(255, 1, 128, 3) }),
        frame(BINARY, bytes(0, 255, 1, 254, 2), { key: bytes(1, 2, 3, 4) }),
        frame(TEXT, "", { key: KEY }),
        frame(TEXT, noise(200), { key: bytes(200, 100, 50, 25) }),
        frame(CLOSE, Buffer.concat([bytes(0x03, 0xe9), Buffer.from("going away")]), { key: KEY }),
      ]);
      for (const chunks of splits(stream)) {
        const { decoder, events } = read(chunks, { direction: "client" });
        expect(events).toEqual(["grüße 漢", [0, 255, 1, 254, 2], "", noise(200), 1001]);
        expect(decoder.isOver).toBe(true);
      }
    });

    it("undoes a mask at every phase and length, also where whole words are combined", () => {
      for (let length = 0; length < 150; length++) {
        const stream = frame(BINARY, Buffer.from(noise(length)), { key: KEY });
        for (const at of [7, 8, 9, 10, 75]) {
          const chunks = [stream.subarray(0, at), stream.subarray(at)];
          expect(read(chunks, { direction: "client" }).events).toEqual([[...Buffer.from(noise(length))]]);
        }
      }
    });

    it("gives a message before the call that completes it returns", async () => {
      const stream = Buffer.concat(await compressedFrames(["now"]));
      const { decoder, events } = read([stream.subarray(0, -1)], { deflate: TAKEOVER });
      expect(events).toEqual([]);
      decoder.feed(stream.subarray(-1));
      expect(events).toEqual(["now"]);
    });

    it("leaves the bytes that it is fed as they are, and does not keep them", () => {
      const stream = frame(TEXT, "abcdef", { key: KEY });
      const before = Buffer.from(stream);
      const { decoder, events } = open({ direction: "client" });
      const first = stream.subarray(0, 9);
      decoder.feed(first);
      expect(stream).toEqual(before);
      first.fill(0);
      decoder.feed(stream.subarray(9));
      expect(events).toEqual(["abcdef"]);
    });

    it("reads a length in a longer form than it needs", () => {
      expect(read([frame(TEXT, "abc", { lengthBytes: 2 }), frame(TEXT, "def", { lengthBytes: 8 })]).events).toEqual(["abc", "def"]);
    });

    it("replaces bytes that are no UTF-8 and keeps a byte order mark", () => {
      const stream = Buffer.concat([frame(TEXT, bytes(0x61, 0xff, 0x62, 0xe6, 0xbc)), frame(TEXT, "\uFEFFx")]);
      expect(read([stream]).events).toEqual(["a\uFFFDb\uFFFD", "\uFEFFx"]);
    });
  });

  describe("at a close frame", () => {
    it("reports 1005 where there is no code", () => {
      expect(read([frame(CLOSE, "")]).events).toEqual([1005]);
    });

    it("ignores what follows, in the same chunk and after it, and an unfinished message before it", () => {
      const stream = Buffer.concat([frame(TEXT, "cut", { isFinal: false }), frame(CLOSE, bytes(0x03, 0xe8)), frame(TEXT, "late")]);
      const { decoder, events } = read([stream, frame(TEXT, "later"), bytes(0xff)]);
      expect(events).toEqual([1000]);
      expect(decoder.heldBytes).toBe(0);
    });

    it("holds the code and not the reason", () => {
      const close = frame(CLOSE, Buffer.concat([bytes(0x03, 0xf0), Buffer.from("too much said")]));
      const { decoder, events } = read([close.subarray(0, -1)]);
      expect(decoder.heldBytes).toBe(2);
      decoder.feed(close.subarray(-1));
      expect(events).toEqual([1008]);
    });

    it("needs nobody who listens to it", () => {
      const faults: string[] = [];
      const decoder = createWebSocketDecoder({ direction: "server", deflate: undefined, onMessage: () => {}, onFault: (fault) => faults.push(fault) });
      decoder.feed(frame(CLOSE, bytes(0x03, 0xe8)));
      expect([decoder.isOver, faults]).toEqual([true, []]);
    });
  });

  describe("ends with a fault", () => {
    const HELD = frame(TEXT, "held", { isFinal: false });
    const WITH_DEFLATE = { deflate: TAKEOVER };

    it.each<[string, string, Buffer, Partial<WebSocketDecoderOptions>?]>([
      ["masking", "a server's frame with a mask", frame(TEXT, "x", { key: KEY })],
      ["masking", "a client's frame without a mask", frame(TEXT, "x"), { direction: "client" }],
      ["reserved_bits", "RSV1 where nothing was negotiated", frame(TEXT, "x", { rsv: RSV1 })],
      ["reserved_bits", "RSV2", frame(TEXT, "x", { rsv: 2 }), WITH_DEFLATE],
      ["reserved_bits", "RSV3", frame(TEXT, "x", { rsv: 1 }), WITH_DEFLATE],
      ["reserved_bits", "RSV1 on a continuation", Buffer.concat([HELD, frame(CONTINUATION, "x", { rsv: RSV1 })]), WITH_DEFLATE],
      ["reserved_bits", "RSV1 on a control frame", frame(PING, "x", { rsv: RSV1 }), WITH_DEFLATE],
      ["invalid_opcode", "a reserved opcode of data", frame(3, "x")],
      ["invalid_opcode", "a reserved opcode of control", frame(11, "x")],
      ["invalid_continuation", "a continuation of nothing", frame(CONTINUATION, "x")],
      ["invalid_continuation", "a continuation of a whole message", Buffer.concat([frame(TEXT, ""), frame(CONTINUATION, "x")])],
      ["invalid_continuation", "a message inside another", Buffer.concat([HELD, frame(BINARY, "x")])],
      ["fragmented_control", "a fragmented ping", frame(PING, "x", { isFinal: false })],
      ["long_control", "a ping of 126 bytes", frame(PING, noise(126))],
      ["invalid_close", "a close of one byte", frame(CLOSE, "x")],
      ["invalid_length", "a length of 2^53", bytes(0x82, 127, 0, 0x20, 0, 0, 0, 0, 0, 0)],
      ["invalid_length", "a length with its highest bit set", bytes(0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1)],
      ["inflate_failed", "what is no DEFLATE data", frame(TEXT, bytes(0xff, 0xff, 0xff), { rsv: RSV1 }), WITH_DEFLATE],
      ["inflate_failed", "a reference to what was never sent", frame(TEXT, bytes(0xf2, 0x00, 0x11, 0x00, 0x00), { rsv: RSV1 }), WITH_DEFLATE],
    ])("%s: %s", (fault, _, broken, options = {}) => {
      const prefix = frame(TEXT, "before", options.direction === "client" ? { key: KEY } : {});
      for (const chunks of splits(Buffer.concat([prefix, broken, frame(TEXT, "after"), frame(CLOSE, "")]))) {
        const { decoder, events } = read([...chunks, frame(TEXT, "later")], options);
        expect(events.filter((event) => event !== "before" && event !== "")).toEqual([{ fault }]);
        expect(events[0]).toBe("before");
        expect([decoder.isOver, decoder.heldBytes]).toEqual([true, 0]);
      }
    });

    it("as soon as the byte that breaks the rules has passed", () => {
      expect(read([bytes(0x81, 0x81)]).events).toEqual([{ fault: "masking" }]);
    });

    it("not for the longest payload of a control frame and the greatest length", () => {
      const { decoder, events } = read([frame(PING, noise(125)), bytes(0x82, 127, 0, 0x1f, 255, 255, 255, 255, 255, 255), Buffer.alloc(100)]);
      expect([events, decoder.isOver]).toEqual([[], false]);
    });
  });

  describe("with compression", () => {
    const MESSAGES = Array.from({ length: 40 }, (_, i) => JSON.stringify({ type: "response.delta", id: i % 3, text: noise(i * 37, i % 5) }));

    it.each([8, 9, 12, 15])("reads messages that refer back to earlier ones in a window of 2^%i bytes", async (windowBits) => {
      const frames = await compressedFrames(MESSAGES, true, { windowBits });
      const { decoder, events } = read(frames, { deflate: { contextTakeover: true, maxWindowBits: windowBits } });
      expect(events).toEqual(MESSAGES);
      expect(decoder.heldBytes).toBeLessThanOrEqual(2 ** windowBits);
    });

    it("reads messages that stand alone, and holds nothing between them", async () => {
      const { decoder, events } = read(await compressedFrames(MESSAGES, false), { deflate: NO_TAKEOVER });
      expect(events).toEqual(MESSAGES);
      expect(decoder.heldBytes).toBe(0);
    });

    it("reads the same however the bytes are cut, with masks, fragments and messages that are not compressed", async () => {
      const [first, second, third] = await compress(["the same words again", "the same words again, and again", "the same words"]) as [Buffer, Buffer, Buffer];
      expect(second.length).toBeLessThan(20);
      const stream = Buffer.concat([
        frame(TEXT, first, { rsv: RSV1, key: KEY }),
        frame(TEXT, "not compressed, and not of the window", { key: KEY }),
        frame(TEXT, second.subarray(0, 1), { rsv: RSV1, isFinal: false, key: KEY }),
        frame(PING, "ping", { key: KEY }),
        frame(CONTINUATION, second.subarray(1, 3), { isFinal: false, key: bytes(4, 3, 2, 1) }),
        frame(CONTINUATION, second.subarray(3), { key: KEY }),
        frame(BINARY, third, { rsv: RSV1, key: KEY }),
      ]);
      for (const chunks of splits(stream)) {
        expect(read(chunks, { direction: "client", deflate: TAKEOVER }).events).toEqual([
          "the same words again",
          "not compressed, and not of the window",
          "the same words again, and again",
          [...Buffer.from("the same words")],
        ]);
      }
    });

    it("refers back over the whole window, across messages smaller and larger than it", async () => {
      const far = noise(300, 7);
      // zlib never looks back further than the window less 262 bytes.
      const messages = [noise(50_000), far + noise(32_768 - 262 - 300, 3), far, noise(20_000, 4), noise(12_000, 5), noise(20_000, 4), far];
      const frames = await compressedFrames(messages, true, { level: 9 });
      expect(frames[2]!.length).toBeLessThan(20);
      expect(frames[5]!.length).toBeLessThan(400);
      expect(isSame(read(frames, { deflate: TAKEOVER }).events, messages)).toBe(true);
    });

    it("goes on after final blocks, inside a message and at its end, and keeps the window", () => {
      const final = deflateRawSync("Hello");
      const following = deflateRawSync(" world", { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
      const backReference = bytes(0xf2, 0x00, 0x11, 0x00, 0x00);
      const frames = [Buffer.concat([final, following]), Buffer.concat([final, bytes(0)]), backReference]
        .map((payload) => frame(TEXT, payload, { rsv: RSV1 }));
      expect(read(frames, { deflate: TAKEOVER }).events).toEqual(["Hello world", "Hello", "Hello"]);
      expect(read(frames, { deflate: NO_TAKEOVER }).events).toEqual(["Hello world", "Hello", { fault: "inflate_failed" }]);
    });

    it("refers back over a final block inside a message that stands alone", () => {
      const payload = Buffer.concat([deflateRawSync("Hello"), bytes(0xf2, 0x00, 0x11, 0x00, 0x00)]);
      expect(read([frame(TEXT, payload, { rsv: RSV1 })], { deflate: NO_TAKEOVER }).events).toEqual(["HelloHello"]);
    });

    it("gives up on a message of final blocks", () => {
      const payload = Buffer.concat(Array.from({ length: 1000 }, () => deflateRawSync("")));
      expect(read([frame(TEXT, payload, { rsv: RSV1 })], { deflate: TAKEOVER }).events).toEqual([{ fault: "inflate_failed" }]);
    });
  });

  describe("over a bound", () => {
    const limits = { maxMessageBytes: 1000, maxHeldBytes: 2000 };

    it("reads the largest message and skips a larger one, whole or in fragments", () => {
      const events = read([
        frame(TEXT, noise(1000)),
        frame(TEXT, noise(1001)),
        frame(TEXT, noise(600), { isFinal: false }),
        frame(PING, "ping"),
        frame(CONTINUATION, noise(401), { isFinal: false }),
        frame(CONTINUATION, "more"),
        frame(TEXT, "next"),
      ], { limits }).events;
      expect(events).toEqual([noise(1000), { oversized: 1001 }, { oversized: 1005 }, "next"]);
    });

    it("holds nothing of a message that is too large, nor of what a head announces", () => {
      const large = frame(BINARY, Buffer.alloc(100_000));
      const { decoder } = read([frame(TEXT, noise(900), { isFinal: false })], { limits });
      expect(decoder.heldBytes).toBe(900);
      decoder.feed(frame(CONTINUATION, noise(101)).subarray(0, 3));
      expect(decoder.heldBytes).toBe(0);
      const announced = read([large.subarray(0, 11)]);
      expect(announced.decoder.heldBytes).toBeLessThan(10);
    });

    it("skips a compressed message that inflates to more, or that is too large as sent, and reads the next", async () => {
      const messages = ["a".repeat(1000), "a".repeat(1001), noise(3000), "next"];
      const frames = await compressedFrames(messages, false);
      const oversized = frames.map((one) => ({ oversized: one.length - (one.length < 128 ? 2 : 4) }));
      expect(oversized[2]!.oversized).toBeGreaterThan(limits.maxHeldBytes);
      const { events } = read(frames, { limits, deflate: NO_TAKEOVER });
      expect(events).toEqual([messages[0], oversized[1], oversized[2], "next"]);
    });

    it("counts the output of all blocks of a message, also behind a final one", () => {
      const half = deflateRawSync("a".repeat(500));
      const rest = (count: number): Buffer => deflateRawSync("b".repeat(count), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
      const frames = [Buffer.concat([half, rest(500)]), Buffer.concat([half, rest(501)]), Buffer.concat([half, half, rest(1)])]
        .map((payload) => frame(TEXT, payload, { rsv: RSV1 }));
      const { events } = read(frames, { limits, deflate: NO_TAKEOVER });
      expect(events).toEqual(["a".repeat(500) + "b".repeat(500), { oversized: frames[1]!.length - 2 }, { oversized: frames[2]!.length - 2 }]);
    });

    it.each([["that inflates to more", "a".repeat(1001)], ["that is too large as sent", noise(3000)]])(
      "loses the window of a message %s: what refers to it cannot be read",
      async (_, large) => {
        const frames = await compressedFrames(["small", large, "fresh", large.slice(0, 500)]);
        const { decoder, events } = read(frames, { limits, deflate: TAKEOVER });
        expect(events).toEqual(["small", { oversized: expect.any(Number) }, "fresh", { fault: "window_lost" }]);
        expect(decoder.heldBytes).toBe(0);
      },
    );

    it("has the window again when enough has followed", async () => {
      const wide = { maxMessageBytes: 40_000, maxHeldBytes: 40_000 };
      const messages = [...Array.from({ length: 5 }, (_, i) => noise(8000, i + 2)), noise(500, 6)];
      // Two senders in a row: the second one refers to nothing of the first.
      const frames = [...await compressedFrames([noise(60_000)]), ...await compressedFrames(messages)];
      expect(frames.at(-1)!.length).toBeLessThan(20);
      const { decoder, events } = read(frames, { limits: wide, deflate: TAKEOVER });
      expect(isSame(events.slice(1), messages)).toBe(true);
      decoder.feed(frame(TEXT, bytes(0xff), { rsv: RSV1 }));
      expect([events[0], events.at(-1)]).toEqual([{ oversized: expect.any(Number) }, { fault: "inflate_failed" }]);
    });

    it("reads a message of MAX_MESSAGE_BYTES also when compression made it larger", () => {
      const payload = deflateRawSync(Buffer.alloc(MAX_MESSAGE_BYTES), { level: 0, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
      expect(payload.length).toBeGreaterThan(MAX_MESSAGE_BYTES);
      const lengths: number[] = [];
      const { decoder } = read([], { deflate: TAKEOVER, onMessage: (message) => lengths.push(message.kind === "binary" ? message.bytes.length : -1) });
      const stream = frame(BINARY, payload, { rsv: RSV1 });
      decoder.feed(stream.subarray(0, 1_000_000));
      decoder.feed(stream.subarray(1_000_000));
      expect(lengths).toEqual([MAX_MESSAGE_BYTES]);
    });

    it("bounds what a bomb inflates to by default", () => {
      const bomb = deflateRawSync(Buffer.alloc(17 * 1024 * 1024), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
      const { events } = read([frame(BINARY, bomb, { rsv: RSV1 }), frame(TEXT, "next")], { deflate: TAKEOVER });
      expect(events).toEqual([{ oversized: bomb.length }, "next"]);
    });
  });

  it("reads on when a callback throws, and throws the first error after the chunk", () => {
    const texts: string[] = [];
    const decoder = createWebSocketDecoder({
      direction: "server",
      deflate: undefined,
      onMessage: (message) => {
        if (message.kind === "text") texts.push(message.text);
        throw new Error(`failed at ${texts.length}`);
      },
      onFault: () => {},
    });
    expect(() => decoder.feed(Buffer.concat([frame(TEXT, "one"), frame(TEXT, "two")]))).toThrow("failed at 1");
    expect(() => decoder.feed(frame(PING, ""))).not.toThrow();
    expect(() => decoder.feed(frame(TEXT, "three"))).toThrow("failed at 3");
    expect(texts).toEqual(["one", "two", "three"]);
  });
});

describe("readExtensions", () => {
  const both = (client: DeflateParameters, server: DeflateParameters): unknown => ({ client, server });

  it.each([
    [undefined, { client: undefined, server: undefined }],
    ["", { client: undefined, server: undefined }],
    ["permessage-deflate", both(TAKEOVER, TAKEOVER)],
    ["permessage-deflate; server_no_context_takeover", both(TAKEOVER, NO_TAKEOVER)],
    [" permessage-deflate;client_no_context_takeover ", both(NO_TAKEOVER, TAKEOVER)],
    ["permessage-deflate; server_max_window_bits=10; client_max_window_bits=8", both({ contextTakeover: true, maxWindowBits: 8 }, { contextTakeover: true, maxWindowBits: 10 })],
    ['permessage-deflate; client_max_window_bits="12" ; server_no_context_takeover', both({ contextTakeover: true, maxWindowBits: 12 }, NO_TAKEOVER)],
  ])("reads %j", (value, expected) => {
    expect(readExtensions(value)).toEqual(expected);
  });

  it.each([
    "x-webkit-deflate-frame",
    "permessage-bzip2",
    "permessage-deflate, permessage-deflate",
    "permessage-deflate, x-more",
    "x-more, permessage-deflate",
    "permessage-deflate; x-parameter",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=09",
    'permessage-deflate; server_max_window_bits="9',
    "permessage-deflate; server_max_window_bits=9=9",
    "permessage-deflate;",
  ])("does not understand %j", (value) => {
    expect(readExtensions(value)).toBe("unknown_extension");
  });
});
