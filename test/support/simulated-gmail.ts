/**
 * A Gmail API on loopback, as far as the official client needs it: send (JSON, upload, resumable), drafts, list, get,
 * threads, batch. Records every exchange byte for byte, compresses as Google does, and answers batches in turned order.
 */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { gzipSync } from "node:zlib";

import type { SimulatedTls } from "../../src/demo/simulated-tls.ts";
import { getHeader } from "../../src/flow/headers.ts";
import { boundaryOf, splitMultipart } from "../../src/usage/extract/multipart.ts";

export const GMAIL_HOST = "gmail.googleapis.com";

/** Text of the mailbox: nothing of it may be found anywhere but in the traffic. */
export const MAILBOX_TEXT = "the-quarterly-figures-are-secret";

export interface GmailExchange {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly requestBody: Buffer;
  readonly status: number;
  /** As it was sent: compressed where it was. */
  readonly responseBody: Buffer;
}

export interface SimulatedGmail {
  readonly port: number;
  /** In order of arrival. */
  readonly exchanges: readonly GmailExchange[];
  close(): void;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string is sent as it is, anything else as JSON. */
  readonly body?: unknown;
}

/** Listens on a free port of 127.0.0.1. */
export async function startSimulatedGmail(tls: SimulatedTls): Promise<SimulatedGmail> {
  const exchanges: GmailExchange[] = [];
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (request, response) => {
    serve(request, response, exchanges).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the simulated Gmail has no port");
  return {
    port: address.port,
    exchanges,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, exchanges: GmailExchange[]): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  const requestBody = Buffer.concat(chunks);
  const { method = "", url: target = "", rawHeaders } = request;
  const { status, headers = {}, body } = answer(method, target, rawHeaders, requestBody);
  const plain = Buffer.from(body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body));
  const isCompressed = plain.length > 0 && acceptsGzip(request);
  const responseBody = isCompressed ? gzipSync(plain) : plain;
  exchanges.push({ method, target, rawHeaders, requestBody, status, responseBody });
  const type = plain.length === 0 || "content-type" in headers ? {} : { "content-type": "application/json; charset=UTF-8" };
  response.writeHead(status, { ...type, ...headers, ...(isCompressed ? { "content-encoding": "gzip", vary: "Accept-Encoding" } : {}), "content-length": responseBody.length });
  response.end(responseBody);
}

/** Google compresses only for a user agent that says so too. */
function acceptsGzip({ headers }: IncomingMessage): boolean {
  return headers["accept-encoding"]?.includes("gzip") === true && headers["user-agent"]?.includes("gzip") === true;
}

function answer(method: string, target: string, rawHeaders: readonly string[], body: Buffer): Answer {
  const { pathname, searchParams } = new URL(target, `https://${GMAIL_HOST}`);
  if (pathname === "/batch/gmail/v1") return batch(rawHeaders, body);
  const call = `${method} ${pathname.replace(/^(\/upload)?\/gmail\/v1\/users\/[^/]+/, "$1")}`;
  switch (call) {
    case "POST /messages/send":
      return { status: 200, body: SENT };
    case "POST /upload/messages/send":
      return searchParams.get("uploadType") === "resumable" ? session(target) : { status: 200, body: SENT };
    case "PUT /upload/messages/send":
      return piece(getHeader(rawHeaders, "content-range"));
    case "POST /drafts":
      return { status: 200, body: { id: "r-1", message: { id: "m7", threadId: "t7", labelIds: ["DRAFT"] } } };
    case "POST /drafts/send":
      return { status: 200, body: SENT };
    case "POST /messages/batchModify":
      return { status: 204 };
    case "GET /messages":
      return { status: 200, body: listing(Number(searchParams.get("maxResults") ?? 100), searchParams.get("fields")) };
    case "GET /threads/t1":
      return { status: 200, body: { id: "t1", historyId: "9", messages: ["m1", "m2", "m3"].map(message) } };
    case "GET /messages/busy":
      return failure(403, "rateLimitExceeded");
    default:
      return /^GET \/messages\/\w+$/.test(call) ? { status: 200, body: message(call.slice(14)) } : failure(404, "notFound");
  }
}

const SENT = { id: "m9", threadId: "t9", labelIds: ["SENT"] };

function listing(count: number, fields: string | null): unknown {
  if (fields === "nextPageToken") return { nextPageToken: "x" };
  if (count === 0) return { resultSizeEstimate: 0 };
  return { messages: Array.from({ length: count }, (_, at) => ({ id: `m${at}`, threadId: `t${at}` })), nextPageToken: "x", resultSizeEstimate: 201 };
}

function message(id: string): unknown {
  const headers = [
    { name: "From", value: `${MAILBOX_TEXT}@ex.org` },
    { name: "Subject", value: MAILBOX_TEXT },
  ];
  const body = { size: 40_000, data: Buffer.from(`${MAILBOX_TEXT} `.repeat(1200)).toString("base64url") };
  return { id, threadId: "t1", labelIds: ["INBOX"], snippet: MAILBOX_TEXT, sizeEstimate: 40_000, historyId: "9", payload: { mimeType: "text/plain", headers, body } };
}

function failure(status: number, reason: string): Answer {
  const text = `${reason} of ${MAILBOX_TEXT}`;
  return { status, body: { error: { code: status, message: text, errors: [{ message: text, domain: "usageLimits", reason }], status: "PERMISSION_DENIED" } } };
}

function session(target: string): Answer {
  return { status: 200, headers: { location: `https://${GMAIL_HOST}${target}&upload_id=${MAILBOX_TEXT}` } };
}

/** "bytes 0-99/250", or the whole without a range. */
function piece(range: string | undefined): Answer {
  const [, last, total] = /-(\d+)\/(\d+)$/.exec(range ?? "") ?? [];
  const isLast = range === undefined || Number(last) + 1 === Number(total);
  return isLast ? { status: 200, body: SENT } : { status: 308, headers: { range: `bytes=0-${last}` } };
}

function batch(rawHeaders: readonly string[], body: Buffer): Answer {
  const parts = splitMultipart(body, boundaryOf(getHeader(rawHeaders, "content-type")) ?? "");
  const answers = parts.map(({ headers, body: inner }) => {
    const [requestLine = ""] = Buffer.from(inner).toString().split("\r\n", 1);
    const [method = "", target = ""] = requestLine.split(" ");
    const { status, body: json } = target.includes("/messages/m2?") ? failure(429, "rateLimitExceeded") : answer(method, target, [], Buffer.alloc(0));
    const id = getHeader(headers, "content-id")?.replace("<", "<response-") ?? "";
    const text = JSON.stringify(json);
    return [
      "--batch_of_answers",
      "Content-Type: application/http",
      `Content-ID: ${id}`,
      "",
      `HTTP/1.1 ${status} ${status === 200 ? "OK" : "Too Many Requests"}`,
      "Content-Type: application/json; charset=UTF-8",
      `Content-Length: ${text.length}`,
      "",
      text,
      "",
    ].join("\r\n");
  });
  return { status: 200, headers: { "content-type": "multipart/mixed; boundary=batch_of_answers" }, body: `${answers.toReversed().join("")}--batch_of_answers--\r\n` };
}
