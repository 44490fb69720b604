/**
 * The listener: http-mitm-proxy's server, CONNECT event and request hook. This is the only file that imports it; none
 * of its CONNECT, certificate, request or WebSocket paths is ever reached (docs/decisions/0001 says why).
 */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, ServerResponse, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Proxy as MitmProxy } from "http-mitm-proxy";

import { endWithAnswer, linger } from "./last-answer.ts";
import { requestFault } from "./message-checks.ts";
import { errorCode, rawAnswer, type ProxyAnswer } from "./proxy-error.ts";

export interface FrontHandlers {
  /** A connection beyond MAX_CONNECTIONS was closed as it came. */
  readonly onConnectionsFull: () => void;
  /** A CONNECT request. The socket is the handler's from here on; `first` holds bytes the client sent along. */
  readonly onConnect: (request: IncomingMessage, socket: Socket, first: Buffer) => void;
  readonly onRequest: RequestHandler;
  readonly onRefused: RefusalListener;
}

/** A message that nobody may pass on was answered and its connection is ended: the code of the answer. */
export type RefusalListener = (code: string) => void;

/** Any request but CONNECT. `isUpgrade`: it asks to go over to a WebSocket, and the connection carries no other request. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse, isUpgrade: boolean) => void;

export interface Front {
  readonly port: number;
  /** Stops listening; connections that exist go on. */
  stopListening(): void;
  /** Ends every connection that is left. */
  destroy(): void;
}

/** Request heads up to this many bytes; more is answered 431. */
export const MAX_HEAD_BYTES = 65_536;
/** Fields of a request head; more is answered 431. */
export const MAX_HEAD_FIELDS = 1000;
/** Client connections at once; one more is closed as it comes. Each holds up to two descriptors. */
export const MAX_CONNECTIONS = 8192;
/** A connection without a request is closed after this long. */
const KEEP_ALIVE_MS = 75_000;
/** A request head that is not whole after this long is answered 408. */
const HEAD_TIMEOUT_MS = 60_000;

/** Requests that a client may send ahead on one connection while an earlier one is not answered. One more: the connection is destroyed. */
export const MAX_WAITING_REQUESTS = 100;

/** How often heads that are late are looked for. */
const HEAD_CHECK_MS = 5_000;

/** The HTTP server inside TLS: it never listens, connections are handed to it. */
export function createInnerServer(onRequest: RequestHandler, onRefused: RefusalListener): Server {
  const handle = checked(onRequest, onRefused);
  const server = createServer({ connectionsCheckingInterval: HEAD_CHECK_MS }, (request, response) => handle(request, response, false));
  tuneServer(server, handle, onRefused);
  // Without a listener Node ends the connection and says nothing.
  server.on("connect", (_request: IncomingMessage, socket: Socket) => {
    socket.on("error", () => socket.destroy());
    if (pendingOn(socket) === undefined) refuse(socket, CONNECT_INSIDE, onRefused);
    else socket.destroy();
  });
  // Node watches for late heads from the moment a server listens; without a socket of its own it is told so.
  server.emit("listening");
  return server;
}

const CONNECT_INSIDE: ProxyAnswer = { status: 400, code: "bad_request", message: "a tunnel is inside of this connection already" };

/**
 * Lets the requests of a connection through one at a time, each when its answer may be written, and those alone in which
 * nothing is wrong. What a client sends behind one that was refused is not looked at.
 */
function checked(onRequest: RequestHandler, onRefused: RefusalListener): RequestHandler {
  const waiting = new WeakMap<Socket, number>();
  const begin: RequestHandler = (request, response, isUpgrade) => {
    const { socket } = request;
    if (refused.has(socket) || !socket.writable) return;
    const answer = answerToFault(request, isUpgrade);
    if (answer === undefined) {
      onRequest(request, response, isUpgrade);
      return;
    }
    response.detachSocket(socket);
    refuse(socket, answer, onRefused);
  };
  return (request, response, isUpgrade) => {
    if (response.socket !== null) {
      begin(request, response, isUpgrade);
      return;
    }
    const { socket } = request;
    const before = waiting.get(socket) ?? 0;
    waiting.set(socket, before + 1);
    if (before >= MAX_WAITING_REQUESTS) socket.destroy();
    response.once("socket", () => {
      waiting.set(socket, (waiting.get(socket) ?? 1) - 1);
      begin(request, response, isUpgrade);
    });
  };
}

function answerToFault(request: IncomingMessage, isUpgrade: boolean): ProxyAnswer | undefined {
  if (request.rawHeaders.length > 2 * MAX_HEAD_FIELDS) return { status: 431, code: "head_too_large", message: `the request head has more than ${MAX_HEAD_FIELDS} fields` };
  const message = requestFault(request, isUpgrade);
  return message === undefined ? undefined : { status: 400, code: "bad_request", message };
}

/** Connections that were answered for the last time. */
const refused = new WeakSet<Socket>();

function refuse(socket: Socket, answer: ProxyAnswer, onRefused: RefusalListener): void {
  refused.add(socket);
  onRefused(answer.code);
  endWithAnswer(socket, rawAnswer(answer));
}

