/** The WebSocket decoder against an encoder of its own kind (frames by hand, zlib streams) and against rubbish. */

import { constants, createDeflateRaw } from "node:zlib";
import type { DeflateRaw } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DeflateParameters } from "../../src/usage/extract/websocket-inflate.ts";
import { createWebSocketDecoder } from "../../src/usage/extract/websocket-messages.ts";
import type { WebSocketDecoderOptions } from "../../src/usage/extract/websocket-messages.ts";

const SEED = 20_261_121;

type Direction = WebSocketDecoderOptions["direction"];

interface SentMessage {
  readonly isText: boolean;
  readonly content: Buffer;
  readonly isCompressed: boolean;
  /** Where the payload is cut into frames, as parts of a thousand. */
  readonly cuts: readonly number[];
  readonly keys: readonly Uint8Array[];
  /** A ping or pong before each frame but those that are undefined. */
  readonly controls: readonly (Buffer | undefined)[];
}

interface Connection {
  readonly direction: Direction;
  readonly deflate: DeflateParameters | undefined;
  readonly messages: readonly SentMessage[];
}

const key = fc.uint8Array({ minLength: 4, maxLength: 4 });

/** Repeats itself, so that compression looks back, near and far. */
const wordy = fc.array(fc.constantFrom("usage", "tokens", '{"type":', "漢字", "é", "😀", "response.completed", " ", "0", "\n"), { maxLength: 200, size: "max" })
  .map((words) => Buffer.from(words.join("")));
/** Up to more than a window, of one of a few sequences. */
const long = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 40_000 })).map(([seed, length]) => {
  let state = seed;
  return Buffer.from(Array.from({ length }, () => 32 + (((state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 16) % 90)));
});
const text = fc.oneof({ weight: 6, arbitrary: wordy }, { weight: 1, arbitrary: long }, { weight: 1, arbitrary: fc.string({ unit: "grapheme" }).map((one) => Buffer.from(one)) });
const binary = fc.uint8Array({ maxLength: 300 }).map((one) => Buffer.from(one));

const sentMessage = fc.record({
  content: fc.oneof(text.map((content) => ({ isText: true, content })), binary.map((content) => ({ isText: false, content }))),
  isCompressed: fc.boolean(),
  cuts: fc.array(fc.nat(1000), { maxLength: 4 }),
  keys: fc.array(key, { minLength: 1, maxLength: 5 }),
  controls: fc.array(fc.option(fc.uint8Array({ maxLength: 125 }).map((one) => Buffer.from(one)), { nil: undefined }), { maxLength: 5 }),
}).map(({ content, ...rest }): SentMessage => ({ ...content, ...rest }));

const deflate = fc.option(fc.record({ contextTakeover: fc.boolean(), maxWindowBits: fc.integer({ min: 8, max: 15 }) }), { nil: undefined });

const connection: fc.Arbitrary<Connection> = fc.record({
  direction: fc.constantFrom<Direction>("client", "server"),
  deflate,
  messages: fc.array(sentMessage, { maxLength: 12, size: "max" }),
});

function frame(first: number, content: Uint8Array, mask: Uint8Array | undefined): Buffer {
  const isMasked = mask === undefined ? 0 : 0x80;
  const length = Buffer.alloc(content.length < 126 ? 0 : content.length < 65_536 ? 2 : 8);
  if (length.length > 0) length.writeUIntBE(content.length, Math.max(0, length.length - 6), Math.min(6, length.length));
  const short = [content.length, 0, 126, 0, 0, 0, 0, 0, 127][length.length] as number;
  const payload = mask === undefined ? content : Buffer.from(content.map((byte, i) => byte ^ (mask[i % 4] as number)));
  return Buffer.concat([Buffer.from([first, isMasked | short]), length, mask ?? Buffer.of(), payload]);
}

async function compress(stream: DeflateRaw, content: Buffer): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const take = (piece: Buffer): number => pieces.push(piece);
  stream.on("data", take);
  stream.write(content);
  await new Promise<void>((resolve) => stream.flush(constants.Z_SYNC_FLUSH, resolve));
  stream.off("data", take);
  const whole = Buffer.concat(pieces);
  // A flush after nothing writes nothing where one was written before: such a message is one empty block.
  return whole.length === 0 ? Buffer.of(0) : whole.subarray(0, -4);
}

