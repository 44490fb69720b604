/**
 * Content codings (RFC 9110 section 8.4): reading the header, and bounded streaming decoders for a copy of a body that
 * is metered. The traffic itself is never decoded.
 *
 * What decoding costs: a body that is small or ends soon is decoded at once on this thread (10–25 µs for 2 KB of input, 2 ms for
 * FLUSH_BYTES); everything else goes through zlib's thread pool, at 80 µs or more for the stream and 35 µs for each write. So
 * input is gathered for HOLD_MS, or until FLUSH_BYTES of it wait.
 */

import type { Transform } from "node:stream";
import {
  brotliDecompressSync,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
} from "node:zlib";

export type Coding = "identity" | "gzip" | "deflate" | "br" | "zstd";

/**
 * How decoding ended: `ok` (an empty body too), `truncated` (the input ended inside the coded data), `corrupt` (it is
 * not what the header says, or `onData` threw), `overflow` (a bound was passed).
 */
export type DecodeResult = "ok" | "truncated" | "corrupt" | "overflow";

const MAX_CODINGS = 3;

const CODING_NAMES: ReadonlyMap<string, Coding> = new Map<string, Coding>([
  ["identity", "identity"],
  ["gzip", "gzip"],
  ["x-gzip", "gzip"],
  ["deflate", "deflate"],
  ["br", "br"],
  ["zstd", "zstd"],
]);

/**
 * Reads a Content-Encoding value (several fields joined by commas): the codings in the order in which they were
 * applied; empty when there is none. undefined: a coding is unknown, or there are more than 3 (a decompression chain).
 */
export function parseContentEncoding(value: string | undefined): readonly Coding[] | undefined {
  const codings: Coding[] = [];
  for (const element of (value ?? "").split(",")) {
    const name = element.trim().toLowerCase();
    if (name === "") continue;
    const coding = CODING_NAMES.get(name);
    if (coding === undefined || codings.length === MAX_CODINGS) return undefined;
    codings.push(coding);
  }
  return codings;
}

/** Decodes one body. */
export interface Decoder {
  /** Takes encoded bytes by reference: they must not change until `onEnd`. Returns at once. */
  push(chunk: Uint8Array): void;
  /** No more input. `onEnd` is called exactly once from here on, maybe before this returns. */
  end(): void;
  /** Stops, frees everything, calls nothing any more. Idempotent. */
  destroy(): void;
}

export interface DecoderOptions {
  /** In the order in which they were applied, as parseContentEncoding gives them. */
  readonly codings: readonly Coding[];
  /**
   * Decoded bytes, in order, by reference. Everything that can be decoded is given, also before a cut; of corrupt data
   * what the decoder had given out before it met the fault. An error thrown here ends decoding as `corrupt`.
   */
  readonly onData: (chunk: Uint8Array) => void;
  /** Called once, after `end` and after the last data. After a failure no data comes, but this still waits for `end`. Must not throw. */
  readonly onEnd: (result: DecodeResult) => void;
  /** Most bytes that may wait for a decoder (of each coding). Default 16 MiB; beyond it: `overflow`. */
  readonly maxPendingBytes?: number;
  /** Most decoded bytes for one encoded byte, looked at beyond 1 MiB decoded. Default 1000; beyond it: `overflow`. */
  readonly maxRatio?: number;
}

/** Makes a decoder. Without codings (or with "identity" only) data passes through inside `push`, uncopied. */
export function createDecoder(options: DecoderOptions): Decoder {
  return new BodyDecoder(options);
}

const DEFAULT_MAX_PENDING_BYTES = 16 * 1024 * 1024;
const DEFAULT_MAX_RATIO = 1000;
/** Decoded bytes below which the ratio does not matter: short bodies of one repeated character are no attack. */
const RATIO_FREE_BYTES = 1024 * 1024;

/** How long input may wait for more of it. Bounds the delay of a streamed event; `end` does not wait. */
const HOLD_MS = 1000;
/** Input that goes to the thread pool without waiting. A body below it that ends within HOLD_MS is decoded at once. */
const FLUSH_BYTES = 64 * 1024;
/** Most input that is joined for one write. */
const MAX_WRITE_BYTES = 256 * 1024;
/** Output buffer of an engine: one trip to the thread pool for each that is filled. */
const ENGINE_CHUNK_BYTES = 32 * 1024;

