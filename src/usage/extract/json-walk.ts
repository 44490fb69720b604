/**
 * Walks one JSON document that arrives as bytes and tells a visitor of the containers, keys and short scalars on its
 * way, without building the document. The visitor says which containers are entered; the rest is stepped over by a
 * state machine, so memory does not depend on the size of the body. json-scan.ts captures values; this one counts.
 *
 * Entered containers are read strictly. Inside one that is stepped over only quotes, escapes and the number of
 * brackets are looked at: a fault in there is not noticed.
 */

import {
  BACKSLASH,
  BOM,
  BRACE_BIT,
  BYTE_CLASS,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  endsInEscape,
  NEAR_BYTES,
  OPEN_BRACE,
  OPEN_BRACKET,
  parseJson,
  QUOTE,
  SCALAR_CLASS,
  skipNumbers,
  SPACE_CLASS,
  STRUCTURE,
} from "./json-bytes.ts";

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

const EXPECT_VALUE = 0;
const EXPECT_VALUE_OR_CLOSE = 1;
const EXPECT_KEY = 2;
const EXPECT_KEY_OR_CLOSE = 3;
const EXPECT_COLON = 4;
const EXPECT_COMMA_OR_CLOSE = 5;
const IN_KEY = 6;
const IN_STRING = 7;
const IN_CONTAINER = 8;
const IN_SCALAR = 9;
const DONE = 10;
const BROKEN = 11;

const NO_BYTES = Buffer.alloc(0);

class Walker implements JsonWalk {
  private readonly visitor: JsonVisitor;
  private state = EXPECT_VALUE;
  private bomBytes = 0;
  /** Entered containers, outermost first. */
  private readonly isObject: boolean[] = [];
  /** Brackets open inside the container that is stepped over. */
  private depth = 0;
  private isInString = false;
  private isEscaped = false;
  /** What former chunks held of the key or scalar under way; `heldBytes` counts also what is not held. */
  private held: Buffer | undefined;
  private heldBytes = 0;
  private isWanted = false;

  constructor(visitor: JsonVisitor) {
    this.visitor = visitor;
  }

