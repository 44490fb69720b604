/**
 * HTTP/2 to upstreams (RFC 9113) on node:http2: sessions over connections that were made elsewhere and agreed on h2, many
 * requests on each. Owns the sessions' life and bounds, and each stream from its head to its close. Dials nothing.
 *
 * What Node 24.21 leaves to its user, seen by running it:
 * - A reset without an error ends the readable side as END_STREAM does: a response cut short would pass for a whole one.
 * - When the connection goes, streams close as if the origin had cancelled them, and what was received of a response
 *   but not read yet would be lost with them, although the response may be whole.
 * - A session that was closed in good order waits without bound for its peer to close the connection.
 */

import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type ClientSessionOptions, type ServerSessionOptions } from "node:http2";
import type { TLSSocket } from "node:tls";

import type { ResponseHead } from "../flow/flow.ts";
import { getHeader, type RawHeaders } from "../flow/headers.ts";
import { formatAuthority } from "./connect-target.ts";
import { createIdleWatch, type IdleTicket, type IdleWatch, type Watched } from "./idle-watch.ts";
import { fromHttp2Response, fromHttp2Trailers, toHttp2Request, toHttp2Trailers } from "./http2-fields.ts";
import { StreamReset, type BodySink, type BodySource, type UpstreamCall, type UpstreamListener, type UpstreamRequest } from "./messages.ts";
import { errorCode, ProxyError } from "./proxy-error.ts";

export interface Http2UpstreamOptions {
  /** A stream on which nothing moved for this long is cancelled: `upstream_timeout`. */
  readonly idleTimeoutMs: number;
  /** Default IDLE_SESSION_MS. */
  readonly idleSessionMs?: number;
}

/** Sessions by origin. `key` names the origin; two connections under one key lead to the same place. */
export interface Http2Upstream {
  /**
   * Takes a connected socket whose `alpnProtocol` is h2, and on which nobody else reads or writes. False: it is not connected
   * or there are too many sessions; the socket is destroyed.
   */
  adopt(key: string, socket: TLSSocket): boolean;
  /** Whether a request to the origin leaves at once. Holds until the next turn of the event loop. */
  hasRoom(key: string): boolean;
  /** Sends the request on a session that has room; without one it fails. Never throws and calls no listener before it returns. */
  request(key: string, request: UpstreamRequest, listener: UpstreamListener): UpstreamCall;
  /** Connections that are open now. */
  readonly size: number;
  /** Ends everything at once; calls that are under way hear of it as an error. */
  close(): Promise<void>;
}

/** Streams on one session, where the origin allows as many: what one lost connection can take with it. */
export const MAX_STREAMS_PER_SESSION = 100;
/** Connections to one origin and to all; beyond them the oldest idle one makes room, or `adopt` refuses. */
export const MAX_SESSIONS_PER_ORIGIN = 256;
export const MAX_SESSIONS = 1024;
/** A session without streams is closed after this long, as an HTTP/1.1 connection is. */
export const IDLE_SESSION_MS = 15_000;
/**
 * What an origin may send on a stream ahead of the client's reading: the most that a paused response holds, and with the
 * round trip its speed. 50 MB at 0, 20 and 50 ms: 256 KiB 908, 12 and 5 MB/s; 1 MiB 863, 46 and 20 MB/s (Node 24.21).
 */
export const STREAM_WINDOW_BYTES = 512 * 1024;
/** The same for all streams of a session. Node gives it back as bytes arrive, read or not: it holds nothing. */
export const SESSION_WINDOW_BYTES = 4 * 1024 * 1024;
/**
 * Response heads and trailers up to this many bytes, counted as RFC 9113 section 6.5.2 has it, and fields. A larger one ends
 * its stream: `upstream_protocol`, or a reset where Node saw it first. One field above 64 KiB, or more than 8 CONTINUATION
 * frames, ends its session (nghttp2's own bounds).
 */
export const MAX_RESPONSE_HEAD_BYTES = 65_536;
const FIELD_OVERHEAD_BYTES = 32;
const MAX_RESPONSE_FIELDS = 1000;
/** Interim heads of one response; they pass without back-pressure. Beyond them: `upstream_protocol`. */
export const MAX_INTERIM_HEADS = 100;

