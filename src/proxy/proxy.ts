/**
 * The interception engine: joins the front, the TLS terminator, the tunnel and the exchange. Decides for each CONNECT
 * whether it is intercepted, tunnelled or refused. Knows no usage.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";

import type { FlowGate, FlowObserver } from "../flow/flow.ts";
import { getHeader } from "../flow/headers.ts";
import { createAddressPolicy } from "./address-policy.ts";
import { parseAuthority, type Target } from "./connect-target.ts";
import { createDialer, type ConnectToRule } from "./dialer.ts";
import { runExchange, type ExchangeDeps, type ExchangeRoute } from "./exchange.ts";
import { listenFront, tuneServer } from "./front.ts";
import { createProxyAuth } from "./proxy-auth.ts";
import { answerBody, answerHeaders, PROXY_ERROR_STATUS, rawAnswer, toProxyError, type ProxyAnswer, type ProxyErrorCode } from "./proxy-error.ts";
import { createTerminator } from "./tls-terminator.ts";
import { joinSockets, type TunnelReport } from "./tunnel.ts";
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
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly observer: FlowObserver;
  readonly gate: FlowGate;
  /** A refusal for new connections and requests (draining), or undefined. */
  readonly closedFor: () => ProxyAnswer | undefined;
  readonly now: () => number;
  readonly onProxyAnswer: (code: string, host: string) => void;
  readonly onTunnelEnd: (report: TunnelReport) => void;
  /** A client's TLS handshake failed: it does not trust our CA, most likely. */
  readonly onHandshakeError: (host: string, error: Error) => void;
  /** Bounds of a client that was let in and does nothing: for its TLS handshake, then for its first request. Default 30 s, 75 s. */
  readonly handshakeTimeoutMs?: number;
  readonly firstRequestTimeoutMs?: number;
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
    connectTimeoutMs: options.connectTimeoutMs,
  });
  const upstream = createUpstream({ dialer, idleTimeoutMs: options.idleTimeoutMs });
  const authenticate = createProxyAuth(options.proxyTokens);
  const terminator = createTerminator({ contextFor: options.contextFor, handshakeTimeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS });
  const deps: ExchangeDeps = { upstream, observer: options.observer, gate: options.gate, now: options.now, onProxyAnswer: options.onProxyAnswer };
  const sockets = new Set<Socket>();
  const routes = new WeakMap<Socket, ExchangeRoute>();

  const inner = createServer();
  tuneServer(inner);
  inner.on("request", (request, response) => {
    request.socket.setTimeout(0);
    const route = routes.get(request.socket);
    const url = request.url ?? "";
    if (route === undefined) request.socket.destroy();
    else if (!url.startsWith("/") && url !== "*") answer(response, "bad_request", "a request inside a tunnel must name a path");
    else if (!refuseNew(response, route.target.host)) runExchange(request, response, url, route, deps);
  });

  const answer = (response: ServerResponse, code: ProxyErrorCode, message: string): void =>
    send(response, { status: PROXY_ERROR_STATUS[code], code, message });
  const send = (response: ServerResponse, reply: ProxyAnswer, host = ""): void => {
    options.onProxyAnswer(reply.code, host);
    const body = answerBody(reply);
    response.sendDate = false;
    response.writeHead(reply.status, [...answerHeaders(reply, Buffer.byteLength(body)), "connection", "close"]);
    response.end(body);
  };
  const refuseNew = (response: ServerResponse, host: string): boolean => {
    const refusal = options.closedFor();
    if (refusal !== undefined) send(response, refusal, host);
    return refusal !== undefined;
  };

  const track = (socket: Socket): void => {
    if (sockets.has(socket)) return;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };

  const refuseConnect = (socket: Socket, reply: ProxyAnswer, host: string): void => {
    options.onProxyAnswer(reply.code, host);
    socket.end(rawAnswer(reply), () => socket.destroy());
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
      joinSockets(socket, remote, (bytesUp, bytesDown) =>
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
        // Node's own bound is kept by listening servers only.
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

  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    track(request.socket);
    request.socket.setNoDelay(true);
    const verdict = authenticate(getHeader(request.rawHeaders, "proxy-authorization"));
    const absolute = parseAbsoluteForm(request.url ?? "");
    if (!verdict.isAllowed) send(response, AUTH_REQUIRED);
    else if (absolute === undefined) send(response, NOT_PROXY_REQUEST);
    else if (!refuseNew(response, absolute.target.host)) {
      const { scheme, target, path } = absolute;
      runExchange(request, response, path, { scheme, target, proxyUser: verdict.user }, deps);
    }
  };

  const front = await listenFront(options.host, options.port, { onConnect, onRequest });
  own.port = front.port;
  return {
    port: front.port,
    get connections() {
      return sockets.size;
    },
    stopListening: () => front.stopListening(),
    async close() {
      front.stopListening();
      front.destroy();
      for (const socket of sockets) socket.destroy();
      await upstream.close();
    },
  };
}

const AUTH_REQUIRED: ProxyAnswer = {
  status: 407,
  code: "proxy_auth_required",
  message: "send Proxy-Authorization: Basic agent_id:secret with a secret of TALLYMAN_PROXY_TOKENS, as in http://agent_id:secret@host:port",
  headers: ["proxy-authenticate", 'Basic realm="tallyman"'],
};

const BAD_CONNECT: ProxyAnswer = { status: 400, code: "bad_request", message: "CONNECT needs a target of the form host:port" };

const NOT_PROXY_REQUEST: ProxyAnswer = {
  status: 400,
  code: "bad_request",
  message: "this is a forward proxy: set HTTPS_PROXY to its URL instead of calling it (the dashboard is on the admin port)",
};

/** RFC 9112 section 3.2.2: `http://authority/path?query`. The path is kept byte for byte. */
function parseAbsoluteForm(url: string): { scheme: "http" | "https"; target: Target; path: string } | undefined {
  const match = /^(https?):\/\/([^/?#]+)([^#]*)$/i.exec(url);
  if (match === null) return undefined;
  const scheme = (match[1] as string).toLowerCase() === "https" ? "https" : "http";
  const target = parseAuthority(match[2] as string, scheme === "https" ? 443 : 80);
  if (target === undefined) return undefined;
  const rest = match[3] as string;
  return { scheme, target, path: rest.startsWith("/") ? rest : `/${rest}` };
}