  push(chunk: Uint8Array): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = this.bomBytes < BOM.length ? this.skipBom(bytes) : 0;
    try {
      while (at < bytes.length) at = this.step(bytes, at);
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

  private step(bytes: Buffer, at: number): number {
    switch (this.state) {
      case IN_KEY:
        return this.readKey(bytes, at);
      case IN_STRING:
        return this.readString(bytes, at);
      case IN_CONTAINER:
        return this.readContainer(bytes, at);
      case IN_SCALAR:
        return this.readScalar(bytes, at);
      case BROKEN:
        return bytes.length;
      default:
        return this.readStructure(bytes, at);
    }
  }

  private readStructure(bytes: Buffer, at: number): number {
    const byte = bytes[at] as number;
    if (BYTE_CLASS[byte] === SPACE_CLASS) return at + 1;
    switch (this.state) {
      case EXPECT_VALUE_OR_CLOSE:
        return byte === CLOSE_BRACKET ? this.close(bytes, at) : this.beginValue(bytes, at);
      case EXPECT_VALUE:
        return this.beginValue(bytes, at);
      case EXPECT_KEY_OR_CLOSE:
        return byte === CLOSE_BRACE ? this.close(bytes, at) : this.beginKey(bytes, at);
      case EXPECT_KEY:
        return this.beginKey(bytes, at);
      case EXPECT_COLON:
        if (byte !== COLON) return this.fail(bytes);
        this.state = EXPECT_VALUE;
        return at + 1;
      case EXPECT_COMMA_OR_CLOSE:
        if (byte !== COMMA) return this.close(bytes, at);
        this.state = this.isObject.at(-1) === true ? EXPECT_KEY : EXPECT_VALUE;
        return at + 1;
      default:
        return this.fail(bytes);
    }
  }

  private close(bytes: Buffer, at: number): number {
    if (bytes[at] !== (this.isObject.at(-1) === true ? CLOSE_BRACE : CLOSE_BRACKET)) return this.fail(bytes);
    this.isObject.pop();
    this.visitor.leave();
    this.endValue();
    return at + 1;
  }

  private endValue(): void {
    this.state = this.isObject.length === 0 ? DONE : EXPECT_COMMA_OR_CLOSE;
  }

  private beginKey(bytes: Buffer, at: number): number {
    if (bytes[at] !== QUOTE) return this.fail(bytes);
    this.heldBytes = 0;
    this.state = IN_KEY;
    return at + 1;
  }

  private readKey(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    if (after === -1) {
      this.hold(bytes, from, bytes.length, MAX_KEY_BYTES);
      return bytes.length;
    }
    const to = after - 1;
    if (this.heldBytes === 0) this.tellKey(bytes, from, to);
    else {
      this.hold(bytes, from, to, MAX_KEY_BYTES);
      this.tellKey(this.held ?? NO_BYTES, 0, this.heldBytes);
    }
    if (this.state === IN_KEY) this.state = EXPECT_COLON;
    return after;
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

  private beginValue(bytes: Buffer, at: number): number {
    const byte = bytes[at] as number;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) return this.beginContainer(byte === OPEN_BRACE, at);
    if (byte !== QUOTE && BYTE_CLASS[byte] !== SCALAR_CLASS) return this.fail(bytes);
    this.isWanted = this.visitor.wantsScalar;
    this.heldBytes = 0;
    this.state = byte === QUOTE ? IN_STRING : IN_SCALAR;
    return byte === QUOTE ? at + 1 : at;
  }

  private beginContainer(isObject: boolean, at: number): number {
    if (this.visitor.enter(isObject)) {
      this.isObject.push(isObject);
      this.state = isObject ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
    } else {
      this.state = IN_CONTAINER;
      this.depth = 1;
    }
    return at + 1;
  }

  private readString(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    const to = after === -1 ? bytes.length : after - 1;
    if (after !== -1) this.endString(bytes, from, to);
    else if (this.isWanted) this.hold(bytes, from, to, MAX_SCALAR_BYTES);
    return after === -1 ? bytes.length : after;
  }

  private endString(bytes: Buffer, from: number, to: number): void {
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
    this.endValue();
  }

  private readScalar(bytes: Buffer, from: number): number {
    let at = from;
    while (at < bytes.length && BYTE_CLASS[bytes[at] as number] === SCALAR_CLASS) at++;
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
    this.endValue();
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

  /** The hot loop: only quotes and brackets matter. */
  private readContainer(bytes: Buffer, from: number): number {
    const length = bytes.length;
    let at = from;
    if (this.isInString) {
      at = this.stringEnd(bytes, at);
      if (at === -1) return length;
      this.isInString = false;
    }
    let depth = this.depth;
    while (at < length) {
      const byte = bytes[at++] as number;
      if (byte === QUOTE) {
        at = this.stringEnd(bytes, at);
        if (at === -1) {
          this.isInString = true;
          this.depth = depth;
          return length;
        }
      } else if (byte === COMMA) {
        at = skipNumbers(bytes, at);
      } else if (STRUCTURE[byte] !== 0) {
        if ((byte | BRACE_BIT) === OPEN_BRACE) depth++;
        else if (--depth === 0) {
          this.endValue();
          return at;
        }
      }
    }
    this.depth = depth;
    return length;
  }

  /** The index after the quote that ends the open string, or -1 when the string goes on in the next chunk. */
  private stringEnd(bytes: Buffer, from: number): number {
    const length = bytes.length;
    let at = from;
    if (this.isEscaped && at < length) {
      this.isEscaped = false;
      at++;
    }
    for (;;) {
      const near = Math.min(at + NEAR_BYTES, length);
      while (at < near) {
        const byte = bytes[at++] as number;
        if (byte === QUOTE) return at;
        if (byte === BACKSLASH && at++ === length) {
          this.isEscaped = true;
          return -1;
        }
      }
      if (at >= length) return -1;
      const quote = bytes.indexOf(QUOTE, at);
      const isEscape = endsInEscape(bytes, at, quote === -1 ? length : quote);
      if (quote === -1) {
        this.isEscaped = isEscape;
        return -1;
      }
      if (!isEscape) return quote + 1;
      at = quote + 1;
    }
  }

  /** A byte order mark may come first (RFC 8259 section 8.1 lets a reader ignore it). */
  private skipBom(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && bytes[at] === BOM[this.bomBytes]) {
      at++;
      if (++this.bomBytes === BOM.length) return at;
    }
    if (at === bytes.length) return at;
    if (this.bomBytes > 0) this.state = BROKEN;
    this.bomBytes = BOM.length;
    return at;
  }

  private fail(bytes: Buffer): number {
    this.state = BROKEN;
    return bytes.length;
  }
}
