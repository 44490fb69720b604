/**
 * One HTTP/1.1 connection to an upstream, as it is under undici: what undici writes as a request head is replaced by
 * the client's own, and interim responses are taken out before undici's parser sees them.
 */

import type { Socket } from "node:net";

import type { ResponseHead } from "../flow/flow.ts";
import type { RawHeaders } from "../flow/headers.ts";
import { formatChunk, formatFields, formatLastChunk, parseHead } from "./h1-syntax.ts";
import { isStatusLine } from "./message-checks.ts";
import type { UpstreamRequest } from "./messages.ts";
import { ProxyError } from "./proxy-error.ts";

/** Who has the line for one request. */
export interface LineUser {
  readonly request: UpstreamRequest;
  /** The head (and a whole body) is being written to this line. */
  onLine(line: Line): void;
  /** The line takes more of the body. */
  onLineDrain(): void;
  onLineInterim(head: ResponseHead): void;
  /** The reason phrase of the final response, byte by byte as latin1; before undici tells of its head. */
  onLineReason(reason: string): void;
}

export interface HeadWriter {
  /** A ticket for a request that will be written. */
  expect(user: LineUser): string;
  /** What undici is given as the headers of a request, by which its head is found again. */
  headersFor(ticket: string, host: string): string[];
  forget(ticket: string): void;
  /** Puts a line under undici; returns the socket to hand to it. */
  attach(socket: Socket): Socket;
  /** The connection has gone over to another protocol: its bytes pass as they are. */
  detach(socket: Socket): void;
}

const TICKET_FIELD = "x-tallyman-ticket";
const TICKET_MARK = `\r\n${TICKET_FIELD}: `;
/** A larger body is not copied to leave with its head. */
const MAX_JOINED_BYTES = 16_384;
/** Interim responses before one final response; more is no HTTP that anybody means. */
const MAX_INTERIM = 64;
const MAX_INTERIM_BYTES = 65_536;

export function createHeadWriter(): HeadWriter {
  const waiting = new Map<string, LineUser>();
  let nextTicket = 0;

  /** The user of the head that undici writes; undefined when this is no head. */
  const takeUser = (written: string): LineUser | undefined => {
    const start = written.indexOf(TICKET_MARK);
    if (start === -1) return undefined;
    const end = written.indexOf("\r\n", start + TICKET_MARK.length);
    const ticket = written.slice(start + TICKET_MARK.length, end);
    const user = waiting.get(ticket);
    if (user === undefined) throw new Error("a request head was written twice");
    waiting.delete(ticket);
    return user;
  };

  return {
    expect(user) {
      const ticket = String(nextTicket++);
      waiting.set(ticket, user);
      return ticket;
    },
    headersFor: (ticket, host) => ["host", host, TICKET_FIELD, ticket],
    forget: (ticket) => void waiting.delete(ticket),
    attach(socket) {
      const line = new Line(socket);
      const writeRequest = (data: string | Uint8Array, encoding?: BufferEncoding): boolean => {
        const user = typeof data === "string" ? takeUser(data) : undefined;
        if (user === undefined) return line.write(data, encoding);
        return line.writeRequest(user);
      };
      socket.write = writeRequest as typeof socket.write;
      socket.read = (size?: number) => line.read(size);
      socket.on("drain", () => line.drain());
      return socket;
    },
    detach(socket) {
      // The own properties that attach() laid over the stream's methods.
      Reflect.deleteProperty(socket, "write");
      Reflect.deleteProperty(socket, "read");
    },
  };
}

