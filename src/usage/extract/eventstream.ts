/**
 * Messages out of an `application/vnd.amazon.eventstream` body: framing, both checksums and typed headers. Incremental
 * over pieces of any size and bounded. Knows nothing of what a message means. (reference/model-usage.md section 3.4;
 * header types as in the AWS SDK's event stream codec.)
 *
 *     u32 total_length | u32 headers_length | u32 crc32 of these 8 bytes
 *     headers: (u8 name length, name, u8 type, value)…
 *     payload: total_length - headers_length - 16 bytes
 *     u32 crc32 of everything before it                               all big-endian
 *
 * A fault ends the reading: no frame after a broken one can be trusted to begin where it seems to.
 */

import { crc32 } from "node:zlib";

/** Integers of 64 bits are bigint, a timestamp is a Date, a UUID is its text. Byte arrays are copies. */
export type EventStreamHeader = boolean | number | bigint | string | Uint8Array | Date;

export interface EventStreamMessage {
  /** By name as sent; of repeated names the last. May be shared by messages with the same headers. */
  readonly headers: ReadonlyMap<string, EventStreamHeader>;
  /** Only valid during the call. */
  readonly payload: Buffer;
}

/** Why reading ended: a checksum of prelude or message, lengths that cannot be, a frame over the bound, broken headers. */
export type EventStreamFault = "prelude_checksum" | "message_checksum" | "bad_length" | "frame_too_large" | "bad_headers";

export interface EventStreamReaderOptions {
  /** Called inside `push`, in stream order. What it throws leaves `push`, and the reader must not be used after it. */
  readonly onMessage: (message: EventStreamMessage) => void;
  /** Largest frame that is read. Default MAX_FRAME_BYTES. */
  readonly maxFrameBytes?: number;
}

/** Reads one stream. Holds no more than the bytes of one unfinished frame that have come. */
export interface EventStreamReader {
  /** Takes bytes cut anywhere; they are not kept. Ignored after a fault. */
  push(chunk: Uint8Array): void;
  /** Undefined while all is well. */
  readonly fault: EventStreamFault | undefined;
  /** A frame has begun and is not whole: at the end of a stream it was cut. */
  readonly isInsideFrame: boolean;
}

/** The largest message of AWS's own implementation (aws-c-event-stream, AWS_EVENT_STREAM_MAX_MESSAGE_SIZE). */
export const MAX_FRAME_BYTES = 24 * 1024 * 1024;

/** Makes a reader for one stream. */
export function createEventStreamReader(options: EventStreamReaderOptions): EventStreamReader {
  return new FrameReader(options);
}

const PRELUDE_BYTES = 12;
const CHECKSUM_BYTES = 4;
/** The two lengths, which the prelude's checksum covers. */
const LENGTHS_BYTES = 8;
const MIN_FRAME_BYTES = PRELUDE_BYTES + CHECKSUM_BYTES;

/** A larger buffer is not kept for the next frame that is split over chunks. */
const MAX_SPARE_BYTES = 64 * 1024;

class FrameReader implements EventStreamReader {
  fault: EventStreamFault | undefined;
  private readonly onMessage: (message: EventStreamMessage) => void;
  private readonly maxFrameBytes: number;
  private readonly headers = new HeaderReader();
  /** What former chunks had of the frame that is not whole. */
  private held: Buffer = Buffer.alloc(0);
  private heldBytes = 0;
  /** The checksum of the frame that is read next was found right. */
  private isIntact = false;

  constructor(options: EventStreamReaderOptions) {
    this.onMessage = options.onMessage;
    this.maxFrameBytes = options.maxFrameBytes ?? MAX_FRAME_BYTES;
  }

  get isInsideFrame(): boolean {
    return this.heldBytes > 0;
  }

  push(chunk: Uint8Array): void {
    if (this.fault !== undefined || chunk.length === 0) return;
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = this.heldBytes > 0 ? this.completeHeld(bytes) : 0;
    while (this.fault === undefined && bytes.length - at >= PRELUDE_BYTES) {
      const length = this.intactFrameBytes(bytes, at) ?? this.frameBytes(bytes, at);
      if (length === undefined || bytes.length - at < length) break;
      this.readFrame(bytes, at, length);
      at += length;
    }
    if (this.fault === undefined && at < bytes.length) this.hold(bytes, at, bytes.length - at);
  }

  /** Takes what the held frame lacks from the start of a chunk. Returns the index after it. */
  private completeHeld(bytes: Buffer): number {
    let at = this.take(bytes, 0, PRELUDE_BYTES);
    if (this.heldBytes < PRELUDE_BYTES) return at;
    const length = this.frameBytes(this.held, 0);
    if (length === undefined) return at;
    at = this.take(bytes, at, length);
    if (this.heldBytes < length) return at;
    const frame = this.held;
    this.heldBytes = 0;
    if (frame.length > MAX_SPARE_BYTES) this.held = Buffer.alloc(0);
    this.readFrame(frame, 0, length);
    return at;
  }

  /** Holds more of a chunk until `wantedBytes` are held. Returns the index after what was taken. */
  private take(bytes: Buffer, at: number, wantedBytes: number): number {
    const count = Math.min(bytes.length - at, Math.max(0, wantedBytes - this.heldBytes));
    if (count > 0) this.hold(bytes, at, count);
    return at + count;
  }

