/**
 * One HTTP/1.1 exchange: a downstream request goes up as it came, the upstream's response comes down as it arrives,
 * back-pressured both ways. Owns the life of the exchange on both sides; knows no usage: it shows the bytes to a tap
 * and holds the last byte back until the tap lets it go.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { TLSSocket } from "node:tls";
import type { Dispatcher } from "undici";

import { newFlowId } from "../flow/flow-id.ts";
import type { FlowGate, FlowHead, FlowObserver, FlowOutcome, FlowTap } from "../flow/flow.ts";
import { getHeader, getHeaderValues, splitRequestHeaders, stripResponseHeaders, type RawHeaders } from "../flow/headers.ts";
import { namesTarget, type Target } from "./connect-target.ts";
import { answerBody, answerHeaders, ProxyError, toProxyError, type ProxyAnswer } from "./proxy-error.ts";
import { bodyFraming, hasBody, streamBody, takeWholeBody, type BodyFraming } from "./request-body.ts";
import type { Upstream, UpstreamRequest } from "./upstream.ts";

export interface ExchangeDeps {
  readonly upstream: Upstream;
  readonly observer: FlowObserver;
  readonly gate: FlowGate;
  readonly now: () => number;
  /** Told of every answer that the proxy made by itself. */
  readonly onProxyAnswer: (code: string, host: string) => void;
}

/** Where the request goes and who sent it; fixed by the CONNECT (or the absolute-form request line). */
export interface ExchangeRoute {
  readonly scheme: "https" | "http";
  readonly target: Target;
  readonly proxyUser: string | undefined;
}

type Controller = Dispatcher.DispatchController & { rawHeaders?: unknown; rawTrailers?: unknown };

/** Runs one exchange. `path` is origin-form. Never throws. */
export function runExchange(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  route: ExchangeRoute,
  deps: ExchangeDeps,
): void {
  const exchange = new Exchange(request, response, path, route, deps);
  exchange.start();
}