/** A class for its identity: the state of one connection. */
export class Line {
  readonly #socket: Socket;
  readonly #write: Socket["write"];
  readonly #read: Socket["read"];
  #user: LineUser | undefined;
  /** True from the request's head to the response's: interim responses may come. */
  #isHeadAwaited = false;
  /** The beginning of a response head whose status is not known yet, or of an interim one that is not whole. */
  #begun: Buffer | undefined;
  #interims = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#write = socket.write.bind(socket);
    this.#read = socket.read.bind(socket);
  }

  write(data: string | Uint8Array, encoding?: BufferEncoding): boolean {
    return this.#write(data as string, encoding);
  }

  writeChunk(chunk: Buffer): boolean {
    return this.#write(formatChunk(chunk));
  }

  writeLastChunk(trailers: RawHeaders): boolean {
    return this.#write(formatLastChunk(trailers), "latin1");
  }

  writeRequest(user: LineUser): boolean {
    this.#user = user;
    this.#isHeadAwaited = true;
    this.#interims = 0;
    const { method, path, headers, body } = user.request;
    const head = `${method} ${path} HTTP/1.1\r\n${formatFields(headers)}\r\n`;
    user.onLine(this);
    if (body.kind !== "whole") return this.#write(head, "latin1");
    if (body.bytes.length <= MAX_JOINED_BYTES) return this.#write(head + body.bytes.toString("latin1"), "latin1");
    this.#write(head, "latin1");
    return this.#write(body.bytes);
  }

  drain(): void {
    this.#user?.onLineDrain();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** In place of the socket's read(): without interim responses. */
  read(size: number | undefined): unknown {
    const chunk: unknown = this.#read(size);
    if (!this.#isHeadAwaited || !Buffer.isBuffer(chunk)) return chunk;
    let rest = this.#begun === undefined ? chunk : Buffer.concat([this.#begun, chunk]);
    this.#begun = undefined;
    while (rest.length > 0) {
      const end = interimEnd(rest);
      if (end === "final") {
        this.#isHeadAwaited = false;
        const reason = reasonOf(rest);
        if (reason === undefined) return this.#refuse("the upstream's answer is not valid HTTP");
        this.#user?.onLineReason(reason);
        return rest;
      }
      if (end === "unknown") {
        this.#begun = rest;
        return null;
      }
      const head = parseHead(rest.toString("latin1", 0, end));
      this.#interims += 1;
      if (head === undefined || this.#interims > MAX_INTERIM) return this.#refuse("the upstream's interim responses are not valid HTTP");
      this.#user?.onLineInterim(head);
      rest = rest.subarray(end);
    }
    return null;
  }

  #refuse(message: string): null {
    this.#socket.destroy(new ProxyError("upstream_protocol", message));
    return null;
  }
}

const STATUS_AT = "HTTP/1.1 ".length;
const DIGIT_ONE = 0x31;
const LINE_FEED = 0x0a;

/**
 * Where the interim response ends that these bytes begin with; "final" for anything else (101 is final, and what is no
 * HTTP is left to the parser); "unknown" until more has come.
 */
function interimEnd(bytes: Buffer): number | "final" | "unknown" {
  if (bytes.length < STATUS_AT + 3) return isLineHere(bytes) ? "final" : "unknown";
  const isInterim = bytes[STATUS_AT] === DIGIT_ONE && /^HTTP\/1\.[01] (?!101)1\d\d/.test(bytes.toString("latin1", 0, STATUS_AT + 3));
  if (!isInterim) return isLineHere(bytes) ? "final" : "unknown";
  const end = bytes.indexOf("\r\n\r\n");
  if (end !== -1) return end + 4;
  return bytes.length > MAX_INTERIM_BYTES ? "final" : "unknown";
}

/** The status line is here, or is none that anybody would send. */
function isLineHere(bytes: Buffer): boolean {
  return bytes.includes(LINE_FEED) || bytes.length > MAX_INTERIM_BYTES;
}

/** Undefined: no status line that may be passed on. llhttp takes any bytes for a reason phrase, and any number for a status. */
function reasonOf(bytes: Buffer): string | undefined {
  const end = bytes.indexOf(STATUS_LINE_END);
  if (end === -1 || end > MAX_INTERIM_BYTES) return undefined;
  const line = bytes.toString("latin1", 0, end);
  return isStatusLine(line) ? line.slice(REASON_AT) : undefined;
}

const STATUS_LINE_END = "\r\n";
const REASON_AT = STATUS_AT + "200 ".length;
