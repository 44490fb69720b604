/**
 * The Gemini API: generativelanguage.googleapis.com with its OpenAI-compatible paths, and Code Assist, which Gemini CLI
 * speaks (reference/model-usage.md sections 4.1, 5.9 to 5.11).
 */

import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../handler.ts";
import { googleErrorBody } from "./protocols/gemini-error.ts";
import { openGeminiExchange } from "./protocols/gemini-endpoints.ts";
import { geminiOpenAiDialect } from "./protocols/gemini-openai.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";

const ID = "gemini";

const HOSTS = ["generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com", "daily-cloudcode-pa.sandbox.googleapis.com"];

/** `/v1beta/openai/…` */
const OPENAI_PATHS = geminiOpenAiDialect(ID);

export const gemini: Handler = {
  id: ID,
  kind: "model",
  hosts: HOSTS,
  open: (exchange, context) => openExchange(exchange, context),
  recognizes: ({ protocol, method, path }) => (protocol === "http" ? method === "POST" && KNOWN_PATH.test(path) : SOCKET_PATH.test(path)),
  errorBody: googleErrorBody,
};

const KNOWN_PATH = /\/models\/[^/:]+:(?:generateContent|streamGenerateContent|embedContent|batchEmbedContents)$/;
const SOCKET_PATH = /\/ws\/google\.[a-z0-9.]+\.(?:GenerativeService\.|LlmBidiService\/)BidiGenerateContent(?:Constrained)?$/;

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  if (exchange.protocol === "http" && exchange.path.includes("/openai/")) return openOpenAiExchange(exchange, context, OPENAI_PATHS);
  // Code Assist is paid by subscription or licence.
  const hints = /\/v1internal:[^/]*$/.test(exchange.path) ? { billing_mode: "subscription" } : {};
  return openGeminiExchange(exchange, context, { id: ID, hints });
}
