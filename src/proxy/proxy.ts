/**
 * The interception engine: joins the front, the TLS terminator, the tunnel and the exchange. Decides for each CONNECT
 * whether it is intercepted, tunnelled or refused. Knows no usage.
 */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";

import type { FlowEditor, FlowGate, FlowHead, FlowObserver } from "../flow/flow.ts";
import { getHeader } from "../flow/headers.ts";
import { createAddressPolicy } from "./address-policy.ts";
import { parseAbsoluteForm, parseAuthority, type Target } from "./connect-target.ts";
import { createDialer, type ConnectToRule } from "./dialer.ts";
import { runExchange, type ExchangeDeps, type ExchangeRoute } from "./exchange.ts";
import { H1Downstream } from "./downstream-h1.ts";
import { listenFront } from "./front.ts";
import { createInnerServer, type RefusalWriter, type RequestHandler } from "./h1-server.ts";
import { endWithAnswer } from "./last-answer.ts";
import { createProxyAuth } from "./proxy-auth.ts";
import { createIdleWatch } from "./idle-watch.ts";
import { createHttp2Server } from "./http2-server.ts";
import type { Downstream } from "./messages.ts";
import { answerBody, answerHeaders, rawAnswer, toProxyError, type ProxyAnswer } from "./proxy-error.ts";
import { createTerminator } from "./tls-terminator.ts";
import { createTunnelWatches, joinSockets, type TunnelReport } from "./tunnel.ts";
import type { UpstreamProxy } from "./upstream-proxy.ts";
import { createUpstream } from "./upstream.ts";

export interface ProxyOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly proxyTokens: readonly string[];
  /** Whether TLS for this host is terminated. */
  readonly isIntercepted: (host: string, port: number) => boolean;
  /** The TLS context of a minted leaf. */
  readonly contextFor: (host: string) => Promise<SecureContext>;
  readonly denyAddresses: readonly string[];
  /** Ports of this process besides the proxy's own (the admin server's). */
  readonly otherOwnPorts: () => readonly number[];
  readonly connectTo: readonly ConnectToRule[];
  readonly extraCaPem: string | undefined;
  /** The proxy that every connection goes through, where one is chained. */
  readonly upstreamProxy?: UpstreamProxy | undefined;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly observer: FlowObserver;
  readonly gate: FlowGate;
  /** Changes flows where the operator asked for it. */
  readonly editor?: FlowEditor | undefined;
  /** A refusal for new connections and requests (draining), or undefined. */
  readonly closedFor: () => ProxyAnswer | undefined;
  readonly now: () => number;
  readonly onProxyAnswer: (code: string, host: string) => void;
  /** A client connection was closed as it came, because there are too many. */
  readonly onConnectionsFull?: () => void;
  readonly onTunnelEnd: (report: TunnelReport) => void;
  /** A client's TLS handshake failed: it does not trust our CA, most likely. */
  readonly onHandshakeError: (host: string, error: Error) => void;
  /** Bounds of a client that was let in and does nothing: for its TLS handshake, then for its first request. Default 30 s, 75 s. */
  readonly handshakeTimeoutMs?: number;
  readonly firstRequestTimeoutMs?: number;
  /** A client that takes nothing of a response that waits for it. Default STALLED_CLIENT_MS. */
  readonly stalledClientMs?: number;
}

export interface ProxyServer {
  readonly port: number;
  /** Open client connections. */
  readonly connections: number;
  stopListening(): void;
  /** Ends everything at once. */
  close(): Promise<void>;
}

const HANDSHAKE_TIMEOUT_MS = 30_000;
const FIRST_REQUEST_TIMEOUT_MS = 75_000;
/** Past it the response is broken off and the upstream's request cancelled. A slow reader is none: it takes something. */
const STALLED_CLIENT_MS = 600_000;
const ESTABLISHED = "HTTP/1.1 200 Connection Established\r\n\r\n";

