/**
 * HTTP/2 sessions on TLS connections that are terminated already. Owns what a client may cost: every bound below has its
 * outcome beside it. What a request is and what becomes of it is the listener's business.
 *
 * What Node 24.21 (nghttp2 1.70) does by itself, seen by running it (2026); each ends the session with GOAWAY or by a
 * close of the connection, with an error that goes to `onSessionError`:
 * - more than 8 CONTINUATION frames behind one HEADERS frame (INTERNAL_ERROR); a field over 64 KiB (COMPRESSION_ERROR);
 * - more than 1000 answers to SETTINGS or PING frames that have not been written yet;
 * - a SETTINGS frame of more than 32 entries, frames without effect (PRIORITY, unknown types) by the ten thousand
 *   (ENHANCE_YOUR_CALM), empty DATA frames past MAX_INVALID_FRAMES.
 * The connection's own window is opened as bytes arrive, so that a stream that nobody reads does not block the others; its
 * stream's window is opened as they are read.
 */

import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream, type ServerOptions } from "node:http2";
import type { TLSSocket } from "node:tls";

import type { RawHeaders } from "../flow/headers.ts";
import { H2Downstream } from "./downstream-h2.ts";
import { fromHttp2Request } from "./http2-fields.ts";
import { answerBody, answerHeaders, ProxyError } from "./proxy-error.ts";

/** Streams open at once on a session. One more: RST_STREAM(REFUSED_STREAM) until the client knows of the bound, then GOAWAY(PROTOCOL_ERROR). */
export const MAX_CONCURRENT_STREAMS = 128;

/**
 * Names, values and 32 bytes for each field of a head (RFC 9113 section 6.5.2). Past it: RST_STREAM(ENHANCE_YOUR_CALM), and
 * 431 for a head that was sent before the client knew of the bound.
 */
export const MAX_HEADER_LIST_BYTES = 64 * 1024;

/** Fields of a head. Past it: RST_STREAM(ENHANCE_YOUR_CALM). */
export const MAX_HEADER_FIELDS = 1000;

/** A response's head, compressed. Above what an upstream may send, as Node gives up the whole session past it. */
export const MAX_RESPONSE_HEAD_BYTES = 256 * 1024;

/** Streams that a client may end before they are answered, in a row. Past it: GOAWAY(ENHANCE_YOUR_CALM) and the end of the session (CVE-2023-44487). */
export const RESET_BURST = 400;

/** How many of those are forgotten in a second. */
export const RESETS_PER_SECOND = 50;

/** RST_STREAM frames in a row, of answered streams too: nghttp2's own bound behind ours. Past it: GOAWAY(INTERNAL_ERROR). */
export const RESET_FRAME_BURST = 2000;
export const RESET_FRAMES_PER_SECOND = 500;

/** Streams refused for want of room (memory, concurrency as Node counts it). Past it the session ends. */
export const MAX_REJECTED_STREAMS = 100;

/** Frames that break the protocol without ending the session. Past it the session ends. */
export const MAX_INVALID_FRAMES = 100;

/** What nghttp2 holds for a session, with the pieces that wait in it. Past it new streams are reset (ENHANCE_YOUR_CALM). */
export const MAX_SESSION_MEMORY_MB = 32;

/** Bytes of a request's body that a stream holds while nobody reads them. Past it: flow control; more than allowed: GOAWAY(FLOW_CONTROL_ERROR). */
export const STREAM_WINDOW_BYTES = 128 * 1024;

/** Bytes on their way to us on all streams of a session. */
export const CONNECTION_WINDOW_BYTES = 1024 * 1024;

/** A session without streams, from its first moment on. Past it: GOAWAY(NO_ERROR) and the close of the connection. */
export const IDLE_SESSION_MS = 75_000;

/**
 * A stream whose client takes nothing of what waits for it, by its window or by not reading its connection. Past it:
 * RST_STREAM(CANCEL), and the upstream's request is cancelled. A slow consumer of a stream is not an attack: generous.
 */
export const STALLED_STREAM_MS = 600_000;

/** From the end of a session to that of its connection, which a client may hold open. Past it the socket is destroyed. */
export const CLOSING_SESSION_MS = 5_000;

/** A request's body that goes on after the response has ended. Past it: RST_STREAM(NO_ERROR). */
export const LINGER_MS = 5_000;

/** The bounds of time above are kept to a tenth of the shortest of them, or to this. */
const MAX_SWEEP_MS = 1_000;
const MIN_SWEEP_MS = 10;

/** Time for the bounds; injectable for tests. */
export interface Http2Clock {
  /** Milliseconds that never go back. */
  now(): number;
  /** Calls again and again until the returned function is called. */
  every(periodMs: number, callback: () => void): () => void;
}

