/**
 * One request on a stream of an HTTP/2 connection to an origin, from its head to its close.
 */

import { constants, type ClientHttp2Stream } from "node:http2";

import type { ResponseHead } from "../flow/flow.ts";
import { getHeader, type RawHeaders } from "../flow/headers.ts";
import { formatAuthority } from "./connect-target.ts";
import { fromHttp2Response, fromHttp2Trailers, toHttp2Request, toHttp2Trailers } from "./http2-fields.ts";
import { MAX_RESPONSE_HEAD_BYTES, type Http2Session } from "./http2-session.ts";
import type { IdleTicket, IdleWatch, Watched } from "./idle-watch.ts";
import { StreamReset, type BodySink, type BodySource, type UpstreamCall, type UpstreamListener, type UpstreamRequest } from "./messages.ts";
import { errorCode, LostAnswer, ProxyError } from "./proxy-error.ts";

/** Interim heads of one response; they pass without back-pressure. Beyond them: `upstream_protocol`. */
export const MAX_INTERIM_HEADS = 100;
const FIELD_OVERHEAD_BYTES = 32;

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } = constants;

/** A class for its identity: stream, body and idle watch call it back through the whole life of a request. */
export class Http2Call implements UpstreamCall, BodySink, Watched {
  readonly #request: UpstreamRequest;
  readonly #listener: UpstreamListener;
  readonly #idle: IdleTicket;
  #session: Http2Session | undefined;
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

  start(session: Http2Session | undefined): void {
    try {
      this.#open(session);
    } catch (error) {
      // Node checks what it is given before it opens a stream.
      queueMicrotask(() => this.#fail(error));
    }
  }

  #open(session: Http2Session | undefined): void {
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
    this.#fail(new LostAnswer("upstream_timeout", "the upstream sent nothing for TALLYMAN_UPSTREAM_IDLE_TIMEOUT"));
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
    const isAll = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
    this.#listener.onHead(head, isAll);
    if (isAll && !this.#isPaused) this.#onEnd();
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
    if (code === NGHTTP2_NO_ERROR) return new LostAnswer("upstream_protocol", "the upstream ended the stream inside its response");
    // nghttp2 resets a stream whose body is shorter than its head says; at a longer one Node ends the session.
    if (code === NGHTTP2_PROTOCOL_ERROR && this.#hasLength) return new LostAnswer("upstream_protocol", "the upstream's answer is shorter than it says", this.#error);
    return new StreamReset(code);
  }

  #refuse(): void {
    this.#fail(new LostAnswer("upstream_protocol", "the upstream's answer is not valid HTTP"));
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
  if (isProtocolFault) return new LostAnswer("upstream_protocol", "the upstream's answer is not valid HTTP", error);
  return new LostAnswer("upstream_unreachable", "the upstream closed the connection before it answered", error);
}

/** For requests without a Host (HTTP/1.0): RFC 9110 section 7.2, the port where it is not the scheme's own. */
function defaultAuthority({ scheme, target }: UpstreamRequest): string {
  return target.port === (scheme === "https" ? 443 : 80) ? formatAuthority(target).replace(/:\d+$/, "") : formatAuthority(target);
}
