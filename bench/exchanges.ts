/**
 * What the bench asks for and what its upstream answers, by name: a whole body or a stream of pieces, plain or gzip, as fast as
 * it goes or paced. The bodies are shaped as the providers', so that a meter has its real work to do.
 */

import { constants, createGzip } from "node:zlib";

import { converseFrames } from "./bedrock-frames.ts";
import { chatRequestBody, completionBody, DOWNLOAD_BYTES, EVENT_BYTES, EVENTS_PER_STREAM, JSON_BYTES, SENTENCE, streamEvents, variedText } from "./payloads.ts";
import { firstPostLines, postLines, postsPage, POST_LINE_BYTES, POSTS_PER_STREAM } from "./posts.ts";

/** One request and its answer. */
export interface Exchange {
  /** A host that a meter knows. */
  readonly host: string;
  /** Default "POST". */
  readonly method?: "GET" | "POST";
  readonly path: string;
  readonly requestHeaders: readonly string[];
  readonly requestBody: string;
  readonly answer: Body | Stream;
}

/** Of a known length; written in slices where it is large. */
export interface Body {
  readonly kind: "body";
  readonly contentType: string;
  readonly length: number;
  readonly bytes: () => Buffer;
}

/** Chunked: each piece is a chunk of its own. */
export interface Stream {
  readonly kind: "stream";
  readonly contentType: string;
  readonly isGzip: boolean;
  readonly isPaced: boolean;
  readonly pieces: () => Buffer[] | Promise<Buffer[]>;
}

export const LARGE_JSON_BYTES = 40_000_000;

const JSON_TYPE = "application/json";
const SSE_TYPE = "text/event-stream";

const OPENAI = { host: "api.openai.com", path: "/v1/chat/completions", requestHeaders: ["Authorization: Bearer bench"] };

const ANTHROPIC = {
  host: "api.anthropic.com",
  path: "/v1/messages",
  requestHeaders: ["X-Api-Key: bench", "Anthropic-Version: 2023-06-01"],
  requestBody: `{"model":"claude-sonnet-4-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"${SENTENCE.repeat(12)}"}]}`,
};

const BEDROCK = {
  host: "bedrock-runtime.us-east-1.amazonaws.com",
  path: "/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/converse-stream",
  requestHeaders: ["Authorization: Bearer bench"],
  requestBody: `{"messages":[{"role":"user","content":[{"text":"${SENTENCE.repeat(12)}"}]}],"inferenceConfig":{"maxTokens":1024}}`,
};

const X = { host: "api.x.com", method: "GET", requestHeaders: ["Authorization: Bearer bench"], requestBody: "" } as const;

function whole(bytes: number): Exchange {
  return { ...OPENAI, requestBody: chatRequestBody(false), answer: { kind: "body", contentType: JSON_TYPE, length: bytes, bytes: () => completionBody(bytes) } };
}

type Provider = Omit<Exchange, "answer"> & { readonly contentType: string; readonly pieces: () => Buffer[] };

const PROVIDERS: Readonly<Record<"openai" | "anthropic" | "bedrock", Provider>> = {
  openai: { ...OPENAI, requestBody: chatRequestBody(true), contentType: SSE_TYPE, pieces: streamEvents },
  anthropic: { ...ANTHROPIC, contentType: SSE_TYPE, pieces: anthropicEvents },
  bedrock: { ...BEDROCK, contentType: "application/vnd.amazon.eventstream", pieces: converseFrames },
};

function streamed({ contentType, pieces, ...request }: Provider, { isGzip, isPaced }: { isGzip: boolean; isPaced: boolean }): Exchange {
  return { ...request, answer: { kind: "stream", contentType, isGzip, isPaced, pieces: isGzip ? () => compressed(pieces()) : pieces } };
}

function postStream(isPaced: boolean): Stream {
  return { kind: "stream", contentType: JSON_TYPE, isGzip: false, isPaced, pieces: () => firstPostLines(EVENTS_PER_STREAM) };
}

const plain = { isGzip: false, isPaced: false };
const gzip = { isGzip: true, isPaced: false };
const paced = { isGzip: false, isPaced: true };
const gzipPaced = { isGzip: true, isPaced: true };

