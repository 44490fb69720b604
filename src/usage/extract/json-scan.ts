/**
 * Finds values at given paths in one JSON document that arrives as bytes, without building the document. Only wanted
 * values are held (bounded) and given to JSON.parse; the rest is stepped over by a state machine that knows strings,
 * escapes and nesting, so memory does not depend on the size of the body. Does not know what a value means, nor
 * newline-delimited JSON.
 *
 * Containers on the way to a wanted path are read strictly. Inside a value that is stepped over only quotes, escapes
 * and the number of brackets are looked at: a fault in there is not noticed.
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
  hasBackslash,
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
import { compilePaths, leadsOn, nodeOfBytes, nodeOfText } from "./json-path.ts";
import type { JsonPath, PathNode } from "./json-path.ts";

export type { JsonPath } from "./json-path.ts";

export interface JsonScanOptions {
  /**
   * The values to capture. Give a constant array: what is derived from it is kept as long as the array lives.
   * A path may lead into a value that another one captures (["usage"] and ["*", "id"]): the inner values come after
   * the outer one, as JSON.parse has them (the last of repeated keys), and not at all when the outer one is too large.
   */
  readonly paths: readonly JsonPath[];
  /**
   * Called inside `push` (or `end`) for each occurrence, in document order. `path` is the array object that was given
   * in `paths`. Repeated keys are repeated calls: which one counts is the caller's business. What it throws leaves
   * `push`, and the scan is broken from there.
   */
  readonly onValue: (path: JsonPath, value: unknown) => void;
  /** Largest captured value, in bytes as sent. Default 256 KiB. A larger one is stepped over. */
  readonly maxValueBytes?: number;
  /** Called in place of `onValue` for a value that is too large. */
  readonly onOversize?: (path: JsonPath) => void;
  /**
   * Called when a member of the outermost array or object is over, after the values in it, where a path leads into
   * that container (["*", "id"] into any, ["usage"] into an object). What it throws is treated as of `onValue`.
   */
  readonly onMember?: () => void;
}

/** The scan of one document. Takes linear time however the document is split; nothing is kept per level of nesting. */
export interface JsonScan {
  /** Takes bytes cut anywhere; they are not kept. Does not throw for malformed input. */
  push(chunk: Uint8Array): void;
  /** The document is over. True when exactly one whole document was seen and nothing broke. Idempotent. */
  end(): boolean;
  /** The input is not JSON, or not only one document. What was captured before stays; further input is ignored. */
  readonly isBroken: boolean;
}

/** Makes a scan. Cheap when `paths` is an array that was used before. */
export function createJsonScan(options: JsonScanOptions): JsonScan {
  return new Scanner(options);
}

const DEFAULT_MAX_VALUE_BYTES = 256 * 1024;

/** A key longer than this (bytes as sent, escapes included) is matched by "*" only. */
const MAX_KEY_BYTES = 256;

const FIRST_CAPTURE_BYTES = 1024;

// What is expected next, or what is being read. Numbers, as they are compared for every token.
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

class Scanner implements JsonScan {
  private readonly onValue: (path: JsonPath, value: unknown) => void;
  private readonly onOversize: ((path: JsonPath) => void) | undefined;
  private readonly onMember: (() => void) | undefined;
  private readonly maxValueBytes: number;

  private state = EXPECT_VALUE;
  /** Bytes of the byte order mark seen; its length once the document began. */
  private bomBytes = 0;
  /** Open containers on the way to a wanted path, outermost first: no more than the longest path has steps. */
  private readonly nodes: PathNode[] = [];
  private readonly isObject: boolean[] = [];
  /** Where the coming value stands; undefined: no path leads there. */
  private valueNode: PathNode | undefined;
  /** Brackets open inside the value that is stepped over. */
  private depth = 0;
  /** Inside IN_CONTAINER: a string is open. */
  private isInString = false;
  /** The last byte was a backslash that escapes the next one. */
  private isEscaped = false;

  /** A key that is split over chunks; more than MAX_KEY_BYTES means that it was too long to be held. */
  private key: Buffer | undefined;
  private keyBytes = 0;

  /** The value being captured, and where it starts (or goes on) in the current chunk. */
  private capturing: PathNode | undefined;
  private captureFrom = 0;
  /** What former chunks held of it. */
  private captured: Buffer | undefined;
  private capturedBytes = 0;

