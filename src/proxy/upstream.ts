/**
 * Requests to upstreams through undici: one bounded pool per origin, one request at a time on a connection, and the
 * request head exactly as the client wrote it (undici alone would lower-case and move Host and Content-Length).
 */

import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { Pool, type Dispatcher } from "undici";

import type { RawHeaders } from "../flow/headers.ts";
import { formatAuthority, type Target } from "./connect-target.ts";
import type { Dialer } from "./dialer.ts";

export interface UpstreamOptions {
  readonly dialer: Dialer;
  readonly idleTimeoutMs: number;
}

/** One request, ready to go up. */
export interface UpstreamRequest {
  readonly scheme: "https" | "http";
  readonly target: Target;
  readonly method: string;
  /** Origin-form path and query. */
  readonly path: string;
  /** End-to-end headers in order, framing fields (Content-Length, Transfer-Encoding) included. */
  readonly headers: RawHeaders;
  readonly contentLength: number | undefined;
  /** True when the body goes up in chunks. */
  readonly isChunked: boolean;
  readonly body: Buffer | Readable | null;
  /** The trailers of a chunked body; asked when it has ended. */
  readonly trailers: () => RawHeaders;
}

export interface Upstream {
  /**
   * Sends the request; everything that happens is told to the handler. May throw synchronously. The returned
   * function frees what is held for the request; call it when the handler has heard the end.
   */
  dispatch(request: UpstreamRequest, handler: Dispatcher.DispatchHandler): () => void;
  /** Pools held now. */
  readonly size: number;
  close(): Promise<void>;
}

/** Origins whose pools are kept; the least recently used idle one goes first. */
const MAX_ORIGINS = 256;
/** Connections to one origin; requests beyond wait. */
const MAX_CONNECTIONS_PER_ORIGIN = 1024;
const IDLE_CONNECTION_MS = 15_000;
const UNUSED_ORIGIN_MS = 60_000;
const SWEEP_MS = 30_000;
const MAX_HEAD_BYTES = 65_536;

interface Origin {
  readonly pool: Pool;
  usedAtMs: number;
}

export function createUpstream(options: UpstreamOptions): Upstream {
  const origins = new Map<string, Origin>();
  const heads = createHeadWriter();

  const makePool = (origin: string, scheme: "https" | "http", target: Target): Pool =>
    new Pool(origin, {
      connections: MAX_CONNECTIONS_PER_ORIGIN,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: IDLE_CONNECTION_MS,
      headersTimeout: options.idleTimeoutMs,
      bodyTimeout: options.idleTimeoutMs,
      maxHeaderSize: MAX_HEAD_BYTES,
      connect: (_options: unknown, callback: (error: Error | null, socket: Socket | null) => void) => {
        const dial = scheme === "https" ? options.dialer.dialTls : options.dialer.dialTcp;
        dial(target, (error, socket) => {
          if (error !== null || socket === undefined) callback(error ?? new Error("no socket"), null);
          else callback(null, heads.attach(socket));
        });
      },
    } as Pool.Options);

  const originFor = (scheme: "https" | "http", target: Target): Origin => {
    const key = `${scheme}://${formatAuthority(target)}`;
    const known = origins.get(key);
    if (known !== undefined) {
      known.usedAtMs = Date.now();
      return known;
    }
    if (origins.size >= MAX_ORIGINS) retireOne(origins);
    const made = { pool: makePool(key, scheme, target), usedAtMs: Date.now() };
    origins.set(key, made);
    return made;
  };

  const sweeper = setInterval(() => {
    const before = Date.now() - UNUSED_ORIGIN_MS;
    for (const [key, origin] of origins) if (origin.usedAtMs < before && isIdle(origin)) retire(origins, key, origin);
  }, SWEEP_MS);
  sweeper.unref();

  return {
    dispatch(request, handler) {
      const { pool } = originFor(request.scheme, request.target);
      const ticket = heads.expect(request);
      const headers = ["host", request.target.host, TICKET_HEADER, ticket];
      if (request.contentLength !== undefined) headers.push("content-length", String(request.contentLength));
      pool.dispatch(
        { method: request.method as Dispatcher.HttpMethod, path: request.path, headers, body: request.body, reset: false },
        handler,
      );
      return () => heads.forget(ticket);
    },
    get size() {
      return origins.size;
    },
    async close() {
      clearInterval(sweeper);
      await Promise.all([...origins.values()].map((origin) => origin.pool.destroy()));
      origins.clear();
    },
  };
}

