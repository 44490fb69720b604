/**
 * WebSocket frames out of bytes (RFC 6455 section 5): heads, payload pieces and their masks, and the rules that one
 * frame can break by itself; and a buffer that gathers payload. What frames mean together is for websocket-messages.ts.
 */

/** Who sends the bytes: a client masks every frame, a server none (section 5.1). */
export type WebSocketDirection = "client" | "server";

/**
 * `masking`: a client's frame without a mask, or a server's with one. `reserved_bits`: RSV2 or RSV3. `invalid_length`:
 * 2^53 bytes or more. `fragmented_control`, `long_control`: section 5.5.
 */
export type FrameFault = "masking" | "reserved_bits" | "invalid_opcode" | "invalid_length" | "fragmented_control" | "long_control";

/** Section 5.2. */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

const OPCODES: ReadonlySet<number> = new Set(Object.values(OPCODE));

/** Whether an opcode is that of a control frame. */
export function isControl(opcode: number): boolean {
  return opcode >= OPCODE.close;
}

export interface FrameHead {
  readonly isFinal: boolean;
  /** RSV1: the message is compressed (RFC 7692 section 6). Whether it may stand here is for the caller to judge. */
  readonly hasRsv1: boolean;
  readonly opcode: number;
  /** Payload bytes, below 2^53. */
  readonly length: number;
}

/** How a piece of payload is masked. */
export interface Mask {
  /** 4 bytes; only valid during the call that it was given to. */
  readonly key: Uint8Array;
  /** Which byte of the key the first byte of the piece was combined with: 0 to 3. */
  readonly phase: number;
}

/** Called inside `feed`, in wire order: onHead, onPayload*, onEnd for each frame. None may throw. */
export interface FrameReaderOptions {
  readonly direction: WebSocketDirection;
  readonly onHead: (head: FrameHead) => void;
  /** A view of the fed chunk, never empty, still masked where `mask` says so. */
  readonly onPayload: (piece: Uint8Array, mask: Mask | undefined) => void;
  readonly onEnd: () => void;
  /** The last call. */
  readonly onFault: (reason: FrameFault) => void;
}

/** Reads the frames of one direction. */
export interface FrameReader {
  /** Takes bytes cut anywhere; they are neither kept nor changed. */
  feed(chunk: Uint8Array): void;
  /** Ignores everything from here on, also the rest of a chunk that is being read. */
  stop(): void;
}

/** Makes a reader. */
export function createFrameReader(options: FrameReaderOptions): FrameReader {
  return new Frames(options);
}

/** Two bytes, a length of up to eight, a masking key of four. */
const MAX_HEAD_BYTES = 14;
const KEY_BYTES = 4;

const MAX_CONTROL_BYTES = 125;
const LENGTH_IS_16_BIT = 126;
const LENGTH_IS_64_BIT = 127;
/** The upper half of the first 64-bit length that a number does not hold exactly. */
const UNSAFE_UPPER_HALF = 2 ** 21;

class Frames implements FrameReader {
  private readonly options: FrameReaderOptions;
  private readonly isMasked: boolean;
  private readonly head = Buffer.alloc(MAX_HEAD_BYTES);
  private headBytes = 0;
  /** Known from the second byte on. */
  private headNeeds = 2;
  private key: Uint8Array | undefined;
  private length = 0;
  /** Payload bytes that have passed. */
  private position = 0;
  private isStopped = false;

