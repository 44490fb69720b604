/**
 * Newline-delimited JSON out of bytes: the ndjson package behind a bound on what is held and a defined end. Knows
 * nothing of what a record means. (reference/model-usage.md sections 3.1 and 12.)
 *
 * The package is a stream. It reports inside `write` as long as it flows and is only ever given more when it has
 * reported everything, which holds here; a test pins it. What it does not do well is left out of its reach: it looks
 * again at all of an unfinished line with each chunk (1 MiB in chunks of 256 bytes: 1.6 s), so it is given whole lines
 * only; and a line `null` ends its stream, so that one is not given to it at all.
 */

import type { Duplex } from "node:stream";
// @ts-expect-error: the package has no types.
import { parse } from "ndjson";

/** The bytes of one line that is too long to be held, from its first one. The line's end is not among them. */
export interface LongLine {
  push(chunk: Uint8Array): void;
  /** The line is over, or the stream is. */
  end(): void;
}

export interface NdjsonReaderOptions {
  /** Called inside `push` or `end`, in stream order, with the value of each line that is JSON and not null. */
  readonly onRecord: (record: unknown) => void;
  /** Most bytes held of a line, without its end. Default 1 MiB. */
  readonly maxLineBytes?: number;
  /** Called for each line that is longer, in stream order. Without it, or where it gives undefined, the line is skipped. */
  readonly onLongLine?: () => LongLine | undefined;
}

/** Reads one stream. Memory is bounded by `maxLineBytes`; time is linear however the stream is cut. */
export interface NdjsonReader {
  /**
   * Takes bytes cut anywhere; they are not kept. Lines that are no JSON are skipped. Does not throw for any input;
   * what a callback throws is thrown from here, the first error of several, after the rest of the chunk was read.
   */
  push(chunk: Uint8Array): void;
  /** Reads a last line that lacks its end. Idempotent; a `push` after it is ignored. Throws as `push` does. */
  end(): void;
  /** True after `end` when the last line lacked its end: it may be cut. */
  readonly endedInsideLine: boolean;
  /** Lines so far that were no JSON: a last line that was cut is one. Blank lines, those that begin as `null` does and those that were too long are not. */
  readonly badLines: number;
}

const DEFAULT_MAX_LINE_BYTES = 1024 * 1024;

/** Makes a reader for one stream. */
export function createNdjsonReader(options: NdjsonReaderOptions): NdjsonReader {
  return new RecordReader(options);
}

const LF = 0x0a;
const N = 0x6e;
const LINE_END = Buffer.from("\n");
const FIRST_HELD_BYTES = 1024;

/** White space that may stand before a record. */
const BLANK = new Set([0x20, 0x09, 0x0d]);

const openParser: (options: { readonly strict: boolean; readonly maxLength: number; readonly skipOverflow: boolean }) => Duplex = parse;

class RecordReader implements NdjsonReader {
  endedInsideLine = false;
  private lines = 0;
  private records = 0;
  private readonly options: NdjsonReaderOptions;
  private readonly maxLineBytes: number;
  private readonly parser: Duplex;
  /** The line that is not over yet, as far as it came: its first `heldBytes` bytes. */
  private held: Buffer = Buffer.alloc(0);
  private heldBytes = 0;
  private isLong = false;
  private longLine: LongLine | undefined;
  private isClosed = false;
  /** What a callback threw: held until the parser returned, as it would take the error for one of its own. */
  private thrown: { readonly error: unknown } | undefined;

  constructor(options: NdjsonReaderOptions) {
    this.options = options;
    this.maxLineBytes = options.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES;
    this.parser = openParser({ strict: false, maxLength: this.maxLineBytes, skipOverflow: true });
    this.parser.on("data", (record: unknown) => {
      this.records++;
      this.guard(() => this.options.onRecord(record));
    });
    // No input leads here. Without a listener a fault of the package would end the process.
    this.parser.on("error", () => this.close());
  }

  get badLines(): number {
    return this.lines - this.records;
  }

  push(chunk: Uint8Array): void {
    // Slices of the longest line's size: a line that lies in one of them whole is short enough.
    for (let from = 0; from < chunk.length && !this.isClosed; from += this.maxLineBytes) {
      this.take(chunk.subarray(from, from + this.maxLineBytes));
    }
    this.rethrow();
  }

  end(): void {
    if (this.isClosed) return;
    this.endedInsideLine = this.isLong || this.heldBytes > 0;
    if (this.endedInsideLine) this.endLine(new Uint8Array(0));
    this.close();
    this.rethrow();
  }

  /** Reads the lines that end in a slice, as few writes as possible, and holds what is left. */
  private take(slice: Uint8Array): void {
    let lineStart = 0;
    let runStart = 0;
    for (let at = slice.indexOf(LF); at !== -1; at = slice.indexOf(LF, lineStart)) {
      if (lineStart === 0 && (this.isLong || this.heldBytes > 0)) {
        this.endLine(slice.subarray(0, at));
        runStart = at + 1;
      } else if (!hasRecord(slice, lineStart, at)) {
        this.write(slice.subarray(runStart, lineStart));
        runStart = at + 1;
      } else this.lines++;
      lineStart = at + 1;
    }
    this.write(slice.subarray(runStart, lineStart));
    this.hold(slice.subarray(lineStart));
  }

  private hold(bytes: Uint8Array): void {
    if (!this.isLong && this.heldBytes + bytes.length > this.maxLineBytes) this.beginLongLine();
    if (this.isLong) this.guard(() => this.longLine?.push(bytes));
    else this.append(bytes);
  }

  /** The held line ends with these bytes. */
  private endLine(rest: Uint8Array): void {
    this.hold(rest);
    if (this.isLong) {
      this.guard(() => this.longLine?.end());
      this.longLine = undefined;
      this.isLong = false;
      return;
    }
    const line = this.held.subarray(0, this.heldBytes);
    this.heldBytes = 0;
    if (!hasRecord(line, 0, line.length)) return;
    this.lines++;
    this.write(line);
    this.write(LINE_END);
  }

  private beginLongLine(): void {
    this.isLong = true;
    const start = this.held.subarray(0, this.heldBytes);
    this.guard(() => {
      this.longLine = this.options.onLongLine?.();
      if (start.length > 0) this.longLine?.push(start);
    });
    this.held = Buffer.alloc(0);
    this.heldBytes = 0;
  }

  private append(bytes: Uint8Array): void {
    const size = this.heldBytes + bytes.length;
    if (size > this.held.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.maxLineBytes, Math.max(size, this.held.length * 2, FIRST_HELD_BYTES)));
      this.held.copy(grown, 0, 0, this.heldBytes);
      this.held = grown;
    }
    this.held.set(bytes, this.heldBytes);
    this.heldBytes = size;
  }

  private write(bytes: Uint8Array): void {
    if (bytes.length > 0 && !this.isClosed) this.parser.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  }

  private close(): void {
    this.isClosed = true;
    this.held = Buffer.alloc(0);
    this.heldBytes = 0;
  }

  private guard(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.thrown ??= { error };
    }
  }

  private rethrow(): void {
    if (this.thrown === undefined) return;
    const { error } = this.thrown;
    this.thrown = undefined;
    throw error;
  }
}

/** Whether a line is neither blank nor `null`. */
function hasRecord(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end && BLANK.has(bytes[at] ?? 0)) at++;
  return at < end && bytes[at] !== N;
}
