/**
 * Requests to upstreams: keeps what is known of each origin, and chooses the version. HTTP/1.1 where the client speaks
 * it, HTTP/2 where client and origin both do, and HTTP/2 for an origin that speaks nothing else (docs/decisions/0006).
 */

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

import { formatAuthority, type Target } from "./connect-target.ts";
import { isNoCommonProtocol, type Dialer } from "./dialer.ts";
import { createIdleWatch } from "./idle-watch.ts";
import type { UpstreamCall, UpstreamListener, UpstreamRequest } from "./messages.ts";
import { ProxyError } from "./proxy-error.ts";
import { createH1Origin, type Connect, type H1Origin } from "./upstream-h1.ts";
import { createHttp2Upstream } from "./upstream-h2.ts";

export interface UpstreamOptions {
  readonly dialer: Dialer;
  readonly idleTimeoutMs: number;
}

export interface Upstream {
  /** Sends the request. Never throws and calls no listener before it returns. */
  request(request: UpstreamRequest, listener: UpstreamListener): UpstreamCall;
  /** Origins held now. */
  readonly size: number;
  close(): Promise<void>;
}

/** Origins that are kept; the least recently used idle one goes first. */
const MAX_ORIGINS = 256;
const UNUSED_ORIGIN_MS = 60_000;
const SWEEP_MS = 30_000;
/** Connections that one request waits for, where others take their room. */
const MAX_TRIES = 64;

interface Origin {
  readonly key: string;
  readonly target: Target;
  readonly http1: H1Origin;
  usedAtMs: number;
  /** What the origin has been seen to speak; undefined: not tried. */
  speaksHttp1: boolean | undefined;
  speaksHttp2: boolean | undefined;
  /** A connection that was made to learn that, for the next HTTP/1.1 request. */
  spare: Socket | undefined;
  /** Requests that wait for the connection by which the origin is being learnt. */
  waiting: WaitingCall[] | undefined;
}

