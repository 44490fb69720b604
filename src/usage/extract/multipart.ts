/**
 * MIME multipart bodies (mixed, related, form-data) out of bytes, part by part: RFC 2046 section 5.1. Lines may end in
 * CRLF or in LF alone, as some clients write them. Knows nothing of what a part means; a part that is multipart itself
 * is given as its bytes.
 */

import type { RawHeaders } from "../../flow/headers.ts";

/** Takes the content of one part. */
export interface PartSink {
  /** In stream order, in pieces of any size, none empty. Only valid during the call. */
  push(chunk: Uint8Array): void;
  /**
   * Once, after the last push. Not whole: the body ended (or broke) inside the part; the last bytes of it, fewer than
   * a delimiter has, may then not have been given.
   */
  end(isWhole: boolean): void;
}

export interface MultipartReaderOptions {
  /** As `boundaryOf` gives it. */
  readonly boundary: string;
  /** Called for each part, before its content, with its header fields. Undefined: the content is stepped over. */
  readonly onPart: (headers: RawHeaders) => PartSink | undefined;
  /** Most bytes of the header fields of one part. Default 16 KiB. More breaks the reading. */
  readonly maxHeadBytes?: number;
}

/** Reads one body. Memory: the head of one part and a delimiter, whatever the size and number of the parts. */
export interface MultipartReader {
  /**
   * Takes bytes cut anywhere; they are not kept. Does not throw for any input. What a callback throws leaves `push`,
   * and the reading is broken from there.
   */
  push(chunk: Uint8Array): void;
  /** The body is over. True when its closing delimiter was seen. Idempotent; ends a part that is open. */
  end(): boolean;
  /** A head was too large, or a callback threw: further input is ignored. */
  readonly isBroken: boolean;
}

/** Makes a reader for one body. */
export function createMultipartReader(options: MultipartReaderOptions): MultipartReader {
  return new PartReader(options);
}

/** A part of a body that is held. */
export interface MultipartPart {
  readonly headers: RawHeaders;
  readonly body: Uint8Array;
  readonly isWhole: boolean;
}

/** More parts than this of one body are stepped over. */
export const MAX_PARTS = 1000;

/** The parts of a body that is held whole, or up to a cut: the first `maxParts`. Bytes that are no multipart give none. Does not throw. */
export function splitMultipart(bytes: Uint8Array, boundary: string, maxParts: number = MAX_PARTS): readonly MultipartPart[] {
  const parts: MultipartPart[] = [];
  let taken = 0;
  const reader = createMultipartReader({
    boundary,
    onPart(headers) {
      if (++taken > maxParts) return undefined;
      const chunks: Uint8Array[] = [];
      return {
        push: (chunk) => void chunks.push(Uint8Array.from(chunk)),
        end: (isWhole) => void parts.push({ headers, body: Buffer.concat(chunks), isWhole }),
      };
    },
  });
  reader.push(bytes);
  reader.end();
  return parts;
}

/** RFC 2046 allows 70 characters; clients have written more. */
const MAX_BOUNDARY_CHARS = 256;

/** The boundary that a Content-Type names; undefined where it is no multipart type or has none that can be used. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  if (contentType === undefined || !/^\s*multipart\//i.test(contentType)) return undefined;
  const boundary = parameterOf(contentType, "boundary")?.trimEnd();
  return boundary === undefined || boundary === "" || boundary.length > MAX_BOUNDARY_CHARS ? undefined : boundary;
}

/** A parameter of a structured header field ('form-data; name="a"'), unquoted; `lowerName` in lower case. The first counts. */
export function parameterOf(field: string, lowerName: string): string | undefined {
  for (const [, name = "", quoted, token] of field.matchAll(PARAMETER)) {
    if (name.toLowerCase() === lowerName) return quoted?.replaceAll(/\\(.)/gs, "$1") ?? token;
  }
  return undefined;
}

/** Steps over quoted strings, so that nothing inside of one is taken for a parameter. */
const PARAMETER = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))/gs;

const DEFAULT_MAX_HEAD_BYTES = 16 * 1024;

/** White space between a boundary and the end of its line: more, and the line is content. */
const MAX_PADDING_BYTES = 64;

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const DASH = 0x2d;

/** What stands after the boundary: the end of its line, the mark of the last one, neither, or not yet told. */
type Verdict = { readonly kind: "part" | "close"; readonly after: number } | { readonly kind: "content" } | { readonly kind: "undecided" };

const CONTENT: Verdict = { kind: "content" };
const UNDECIDED: Verdict = { kind: "undecided" };

class PartReader implements MultipartReader {
  isBroken = false;
  private readonly onPart: MultipartReaderOptions["onPart"];
  private readonly maxHeadBytes: number;
  private readonly delimiter: Buffer;
  private state: "preamble" | "head" | "content" | "done" = "preamble";
  /** The end of the last chunk, where a delimiter may have begun. */
  private held: Buffer = LINE_END;
  /** The first byte of what is held ends the head and is no content. */
  private startsAtLineEnd = false;
  /** Whole lines of the head, then what there is of the next one. */
  private lines: string[] = [];
  private line = "";
  private headBytes = 0;
  private sink: PartSink | undefined;
  private isPartOpen = false;
  private needsMore = false;

