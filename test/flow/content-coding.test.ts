import { once } from "node:events";
import * as zlib from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createDecoder, parseContentEncoding } from "../../src/flow/content-coding.ts";
import type { Coding, DecodeResult, Decoder } from "../../src/flow/content-coding.ts";

const { constants } = zlib;

interface Decoding {
  readonly decoder: Decoder;
  readonly bytes: () => Buffer;
  readonly results: DecodeResult[];
}

interface Bounds {
  readonly maxPendingBytes?: number;
  readonly maxRatio?: number;
}

function open(codings: readonly Coding[], bounds: Bounds = {}): Decoding {
  const pieces: Buffer[] = [];
  const results: DecodeResult[] = [];
  const decoder = createDecoder({ codings, onData: (chunk) => pieces.push(Buffer.from(chunk)), onEnd: (result) => results.push(result), ...bounds });
  return { decoder, bytes: () => Buffer.concat(pieces), results };
}

async function decode(codings: readonly Coding[], input: Uint8Array, chunkBytes = Infinity, bounds: Bounds = {}): Promise<{ bytes: Buffer; result: DecodeResult | undefined }> {
  const decoding = open(codings, bounds);
  for (let at = 0; at < input.length; at += chunkBytes) decoding.decoder.push(input.subarray(at, at + chunkBytes));
  decoding.decoder.end();
  await vi.waitFor(() => expect(decoding.results).not.toEqual([]), { timeout: 20_000, interval: 1 });
  return { bytes: decoding.bytes(), result: decoding.results[0] };
}

/** Text that compresses about as well as JSON does: a fixed sequence of pseudo-random numbers. */
function textBody(bytes: number): Buffer {
  const parts: string[] = [];
  let seed = 1;
  for (let length = 0; length < bytes; length += 24) {
    seed = (seed * 48_271) % 2_147_483_647;
    parts.push(`{"n":${String(seed).padStart(10, "0")},"v":true}\n`);
  }
  return Buffer.from(parts.join("")).subarray(0, bytes);
}

const SMALL = textBody(2000);
const LARGE = textBody(400_000);

const WAYS: readonly (readonly [name: string, coding: Coding, encode: (body: Uint8Array) => Buffer, partial: (cut: Uint8Array) => Buffer])[] = [
  ["gzip", "gzip", (body) => zlib.gzipSync(body), (cut) => zlib.gunzipSync(cut, { finishFlush: constants.Z_SYNC_FLUSH })],
  ["deflate in the zlib format", "deflate", (body) => zlib.deflateSync(body), (cut) => zlib.inflateSync(cut, { finishFlush: constants.Z_SYNC_FLUSH })],
  ["raw deflate", "deflate", (body) => zlib.deflateRawSync(body), (cut) => zlib.inflateRawSync(cut, { finishFlush: constants.Z_SYNC_FLUSH })],
  ["br", "br", (body) => zlib.brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }), (cut) => zlib.brotliDecompressSync(cut, { finishFlush: constants.BROTLI_OPERATION_FLUSH })],
  ["zstd", "zstd", (body) => zlib.zstdCompressSync(body), (cut) => zlib.zstdDecompressSync(cut, { finishFlush: constants.ZSTD_e_flush })],
];

describe("parseContentEncoding", () => {
  it.each([
    [undefined, []],
    ["", []],
    ["identity", ["identity"]],
    ["gzip", ["gzip"]],
    [" X-GZip ", ["gzip"]],
    ["deflate, gzip", ["deflate", "gzip"]],
    ["br,,zstd,", ["br", "zstd"]],
    ["gzip, br, zstd", ["gzip", "br", "zstd"]],
    ["gzip, gzip, gzip, gzip", undefined],
    ["compress", undefined],
    ["gzip, aws-chunked", undefined],
    ["constructor", undefined],
  ])("reads %j", (value, expected) => {
    expect(parseContentEncoding(value)).toEqual(expected);
  });
});

describe("a decoder of identity", () => {
  it.each([[[]], [["identity"]]] as const)("passes chunks through inside push, uncopied: %j", (codings) => {
    const chunks: Uint8Array[] = [];
    const results: DecodeResult[] = [];
    const decoder = createDecoder({ codings, onData: (chunk) => chunks.push(chunk), onEnd: (result) => results.push(result) });
    const first = Buffer.from("one");
    decoder.push(first);
    decoder.push(Buffer.alloc(0));
    expect(chunks).toHaveLength(1);
    expect(chunks[0]).toBe(first);
    decoder.end();
    decoder.end();
    decoder.push(first);
    expect([chunks.length, results]).toEqual([1, ["ok"]]);
  });
});