/** A class for its identity: undici calls it back through the whole life of the exchange. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #route: ExchangeRoute;
  readonly #deps: ExchangeDeps;
  readonly #head: FlowHead;
  readonly #framing: BodyFraming;
  #tap: FlowTap | undefined;
  #controller: Controller | undefined;
  #forget: (() => void) | undefined;
  #isOver = false;
  /** Body bytes of the response that are still to come, where Content-Length tells. */
  #expectedBytes = -1;
  /** True: the response's body goes down in chunks that are framed here. */
  #isChunkedDown = false;
  #hasHeadLeft = false;
  /** The piece that completes a fixed-length body. */
  #heldBody: Buffer | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, path: string, route: ExchangeRoute, deps: ExchangeDeps) {
    this.#request = request;
    this.#response = response;
    this.#route = route;
    this.#deps = deps;
    this.#framing = bodyFraming(request);
    const startedAtMs = deps.now();
    const { forward, attribution } = splitRequestHeaders(request.rawHeaders);
    this.#head = {
      flowId: newFlowId(startedAtMs),
      startedAtMs,
      protocol: "http",
      scheme: route.scheme,
      host: route.target.host,
      port: route.target.port,
      method: request.method ?? "GET",
      target: path,
      headers: forward,
      proxyUser: route.proxyUser,
      attributionHeaders: attribution,
    };
  }

  start(): void {
    const hosts = getHeaderValues(this.#request.rawHeaders, "host");
    const isForeign = hosts.length > 1 || (hosts[0] !== undefined && !namesTarget(hosts[0], this.#route.target));
    if (isForeign) {
      this.#answer(new ProxyError("authority_mismatch", "the Host header names another host than the proxy was asked to connect to"));
      return;
    }
    this.#response.on("close", () => this.#onDownstreamClose());
    const verdict = this.#admit();
    if (verdict instanceof Promise) void verdict.then((refusal) => this.#proceed(refusal));
    else this.#proceed(verdict);
  }

  /** A gate that fails lets the request pass: metering never fails traffic. */
  #admit(): ProxyAnswer | undefined | Promise<ProxyAnswer | undefined> {
    try {
      const verdict = this.#deps.gate.admit(this.#head);
      return verdict instanceof Promise ? verdict.catch(() => undefined) : verdict;
    } catch {
      return undefined;
    }
  }

  #proceed(refusal: ProxyAnswer | undefined): void {
    if (refusal !== undefined) {
      this.#answer(refusal);
      return;
    }
    this.#tap = this.#deps.observer.open(this.#head);
    if (this.#isOver) {
      void this.#endTap({ kind: "client_aborted" });
      return;
    }
    if (!hasBody(this.#framing)) {
      this.#tap?.requestEnd();
      this.#dispatch(null);
    } else if (this.#request.complete) this.#dispatchWithBody();
    // A small body is in the same read as its head: it is there when the parser has returned.
    else process.nextTick(() => this.#dispatchWithBody());
  }

  #dispatchWithBody(): void {
    if (this.#isOver) return;
    const whole = takeWholeBody(this.#request, this.#framing);
    if (whole === undefined) {
      this.#dispatch(streamBody(this.#request, this.#tap));
      return;
    }
    this.#tap?.requestData(whole);
    this.#tap?.requestEnd();
    this.#dispatch(whole);
  }

  #dispatch(body: Buffer | Readable | null): void {
    const upstreamRequest: UpstreamRequest = {
      scheme: this.#route.scheme,
      target: this.#route.target,
      method: this.#head.method,
      path: this.#head.target,
      headers: requestHeaders(this.#request.rawHeaders, this.#head, this.#framing),
      contentLength: this.#framing.contentLength,
      isChunked: this.#framing.isChunked,
      body,
      trailers: () => this.#request.rawTrailers,
    };
    try {
      this.#forget = this.#deps.upstream.dispatch(upstreamRequest, this);
      if (this.#isOver) this.#forget();
    } catch (error) {
      this.#fail(error);
    }
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(new Error("the client went away"));
  }

  onResponseStart(controller: Controller, status: number, _headers: unknown, statusText?: string): void {
    if (status < 200 || this.#isOver) return;
    const raw = rawPairs(controller.rawHeaders);
    const headers = stripResponseHeaders(raw);
    const head = { status, statusText: writableReason(statusText ?? ""), headers };
    this.#tap?.responseHead(head);
    if (isBodyless(this.#head.method, status, raw)) {
      // Node keeps it until end(): a head without a body is the last byte of its response and waits for the commit.
      this.#writeHead(head);
      return;
    }
    this.#expectedBytes = contentLengthOf(raw);
    this.#isChunkedDown = this.#expectedBytes < 0 && this.#request.httpVersionMinor > 0;
    if (this.#isChunkedDown) headers.push("Transfer-Encoding", "chunked");
    this.#writeHead(head);
    // The framing is ours: one write for a piece, where node makes three.
    if (this.#isChunkedDown) this.#response.chunkedEncoding = false;
    // A head whose body is in the same read leaves with it; any other at the end of this turn.
    process.nextTick(Exchange.#flushHead, this);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    // undici hands over empty pieces after a pause. As a chunk one would end the client's body, and behind the piece that
    // completes a fixed length it would take its place.
    if (this.#isOver || chunk.length === 0) return;
    this.#tap?.responseData(chunk);
    if (this.#expectedBytes >= 0) {
      this.#expectedBytes -= chunk.length;
      if (this.#expectedBytes === 0) {
        this.#heldBody = chunk;
        return;
      }
    }
    if (this.#write(chunk)) return;
    controller.pause();
    this.#response.once("drain", () => controller.resume());
  }

  onResponseEnd(controller: Controller): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#forget?.();
    const trailers = rawPairs(controller.rawTrailers);
    const held = this.#endTap({ kind: "complete" });
    const finish = (): void => {
      try {
        this.#finish(trailers);
      } catch {
        // Outside of undici's reach a throw would end the process; a response that cannot be ended is broken off.
        this.#response.destroy();
      }
    };
    if (held === undefined) finish();
    else void held.then(finish, finish);
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#fail(error);
  }

  /** The last byte. */
  #finish(trailers: string[]): void {
    const response = this.#response;
    if (response.destroyed) return;
    if (this.#isChunkedDown) response.end(lastChunk(trailers), "latin1");
    else if (this.#heldBody === undefined) response.end();
    else if (this.#isJoinable(this.#heldBody)) response.end(this.#heldBody.toString("latin1"), "latin1");
    else response.end(this.#heldBody);
  }

  /** Writes a piece of the body; false when the client does not take more. */
  #write(chunk: Buffer): boolean {
    const response = this.#response;
    if (this.#isJoinable(chunk)) {
      this.#hasHeadLeft = true;
      const text = chunk.toString("latin1");
      return response.write(this.#isChunkedDown ? `${chunk.length.toString(16)}\r\n${text}\r\n` : text, "latin1");
    }
    return response.write(this.#isChunkedDown ? framedChunk(chunk) : chunk);
  }

  /** Node writes a head and a text at once, a head and bytes apart. */
  #isJoinable(chunk: Buffer): boolean {
    return !this.#hasHeadLeft && chunk.length <= MAX_JOINED_BYTES;
  }

  static #flushHead(exchange: Exchange): void {
    if (exchange.#hasHeadLeft || exchange.#response.destroyed) return;
    exchange.#hasHeadLeft = true;
    exchange.#response.flushHeaders();
  }

  #fail(cause: unknown): void {
    this.#forget?.();
    if (this.#isOver) return;
    if (!this.#response.headersSent) {
      this.#answer(toProxyError(cause));
      return;
    }
    this.#isOver = true;
    void this.#endTap({ kind: "upstream_aborted" });
    // What arrived goes out, then the connection breaks off: the client must not take the response for whole.
    breakOff(this.#response, this.#isChunkedDown || this.#expectedBytes >= 0);
  }

  /** Answers in the upstream's place. */
  #answer(answer: ProxyAnswer): void {
    this.#isOver = true;
    this.#forget?.();
    this.#deps.onProxyAnswer(answer.code, this.#head.host);
    void this.#endTap({ kind: "refused", status: answer.status, code: answer.code });
    const response = this.#response;
    if (response.destroyed) return;
    const body = answerBody(answer, this.#deps.observer.errorShape?.(this.#head, answer));
    // A request body that nobody reads would block the connection: it is not used again.
    const headers = answerHeaders(answer, Buffer.byteLength(body));
    if (!this.#request.complete) headers.push("connection", "close");
    this.#request.resume();
    response.sendDate = false;
    response.writeHead(answer.status, headers);
    response.end(body);
  }

  #onDownstreamClose(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#forget?.();
    void this.#endTap({ kind: "client_aborted" });
    this.#controller?.abort(new Error("the client went away"));
  }

  #endTap(outcome: FlowOutcome): Promise<void> | undefined {
    const tap = this.#tap;
    this.#tap = undefined;
    try {
      return tap?.end(outcome);
    } catch {
      // A tap must not throw; one that does all the same must not keep the last byte.
      return undefined;
    }
  }

  #writeHead(head: { status: number; statusText: string; headers: string[] }): void {
    this.#response.sendDate = false;
    // Node throws at a Trailer field beside a framing that can have none.
    const hasTrailers = this.#isChunkedDown || getHeader(head.headers, "trailer") === undefined;
    const headers = hasTrailers ? head.headers : without(head.headers, "trailer");
    this.#response.writeHead(head.status, head.statusText, headers);
  }
}

/** The client's own headers in their order, with the framing fields where it put them, and a Host in any case. */
function requestHeaders(raw: RawHeaders, head: FlowHead, framing: BodyFraming): RawHeaders {
  const hasHost = getHeader(head.headers, "host") !== undefined;
  if (!framing.isChunked && hasHost) return head.headers;
  const headers = hasHost ? [] : ["Host", head.host.includes(":") ? `[${head.host}]` : head.host];
  if (!framing.isChunked) return [...headers, ...head.headers];
  // Transfer-Encoding was taken out as hop by hop; the body goes up in chunks as it came, so its field goes back.
  headers.push(...head.headers, "Transfer-Encoding", getHeader(raw, "transfer-encoding") ?? "chunked");
  return headers;
}

/** undici's raw header list: Buffers (latin1 on the wire) or strings, name and value alternating. */
function rawPairs(raw: unknown): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part: unknown) => (Buffer.isBuffer(part) ? part.toString("latin1") : String(part)));
}

/** A larger piece is not copied to leave with its head. */
const MAX_JOINED_BYTES = 16_384;

/** RFC 9112 section 7.1: one chunk in one buffer. */
function framedChunk(chunk: Buffer): Buffer {
  const size = chunk.length.toString(16);
  const framed = Buffer.allocUnsafe(size.length + 2 + chunk.length + 2);
  framed.write(`${size}\r\n`, 0, "latin1");
  chunk.copy(framed, size.length + 2);
  framed.write("\r\n", framed.length - 2, "latin1");
  return framed;
}

/** The end of a chunked body, with the upstream's trailers. */
function lastChunk(trailers: readonly string[]): string {
  let text = "0\r\n";
  for (let i = 0; i + 1 < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`;
  return `${text}\r\n`;
}

function contentLengthOf(raw: RawHeaders): number {
  const value = getHeader(raw, "content-length");
  return value === undefined || !/^\d+$/.test(value) ? -1 : Number(value);
}

/** RFC 9112 section 6.3: no body follows, or one of no bytes. */
function isBodyless(method: string, status: number, raw: RawHeaders): boolean {
  return method === "HEAD" || status === 204 || status === 304 || contentLengthOf(raw) === 0;
}

/**
 * Breaks the response off. Where it says how long it is, what was written leaves first. Where only the close tells its
 * end (HTTP/1.0), an orderly one would tell that it is whole: the connection is cut.
 */
function breakOff(response: ServerResponse, isFramed: boolean): void {
  const socket = response.socket;
  if (socket === null) response.destroy();
  else if (isFramed) socket.end(() => socket.destroy());
  else if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

/** undici has decoded the reason phrase as UTF-8: other bytes are lost, and Node throws at what stands for them. */
function writableReason(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "?");
}

function without(headers: string[], lowerName: string): string[] {
  return headers.filter((_, i) => headers[i - (i % 2)]?.toLowerCase() !== lowerName);
}