export interface Http2Limits {
  readonly idleSessionMs: number;
  readonly stalledStreamMs: number;
  readonly closingSessionMs: number;
  readonly lingerMs: number;
}

export interface Http2ServerOptions {
  /** A request: its path is origin-form, or `*`. Must not throw. */
  onRequest(downstream: H2Downstream, path: string, socket: TLSSocket): void;
  /** A session that ended for a fault of its client or of its connection. For the log; nothing is left to do. */
  onSessionError?(error: Error, socket: TLSSocket): void;
  readonly limits?: Partial<Http2Limits>;
  readonly clock?: Http2Clock;
}

export interface Http2Server {
  /** Takes over a terminated TLS connection whose protocol is h2. Its timeouts are ours from here. */
  accept(socket: TLSSocket): void;
  /** Sessions whose connection has not closed yet. */
  readonly sessions: number;
  /** Streams that are open on them. */
  readonly streams: number;
  /** GOAWAY to every session, those still to come included: streams that are open finish, no new ones begin. */
  drain(): void;
  /** Ends every session at once. */
  close(): void;
}

export function createHttp2Server(options: Http2ServerOptions): Http2Server {
  const limits: Http2Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const clock = options.clock ?? SYSTEM_CLOCK;
  const sessions = new Set<Session>();
  let isDraining = false;

  const sweepMs = Math.max(MIN_SWEEP_MS, Math.min(MAX_SWEEP_MS, limits.idleSessionMs / 10, limits.stalledStreamMs / 10, limits.closingSessionMs / 10));
  const stopSweeps = clock.every(sweepMs, () => {
    for (const session of sessions) session.sweep();
  });

  return {
    accept(socket) {
      if (socket.destroyed) return;
      // Whatever becomes of the session: an error of the socket is no one else's.
      socket.on("error", () => socket.destroy());
      socket.setTimeout(0);
      const session = startSession(socket, { options, limits, clock });
      if (session === undefined) return;
      sessions.add(session);
      socket.once("close", () => sessions.delete(session));
      if (isDraining) session.drain();
    },
    get sessions() {
      return sessions.size;
    },
    get streams() {
      let count = 0;
      for (const session of sessions) count += session.size;
      return count;
    },
    drain() {
      isDraining = true;
      for (const session of sessions) session.drain();
    },
    close() {
      isDraining = true;
      stopSweeps();
      for (const session of sessions) session.destroy();
    },
  };
}

const DEFAULT_LIMITS: Http2Limits = {
  idleSessionMs: IDLE_SESSION_MS,
  stalledStreamMs: STALLED_STREAM_MS,
  closingSessionMs: CLOSING_SESSION_MS,
  lingerMs: LINGER_MS,
};