const SESSION_OPTIONS: ClientSessionOptions & Pick<ServerSessionOptions, "maxSessionInvalidFrames" | "strictSingleValueFields"> = {
  settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: MAX_RESPONSE_HEAD_BYTES },
  maxHeaderListPairs: MAX_RESPONSE_FIELDS,
  // A request's head may be as large as the front lets it be, each field with its 32 bytes of overhead.
  maxSendHeaderBlockLength: 262_144,
  // Entries of one SETTINGS frame; frames of floods are bounded by nghttp2 itself (1000 unsent acknowledgements).
  maxSettings: 32,
  maxOutstandingPings: 4,
  maxSessionInvalidFrames: 100,
  maxReservedRemoteStreams: 0,
  maxOriginSetSize: 128,
  // Megabytes: the heads of all streams at their bound, twice.
  maxSessionMemory: 16,
  // Fields that stand twice go up twice, as the client sent them.
  strictSingleValueFields: false,
};

/** Never used: each request names its authority. */
const NO_AUTHORITY = new URL("https://origin.invalid");

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } = constants;

export function createHttp2Upstream(options: Http2UpstreamOptions): Http2Upstream {
  const idle = createIdleWatch(options.idleTimeoutMs);
  const idleSessionMs = options.idleSessionMs ?? IDLE_SESSION_MS;
  const open = new Set<Session>();
  const usable = new Map<string, Set<Session>>();
  let isClosed = false;

  const forget = (session: Session): void => {
    const known = usable.get(session.key);
    if (known?.delete(session) === true && known.size === 0) usable.delete(session.key);
  };

  const destroy = (session: Session): void => {
    forget(session);
    open.delete(session);
    session.destroy();
  };

  const makeRoom = (key: string): boolean => {
    const known = usable.get(key) ?? new Set<Session>();
    const full = known.size >= MAX_SESSIONS_PER_ORIGIN ? known : open.size >= MAX_SESSIONS ? open : undefined;
    if (full === undefined) return true;
    for (const session of full) {
      if (session.streams > 0) continue;
      destroy(session);
      return true;
    }
    return false;
  };

  const openSession = (key: string, socket: TLSSocket): Session | undefined => {
    try {
      return new Session(key, socket, idleSessionMs, {
        onRetired: forget,
        onClosed: (closed) => {
          forget(closed);
          open.delete(closed);
        },
      });
    } catch {
      // Node throws at a socket that is not connected (any more) or that another session owns: it is of no use.
      socket.destroy();
      return undefined;
    }
  };

  const sessionFor = (key: string): Session | undefined => {
    for (const session of usable.get(key) ?? []) if (session.hasRoom) return session;
    return undefined;
  };

  return {
    adopt(key, socket) {
      if (isClosed || socket.destroyed || !makeRoom(key)) {
        socket.destroy();
        return false;
      }
      const session = openSession(key, socket);
      if (session === undefined) return false;
      open.add(session);
      const known = usable.get(key);
      if (known === undefined) usable.set(key, new Set([session]));
      else known.add(session);
      return true;
    },
    hasRoom: (key) => sessionFor(key) !== undefined,
    request(key, request, listener) {
      const call = new Http2Call(request, listener, idle);
      call.start(sessionFor(key));
      return call;
    },
    get size() {
      return open.size;
    },
    async close() {
      isClosed = true;
      idle.close();
      const sessions = [...open];
      for (const session of sessions) destroy(session);
      await Promise.all(sessions.map((session) => session.closed));
    },
  };
}

interface SessionOwner {
  /** No new requests from here on. */
  onRetired(session: Session): void;
  /** The socket is closed. */
  onClosed(session: Session): void;
}

/** A class for its identity: socket, streams and timer call it back until the socket is closed. */
class Session {
  readonly key: string;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #socket: TLSSocket;
  readonly #http2: ClientHttp2Session;
  readonly #owner: SessionOwner;
  readonly #timer: NodeJS.Timeout;
  #streams = 0;
  #isRetired = false;