type CompressedCoding = Exclude<Coding, "identity">;

/** A zlib stream. `bytesWritten` counts the input that the engine took. */
type Engine = Transform & { readonly bytesWritten: number };

/** What a decoder needs to know of the whole body, whichever coding it undoes. */
interface Limits {
  encodedBytes: number;
  readonly maxPendingBytes: number;
  readonly maxRatio: number;
}

/** The codings of a body in a row, the last applied first, and the end of it all. */
class BodyDecoder implements Decoder {
  private readonly options: DecoderOptions;
  private readonly limits: Limits;
  private readonly stages: readonly Stage[];
  private isEnded = false;
  private isDestroyed = false;
  /** The first failure of a stage, or the last stage's result. */
  private result: DecodeResult | undefined;
  private isSettled = false;

  constructor(options: DecoderOptions) {
    this.options = options;
    this.limits = {
      encodedBytes: 0,
      maxPendingBytes: options.maxPendingBytes ?? DEFAULT_MAX_PENDING_BYTES,
      maxRatio: options.maxRatio ?? DEFAULT_MAX_RATIO,
    };
    const codings = options.codings.filter((coding) => coding !== "identity").toReversed();
    this.stages = codings.map((coding, index) => new Stage(coding, this.limits, {
      onData: (chunk) => this.pass(chunk, index + 1),
      onSettled: (result) => this.stageSettled(result, index + 1),
    }));
  }

  push(chunk: Uint8Array): void {
    if (this.isEnded || this.isSettled || chunk.length === 0) return;
    this.limits.encodedBytes += chunk.length;
    this.pass(chunk, 0);
  }

  end(): void {
    if (this.isEnded || this.isDestroyed) return;
    this.isEnded = true;
    if (this.isSettled) this.options.onEnd(this.result ?? "ok");
    else this.endStage(0);
  }

  destroy(): void {
    this.isDestroyed = true;
    this.isSettled = true;
    for (const stage of this.stages) stage.destroy();
  }

  private pass(chunk: Uint8Array, index: number): void {
    const stage = this.stages[index];
    if (stage !== undefined) return stage.push(chunk);
    try {
      this.options.onData(chunk);
    } catch {
      // The reader's fault must not become an uncaught exception of a zlib callback; the body counts as unreadable.
      this.settle("corrupt");
    }
  }

  private endStage(index: number): void {
    const stage = this.stages[index];
    if (stage === undefined) this.settle("ok");
    else stage.end();
  }

  private stageSettled(result: DecodeResult, next: number): void {
    if (result === "ok" || result === "truncated") {
      if (result === "truncated") this.result ??= result;
      this.endStage(next);
    } else this.settle(result);
  }

  private settle(result: DecodeResult): void {
    if (this.isSettled) return;
    this.result ??= result;
    this.isSettled = true;
    for (const stage of this.stages) stage.destroy();
    if (this.isEnded && !this.isDestroyed) this.options.onEnd(this.result);
  }
}

interface StageCallbacks {
  readonly onData: (chunk: Uint8Array) => void;
  /** Called once, as soon as the result is known, unless the stage was destroyed. */
  readonly onSettled: (result: DecodeResult) => void;
}

/** Undoes one coding. */
class Stage {
  private readonly coding: CompressedCoding;
  private readonly limits: Limits;
  private readonly callbacks: StageCallbacks;
  private queue: Uint8Array[] = [];
  private queuedBytes = 0;
  private decodedBytes = 0;
  private holdTimer: NodeJS.Timeout | undefined;
  private engine: Engine | undefined;
  /** Input given to the engine since it was made. */
  private givenBytes = 0;
  /** The input that the engine is working on. */
  private writing: Uint8Array | undefined;
  private isEnded = false;
  private isSettled = false;

