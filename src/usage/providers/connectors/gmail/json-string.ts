/**
 * A string in the beginning of a JSON document that may be cut: of a long upload only the first bytes are kept, and the
 * message stands in the middle of them.
 */

/** Keys from the outermost object inwards. */
type KeyPath = readonly string[];

/** What there is of the string. */
export interface StringPrefix {
  readonly text: string;
  /** The string ends within the bytes and within the asked length. */
  readonly isWhole: boolean;
}

/** The first string at one of the paths; at most `maxChars` bytes of it. Undefined: none has begun within the bytes. */
export function stringAt(document: Uint8Array, paths: readonly KeyPath[], maxChars: number): StringPrefix | undefined {
  const bytes = Buffer.from(document.buffer, document.byteOffset, document.byteLength);
  const keys: string[] = [];
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) keys[depth++] = "";
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
    else if (byte === QUOTE) {
      const end = stringEnd(bytes, at);
      const colon = skipSpace(bytes, end);
      if (depth > 0 && depth <= MAX_DEPTH && bytes[colon] === COLON) {
        keys[depth - 1] = bytes.toString("utf8", at + 1, end - 1);
        const value = skipSpace(bytes, colon + 1);
        if (bytes[value] === QUOTE && isAt(paths, keys, depth)) return decode(bytes, value, maxChars);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** Longer than any path that is asked for. */
const MAX_DEPTH = 4;

const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

function isAt(paths: readonly KeyPath[], keys: readonly string[], depth: number): boolean {
  return paths.some((path) => path.length === depth && path.every((key, step) => key === keys[step]));
}

function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  return at;
}

/** The index after the closing quote of the string that opens at `at`; that of the end when it is cut. */
function stringEnd(bytes: Buffer, at: number): number {
  for (let quote = bytes.indexOf(QUOTE, at + 1); quote !== -1; quote = bytes.indexOf(QUOTE, quote + 1)) {
    if (!isEscaped(bytes, at, quote)) return quote + 1;
  }
  return bytes.length;
}

/** Whether an odd number of backslashes stands before an index. */
function isEscaped(bytes: Buffer, start: number, at: number): boolean {
  let first = at;
  while (first - 1 > start && bytes[first - 1] === BACKSLASH) first--;
  return (at - first) % 2 === 1;
}

function decode(bytes: Buffer, open: number, maxChars: number): StringPrefix | undefined {
  const end = stringEnd(bytes, open);
  const isClosed = end - 1 > open && bytes[end - 1] === QUOTE && !isEscaped(bytes, open, end - 1);
  const close = isClosed ? end - 1 : end;
  const isWhole = isClosed && close - open - 1 <= maxChars;
  const raw = bytes.subarray(open + 1, Math.min(close, open + 1 + maxChars));
  const text = unescape(raw.toString("latin1", 0, isWhole ? raw.length : lengthWithoutCutEscape(raw)));
  return text === undefined ? undefined : { text, isWhole };
}

const CUT_ESCAPE = /\\(?:u[0-9A-Fa-f]{0,3})?$/;

/** The longest escape is \uXXXX. */
const MAX_ESCAPE_CHARS = 6;

function lengthWithoutCutEscape(raw: Buffer): number {
  const tail = Math.max(0, raw.length - MAX_ESCAPE_CHARS);
  const cut = CUT_ESCAPE.exec(raw.toString("latin1", tail));
  return cut === null || isEscaped(raw, -1, tail + cut.index) ? raw.length : tail + cut.index;
}

function unescape(raw: string): string | undefined {
  if (!raw.includes("\\")) return raw;
  try {
    const text: unknown = JSON.parse(`"${raw}"`);
    return typeof text === "string" ? text : undefined;
  } catch {
    // Not JSON: the server will say so too.
    return undefined;
  }
}