/** By name: the value of the request header `x-bench`. */
export const EXCHANGES = {
  json: whole(JSON_BYTES),
  json40: whole(LARGE_JSON_BYTES),
  download: whole(DOWNLOAD_BYTES),
  openai: streamed(PROVIDERS.openai, plain),
  "openai-gzip": streamed(PROVIDERS.openai, gzip),
  "openai-paced": streamed(PROVIDERS.openai, paced),
  "openai-gzip-paced": streamed(PROVIDERS.openai, gzipPaced),
  anthropic: streamed(PROVIDERS.anthropic, plain),
  "anthropic-gzip": streamed(PROVIDERS.anthropic, gzip),
  "anthropic-paced": streamed(PROVIDERS.anthropic, paced),
  "anthropic-gzip-paced": streamed(PROVIDERS.anthropic, gzipPaced),
  bedrock: streamed(PROVIDERS.bedrock, plain),
  "bedrock-gzip": streamed(PROVIDERS.bedrock, gzip),
  "bedrock-paced": streamed(PROVIDERS.bedrock, paced),
  "bedrock-gzip-paced": streamed(PROVIDERS.bedrock, gzipPaced),
  "x-page": { ...X, path: "/2/tweets/search/recent?query=bench&max_results=100", answer: { kind: "body", contentType: JSON_TYPE, length: postsPage().length, bytes: postsPage } },
  "x-stream": { ...X, path: "/2/tweets/search/stream", answer: { kind: "body", contentType: JSON_TYPE, length: POSTS_PER_STREAM * POST_LINE_BYTES, bytes: postLines } },
  "x-lines": { ...X, path: "/2/tweets/search/stream", answer: postStream(false) },
  "x-paced": { ...X, path: "/2/tweets/search/stream", answer: postStream(true) },
} as const satisfies Readonly<Record<string, Exchange>>;

export type ExchangeId = keyof typeof EXCHANGES;

export function isExchangeId(name: string): name is ExchangeId {
  return Object.hasOwn(EXCHANGES, name);
}

export const METERED_HOSTS: readonly string[] = [...new Set(Object.values(EXCHANGES).map(({ host }) => host))];

/** A whole HTTP/1.1 request, with about 1 KB of JSON under its head where it is a POST. */
export function requestOf(id: ExchangeId, authority: string): Buffer {
  const { method = "POST", path, requestHeaders, requestBody }: Exchange = EXCHANGES[id];
  const head = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${authority}`,
    ...requestHeaders,
    "Content-Type: application/json",
    "Accept: application/json, text/event-stream",
    "Accept-Encoding: gzip",
    "User-Agent: bench/1",
    `X-Bench: ${id}`,
    `Content-Length: ${requestBody.length}`,
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${requestBody}`, "latin1");
}

/** Messages API, streamed: text deltas of exactly EVENT_BYTES between the events that begin and end a message. */
function anthropicEvents(): Buffer[] {
  const usage = '"usage":{"input_tokens":212,"cache_creation_input_tokens":0,"cache_read_input_tokens":128,"output_tokens":1,"service_tier":"standard"}';
  const before = [
    sse("message_start", `"message":{"id":"msg_bench","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"stop_reason":null,"stop_sequence":null,${usage}}`),
    sse("content_block_start", '"index":0,"content_block":{"type":"text","text":""}'),
  ];
  const after = [
    sse("content_block_stop", '"index":0'),
    sse("message_delta", '"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":391}'),
    sse("message_stop"),
  ];
  const delta = (text: string): Buffer => sse("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"${text}"}`);
  const room = EVENT_BYTES - delta("").length;
  const deltas = Array.from({ length: EVENTS_PER_STREAM - before.length - after.length }, (_, place) => delta(variedText(room, place)));
  return [...before, ...deltas, ...after];
}

function sse(type: string, members?: string): Buffer {
  return Buffer.from(`event: ${type}\ndata: {"type":"${type}"${members === undefined ? "" : `,${members}`}}\n\n`, "latin1");
}

/** As servers compress a stream: one coding for all of it, flushed behind each piece. */
async function compressed(pieces: readonly Buffer[]): Promise<Buffer[]> {
  const coder = createGzip();
  let out: Buffer[] = [];
  coder.on("data", (chunk: Buffer) => out.push(chunk));
  const taken = (): Buffer => {
    const bytes = Buffer.concat(out);
    out = [];
    return bytes;
  };
  const coded: Buffer[] = [];
  for (const piece of pieces) {
    coder.write(piece);
    await new Promise<void>((resolve) => coder.flush(constants.Z_SYNC_FLUSH, resolve));
    coded.push(taken());
  }
  await new Promise((resolve) => coder.once("end", resolve).end());
  const trailer = taken();
  return trailer.length === 0 ? coded : [...coded.slice(0, -1), Buffer.concat([coded.at(-1) ?? Buffer.alloc(0), trailer])];
}
