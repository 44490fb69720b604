/**
 * HTTP/2 frames by hand (RFC 9113 section 4), for peers that must be able to send what no library sends. `Http2Wire`
 * speaks either side of one connection: it answers SETTINGS and PING, opens its windows wide, and records the rest.
 */

import type { Duplex } from "node:stream";

import { createFieldDecoder, encodeFields, type FieldList } from "./fidelity-hpack.ts";

export const FRAME = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, pushPromise: 5, ping: 6, goaway: 7, windowUpdate: 8, continuation: 9 } as const;
export const FLAG = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;
/** RFC 9113 section 7. */
export const H2_CODE = { noError: 0, protocol: 1, internal: 2, flowControl: 3, refused: 7, cancel: 8, enhanceYourCalm: 11, http11Required: 13 } as const;
export const SETTING = { headerTableSize: 1, enablePush: 2, maxStreams: 3, initialWindow: 4, maxFrameBytes: 5, maxHeaderListBytes: 6, connectProtocol: 8 } as const;
export const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
export const MAX_WINDOW = 2 ** 31 - 1;

const HEAD_BYTES = 9;
const MAX_FRAME_BYTES = 16_384;
const DEFAULT_WINDOW = 65_535;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** HEADERS, and CONTINUATION where the block is longer than a frame. */
export function headersFrames(streamId: number, fields: FieldList, isEnd: boolean): Buffer {
  const block = encodeFields(fields);
  const parts: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME_BYTES) {
    const isLast = at + MAX_FRAME_BYTES >= block.length;
    const flags = (isLast ? FLAG.endHeaders : 0) | (at === 0 && isEnd ? FLAG.endStream : 0);
    parts.push(frame(at === 0 ? FRAME.headers : FRAME.continuation, flags, streamId, block.subarray(at, at + MAX_FRAME_BYTES)));
  }
  return Buffer.concat(parts);
}