  constructor(coding: CompressedCoding, limits: Limits, callbacks: StageCallbacks) {
    this.coding = coding;
    this.limits = limits;
    this.callbacks = callbacks;
  }

  push(chunk: Uint8Array): void {
    if (this.isSettled || this.isEnded) return;
    this.queue.push(chunk);
    this.queuedBytes += chunk.length;
    if (this.queuedBytes + (this.writing?.length ?? 0) > this.limits.maxPendingBytes) this.settle("overflow");
    else if (this.queuedBytes >= FLUSH_BYTES) this.flush();
    else this.holdTimer ??= setTimeout(() => this.flush(), HOLD_MS).unref();
  }

  end(): void {
    if (this.isSettled || this.isEnded) return;
    this.isEnded = true;
    if (this.engine === undefined && this.decodeAtOnce()) this.settle("ok");
    else this.flush();
  }

  destroy(): void {
    this.isSettled = true;
    this.queue = [];
    this.queuedBytes = 0;
    clearTimeout(this.holdTimer);
    this.engine?.destroy();
  }

  private settle(result: DecodeResult): void {
    if (this.isSettled) return;
    this.destroy();
    this.callbacks.onSettled(result);
  }

  /** Decodes a whole small body. False when it takes a stream to say what there is to decode. */
  private decodeAtOnce(): boolean {
    if (this.queuedBytes === 0) return true;
    if (this.queuedBytes > FLUSH_BYTES) return false;
    const input = this.queue.length === 1 ? this.queue[0] : Buffer.concat(this.queue);
    const decoded = input === undefined ? undefined : decodeWhole(this.coding, input);
    if (decoded === undefined) return false;
    if (decoded.length > 0) this.callbacks.onData(decoded);
    return true;
  }

  /** Gives the engine what waits, unless it is at work: then it takes it when it is done. */
  private flush(): void {
    clearTimeout(this.holdTimer);
    this.holdTimer = undefined;
    if (this.isSettled || this.writing !== undefined) return;
    if (this.queuedBytes === 0) {
      if (this.isEnded) this.engine?.end();
      return;
    }
    const input = this.takeInput();
    this.engine ??= this.createEngine(input);
    this.writing = input;
    this.givenBytes += input.length;
    this.engine.write(input, () => this.written());
  }

  private takeInput(): Uint8Array {
    let count = 0;
    let bytes = 0;
    while (count < this.queue.length && bytes < MAX_WRITE_BYTES) bytes += this.queue[count++]?.length ?? 0;
    this.queuedBytes -= bytes;
    const taken = this.queue.splice(0, count);
    return taken.length === 1 && taken[0] !== undefined ? taken[0] : Buffer.concat(taken);
  }

  private written(): void {
    const input = this.writing;
    this.writing = undefined;
    if (this.isSettled || this.engine === undefined || input === undefined) return;
    const restBytes = this.givenBytes - this.engine.bytesWritten;
    if (restBytes > 0) this.coderEnded(this.engine, input.subarray(input.length - restBytes));
    else if (this.isEnded || this.queuedBytes >= FLUSH_BYTES || this.holdTimer === undefined) this.flush();
  }

  /** The coded data is over, and input is left: padding or rubbish, or another zstd frame (RFC 8878 section 3.1). */
  private coderEnded(engine: Engine, rest: Uint8Array): void {
    if (this.isSettled) return;
    // Keeps further input back until the engine has given out everything.
    this.writing = rest;
    if (!engine.readableEnded) {
      engine.once("end", () => this.coderEnded(engine, rest));
      return;
    }
    this.writing = undefined;
    if (this.coding !== "zstd" || !startsZstdFrame(rest)) return this.settle("ok");
    engine.destroy();
    this.engine = undefined;
    this.givenBytes = 0;
    this.queue.unshift(rest);
    this.queuedBytes += rest.length;
    this.flush();
  }

  private createEngine(input: Uint8Array): Engine {
    const engine = ENGINES[this.coding](input);
    engine.on("data", (chunk: Buffer) => this.decoded(engine, chunk));
    // An end before ours is found by written(), which sees what input is left.
    engine.on("end", () => {
      if (this.engine === engine && engine.writableEnded) this.settle("ok");
    });
    engine.on("error", (error: NodeJS.ErrnoException) => {
      if (this.engine === engine) this.settle(error.code === "Z_BUF_ERROR" ? "truncated" : "corrupt");
    });
    return engine;
  }

