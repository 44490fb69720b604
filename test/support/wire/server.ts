/**
 * One HTTPS server on loopback that stands behind the names of many providers and says byte for byte what their APIs
 * say. What it got and gave is kept, so that a test can compare both with what a client sent and was told.
 */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { setImmediate as turn } from "node:timers/promises";

import type { SimulatedTls } from "../../../src/demo/simulated-tls.ts";

export interface WireRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly host: string;
  readonly body: Buffer;
}

/** The pieces are written one by one, as a model would make them. */
export interface WireAnswer {
  readonly status?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly pieces: readonly (string | Uint8Array)[];
}

/** Undefined: the API has no such path. */
export type WireApi = (request: WireRequest) => WireAnswer | undefined;

export interface WireExchange extends WireRequest {
  readonly responseBody: Buffer;
}

export interface WireServer {
  readonly port: number;
  readonly exchanges: readonly WireExchange[];
  close(): void;
}

/** `apis`: by host name. */
export async function startWireServer(tls: SimulatedTls, apis: Readonly<Record<string, WireApi>>): Promise<WireServer> {
  const exchanges: WireExchange[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
    const host = (request.headers.host ?? "").split(":", 1)[0] ?? "";
    const asked: WireRequest = { method: request.method ?? "", target: request.url ?? "", host, body: Buffer.concat(chunks) };
    const answer = apis[host]?.(asked) ?? NOT_FOUND;
    const pieces = answer.pieces.map((piece) => Buffer.from(piece));
    exchanges.push({ ...asked, responseBody: Buffer.concat(pieces) });
    response.writeHead(answer.status ?? 200, answer.headers);
    for (const piece of pieces) {
      response.write(piece);
      await turn();
    }
    response.end();
  };
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return {
    port: address.port,
    exchanges,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

const NOT_FOUND: WireAnswer = { status: 404, headers: { "content-type": "application/json" }, pieces: ['{"error":{"message":"no such path"}}'] };

export function json(body: unknown, headers: Readonly<Record<string, string>> = {}): WireAnswer {
  return { headers: { "content-type": "application/json", ...headers }, pieces: [JSON.stringify(body)] };
}

/** `named`: with an `event:` line of the data's `type`. */
export function sse(events: readonly unknown[], { isNamed = false, isDone = false } = {}): WireAnswer {
  const pieces = events.map((event) => `${isNamed ? `event: ${typeOf(event)}\n` : ""}data: ${JSON.stringify(event)}\n\n`);
  return { headers: { "content-type": "text/event-stream" }, pieces: isDone ? [...pieces, "data: [DONE]\n\n"] : pieces };
}

function typeOf(event: unknown): string {
  return typeof event === "object" && event !== null && "type" in event ? String(event.type) : "message";
}

export function isStream(request: WireRequest): boolean {
  return request.body.includes('"stream":true');
}