  constructor(options: FrameReaderOptions) {
    this.options = options;
    this.isMasked = options.direction === "client";
  }

  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && !this.isStopped) {
      if (this.position < this.length) at = this.readPayload(chunk, at);
      else this.readHeadByte(chunk[at++] as number);
    }
  }

  stop(): void {
    this.isStopped = true;
  }

  private readPayload(chunk: Uint8Array, from: number): number {
    const to = Math.min(chunk.length, from + this.length - this.position);
    const mask = this.key && { key: this.key, phase: this.position % KEY_BYTES };
    this.position += to - from;
    this.options.onPayload(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to), mask);
    if (this.position === this.length && !this.isStopped) this.options.onEnd();
    return to;
  }

  private readHeadByte(byte: number): void {
    this.head[this.headBytes++] = byte;
    if (this.headBytes < this.headNeeds) return;
    if (this.headBytes === 2) {
      const fault = this.judge();
      if (fault !== undefined) return this.fail(fault);
      this.headNeeds = this.headLength();
      if (this.headBytes < this.headNeeds) return;
    }
    this.openFrame();
  }

  /** What the first two bytes tell. */
  private judge(): FrameFault | undefined {
    const first = this.head[0] as number;
    const second = this.head[1] as number;
    const opcode = first & 0x0f;
    if ((first & 0x30) !== 0) return "reserved_bits";
    if (!OPCODES.has(opcode)) return "invalid_opcode";
    if (((second & 0x80) !== 0) !== this.isMasked) return "masking";
    if (!isControl(opcode)) return undefined;
    if ((first & 0x80) === 0) return "fragmented_control";
    return (second & 0x7f) > MAX_CONTROL_BYTES ? "long_control" : undefined;
  }

  private headLength(): number {
    const length = (this.head[1] as number) & 0x7f;
    const lengthBytes = length === LENGTH_IS_64_BIT ? 8 : length === LENGTH_IS_16_BIT ? 2 : 0;
    return 2 + lengthBytes + (this.isMasked ? KEY_BYTES : 0);
  }

  private openFrame(): void {
    const length = this.payloadLength();
    if (length === undefined) return this.fail("invalid_length");
    const first = this.head[0] as number;
    if (this.isMasked) this.key = this.head.subarray(this.headNeeds - KEY_BYTES, this.headNeeds);
    this.headBytes = 0;
    this.headNeeds = 2;
    this.length = length;
    this.position = 0;
    this.options.onHead({ isFinal: (first & 0x80) !== 0, hasRsv1: (first & 0x40) !== 0, opcode: first & 0x0f, length });
    if (length === 0 && !this.isStopped) this.options.onEnd();
  }

  /** A length in a longer form than it needs (section 5.2 forbids it) is read all the same: it says what passes. */
  private payloadLength(): number | undefined {
    const length = (this.head[1] as number) & 0x7f;
    if (length < LENGTH_IS_16_BIT) return length;
    if (length === LENGTH_IS_16_BIT) return this.head.readUInt16BE(2);
    const upperHalf = this.head.readUInt32BE(2);
    return upperHalf < UNSAFE_UPPER_HALF ? upperHalf * 2 ** 32 + this.head.readUInt32BE(6) : undefined;
  }

  private fail(reason: FrameFault): void {
    this.isStopped = true;
    this.options.onFault(reason);
  }
}

const NOTHING = new Uint8Array(0);

/** Payload that is gathered, unmasked. Grows with what has come, not with what a head announces: at most to twice that. */
export class PayloadBuffer {
  length = 0;
  private bytes: Uint8Array = NOTHING;

  get heldBytes(): number {
    return this.bytes.length;
  }

  /** Copies the piece. There will never be more than `mostBytes`, this piece included. */
  append(piece: Uint8Array, mask: Mask | undefined, mostBytes: number): void {
    const end = this.length + piece.length;
    if (end > this.bytes.length) this.grow(Math.max(end, Math.min(mostBytes, 2 * this.bytes.length)));
    this.bytes.set(piece, this.length);
    if (mask !== undefined) unmask(this.bytes.subarray(this.length, end), mask);
    this.length = end;
  }

  /** What was gathered, which is the caller's from here on. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.length);
    this.clear();
    return taken;
  }

  clear(): void {
    this.bytes = NOTHING;
    this.length = 0;
  }

  private grow(capacityBytes: number): void {
    // Not of the pool: a few bytes of it held would hold all of it.
    const grown = Buffer.allocUnsafeSlow(capacityBytes);
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}

/** Below this many bytes a view of words costs more than it saves. */
const WORDWISE_BYTES = 64;

/** Undoes the mask of `bytes` in place (section 5.3), 32 bits at a time. The mask's phase is that of the first byte. */
function unmask(bytes: Uint8Array, { key, phase }: Mask): void {
  const wordsFrom = bytes.length < WORDWISE_BYTES ? bytes.length : -bytes.byteOffset & 3;
  const wordCount = (bytes.length - wordsFrom) >> 2;
  const wordsTo = wordsFrom + wordCount * 4;
  for (let i = 0; i < wordsFrom; i++) bytes[i] = (bytes[i] as number) ^ (key[(phase + i) & 3] as number);
  if (wordCount > 0) unmaskWords(new Int32Array(bytes.buffer, bytes.byteOffset + wordsFrom, wordCount), key, phase + wordsFrom);
  for (let i = wordsTo; i < bytes.length; i++) bytes[i] = (bytes[i] as number) ^ (key[(phase + i) & 3] as number);
}

function unmaskWords(words: Int32Array, key: Uint8Array, phase: number): void {
  // Through bytes, so that the word has the machine's byte order, as `words` has.
  const rotated = new Uint8Array(KEY_BYTES);
  for (let i = 0; i < KEY_BYTES; i++) rotated[i] = key[(phase + i) & 3] as number;
  const keyWord = new Int32Array(rotated.buffer)[0] as number;
  for (let i = 0; i < words.length; i++) words[i] = (words[i] as number) ^ keyWord;
}