  constructor(options: JsonScanOptions) {
    this.onValue = options.onValue;
    this.onOversize = options.onOversize;
    this.onMember = options.onMember;
    this.maxValueBytes = options.maxValueBytes ?? DEFAULT_MAX_VALUE_BYTES;
    this.valueNode = compilePaths(options.paths);
  }

  get isBroken(): boolean {
    return this.state === BROKEN;
  }

  push(chunk: Uint8Array): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const length = bytes.length;
    let at = this.bomBytes < BOM.length ? this.skipBom(bytes) : 0;
    this.captureFrom = 0;
    while (at < length) at = this.step(bytes, at);
    if (this.capturing !== undefined) this.keepCaptured(bytes, length);
  }

  end(): boolean {
    // Only the end tells that a number is over when it is the whole document.
    if (this.state === IN_SCALAR && this.nodes.length === 0) {
      this.captureFrom = 0;
      this.endValue(Buffer.alloc(0), 0);
    }
    if (this.state === DONE) return true;
    this.capturing = undefined;
    this.captured = undefined;
    return false;
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
        return byte === CLOSE_BRACE ? this.close(bytes, at) : this.beginKey(bytes, at);
      case EXPECT_KEY:
        return this.beginKey(bytes, at);
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
    const top = this.nodes.length - 1;
    if (this.isObject[top] === true) this.state = EXPECT_KEY;
    else {
      this.valueNode = this.nodes[top]?.other;
      this.state = EXPECT_VALUE;
    }
    return at + 1;
  }

  private close(bytes: Buffer, at: number): number {
    const closing = this.isObject.at(-1) === true ? CLOSE_BRACE : CLOSE_BRACKET;
    if (bytes[at] !== closing) return this.fail(bytes);
    this.nodes.pop();
    this.isObject.pop();
    this.state = this.nodes.length === 0 ? DONE : EXPECT_COMMA_OR_CLOSE;
    if (this.nodes.length === 1) this.endMember();
    return at + 1;
  }

  private beginKey(bytes: Buffer, at: number): number {
    if (bytes[at] !== QUOTE) return this.fail(bytes);
    this.keyBytes = 0;
    this.state = IN_KEY;
    return at + 1;
  }

  private readKey(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    const isOver = after !== -1;
    const to = isOver ? after - 1 : bytes.length;
    if (isOver && this.keyBytes === 0) this.valueNode = this.nodeOfKey(bytes, from, to);
    else this.keepKey(bytes, from, to);
    if (!isOver) return bytes.length;
    if (this.keyBytes > 0) this.valueNode = this.nodeOfKey(this.key ?? bytes, 0, this.keyBytes);
    // A key that is no string in JSON has broken the scan.
    if (this.state === IN_KEY) this.state = EXPECT_COLON;
    return after;
  }

  private keepKey(bytes: Buffer, from: number, to: number): void {
    const length = this.keyBytes + to - from;
    if (length <= MAX_KEY_BYTES) {
      this.key ??= Buffer.allocUnsafeSlow(MAX_KEY_BYTES);
      bytes.copy(this.key, this.keyBytes, from, to);
    }
    this.keyBytes = length;
  }

  /** Which node a key of the innermost container leads to. */
  private nodeOfKey(bytes: Buffer, from: number, to: number): PathNode | undefined {
    const node = this.nodes[this.nodes.length - 1];
    if (node === undefined) return undefined;
    if (to - from > MAX_KEY_BYTES) return node.other;
    const named = nodeOfBytes(node, bytes, from, to);
    if (named !== undefined) return named;
    return hasBackslash(bytes, from, to) ? this.nodeOfEscapedKey(node, bytes.toString("utf8", from, to)) : node.other;
  }

  private nodeOfEscapedKey(node: PathNode, raw: string): PathNode | undefined {
    const text = parseJson(`"${raw}"`);
    if (text === undefined) this.state = BROKEN;
    return typeof text === "string" ? nodeOfText(node, text) : undefined;
  }

  private beginValue(bytes: Buffer, at: number): number {
    const node = this.valueNode;
    const isWanted = node !== undefined && node.paths.length > 0;
    if (isWanted) this.beginCapture(node, at);
    const byte = bytes[at] as number;
    switch (byte) {
      case QUOTE:
        this.state = IN_STRING;
        return at + 1;
      case OPEN_BRACE:
        if (!isWanted && node !== undefined && leadsOn(node)) return this.enter(node, true, at);
        break;
      case OPEN_BRACKET:
        if (!isWanted && node?.other !== undefined) return this.enter(node, false, at);
        break;
      default:
        if (BYTE_CLASS[byte] !== SCALAR_CLASS) return this.fail(bytes);
        this.state = IN_SCALAR;
        return at + 1;
    }
    this.state = IN_CONTAINER;
    this.depth = 1;
    return at + 1;
  }

  private enter(node: PathNode, isObject: boolean, at: number): number {
    this.nodes.push(node);
    this.isObject.push(isObject);
    this.valueNode = node.other;
    this.state = isObject ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
    return at + 1;
  }

  private readString(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    return after === -1 ? bytes.length : this.endValue(bytes, after);
  }

  private readScalar(bytes: Buffer, from: number): number {
    let at = from;
    while (at < bytes.length && BYTE_CLASS[bytes[at] as number] === SCALAR_CLASS) at++;
    return at === bytes.length ? at : this.endValue(bytes, at);
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

  private beginCapture(node: PathNode, at: number): void {
    this.capturing = node;
    this.captureFrom = at;
    this.capturedBytes = 0;
  }

  /** Keeps what the chunk, which is over, has of the value. */
  private keepCaptured(bytes: Buffer, to: number): void {
    const length = this.capturedBytes + to - this.captureFrom;
    if (length > this.maxValueBytes) return this.giveUpCapture();
    if (this.captured === undefined || this.captured.length < length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.maxValueBytes, Math.max(FIRST_CAPTURE_BYTES, length * 2)));
      this.captured?.copy(grown, 0, 0, this.capturedBytes);
      this.captured = grown;
    }
    bytes.copy(this.captured, this.capturedBytes, this.captureFrom, to);
    this.capturedBytes = length;
  }

  private giveUpCapture(): void {
    const node = this.capturing;
    this.capturing = undefined;
    this.captured = undefined;
    if (node === undefined || this.onOversize === undefined) return;
    const { onOversize } = this;
    for (const path of node.paths) this.tell(() => onOversize(path));
  }

  /** A value is over; `to` is the index after it. */
  private endValue(bytes: Buffer, to: number): number {
    this.state = this.nodes.length === 0 ? DONE : EXPECT_COMMA_OR_CLOSE;
    if (this.capturing !== undefined) this.endCapture(bytes, to);
    if (this.nodes.length === 1) this.endMember();
    return to;
  }

  /** A member of the outermost container is over. Its value may have broken the scan. */
  private endMember(): void {
    const { onMember } = this;
    if (onMember !== undefined && this.state !== BROKEN) this.tell(onMember);
  }

  private endCapture(bytes: Buffer, to: number): void {
    const text = this.captureText(bytes, to);
    const node = this.capturing;
    this.capturing = undefined;
    // The value was too large.
    if (node === undefined) return;
    const value = parseJson(text);
    if (value === undefined) this.state = BROKEN;
    else this.give(node, value);
  }

  /** Reports a captured value, and what other paths want inside it (no deeper than the longest path). */
  private give(node: PathNode, value: unknown): void {
    for (const path of node.paths) this.tell(() => this.onValue(path, value));
    if (typeof value !== "object" || value === null || !leadsOn(node)) return;
    for (const [key, child] of Object.entries(value)) {
      const next = Array.isArray(value) ? node.other : nodeOfText(node, key);
      if (next !== undefined) this.give(next, child);
    }
  }

  private captureText(bytes: Buffer, to: number): string {
    const isInOneChunk = this.capturedBytes === 0 && to - this.captureFrom <= this.maxValueBytes;
    if (isInOneChunk) return bytes.toString("utf8", this.captureFrom, to);
    this.keepCaptured(bytes, to);
    return this.captured === undefined ? "" : this.captured.toString("utf8", 0, this.capturedBytes);
  }

  private tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.state = BROKEN;
      throw error;
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

  /** Ends the scan. Returns the index that ends the chunk. */
  private fail(bytes: Buffer): number {
    this.state = BROKEN;
    this.capturing = undefined;
    this.captured = undefined;
    return bytes.length;
  }
}
