/**
 * What each path of Google's generative APIs is, and which reader reads it (reference/model-usage.md section 4.2;
 * verbs of @google/genai 3.1.0). The Gemini API and Vertex AI have them in common: a resource, then often ":verb".
 * Paths are matched by their end, as gateways put prefixes before them.
 */

import type { ExchangeInfo, OpenedExchange, Reader, ReaderContext } from "../../handler.ts";
import { createGeminiBatchFileReader, createGeminiBatchReader } from "./gemini-batch.ts";
import { createGeminiCacheReader } from "./gemini-caches.ts";
import { createGeminiContentReader } from "./gemini-content.ts";
import { createGeminiEmbeddingsReader } from "./gemini-embeddings.ts";
import { createInteractionsReader } from "./gemini-interactions.ts";
import { openGeminiLive } from "./gemini-live.ts";
import { createGeminiImagesReader, createGeminiVideoReader } from "./gemini-pieces.ts";
import { geminiPath } from "./gemini-path.ts";
import type { GeminiPath } from "./gemini-path.ts";

export interface GeminiDialect {
  /** The handler's id: the first part of `api`. */
  readonly id: string;
  /** Facts that move the price, known from the path. */
  readonly hints?: Readonly<Record<string, string>>;
}

/** Opens an exchange with a path of either API. What is no such path costs nothing. */
export function openGeminiExchange(exchange: ExchangeInfo, context: ReaderContext, dialect: GeminiDialect): OpenedExchange {
  if (exchange.protocol === "websocket") return openSocket(exchange, context, dialect);
  const path = geminiPath(exchange.path);
  const endpoint = (path.verb === undefined ? findResource(exchange.method, path) : findVerb(exchange.method, path.verb, path)) ?? OTHER;
  return {
    api: `${dialect.id}.${endpoint.api}`,
    operation: endpoint.operation,
    isBillable: endpoint.isBillable,
    reader: endpoint.reader?.(context, path, dialect),
  };
}

interface Endpoint {
  readonly api: string;
  readonly operation: string;
  readonly isBillable: boolean;
  /** undefined: costs nothing whatever the answer is. */
  readonly reader?: (context: ReaderContext, path: GeminiPath, dialect: GeminiDialect) => Reader;
}

const OTHER: Endpoint = { api: "other", operation: "other", isBillable: false };
const LIST_MODELS: Endpoint = { api: "models", operation: "list_models", isBillable: false };
const COUNT_TOKENS: Endpoint = { api: "count_tokens", operation: "count_tokens", isBillable: false };

const GENERATE: Endpoint = { api: "generate_content", operation: "chat", isBillable: true, reader: content(false) };
const STREAM: Endpoint = { ...GENERATE, reader: content(true) };

const EMBED: Endpoint = {
  api: "embeddings",
  operation: "embeddings",
  isBillable: true,
  reader: (context, { model }) => createGeminiEmbeddingsReader(context, model),
};
const IMAGES: Endpoint = { api: "predict", operation: "image", isBillable: true, reader: (_context, { model }) => createGeminiImagesReader(model) };
const VIDEO: Endpoint = {
  api: "predict_long_running",
  operation: "video",
  isBillable: true,
  reader: (context, { model }) => createGeminiVideoReader(context, model, "start"),
};
const FETCH_VIDEO: Endpoint = {
  api: "predict_long_running",
  operation: "fetch",
  isBillable: false,
  reader: (context, { model }) => createGeminiVideoReader(context, model, "fetch"),
};
const BATCH: Endpoint = { api: "batches", operation: "batch", isBillable: false };
const START_BATCH: Endpoint = { ...BATCH, reader: (context, { model }) => createGeminiBatchReader(context, model, "start") };
const FETCH_BATCH: Endpoint = { ...BATCH, reader: (context) => createGeminiBatchReader(context, null, "fetch") };
const FILE: Endpoint = { api: "files", operation: "file", isBillable: false };
const DOWNLOAD: Endpoint = { ...FILE, reader: (context, { last }) => createGeminiBatchFileReader(context, `files/${last}`) };
const CACHE: Endpoint = { api: "cached_contents", operation: "cache_write", isBillable: true, reader: (context) => createGeminiCacheReader(context) };
const CACHES: Endpoint = { api: "cached_contents", operation: "other", isBillable: false };
const INTERACT: Endpoint = { api: "interactions", operation: "chat", isBillable: true, reader: (context) => createInteractionsReader(context, "generate") };
const FETCH_INTERACTION: Endpoint = { api: "interactions", operation: "fetch", isBillable: false, reader: (context) => createInteractionsReader(context, "fetch") };

/** POST of ":verb". Vertex's text embedding models have no verb of their own. */
const VERBS: ReadonlyMap<string, Endpoint> = new Map([
  ["generateContent", GENERATE],
  ["streamGenerateContent", STREAM],
  ["countTokens", COUNT_TOKENS],
  ["computeTokens", COUNT_TOKENS],
  ["embedContent", EMBED],
  ["batchEmbedContents", EMBED],
  ["predict", IMAGES],
  ["predictLongRunning", VIDEO],
  ["fetchPredictOperation", FETCH_VIDEO],
  ["batchGenerateContent", START_BATCH],
  ["asyncBatchEmbedContent", START_BATCH],
]);

const EMBEDDING_MODEL = /embedding|gecko/;

function findVerb(method: string, verb: string, path: GeminiPath): Endpoint | undefined {
  if (method === "GET") return verb === "download" && path.parent === "files" ? DOWNLOAD : undefined;
  if (method !== "POST") return undefined;
  // What is deployed on machines of one's own is paid for by the hour of them, whatever it predicts.
  if (verb === "predict" && path.parent === "endpoints") return { ...OTHER, api: "predict" };
  return verb === "predict" && path.model !== null && EMBEDDING_MODEL.test(path.model) ? EMBED : VERBS.get(verb);
}

function findResource(method: string, { last, parent, grandparent }: GeminiPath): Endpoint | undefined {
  if (method === "POST" && last === "interactions") return INTERACT;
  if (method === "POST" && last === "cancel" && grandparent === "interactions") return FETCH_INTERACTION;
  if (method === "POST" && last === "cachedContents") return CACHE;
  if (last === "cachedContents" || parent === "cachedContents") return CACHES;
  if (last === "files" || parent === "files") return FILE;
  if (last === "batchPredictionJobs" || parent === "batchPredictionJobs") return BATCH;
  if (method === "GET" && parent === "interactions") return FETCH_INTERACTION;
  if (method === "GET" && parent === "batches") return FETCH_BATCH;
  if (last === "batches" || parent === "batches") return BATCH;
  if (method !== "GET") return undefined;
  if (parent === "operations") return FETCH_VIDEO;
  return last === "models" || parent === "models" ? LIST_MODELS : undefined;
}

function content(isStream: boolean): NonNullable<Endpoint["reader"]> {
  return (context, { model }, { hints }) => createGeminiContentReader(context, { model, isStream }, hints);
}

/** Live (section 5.11): one socket carries many turns. Other sockets cost nothing. */
function openSocket(exchange: ExchangeInfo, context: ReaderContext, { id, hints }: GeminiDialect): OpenedExchange {
  return openGeminiLive(exchange, context, id, hints) ?? { api: `${id}.other`, operation: "other", isBillable: false, reader: undefined };
}
