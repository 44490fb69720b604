/**
 * The chained proxy (TALLYMAN_UPSTREAM_PROXY): asks it by CONNECT (RFC 9110 section 9.3.6) for a way to a target, on a
 * socket that is connected to it. Dials nothing and keeps no time: dialer.ts does.
 */

import type { Socket } from "node:net";

import { formatAuthority, type Target } from "./connect-target.ts";
import { ProxyError } from "./proxy-error.ts";

/** An HTTP proxy to chain through, spoken to without TLS. */
export interface UpstreamProxy {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** As they are, not percent-encoded. Sent to the proxy as Basic; in no error and no log. */
  readonly credentials: ProxyCredentials | undefined;
}

export interface ProxyCredentials {
  readonly user: string;
  readonly password: string;
}

/** Bytes of what the proxy may say before the tunnel: its answer's head and the 1xx heads before that, together. */
export const MAX_PROXY_HEAD_BYTES = 65_536;

/**
 * Sends `CONNECT host:port` and reads the answer, skipping interim ones (1xx). Calls back once: without an error when
 * the tunnel stands, and whatever came behind the answer's blank line is then the first that the socket reads. A 2xx
 * has no body, whatever its fields say (RFC 9110 section 9.3.6).
 *
 * Errors: upstream_unreachable for any other answer (its status alone is told) and for a proxy that closes without one;
 * upstream_protocol for what is no HTTP/1 answer or has no end within MAX_PROXY_HEAD_BYTES. The socket is then the
 * caller's to destroy. Its "error" event and the deadline are the caller's too; nothing is called once it is destroyed.
 */
export function requestTunnel(socket: Socket, target: Target, credentials: ProxyCredentials | undefined, callback: (error: ProxyError | null) => void): void {
  const answers = createAnswerReader();
  const finish = (error: ProxyError | null): void => {
    socket.off("readable", read);
    socket.off("end", end);
    callback(error);
  };
  // Not by "data": a socket that was paused by hand would stay so for who reads it next.
  const read = (): void => {
    for (let chunk = readChunk(socket); chunk !== null; chunk = readChunk(socket)) {
      const verdict = answers.push(chunk);
      if (verdict === undefined) continue;
      if (verdict.rest.length > 0) socket.unshift(verdict.rest);
      finish(verdict.error);
      return;
    }
  };
  const end = (): void => finish(new ProxyError("upstream_unreachable", "the upstream proxy closed the connection before it answered"));
  socket.on("readable", read);
  socket.once("end", end);
  socket.write(formatConnect(target, credentials));
}

function readChunk(socket: Socket): Buffer | null {
  const chunk: unknown = socket.read();
  return Buffer.isBuffer(chunk) ? chunk : null;
}

function formatConnect(target: Target, credentials: ProxyCredentials | undefined): string {
  const authority = formatAuthority(target);
  const head = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`;
  if (credentials === undefined) return `${head}\r\n`;
  // RFC 7617 section 2.1: UTF-8, as no charset is asked for in advance.
  const token = Buffer.from(`${credentials.user}:${credentials.password}`, "utf8").toString("base64");
  return `${head}Proxy-Authorization: Basic ${token}\r\n\r\n`;
}

/** The end of the negotiation: `rest` are the bytes behind the head. */
interface Verdict {
  readonly error: ProxyError | null;
  readonly rest: Buffer;
}

/** Takes bytes until the final answer is whole; latin1 keeps each byte one character, and so exact. */
function createAnswerReader(): { push(chunk: Buffer): Verdict | undefined } {
  let text = "";
  let room = MAX_PROXY_HEAD_BYTES;
  return {
    push(chunk) {
      text += chunk.toString("latin1");
      for (;;) {
        const head = readHead(text, room);
        if (head === "incomplete") return undefined;
        if (head === "malformed") return { error: malformedAnswer(), rest: EMPTY };
        text = text.slice(head.length);
        room -= head.length;
        if (!isInterim(head.status)) return { error: refusal(head.status), rest: Buffer.from(text, "latin1") };
      }
    },
  };
}

const EMPTY = Buffer.alloc(0);

/** 101 is final: nobody asked to upgrade. */
function isInterim(status: number): boolean {
  return status < 200 && status !== 101;
}

const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: [^\0\r\n]*)?$/;
const FIELD_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*$/;

/** Reads the head that the text begins with. `length` includes its blank line. */
function readHead(text: string, maxLength: number): { status: number; length: number } | "incomplete" | "malformed" {
  const lineEnd = text.indexOf("\n");
  // What is no HTTP is told at once and not at the deadline.
  if (!"HTTP/1.".startsWith(text.slice(0, 7))) return "malformed";
  if (lineEnd !== -1 && !(text[lineEnd - 1] === "\r" && STATUS_LINE.test(text.slice(0, lineEnd - 1)))) return "malformed";
  const end = text.indexOf("\r\n\r\n");
  const length = end + 4;
  if (end === -1) return text.length < maxLength ? "incomplete" : "malformed";
  const [statusLine = "", ...fields] = text.slice(0, end).split("\r\n");
  if (length > maxLength || !fields.every((field) => FIELD_LINE.test(field))) return "malformed";
  return { status: Number(STATUS_LINE.exec(statusLine)?.[1]), length };
}

function malformedAnswer(): ProxyError {
  return new ProxyError("upstream_protocol", "the upstream proxy's answer to CONNECT is not valid HTTP; TALLYMAN_UPSTREAM_PROXY must name an HTTP proxy");
}

/** Null for a tunnel that stands. */
function refusal(status: number): ProxyError | null {
  if (status >= 200 && status < 300) return null;
  return new ProxyError("upstream_unreachable", `the upstream proxy answered ${status} to CONNECT: ${advice(status)}`);
}

function advice(status: number): string {
  if (status === 407) return "check the credentials in TALLYMAN_UPSTREAM_PROXY";
  return status >= 500 ? "it did not reach the upstream; its log says why" : "it does not let this target pass; its rules or its log say why";
}