async function encode({ direction, deflate: parameters, messages }: Connection): Promise<Buffer> {
  const frames: Buffer[] = [];
  const makeStream = (): DeflateRaw => createDeflateRaw({ windowBits: parameters?.maxWindowBits ?? 15 });
  let stream = makeStream();
  for (const message of messages) {
    const isCompressed = message.isCompressed && parameters !== undefined;
    if (parameters?.contextTakeover === false) stream = makeStream();
    const payload = isCompressed ? await compress(stream, message.content) : message.content;
    const at = [0, ...message.cuts.map((cut) => Math.floor(cut * payload.length / 1000)).toSorted((a, b) => a - b), payload.length];
    for (let i = 0; i + 1 < at.length; i++) {
      const mask = direction === "client" ? message.keys[i % message.keys.length] : undefined;
      const control = message.controls[i];
      if (control !== undefined) frames.push(frame(i % 2 === 0 ? 0x89 : 0x8a, control, mask));
      const opcode = i > 0 ? 0 : message.isText ? 1 : 2;
      const isFinal = i + 2 === at.length;
      frames.push(frame((isFinal ? 0x80 : 0) | (isCompressed && i === 0 ? 0x40 : 0) | opcode, payload.subarray(at[i], at[i + 1]), mask));
    }
  }
  return Buffer.concat(frames);
}

/** Cuts into chunks of these sizes, over and over; no sizes: one chunk. */
function split(stream: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let i = 0; at < stream.length; i++) {
    const size = sizes.length === 0 ? stream.length : (sizes[i % sizes.length] as number);
    chunks.push(stream.subarray(at, at + Math.max(1, size)));
    at += Math.max(1, size);
  }
  return chunks;
}

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 5000 })), { maxLength: 8 });

interface Seen {
  readonly events: string[];
  readonly maxHeldBytes: number;
  readonly maxMessageBytes: number;
  readonly isOver: boolean;
  readonly heldAtEnd: number;
}

function decode(chunks: readonly Uint8Array[], options: Pick<WebSocketDecoderOptions, "direction" | "deflate" | "limits">): Seen {
  const events: string[] = [];
  let maxMessageBytes = 0;
  let maxHeldBytes = 0;
  const decoder = createWebSocketDecoder({
    ...options,
    onMessage: (message) => {
      const content = message.kind === "text" ? Buffer.from(message.text) : message.kind === "binary" ? Buffer.from(message.bytes) : undefined;
      // A byte that is no UTF-8 becomes a character of three.
      maxMessageBytes = Math.max(maxMessageBytes, (content?.length ?? 0) / (message.kind === "text" ? 3 : 1));
      events.push(message.kind === "oversized" ? `oversized ${message.bytes}` : `${message.kind} ${content?.toString("base64")}`);
    },
    onClose: (code) => events.push(`close ${code}`),
    onFault: (reason) => events.push(`fault ${reason}`),
  });
  for (const chunk of chunks) {
    decoder.feed(chunk);
    maxHeldBytes = Math.max(maxHeldBytes, decoder.heldBytes);
  }
  return { events, maxHeldBytes, maxMessageBytes, isOver: decoder.isOver, heldAtEnd: decoder.heldBytes };
}

const WINDOW_BYTES = 32 * 1024;
const CLOSE_CODE_BYTES = 2;

