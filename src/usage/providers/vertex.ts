/**
 * Vertex AI: Google's models, Anthropic's and Mistral's in their own formats, and others behind OpenAI-compatible
 * paths (reference/model-usage.md sections 4.1, 4.2, 5.12). The path names the model; a request to Claude does not.
 */

import { pathEndsWith } from "../../flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, Reader, ReaderContext } from "../handler.ts";
import { createAnthropicMessagesReader } from "./protocols/anthropic-messages.ts";
import { openGeminiExchange } from "./protocols/gemini-endpoints.ts";
import { googleErrorBody } from "./protocols/gemini-error.ts";
import { geminiOpenAiDialect } from "./protocols/gemini-openai.ts";
import { geminiPath } from "./protocols/gemini-path.ts";
import { createOpenAiChatReader } from "./protocols/openai-chat.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";
import { withRequestModel } from "./protocols/request-model.ts";
import { trimTrailingSlashes } from "./protocols/request-path.ts";
import { createUnreadReader } from "./protocols/unread.ts";

const ID = "vertex";

/** `global` and express, two multi-regions, and a host for each region. */
const HOSTS = [
  "aiplatform.googleapis.com",
  "aiplatform.us.rep.googleapis.com",
  "aiplatform.eu.rep.googleapis.com",
  "*-aiplatform.googleapis.com",
];

const OPENAI_PATHS = geminiOpenAiDialect(ID);

export const vertex: Handler = {
  id: ID,
  kind: "model",
  hosts: HOSTS,
  open: (exchange, context) => openExchange(exchange, context),
  errorBody: googleErrorBody,
};

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  if (exchange.protocol !== "http") return openGeminiExchange(exchange, context, { id: ID });
  const { verb, last, model } = geminiPath(exchange.path);
  const isRaw = verb === "rawPredict" || verb === "streamRawPredict";
  if (isRaw && exchange.method === "POST") return openRawPredict(exchange, context, last, model);
  if (isOpenAiPath(exchange.path)) return openOpenAiExchange(exchange, context, OPENAI_PATHS);
  return openGeminiExchange(exchange, context, { id: ID });
}

/** A partner's own format. Of Mistral's it is chat completions (@mistralai/mistralai-gcp 2.0.0). */
function openRawPredict(exchange: ExchangeInfo, context: ReaderContext, last: string, model: string | null): OpenedExchange {
  const publisher = /\/publishers\/([^/]+)\/models\/[^/]+$/.exec(trimTrailingSlashes(exchange.path))?.[1];
  if (publisher === "anthropic" && last === "count-tokens") return { api: `${ID}.messages`, operation: "count_tokens", isBillable: false, reader: undefined };
  if (publisher === "anthropic") return billable("messages", "chat", withRequestModel(createAnthropicMessagesReader(context), model));
  if (publisher === "mistralai") return billable("chat_completions", "chat", withRequestModel(createOpenAiChatReader(exchange, context, OPENAI_PATHS), model));
  if (publisher !== undefined) return billable("raw_predict", "other", createUnreadReader());
  // An endpoint of one's own is paid for by the hour of its machines.
  return { api: `${ID}.raw_predict`, operation: "other", isBillable: false, reader: undefined };
}

/** `endpoints/openapi/…`, `endpoints/ID/chat/completions` and `publishers/openai/v1/…`: an end that Google's own paths have not. */
function isOpenAiPath(path: string): boolean {
  if (/\/(?:endpoints\/openapi|publishers\/openai\/v1)\//.test(path)) return true;
  return pathEndsWith(trimTrailingSlashes(path), "/chat/completions");
}

function billable(api: string, operation: string, reader: Reader): OpenedExchange {
  return { api: `${ID}.${api}`, operation, isBillable: true, reader };
}
