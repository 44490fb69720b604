/**
 * Finds values at given paths in one JSON document that arrives as bytes, without building the document. Only wanted
 * values are held (bounded) and given to JSON.parse; the rest is stepped over (json-machine.ts). Does not know what a value
 * means, nor newline-delimited JSON.
 */

import { hasBackslash, OPEN_BRACE, OPEN_BRACKET, parseJson, QUOTE, SCALAR_CLASS, BYTE_CLASS } from "./json-bytes.ts";
import { BROKEN, DONE, IN_SCALAR, IN_STRING, JsonMachine } from "./json-machine.ts";
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

class Scanner extends JsonMachine implements JsonScan {
  private readonly onValue: (path: JsonPath, value: unknown) => void;
  private readonly onOversize: ((path: JsonPath) => void) | undefined;
  private readonly onMember: (() => void) | undefined;
  private readonly maxValueBytes: number;

  /** Open containers on the way to a wanted path, outermost first: no more than the longest path has steps. */
  private readonly nodes: PathNode[] = [];
  /** Where the coming value stands; undefined: no path leads there. */
  private valueNode: PathNode | undefined;
  /** A key that is split over chunks; more than MAX_KEY_BYTES means that it was too long to be held. */
  private heldKey: Buffer | undefined;
  private keyBytes = 0;

  /** The value being captured, and where it starts (or goes on) in the current chunk. */
  private capturing: PathNode | undefined;
  private captureFrom = 0;
  /** What former chunks held of it. */
  private captured: Buffer | undefined;
  private capturedBytes = 0;

  constructor(options: JsonScanOptions) {
    super();
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
    this.captureFrom = 0;
    this.run(bytes);
    if (this.capturing !== undefined) this.keepCaptured(bytes, bytes.length);
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

  protected nextElement(): void {
    this.valueNode = this.nodes[this.nodes.length - 1]?.other;
  }

  protected leave(): void {
    this.nodes.pop();
  }

  protected beginKey(): void {
    this.keyBytes = 0;
  }

  protected key(bytes: Buffer, from: number, to: number, isOver: boolean): void {
    if (isOver && this.keyBytes === 0) this.valueNode = this.nodeOfKey(bytes, from, to);
    else this.keepKey(bytes, from, to);
    if (isOver && this.keyBytes > 0) this.valueNode = this.nodeOfKey(this.heldKey ?? bytes, 0, this.keyBytes);
  }

  private keepKey(bytes: Buffer, from: number, to: number): void {
    const length = this.keyBytes + to - from;
    if (length <= MAX_KEY_BYTES) {
      this.heldKey ??= Buffer.allocUnsafeSlow(MAX_KEY_BYTES);
      bytes.copy(this.heldKey, this.keyBytes, from, to);
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

  protected beginValue(bytes: Buffer, at: number): number {
    const node = this.valueNode;
    const isWanted = node !== undefined && node.paths.length > 0;
    if (isWanted) this.beginCapture(node, at);
    const byte = bytes[at] as number;
    switch (byte) {
      case QUOTE:
        this.state = IN_STRING;
        return at + 1;
      case OPEN_BRACE:
        if (!isWanted && node !== undefined && leadsOn(node)) return this.enterNode(node, true, at);
        break;
      case OPEN_BRACKET:
        if (!isWanted && node?.other !== undefined) return this.enterNode(node, false, at);
        break;
      default:
        if (BYTE_CLASS[byte] !== SCALAR_CLASS) return this.fail(bytes);
        this.state = IN_SCALAR;
        return at + 1;
    }
    return this.skip(at);
  }

  private enterNode(node: PathNode, isObject: boolean, at: number): number {
    this.nodes.push(node);
    this.valueNode = node.other;
    return this.enter(isObject, at);
  }

  protected readString(bytes: Buffer, from: number): number {
    const after = this.stringEnd(bytes, from);
    return after === -1 ? bytes.length : this.endValue(bytes, after);
  }

  protected readScalar(bytes: Buffer, from: number): number {
    const at = this.scalarEnd(bytes, from);
    return at === bytes.length ? at : this.endValue(bytes, at);
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

  protected valueEnded(bytes: Buffer, to: number): void {
    if (this.capturing !== undefined) this.endCapture(bytes, to);
    if (this.nodes.length === 1) this.endMember();
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

  protected override fail(bytes: Buffer): number {
    this.capturing = undefined;
    this.captured = undefined;
    return super.fail(bytes);
  }
}
