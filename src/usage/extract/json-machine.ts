/**
 * The state machine under both readings of a JSON document (json-scan.ts captures values, json-walk.ts counts): where in
 * the document a byte stands, and what is stepped over. Memory does not depend on the size of the body.
 *
 * Containers that are entered are read strictly. Inside one that is stepped over only quotes, escapes and the number of
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
  QUOTE,
  SCALAR_CLASS,
  skipNumbers,
  SPACE_CLASS,
  STRUCTURE,
} from "./json-bytes.ts";

// What is expected next, or what is being read. Numbers, as they are compared for every token.
export const EXPECT_VALUE = 0;
const EXPECT_VALUE_OR_CLOSE = 1;
const EXPECT_KEY = 2;
const EXPECT_KEY_OR_CLOSE = 3;
const EXPECT_COLON = 4;
const EXPECT_COMMA_OR_CLOSE = 5;
const IN_KEY = 6;
export const IN_STRING = 7;
const IN_CONTAINER = 8;
export const IN_SCALAR = 9;
export const DONE = 10;
export const BROKEN = 11;

/** One document. What a subclass throws leaves `run`; it says itself what is broken then. */
export abstract class JsonMachine {
  protected state = EXPECT_VALUE;
  /** Entered containers, outermost first. */
  protected readonly isObject: boolean[] = [];
  /** Bytes of the byte order mark seen; its length once the document began. */
  private bomBytes = 0;
  /** Brackets open inside the container that is stepped over. */
  private depth = 0;
  /** Inside IN_CONTAINER: a string is open. */
  private isInString = false;
  /** The last byte was a backslash that escapes the next one. */
  private isEscaped = false;

  /** A key, or what the chunk has of it: `to` is its end, without the quote. */
  protected abstract key(bytes: Buffer, from: number, to: number, isOver: boolean): void;
  /** A key begins. */
  protected abstract beginKey(): void;
  /** A value begins at its first byte: sets the state, or calls `enter`, `skip` or `fail`. Returns the index that is read next. */
  protected abstract beginValue(bytes: Buffer, at: number): number;
  /** A string as `key`, without its quotes; the index is where it ends in this chunk. */
  protected abstract readString(bytes: Buffer, from: number): number;
  protected abstract readScalar(bytes: Buffer, from: number): number;
  /** The next element of an entered array comes. */
  protected abstract nextElement(): void;
  /** The innermost entered container is over, and its value is about to end. */
  protected abstract leave(): void;
  /** The value is over; `to` is the index after it. Called by `endValue`, when the state is that behind it. */
  protected abstract valueEnded(bytes: Buffer, to: number): void;

  /** Reads a chunk. */
  protected run(bytes: Buffer): void {
    let at = this.bomBytes < BOM.length ? this.skipBom(bytes) : 0;
    while (at < bytes.length) at = this.step(bytes, at);
  }

  protected enter(isObject: boolean, at: number): number {
    this.isObject.push(isObject);
    this.state = isObject ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
    return at + 1;
  }

  protected skip(at: number): number {
    this.state = IN_CONTAINER;
    this.depth = 1;
    return at + 1;
  }

  /** Ends the value that is read. Returns `to`. */
  protected endValue(bytes: Buffer, to: number): number {
    this.state = this.isObject.length === 0 ? DONE : EXPECT_COMMA_OR_CLOSE;
    this.valueEnded(bytes, to);
    return to;
  }

  /** The input is no JSON. Returns the index that ends the chunk. */
  protected fail(bytes: Buffer): number {
    this.state = BROKEN;
    return bytes.length;
  }

  /** The index behind the number or word that goes on at `from`: that of the chunk's end where it may go on. */
  protected scalarEnd(bytes: Buffer, from: number): number {
    let at = from;
    while (at < bytes.length && BYTE_CLASS[bytes[at] as number] === SCALAR_CLASS) at++;
    return at;
  }

  /** Reads one token, or what the chunk has of it. Returns the index after it. */
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
        return byte === CLOSE_BRACE ? this.close(bytes, at) : this.openKey(bytes, at);
      case EXPECT_KEY:
        return this.openKey(bytes, at);
      case EXPECT_COLON:
        if (byte !== COLON) return this.fail(bytes);
        this.state = EXPECT_VALUE;
        return at + 1;
      case EXPECT_COMMA_OR_CLOSE:
        return byte === COMMA ? this.nextMember(at) : this.close(bytes, at);
      default:
        return this.fail(bytes);
    }
  }

  private nextMember(at: number): number {
    if (this.isObject[this.isObject.length - 1] === true) this.state = EXPECT_KEY;
    else {
      this.nextElement();
      this.state = EXPECT_VALUE;
    }
    return at + 1;
  }

  private close(bytes: Buffer, at: number): number {
    if (bytes[at] !== (this.isObject.at(-1) === true ? CLOSE_BRACE : CLOSE_BRACKET)) return this.fail(bytes);
    this.isObject.pop();
    this.leave();
    return this.endValue(bytes, at + 1);
  }

  private openKey(bytes: Buffer, at: number): number {
    if (bytes[at] !== QUOTE) return this.fail(bytes);
    this.beginKey();
    this.state = IN_KEY;
    return at + 1;
  }

  private readKey(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    const isOver = after !== -1;
    this.key(bytes, from, isOver ? after - 1 : bytes.length, isOver);
    if (!isOver) return bytes.length;
    // A key that is no string in JSON has broken the reading.
    if (this.state === IN_KEY) this.state = EXPECT_COLON;
    return after;
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
        else if (--depth === 0) return this.endValue(bytes, at);
      }
    }
    this.depth = depth;
    return length;
  }

  /** The index after the quote that ends the open string, or -1 when the string goes on in the next chunk. */
  protected stringEnd(bytes: Buffer, from: number): number {
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

  /** A byte order mark may come first (split as anything else); RFC 8259 section 8.1 lets a reader ignore it. */
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
}
