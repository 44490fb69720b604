/**
 * WebSocket messages out of the bytes of one direction (RFC 6455; RFC 7692 where negotiated), for meters. The traffic
 * itself passes unchanged: this reads a copy of it and answers nothing. Incremental, synchronous, bounded. Knows nothing
 * of what a message means.
 *
 * What it costs: unmasking and UTF-8 run at 1 GB/s and more, a small compressed message takes some 10 µs, the largest one
 * a few ms of inflating. A peer that sends nothing but tiny compressed messages or bombs makes a chunk of 64 KiB take
 * 100 to 200 ms: feed in batches, behind the traffic.
 */

import { createFrameReader, isControl, OPCODE, PayloadBuffer } from "./websocket-frames.ts";
import type { FrameFault, FrameHead, FrameReader, Mask, WebSocketDirection } from "./websocket-frames.ts";
import { createMessageInflater } from "./websocket-inflate.ts";
import type { DeflateParameters, InflateFault, MessageInflater } from "./websocket-inflate.ts";

/**
 * Why reading ended. Beside the faults of frames and of compression: `invalid_continuation` (a continuation of nothing,
 * or a new message inside an unfinished one), `invalid_close` (a close payload of one byte), `unknown_extension`
 * (the answer of `readExtensions`: no decoder can be made).
 */
export type WebSocketFault = FrameFault | InflateFault | "invalid_continuation" | "invalid_close" | "unknown_extension";

export type WebSocketMessage =
  /** Bytes that are no UTF-8 are replaced by U+FFFD: the receiver fails the connection for them, a meter need not. */
  | { readonly kind: "text"; readonly text: string }
  /** Only valid during the call; do not change it. */
  | { readonly kind: "binary"; readonly bytes: Uint8Array }
  /** A message over a bound passed unread. `bytes`: its payload as sent (compressed where it was). */
  | { readonly kind: "oversized"; readonly bytes: number };

export interface WebSocketLimits {
  /** Most bytes of a message, inflated; a larger one is reported as oversized. */
  readonly maxMessageBytes: number;
  /** Most bytes held of an unfinished message, as sent; a larger one is oversized too. A window of 32 KiB at most comes beside it. */
  readonly maxHeldBytes: number;
}

/** The terminal message of a response repeats its whole output, images in base64 included. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** The largest message also when compression made it larger: by 5 bytes for each stored block, commonly of 16 KiB or more. */
export const MAX_HELD_BYTES = MAX_MESSAGE_BYTES + 64 * 1024;

/** Callbacks are called inside `feed`, in wire order. */
export interface WebSocketDecoderOptions {
  /** Who sends these bytes. */
  readonly direction: WebSocketDirection;
  /** What `readExtensions` says of this direction. */
  readonly deflate: DeflateParameters | undefined;
  /** Defaults: MAX_MESSAGE_BYTES, MAX_HELD_BYTES. */
  readonly limits?: Partial<WebSocketLimits>;
  /** A message is whole; oversized ones too are reported at their end. */
  readonly onMessage: (message: WebSocketMessage) => void;
  /** A close frame passed, the last frame of a direction. 1005: it has no code (RFC 6455 section 7.1.5). Codes are not judged. */
  readonly onClose?: (code: number) => void;
  /** Called once: the bytes cannot be understood from here on. Nothing is reported after it. */
  readonly onFault: (reason: WebSocketFault) => void;
}

/** Decodes one direction, from the first byte after the head of the 101. */
export interface WebSocketDecoder {
  /**
   * Takes bytes cut anywhere, also empty; they are neither kept nor changed. What a callback throws is thrown from here,
   * the first error of several, after the rest of the chunk was read: the decoder stays usable. Must not be called from
   * a callback.
   */
  feed(chunk: Uint8Array): void;
  /** A close frame or a fault passed: everything is ignored, nothing is held. */
  readonly isOver: boolean;
  /** Memory held between two calls: the unfinished message and the window. */
  readonly heldBytes: number;
}

/** Makes a decoder. */
export function createWebSocketDecoder(options: WebSocketDecoderOptions): WebSocketDecoder {
  return new MessageDecoder(options);
}

const NO_CLOSE_CODE = 1005;
const CLOSE_CODE_BYTES = 2;

/** A byte order mark is text here: no layer below says otherwise. */
const UTF_8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A message whose end has not passed. */
interface Message {
  readonly isText: boolean;
  readonly isCompressed: boolean;
  /** Payload of the frames that have begun. */
  bytes: number;
  isOversized: boolean;
}

class MessageDecoder implements WebSocketDecoder {
  isOver = false;
  private readonly options: WebSocketDecoderOptions;
  private readonly limits: WebSocketLimits;
  private readonly frames: FrameReader;
  private inflater: MessageInflater | undefined;
  private frame: FrameHead | undefined;
  private message: Message | undefined;
  private readonly payload = new PayloadBuffer();
  private readonly close = new PayloadBuffer();
  /** What a callback threw: held until the chunk is read. */
  private thrown: { readonly error: unknown } | undefined;

