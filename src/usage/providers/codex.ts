/**
 * Codex with ChatGPT login: the Responses API below chatgpt.com/backend-api/codex, over SSE and WebSocket (reference/
 * model-usage.md sections 4.1 and 5.8). Paid by a plan: tokens are counted and shown at list price. The rest of the host
 * has no model usage, its `wham/usage` and `codex.rate_limits` included, which tell how much of the plan is used.
 */

import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../handler.ts";
import { openAiErrorBody } from "./protocols/error-body.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";

const DIALECT: OpenAiDialect = {
  id: "codex",
  chatReasoning: "inside",
  responsesReasoning: "inside",
  isOpenAi: true,
  hasMessages: false,
  hasAsyncChat: false,
  exchangeHints: () => ({ billing_mode: "subscription" }),
};

export const codex: Handler = {
  id: "codex",
  kind: "model",
  hosts: ["chatgpt.com"],
  open: (exchange, context) => openExchange(exchange, context),
  errorBody: openAiErrorBody,
};

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  if (exchange.path.includes("/backend-api/codex/")) return openOpenAiExchange(exchange, context, DIALECT);
  return { api: "codex.other", operation: "other", isBillable: false, reader: undefined };
}