function isIdle(origin: Origin): boolean {
  const { running, pending, queued } = origin.pool.stats;
  return running + pending + queued === 0;
}

/** Makes room: the least recently used idle origin, else the least recently used one (which finishes first). */
function retireOne(origins: Map<string, Origin>): void {
  let oldest: [string, Origin] | undefined;
  for (const entry of origins) {
    const isBetter = oldest === undefined || (isIdle(entry[1]) && !isIdle(oldest[1])) || (isIdle(entry[1]) === isIdle(oldest[1]) && entry[1].usedAtMs < oldest[1].usedAtMs);
    if (isBetter) oldest = entry;
  }
  if (oldest !== undefined) retire(origins, oldest[0], oldest[1]);
}

function retire(origins: Map<string, Origin>, key: string, origin: Origin): void {
  origins.delete(key);
  // close() lets running requests finish; what fails then was told to its own handler.
  origin.pool.close().catch(() => undefined);
}

const TICKET_HEADER = "x-tallyman-ticket";
const TICKET_MARK = `\r\n${TICKET_HEADER}: `;

/**
 * Writes request heads as the client wrote them. undici is given a head of its own with a ticket in it; where that
 * string reaches the socket, the head that belongs to the ticket is written in its place. The body framing stays
 * undici's: it ends its head with the blank line (fixed length or no body), or without it (chunks follow, each
 * beginning with a line end).
 */
interface HeadWriter {
  expect(request: UpstreamRequest): string;
  forget(ticket: string): void;
  attach(socket: Socket): Socket;
}

function createHeadWriter(): HeadWriter {
  const waiting = new Map<string, UpstreamRequest>();
  let nextTicket = 0;

  /** The head for the one that undici wrote; undefined when this is no head. */
  const takeRequest = (written: string): UpstreamRequest | undefined => {
    const start = written.indexOf(TICKET_MARK);
    if (start === -1) return undefined;
    const end = written.indexOf("\r\n", start + TICKET_MARK.length);
    const ticket = written.slice(start + TICKET_MARK.length, end);
    const request = waiting.get(ticket);
    if (request === undefined) throw new Error("a request head was written twice");
    waiting.delete(ticket);
    return request;
  };

  return {
    expect(request) {
      const ticket = String(nextTicket++);
      waiting.set(ticket, request);
      return ticket;
    },
    forget: (ticket) => void waiting.delete(ticket),
    attach(socket) {
      const write = socket.write.bind(socket);
      let joined: Buffer | undefined;
      let chunked: UpstreamRequest | undefined;
      const writeExact = (data: string | Uint8Array, encoding?: BufferEncoding): boolean => {
        if (typeof data !== "string") {
          // This body has left with its head.
          if (data === joined) {
            joined = undefined;
            return !socket.writableNeedDrain;
          }
          return write(data);
        }
        if (data === LAST_CHUNK && chunked !== undefined) return write(`\r\n${lastChunk(chunked)}`, "latin1");
        const request = data.length > TICKET_MARK.length ? takeRequest(data) : undefined;
        if (request === undefined) return write(data, encoding);
        chunked = request.isChunked ? request : undefined;
        const head = exactHead(request, data);
        if (!Buffer.isBuffer(request.body) || request.body.length > MAX_JOINED_BYTES) return write(head, "latin1");
        joined = request.body;
        return write(head + joined.toString("latin1"), "latin1");
      };
      socket.write = writeExact as typeof socket.write;
      return socket;
    },
  };
}

/** A larger body is not copied to leave with its head. */
const MAX_JOINED_BYTES = 16_384;

function exactHead(request: UpstreamRequest, written: string): string {
  const head = formatHead(request);
  if (!written.endsWith("\r\n\r\n")) return head;
  return request.isChunked ? `${head}\r\n${lastChunk(request)}` : `${head}\r\n`;
}

/** What undici writes at the end of a chunked body, the line end of the chunk before it included. */
const LAST_CHUNK = "\r\n0\r\n\r\n";

function lastChunk(request: UpstreamRequest): string {
  return `0\r\n${formatFields(request.trailers())}\r\n`;
}

function formatHead(request: UpstreamRequest): string {
  return `${request.method} ${request.path} HTTP/1.1\r\n${formatFields(request.headers)}`;
}

function formatFields(fields: RawHeaders): string {
  let text = "";
  for (let i = 0; i + 1 < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return text;
}