const SYSTEM_CLOCK: Http2Clock = {
  now: () => performance.now(),
  every(periodMs, callback) {
    const timer = setInterval(callback, periodMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};

const SESSION_OPTIONS: ServerOptions = {
  // No ENABLE_CONNECT_PROTOCOL: extended CONNECT (RFC 8441) is not offered, and nghttp2 resets a stream that tries.
  settings: {
    maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
    maxHeaderListSize: MAX_HEADER_LIST_BYTES,
    initialWindowSize: STREAM_WINDOW_BYTES,
  },
  maxHeaderListPairs: MAX_HEADER_FIELDS,
  maxSendHeaderBlockLength: MAX_RESPONSE_HEAD_BYTES,
  maxSessionMemory: MAX_SESSION_MEMORY_MB,
  maxSessionInvalidFrames: MAX_INVALID_FRAMES,
  maxSessionRejectedStreams: MAX_REJECTED_STREAMS,
  streamResetBurst: RESET_FRAME_BURST,
  streamResetRate: RESET_FRAMES_PER_SECOND,
  // An upstream's response goes on as it is, with what it holds twice.
  strictSingleValueFields: false,
};

interface SessionDeps {
  readonly options: Http2ServerOptions;
  readonly limits: Http2Limits;
  readonly clock: Http2Clock;
}

function startSession(socket: TLSSocket, deps: SessionDeps): Session | undefined {
  try {
    const session = performServerHandshake(socket, SESSION_OPTIONS);
    // Of a TLSSocket that no listening server made, Node believes that its handshake is still under way and waits for this.
    if (session.connecting) socket.emit("secureConnect");
    return new Session(session, socket, deps);
  } catch (error) {
    // A socket that has a session already, or that lost its handle.
    socket.destroy();
    deps.options.onSessionError?.(error instanceof Error ? error : new Error("no HTTP/2 session"), socket);
    return undefined;
  }
}

/** A class for its identity: one client's session with its streams. */
class Session {
  readonly #session: ServerHttp2Session;
  readonly #socket: TLSSocket;
  readonly #deps: SessionDeps;
  readonly #open = new Set<H2Downstream>();
  readonly #mayReset: () => boolean;
  /** Since when there are no streams. */
  #quietSinceMs: number;
  /** Since when the session is over and its connection is not. */
  #endedAtMs: number | undefined;

  constructor(session: ServerHttp2Session, socket: TLSSocket, deps: SessionDeps) {
    this.#session = session;
    this.#socket = socket;
    this.#deps = deps;
    this.#quietSinceMs = deps.clock.now();
    this.#mayReset = createBucket(RESET_BURST, RESETS_PER_SECOND, deps.clock);
    session.on("error", (error) => deps.options.onSessionError?.(error, socket));
    session.on("stream", (stream, _fields, _flags, raw) => this.#accept(stream, raw));
    // A client that says no more can open no window any more: it has gone. Node would wait for it.
    socket.once("end", () => this.destroy());
    if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  }

  get size(): number {
    return this.#open.size;
  }

  drain(): void {
    this.#session.close();
  }

  /** The streams are reset, so that none of them looks whole to a client that still reads. */
  destroy(): void {
    for (const downstream of this.#open) downstream.cut();
    // The GOAWAY of `destroy` takes the place of what is not written yet, and a session whose client has just gone may wait
    // for it for good: each gets a turn of its own.
    setImmediate(() => {
      this.#session.destroy();
      setImmediate(() => this.#socket.destroy());
    });
  }

  sweep(): void {
    const { clock, limits } = this.#deps;
    const nowMs = clock.now();
    if (this.#session.destroyed) {
      this.#endedAtMs ??= nowMs;
      if (nowMs - this.#endedAtMs >= limits.closingSessionMs) this.#socket.destroy();
      return;
    }
    for (const downstream of this.#open) downstream.sweep(nowMs, limits.stalledStreamMs);
    const isIdle = this.#open.size === 0 && nowMs - this.#quietSinceMs >= limits.idleSessionMs;
    if (!isIdle) return;
    // A session that was told to close and still has frames to write waits for a client that does not read.
    if (this.#session.closed) this.#session.destroy();
    else this.#session.close();
  }

  #accept(stream: ServerHttp2Stream, raw: RawHeaders): void {
    const head = fromHttp2Request(raw);
    if (head.kind === "malformed") {
      stream.on("error", ignoreFault);
      stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
      this.#countReset();
      return;
    }
    const downstream = new H2Downstream(stream, head, { lingerMs: this.#deps.limits.lingerMs });
    this.#open.add(downstream);
    stream.once("close", () => this.#forget(downstream));
    // Node tells of the head before it has looked at the frames behind it: in the next turn it is known whether the body
    // is here, and a stream that was opened only to be reset has cost nothing but itself.
    setImmediate(() => this.#begin(downstream, head.path, raw));
  }

  #begin(downstream: H2Downstream, path: string, raw: RawHeaders): void {
    if (downstream.isGone) return;
    if (listBytes(raw) <= MAX_HEADER_LIST_BYTES) {
      this.#deps.options.onRequest(downstream, path, this.#socket);
      return;
    }
    const error = new ProxyError("head_too_large", "the request's head is too large");
    const body = answerBody(error);
    downstream.answer(error.status, answerHeaders(error, Buffer.byteLength(body)), body);
  }

  #forget(downstream: H2Downstream): void {
    this.#open.delete(downstream);
    if (this.#open.size === 0) this.#quietSinceMs = this.#deps.clock.now();
    if (downstream.isGone) this.#countReset();
  }

  #countReset(): void {
    if (this.#session.destroyed || this.#mayReset()) return;
    this.#session.destroy(new Error("the client reset more streams than it may"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/** Tokens that fill up with time. The returned function takes one; false: there is none left. */
function createBucket(burst: number, perSecond: number, clock: Http2Clock): () => boolean {
  let tokens = burst;
  let filledAtMs = clock.now();
  return () => {
    const nowMs = clock.now();
    tokens = Math.min(burst, tokens + ((nowMs - filledAtMs) / 1000) * perSecond);
    filledAtMs = nowMs;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

/** RFC 9113 section 6.5.2. */
function listBytes(raw: RawHeaders): number {
  let bytes = 0;
  for (let i = 0; i + 1 < raw.length; i += 2) bytes += (raw[i] as string).length + (raw[i + 1] as string).length + 32;
  return bytes;
}

function ignoreFault(): void {
  // The stream was refused: nobody waits for it.
}
