/**
 * Cohere: its own API, v1 and v2, and its endpoint for OpenAI's clients (reference/model-usage.md sections 4.1, 4.2 and
 * 5.15; paths of `cohere-ai` 8.1.0; docs.cohere.com/docs/compatibility-api, read 2026-11-22).
 */

import { pathEndsWith } from "../../flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../handler.ts";
import { createCohereReader } from "./protocols/cohere-answer.ts";
import type { CohereFallback } from "./protocols/cohere-answer.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";
import { trimTrailingSlashes } from "./protocols/request-path.ts";
import { createUnreadReader } from "./protocols/unread.ts";

const COMPATIBLE: OpenAiDialect = {
  id: "cohere",
  chatReasoning: "by_total",
  responsesReasoning: "by_total",
  isOpenAi: false,
  hasMessages: false,
  hasAsyncChat: false,
};

export const cohere: Handler = {
  id: "cohere",
  kind: "model",
  hosts: ["api.cohere.com", "api.cohere.ai"],
  open: (exchange, context) => openExchange(exchange, context),
  recognizes: ({ protocol, method, path }) => protocol === "http" && method === "POST" && /\/v2\/(?:chat|embed|rerank)\/?$/.test(path),
  errorBody: ({ message }) => ({ message }),
};

interface Endpoint {
  readonly path: RegExp;
  readonly api: string;
  readonly operation: string;
  /** undefined: costs nothing. "unread": costs something that no answer tells. */
  readonly fallback?: CohereFallback | "unread";
}

/** POST. */
const POSTS: readonly Endpoint[] = [
  { path: /\/v[12]\/chat$/, api: "chat", operation: "chat", fallback: "tokens" },
  { path: /\/v[12]\/embed$/, api: "embed", operation: "embeddings", fallback: "tokens" },
  { path: /\/v[12]\/rerank$/, api: "rerank", operation: "rerank", fallback: { search_units: 1 } },
  { path: /\/v2\/parse$/, api: "parse", operation: "parse", fallback: { pages: 1 } },
  { path: /\/v1\/generate$/, api: "generate", operation: "completion", fallback: "tokens" },
  { path: /\/v1\/summarize$/, api: "summarize", operation: "completion", fallback: "tokens" },
  // Billed by the classification, which is no category.
  { path: /\/v1\/classify$/, api: "classify", operation: "classification", fallback: {} },
  { path: /\/v2\/audio\/transcriptions$/, api: "audio", operation: "transcription", fallback: "unread" },
  { path: /\/v1\/(?:de)?tokenize$/, api: "tokenize", operation: "count_tokens" },
];

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  const path = trimTrailingSlashes(exchange.path);
  if (exchange.protocol !== "http") return free("other", "other");
  if (path.includes("/compatibility/v1/")) return openOpenAiExchange(exchange, context, COMPATIBLE);
  if (exchange.method === "POST") return openPost(path, context);
  if (exchange.method === "GET" && /\/v[12]\/models(?:\/[^/]+)?$/.test(path)) return free("models", "list_models");
  return isBatch(path) ? free("batches", "batch") : free("other", "other");
}

function openPost(path: string, context: ReaderContext): OpenedExchange {
  const endpoint = POSTS.find((candidate) => candidate.path.test(path));
  if (endpoint === undefined) return isBatch(path) ? free("batches", "batch") : free("other", "other");
  const { api, operation, fallback } = endpoint;
  if (fallback === undefined) return free(api, operation);
  const reader = fallback === "unread" ? createUnreadReader() : createCohereReader(context, fallback);
  return { api: `cohere.${api}`, operation, isBillable: true, reader };
}

/** Jobs over a data set, whose results are a data set too: what they cost is not in their answers. */
function isBatch(path: string): boolean {
  return pathEndsWith(path, "/v2/batches") || pathEndsWith(path, "/v1/embed-jobs") || /\/v2\/batches\/[^/]+$|\/v1\/embed-jobs\/[^/]+(?:\/cancel)?$/.test(path);
}

function free(api: string, operation: string): OpenedExchange {
  return { api: `cohere.${api}`, operation, isBillable: false, reader: undefined };
}
