/**
 * An X API on loopback, behind its real names (the Host header tells which): lookups, searches in pages, posts, uploads
 * and endless streams that the test fills. Keeps every request and answer byte for byte; answers are compressed where
 * the client allows it. Forms of the answers: reference/connectors.md sections 2.4 to 2.8.
 */

import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { gzipSync } from "node:zlib";

import type { SimulatedTls } from "../../src/demo/simulated-tls.ts";
import { until } from "./until.ts";

/** One request as it came, and the body of its answer as it was sent (encoded). */
export interface XCall {
  readonly host: string;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Empty for a stream. */
  readonly answer: Buffer;
}

/** An open stream. */
export interface XStream {
  /** One line of it: a post with its author, say. */
  send(record: unknown): void;
  keepAlive(): void;
  end(): void;
  /** Breaks the connection off, after a part of a line. */
  breakOff(): void;
  readonly isClosed: boolean;
}

export interface SimulatedX {
  readonly port: number;
  /** In order of arrival. */
  readonly calls: readonly XCall[];
  /** The next stream that nobody has taken; waits for it. */
  stream(): Promise<XStream>;
  close(): Promise<void>;
}

/** What the simulated users say: no test sends it, and no event may have it. */
export const TIMELINE = { text: "the launch is at noon, tell nobody", userName: "grace_hopper_1906", name: "Grace of Arlington", userId: "770770770", postId: "1445880548472328192", mediaId: "1146654567674912769" } as const;

/** Pages of the one search: posts, users and media on each. */
export const SEARCH_PAGES = [{ posts: 10, users: 3, media: 2 }, { posts: 10, users: 1, media: 0 }, { posts: 4, users: 4, media: 1 }] as const;

type Answer = { readonly status: number; readonly json?: unknown } | "stream" | undefined;