export function createUpstream(options: UpstreamOptions): Upstream {
  const origins = new Map<string, Origin>();
  const idle = createIdleWatch(options.idleTimeoutMs);
  const http2 = createHttp2Upstream({ idleTimeoutMs: options.idleTimeoutMs });

  const connectHttp1 = (scheme: "https" | "http", target: Target, origin: () => Origin | undefined): Connect => (callback) => {
    const known = origin();
    const spare = known?.spare;
    if (known !== undefined) known.spare = undefined;
    if (spare !== undefined && !spare.destroyed && spare.readable) {
      queueMicrotask(() => callback(null, spare));
      return;
    }
    if (scheme === "https") options.dialer.dialTls(target, callback);
    else options.dialer.dialTcp(target, callback);
  };

  const makeOrigin = (key: string, scheme: "https" | "http", target: Target): Origin => ({
    key,
    target,
    http1: createH1Origin(scheme, target, connectHttp1(scheme, target, () => origins.get(key)), idle),
    usedAtMs: Date.now(),
    speaksHttp1: scheme === "http" ? true : undefined,
    speaksHttp2: scheme === "http" ? false : undefined,
    spare: undefined,
    waiting: undefined,
  });

  const originFor = (scheme: "https" | "http", target: Target): Origin => {
    const key = `${scheme}://${formatAuthority(target)}`;
    let origin = origins.get(key);
    if (origin === undefined) {
      if (origins.size >= MAX_ORIGINS) retireOne(origins);
      origin = makeOrigin(key, scheme, target);
      origins.set(key, origin);
    }
    origin.usedAtMs = Date.now();
    return origin;
  };

  /** The version for a request, or what must be offered to learn it. */
  const versionFor = (origin: Origin, request: UpstreamRequest): "http1" | "http2" | readonly string[] => {
    const wantsHttp2 = request.prefersHttp2 && request.upgrade === undefined;
    if (wantsHttp2 && origin.speaksHttp2 !== false) return http2.hasRoom(origin.key) ? "http2" : ["h2", "http/1.1"];
    if (origin.speaksHttp1 === true || request.upgrade !== undefined) return "http1";
    if (origin.speaksHttp1 === undefined) return ["http/1.1"];
    return http2.hasRoom(origin.key) ? "http2" : ["h2"];
  };

  const send = (origin: Origin, request: UpstreamRequest, listener: UpstreamListener): UpstreamCall => {
    const version = versionFor(origin, request);
    if (version === "http1") return origin.http1.request(request, listener);
    if (version === "http2") return http2.request(origin.key, request, listener);
    const call = new WaitingCall(request, listener);
    wait(origin, call, version);
    return call;
  };

  const wait = (origin: Origin, call: WaitingCall, protocols: readonly string[]): void => {
    call.tries += 1;
    if (origin.waiting !== undefined) {
      origin.waiting.push(call);
      return;
    }
    origin.waiting = [call];
    learn(origin, protocols);
  };

  /** A connection was made: the call goes on, or waits for one more where others took what room there was. */
  const goOn = (origin: Origin, call: WaitingCall): void => {
    const version = versionFor(origin, call.request);
    if (version === "http1") call.go(() => origin.http1.request(call.request, call.listener));
    else if (version === "http2") call.go(() => http2.request(origin.key, call.request, call.listener));
    else if (call.tries < MAX_TRIES) wait(origin, call, version);
    else call.fail(new ProxyError("upstream_unreachable", "the upstream takes no more requests on the connections it accepts"));
  };

  /** Connects, offering these protocols; then every request that waits goes on. */
  const learn = (origin: Origin, protocols: readonly string[]): void => {
    options.dialer.dialTls(
      origin.target,
      (error, socket) => {
        if (error !== null && isNoCommonProtocol(error) && !protocols.includes("h2")) {
          origin.speaksHttp1 = false;
          learn(origin, ["h2"]);
          return;
        }
        const waiting = origin.waiting ?? [];
        origin.waiting = undefined;
        if (error !== null || socket === undefined) {
          for (const call of waiting) call.fail(error);
          return;
        }
        if (!keep(origin, socket, protocols)) {
          for (const call of waiting) call.fail(new ProxyError("upstream_unreachable", "too many connections to upstreams are open"));
          return;
        }
        for (const call of waiting) goOn(origin, call);
      },
      protocols,
    );
  };

  /** False where there is no place for one more connection. */
  const keep = (origin: Origin, socket: TLSSocket, offered: readonly string[]): boolean => {
    const isHttp2 = socket.alpnProtocol === "h2";
    if (offered.includes("h2")) origin.speaksHttp2 = isHttp2;
    if (isHttp2) return http2.adopt(origin.key, socket);
    origin.speaksHttp1 = true;
    origin.spare?.destroy();
    origin.spare = socket;
    socket.on("error", () => socket.destroy());
    return true;
  };

  const sweeper = setInterval(() => {
    const before = Date.now() - UNUSED_ORIGIN_MS;
    for (const origin of origins.values()) if (origin.usedAtMs < before && isIdle(origin)) retire(origins, origin);
  }, SWEEP_MS);
  sweeper.unref();

  return {
    request: (request, listener) => send(originFor(request.scheme, request.target), request, listener),
    get size() {
      return origins.size;
    },
    async close() {
      clearInterval(sweeper);
      idle.close();
      for (const origin of origins.values()) origin.spare?.destroy();
      await Promise.all([http2.close(), ...[...origins.values()].map((origin) => origin.http1.destroy())]);
      origins.clear();
    },
  };
}

/** A request that waits until its origin is known. */
class WaitingCall implements UpstreamCall {
  readonly request: UpstreamRequest;
  readonly listener: UpstreamListener;
  /** Connections that were made for it. */
  tries = 0;
  #call: UpstreamCall | undefined;
  #isOver = false;

  constructor(request: UpstreamRequest, listener: UpstreamListener) {
    this.request = request;
    this.listener = listener;
  }

  go(send: () => UpstreamCall): void {
    if (!this.#isOver) this.#call = send();
  }

  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#discard();
    this.listener.onError(error);
  }

  pause(): void {
    this.#call?.pause();
  }

  resume(): void {
    this.#call?.resume();
  }

  abort(): void {
    if (this.#isOver) return;
    if (this.#call === undefined) this.#discard();
    else this.#call.abort();
  }

  #discard(): void {
    this.#isOver = true;
    if (this.request.body.kind === "stream") this.request.body.discard();
  }
}

function isIdle(origin: Origin): boolean {
  return origin.waiting === undefined && origin.http1.isIdle;
}

/** Makes room: the least recently used idle origin, else the least recently used one (which finishes first). */
function retireOne(origins: Map<string, Origin>): void {
  let oldest: Origin | undefined;
  for (const origin of origins.values()) {
    const isBetter = oldest === undefined || (isIdle(origin) && !isIdle(oldest)) || (isIdle(origin) === isIdle(oldest) && origin.usedAtMs < oldest.usedAtMs);
    if (isBetter) oldest = origin;
  }
  if (oldest !== undefined) retire(origins, oldest);
}

function retire(origins: Map<string, Origin>, origin: Origin): void {
  origins.delete(origin.key);
  origin.spare?.destroy();
  origin.http1.retire();
}