  /** Grows with what has come, not with what the frame claims to be. */
  private hold(bytes: Buffer, from: number, count: number): void {
    const needed = this.heldBytes + count;
    if (needed > this.held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(2 * this.held.length, this.maxFrameBytes)));
      this.held.copy(grown, 0, 0, this.heldBytes);
      this.held = grown;
    }
    bytes.copy(this.held, this.heldBytes, from, from + count);
    this.heldBytes = needed;
  }

  /** The length of the frame whose prelude stands at `at`; undefined and a fault when that cannot be. */
  private frameBytes(bytes: Buffer, at: number): number | undefined {
    const checksum = crc32(bytes.subarray(at, at + LENGTHS_BYTES));
    if (checksum !== bytes.readUInt32BE(at + LENGTHS_BYTES)) return this.fail("prelude_checksum");
    const length = bytes.readUInt32BE(at);
    if (length < MIN_FRAME_BYTES || bytes.readUInt32BE(at + 4) > length - MIN_FRAME_BYTES) return this.fail("bad_length");
    return length > this.maxFrameBytes ? this.fail("frame_too_large") : length;
  }

  /** The length of a frame that is here as a whole: the message's checksum covers its prelude too. Else undefined. */
  private intactFrameBytes(bytes: Buffer, at: number): number | undefined {
    const length = bytes.readUInt32BE(at);
    const isHere = length >= MIN_FRAME_BYTES && length <= Math.min(bytes.length - at, this.maxFrameBytes);
    if (!isHere || bytes.readUInt32BE(at + 4) > length - MIN_FRAME_BYTES) return undefined;
    this.isIntact = isMessageIntact(bytes, at, length);
    return this.isIntact ? length : undefined;
  }

  private readFrame(bytes: Buffer, at: number, length: number): void {
    const isIntact = this.isIntact || isMessageIntact(bytes, at, length);
    this.isIntact = false;
    if (!isIntact) return this.fail("message_checksum");
    const payloadAt = at + PRELUDE_BYTES + bytes.readUInt32BE(at + 4);
    const headers = this.headers.read(bytes.subarray(at + PRELUDE_BYTES, payloadAt));
    if (headers === undefined) return this.fail("bad_headers");
    this.onMessage({ headers, payload: bytes.subarray(payloadAt, at + length - CHECKSUM_BYTES) });
  }

  private fail(fault: EventStreamFault): undefined {
    this.fault = fault;
    this.held = Buffer.alloc(0);
    this.heldBytes = 0;
    return undefined;
  }
}

function isMessageIntact(bytes: Buffer, at: number, length: number): boolean {
  const checksumAt = at + length - CHECKSUM_BYTES;
  return crc32(bytes.subarray(at, checksumAt)) === bytes.readUInt32BE(checksumAt);
}

/** Larger blocks of headers are not remembered. */
const MAX_REMEMBERED_BYTES = 1024;

/** Nearly every frame of a stream has the headers of the one before it: those are parsed once. */
class HeaderReader {
  private lastBlock: Buffer = Buffer.alloc(0);
  private last: ReadonlyMap<string, EventStreamHeader> = new Map();

  /** Undefined: the block is broken. */
  read(block: Buffer): ReadonlyMap<string, EventStreamHeader> | undefined {
    if (block.equals(this.lastBlock)) return this.last;
    const headers = parseHeaders(block);
    if (headers !== undefined && block.length <= MAX_REMEMBERED_BYTES) {
      this.lastBlock = Buffer.from(block);
      this.last = headers;
    }
    return headers;
  }
}

function parseHeaders(block: Buffer): ReadonlyMap<string, EventStreamHeader> | undefined {
  const headers = new Map<string, EventStreamHeader>();
  let at = 0;
  while (at < block.length) {
    const typeAt = at + 1 + (block[at] as number);
    const value = typeAt < block.length ? readValue(block, typeAt) : undefined;
    if (value === undefined) return undefined;
    headers.set(block.toString("utf8", at + 1, typeAt), value.value);
    at = value.end;
  }
  return headers;
}

interface ReadValue {
  readonly value: EventStreamHeader;
  /** Index after it. */
  readonly end: number;
}

const LENGTH_BYTES = 2;
const UUID_BYTES = 16;

/** The value whose type byte stands at `typeAt`; undefined: unknown type, or cut. */
function readValue(block: Buffer, typeAt: number): ReadValue | undefined {
  const at = typeAt + 1;
  switch (block[typeAt]) {
    case 0:
      return { value: true, end: at };
    case 1:
      return { value: false, end: at };
    case 2:
      return fixed(block, at, 1, () => block.readInt8(at));
    case 3:
      return fixed(block, at, 2, () => block.readInt16BE(at));
    case 4:
      return fixed(block, at, 4, () => block.readInt32BE(at));
    case 5:
      return fixed(block, at, 8, () => block.readBigInt64BE(at));
    case 6:
      return variable(block, at, (from, to) => Uint8Array.from(block.subarray(from, to)));
    case 7:
      return variable(block, at, (from, to) => block.toString("utf8", from, to));
    case 8:
      return fixed(block, at, 8, () => new Date(Number(block.readBigInt64BE(at))));
    case 9:
      return fixed(block, at, UUID_BYTES, () => uuidText(block.toString("hex", at, at + UUID_BYTES)));
    default:
      return undefined;
  }
}

function fixed(block: Buffer, at: number, bytes: number, read: () => EventStreamHeader): ReadValue | undefined {
  const end = at + bytes;
  return end > block.length ? undefined : { value: read(), end };
}

function variable(block: Buffer, at: number, read: (from: number, to: number) => EventStreamHeader): ReadValue | undefined {
  const from = at + LENGTH_BYTES;
  if (from > block.length) return undefined;
  const end = from + block.readUInt16BE(at);
  return end > block.length ? undefined : { value: read(from, end), end };
}

function uuidText(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
