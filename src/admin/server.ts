/**
 * The admin server: health, metrics, the CA certificate, the JSON API, the stream, drain and the dashboard, over
 * node:http. Owns HTTP, who may ask, and the bounds. Nothing that happens in here reaches the traffic: what a source
 * throws becomes a 500, what a client breaks ends its own connection.
 *
 * Errors are `{"error":{"type":"tallyman_error","code","message"}}` with code bad_request (400), unauthorized (401),
 * origin_denied (403), not_found (404), method_not_allowed (405), body_too_large (413), host_denied (421),
 * head_too_large (431), internal_error (500) or too_many_streams (503).
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { createApi } from "./api.ts";
import type { AdminSources } from "./api.ts";
import { createHostRule, createTokenCheck, isFromForeignPage, isWildcard } from "./guard.ts";
import { createEventStream } from "./stream.ts";
import type { EventStreamOptions } from "./stream.ts";

export interface AdminServerOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Bearer token; without one everybody who reaches the server may ask. */
  readonly token: string | undefined;
  readonly sources: AdminSources;
  readonly logger: Pick<Logger, "error" | "debug">;
  /** More names that the Host header may have. */
  readonly allowedHosts?: readonly string[];
  /** Epoch ms. */
  readonly now?: () => number;
  /** Bounds of the stream. */
  readonly stream?: Pick<EventStreamOptions, "maxClients" | "maxWaitingBytes" | "keepAliveMs">;
}

export interface AdminServer {
  /** `url` has the port and an address that this machine can open. Rejects with an AdminListenError. */
  listen(): Promise<{ url: string; port: number }>;
  /** Ends the streams, lets answers under way finish for a second. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** Why the admin server cannot listen; the message names the setting to change. */
export class AdminListenError extends Error {
  override readonly name = "AdminListenError";
  readonly code: "port_in_use" | "port_denied" | "host_unavailable";

  constructor(code: AdminListenError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Public paths work without the token. The dashboard's page holds no data; it asks for the token itself. */
interface Route {
  readonly method: "GET" | "POST";
  readonly isPublic?: boolean;
  run(parameters: URLSearchParams, response: ServerResponse): void | Promise<void>;
}

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 512;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const CLOSE_GRACE_MS = 1000;

const DASHBOARD = new URL("./dashboard/index.html", import.meta.url);

/** Makes the server; it opens no port before `listen`. */
export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { host, port, sources, logger, allowedHosts = [], now = Date.now } = options;
  const onError = (error: unknown): void => logger.error({ err: error }, "the admin server could not answer");
  const stream = createEventStream({ ...options.stream, sources, onError });
  const routes = createRoutes(sources, stream, now);
  const isAuthorized = createTokenCheck(options.token);
  let isOwnHost = (_host: string | undefined): boolean => false;
  let closing: Promise<void> | undefined;

  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS });
  server.maxConnections = MAX_CONNECTIONS;
  server.on("clientError", answerBrokenRequest);
  server.on("request", (request, response) => {
    response.on("error", (error) => logger.debug({ err: error }, "an admin client went away"));
    discardBody(request, response);
    answer(request, response).catch((error: unknown) => {
      onError(error);
      sendError(response, 500, "internal_error", "The admin server failed to answer; its log says why.");
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, query } = splitTarget(request.url ?? "");
    const route = routes.get(path);
    if (!isOwnHost(request.headers.host)) return sendError(response, 421, "host_denied", "The Host header is not one of this server's names.");
    if (request.method !== "GET" && isFromForeignPage(request.headers)) return sendError(response, 403, "origin_denied", "A page of another site may not do this.");
    if (route?.isPublic !== true && !isAuthorized(request.headers.authorization)) {
      response.setHeader("www-authenticate", 'Bearer realm="tallyman"');
      return sendError(response, 401, "unauthorized", "Send the admin token (TALLYMAN_ADMIN_TOKEN) as Authorization: Bearer TOKEN.");
    }
    if (route === undefined) return sendError(response, 404, "not_found", "There is nothing at this path.");
    if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) return refuseBody(response);
    const method = request.method === "HEAD" ? "GET" : request.method;
    if (method !== route.method) {
      response.setHeader("allow", route.method === "GET" ? "GET, HEAD" : route.method);
      return sendError(response, 405, "method_not_allowed", `This path takes ${route.method}.`);
    }
    await route.run(new URLSearchParams(query), response);
  }

  return {
    async listen() {
      await startListening(server, host, port);
      server.on("error", onError);
      const bound = boundPort(server);
      isOwnHost = createHostRule({ boundHost: host, port: bound, allowedHosts });
      return { url: `http://${urlHost(host)}:${bound}`, port: bound };
    },
    close: () => (closing ??= closeServer(server, stream)),
  };
}

function createRoutes(sources: AdminSources, stream: { add(response: ServerResponse): boolean }, now: () => number): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>([
    ["/", { method: "GET", isPublic: true, run: (_parameters, response) => sendDashboard(response) }],
    ["/healthz", { method: "GET", isPublic: true, run: (_parameters, response) => sendHealth(response, sources) }],
    ["/readyz", { method: "GET", isPublic: true, run: (_parameters, response) => sendReadiness(response, sources) }],
    ["/ca.pem", { method: "GET", isPublic: true, run: (_parameters, response) => send(response, 200, "application/x-pem-file", sources.caPem) }],
    ["/metrics", { method: "GET", run: async (_parameters, response) => send(response, 200, sources.metrics.contentType, await sources.metrics.text()) }],
    ["/drain", { method: "POST", run: async (_parameters, response) => sendJson(response, 200, JSON.stringify(await sources.drain())) }],
    ["/api/v1/stream", { method: "GET", run: (_parameters, response) => openStream(response, stream) }],
  ]);
  for (const [path, read] of createApi(sources, now)) {
    const run: Route["run"] = async (parameters, response) => {
      const result = await read(parameters);
      if ("fault" in result) sendError(response, 400, "bad_request", result.fault);
      else sendJson(response, 200, result.json);
    };
    routes.set(path, { method: "GET", run });
  }
  return routes;
}

