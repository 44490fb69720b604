/**
 * What each path of an OpenAI-shaped API is (reference/model-usage.md section 4.2), and which reader reads it. Paths
 * are matched by their end, as gateways and base URLs put prefixes before them.
 */

import { pathEndsWith } from "../../../flow/route.ts";
import type { ExchangeInfo, OpenedExchange, Reader, ReaderContext } from "../../handler.ts";
import { createAnthropicMessagesReader } from "./anthropic-messages.ts";
import { createAsyncChatReader } from "./async-chat.ts";
import { createOpenAiChatReader } from "./openai-chat.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { createOpenAiBatchFileReader, createOpenAiBatchReader } from "./openai-batches.ts";
import { createEmbeddingsReader } from "./openai-embeddings.ts";
import { createImagesReader } from "./openai-images.ts";
import { createJobReader } from "./openai-jobs.ts";
import type { JobKind, JobTraits } from "./openai-jobs.ts";
import { createLiveReader } from "./openai-live.ts";
import { createRealtimeReader } from "./openai-realtime.ts";
import { createOpenAiResponsesReader } from "./openai-responses.ts";
import { createResponsesSocketReader } from "./openai-responses-socket.ts";
import { createSpeechReader } from "./openai-speech.ts";
import { createTranscriptionReader } from "./openai-transcription.ts";
import { trimTrailingSlashes } from "./request-path.ts";
import { createUnreadReader } from "./unread.ts";

/** Opens an exchange with any server of the family. */
export function openOpenAiExchange(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): OpenedExchange {
  if (exchange.protocol === "websocket") return openSocket(exchange, context, dialect);
  const endpoint = findEndpoint(exchange, dialect);
  return {
    api: `${dialect.id}.${endpoint.api}`,
    operation: endpoint.operation,
    isBillable: endpoint.isBillable,
    reader: endpoint.reader?.(exchange, context, dialect),
    reportsWhenAsked: endpoint.reader === chat && !dialect.reportsUnasked,
  };
}

interface Endpoint {
  readonly api: string;
  readonly operation: string;
  readonly isBillable: boolean;
  /** undefined: costs nothing whatever the answer is. */
  readonly reader?: OpenReader;
}

type OpenReader = (exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect) => Reader;

interface PostEndpoint extends Endpoint {
  readonly suffix: string;
  readonly isServed?: (dialect: OpenAiDialect) => boolean;
}

const unread = (): Reader => createUnreadReader();
const chat: OpenReader = (exchange, context, dialect) => createOpenAiChatReader(exchange, context, dialect);
const generate: OpenReader = (exchange, context, dialect) => createOpenAiResponsesReader(exchange, context, dialect, "generate");
const fetchResponse: OpenReader = (exchange, context, dialect) => createOpenAiResponsesReader(exchange, context, dialect, "fetch");
const asyncChat: OpenReader = (exchange, context, dialect) => createAsyncChatReader(exchange, context, dialect);
const images: OpenReader = (exchange, _context, dialect) => createImagesReader(exchange, dialect);
const transcription: OpenReader = (exchange, context, dialect) => createTranscriptionReader(exchange, context, dialect);
const job = (kind: JobKind, role: JobTraits["role"]): OpenReader => (exchange, context, dialect) => createJobReader(exchange, context, dialect, { kind, role });
const messages: OpenReader = (exchange, context, dialect) =>
  createAnthropicMessagesReader(context, {
    priceHints: (response) => ({ ...dialect.exchangeHints?.(exchange, response) }),
    ...(dialect.usageHints === undefined ? {} : { usageHints: dialect.usageHints }),
    ...(dialect.statedCost === undefined ? {} : { statedCost: dialect.statedCost }),
  });

const OTHER: Endpoint = { api: "other", operation: "other", isBillable: false };
const FETCH_RESPONSE: Endpoint = { api: "responses", operation: "fetch", isBillable: false, reader: fetchResponse };