describe("the WebSocket decoder", () => {
  it("reads what was sent, however it was framed, masked, compressed and cut", async () => {
    const seen = { messages: 0, compressed: 0 };
    await fc.assert(fc.asyncProperty(connection, sizes, async (sent, cut) => {
      const stream = await encode(sent);
      const expected = sent.messages.map(({ isText, content }) => `${isText ? "text" : "binary"} ${content.toString("base64")}`);
      const { events, isOver } = decode(split(stream, cut), sent);
      // Compared as a whole: a picture of the difference takes long to draw.
      expect(events.join("\n") === expected.join("\n")).toBe(true);
      expect(isOver).toBe(false);
      seen.messages += events.length;
      seen.compressed += sent.deflate === undefined ? 0 : sent.messages.filter((message) => message.isCompressed).length;
    }), { seed: SEED, numRuns: 300 });
    expect(seen.messages).toBeGreaterThan(500);
    expect(seen.compressed).toBeGreaterThan(100);
  });

  it("skips what is over the bound and reads the rest, where messages stand alone", async () => {
    const limits = { maxMessageBytes: 400, maxHeldBytes: 100_000 };
    let oversizedCount = 0;
    await fc.assert(fc.asyncProperty(connection, sizes, async (sent, cut) => {
      const standalone: Connection = { ...sent, deflate: sent.deflate && { ...sent.deflate, contextTakeover: false } };
      const { events, maxMessageBytes } = decode(split(await encode(standalone), cut), { ...standalone, limits });
      const kinds = events.map((event) => event.split(" ")[0]);
      expect(kinds).toEqual(sent.messages.map(({ isText, content }) => content.length > 400 ? "oversized" : isText ? "text" : "binary"));
      expect(maxMessageBytes).toBeLessThanOrEqual(400);
      oversizedCount += kinds.filter((kind) => kind === "oversized").length;
    }), { seed: SEED, numRuns: 150 });
    expect(oversizedCount).toBeGreaterThan(50);
  });

  describe("given rubbish", () => {
    const limits = { maxMessageBytes: 1000, maxHeldBytes: 2000 };

    const check = (stream: Buffer, cut: readonly number[], options: { direction: Direction; deflate: DeflateParameters | undefined }): Seen => {
      const result = decode(split(stream, cut), { ...options, limits });
      expect(result.events).toEqual(decode([stream], { ...options, limits }).events);
      expect(result.maxHeldBytes).toBeLessThanOrEqual(limits.maxHeldBytes + WINDOW_BYTES + CLOSE_CODE_BYTES);
      expect(result.maxMessageBytes).toBeLessThanOrEqual(limits.maxMessageBytes);
      const lastOnes = result.events.filter((event) => /^(?:close|fault) /.test(event));
      expect(lastOnes).toEqual(result.isOver ? [result.events.at(-1)] : []);
      if (result.isOver) expect(result.heldAtEnd).toBe(0);
      return result;
    };

    it("never throws and never holds more than its bounds: random bytes", () => {
      const direction = fc.constantFrom<Direction>("client", "server");
      fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), sizes, direction, deflate, (bytes, cut, from, parameters) => {
        check(Buffer.from(bytes), cut, { direction: from, deflate: parameters });
      }), { seed: SEED, numRuns: 1000 });
    });

    it("never throws and never holds more than its bounds: frames of any kind around random payload", () => {
      const opcode = fc.constantFrom(0x01, 0x81, 0x02, 0x82, 0x00, 0x80, 0x00, 0x80, 0xc1, 0xc2, 0x41, 0x89, 0x8a, 0x88, 0x83, 0xa1);
      const content = fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ minLength: 500, maxLength: 1500 }));
      const frames = fc.array(fc.tuple(opcode, content, key), { maxLength: 12 });
      const reached = new Set<string>();
      fc.assert(fc.property(frames, sizes, fc.boolean(), deflate, (list, cut, isClient, parameters) => {
        const stream = Buffer.concat(list.map(([first, payload, mask]) => frame(first, payload, isClient ? mask : undefined)));
        const { events } = check(stream, cut, { direction: isClient ? "client" : "server", deflate: parameters });
        for (const event of events) reached.add(event.split(" ").slice(0, event.startsWith("fault") ? 2 : 1).join(" "));
      }), { seed: SEED, numRuns: 1000 });
      expect([...reached]).toEqual(expect.arrayContaining([
        "text", "binary", "oversized", "close", "fault invalid_continuation", "fault reserved_bits", "fault invalid_opcode", "fault inflate_failed", "fault long_control",
      ]));
    });

    it("never throws and never holds more than its bounds: what was sent, with bytes changed", async () => {
      const change = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
      await fc.assert(fc.asyncProperty(connection, sizes, change, async (sent, cut, changes) => {
        const stream = await encode(sent);
        for (const [at, byte] of changes) if (stream.length > 0) stream[at % stream.length] = byte;
        check(stream, cut, sent);
      }), { seed: SEED, numRuns: 200 });
    });
  });
});
