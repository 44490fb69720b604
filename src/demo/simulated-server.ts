/**
 * What both simulated providers share: an HTTPS server on loopback that records every exchange byte for byte and
 * sends whole answers and event streams as their behaviour asks (pace, content coding, cuts). It knows no provider.
 */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import * as zlib from "node:zlib";
import { BehaviourError, parseBehaviour, splitModel } from "./simulated-behaviour.ts";
import type { Behaviour, ContentCoding } from "./simulated-behaviour.ts";
import type { SimulatedTls } from "./simulated-tls.ts";

/** One exchange as the provider saw it; filled in while it goes on. */
export interface SimulatedExchange {
  readonly method: string;
  /** Path and query as they came. */
  readonly path: string;
  readonly rawHeaders: readonly string[];
  /** Body bytes as they came, not decoded. */
  readonly requestBody: Buffer;
  /** 0 until the head is sent. */
  readonly status: number;
  /** Body bytes as they were handed to the socket: encoded, without HTTP framing. */
  readonly responseBody: Buffer;
  /** True when the client went away, or a simulated cut came, before the answer was whole. */
  readonly closedEarly: boolean;
  /** When nothing more was to come, on the clock of performance.now(); undefined while it goes on. */
  readonly overAtMs: number | undefined;
}

export interface SimulatedServer {
  readonly port: number;
  /** `https://localhost:PORT` */
  readonly url: string;
  /** In order of arrival. */
  readonly exchanges: readonly SimulatedExchange[];
  /** Breaks off what is open and stops listening. Idempotent. */
  close(): Promise<void>;
}

/** A request, read whole. */
export interface SimulatedRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  /** The JSON object of the body; empty when there is none. */
  readonly body: Readonly<Record<string, unknown>>;
  /** The `model` of the body without directives, or "". */
  readonly model: string;
  readonly behaviour: Behaviour;
}

export type Headers = Readonly<Record<string, string>>;

/** What a provider answers: a JSON document, or the events of a stream, each a complete text with its blank line. */
export type SimulatedAnswer =
  | { readonly kind: "whole"; readonly status: number; readonly headers: Headers; readonly body: unknown }
  | { readonly kind: "stream"; readonly headers: Headers; readonly events: Iterable<string> };

export interface SimulatedProvider {
  /** Answers one request; `undefined` is 404. */
  answer(request: SimulatedRequest): SimulatedAnswer | undefined;
  /** An error answer in the provider's own form. */
  error(status: number, message: string): SimulatedAnswer;
}

interface Recording extends SimulatedExchange {
  status: number;
  closedEarly: boolean;
  overAtMs: number | undefined;
  readonly requestChunks: Buffer[];
  readonly responseChunks: Buffer[];
}