  constructor(options: WebSocketDecoderOptions) {
    this.options = options;
    this.limits = {
      maxMessageBytes: options.limits?.maxMessageBytes ?? MAX_MESSAGE_BYTES,
      maxHeldBytes: options.limits?.maxHeldBytes ?? MAX_HELD_BYTES,
    };
    this.inflater = options.deflate && createMessageInflater(options.deflate, this.limits.maxMessageBytes);
    this.frames = createFrameReader({
      direction: options.direction,
      onHead: (head) => this.beginFrame(head),
      onPayload: (piece, mask) => this.takePayload(piece, mask),
      onEnd: () => this.endFrame(),
      onFault: (reason) => this.fail(reason),
    });
  }

  get heldBytes(): number {
    return this.payload.heldBytes + this.close.heldBytes + (this.inflater?.heldBytes ?? 0);
  }

  feed(chunk: Uint8Array): void {
    this.frames.feed(chunk);
    if (this.thrown === undefined) return;
    const { error } = this.thrown;
    this.thrown = undefined;
    throw error;
  }

  private beginFrame(head: FrameHead): void {
    const isFirst = head.opcode === OPCODE.text || head.opcode === OPCODE.binary;
    if (head.hasRsv1 && (!isFirst || this.inflater === undefined)) return this.fail("reserved_bits");
    this.frame = head;
    if (isControl(head.opcode)) return;
    if (isFirst === (this.message !== undefined)) return this.fail("invalid_continuation");
    this.message ??= { isText: head.opcode === OPCODE.text, isCompressed: head.hasRsv1, bytes: 0, isOversized: false };
    this.message.bytes += head.length;
    if (this.message.bytes <= this.maxPayloadBytes(this.message)) return;
    this.message.isOversized = true;
    this.payload.clear();
  }

  private maxPayloadBytes({ isCompressed }: Message): number {
    const { maxHeldBytes, maxMessageBytes } = this.limits;
    return isCompressed ? maxHeldBytes : Math.min(maxHeldBytes, maxMessageBytes);
  }

  private takePayload(piece: Uint8Array, mask: Mask | undefined): void {
    if (this.frame === undefined) return;
    if (!isControl(this.frame.opcode)) this.takeMessagePayload(this.frame, piece, mask);
    else if (this.frame.opcode === OPCODE.close && this.close.length < CLOSE_CODE_BYTES) {
      // The reason behind the code is text, which nobody here needs.
      this.close.append(piece.subarray(0, CLOSE_CODE_BYTES - this.close.length), mask, CLOSE_CODE_BYTES);
    }
  }

  private takeMessagePayload(frame: FrameHead, piece: Uint8Array, mask: Mask | undefined): void {
    if (this.message === undefined || this.message.isOversized) return;
    const mostBytes = frame.isFinal ? this.message.bytes : this.maxPayloadBytes(this.message);
    // A piece that is all of the payload is read where it lies.
    if (mask === undefined && frame.isFinal && piece.length === this.message.bytes) this.endMessage(this.message, piece);
    else this.payload.append(piece, mask, mostBytes);
  }

  private endFrame(): void {
    if (this.frame?.opcode === OPCODE.close) this.endWithClose();
    else if (this.frame?.isFinal === true && !isControl(this.frame.opcode) && this.message !== undefined) {
      this.endMessage(this.message, this.payload.take());
    }
  }

  private endWithClose(): void {
    const code = this.close.take();
    if (code.length === 1) return this.fail("invalid_close");
    this.stop();
    this.guard(() => this.options.onClose?.(code.length === 0 ? NO_CLOSE_CODE : (code[0] as number) * 256 + (code[1] as number)));
  }

  private endMessage(message: Message, payload: Uint8Array): void {
    this.message = undefined;
    if (message.isOversized) {
      if (message.isCompressed) this.inflater?.skip();
      this.report({ kind: "oversized", bytes: message.bytes });
    } else if (message.isCompressed && this.inflater !== undefined) this.endCompressed(message, this.inflater, payload);
    else this.reportPayload(message, payload);
  }

  private endCompressed(message: Message, inflater: MessageInflater, payload: Uint8Array): void {
    const inflated = inflater.inflate(payload);
    switch (inflated.kind) {
      case "inflated":
        return this.reportPayload(message, inflated.bytes);
      case "oversized":
        return this.report({ kind: "oversized", bytes: message.bytes });
      case "fault":
        return this.fail(inflated.reason);
      default:
        return inflated satisfies never;
    }
  }

  private reportPayload({ isText }: Message, bytes: Uint8Array): void {
    this.report(isText ? { kind: "text", text: UTF_8.decode(bytes) } : { kind: "binary", bytes });
  }

  private report(message: WebSocketMessage): void {
    this.guard(() => this.options.onMessage(message));
  }

  private fail(reason: WebSocketFault): void {
    this.stop();
    this.guard(() => this.options.onFault(reason));
  }

  private stop(): void {
    this.isOver = true;
    this.frames.stop();
    this.message = undefined;
    this.payload.clear();
    this.close.clear();
    this.inflater = undefined;
  }

  private guard(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.thrown ??= { error };
    }
  }
}
