/**
 * A Slack on loopback: Web API, uploads, downloads and webhooks over TLS, behind their real names (the Host header tells
 * which). Keeps every request byte for byte. Its socket is support/websocket-wire.ts. Forms of the answers:
 * reference/connectors.md section 3.
 */

import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { gzipSync } from "node:zlib";

import type { SimulatedTls } from "../../src/demo/simulated-tls.ts";

/** One request as it came, and what was answered. */
export interface SlackCall {
  readonly host: string;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly answer: SlackAnswer;
}

export interface SlackAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Before content coding. */
  readonly body: Buffer;
}

export interface SimulatedSlack {
  readonly port: number;
  /** In order of arrival. */
  readonly calls: readonly SlackCall[];
  /** The next call whose path ends with this gets this answer. */
  answerNext(pathEnd: string, answer: SlackAnswer): void;
  close(): Promise<void>;
}

/** What the simulated workspace says: no test sends it, and no event may have it. */
export const WORKSPACE = { channel: "C0SECRETCHANNEL", user: "U0SECRETUSER", userName: "ada.lovelace", text: "the merger is on friday", ticket: "single-use-ticket-of-the-socket" } as const;

/** Messages of the one channel. */
export const HISTORY_LENGTH = 7;

/** Listens on a free port of 127.0.0.1. */
export async function startSimulatedSlack(tls: SimulatedTls): Promise<SimulatedSlack> {
  const calls: SlackCall[] = [];
  const scripted: { readonly pathEnd: string; readonly answer: SlackAnswer }[] = [];
  const workspace = createWorkspace();
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (request, response) => {
    readBody(request).then(
      (body) => {
        const path = request.url ?? "";
        const at = scripted.findIndex(({ pathEnd }) => path.endsWith(pathEnd));
        const answer = at === -1 ? workspace(request, body) : scripted.splice(at, 1)[0]!.answer;
        calls.push({ host: request.headers.host ?? "", method: request.method ?? "", path, headers: request.headers, body, answer });
        send(request, response, answer);
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
    answerNext: (pathEnd, answer) => void scripted.push({ pathEnd, answer }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** An answer in JSON. */
export function jsonAnswer(body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): SlackAnswer {
  return { status, headers: { "content-type": "application/json; charset=utf-8", ...headers }, body: Buffer.from(JSON.stringify(body)) };
}

function textAnswer(text: string, status = 200, type = "text/html"): SlackAnswer {
  return { status, headers: { "content-type": type }, body: Buffer.from(text) };
}

type Arguments = ReadonlyMap<string, string>;

function createWorkspace(): (request: IncomingMessage, body: Buffer) => SlackAnswer {
  let files = 0;
  let requests = 0;
  const methods: Readonly<Record<string, (given: Arguments) => unknown>> = {
    "chat.postMessage": (given) => ({ ok: true, channel: given.get("channel"), ts: "1700000000.000100", message: { type: "message", user: WORKSPACE.user, text: given.get("text") } }),
    "conversations.history": historyPage,
    "search.messages": () => ({ ok: true, query: "x", messages: { total: 900, matches: [message(1), message(2)], paging: { count: 2, page: 1, pages: 450 } } }),
    "users.info": () => ({ ok: true, user: { id: WORKSPACE.user, name: WORKSPACE.userName } }),
    "auth.test": () => ({ ok: true, user: WORKSPACE.userName, user_id: WORKSPACE.user }),
    "files.getUploadURLExternal": () => {
      files += 1;
      return { ok: true, upload_url: `https://files.slack.com/upload/v1/SecretUploadPath${files}`, file_id: `F${files}` };
    },
    "files.completeUploadExternal": (given) => ({ ok: true, files: JSON.parse(given.get("files") ?? "[]") }),
    "apps.connections.open": () => ({ ok: true, url: `wss://wss-primary.slack.com/link/?ticket=${WORKSPACE.ticket}&app_id=A1` }),
  };
  return (request, body) => {
    const url = new URL(request.url ?? "/", `https://${request.headers.host ?? "slack.com"}`);
    if (url.hostname === "hooks.slack.com") return url.pathname.startsWith("/services/") ? textAnswer("ok") : jsonAnswer({ ok: true });
    if (url.hostname === "files.slack.com") return url.pathname.startsWith("/upload/") ? textAnswer(`OK - ${body.length}`) : textAnswer("of the file", 200, "text/plain");
    const method = methods[url.pathname.replace("/api/", "")];
    return method === undefined ? jsonAnswer({ ok: false, error: "unknown_method" }) : jsonAnswer(method(argumentsOf(url, body)), 200, { "x-slack-req-id": `r${(requests += 1)}` });
  };
}

/** A page of the channel, newest first. */
function historyPage(given: Arguments): unknown {
  const limit = Number(given.get("limit") ?? 100);
  const from = Number(given.get("cursor") ?? 0);
  const to = Math.min(HISTORY_LENGTH, from + limit);
  const messages = Array.from({ length: to - from }, (_, at) => message(from + at));
  return { ok: true, messages, has_more: to < HISTORY_LENGTH, response_metadata: { next_cursor: to < HISTORY_LENGTH ? String(to) : "" } };
}

function message(index: number): unknown {
  return { type: "message", user: WORKSPACE.user, text: `${WORKSPACE.text} (${index})`, ts: `1700000000.00010${index}` };
}

/** Form and query alike. */
function argumentsOf(url: URL, body: Buffer): Arguments {
  return new Map([...url.searchParams, ...new URLSearchParams(body.toString())]);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Slack compresses for those who take it. */
function send(request: IncomingMessage, response: ServerResponse, answer: SlackAnswer): void {
  const isCompressed = String(request.headers["accept-encoding"] ?? "").includes("gzip");
  const body = isCompressed ? gzipSync(answer.body) : answer.body;
  response.writeHead(answer.status, { ...answer.headers, ...(isCompressed ? { "content-encoding": "gzip" } : {}), "content-length": body.length });
  response.end(body);
}