  /** Throws where the socket is not connected. */
  constructor(key: string, socket: TLSSocket, idleMs: number, owner: SessionOwner) {
    this.key = key;
    this.#socket = socket;
    this.#owner = owner;
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#onSocketClose();
        resolve();
      });
    });
    // Node listens for errors of the socket from here on and tells the session of them.
    this.#http2 = connect(NO_AUTHORITY, { ...SESSION_OPTIONS, createConnection: () => socket });
    this.#timer = setTimeout(() => this.#onTimer(), idleMs);
    this.#timer.unref();
    // Its streams tell what went wrong, each to its own listener.
    this.#http2.on("error", () => this.retire());
    this.#http2.on("close", () => this.retire());
    this.#http2.setLocalWindowSize(SESSION_WINDOW_BYTES);
  }

  /** Open streams; those that wait for the origin to allow more are among them. */
  get streams(): number {
    return this.#streams;
  }

  get hasRoom(): boolean {
    if (this.#isRetired || this.#http2.closed || this.#http2.destroyed || this.#socket.destroyed) return false;
    const allowed = this.#http2.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS_PER_SESSION;
    return this.#streams < Math.min(allowed, MAX_STREAMS_PER_SESSION);
  }

  /** The connection is gone or going: streams that close now do so because of it. */
  get isLost(): boolean {
    return this.#http2.destroyed || this.#socket.destroyed;
  }

  /** May throw. The stream is counted until it closes. */
  open(list: readonly string[], isEnd: boolean, hasTrailers: boolean): ClientHttp2Stream {
    const stream = this.#http2.request(list, { endStream: isEnd, waitForTrailers: hasTrailers });
    this.#streams += 1;
    stream.once("close", () => {
      this.#streams -= 1;
      if (this.#streams === 0) this.#timer.refresh();
    });
    return stream;
  }

  /** Takes no new requests; those under way finish, then it closes. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#owner.onRetired(this);
    this.#http2.close();
    this.#timer.refresh();
  }

  destroy(): void {
    this.#isRetired = true;
    this.#http2.destroy();
    this.#socket.destroy();
  }

  /** Without streams for so long. First in good order; the next time for good. */
  #onTimer(): void {
    if (this.#streams > 0) return;
    if (this.#http2.destroyed) {
      this.#socket.destroy();
      return;
    }
    this.#isRetired = true;
    this.#owner.onRetired(this);
    this.#http2.destroy();
    this.#timer.refresh();
  }

  #onSocketClose(): void {
    clearTimeout(this.#timer);
    this.#isRetired = true;
    this.#owner.onClosed(this);
  }
}

/** A class for its identity: stream, body and idle watch call it back through the whole life of a request. */
class Http2Call implements UpstreamCall, BodySink, Watched {
  readonly #request: UpstreamRequest;
  readonly #listener: UpstreamListener;
  readonly #idle: IdleTicket;
  #session: Session | undefined;
  #stream: ClientHttp2Stream | undefined;
  #source: BodySource | undefined;
  #requestTrailers: RawHeaders = [];
  #trailers: RawHeaders = [];
  /** What Node or the client's side said before the stream closed. */
  #error: unknown;
  /** What had arrived of a whole response, unread, when its stream was closed. */
  #leftover: Buffer | undefined;
  /** The listener has heard the end, or must hear nothing more. */
  #isOver = false;
  /** Nothing of the request's body goes up any more. */
  #isBodyOver: boolean;
  #informs = 0;
  #hasHead = false;
  #hasLength = false;
  /** END_STREAM was received: the response is whole. */
  #hasEnded = false;
  #isPaused = false;
  #isClosed = false;

  constructor(request: UpstreamRequest, listener: UpstreamListener, idle: IdleWatch) {
    this.#request = request;
    this.#listener = listener;
    this.#idle = idle.watch(this);
    this.#isBodyOver = request.body.kind !== "stream";
  }

  start(session: Session | undefined): void {
    try {
      this.#open(session);
    } catch (error) {
      // Node checks what it is given before it opens a stream.
      queueMicrotask(() => this.#fail(error));
    }
  }

  #open(session: Session | undefined): void {
    if (session === undefined) throw new ProxyError("upstream_unreachable", "there is no connection to the upstream");
    const { body, method, path, scheme, headers } = this.#request;
    const list = toHttp2Request({ method, path, scheme, headers, authority: defaultAuthority(this.#request) });
    if (list === undefined) throw new ProxyError("bad_request", "the request holds what HTTP/2 cannot say");
    const isEnd = body.kind === "none" || (body.kind === "whole" && body.bytes.length === 0);
    const stream = session.open(list, isEnd, body.kind === "stream");
    this.#session = session;
    this.#stream = stream;
    this.#watchEnd(stream);
    this.#listen(stream);
    if (body.kind === "stream") this.#source = body.open(this);
    else if (body.kind === "whole" && !isEnd) stream.end(body.bytes);
  }

  /** Marks END_STREAM, which Node tells apart from a reset only here: a stream that is reset is closed before its end is pushed. */
  #watchEnd(stream: ClientHttp2Stream): void {
    const push = stream.push.bind(stream);
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) this.#hasEnded = true;
      return push(chunk, encoding);
    };
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.on("headers", (_fields, _flags, raw) => this.#onInform(raw));
    stream.on("response", (_fields, flags, raw) => this.#onResponse(raw, flags));
    stream.on("trailers", (_fields, _flags, raw) => this.#onTrailers(raw));
    stream.on("end", () => this.#onEnd());
    stream.on("error", (error) => void (this.#error ??= error));
    stream.on("close", () => this.#onClose());
    if (this.#request.body.kind !== "stream") return;
    stream.on("wantTrailers", () => this.#sendTrailers(stream));
    stream.on("drain", () => {
      this.#idle.touch();
      this.#source?.resume();
    });
  }

  pause(): void {
    if (this.#isOver) return;
    this.#isPaused = true;
    this.#idle.pause();
    if (this.#hasHead) this.#stream?.pause();
  }

  resume(): void {
    if (this.#isOver || !this.#isPaused) return;
    this.#isPaused = false;
    this.#idle.resume();
    if (this.#isClosed) this.#deliverRest();
    // Nothing flows before the head: nobody would listen to it.
    else if (this.#hasHead) this.#stream?.resume();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancel(NGHTTP2_CANCEL);
  }

  onIdle(): void {
    // A connection that went silent may be dead: nothing new is entrusted to it.
    this.#session?.retire();
    this.#fail(new ProxyError("upstream_timeout", "the upstream sent nothing for TALLYMAN_UPSTREAM_IDLE_TIMEOUT"));
    this.#cancel(NGHTTP2_CANCEL);
  }

  data(chunk: Buffer): boolean {
    const stream = this.#stream;
    if (this.#isBodyOver || stream === undefined) return true;
    if (stream.writableEnded || stream.destroyed) {
      // Closed from the other side; its "close" event is on the way.
      this.#endBody();
      return true;
    }
    this.#idle.touch();
    return stream.write(chunk);
  }

  end(trailers: RawHeaders): void {
    if (this.#isBodyOver) return;
    this.#isBodyOver = true;
    this.#requestTrailers = trailers;
    this.#idle.touch();
    this.#stream?.end();
  }

  fail(error: Error): void {
    if (this.#isBodyOver) return;
    this.#error = new ProxyError("upstream_unreachable", "the client went away inside the request body", error);
    this.#cancel(NGHTTP2_CANCEL);
  }

  #sendTrailers(stream: ClientHttp2Stream): void {
    try {
      stream.sendTrailers(toHttp2Trailers(this.#requestTrailers));
    } catch (error) {
      // Closed in the meantime: "close" tells. Node checks the fields too: then nothing would end the request.
      this.#error ??= error;
      this.#cancel(NGHTTP2_CANCEL);
    }
  }

  #onInform(raw: RawHeaders): void {
    if (this.#isOver) return;
    this.#idle.touch();
    this.#informs += 1;
    const head = this.#informs > MAX_INTERIM_HEADS ? undefined : readHead(raw);
    if (head === undefined) this.#refuse();
    else this.#listener.onInform(head);
  }

  #onResponse(raw: RawHeaders, flags: number): void {
    const stream = this.#stream;
    if (this.#isOver || stream === undefined) return;
    this.#idle.touch();
    const head = this.#hasHead ? undefined : readHead(raw);
    if (head === undefined) {
      this.#refuse();
      return;
    }
    this.#hasHead = true;
    this.#hasLength = getHeader(head.headers, "content-length") !== undefined;
    this.#listener.onHead(head);
    // A head that is all of the response: its end is told in the same turn, so that it can leave as one.
    if ((flags & NGHTTP2_FLAG_END_STREAM) !== 0 && !this.#isPaused) this.#onEnd();
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    if (this.#isPaused) stream.pause();
  }

  #onTrailers(raw: RawHeaders): void {
    if (isTooLarge(raw)) this.#refuse();
    else this.#trailers = fromHttp2Trailers(raw);
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#idle.touch();
    this.#listener.onData(chunk);
  }

  #onEnd(): void {
    if (this.#isOver || !this.#hasEnded || !this.#hasHead) return;
    this.#isOver = true;
    // The body may go on: an origin that does not want the rest resets the stream.
    if (this.#isPaused) this.#idle.resume();
    this.#listener.onEnd(this.#trailers);
  }

  #onClose(): void {
    this.#isClosed = true;
    this.#idle.stop();
    this.#endBody();
    if (this.#isOver) return;
    if (!this.#hasEnded || !this.#hasHead) {
      this.#fail(this.#reason());
      return;
    }
    const rest: unknown = this.#stream?.read();
    if (Buffer.isBuffer(rest)) this.#leftover = rest;
    this.#deliverRest();
  }

  #deliverRest(): void {
    if (this.#isPaused) return;
    const rest = this.#leftover;
    this.#leftover = undefined;
    if (rest !== undefined) this.#onData(rest);
    if (!this.#isPaused) this.#onEnd();
  }

  /** Why the stream closed before its response was whole. */
  #reason(): unknown {
    const code = this.#stream?.rstCode ?? NGHTTP2_NO_ERROR;
    if (this.#error !== undefined && errorCode(this.#error) !== "ERR_HTTP2_STREAM_ERROR") return connectionError(this.#error);
    if (this.#session?.isLost === true) return connectionError(undefined);
    // An end that cannot be told from a whole response is never passed on as one.
    if (code === NGHTTP2_NO_ERROR) return new ProxyError("upstream_protocol", "the upstream ended the stream inside its response");
    // nghttp2 resets a stream whose body is shorter than its head says; at a longer one Node ends the session.
    if (code === NGHTTP2_PROTOCOL_ERROR && this.#hasLength) return new ProxyError("upstream_protocol", "the upstream's answer is shorter than it says", this.#error);
    return new StreamReset(code);
  }

  #refuse(): void {
    this.#fail(new ProxyError("upstream_protocol", "the upstream's answer is not valid HTTP"));
    this.#cancel(NGHTTP2_PROTOCOL_ERROR);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#idle.stop();
    this.#endBody();
    this.#listener.onError(error);
  }

  #cancel(code: number): void {
    this.#idle.stop();
    this.#endBody();
    const stream = this.#stream;
    if (stream === undefined) return;
    stream.close(code);
    // The reset is with nghttp2 by then. Where the connection takes no bytes the stream would stay until that is over.
    setImmediate(() => stream.destroy());
  }

  /** What still comes of the request's body is thrown away. */
  #endBody(): void {
    if (this.#isBodyOver) return;
    this.#isBodyOver = true;
    this.#source?.resume();
    if (this.#request.body.kind === "stream") this.#request.body.discard();
  }
}

function readHead(raw: RawHeaders): ResponseHead | undefined {
  return isTooLarge(raw) ? undefined : fromHttp2Response(raw);
}

/** Node holds an origin to the bound only from its acknowledgement of our settings on. */
function isTooLarge(raw: RawHeaders): boolean {
  let bytes = 0;
  for (let i = 0; i + 1 < raw.length; i += 2) bytes += (raw[i] as string).length + (raw[i + 1] as string).length + FIELD_OVERHEAD_BYTES;
  return bytes > MAX_RESPONSE_HEAD_BYTES;
}

/** What a connection's end is to the requests on it. */
function connectionError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  const code = errorCode(error);
  // nghttp2's own faults, and Node's bounds on frames, settings and origins. A GOAWAY is no such thing.
  const isProtocolFault = code === "ERR_HTTP2_ERROR" || code.startsWith("ERR_HTTP2_TOO_MANY_");
  if (isProtocolFault) return new ProxyError("upstream_protocol", "the upstream's answer is not valid HTTP", error);
  return new ProxyError("upstream_unreachable", "the upstream closed the connection before it answered", error);
}

/** For requests without a Host (HTTP/1.0): RFC 9110 section 7.2, the port where it is not the scheme's own. */
function defaultAuthority({ scheme, target }: UpstreamRequest): string {
  return target.port === (scheme === "https" ? 443 : 80) ? formatAuthority(target).replace(/:\d+$/, "") : formatAuthority(target);
}
