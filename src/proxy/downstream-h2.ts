/**
 * One request of an HTTP/2 client on a stream of node:http2, and the way back to it. Owns the stream's end: whatever
 * happens on it, nothing throws into the caller and no stream stays behind.
 *
 * What Node 24.21 does, seen by running it (2026):
 * - A client's RST_STREAM gives 'aborted' before 'end' and 'close', so that an 'end' alone does not tell that a body is
 *   whole. There is no 'aborted' where the response has ended already, which that of a HEAD has from the start.
 * - RST_STREAM(NO_ERROR) destroys the stream only once what was received of it has been read and what was written has been
 *   taken, which it never is.
 * - `respond` and `write` of one turn leave in one write at the end of it. `close(code)` drops what the stream still
 *   buffers in JavaScript, so a reset that must come behind the data waits for the callbacks of the writes.
 * - `close(code)` ends the writable first. Where nothing is left to write, END_STREAM goes out in the reset's place and the
 *   client takes the response for whole: see `resetStream`.
 * - END_STREAM goes with the last DATA frame when that is given to `end`, unless trailers were announced to `respond`:
 *   then it goes with them, or with an empty DATA frame where there are none.
 */

import { constants, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";

import type { ResponseHead } from "../flow/flow.ts";
import { getHeader, type RawHeaders } from "../flow/headers.ts";
import { fromHttp2Trailers, toHttp2Inform, toHttp2Response, toHttp2Trailers, type Http2RequestHead } from "./http2-fields.ts";
import { StreamReset, type BodySink, type BodySource, type BodyWatcher, type Downstream, type RequestBody, type RequestStream, type ResponseBodyKind } from "./messages.ts";

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE } = constants;

/** The largest code that `close` takes without throwing; RST_STREAM has room for 32 bits. */
const MAX_CODE = 2 ** 31 - 1;

export interface H2DownstreamOptions {
  /** How long a client may go on sending its body after the response has ended; then RST_STREAM(NO_ERROR). */
  readonly lingerMs: number;
}

/** A class for its identity: node calls it back through the whole life of the stream. */
export class H2Downstream implements Downstream {
  readonly version = "2";
  readonly method: string;
  readonly headers: RawHeaders;
  readonly isChunked: boolean;
  readonly #stream: ServerHttp2Stream;
  readonly #lingerMs: number;
  readonly #contentLength: number | undefined;
  #requestTrailers: RawHeaders = [];
  #body: H2RequestBody | undefined;
  /** A head that is the last byte of its response. */
  #heldHead: ResponseHead | undefined;
  #responseTrailers: RawHeaders = [];
  /** The response has been ended, broken off or reset by us. */
  #isOver = false;
  #isGone = false;
  #isClosed = false;
  #closeListener: (() => void) | undefined;
  #drainListener: (() => void) | undefined;
  #hearsDrain = false;
  /** Writes that the client has not taken yet. */
  #waitingWrites = 0;
  #takenWrites = 0;
  /** Goes out behind the last waiting write. */
  #resetCode: number | undefined;
  /** By the last sweep. */
  #seen = { takenWrites: -1, sinceMs: 0, isDead: false };