export function dataFrame(streamId: number, bytes: string | Uint8Array, isEnd: boolean): Buffer {
  return frame(FRAME.data, isEnd ? FLAG.endStream : 0, streamId, typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  settings.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return frame(FRAME.settings, 0, 0, payload);
}

export function resetFrame(streamId: number, code: number): Buffer {
  return frame(FRAME.reset, 0, streamId, uint32(code));
}

export function windowFrame(streamId: number, increment: number): Buffer {
  return frame(FRAME.windowUpdate, 0, streamId, uint32(increment));
}

export function goawayFrame(lastStreamId: number, code: number): Buffer {
  return frame(FRAME.goaway, 0, 0, Buffer.concat([uint32(lastStreamId), uint32(code)]));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** What arrived on one stream. */
export interface WireStream {
  readonly id: number;
  /** Header blocks in order: interim heads, head, trailers. */
  readonly blocks: string[][];
  /** How many bytes of data came before each block. */
  readonly blockAt: number[];
  data: string;
  isEnded: boolean;
  /** The code of the RST_STREAM that ended it. */
  resetCode: number | undefined;
}

export interface WireOptions {
  readonly settings?: readonly (readonly [id: number, value: number])[];
  /** Called after each frame of a stream. */
  readonly onStream?: (stream: WireStream) => void;
}

/** One end of a connection. Everything that comes is recorded; nothing is refused. */
export class Http2Wire {
  readonly socket: Duplex;
  readonly streams = new Map<number, WireStream>();
  readonly frames: Frame[] = [];
  /** The code of the peer's GOAWAY. */
  goawayCode: number | undefined;
  isClosed = false;
  isEnded = false;
  #buffer: Buffer = Buffer.alloc(0);
  #hasPreface: boolean;
  #block: { streamId: number; isEnd: boolean; parts: Buffer[] } | undefined;
  /** What the peer lets us send: on the connection, on a new stream, on streams that we sent on. */
  #window = DEFAULT_WINDOW;
  #initialWindow = DEFAULT_WINDOW;
  readonly #windows = new Map<number, number>();
  readonly #waiting: { streamId: number; bytes: Buffer; isEnd: boolean }[] = [];
  readonly #afterFlush: (() => void)[] = [];
  readonly #decoder = createFieldDecoder();
  readonly #onStream: ((stream: WireStream) => void) | undefined;

  constructor(socket: Duplex, side: "client" | "server", options: WireOptions = {}) {
    this.socket = socket;
    this.#hasPreface = side === "client";
    this.#onStream = options.onStream;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("end", () => (this.isEnded = true));
    socket.on("close", () => (this.isClosed = true));
    socket.on("error", () => undefined);
    if (side === "client") socket.write(PREFACE, "latin1");
    const settings = options.settings ?? [[SETTING.initialWindow, MAX_WINDOW]];
    this.write(settingsFrame(settings), windowFrame(0, MAX_WINDOW - DEFAULT_WINDOW));
  }

  write(...frames: readonly Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  /** Sends data within the peer's windows, in frames that it takes; what it does not take yet waits. */
  send(streamId: number, bytes: string, isEnd: boolean): void {
    this.#waiting.push({ streamId, bytes: Buffer.from(bytes, "latin1"), isEnd });
    this.#flush();
  }

  /** Sends a header block behind the data of its stream; at once where none waits. */
  sendTrailers(streamId: number, fields: FieldList): void {
    const trySend = (): void => {
      if (this.#waiting.some((piece) => piece.streamId === streamId)) this.#afterFlush.push(trySend);
      else this.write(headersFrames(streamId, fields, true));
    };
    trySend();
  }

  #flush(): void {
    for (let i = 0; i < this.#waiting.length; ) {
      const piece = this.#waiting[i] as { streamId: number; bytes: Buffer; isEnd: boolean };
      const window = this.#windows.get(piece.streamId) ?? this.#initialWindow;
      const length = Math.min(piece.bytes.length, MAX_FRAME_BYTES, this.#window, window);
      const isHeldBack = (length === 0 && piece.bytes.length > 0) || this.#waiting.findIndex(({ streamId }) => streamId === piece.streamId) < i;
      if (isHeldBack) {
        i += 1;
        continue;
      }
      const isLast = length === piece.bytes.length;
      this.write(dataFrame(piece.streamId, piece.bytes.subarray(0, length), isLast && piece.isEnd));
      this.#window -= length;
      this.#windows.set(piece.streamId, window - length);
      piece.bytes = piece.bytes.subarray(length);
      if (isLast) this.#waiting.splice(i, 1);
    }
    for (const next of this.#afterFlush.splice(0)) next();
  }

  #widen({ type, streamId, payload }: Frame): void {
    if (type === FRAME.windowUpdate) {
      const increment = payload.readUInt32BE(0);
      if (streamId === 0) this.#window += increment;
      else this.#windows.set(streamId, (this.#windows.get(streamId) ?? this.#initialWindow) + increment);
    } else {
      for (let at = 0; at + 6 <= payload.length; at += 6) {
        if (payload.readUInt16BE(at) !== SETTING.initialWindow) continue;
        const change = payload.readUInt32BE(at + 2) - this.#initialWindow;
        this.#initialWindow += change;
        for (const [id, window] of this.#windows) this.#windows.set(id, window + change);
      }
    }
    this.#flush();
  }

  /** The stream as far as it has come; an empty one where nothing has. */
  stream(id: number): WireStream {
    let stream = this.streams.get(id);
    if (stream === undefined) {
      stream = { id, blocks: [], blockAt: [], data: "", isEnded: false, resetCode: undefined };
      this.streams.set(id, stream);
    }
    return stream;
  }

  #take(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    if (!this.#hasPreface) {
      if (this.#buffer.length < PREFACE.length) return;
      this.#buffer = this.#buffer.subarray(PREFACE.length);
      this.#hasPreface = true;
    }
    while (this.#buffer.length >= HEAD_BYTES) {
      const length = this.#buffer.readUIntBE(0, 3);
      if (this.#buffer.length < HEAD_BYTES + length) return;
      const payload = this.#buffer.subarray(HEAD_BYTES, HEAD_BYTES + length);
      const next: Frame = { type: this.#buffer[3] as number, flags: this.#buffer[4] as number, streamId: this.#buffer.readUInt32BE(5) & MAX_WINDOW, payload };
      this.#buffer = this.#buffer.subarray(HEAD_BYTES + length);
      this.frames.push(next);
      this.#receive(next);
    }
  }

  #receive(received: Frame): void {
    const { type, flags, streamId, payload } = received;
    if (type === FRAME.settings && (flags & FLAG.ack) === 0) {
      this.write(frame(FRAME.settings, FLAG.ack, 0));
      this.#widen(received);
    } else if (type === FRAME.windowUpdate) this.#widen(received);
    else if (type === FRAME.ping && (flags & FLAG.ack) === 0) this.write(frame(FRAME.ping, FLAG.ack, 0, payload));
    else if (type === FRAME.goaway) this.goawayCode = payload.readUInt32BE(4);
    else if (type === FRAME.headers) {
      this.#block = { streamId, isEnd: (flags & FLAG.endStream) !== 0, parts: [withoutPadding(payload, flags)] };
      if ((flags & FLAG.endHeaders) !== 0) this.#endBlock();
    } else if (type === FRAME.continuation) {
      this.#block?.parts.push(payload);
      if ((flags & FLAG.endHeaders) !== 0) this.#endBlock();
    } else if (type === FRAME.data || type === FRAME.reset) {
      const stream = this.stream(streamId);
      if (type === FRAME.reset) stream.resetCode = payload.readUInt32BE(0);
      else {
        stream.data += withoutPadding(payload, flags).toString("latin1");
        if ((flags & FLAG.endStream) !== 0) stream.isEnded = true;
      }
      this.#onStream?.(stream);
    }
  }

  #endBlock(): void {
    if (this.#block === undefined) return;
    const { streamId, isEnd, parts } = this.#block;
    this.#block = undefined;
    const stream = this.stream(streamId);
    stream.blocks.push(this.#decoder.decode(Buffer.concat(parts)));
    stream.blockAt.push(stream.data.length);
    if (isEnd) stream.isEnded = true;
    this.#onStream?.(stream);
  }
}

/** RFC 9113 sections 6.1 and 6.2: the pad length in front, the priority fields behind it. */
function withoutPadding(payload: Buffer, flags: number): Buffer {
  const isPadded = (flags & FLAG.padded) !== 0;
  const padding = isPadded ? (payload[0] ?? 0) : 0;
  const start = (isPadded ? 1 : 0) + ((flags & FLAG.priority) !== 0 ? 5 : 0);
  return payload.subarray(start, payload.length - padding);
}
