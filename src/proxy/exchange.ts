/**
 * One HTTP exchange, downstream to upstream and back: bytes are passed on as they arrive, watched by a tap, with
 * back-pressure both ways. Whatever ends early on one side ends on the other in the same way.
 */

import { constants } from "node:http2";
import type { Duplex } from "node:stream";

import { newFlowId } from "../flow/flow-id.ts";
import type { FlowEdit, FlowEditor, FlowGate, FlowHead, FlowObserver, FlowOutcome, FlowTap, ResponseFilter, ResponseHead } from "../flow/flow.ts";
import { getHeader, getHeaderValues, splitRequestHeaders, stripResponseHeaders, without, type RawHeaders } from "../flow/headers.ts";
import { namesTarget, type Target } from "./connect-target.ts";
import type { IdleTicket, IdleWatch, Watched } from "./idle-watch.ts";
import {
  StreamReset,
  type Downstream,
  type RequestBody,
  type ResponseBodyKind,
  type UpstreamCall,
  type UpstreamListener,
  type UpstreamRequest,
} from "./messages.ts";
import { answerBody, answerHeaders, LostAnswer, ProxyError, toProxyError, type ProxyAnswer } from "./proxy-error.ts";
import { collectBody } from "./request-body.ts";
import type { TunnelWatches } from "./tunnel.ts";
import type { Upstream } from "./upstream.ts";
import { spliceWebSocket } from "./websocket.ts";

export interface ExchangeDeps {
  readonly upstream: Upstream;
  readonly observer: FlowObserver;
  readonly gate: FlowGate;
  /** A refusal for every new request (draining), or undefined; the connection ends with it. */
  readonly closedFor: () => ProxyAnswer | undefined;
  /** Undefined: nothing is ever changed. */
  readonly editor: FlowEditor | undefined;
  readonly now: () => number;
  /** Ends exchanges whose client takes nothing of what waits for it. */
  readonly stalls: IdleWatch;
  readonly tunnels: TunnelWatches;
  /** Told of every answer that the proxy made by itself. */
  readonly onProxyAnswer: (code: string, host: string) => void;
}

/** Where the request goes and who sent it; fixed by the CONNECT (or the absolute-form request line). */
export interface ExchangeRoute {
  readonly scheme: "https" | "http";
  readonly target: Target;
  readonly proxyUser: string | undefined;
}

export interface ExchangeRequest {
  readonly downstream: Downstream;
  /** Origin-form. */
  readonly path: string;
  /** True: the client asks to go over to a WebSocket. */
  readonly isUpgrade: boolean;
}

/** Runs one exchange. Never throws. */
export function runExchange(request: ExchangeRequest, route: ExchangeRoute, deps: ExchangeDeps): void {
  new Exchange(request, route, deps).start();
}

/** A class for its identity: both sides call it back through the whole life of the exchange. */
class Exchange implements UpstreamListener, Watched {
  readonly #downstream: Downstream;
  readonly #isUpgrade: boolean;
  readonly #route: ExchangeRoute;
  readonly #deps: ExchangeDeps;
  readonly #head: FlowHead;
  #tap: FlowTap | undefined;
  #call: UpstreamCall | undefined;
  /** As long as it may go again. */
  #request: UpstreamRequest | undefined;
  #isOver = false;
  #hasStarted = false;
  #isPaused = false;
  #stall: IdleTicket | undefined;
  /** Body bytes of the response that are still to come, where Content-Length tells; else -1. */
  #expectedBytes = -1;
  #responseEdit: FlowEdit | undefined;
  #filter: ResponseFilter | undefined;
  /** The piece that completes a fixed-length body. */
  #heldBody: Buffer | undefined;

