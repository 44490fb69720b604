/**
 * What an exchange, its client's side (`Downstream`) and its upstream's side (`Upstream`) say to each other, whatever
 * HTTP version either speaks. Heads are in HTTP/1.1 form: raw header lists without pseudo fields, `Host` among them.
 */

import type { Duplex } from "node:stream";

import type { ResponseHead } from "../flow/flow.ts";
import type { RawHeaders } from "../flow/headers.ts";
import type { Target } from "./connect-target.ts";

/** The request's body on its way up. */
export type RequestBody =
  | { readonly kind: "none" }
  /** All of it is here already. */
  | { readonly kind: "whole"; readonly bytes: Buffer }
  | RequestStream;

export interface RequestStream {
  readonly kind: "stream";
  /** From Content-Length; undefined when only its end tells (chunked, HTTP/2 without the field). */
  readonly contentLength: number | undefined;
  /** Starts the body. Called at most once; the sink hears nothing before this returns. */
  open(sink: BodySink): BodySource;
  /** Nobody wants a body that was never opened: it is read and thrown away, so that the client can finish sending. */
  discard(): void;
}

/** Takes the pieces of a body. After `end` or `fail` nothing more is called. */
export interface BodySink {
  /** False: the sink has enough; it calls `resume` of the source when it wants more. */
  data(chunk: Buffer): boolean;
  end(trailers: RawHeaders): void;
  /** The client went away inside the body. */
  fail(error: Error): void;
}

export interface BodySource {
  resume(): void;
}

/** One request, ready to go up. */
export interface UpstreamRequest {
  readonly scheme: "https" | "http";
  readonly target: Target;
  readonly method: string;
  /** Origin-form path and query, as the client sent it. */
  readonly path: string;
  /**
   * Fields in the client's order and case: `Host`, `Content-Length` as sent, `Expect` as sent; `Transfer-Encoding` where
   * the body is chunked, `Connection` and `Upgrade` where `upgrade` is set. An HTTP/2 upstream leaves those out.
   */
  readonly headers: RawHeaders;
  readonly body: RequestBody;
  /** The protocol that the client asks to go over to; its body is then `none`. */
  readonly upgrade: string | undefined;
  /** True: the client speaks HTTP/2, and an origin that does too is spoken to in it. */
  readonly prefersHttp2: boolean;
}

/** Told what comes back. Calls come one at a time, in this order: inform*, then head data* end, or upgrade; or error at any point. */
export interface UpstreamListener {
  /** An interim response (1xx but 101). */
  onInform(head: ResponseHead): void;
  /**
   * The final response's head, as received: fields of the connection are still in it. `isAll`: it is known that no body and
   * no trailers follow.
   */
  onHead(head: ResponseHead, isAll: boolean): void;
  onData(chunk: Buffer): void;
  onEnd(trailers: RawHeaders): void;
  /** The upstream went over to the protocol; bytes that came behind the head are still readable. The socket is the listener's. */
  onUpgrade(head: ResponseHead, socket: Duplex): void;
  /** The end, before or after the head. A StreamReset where the upstream reset the HTTP/2 stream. */
  onError(error: unknown): void;
}

/** A request that is under way. */
export interface UpstreamCall {
  /** No more onData until resume; what is on the way already may still come. */
  pause(): void;
  resume(): void;
  /** The client went away: the request is cancelled at once and the listener hears nothing more. No effect after the end. */
  abort(): void;
}

/** An HTTP/2 stream that its peer ended by RST_STREAM. */
export class StreamReset extends Error {
  /** RFC 9113 section 7. */
  readonly http2Code: number;
  constructor(http2Code: number) {
    super(`the HTTP/2 stream was reset (${http2Code})`);
    this.name = "StreamReset";
    this.http2Code = http2Code;
  }
}

/** How the client learns where a response's body ends. */
export type ResponseBodyKind =
  | { readonly kind: "none" }
  /** Content-Length bytes; at least one. */
  | { readonly kind: "fixed"; readonly bytes: number }
  /** Its end tells: chunks, END_STREAM, or the close of an HTTP/1.0 connection. */
  | { readonly kind: "open" };

/** A client's request and the way back to it. One of each per exchange. */
export interface Downstream {
  readonly version: "1.0" | "1.1" | "2";
  readonly method: string;
  /** Fields as received, in order and case; of an HTTP/2 request without the pseudo fields, `:authority` as a leading `host`. */
  readonly headers: RawHeaders;
  /** True: there is a transfer coding, so the fields that go up hold one too. */
  readonly isChunked: boolean;
  /**
   * The body, as soon as it is known whether all of it is here: at once or in a later turn. The watcher is shown every piece
   * that goes up, and the end.
   */
  takeBody(watcher: BodyWatcher | undefined, use: (body: RequestBody) => void): void;
  /** Called once, when the response or its connection has closed; before the response was finished it means that the client has gone. */
  onClose(listener: () => void): void;
  /** Passes an interim response on, where the client's version knows them. */
  inform(head: ResponseHead): void;
  /** Begins the final response, with end-to-end fields. It leaves at once, together with body bytes that come in the same turn. */
  start(head: ResponseHead, body: ResponseBodyKind): void;
  /** A piece of the body, not empty. False: the client takes no more now; `onDrain` tells when. */
  write(chunk: Buffer): boolean;
  /** Calls once, when the client takes more. */
  onDrain(listener: () => void): void;
  /** The last byte: the piece that completes the body (or none), and the trailers. */
  end(last: Buffer | undefined, trailers: RawHeaders): void;
  /** After `start`: ends the response so that the client cannot take it for whole. */
  breakOff(cause: unknown): void;
  /** A whole response of the proxy's own. The rest of the request's body is thrown away. */
  answer(status: number, headers: RawHeaders, body: string): void;
  /** Before `start`: resets the stream as the upstream reset its own. False where the version has no such thing. */
  reset(http2Code: number): boolean;
  /** Goes over to another protocol: writes the head as it is and hands the connection over, bytes sent early still readable. */
  switchProtocols(head: ResponseHead): Duplex;
}

/** Called with each piece of a body as it goes up, and at its end. */
export interface BodyWatcher {
  requestData(chunk: Uint8Array): void;
  requestEnd(): void;
}