/** Listens on a free port of 127.0.0.1. */
export async function startSimulatedServer(tls: SimulatedTls, provider: SimulatedProvider): Promise<SimulatedServer> {
  const exchanges: Recording[] = [];
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (request, response) => {
    const recording = record(request, response);
    exchanges.push(recording);
    serve(provider, recording, request, response).catch(() => {
      // The client is gone: there is nobody to answer. The recording says closedEarly.
      response.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = addressOf(server.address());
  let closing: Promise<void> | undefined;
  return {
    port,
    url: `https://localhost:${port}`,
    exchanges,
    close() {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closing;
    },
  };
}

function addressOf(address: AddressInfo | string | null): AddressInfo {
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address;
}

function record(request: IncomingMessage, response: ServerResponse): Recording {
  const recording: Recording = {
    method: request.method ?? "",
    path: request.url ?? "",
    rawHeaders: request.rawHeaders,
    status: 0,
    closedEarly: false,
    overAtMs: undefined,
    requestChunks: [],
    responseChunks: [],
    get requestBody() {
      return Buffer.concat(this.requestChunks);
    },
    get responseBody() {
      return Buffer.concat(this.responseChunks);
    },
  };
  response.on("close", () => {
    recording.closedEarly = !response.writableFinished;
    recording.overAtMs = performance.now();
  });
  return recording;
}

async function serve(provider: SimulatedProvider, recording: Recording, request: IncomingMessage, response: ServerResponse): Promise<void> {
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) recording.requestChunks.push(chunk);
  const parsed = parseRequest(recording, request);
  if (typeof parsed === "string") {
    await send(response, recording, provider.error(400, parsed), parseBehaviour(""));
    return;
  }
  const { status } = parsed.behaviour;
  const answer =
    status === undefined
      ? (provider.answer(parsed) ?? provider.error(404, `no such endpoint: ${parsed.method} ${parsed.path}`))
      : provider.error(status, `simulated error ${status}`);
  await send(response, recording, answer, parsed.behaviour);
}

/** The request, or what is wrong with it. */
function parseRequest(recording: Recording, request: IncomingMessage): SimulatedRequest | string {
  const body = readBody(recording.requestBody, request.headers["content-encoding"]);
  if (body === undefined) return "the body is not a JSON object";
  const { model, directives } = splitModel(typeof body["model"] === "string" ? body["model"] : "");
  const header = request.headers["x-simulate"];
  try {
    const behaviour = parseBehaviour(typeof header === "string" ? header : directives);
    const path = recording.path.split("?", 1)[0] ?? "";
    return { method: recording.method, path, headers: request.headers, body, model, behaviour };
  } catch (error) {
    if (error instanceof BehaviourError) return error.message;
    throw error;
  }
}

function readBody(bytes: Buffer, coding: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length === 0) return {};
  try {
    const json: unknown = JSON.parse(decode(bytes, coding).toString("utf8"));
    return isRecord(json) ? json : undefined;
  } catch {
    return undefined; // Not JSON, or not in the coding that it claims: answered with 400.
  }
}

function decode(bytes: Buffer, coding: string | undefined): Buffer {
  switch (coding) {
    case "gzip":
      return zlib.gunzipSync(bytes);
    case "br":
      return zlib.brotliDecompressSync(bytes);
    case "zstd":
      return zlib.zstdDecompressSync(bytes);
    case "deflate":
      return zlib.inflateSync(bytes);
    default:
      return bytes;
  }
}

/** Whether an unknown value is an object with named members. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function send(response: ServerResponse, recording: Recording, answer: SimulatedAnswer, behaviour: Behaviour): Promise<void> {
  const codingHeader: Headers = behaviour.coding === undefined ? {} : { "content-encoding": behaviour.coding };
  if (answer.kind === "whole") await sendWhole(response, recording, answer, behaviour, codingHeader);
  else await sendStream(response, recording, answer, behaviour, codingHeader);
}

async function sendWhole(
  response: ServerResponse,
  recording: Recording,
  answer: SimulatedAnswer & { readonly kind: "whole" },
  behaviour: Behaviour,
  codingHeader: Headers,
): Promise<void> {
  const body = await encodeWhole(Buffer.from(JSON.stringify(answer.body)), behaviour.coding);
  if (behaviour.delayMs > 0) await pause(behaviour.delayMs);
  recording.status = answer.status;
  response.writeHead(answer.status, { ...answer.headers, "content-type": "application/json", ...codingHeader, "content-length": body.length });
  const sent = behaviour.cutAfter === undefined ? body : body.subarray(0, behaviour.cutAfter);
  await write(response, recording, sent);
  if (behaviour.cutAfter === undefined) response.end();
  else response.destroy();
}

async function sendStream(
  response: ServerResponse,
  recording: Recording,
  answer: SimulatedAnswer & { readonly kind: "stream" },
  behaviour: Behaviour,
  codingHeader: Headers,
): Promise<void> {
  recording.status = 200;
  const head = { ...answer.headers, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", ...codingHeader };
  response.writeHead(200, head);
  response.flushHeaders();
  const encoder = createEncoder(behaviour.coding);
  let sent = 0;
  for (const event of answer.events) {
    if (sent === behaviour.cutAfter) break;
    if (behaviour.delayMs > 0) await pause(behaviour.delayMs);
    if (response.destroyed) return;
    await write(response, recording, await encoder.encode(Buffer.from(event)));
    sent += 1;
  }
  if (sent === behaviour.cutAfter) return void response.destroy();
  await write(response, recording, await encoder.end());
  response.end();
}

/** Records and sends; waits until the bytes are in the socket, so that a cut comes after them. */
async function write(response: ServerResponse, recording: Recording, bytes: Buffer): Promise<void> {
  if (bytes.length === 0) return;
  recording.responseChunks.push(bytes);
  await new Promise<void>((resolve, reject) => {
    response.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** A content coder: what it gives for an event can be decoded at once. */
interface Encoder {
  encode(bytes: Buffer): Promise<Buffer> | Buffer;
  end(): Promise<Buffer> | Buffer;
}

const NOTHING = Buffer.alloc(0);
const IDENTITY: Encoder = { encode: (bytes) => bytes, end: () => NOTHING };

function createEncoder(coding: ContentCoding | undefined): Encoder {
  if (coding === undefined) return IDENTITY;
  const stream = createCompressor(coding);
  let ready: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => ready.push(chunk));
  const take = (): Buffer => {
    const taken = Buffer.concat(ready);
    ready = [];
    return taken;
  };
  return {
    async encode(bytes) {
      await new Promise<void>((resolve) => {
        stream.write(bytes);
        stream.flush(resolve);
      });
      return take();
    },
    async end() {
      stream.end();
      await once(stream, "end");
      return take();
    },
  };
}

function createCompressor(coding: ContentCoding): zlib.Gzip | zlib.Deflate | zlib.BrotliCompress | zlib.ZstdCompress {
  switch (coding) {
    case "gzip":
      return zlib.createGzip();
    case "deflate":
      return zlib.createDeflate();
    case "br":
      // The default quality takes seconds for a body of tens of megabytes.
      return zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } });
    case "zstd":
      return zlib.createZstdCompress();
  }
}

async function encodeWhole(body: Buffer, coding: ContentCoding | undefined): Promise<Buffer> {
  const encoder = createEncoder(coding);
  return Buffer.concat([await encoder.encode(body), await encoder.end()]);
}
