/**
 * HTTP/1.1 from clients on node:http, for the front and for the server inside TLS: which messages are let through, one at a
 * time on a connection, and how those are answered that nobody may pass on. What a request means is the handler's business.
 */

import { createServer, ServerResponse, type IncomingMessage, type Server } from "node:http";
import type { Socket } from "node:net";

import { endWithAnswer, linger } from "./last-answer.ts";
import { requestFault } from "./message-checks.ts";
import { errorCode, type ProxyAnswer } from "./proxy-error.ts";

/** Any request but CONNECT. `isUpgrade`: it asks to go over to a WebSocket, and the connection carries no other request. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse, isUpgrade: boolean) => void;

/** A message that nobody may pass on is answered and its connection ends. Gives the text of the answer, a whole HTTP/1.1 message. */
export type RefusalWriter = (socket: Socket, answer: ProxyAnswer) => string;

/** Request heads up to this many bytes; more is answered 431. */
export const MAX_HEAD_BYTES = 65_536;
/** Fields of a request head; more is answered 431. */
export const MAX_HEAD_FIELDS = 1000;
/** A connection without a request is closed after this long. */
const KEEP_ALIVE_MS = 75_000;
/** A request head that is not whole after this long is answered 408. */
const HEAD_TIMEOUT_MS = 60_000;

/** Requests that a client may send ahead on one connection while an earlier one is not answered. One more: the connection is destroyed. */
export const MAX_WAITING_REQUESTS = 100;

/** How often heads that are late are looked for. */
const HEAD_CHECK_MS = 5_000;

/** The HTTP server inside TLS: it never listens, connections are handed to it. */
export function createInnerServer(onRequest: RequestHandler, writeRefusal: RefusalWriter): Server {
  const handle = checkedRequests(onRequest, writeRefusal);
  const server = createServer({ connectionsCheckingInterval: HEAD_CHECK_MS }, (request, response) => handle(request, response, false));
  tuneServer(server, handle, writeRefusal);
  // Without a listener Node ends the connection and says nothing.
  server.on("connect", (_request: IncomingMessage, socket: Socket) => {
    socket.on("error", () => socket.destroy());
    if (pendingOn(socket) === undefined) refuse(socket, CONNECT_INSIDE, writeRefusal);
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
export function checkedRequests(onRequest: RequestHandler, writeRefusal: RefusalWriter): RequestHandler {
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
    refuse(socket, answer, writeRefusal);
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

function refuse(socket: Socket, answer: ProxyAnswer, writeRefusal: RefusalWriter): void {
  refused.add(socket);
  endWithAnswer(socket, writeRefusal(socket, answer));
}

/** What both our HTTP servers (the front and the one inside TLS) share. `onRequest` comes from `checkedRequests`. */
export function tuneServer(server: Server, onRequest: RequestHandler, writeRefusal: RefusalWriter): void {
  // http.Server takes these at creation only; the properties are what the parser is given. A missing Host is ours to answer.
  Object.assign(server, { maxHeaderSize: MAX_HEAD_BYTES, insecureHTTPParser: false, requireHostHeader: false, shouldUpgradeCallback: isWebSocketUpgrade });
  // Ours is checked in `checkedRequests`: past one of its own Node 24.21 fails, and earlier ones leave fields out in silence.
  server.maxHeadersCount = 0;
  server.requestTimeout = 0;
  server.headersTimeout = HEAD_TIMEOUT_MS;
  server.timeout = 0;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("clientError", (error, socket) => answerClientError(error, socket as Socket, writeRefusal));
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

/** A message that is no HTTP, or whose head is too large. The answer says so; the connection ends. */
function answerClientError(error: Error, socket: Socket, writeRefusal: RefusalWriter): void {
  // The parser fails again at each further read.
  if (refused.has(socket)) return;
  socket.on("error", () => socket.destroy());
  const code = errorCode(error);
  const pending = pendingOn(socket);
  const isBehindAnother = pending?.req.complete === true;
  // Who ends inside of a request that was sent ahead has gone, as who ends without one.
  const isGone = !socket.writable || code === "ECONNRESET" || code === "EPIPE" || (isBehindAnother && code === "HPE_INVALID_EOF_STATE");
  const answer = (): void => refuse(socket, clientErrorAnswer(code), writeRefusal);
  if (!isGone && isBehindAnother) {
    // What is broken was sent ahead: the answer before it is finished first, those to requests between the two are not begun.
    refused.add(socket);
    pending.once("finish", () => (socket.writable ? answer() : undefined));
  } else if (isGone || pending?.headersSent === true) {
    // Behind the beginning of a response an answer of ours would be taken for a part of it.
    socket.destroy();
  } else {
    answer();
    if (pending === undefined) return;
    // Its request is cut: whoever works on it hears at once that the client has gone, as at the close of the connection.
    pending.detachSocket(socket);
    pending.emit("close");
  }
}

function clientErrorAnswer(code: string): ProxyAnswer {
  if (code === "HPE_HEADER_OVERFLOW") return { status: 431, code: "head_too_large", message: `the request head is larger than ${MAX_HEAD_BYTES} bytes` };
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return { status: 408, code: "bad_request", message: "the request head did not arrive in time" };
  return { status: 400, code: "bad_request", message: "this is not a valid HTTP request" };
}

/** The response that is not finished on the connection. `_httpMessage` is where Node's own clientError handling looks for it (lib/_http_server.js, socketOnError). */
export function pendingOn(socket: Socket): ServerResponse | undefined {
  const message: unknown = Reflect.get(socket, "_httpMessage");
  return message instanceof ServerResponse ? message : undefined;
}