/** POST, first match counts: the more specific path stands before the one it ends with. */
const POSTS: readonly PostEndpoint[] = [
  { suffix: "/responses/input_tokens", api: "responses", operation: "count_tokens", isBillable: false },
  { suffix: "/responses/compact", api: "responses", operation: "compact", isBillable: true, reader: generate },
  { suffix: "/responses", api: "responses", operation: "chat", isBillable: true, reader: generate },
  { suffix: "/async/chat/completions", api: "async_chat_completions", operation: "chat", isBillable: true, reader: asyncChat, isServed: (dialect) => dialect.hasAsyncChat },
  { suffix: "/chat/completions", api: "chat_completions", operation: "chat", isBillable: true, reader: chat },
  { suffix: "/completions", api: "completions", operation: "completion", isBillable: true, reader: chat },
  { suffix: "/v1/messages/count_tokens", api: "messages", operation: "count_tokens", isBillable: false, isServed: (dialect) => dialect.hasMessages },
  { suffix: "/v1/messages", api: "messages", operation: "chat", isBillable: true, reader: messages, isServed: (dialect) => dialect.hasMessages },
  { suffix: "/embeddings", api: "embeddings", operation: "embeddings", isBillable: true, reader: (_exchange, context, dialect) => createEmbeddingsReader(context, dialect) },
  { suffix: "/decisions", api: "decisions", operation: "decision", isBillable: true, reader: generate },
  { suffix: "/moderations", api: "moderations", operation: "moderation", isBillable: false },
  { suffix: "/images/generations", api: "images", operation: "image", isBillable: true, reader: images },
  { suffix: "/images/edits", api: "images", operation: "image", isBillable: true, reader: images },
  { suffix: "/images/variations", api: "images", operation: "image", isBillable: true, reader: images },
  { suffix: "/audio/transcriptions", api: "audio", operation: "transcription", isBillable: true, reader: transcription },
  { suffix: "/audio/translations", api: "audio", operation: "transcription", isBillable: true, reader: transcription },
  { suffix: "/audio/speech", api: "audio", operation: "speech", isBillable: true, reader: (exchange, _context, dialect) => createSpeechReader(exchange, dialect) },
  { suffix: "/batches", api: "batches", operation: "batch", isBillable: false, reader: () => createOpenAiBatchReader("start") },
  { suffix: "/videos", api: "videos", operation: "video", isBillable: true, reader: job("video", "start") },
  { suffix: "/videos/edits", api: "videos", operation: "video", isBillable: true, reader: job("video", "start") },
  // The job tells the length of the whole, and an extension is paid for what it adds.
  { suffix: "/videos/extensions", api: "videos", operation: "video", isBillable: true, reader: unread },
  { suffix: "/videos/characters", api: "videos", operation: "other", isBillable: false },
  { suffix: "/threads/runs", api: "runs", operation: "chat", isBillable: true, reader: job("run", "start") },
  { suffix: "/realtime/calls", api: "realtime", operation: "realtime", isBillable: false },
];

function findEndpoint(exchange: ExchangeInfo, dialect: OpenAiDialect): Endpoint {
  const path = trimTrailingSlashes(exchange.path);
  const [parent = "", last = ""] = path.split("/").slice(-2);
  if (exchange.method === "POST") {
    const found = POSTS.find(({ suffix, isServed }) => pathEndsWith(path, suffix) && isServed?.(dialect) !== false);
    return found ?? findControl(path, last);
  }
  if (exchange.method !== "GET") return OTHER;
  if (last === "models" || parent === "models") return { api: "models", operation: "list_models", isBillable: false };
  if (parent === "responses") return FETCH_RESPONSE;
  if (dialect.hasAsyncChat && isBelow(path, "/async/chat/completions")) {
    return { api: "async_chat_completions", operation: "fetch", isBillable: false, reader: asyncChat };
  }
  if (isBelow(path, "/chat/completions")) return { api: "chat_completions", operation: "fetch", isBillable: false };
  return findJob(exchange.method, path) ?? findBatch(path, parent, last) ?? OTHER;
}

interface JobPath {
  readonly method: string;
  readonly path: RegExp;
  readonly api: string;
  readonly operation: string;
  readonly kind: JobKind;
  readonly role: JobTraits["role"];
}

