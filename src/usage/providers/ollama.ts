/**
 * Ollama: a local server, and its cloud (reference/model-usage.md sections 4.1 and 5.16). Beside its own API it serves
 * the formats of OpenAI and Anthropic (docs.ollama.com/api/openai-compatibility and /anthropic-compatibility, read
 * 2026-11-22). A server at another address is bound by TALLYMAN_INTERCEPT_HOSTS.
 */

import { pathEndsWith } from "../../flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, Reader, ReaderContext } from "../handler.ts";
import { openAiErrorBody } from "./protocols/error-body.ts";
import { createOllamaReader } from "./protocols/ollama-native.ts";
import { createOllamaWebReader } from "./protocols/ollama-web.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { createEmbeddingsReader } from "./protocols/openai-embeddings.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";
import { trimTrailingSlashes } from "./protocols/request-path.ts";

const CLOUD_HOST = "ollama.com";

/** The port that a local server listens on unless told otherwise, by the names that programs and containers call it. */
const LOCAL_HOSTS = ["localhost:11434", "127.0.0.1:11434", "[::1]:11434", "host.docker.internal:11434"];

const DIALECT: OpenAiDialect = {
  id: "ollama",
  // Thinking is counted in eval_count, which is what the compatible formats report.
  chatReasoning: "inside",
  responsesReasoning: "inside",
  isOpenAi: false,
  hasMessages: true,
  hasAsyncChat: false,
  exchangeHints: (exchange) => billingHints(exchange, false),
};

export const ollama: Handler = {
  id: "ollama",
  kind: "model",
  hosts: [...LOCAL_HOSTS, CLOUD_HOST],
  open: (exchange, context) => openExchange(exchange, context),
  recognizes: ({ protocol, method, path }) => protocol === "http" && method === "POST" && /\/api\/(?:chat|generate|embed)\/?$/.test(path),
  /** Its own shape is `{"error": text}`, which the proxy's error object takes the place of. */
  errorBody: openAiErrorBody,
};

interface Endpoint {
  readonly suffix: string;
  readonly api: string;
  readonly operation: string;
  readonly reader: (exchange: ExchangeInfo, context: ReaderContext) => Reader;
}

const POSTS: readonly Endpoint[] = [
  { suffix: "/api/chat", api: "chat", operation: "chat", reader: native("generation") },
  { suffix: "/api/generate", api: "generate", operation: "completion", reader: native("generation") },
  { suffix: "/api/embed", api: "embed", operation: "embeddings", reader: native("embeddings") },
  { suffix: "/api/embeddings", api: "embed", operation: "embeddings", reader: native("embeddings") },
  { suffix: "/api/web_search", api: "web_search", operation: "web_search", reader: web("web_search_requests") },
  { suffix: "/api/web_fetch", api: "web_fetch", operation: "web_fetch", reader: web("web_fetch_requests") },
  // One document whose usage has input_tokens and output_tokens (`ollama` 0.6.4, systemone).
  { suffix: "/v1/systemone", api: "systemone", operation: "decision", reader: (_exchange, context) => createEmbeddingsReader(context, DIALECT) },
];

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  const path = trimTrailingSlashes(exchange.path);
  const endpoint = exchange.method === "POST" ? POSTS.find(({ suffix }) => pathEndsWith(path, suffix)) : undefined;
  if (endpoint !== undefined) {
    const { api, operation, reader } = endpoint;
    return { api: `ollama.${api}`, operation, isBillable: true, reader: reader(exchange, context) };
  }
  if (exchange.method === "GET" && (pathEndsWith(path, "/api/tags") || pathEndsWith(path, "/api/ps"))) {
    return { api: "ollama.models", operation: "list_models", isBillable: false, reader: undefined };
  }
  // Pulling, making and removing models report progress in bytes and cost nothing.
  return openOpenAiExchange(exchange, context, DIALECT);
}

function native(kind: "generation" | "embeddings"): Endpoint["reader"] {
  return (exchange, context) => createOllamaReader(context, { kind, priceHints: (isRemote) => billingHints(exchange, isRemote) });
}

function web(unit: "web_search_requests" | "web_fetch_requests"): Endpoint["reader"] {
  return (exchange) => createOllamaWebReader(unit, billingHints(exchange, false));
}

/** The cloud is paid by plan; what runs on a machine of one's own costs nothing a token (sections 2.1 and 5.16). */
function billingHints(exchange: ExchangeInfo, isRemote: boolean): Readonly<Record<string, string>> {
  return { billing_mode: isRemote || exchange.host === CLOUD_HOST ? "subscription" : "local" };
}