/** Starts listening. Rejects with the listen error. */
export async function startProxy(options: ProxyOptions): Promise<ProxyServer> {
  const own = { port: options.port };
  const policy = createAddressPolicy({
    denied: options.denyAddresses,
    ownPorts: () => new Set([own.port, ...options.otherOwnPorts()]),
  });
  const dialer = createDialer({
    policy,
    connectTo: options.connectTo,
    extraCaPem: options.extraCaPem,
    upstreamProxy: options.upstreamProxy,
    connectTimeoutMs: options.connectTimeoutMs,
  });
  const upstream = createUpstream({ dialer, idleTimeoutMs: options.idleTimeoutMs });
  const authenticate = createProxyAuth(options.proxyTokens);
  const terminator = createTerminator({ contextFor: options.contextFor, handshakeTimeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS });
  const stalls = createIdleWatch(options.stalledClientMs ?? STALLED_CLIENT_MS);
  const tunnels = createTunnelWatches();
  const deps: ExchangeDeps = { upstream, observer: options.observer, gate: options.gate, closedFor: options.closedFor, editor: options.editor, now: options.now, stalls, tunnels, onProxyAnswer: options.onProxyAnswer };
  const sockets = new Set<Socket>();
  const routes = new WeakMap<Socket, ExchangeRoute>();

  const runInside = (downstream: Downstream, path: string, isUpgrade: boolean, socket: Socket): void => {
    const route = routes.get(socket);
    if (route === undefined) socket.destroy();
    else if (!path.startsWith("/") && path !== "*") answer(downstream, PATH_MISSING, route);
    else runExchange({ downstream, path, isUpgrade }, route, deps);
  };
  const writeRefusal: RefusalWriter = (socket, reply) => {
    const route = routes.get(socket);
    options.onProxyAnswer(reply.code, route?.target.host ?? "");
    return rawAnswer(reply, shapeOn(route, reply));
  };
  const inner = createInnerServer((request, response, isUpgrade) => {
    request.socket.setTimeout(0);
    runInside(new H1Downstream(request, response), request.url ?? "", isUpgrade, request.socket);
  }, writeRefusal);
  const http2 = createHttp2Server({ onRequest: (downstream, path, socket) => runInside(downstream, path, false, socket) });

  const shapeOn = (route: ExchangeRoute | undefined, reply: ProxyAnswer): Record<string, unknown> | undefined =>
    route === undefined ? undefined : options.observer.errorShape?.(headWithoutRequest(route), reply);

  const answer = (downstream: Downstream, reply: ProxyAnswer, route?: ExchangeRoute): void => {
    options.onProxyAnswer(reply.code, route?.target.host ?? "");
    const body = answerBody(reply, shapeOn(route, reply));
    downstream.answer(reply.status, [...answerHeaders(reply, Buffer.byteLength(body)), "connection", "close"], body);
  };

  const track = (socket: Socket): void => {
    if (sockets.has(socket)) return;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };

  const refuseConnect = (socket: Socket, reply: ProxyAnswer, host: string): void => {
    options.onProxyAnswer(reply.code, host);
    endWithAnswer(socket, rawAnswer(reply));
  };

  const tunnel = (socket: Socket, target: Target, isEstablished: boolean): void => {
    const startedAtMs = options.now();
    const giveUp = dialer.dialTcp(target, (error, remote) => {
      socket.off("close", giveUp);
      if (error !== null || remote === undefined) {
        const failure = toProxyError(error);
        if (isEstablished) socket.destroy();
        else refuseConnect(socket, failure, target.host);
        return;
      }
      if (!isEstablished) socket.write(ESTABLISHED);
      joinSockets(socket, remote, tunnels, (bytesUp, bytesDown) =>
        options.onTunnelEnd({ ...target, bytesUp, bytesDown, durationMs: options.now() - startedAtMs }),
      );
    });
    socket.once("close", giveUp);
  };

  const intercept = (socket: Socket, route: ExchangeRoute): void => {
    socket.write(ESTABLISHED);
    terminator.terminate(socket, route.target.host, {
      onSecure: (tls) => {
        routes.set(tls, route);
        if (tls.alpnProtocol === "h2") {
          http2.accept(tls);
          return;
        }
        // A client that sends nothing at all; a head that has begun is the server's to bound.
        tls.setTimeout(options.firstRequestTimeoutMs ?? FIRST_REQUEST_TIMEOUT_MS);
        inner.emit("connection", tls);
      },
      onPlain: (plain) => tunnel(plain, route.target, true),
      onError: (error) => options.onHandshakeError(route.target.host, error),
    });
  };

  const onConnect = (request: IncomingMessage, socket: Socket, first: Buffer): void => {
    track(socket);
    socket.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    const target = parseAuthority(request.url ?? "");
    const refusal = options.closedFor();
    const verdict = authenticate(getHeader(request.rawHeaders, "proxy-authorization"));
    if (!verdict.isAllowed) refuseConnect(socket, AUTH_REQUIRED, target?.host ?? "");
    else if (target === undefined) refuseConnect(socket, BAD_CONNECT, "");
    else if (refusal !== undefined) refuseConnect(socket, refusal, target.host);
    else {
      if (first.length > 0) socket.unshift(first);
      if (options.isIntercepted(target.host, target.port)) intercept(socket, { scheme: "https", target, proxyUser: verdict.user });
      else tunnel(socket, target, false);
    }
  };

  const onRequest: RequestHandler = (request, response, isUpgrade) => {
    track(request.socket);
    request.socket.setNoDelay(true);
    const verdict = authenticate(getHeader(request.rawHeaders, "proxy-authorization"));
    const absolute = parseAbsoluteForm(request.url ?? "");
    const downstream = new H1Downstream(request, response);
    if (!verdict.isAllowed) answer(downstream, AUTH_REQUIRED);
    else if (absolute === undefined) answer(downstream, NOT_PROXY_REQUEST);
    else {
      const { scheme, target, path } = absolute;
      runExchange({ downstream, path, isUpgrade }, { scheme, target, proxyUser: verdict.user }, deps);
    }
  };

  const front = await listenFront(options.host, options.port, { onConnect, onRequest, writeRefusal, onConnectionsFull: () => options.onConnectionsFull?.() });
  own.port = front.port;
  return {
    port: front.port,
    get connections() {
      return sockets.size;
    },
    stopListening() {
      front.stopListening();
      http2.drain();
    },
    async close() {
      front.stopListening();
      front.destroy();
      // Its timer ends; that it does not listen is no news.
      inner.close(() => undefined);
      http2.close();
      for (const watch of [stalls, tunnels.whole, tunnels.halfClosed]) watch.close();
      for (const socket of sockets) socket.destroy();
      await upstream.close();
    },
  };
}

/** All that is known of a flow whose request cannot be read: by its host alone a provider's own error body is found. */
function headWithoutRequest({ scheme, target, proxyUser }: ExchangeRoute): FlowHead {
  return { flowId: "", startedAtMs: 0, protocol: "http", scheme, ...target, method: "", target: "/", headers: [], proxyUser, attributionHeaders: [] };
}

const AUTH_REQUIRED: ProxyAnswer = {
  status: 407,
  code: "proxy_auth_required",
  message: "send Proxy-Authorization: Basic agent_id:secret with a secret of TALLYMAN_PROXY_TOKENS, as in http://agent_id:secret@host:port",
  headers: ["proxy-authenticate", 'Basic realm="tallyman"'],
};

const PATH_MISSING: ProxyAnswer = { status: 400, code: "bad_request", message: "a request inside a tunnel must name a path" };

const BAD_CONNECT: ProxyAnswer = { status: 400, code: "bad_request", message: "CONNECT needs a target of the form host:port" };

const NOT_PROXY_REQUEST: ProxyAnswer = {
  status: 400,
  code: "bad_request",
  message: "this is a forward proxy: set HTTPS_PROXY to its URL instead of calling it (the dashboard is on the admin port)",
};
