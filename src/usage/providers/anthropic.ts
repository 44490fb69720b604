/**
 * Anthropic: api.anthropic.com, with API keys and with Claude Code's subscriptions (reference/model-usage.md section
 * 5.1). Reads messages, batches and sessions of Managed Agents; knows which of the other paths cost nothing.
 */

import type { ResponseHead } from "../../flow/flow.ts";
import { getHeader } from "../../flow/headers.ts";
import { pathEndsWith } from "../../flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../handler.ts";
import { createAnthropicBatchReader, createAnthropicBatchResultsReader } from "./protocols/anthropic-batches.ts";
import { createAnthropicMessagesReader } from "./protocols/anthropic-messages.ts";
import { createSessionReader, createSessionStreamReader } from "./protocols/anthropic-sessions.ts";
import { anthropicErrorBody } from "./protocols/error-body.ts";
import { trimTrailingSlashes } from "./protocols/request-path.ts";

const OWN_HOST = "api.anthropic.com";

/** Anthropic's own, and Claude Platform on AWS. Claude on Bedrock, Vertex AI and Azure is of those handlers. */
const HOSTS = [OWN_HOST, "aws-external-anthropic.*.api.aws"];

export const anthropic: Handler = {
  id: "anthropic",
  kind: "model",
  hosts: HOSTS,
  open: (exchange, context) => openExchange(exchange, context),
  recognizes: ({ protocol, method, path }) => protocol === "http" && method === "POST" && pathEndsWith(trimTrailingSlashes(path), "/v1/messages"),
  errorBody: anthropicErrorBody,
};

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  const path = trimTrailingSlashes(exchange.path);
  if (exchange.protocol !== "http") return free("other", "other");
  if (exchange.method === "POST" && pathEndsWith(path, "/v1/messages")) {
    const reader = createAnthropicMessagesReader(context, { priceHints: (response) => billingHints(exchange, response) });
    return { api: "anthropic.messages", operation: "chat", isBillable: true, reader };
  }
  if (pathEndsWith(path, "/v1/messages/count_tokens")) return free("messages", "count_tokens");
  if (path.includes("/v1/messages/batches")) return openBatch(exchange.method, path, context);
  if (path.includes("/v1/sessions")) return openSession(exchange.method, path, context);
  if (/\/v1\/models(?:\/[^/]+)?$/.test(path)) return free("models", "list_models");
  return free("other", "other");
}

const BATCH_RESULTS = /\/v1\/messages\/batches\/([^/]+)\/results$/;

/** Results have the usage of each request of a batch, at any number of downloads: the first one counts. */
function openBatch(method: string, path: string, context: ReaderContext): OpenedExchange {
  if (method === "POST" && pathEndsWith(path, "/v1/messages/batches")) return { ...free("batches", "batch"), reader: createAnthropicBatchReader() };
  const batchId = method === "GET" ? BATCH_RESULTS.exec(path)?.[1] : undefined;
  if (batchId === undefined) return free("batches", "batch");
  return { ...free("batches", "batch"), reader: createAnthropicBatchResultsReader(context, batchId) };
}

const SESSION_STREAM = /\/v1\/sessions\/([^/]+)\/events\/stream$/;

function openSession(method: string, path: string, context: ReaderContext): OpenedExchange {
  if (method === "POST" && pathEndsWith(path, "/v1/sessions")) return { ...free("sessions", "session"), reader: createSessionReader(context) };
  const sessionId = method === "GET" ? SESSION_STREAM.exec(path)?.[1] : undefined;
  if (sessionId === undefined) return free("sessions", "session");
  return { ...free("sessions", "session"), reader: createSessionStreamReader(context, sessionId) };
}

function free(api: string, operation: string): OpenedExchange {
  return { api: `anthropic.${api}`, operation, isBillable: false, reader: undefined };
}

const UNIFIED_LIMIT = "anthropic-ratelimit-unified-";

/**
 * Who pays (section 5.1.9): a subscription shows by its own rate-limit headers, or by a bearer token in place of a
 * key. Gateways that are bound to this handler take bearer tokens of their own, which tell nothing.
 */
function billingHints(exchange: ExchangeInfo, response: ResponseHead | undefined): Readonly<Record<string, string>> {
  const authorization = getHeader(exchange.headers, "authorization") ?? "";
  const hasKey = getHeader(exchange.headers, "x-api-key") !== undefined;
  const isBearer = exchange.host === OWN_HOST && !hasKey && /^bearer /i.test(authorization);
  const hasUnifiedLimit = response?.headers.some((name, index) => index % 2 === 0 && name.toLowerCase().startsWith(UNIFIED_LIMIT)) === true;
  if (!isBearer && !hasUnifiedLimit) return {};
  const overage = response === undefined ? undefined : getHeader(response.headers, `${UNIFIED_LIMIT}overage-status`);
  return { billing_mode: "subscription", ...(overage === undefined ? {} : { overage_status: overage }) };
}