/** Jobs at paths of their own: what makes one is billable, what shows one or goes on with it is not. */
const JOB_PATHS: readonly JobPath[] = [
  { method: "POST", path: /\/threads\/[^/]+\/runs$/, api: "runs", operation: "chat", kind: "run", role: "start" },
  { method: "POST", path: /\/threads\/[^/]+\/runs\/[^/]+\/(?:submit_tool_outputs|cancel)$/, api: "runs", operation: "fetch", kind: "run", role: "fetch" },
  { method: "GET", path: /\/threads\/[^/]+\/runs\/[^/]+$/, api: "runs", operation: "fetch", kind: "run", role: "fetch" },
  { method: "POST", path: /\/agents\/sessions\/[^/]+\/turns$/, api: "agents", operation: "chat", kind: "turn", role: "start" },
  { method: "POST", path: /\/agents\/sessions\/[^/]+\/turns\/[^/]+\/[^/]+$/, api: "agents", operation: "fetch", kind: "turn", role: "fetch" },
  { method: "GET", path: /\/agents\/sessions\/[^/]+\/turns\/[^/]+$/, api: "agents", operation: "fetch", kind: "turn", role: "fetch" },
  { method: "POST", path: /\/videos\/[^/]+\/remix$/, api: "videos", operation: "video", kind: "video", role: "start" },
  { method: "GET", path: /\/videos\/[^/]+$/, api: "videos", operation: "fetch", kind: "video", role: "fetch" },
];

function findJob(method: string, path: string): Endpoint | undefined {
  const found = JOB_PATHS.find((each) => each.method === method && each.path.test(path));
  if (found === undefined) return undefined;
  const { api, operation, kind, role } = found;
  return { api, operation, isBillable: role === "start", reader: job(kind, role) };
}

/** GETs of a batch, and of a file that may be a batch's answers. */
function findBatch(path: string, parent: string, last: string): Endpoint | undefined {
  if (parent === "batches") return { api: "batches", operation: "batch", isBillable: false, reader: () => createOpenAiBatchReader("fetch") };
  if (last !== "content" || !isBelow(path.slice(0, -"/content".length), "/files")) return undefined;
  return { api: "files", operation: "file", isBillable: false, reader: (_exchange, context, dialect) => createOpenAiBatchFileReader(context, parent, dialect) };
}

/** POSTs to something that exists. */
function findControl(path: string, last: string): Endpoint {
  if (last === "cancel" && isBelow(path.slice(0, -"/cancel".length), "/responses")) {
    return { api: "responses", operation: "cancel", isBillable: false, reader: fetchResponse };
  }
  if (isBelow(path, "/chat/completions")) return { api: "chat_completions", operation: "update", isBillable: false };
  return findJob("POST", path) ?? OTHER;
}

/** Whether a path is a collection's and one more segment: ".../responses/resp_1". */
function isBelow(path: string, collection: string): boolean {
  const slash = path.lastIndexOf("/");
  return slash > 0 && pathEndsWith(path.slice(0, slash), collection);
}

/** Sockets carry many responses each, and are read message by message. What translates speech reports no usage. */
function openSocket(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): OpenedExchange {
  const path = trimTrailingSlashes(exchange.path);
  const common = { isBillable: true, reader: undefined };
  if (pathEndsWith(path, "/responses")) {
    return { ...common, api: `${dialect.id}.responses`, operation: "chat", socket: createResponsesSocketReader(exchange, context, dialect) };
  }
  if (pathEndsWith(path, "/realtime")) {
    return { ...common, api: `${dialect.id}.realtime`, operation: "realtime", socket: createRealtimeReader(exchange, context, dialect) };
  }
  if (path.includes("/live/sessions")) {
    return { ...common, api: `${dialect.id}.live`, operation: "realtime", socket: createLiveReader(exchange, context, dialect) };
  }
  if (pathEndsWith(path, "/realtime/translations")) return { ...common, api: `${dialect.id}.realtime`, operation: "translation" };
  return { api: `${dialect.id}.other`, operation: "other", isBillable: false, reader: undefined };
}