/** Listens on a free port of 127.0.0.1. */
export async function startSimulatedX(tls: SimulatedTls): Promise<SimulatedX> {
  const calls: XCall[] = [];
  const streams: XStream[] = [];
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (request, response) => {
    readBody(request).then(
      (body) => {
        const answer = answerOf(request, body);
        if (answer === "stream") streams.push(openStream(response));
        const bytes = answer === "stream" ? Buffer.alloc(0) : send(request, response, answer ?? { status: 404, json: { title: "Not Found", status: 404 } });
        calls.push({ host: request.headers.host ?? "", method: request.method ?? "", path: request.url ?? "", headers: request.headers, body, answer: bytes });
      },
      () => response.destroy(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return {
    port: address.port,
    calls,
    async stream() {
      await until(() => streams.length > 0, "a stream to be opened");
      return streams.shift()!;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** The bytes of the body that was sent. */
function send(request: IncomingMessage, response: ServerResponse, { status, json }: { readonly status: number; readonly json?: unknown }): Buffer {
  const limits = { "x-rate-limit-limit": "300", "x-rate-limit-remaining": "299", "x-rate-limit-reset": "1900000000" };
  if (json === undefined) {
    response.writeHead(status, limits).end();
    return Buffer.alloc(0);
  }
  const plain = Buffer.from(JSON.stringify(json));
  const isZipped = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
  const body = isZipped ? gzipSync(plain) : plain;
  response.writeHead(status, { ...limits, "content-type": "application/json; charset=utf-8", ...(isZipped ? { "content-encoding": "gzip" } : {}) });
  response.end(body);
  return body;
}

function openStream(response: ServerResponse): XStream {
  response.writeHead(200, { "content-type": "application/json; charset=utf-8" });
  response.flushHeaders();
  return {
    send: (record) => void response.write(`${JSON.stringify(record)}\r\n`),
    keepAlive: () => void response.write("\r\n"),
    end: () => void response.end(),
    breakOff() {
      response.write('{"data":{"id":"9","te', () => response.destroy());
    },
    get isClosed() {
      return response.destroyed || response.writableEnded;
    },
  };
}

function answerOf(request: IncomingMessage, body: Buffer): Answer {
  const url = new URL(request.url ?? "/", "https://api.x.com");
  const key = `${request.method} ${url.pathname}`;
  if (key === "GET /2/tweets/search/stream") return "stream";
  if (key === "GET /2/tweets/search/recent") return { status: 200, json: searchPage(Number(url.searchParams.get("next_token") ?? "0")) };
  if (key === `GET /2/users/${TIMELINE.userId}/tweets`) return { status: 200, json: searchPage(0) };
  if (key === "GET /2/tweets") return { status: 200, json: lookup(url.searchParams.get("ids")?.split(",") ?? []) };
  if (key === `GET /2/users/by/username/${TIMELINE.userName}`) return { status: 200, json: { data: user(1) } };
  if (key === "GET /2/users/me") return { status: 200, json: { data: user(0) } };
  if (key === "GET /2/tweets/counts/recent") return { status: 200, json: { data: [{ tweet_count: 40 }, { tweet_count: 23 }], meta: { total_tweet_count: 63 } } };
  if (key === "POST /2/tweets") return createPost(body);
  if (key === "GET /1.1/account/settings.json") return { status: 200, json: { screen_name: TIMELINE.userName } };
  if (key === "POST /1.1/media/upload.json") return uploadByCommand(url, body);
  return uploadInSteps(key);
}

function createPost(body: Buffer): Answer {
  const { text } = JSON.parse(body.toString()) as { text?: string };
  if (text === "again") return { status: 403, json: { title: "Forbidden", detail: "duplicate content", status: 403 } };
  return { status: 201, json: { data: { id: TIMELINE.postId, text, edit_history_tweet_ids: [TIMELINE.postId] } } };
}

function lookup(ids: readonly string[]): unknown {
  const [missing, ...found] = ids.toReversed();
  return {
    data: found.map((id) => ({ id, text: TIMELINE.text })),
    errors: [{ resource_id: missing, resource_type: "tweet", title: "Not Found Error", type: "https://api.x.com/2/problems/resource-not-found" }],
  };
}

function searchPage(at: number): unknown {
  const { posts, users, media } = SEARCH_PAGES[at] ?? SEARCH_PAGES[0];
  const next = at + 1 < SEARCH_PAGES.length ? { next_token: String(at + 1) } : {};
  return {
    data: Array.from({ length: posts }, (_, index) => post(at * 100 + index)),
    includes: { users: Array.from({ length: users }, (_, index) => user(index)), media: Array.from({ length: media }, (_, index) => ({ media_key: `3_${index}`, type: "photo" })) },
    meta: { result_count: posts, newest_id: TIMELINE.postId, oldest_id: TIMELINE.postId, ...next },
  };
}

/** A post and, as streams send it, with its author beside it. */
export function post(index: number): { readonly id: string; readonly text: string; readonly author_id: string } {
  return { id: String(1_445_880_548_000_000 + index), text: `${TIMELINE.text} ${index}`, author_id: TIMELINE.userId };
}

export function user(index: number): { readonly id: string; readonly name: string; readonly username: string } {
  return { id: `${TIMELINE.userId}${index}`, name: TIMELINE.name, username: TIMELINE.userName };
}

function uploadByCommand(url: URL, body: Buffer): Answer {
  const command = url.searchParams.get("command") ?? /(?:name="command"\r\n\r\n|command=)([A-Z]+)/.exec(body.toString("latin1"))?.[1];
  if (command === "APPEND") return { status: 204 };
  return { status: command === "INIT" ? 202 : 200, json: { media_id: 1, media_id_string: TIMELINE.mediaId, expires_after_secs: 86_400 } };
}

function uploadInSteps(key: string): Answer {
  if (key === "POST /2/media/upload/initialize") return { status: 200, json: { data: { id: TIMELINE.mediaId, media_key: `3_${TIMELINE.mediaId}`, expires_after_secs: 86_400 } } };
  if (key === `POST /2/media/upload/${TIMELINE.mediaId}/append`) return { status: 200, json: { data: { expires_at: 1_900_000_000 } } };
  if (key === `POST /2/media/upload/${TIMELINE.mediaId}/finalize`) return { status: 200, json: { data: { id: TIMELINE.mediaId, media_key: `3_${TIMELINE.mediaId}`, size: 1 } } };
  return undefined;
}