  constructor(options: MultipartReaderOptions) {
    this.onPart = options.onPart;
    this.maxHeadBytes = options.maxHeadBytes ?? DEFAULT_MAX_HEAD_BYTES;
    this.delimiter = Buffer.from(`\n--${options.boundary}`, "latin1");
  }

  push(chunk: Uint8Array): void {
    if (this.isBroken || this.state === "done" || chunk.length === 0) return;
    const bytes = Buffer.concat([this.held, chunk]);
    let at = 0;
    this.needsMore = false;
    try {
      while (at < bytes.length && !this.needsMore) at = this.step(bytes, at);
    } catch (error) {
      this.isBroken = true;
      throw error;
    }
    this.held = Buffer.from(bytes.subarray(at));
  }

  end(): boolean {
    this.held = Buffer.alloc(0);
    this.forgetHead();
    this.endPart(false);
    return this.state === "done" && !this.isBroken;
  }

  /** Reads on from `at`. The index that it came to; what is left there with `needsMore` is to be held. */
  private step(bytes: Buffer, at: number): number {
    switch (this.state) {
      case "head":
        return this.readHead(bytes, at);
      case "preamble":
      case "content":
        return this.readContent(bytes, at);
      case "done":
        return bytes.length;
    }
  }

  /** One line of a head, or what there is of it. */
  private readHead(bytes: Buffer, at: number): number {
    const lineFeed = bytes.indexOf(LF, at);
    const to = lineFeed === -1 ? bytes.length : lineFeed + 1;
    this.headBytes += to - at;
    if (this.headBytes > this.maxHeadBytes) {
      this.isBroken = true;
      this.needsMore = true;
      return bytes.length;
    }
    this.line += bytes.toString("latin1", at, to);
    if (lineFeed === -1) return to;
    const { line } = this;
    this.lines.push(line);
    this.line = "";
    if (line !== "\n" && line !== "\r\n") return to;
    this.beginPart();
    // An empty part may have its delimiter right here: the line's end is the delimiter's.
    return lineFeed;
  }

  private beginPart(): void {
    const headers = parseHead(this.lines.join(""));
    this.forgetHead();
    this.state = "content";
    this.startsAtLineEnd = true;
    this.sink = this.onPart(headers);
    this.isPartOpen = true;
  }

  private forgetHead(): void {
    this.lines = [];
    this.line = "";
    this.headBytes = 0;
  }

  private readContent(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(this.delimiter, at);
    if (found === -1) {
      this.needsMore = true;
      // The rest may be the beginning of a delimiter, with a CR before it.
      return this.give(bytes, at, bytes.length - this.delimiter.length);
    }
    const verdict = judge(bytes, found + this.delimiter.length);
    if (verdict.kind === "content") return this.give(bytes, at, found + 1);
    const contentEnd = found > at && bytes[found - 1] === CR ? found - 1 : found;
    this.give(bytes, at, contentEnd);
    if (verdict.kind === "undecided") {
      this.needsMore = true;
      return contentEnd;
    }
    this.endPart(true);
    this.state = verdict.kind === "part" ? "head" : "done";
    return verdict.after;
  }

  /** Gives the content up to `to`. The index that it came to: never less than `at`. */
  private give(bytes: Buffer, at: number, to: number): number {
    if (to <= at) return at;
    const from = this.startsAtLineEnd ? at + 1 : at;
    this.startsAtLineEnd = false;
    if (to > from) this.sink?.push(bytes.subarray(from, to));
    return to;
  }

  private endPart(isWhole: boolean): void {
    if (!this.isPartOpen) return;
    this.isPartOpen = false;
    this.startsAtLineEnd = false;
    const { sink } = this;
    this.sink = undefined;
    sink?.end(isWhole);
  }
}

const LINE_END = Buffer.from("\n");

/** Judges what follows a boundary that stands at the beginning of a line. */
function judge(bytes: Buffer, from: number): Verdict {
  if (bytes[from] === DASH) {
    if (from + 1 >= bytes.length) return UNDECIDED;
    return bytes[from + 1] === DASH ? { kind: "close", after: bytes.length } : CONTENT;
  }
  let at = from;
  while (at < bytes.length && at - from < MAX_PADDING_BYTES && (bytes[at] === SPACE || bytes[at] === TAB)) at++;
  if (bytes[at] === CR) at++;
  if (at >= bytes.length) return UNDECIDED;
  return bytes[at] === LF ? { kind: "part", after: at + 1 } : CONTENT;
}

/** Header fields of a part, folded lines joined. Lines that are no field are left out. */
function parseHead(text: string): RawHeaders {
  const headers: string[] = [];
  for (const line of text.replaceAll(/\r?\n[ \t]+/g, " ").split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.push(line.slice(0, colon).trimEnd(), line.slice(colon + 1).trim());
  }
  return headers;
}