  constructor(stream: ServerHttp2Stream, head: Http2RequestHead, options: H2DownstreamOptions) {
    this.#stream = stream;
    this.#lingerMs = options.lingerMs;
    this.method = head.method;
    const length = getHeader(head.headers, "content-length");
    this.#contentLength = length === undefined ? undefined : Number(length);
    // The end of such a body is told by END_STREAM, which HTTP/1.1 says in chunks.
    this.isChunked = !stream.endAfterHeaders && length === undefined;
    this.headers = this.isChunked ? [...head.headers, "transfer-encoding", "chunked"] : head.headers;
    stream.on("error", ignoreFault);
    stream.once("aborted", () => this.#onAborted());
    stream.once("close", () => this.#onClosed());
    if (!stream.endAfterHeaders) stream.once("trailers", (_fields, _flags, raw) => (this.#requestTrailers = fromHttp2Trailers(raw)));
  }

  /** True: the client ended the stream, or its connection died, before the response was finished. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** To be called when the frames that were read together with the head have been seen: in the next turn. */
  takeBody(watcher: BodyWatcher | undefined, use: (body: RequestBody) => void): void {
    const bytes = this.#stream.endAfterHeaders ? NO_BYTES : this.#takeWhole();
    if (bytes === undefined) {
      this.#body = new H2RequestBody(this.#stream, this.#contentLength, watcher, () => this.#requestTrailers);
      if (this.#isGone || this.#isClosed) this.#body.fail();
      use(this.#body);
      return;
    }
    if (bytes.length > 0) watcher?.requestData(bytes);
    watcher?.requestEnd();
    use(bytes.length > 0 ? { kind: "whole", bytes } : { kind: "none" });
  }

  /** All of a body of known length, when its end is here as well and no trailers are; else undefined and nothing is consumed. */
  #takeWhole(): Buffer | undefined {
    const stream = this.#stream;
    const length = this.#contentLength;
    if (length === undefined || stream.readableLength !== length || this.#requestTrailers.length > 0) return undefined;
    if (stream.destroyed || stream.state.state !== NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE) return undefined;
    const bytes: unknown = stream.read();
    return Buffer.isBuffer(bytes) ? bytes : NO_BYTES;
  }

  onClose(listener: () => void): void {
    if (this.#isClosed || this.#isGone) process.nextTick(listener);
    else this.#closeListener = listener;
  }

  inform(head: ResponseHead): void {
    const stream = this.#stream;
    const fields = toHttp2Inform(head);
    // RFC 9113 section 8.6: there is no 101.
    if (fields === undefined || head.status === 101 || !this.#isOpen() || stream.headersSent) return;
    attempt(() => stream.additionalHeaders(fields));
  }

  start(head: ResponseHead, body: ResponseBodyKind): void {
    if (body.kind === "none") {
      this.#heldHead = head;
      return;
    }
    // Nobody knows before the end of an open body whether trailers follow.
    this.#respond(head, { waitForTrailers: body.kind === "open" || announcesTrailers(head.headers) });
  }

  write(chunk: Buffer): boolean {
    if (!this.#isWritable()) return true;
    this.#waitingWrites += 1;
    return this.#stream.write(chunk, this.#onTaken);
  }

  readonly #onTaken = (): void => {
    this.#waitingWrites -= 1;
    this.#takenWrites += 1;
    if (this.#resetCode !== undefined && this.#waitingWrites === 0) resetStream(this.#stream, this.#resetCode);
  };

  onDrain(listener: () => void): void {
    this.#drainListener = listener;
    if (this.#hearsDrain) return;
    this.#hearsDrain = true;
    this.#stream.on("drain", () => {
      const waiting = this.#drainListener;
      this.#drainListener = undefined;
      waiting?.();
    });
  }

  end(last: Buffer | undefined, trailers: RawHeaders): void {
    if (this.#isOver) return;
    const held = this.#heldHead;
    this.#isOver = true;
    this.#responseTrailers = trailers;
    if (held !== undefined) this.#respondWithoutBody(held, trailers);
    else if (this.#isWritable()) this.#stream.end(last);
    this.#linger();
  }

  #respondWithoutBody(head: ResponseHead, trailers: RawHeaders): void {
    // RFC 9110 section 6.4.1: these end with their head.
    const hasTrailers = trailers.length > 0 && this.method !== "HEAD" && head.status !== 204 && head.status !== 304;
    if (!hasTrailers) this.#respond(head, { endStream: true });
    else if (this.#respond(head, { waitForTrailers: true }) && this.#isWritable()) this.#stream.end();
  }

  breakOff(cause: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // NO_ERROR would tell some clients that what they have is whole.
    const code = cause instanceof StreamReset && cause.http2Code !== NGHTTP2_NO_ERROR ? cause.http2Code : NGHTTP2_INTERNAL_ERROR;
    this.#resetCode = Math.min(code, MAX_CODE);
    if (this.#waitingWrites === 0) resetStream(this.#stream, this.#resetCode);
    this.#letGo();
  }

  answer(status: number, headers: RawHeaders, body: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const isBodyless = body === "" || this.method === "HEAD";
    const hasStarted = this.#respond({ status, statusText: "", headers }, { endStream: isBodyless });
    if (hasStarted && !isBodyless && this.#isWritable()) this.#stream.end(body);
    this.#linger();
  }

  reset(http2Code: number): boolean {
    if (!this.#isOver) this.#cancel(Math.min(http2Code, MAX_CODE));
    return true;
  }

  /** Never called: a request to go over to another protocol does not exist in HTTP/2 (RFC 9113 section 8.6). */
  switchProtocols(): Duplex {
    throw new Error("HTTP/2 has no switch of protocols");
  }

  /**
   * Called now and then: ends the stream when the client has taken nothing of what has waited for it for the bound, and
   * when node keeps it although the client has ended it. What the last call saw is what this one compares with.
   */
  sweep(nowMs: number, stalledMs: number): void {
    // A reset by NO_ERROR while an ended response still waits for the window: no event tells of it.
    const isDead = this.#stream.closed && !this.#stream.writableFinished;
    const isWaiting = this.#waitingWrites > 0 || this.#isOver;
    const hasMoved = !isWaiting || this.#seen.takenWrites !== this.#takenWrites;
    const sinceMs = hasMoved ? nowMs : this.#seen.sinceMs;
    if ((isDead && this.#seen.isDead) || nowMs - sinceMs >= stalledMs) this.cut();
    else this.#seen = { takenWrites: isWaiting ? this.#takenWrites : -1, sinceMs, isDead };
  }

  /** Ends the stream (CANCEL) as if the client had gone. */
  cut(): void {
    this.#onAborted();
    resetStream(this.#stream, NGHTTP2_CANCEL);
    // A client that does not even read its connection never takes the reset: the stream's memory goes now.
    this.#stream.destroy();
  }

  #isOpen(): boolean {
    return !this.#stream.destroyed && !this.#stream.closed;
  }

  #isWritable(): boolean {
    return this.#isOpen() && this.#stream.headersSent && !this.#stream.writableEnded && this.#resetCode === undefined;
  }

  /** False: the client cannot have this head, and the stream is over. */
  #respond(head: ResponseHead, framing: { endStream?: boolean; waitForTrailers?: boolean }): boolean {
    const stream = this.#stream;
    if (!this.#isOpen()) return false;
    const list = toHttp2Response(head);
    if (framing.waitForTrailers === true) stream.once("wantTrailers", () => this.#sendTrailers());
    const hasLeft = list !== undefined && attempt(() => stream.respond(list, { ...framing, ...NO_DATE }));
    if (!hasLeft) this.#cancel(NGHTTP2_INTERNAL_ERROR);
    return hasLeft;
  }

  #sendTrailers(): void {
    const stream = this.#stream;
    if (!attempt(() => stream.sendTrailers(toHttp2Trailers(this.#responseTrailers)))) this.#cancel(NGHTTP2_INTERNAL_ERROR);
  }

  #cancel(code: number): void {
    this.#isOver = true;
    resetStream(this.#stream, code);
    this.#letGo();
  }

  /** What still comes of the request is read and thrown away for a while, so that the client can finish sending. */
  #linger(): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.endAfterHeaders || stream.readableEnded) return;
    if (this.#body === undefined) stream.resume();
    else this.#body.endUnlessOpen();
    const timer = setTimeout(() => {
      stream.close(NGHTTP2_NO_ERROR);
      this.#letGo();
    }, this.#lingerMs);
    timer.unref();
    stream.once("close", () => clearTimeout(timer));
  }

  /** The end of a stream waits for its last byte to be read. */
  #letGo(): void {
    this.#body?.fail();
    this.#stream.resume();
  }

  #onAborted(): void {
    if (this.#isOver || this.#isGone) return;
    this.#isGone = true;
    this.#tellClosed();
    this.#letGo();
    // Node is inside of its own closing here.
    setImmediate(() => this.#stream.destroy());
  }

  #onClosed(): void {
    this.#onAborted();
    this.#isClosed = true;
    this.#body?.close();
    this.#tellClosed();
  }

  #tellClosed(): void {
    const listener = this.#closeListener;
    this.#closeListener = undefined;
    listener?.();
  }
}

/** The request's body as pieces; the stream's window is the back-pressure. Nothing is read before it is opened or discarded. */
class H2RequestBody implements RequestStream, BodySource {
  readonly kind = "stream";
  readonly contentLength: number | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #watcher: BodyWatcher | undefined;
  readonly #trailers: () => RawHeaders;
  #sink: BodySink | undefined;
  #hasFailed = false;
  #hasEnded = false;

  constructor(stream: ServerHttp2Stream, contentLength: number | undefined, watcher: BodyWatcher | undefined, trailers: () => RawHeaders) {
    this.#stream = stream;
    this.contentLength = contentLength;
    this.#watcher = watcher;
    this.#trailers = trailers;
  }

  open(sink: BodySink): BodySource {
    this.#sink = sink;
    if (this.#hasFailed) {
      process.nextTick(() => this.fail());
      return this;
    }
    // Some clients cancel by END_STREAM with a reset behind it: the frames that came with the end are read first.
    this.#stream.once("end", () => {
      this.#hasEnded = true;
      setImmediate(() => this.#end());
    });
    this.#stream.on("data", (chunk: Buffer) => this.#data(chunk));
    return this;
  }

  resume(): void {
    this.#stream.resume();
  }

  discard(): void {
    this.#sink = undefined;
    this.#stream.resume();
  }

  /** The response has ended: who has not asked for the body by now will not. */
  endUnlessOpen(): void {
    if (this.#sink !== undefined) return;
    this.#hasFailed = true;
    this.#stream.resume();
  }

  fail(): void {
    this.#hasFailed = true;
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.fail(new Error("the client went away inside the request body"));
  }

  /** The stream is no more. */
  close(): void {
    if (!this.#hasEnded) this.fail();
  }

  #data(chunk: Buffer): void {
    if (this.#sink === undefined) return;
    this.#watcher?.requestData(chunk);
    if (!this.#sink.data(chunk)) this.#stream.pause();
  }

  #end(): void {
    // Where the response has ended before, a reset inside the body is told by its code alone.
    if (this.#stream.rstCode !== NGHTTP2_NO_ERROR) {
      this.fail();
      return;
    }
    const sink = this.#sink;
    if (sink === undefined) return;
    this.#sink = undefined;
    this.#watcher?.requestEnd();
    sink.end(this.#trailers());
  }
}

const NO_BYTES = Buffer.alloc(0);

/** Node would add a Date of its own. */
const NO_DATE = { sendDate: false };

/** The trailers of a body with a Content-Length are kept where they are announced, or where there always are some. */
function announcesTrailers(headers: RawHeaders): boolean {
  return getHeader(headers, "trailer") !== undefined || getHeader(headers, "content-type")?.startsWith("application/grpc") === true;
}

/** RST_STREAM, and never END_STREAM in its place. The code is at most MAX_CODE. */
function resetStream(stream: ServerHttp2Stream, code: number): void {
  // What node would say END_STREAM with.
  stream._final = (callback) => callback();
  stream.close(code);
}

/** Node throws at what it cannot send; false tells so. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

function ignoreFault(): void {
  // Told by 'close', which follows.
}