  private decoded(engine: Engine, chunk: Buffer): void {
    if (this.isSettled || this.engine !== engine) return;
    this.decodedBytes += chunk.length;
    const isBomb = this.decodedBytes > RATIO_FREE_BYTES && this.decodedBytes > this.limits.maxRatio * this.limits.encodedBytes;
    if (isBomb) this.settle("overflow");
    else this.callbacks.onData(chunk);
  }
}

const ENGINE_OPTIONS = { chunkSize: ENGINE_CHUNK_BYTES };
/** Output buffer of a body that is decoded at once, where it is more than a few KB: one is enough for most. */
const WHOLE_CHUNK_BYTES = 64 * 1024;
const LITTLE_BYTES = 2048;

function wholeOptions(input: Uint8Array): { readonly maxOutputLength: number; readonly chunkSize?: number } {
  return { maxOutputLength: RATIO_FREE_BYTES, ...(input.length > LITTLE_BYTES ? { chunkSize: WHOLE_CHUNK_BYTES } : {}) };
}

/** `input` begins the coded data: it tells the two forms of "deflate" apart. */
const ENGINES: Readonly<Record<CompressedCoding, (input: Uint8Array) => Engine>> = {
  gzip: () => createGunzip(ENGINE_OPTIONS),
  deflate: (input) => (hasZlibHeader(input) ? createInflate(ENGINE_OPTIONS) : createInflateRaw(ENGINE_OPTIONS)),
  br: () => createBrotliDecompress(ENGINE_OPTIONS),
  zstd: () => createZstdDecompress(ENGINE_OPTIONS),
};

const WHOLE: Readonly<Record<CompressedCoding, (input: Uint8Array) => Uint8Array>> = {
  gzip: (input) => gunzipSync(input, wholeOptions(input)),
  deflate: (input) => (hasZlibHeader(input) ? inflateSync(input, wholeOptions(input)) : inflateRawSync(input, wholeOptions(input))),
  br: (input) => brotliDecompressSync(input, wholeOptions(input)),
  zstd: (input) => zstdDecompressSync(input, wholeOptions(input)),
};

/** The decoded body; undefined when it is not whole and right, or large, or may have several frames. */
function decodeWhole(coding: CompressedCoding, input: Uint8Array): Uint8Array | undefined {
  // zstdDecompressSync stops silently after the first frame.
  if (coding === "zstd" && Buffer.from(input.buffer, input.byteOffset, input.length).includes(ZSTD_MAGIC, 1)) return undefined;
  try {
    return WHOLE[coding](input);
  } catch {
    // The stream decoder meets the same fault, and tells a cut from corruption after giving out what comes before it.
    return undefined;
  }
}

/**
 * Many servers send raw DEFLATE as "deflate", where RFC 9110 section 8.4.1.2 wants the zlib format. The latter's first
 * byte names method 8 in its low bits (RFC 1950 section 2.2), which begins no block that a compressor writes.
 */
function hasZlibHeader(input: Uint8Array): boolean {
  return ((input[0] ?? 0) & 0x0f) === 0x08;
}

/** First bytes of a zstd frame (RFC 8878 section 3.1.1); a skippable frame has 0x50–0x5f 2a 4d 18. */
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const SKIPPABLE_MAGIC_TAIL = Buffer.from([0x2a, 0x4d, 0x18]);

/** Whether another frame follows, as far as the bytes at hand tell. */
function startsZstdFrame(input: Uint8Array): boolean {
  const head = Buffer.from(input.subarray(0, ZSTD_MAGIC.length));
  const isSkippable = ((head[0] ?? 0) & 0xf0) === 0x50 && head.subarray(1).equals(SKIPPABLE_MAGIC_TAIL.subarray(0, head.length - 1));
  return isSkippable || head.equals(ZSTD_MAGIC.subarray(0, head.length));
}
