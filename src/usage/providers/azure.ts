/**
 * Azure OpenAI and Foundry: OpenAI's formats behind deployments and the `/openai/v1` surface, other models behind
 * `/models`, Anthropic's format behind `/anthropic` (reference/model-usage.md sections 4.1 and 5.7). A deployment is named
 * by its owner: it stands in for the request's model alone, and the answer's own model is what is priced.
 */

import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../handler.ts";
import { openAiErrorBody } from "./protocols/error-body.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";
import { withRequestModel } from "./protocols/request-model.ts";

const DIALECT: OpenAiDialect = {
  id: "azure-openai",
  // Foundry serves models of many makers.
  chatReasoning: "by_total",
  responsesReasoning: "by_total",
  isOpenAi: false,
  hasMessages: true,
  hasAsyncChat: false,
};

export const azure: Handler = {
  id: "azure-openai",
  kind: "model",
  hosts: ["*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com", "*.azure-api.net"],
  open: (exchange, context) => openExchange(exchange, context),
  errorBody: openAiErrorBody,
};

const DEPLOYMENT = /\/deployments\/([^/]{1,256})\//;

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  const opened = openOpenAiExchange(exchange, context, DIALECT);
  const deployment = DEPLOYMENT.exec(exchange.path)?.[1];
  if (opened.reader === undefined || deployment === undefined) return opened;
  return { ...opened, reader: withRequestModel(opened.reader, decoded(deployment)) };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // Not percent-encoded text: it is a name as it stands.
    return segment;
  }
}
