/**
 * HTTP/1.1 messages as text, read strictly: the form in which rows are written, and the reader of whatever arrives at
 * an HTTP/1.1 peer. What a strict reader of RFC 9112 would not take is a fault, never guessed at.
 */

/** One message as far as it has arrived. */
export interface Message {
  /** The start line. */
  readonly start: string;
  /** Name and value alternating, as on the wire, framing fields included. */
  readonly fields: string[];
  /** `rest`: everything behind the head belongs to it (101, or a response that the close ends). */
  readonly framing: "none" | "length" | "chunked" | "rest";
  /** Without the framing of chunks. */
  readonly body: string;
  readonly trailers: string[];
  readonly isWhole: boolean;
}

export interface Reading {
  /** In order, interim responses too; the last one may not be whole. */
  readonly messages: Message[];
  /** What follows the last whole message and is no whole head. */
  readonly rest: string;
  /** Why reading stopped. */
  readonly fault: string | undefined;
}

/** The lines of a head, and the empty line. */
export function lines(...text: readonly string[]): string {
  return `${text.join("\r\n")}\r\n\r\n`;
}

/** Pieces as chunks, without the last one. */
export function chunks(...pieces: readonly string[]): string {
  return pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
}

/** The last chunk, with trailer lines. */
export function lastChunk(...trailers: readonly string[]): string {
  return `0\r\n${trailers.map((line) => `${line}\r\n`).join("")}\r\n`;
}

export function readRequests(text: string): Reading {
  return readAll(text, "request", [], false);
}

/** `methods` are those of the requests that the responses answer; `isEnded`: no more bytes come. */
export function readResponses(text: string, methods: readonly string[], isEnded: boolean): Reading {
  return readAll(text, "response", methods, isEnded);
}

function readAll(text: string, kind: "request" | "response", methods: readonly string[], isEnded: boolean): Reading {
  const messages: Message[] = [];
  let rest = text;
  let finals = 0;
  try {
    while (rest !== "") {
      const end = rest.indexOf("\r\n\r\n");
      if (end === -1) break;
      const head = readHead(rest.slice(0, end), kind);
      const isFinal = kind === "response" && !/^HTTP\/1\.[01] 1(?!01)/.test(head.start);
      const method = methods[finals] ?? "GET";
      if (isFinal) finals += 1;
      const { message, used } = readBody(head, framingOf(head, kind, method), rest.slice(end + 4), isEnded);
      messages.push(message);
      rest = rest.slice(end + 4 + used);
      if (!message.isWhole) break;
    }
    return { messages, rest, fault: undefined };
  } catch (error) {
    return { messages, rest, fault: error instanceof Error ? error.message : "unreadable" };
  }
}

interface Head {
  readonly start: string;
  readonly fields: string[];
}

const START = {
  request: /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e\x80-\xff]+ HTTP\/1\.[01]$/,
  response: /^HTTP\/1\.[01] [1-9]\d\d [\t\x20-\x7e\x80-\xff]*$/,
};
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*$/;

function readHead(text: string, kind: "request" | "response"): Head {
  const [start = "", ...fieldLines] = text.split("\r\n");
  if (!START[kind].test(start)) throw new Error(`no start line: ${JSON.stringify(start)}`);
  return { start, fields: fieldLines.flatMap(readField) };
}

function readField(line: string): string[] {
  const match = FIELD.exec(line);
  if (match === null) throw new Error(`no field: ${JSON.stringify(line)}`);
  return [match[1] as string, match[2] as string];
}

export function valuesOf(fields: readonly string[], lowerName: string): string[] {
  return fields.filter((_, i) => i % 2 === 1 && fields[i - 1]?.toLowerCase() === lowerName);
}

/** RFC 9112 section 6.3; -1 stands for chunks, undefined for the end of the connection. */
function framingOf(head: Head, kind: "request" | "response", method: string): number | undefined {
  const codings = valuesOf(head.fields, "transfer-encoding");
  const lengths = valuesOf(head.fields, "content-length");
  if (kind === "response") {
    const status = Number(head.start.slice(9, 12));
    if (status === 101) return undefined;
    if (method === "HEAD" || status < 200 || status === 204 || status === 304) return 0;
  }
  if (codings.length > 0) {
    if (lengths.length > 0) throw new Error("both a length and a transfer coding");
    if (codings.length > 1 || !/(^|[\s,])chunked$/i.test(codings[0] as string)) throw new Error(`transfer coding ${codings.join("; ")}`);
    return -1;
  }
  if (lengths.length > 1 || !/^\d{0,15}$/.test(lengths[0] ?? "")) throw new Error(`length ${lengths.join("; ")}`);
  if (lengths.length === 1) return Number(lengths[0]);
  return kind === "request" ? 0 : undefined;
}

function readBody(head: Head, framing: number | undefined, text: string, isEnded: boolean): { message: Message; used: number } {
  const trailers: string[] = [];
  if (framing === undefined) return { message: { ...head, framing: "rest", body: text, trailers, isWhole: isEnded }, used: text.length };
  if (framing >= 0) {
    const body = text.slice(0, framing);
    const isLength = valuesOf(head.fields, "content-length").length > 0;
    return { message: { ...head, framing: isLength ? "length" : "none", body, trailers, isWhole: body.length === framing }, used: body.length };
  }
  let body = "";
  let at = 0;
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) break;
    const line = text.slice(at, lineEnd);
    if (!/^[0-9a-f]{1,8}(;.*)?$/i.test(line)) throw new Error(`no chunk size: ${JSON.stringify(line)}`);
    const size = parseInt(line, 16);
    if (size === 0) return endOfChunks(head, body, text, lineEnd + 2);
    const piece = text.slice(lineEnd + 2, lineEnd + 2 + size);
    body += piece;
    if (piece.length < size) break;
    at = lineEnd + 2 + size;
    const end = text.slice(at, at + 2);
    if (!"\r\n".startsWith(end)) throw new Error(`no line end behind a chunk: ${JSON.stringify(end)}`);
    if (end.length < 2) break;
    at += 2;
  }
  return { message: { ...head, framing: "chunked", body, trailers, isWhole: false }, used: text.length };
}

function endOfChunks(head: Head, body: string, text: string, start: number): { message: Message; used: number } {
  const trailers: string[] = [];
  for (let at = start; ; ) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return { message: { ...head, framing: "chunked", body, trailers, isWhole: false }, used: text.length };
    if (lineEnd === at) return { message: { ...head, framing: "chunked", body, trailers, isWhole: true }, used: at + 2 };
    trailers.push(...readField(text.slice(at, lineEnd)));
    at = lineEnd + 2;
  }
}