function sendHealth(response: ServerResponse, sources: AdminSources): void {
  const health = sources.health();
  sendJson(response, health.live ? 200 : 503, JSON.stringify(health));
}

async function sendReadiness(response: ServerResponse, sources: AdminSources): Promise<void> {
  const readiness = await sources.readiness();
  sendJson(response, readiness.ready ? 200 : 503, JSON.stringify(readiness));
}

function openStream(response: ServerResponse, stream: { add(response: ServerResponse): boolean }): void {
  if (response.req.method === "HEAD") send(response, 200, "text/event-stream", "");
  else if (!stream.add(response)) sendError(response, 503, "too_many_streams", "Too many clients follow the stream; close one.");
}

/** The page may load nothing, run its own script only, and talk to this server only. */
async function sendDashboard(response: ServerResponse): Promise<void> {
  const page = await readFile(DASHBOARD, "utf8");
  const script = /<script>([\s\S]*?)<\/script>/.exec(page)?.[1] ?? "";
  const hash = createHash("sha256").update(script).digest("base64");
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  response.setHeader("content-security-policy", policy);
  send(response, 200, "text/html; charset=utf-8", page);
}

function sendJson(response: ServerResponse, status: number, json: string): void {
  send(response, status, "application/json; charset=utf-8", `${json}\n`);
}

function sendError(response: ServerResponse, status: number, code: string, message: string): void {
  sendJson(response, status, errorJson(code, message));
}

function errorJson(code: string, message: string): string {
  return JSON.stringify({ error: { type: "tallyman_error", code, message } });
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  // Its body was refused, or its client left, while the answer was made.
  if (response.headersSent || response.destroyed) return;
  const headers = {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
  };
  response.writeHead(status, headers).end(body);
}

/** No path takes a body. A short one is read and forgotten, so that the connection can be used again. */
function discardBody(request: IncomingMessage, response: ServerResponse): void {
  let bytes = 0;
  request.on("error", () => {
    // The client broke off inside its request; the response's close tells whoever cares.
  });
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) return;
    request.pause();
    if (response.headersSent) request.destroy();
    else refuseBody(response);
  });
}

/** Ends the connection too: what else the client wants to send is not read. */
function refuseBody(response: ServerResponse): void {
  response.setHeader("connection", "close");
  response.once("finish", () => response.req.destroy());
  sendError(response, 413, "body_too_large", "No path here takes a body.");
}

function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf("?");
  return mark === -1 ? { path: target, query: "" } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}

/** What node:http could not parse, or waited for too long. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const isTooLarge = error.code === "HPE_HEADER_OVERFLOW";
  const body = isTooLarge ? errorJson("head_too_large", `The request's head is over ${MAX_HEADER_BYTES} bytes.`) : errorJson("bad_request", "This is not an HTTP request.");
  const status = isTooLarge ? "431 Request Header Fields Too Large" : "400 Bad Request";
  socket.end(`HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
}

function startListening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((done, fail) => {
    const failed = (error: Error): void => fail(listenError(error, host, port));
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      done();
    });
  });
}

function listenError(error: Error, host: string, port: number): AdminListenError {
  const code = "code" in error ? String(error.code) : "unknown";
  const options = { cause: error };
  if (code === "EADDRINUSE") {
    return new AdminListenError("port_in_use", `Port ${port} on ${host} is in use. Set TALLYMAN_ADMIN_PORT to another port (0 = any free port) or end the program that has it.`, options);
  }
  if (code === "EACCES") return new AdminListenError("port_denied", `This user may not listen on port ${port}. Set TALLYMAN_ADMIN_PORT to one above 1023.`, options);
  return new AdminListenError("host_unavailable", `Cannot listen on ${host} (${code}). Set TALLYMAN_ADMIN_HOST to an address of this machine.`, options);
}

function boundPort(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A host that this machine can open, as it stands in a URL. */
function urlHost(host: string): string {
  if (isWildcard(host)) return host === "::" ? "[::1]" : "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

function closeServer(server: Server, stream: { close(): void }): Promise<void> {
  stream.close();
  if (!server.listening) return Promise.resolve();
  return new Promise((done) => {
    const force = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
    server.close(() => {
      clearTimeout(force);
      done();
    });
    server.closeIdleConnections();
  });
}