describe.each(WAYS)("a decoder of %s", (_, coding, encode, partial) => {
  const small = encode(SMALL);
  const large = encode(LARGE);

  it("decodes a small body before end returns", () => {
    const { decoder, bytes, results } = open([coding]);
    decoder.push(small.subarray(0, 100));
    decoder.push(small.subarray(100));
    decoder.end();
    expect(results).toEqual(["ok"]);
    expect(bytes().equals(SMALL)).toBe(true);
  });

  it.each([1, 7, 1000, 100_000, Infinity])("decodes a large body in chunks of %d bytes", async (chunkBytes) => {
    const { bytes, result } = await decode([coding], chunkBytes === 1 ? encode(LARGE.subarray(0, 60_000)) : large, chunkBytes);
    expect(result).toBe("ok");
    expect(bytes.equals(chunkBytes === 1 ? LARGE.subarray(0, 60_000) : LARGE)).toBe(true);
  });

  it("takes up what was pushed while it was at work, without an end", async () => {
    const { decoder, bytes } = open([coding]);
    for (let at = 0; at < large.length; at += 30_000) decoder.push(large.subarray(at, at + 30_000));
    await vi.waitFor(() => expect(bytes().length).toBe(LARGE.length), { timeout: 20_000, interval: 1 });
    decoder.destroy();
    expect(bytes().equals(LARGE)).toBe(true);
  });

  it.each([1, 2, 5, 500, 40_000, -10, -1])("gives everything before a cut after %d bytes", async (at) => {
    const cut = large.subarray(0, at < 0 ? large.length + at : at);
    const { bytes, result } = await decode([coding], cut, 5000);
    expect(result).toBe("truncated");
    const reference = partial(cut);
    expect(bytes.equals(LARGE.subarray(0, bytes.length))).toBe(true);
    expect(bytes.length).toBeGreaterThanOrEqual(reference.length);
    if (at === 40_000) expect(bytes.length).toBeGreaterThan(50_000);
  });

  it("gives everything before the cut of a small body", async () => {
    const { bytes, result } = await decode([coding], small.subarray(0, -3));
    expect([result, bytes.equals(SMALL.subarray(0, bytes.length))]).toEqual(["truncated", true]);
  });

  it("takes an empty body for a whole one", async () => {
    expect(await decode([coding], Buffer.alloc(0))).toEqual({ bytes: Buffer.alloc(0), result: "ok" });
  });

  it("delivers each flushed event before the next one is sent", async () => {
    const { decoder, bytes, results } = open([coding]);
    const encoder = flushingEncoder(coding);
    let sent = "";
    for (let i = 0; i < 4; i++) {
      const event = `data: {"n":${i}}\n\n`;
      sent += event;
      decoder.push(await encoder.flushed(event));
      await vi.waitFor(() => expect(bytes().toString()).toBe(sent), { timeout: 20_000, interval: 1 });
    }
    decoder.push(await encoder.ended());
    decoder.end();
    await vi.waitFor(() => expect(results).toEqual(["ok"]), { timeout: 20_000, interval: 1 });
    expect(bytes().toString()).toBe(sent);
  });

  it("gives every flushed event of a stream that is cut", async () => {
    const encoder = flushingEncoder(coding);
    const blocks = [await encoder.flushed("data: 1\n\n"), await encoder.flushed("data: 2\n\n"), await encoder.flushed("data: 3\n\n")];
    const { bytes, result } = await decode([coding], Buffer.concat(blocks));
    expect([bytes.toString(), result]).toEqual(["data: 1\n\ndata: 2\n\ndata: 3\n\n", "truncated"]);
  });

  it("ends corrupt where the data goes wrong, and keeps what came before", async () => {
    const encoder = flushingEncoder(coding);
    const { decoder, bytes, results } = open([coding]);
    decoder.push(await encoder.flushed(LARGE.toString()));
    await vi.waitFor(() => expect(bytes().length).toBe(LARGE.length), { timeout: 20_000, interval: 1 });
    // A block of a reserved kind in each of the formats.
    decoder.push(Buffer.alloc(1000, 0x0e));
    decoder.end();
    await vi.waitFor(() => expect(results).toEqual(["corrupt"]), { timeout: 20_000, interval: 1 });
    expect(bytes().equals(LARGE)).toBe(true);
  });

  it.each([["small", 100], ["large", 100_000]])("ends corrupt for a %s body that was never coded", async (__, length) => {
    const { bytes, result } = await decode([coding], Buffer.alloc(length, "not coded "), 5000);
    expect([result, bytes.length]).toEqual(["corrupt", 0]);
  });

  it("ends with overflow, early, for a bomb", async () => {
    const bomb = encode(Buffer.alloc(64 * 1024 * 1024));
    const { bytes, result } = await decode([coding], bomb, Infinity, { maxRatio: 100 });
    expect(result).toBe("overflow");
    expect(bytes.length).toBeLessThanOrEqual(Math.max(1024 * 1024, 100 * bomb.length) + 64 * 1024);
  });

  it("does not take a short body of one repeated character for a bomb", async () => {
    const body = Buffer.alloc(900_000, "a");
    const { bytes, result } = await decode([coding], encode(body), Infinity, { maxRatio: 10 });
    expect([result, bytes.equals(body)]).toEqual(["ok", true]);
  });

  it("ends with overflow when more input waits than it may", async () => {
    const { bytes, result } = await decode([coding], large, 10_000, { maxPendingBytes: 30_000 });
    expect(result).toBe("overflow");
    expect(bytes.length).toBeLessThan(LARGE.length);
  });

  it.each([["a small body", small], ["a large body", large]])("ends corrupt when onData throws: %s", async (__, input) => {
    const results: DecodeResult[] = [];
    let calls = 0;
    const onData = (): void => {
      calls++;
      throw new Error("reader");
    };
    const decoder = createDecoder({ codings: [coding], onData, onEnd: (result) => results.push(result) });
    decoder.push(input);
    decoder.end();
    await vi.waitFor(() => expect(results).toEqual(["corrupt"]), { timeout: 20_000, interval: 1 });
    expect(calls).toBe(1);
  });

  it("calls nothing after destroy, wherever it is in its work", async () => {
    const seen: string[] = [];
    const make = (): Decoder => createDecoder({ codings: [coding], onData: () => seen.push("data"), onEnd: () => seen.push("end") });
    const [fresh, held, working, ending] = [make(), make(), make(), make()];
    fresh.destroy();
    held.push(small);
    held.destroy();
    working.push(large);
    working.destroy();
    ending.push(large);
    ending.end();
    ending.destroy();
    for (const decoder of [fresh, held, working, ending]) {
      decoder.destroy();
      decoder.push(small);
      decoder.end();
    }
    // What another decoder does from here takes longer than what those still had to do.
    for (let i = 0; i < 5; i++) await decode([coding], large, 5000);
    expect(seen).toEqual([]);
  });

  it("may be destroyed by its reader", async () => {
    const results: DecodeResult[] = [];
    let bytes = 0;
    const decoder: Decoder = createDecoder({
      codings: [coding],
      onData: (chunk) => {
        bytes += chunk.length;
        decoder.destroy();
      },
      onEnd: (result) => results.push(result),
    });
    decoder.push(large);
    decoder.end();
    await vi.waitFor(() => expect(bytes).toBeGreaterThan(0), { timeout: 20_000, interval: 1 });
    await decode([coding], large, 5000);
    expect([results, bytes < LARGE.length]).toEqual([[], true]);
  });
});