  constructor(request: ExchangeRequest, route: ExchangeRoute, deps: ExchangeDeps) {
    this.#downstream = request.downstream;
    this.#isUpgrade = request.isUpgrade;
    this.#route = route;
    this.#deps = deps;
    const startedAtMs = deps.now();
    const { forward, attribution } = splitRequestHeaders(request.downstream.headers, {
      framing: request.downstream.isChunked,
      upgrade: request.isUpgrade,
    });
    this.#head = {
      flowId: newFlowId(startedAtMs),
      startedAtMs,
      protocol: request.isUpgrade ? "websocket" : "http",
      scheme: route.scheme,
      host: route.target.host,
      port: route.target.port,
      method: request.downstream.method,
      target: request.path,
      headers: forward,
      proxyUser: route.proxyUser,
      attributionHeaders: attribution,
    };
  }

  start(): void {
    const closed = this.#deps.closedFor();
    if (closed !== undefined) {
      this.#answer({ ...closed, headers: [...(closed.headers ?? []), "connection", "close"] });
      return;
    }
    const hosts = getHeaderValues(this.#downstream.headers, "host");
    const isForeign = hosts.length > 1 || (hosts[0] !== undefined && !namesTarget(hosts[0], this.#route.target));
    if (isForeign) {
      this.#answer(new ProxyError("authority_mismatch", "the Host header names another host than the proxy was asked to connect to"));
      return;
    }
    this.#downstream.onClose(() => this.#onDownstreamClose());
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
    if (this.#isOver) void this.#endTap({ kind: "client_aborted" });
    else this.#downstream.takeBody(this.#tap, (body) => this.#edit(body));
  }

  /** Where the operator asked for it the body is changed, once it is here. */
  #edit(body: RequestBody): void {
    const edit = this.#deps.editor?.edit(this.#head);
    if (edit === undefined) this.#send(body, this.#head.headers);
    else {
      // Who waits for a 100 would wait for an upstream that waits for us.
      if (body.kind === "stream" && getHeader(this.#head.headers, "expect") !== undefined) this.#downstream.inform(CONTINUE);
      collectBody(body, MAX_EDITED_BYTES, (collected) => {
        const bytes = collected.kind === "whole" ? edit.request(collected.bytes) : undefined;
        if (bytes === undefined) {
          this.#send(collected, this.#head.headers);
          return;
        }
        this.#responseEdit = edit;
        this.#send({ kind: "whole", bytes }, editedFields(this.#head.headers, bytes.length));
      });
    }
  }

  #send(body: RequestBody, headers: RawHeaders): void {
    if (this.#isOver) {
      if (body.kind === "stream") body.discard();
      return;
    }
    const request: UpstreamRequest = {
      scheme: this.#route.scheme,
      target: this.#route.target,
      method: this.#head.method,
      path: this.#head.target,
      headers: withHost(headers, this.#head),
      body,
      upgrade: this.#isUpgrade ? "websocket" : undefined,
      prefersHttp2: this.#downstream.version === "2",
    };
    this.#request = request;
    this.#call = this.#deps.upstream.request(request, this);
  }

  /**
   * An origin that refuses a stream has not begun to work on it (RFC 9113 section 8.7): the request may go again, once, where
   * it is still here.
   */
  #resend(cause: unknown): boolean {
    const request = this.#request;
    this.#request = undefined;
    const isRefused = cause instanceof StreamReset && cause.http2Code === constants.NGHTTP2_REFUSED_STREAM;
    if (!isRefused || request === undefined || request.body.kind === "stream") return false;
    this.#call = this.#deps.upstream.request(request, this);
    return true;
  }

  onInform(head: ResponseHead): void {
    if (!this.#isOver) this.#downstream.inform({ ...head, headers: stripResponseHeaders(head.headers) });
  }

  onHead(received: ResponseHead, isAll: boolean): void {
    if (this.#isOver) return;
    this.#hasStarted = true;
    const head = { status: received.status, statusText: writableReason(received.statusText), headers: stripResponseHeaders(received.headers) };
    this.#tap?.responseHead(head);
    const body: ResponseBodyKind = isAll ? { kind: "none" } : responseBodyKind(this.#head.method, received);
    this.#filter = body.kind === "none" ? undefined : this.#responseEdit?.response(head);
    if (this.#filter !== undefined) {
      this.#downstream.start({ ...head, headers: without(head.headers, "content-length") }, { kind: "open" });
      return;
    }
    if (body.kind === "fixed") this.#expectedBytes = body.bytes;
    this.#downstream.start(head, body);
  }

  onData(chunk: Buffer): void {
    if (this.#isOver) return;
    void this.#tap?.responseData(chunk);
    if (this.#filter !== undefined) {
      const left = this.#filter.push(chunk);
      if (left.length > 0) this.#write(left);
      return;
    }
    if (this.#expectedBytes >= 0) {
      this.#expectedBytes -= chunk.length;
      if (this.#expectedBytes === 0) {
        this.#heldBody = chunk;
        return;
      }
    }
    this.#write(chunk);
  }

  #flushFilter(): void {
    const left = this.#filter?.end();
    if (left !== undefined && left.length > 0) this.#downstream.write(left);
  }

  #write(chunk: Buffer): void {
    if (this.#downstream.write(chunk) || this.#isPaused) return;
    this.#isPaused = true;
    this.#call?.pause();
    const stall = this.#deps.stalls.watch(this);
    this.#downstream.onDrain(() => {
      stall.stop();
      this.#isPaused = false;
      this.#call?.resume();
    });
    this.#stall = stall;
  }

  /** The client has stalled for too long: to the upstream it has gone. */
  onIdle(): void {
    if (this.#isOver) return;
    this.#onDownstreamClose();
    this.#downstream.breakOff(new Error("the client takes nothing"));
  }

  onEnd(trailers: RawHeaders): void {
    if (this.#isOver) return;
    this.#flushFilter();
    this.#isOver = true;
    const held = this.#endTap({ kind: "complete" });
    const finish = (): void => this.#downstream.end(this.#heldBody, trailers);
    if (held === undefined) finish();
    else void held.then(finish, finish);
  }

  onUpgrade(head: ResponseHead, upstream: Duplex): void {
    if (this.#isOver) {
      upstream.destroy();
      return;
    }
    this.#isOver = true;
    const tap = this.#tap;
    tap?.responseHead(head);
    const downstream = this.#downstream.switchProtocols(head);
    spliceWebSocket({ downstream, upstream, tap, watches: this.#deps.tunnels, onEnd: (outcome) => void this.#endTap(outcome) });
  }

  onError(cause: unknown): void {
    if (this.#isOver) return;
    if (!this.#hasStarted && this.#resend(cause)) return;
    if (this.#hasStarted) {
      this.#flushFilter();
      this.#isOver = true;
      void this.#endTap({ kind: "upstream_aborted" });
      // What arrived goes out, then the response breaks off: the client must not take it for whole.
      this.#downstream.breakOff(cause);
    } else if (cause instanceof StreamReset && this.#downstream.reset(cause.http2Code)) {
      this.#isOver = true;
      void this.#endTap({ kind: "upstream_aborted" });
    } else this.#answerError(toProxyError(cause));
  }

  #answerError(error: ProxyError): void {
    this.#answer(error, error instanceof LostAnswer);
  }

  /** Answers in the upstream's place. */
  #answer(answer: ProxyAnswer, isAnswerLost = false): void {
    this.#isOver = true;
    this.#deps.onProxyAnswer(answer.code, this.#head.host);
    void this.#endTap({ kind: "refused", status: answer.status, code: answer.code, ...(isAnswerLost ? { isAnswerLost } : {}) });
    const body = answerBody(answer, this.#deps.observer.errorShape?.(this.#head, answer));
    this.#downstream.answer(answer.status, answerHeaders(answer, Buffer.byteLength(body)), body);
  }

  #onDownstreamClose(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    void this.#endTap({ kind: "client_aborted" });
    this.#call?.abort();
  }

  #endTap(outcome: FlowOutcome): Promise<void> | undefined {
    this.#stall?.stop();
    const tap = this.#tap;
    this.#tap = undefined;
    try {
      return tap?.end(outcome);
    } catch {
      // A tap must not throw; one that does all the same must not keep the last byte.
      return undefined;
    }
  }
}

const CONTINUE: ResponseHead = { status: 100, statusText: "Continue", headers: [] };

/** A larger body is not held to be changed. */
const MAX_EDITED_BYTES = 4 * 1024 * 1024;

/** The fields of a request whose body was changed; an answer that is to be changed too must not come coded. */
function editedFields(headers: RawHeaders, bytes: number): RawHeaders {
  return headers.flatMap((part, i) => {
    const name = headers[i - (i % 2)]?.toLowerCase();
    if (name === "accept-encoding" || name === "transfer-encoding" || name === "expect") return [];
    return name === "content-length" && i % 2 === 1 ? [String(bytes)] : [part];
  });
}

/** The client's own fields, with a Host in any case. */
function withHost(headers: RawHeaders, head: FlowHead): RawHeaders {
  if (getHeader(headers, "host") !== undefined) return headers;
  return ["Host", head.host.includes(":") ? `[${head.host}]` : head.host, ...headers];
}

/** RFC 9112 section 6.3. */
function responseBodyKind(method: string, head: ResponseHead): ResponseBodyKind {
  const text = getHeader(head.headers, "content-length");
  const length = text === undefined || !/^\d+$/.test(text) ? -1 : Number(text);
  if (method === "HEAD" || head.status === 204 || head.status === 304 || length === 0) return { kind: "none" };
  return length > 0 ? { kind: "fixed", bytes: length } : { kind: "open" };
}

/** Node throws at characters that no reason phrase has. */
function writableReason(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "?");
}
