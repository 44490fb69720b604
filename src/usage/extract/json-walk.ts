/**
 * Walks one JSON document that arrives as bytes and tells a visitor of the containers, keys and short scalars on its
 * way, without building the document. The visitor says which containers are entered; the rest is stepped over
 * (json-machine.ts). json-scan.ts captures values; this one counts.
 */

import { BYTE_CLASS, OPEN_BRACE, OPEN_BRACKET, parseJson, QUOTE, SCALAR_CLASS } from "./json-bytes.ts";
import { BROKEN, DONE, IN_SCALAR, IN_STRING, JsonMachine } from "./json-machine.ts";

/** Is told what comes, in document order. What it throws leaves `push`, and the walk is broken from there. */
export interface JsonVisitor {
  /** A container begins. False: it is stepped over, and `leave` is not called for it. As many levels as are entered are kept. */
  enter(isObject: boolean): boolean;
  leave(): void;
  /** A key of the entered object: its bytes as sent, between the quotes, in [from, to). `text` decodes them. Keys longer than MAX_KEY_BYTES are told as empty ones. */
  keyBytes(bytes: Uint8Array, from: number, to: number, text: () => string): void;
  /** Asked before a scalar: whether its value matters. */
  readonly wantsScalar: boolean;
  /** A scalar. null: null, or its value does not matter. undefined: it is a string longer than MAX_SCALAR_BYTES. */
  scalar(value: string | number | boolean | null | undefined): void;
}

/** The walk over one document. Takes linear time however the document is split. */
export interface JsonWalk {
  /** Takes bytes cut anywhere; they are not kept. Does not throw for malformed input. */
  push(chunk: Uint8Array): void;
  /** The document is over. True when exactly one whole document was seen and nothing broke. Idempotent. */
  end(): boolean;
}

export const MAX_SCALAR_BYTES = 1024;
export const MAX_KEY_BYTES = 256;

/** Makes a walk of one document. */
export function createJsonWalk(visitor: JsonVisitor): JsonWalk {
  return new Walker(visitor);
}

const NO_BYTES = Buffer.alloc(0);

class Walker extends JsonMachine implements JsonWalk {
  private readonly visitor: JsonVisitor;
  /** What former chunks held of the key or scalar under way; `heldBytes` counts also what is not held. */
  private held: Buffer | undefined;
  private heldBytes = 0;
  private isWanted = false;

  constructor(visitor: JsonVisitor) {
    super();
    this.visitor = visitor;
  }

  push(chunk: Uint8Array): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    try {
      this.run(bytes);
    } catch (error) {
      this.state = BROKEN;
      throw error;
    }
  }

  end(): boolean {
    // Only the end tells that a number is over when it is the whole document.
    if (this.state === IN_SCALAR && this.isObject.length === 0) this.endScalar(NO_BYTES, 0, 0);
    return this.state === DONE;
  }

  protected nextElement(): void {
    // Elements are told apart by what comes of them.
  }

  protected leave(): void {
    this.visitor.leave();
  }

  protected valueEnded(): void {
    // A visitor was told of the value itself.
  }

  protected beginKey(): void {
    this.heldBytes = 0;
  }

  protected key(bytes: Buffer, from: number, to: number, isOver: boolean): void {
    if (isOver && this.heldBytes === 0) return this.tellKey(bytes, from, to);
    this.hold(bytes, from, to, MAX_KEY_BYTES);
    if (isOver) this.tellKey(this.held ?? NO_BYTES, 0, this.heldBytes);
  }

  private tellKey(bytes: Buffer, from: number, to: number): void {
    if (to - from > MAX_KEY_BYTES) return this.visitor.keyBytes(NO_BYTES, 0, 0, () => "");
    this.visitor.keyBytes(bytes, from, to, () => {
      const text = parseJson(`"${bytes.toString("utf8", from, to)}"`);
      if (typeof text === "string") return text;
      this.state = BROKEN;
      return "";
    });
  }

  protected beginValue(bytes: Buffer, at: number): number {
    const byte = bytes[at] as number;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) return this.beginContainer(byte === OPEN_BRACE, at);
    if (byte !== QUOTE && BYTE_CLASS[byte] !== SCALAR_CLASS) return this.fail(bytes);
    this.isWanted = this.visitor.wantsScalar;
    this.heldBytes = 0;
    this.state = byte === QUOTE ? IN_STRING : IN_SCALAR;
    return byte === QUOTE ? at + 1 : at;
  }

  private beginContainer(isObject: boolean, at: number): number {
    return this.visitor.enter(isObject) ? this.enter(isObject, at) : this.skip(at);
  }

  protected readString(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    const to = after === -1 ? bytes.length : after - 1;
    if (after !== -1) this.endString(bytes, from, to, after);
    else if (this.isWanted) this.hold(bytes, from, to, MAX_SCALAR_BYTES);
    return after === -1 ? bytes.length : after;
  }

  private endString(bytes: Buffer, from: number, to: number, after: number): void {
    if (!this.isWanted) this.visitor.scalar(null);
    else {
      const text = this.heldText(bytes, from, to);
      const value = text === undefined ? undefined : parseJson(`"${text}"`);
      if (text !== undefined && value === undefined) {
        this.state = BROKEN;
        return;
      }
      this.visitor.scalar(typeof value === "string" ? value : undefined);
    }
    this.endValue(bytes, after);
  }

  protected readScalar(bytes: Buffer, from: number): number {
    const at = this.scalarEnd(bytes, from);
    if (at === bytes.length) this.hold(bytes, from, at, MAX_SCALAR_BYTES);
    else this.endScalar(bytes, from, at);
    return at;
  }

  /** A number, true, false or null: always parsed, so that a word that is none breaks the walk. */
  private endScalar(bytes: Buffer, from: number, to: number): void {
    const text = this.heldText(bytes, from, to);
    const value = text === undefined ? undefined : parseJson(text);
    if (value === undefined) {
      this.state = BROKEN;
      return;
    }
    this.visitor.scalar(this.isWanted && (typeof value === "number" || typeof value === "boolean") ? value : null);
    this.endValue(bytes, to);
  }

  /** undefined: it is too long. */
  private heldText(bytes: Buffer, from: number, to: number): string | undefined {
    if (this.heldBytes === 0) return to - from > MAX_SCALAR_BYTES ? undefined : bytes.toString("utf8", from, to);
    this.hold(bytes, from, to, MAX_SCALAR_BYTES);
    return this.heldBytes > MAX_SCALAR_BYTES ? undefined : this.held?.toString("utf8", 0, this.heldBytes);
  }

  private hold(bytes: Buffer, from: number, to: number, maxBytes: number): void {
    const length = this.heldBytes + to - from;
    if (length <= maxBytes) {
      this.held ??= Buffer.allocUnsafeSlow(MAX_SCALAR_BYTES);
      bytes.copy(this.held, this.heldBytes, from, to);
    }
    this.heldBytes = length;
  }
}