describe("a decoder", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    [["gzip", "br"], (body: Buffer) => zlib.brotliCompressSync(zlib.gzipSync(body))],
    [["zstd", "identity", "gzip"], (body: Buffer) => zlib.gzipSync(zlib.zstdCompressSync(body))],
    [["deflate", "gzip", "zstd"], (body: Buffer) => zlib.zstdCompressSync(zlib.gzipSync(zlib.deflateRawSync(body)))],
  ] as const)("undoes %j, the last first", async (codings, encode) => {
    for (const body of [SMALL, LARGE]) {
      const input = encode(body);
      const whole = await decode(codings, input, 5000);
      expect([whole.result, whole.bytes.equals(body)]).toEqual(["ok", true]);
      const cut = await decode(codings, input.subarray(0, -20), 5000);
      expect([cut.result, cut.bytes.equals(body.subarray(0, cut.bytes.length))]).toEqual(["truncated", true]);
    }
  });

  it("ends corrupt when an inner coding is not there", async () => {
    expect((await decode(["zstd", "gzip"], zlib.gzipSync(LARGE), 5000)).result).toBe("corrupt");
  });

  it("counts a bomb inside a bomb against the bytes that were sent", async () => {
    const bomb = zlib.gzipSync(zlib.gzipSync(Buffer.alloc(64 * 1024 * 1024)));
    const { bytes, result } = await decode(["gzip", "gzip"], bomb);
    expect(result).toBe("overflow");
    expect(bytes.length).toBeLessThanOrEqual(Math.max(1024 * 1024, 1000 * bomb.length) + 64 * 1024);
  });

  it.each([
    ["gzip members", "gzip", [zlib.gzipSync("one "), zlib.gzipSync("two "), zlib.gzipSync("three")]],
    ["zstd frames", "zstd", [zlib.zstdCompressSync("one "), zlib.zstdCompressSync("two "), zlib.zstdCompressSync("three")]],
    ["zstd frames around one to skip", "zstd", [Buffer.from("532a4d1802000000ffff", "hex"), zlib.zstdCompressSync("one "), Buffer.from("502a4d1800000000", "hex"), zlib.zstdCompressSync("two three")]],
  ] as const)("decodes %s in a row, split anywhere", async (_, coding, parts) => {
    const input = Buffer.concat(parts);
    expect(await decode([coding], input)).toMatchObject({ result: "ok", bytes: Buffer.from("one two three") });
    for (let at = 1; at < input.length; at++) {
      const { decoder, bytes, results } = open([coding]);
      vi.useFakeTimers();
      decoder.push(input.subarray(0, at));
      vi.runAllTimers();
      vi.useRealTimers();
      decoder.push(input.subarray(at));
      decoder.end();
      await vi.waitFor(() => expect(results).toEqual(["ok"]), { timeout: 20_000, interval: 1 });
      expect(bytes().toString()).toBe("one two three");
    }
  });

  it.each([
    ["gzip", "gzip", zlib.gzipSync(SMALL), Buffer.alloc(100)],
    ["deflate", "deflate", zlib.deflateSync(SMALL), Buffer.from("rubbish")],
    ["br", "br", zlib.brotliCompressSync(SMALL), Buffer.from("rubbish")],
    ["zstd", "zstd", zlib.zstdCompressSync(SMALL), Buffer.from("rubbish")],
  ] as const)("ignores what follows the coded data: %s", async (_, coding, input, rest) => {
    for (const chunkBytes of [Infinity, 50]) {
      const { bytes, result } = await decode([coding], Buffer.concat([input, rest, Buffer.alloc(20_000)]), chunkBytes);
      expect([result, bytes.equals(SMALL)]).toEqual(["ok", true]);
    }
  });

  it("keeps a failure until the end of the input", async () => {
    const { decoder, results } = open(["gzip"], { maxPendingBytes: 1000 });
    decoder.push(Buffer.alloc(2000));
    decoder.push(Buffer.alloc(2000));
    expect(results).toEqual([]);
    decoder.end();
    expect(results).toEqual(["overflow"]);
  });

  it("decodes what waits after the hold time without more input", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { decoder, bytes } = open(["gzip"]);
    decoder.push(zlib.gzipSync(SMALL));
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1000);
    vi.useRealTimers();
    await vi.waitFor(() => expect(bytes().equals(SMALL)).toBe(true), { timeout: 20_000, interval: 1 });
    decoder.destroy();
  });
});

interface FlushingEncoder {
  flushed(text: string): Promise<Buffer>;
  ended(): Promise<Buffer>;
}

/** An encoder that flushes after each event, as a server that streams does. */
function flushingEncoder(coding: Coding): FlushingEncoder {
  const stream = encoderFor(coding);
  let pieces: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => pieces.push(chunk));
  const take = (): Buffer => {
    const taken = Buffer.concat(pieces);
    pieces = [];
    return taken;
  };
  return {
    async flushed(text) {
      stream.write(text);
      await new Promise<void>((resolve) => stream.flush(resolve));
      return take();
    },
    async ended() {
      stream.end();
      await once(stream, "end");
      return take();
    },
  };
}

function encoderFor(coding: Coding): zlib.Gzip | zlib.Deflate | zlib.BrotliCompress | zlib.ZstdCompress {
  if (coding === "br") return zlib.createBrotliCompress();
  if (coding === "zstd") return zlib.createZstdCompress();
  return coding === "gzip" ? zlib.createGzip() : zlib.createDeflate();
}