/** What both our HTTP servers (the front and the one inside TLS) share. */
function tuneServer(server: Server, onRequest: RequestHandler, onRefused: RefusalListener): void {
  // http.Server takes these at creation only; the properties are what the parser is given. A missing Host is ours to answer.
  Object.assign(server, { maxHeaderSize: MAX_HEAD_BYTES, insecureHTTPParser: false, requireHostHeader: false, shouldUpgradeCallback: isWebSocketUpgrade });
  // Ours is checked in `checked`: past one of its own Node 24.21 fails, and earlier ones leave fields out in silence.
  server.maxHeadersCount = 0;
  server.requestTimeout = 0;
  server.headersTimeout = HEAD_TIMEOUT_MS;
  server.timeout = 0;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("clientError", (error, socket) => answerClientError(error, socket as Socket, onRefused));
  // An expectation is the upstream's to meet or to refuse.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => onRequest(request, response, false));
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => onRequest(request, response, false));
  server.on("upgrade", (request: IncomingMessage, socket: Socket, first: Buffer) => {
    // Sent ahead of an answer that is still to come, which has the socket.
    if (pendingOn(socket) !== undefined) {
      socket.destroy();
      return;
    }
    if (first.length > 0) socket.unshift(first);
    socket.on("error", () => socket.destroy());
    onRequest(request, responseOn(request, socket), true);
  });
}

/** RFC 6455 section 4.1. Any other upgrade that is offered is not taken up. */
function isWebSocketUpgrade(request: IncomingMessage): boolean {
  return request.method === "GET" && request.headers.upgrade?.trim().toLowerCase() === "websocket";
}

/** Node hands an upgrade over without a response; this one ends the connection when it is finished. */
function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once("finish", () => {
    socket.end();
    linger(socket);
  });
  return response;
}

/** Listens. Rejects with the listen error (EADDRINUSE, EACCES …). */
export async function listenFront(host: string, port: number, handlers: FrontHandlers): Promise<Front> {
  // The library insists on making an RSA CA when it listens; it is never used and its key must not stay on the disk.
  const unusedCaDir = await mkdtemp(join(tmpdir(), "tallyman-front-"));
  try {
    const server = await listen(host, port, unusedCaDir, handlers);
    return {
      port: (server.address() as AddressInfo).port,
      stopListening: () => void server.close(),
      destroy: () => server.closeAllConnections(),
    };
  } finally {
    await rm(unusedCaDir, { recursive: true, force: true });
  }
}

function listen(host: string, port: number, caDir: string, handlers: FrontHandlers): Promise<Server> {
  return new Promise((resolve, reject) => {
    const proxy = new MitmProxy();
    const handle = checked(handlers.onRequest, handlers.onRefused);
    // Its own handlers print to the console; a failed listen is reported once, by us.
    proxy._onError = (_kind: string, _context: unknown, error: Error) => reject(error);
    proxy._onSocketError = () => undefined;
    proxy.onConnect((request, socket, first) => {
      // Never calling back keeps the socket ours.
      handlers.onConnect(request, socket as Socket, first);
    });
    // Taken over before its onRequest hook: by then it has cut the authority out of an absolute-form target, and it
    // answers a request without a Host by itself.
    proxy._onHttpServerRequest = (_isTls, request, response) => handle(request, response, false);
    proxy.listen({ host, port, sslCaDir: caDir }, (error) => {
      const server = proxy.httpServer;
      if (error !== undefined && error !== null) reject(error);
      else if (server === undefined) reject(new Error("the proxy did not listen"));
      else {
        // Its WebSocket server must not answer upgrades.
        server.removeAllListeners("upgrade");
        tuneServer(server, handle, handlers.onRefused);
        server.maxConnections = MAX_CONNECTIONS;
        server.on("drop", handlers.onConnectionsFull);
        resolve(server);
      }
    });
  });
}

/** A message that is no HTTP, or whose head is too large. The answer says so; the connection ends. */
function answerClientError(error: Error, socket: Socket, onRefused: RefusalListener): void {
  // The parser fails again at each further read.
  if (refused.has(socket)) return;
  socket.on("error", () => socket.destroy());
  const code = errorCode(error);
  const pending = pendingOn(socket);
  // Behind the beginning of a response an answer of ours would be taken for a part of it.
  if (!socket.writable || code === "ECONNRESET" || code === "EPIPE" || pending?.headersSent === true) {
    socket.destroy();
    return;
  }
  refuse(socket, clientErrorAnswer(code), onRefused);
  if (pending === undefined) return;
  // Its request is cut: whoever works on it hears at once that the client has gone, as at the close of the connection.
  pending.detachSocket(socket);
  pending.emit("close");
}

function clientErrorAnswer(code: string): ProxyAnswer {
  if (code === "HPE_HEADER_OVERFLOW") return { status: 431, code: "head_too_large", message: `the request head is larger than ${MAX_HEAD_BYTES} bytes` };
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return { status: 408, code: "bad_request", message: "the request head did not arrive in time" };
  return { status: 400, code: "bad_request", message: "this is not a valid HTTP request" };
}

/** The response that is not finished on the connection. `_httpMessage` is where Node's own clientError handling looks for it (lib/_http_server.js, socketOnError). */
function pendingOn(socket: Socket): ServerResponse | undefined {
  const message: unknown = Reflect.get(socket, "_httpMessage");
  return message instanceof ServerResponse ? message : undefined;
}
