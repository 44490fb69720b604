/**
 * AWS Bedrock: InvokeModel and Converse with their streams, guardrails, and the endpoints that speak OpenAI's and
 * Anthropic's own formats (reference/model-usage.md sections 4.1, 4.2, 5.13; paths of `@aws-sdk/client-bedrock-runtime`
 * 3.1163.0). How a request is signed, by SigV4 or with a bearer key, changes nothing here.
 */

import type { ExchangeInfo, Handler, OpenedExchange, Reader, ReaderContext } from "../handler.ts";
import { createConverseReader } from "./protocols/bedrock-converse.ts";
import { createGuardrailReader } from "./protocols/bedrock-guardrail.ts";
import { BEDROCK_HOSTS, serviceOf } from "./protocols/bedrock-hosts.ts";
import { createInvokeReader } from "./protocols/bedrock-invoke.ts";
import { familyOf, parseModelPath } from "./protocols/bedrock-model.ts";
import type { ModelFamily, ModelPath } from "./protocols/bedrock-model.ts";
import { createBedrockReader } from "./protocols/bedrock-reader.ts";
import { createSpeechReader } from "./protocols/bedrock-speech.ts";
import type { ProxyError } from "./protocols/error-body.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";
import { trimTrailingSlashes } from "./protocols/request-path.ts";
import { createUnreadReader } from "./protocols/unread.ts";

export const bedrock: Handler = {
  id: "bedrock",
  kind: "model",
  hosts: BEDROCK_HOSTS,
  open: (exchange, context) => openExchange(exchange, context),
  recognizes: ({ protocol, method, path }) => protocol === "http" && method === "POST" && KNOWN_PATH.test(path),
  errorBody,
};

const KNOWN_PATH = /\/model\/[^/]+\/(?:invoke|invoke-with-response-stream|converse|converse-stream)$/;

/** `bedrock-mantle.REGION.api.aws` (/openai/v1, /v1, /anthropic/v1), and the same paths on the runtime's hosts. */
const OPENAI_SHAPED: OpenAiDialect = {
  id: "bedrock",
  chatReasoning: "by_total",
  responsesReasoning: "by_total",
  isOpenAi: false,
  hasMessages: true,
  hasAsyncChat: false,
};

function openExchange(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  const path = trimTrailingSlashes(exchange.path);
  const service = serviceOf(exchange.host);
  if (service === "bedrock") return openControl(exchange.method, path);
  if (service === "bedrock-mantle") return openOpenAiExchange(exchange, context, OPENAI_SHAPED);
  const model = parseModelPath(path);
  if (model !== undefined) return openModel(exchange, context, model);
  if (GUARDRAIL_PATH.test(path)) return openGuardrail(exchange.method);
  if (ASYNC_PATH.test(path)) return openAsyncInvoke(exchange.method);
  return openOpenAiExchange(exchange, context, OPENAI_SHAPED);
}

const GUARDRAIL_PATH = /\/guardrail\/[^/]+\/version\/[^/]+\/apply$|\/guardrail-checks\/invoke$/;
const ASYNC_PATH = /\/async-invoke(?:\/[^/]+)?$/;

/** What InvokeModel does with a model of each family. */
const OPERATIONS: Readonly<Record<ModelFamily, string>> = {
  claude: "chat",
  embeddings: "embeddings",
  image: "image",
  rerank: "rerank",
  text: "chat",
  opaque: "chat",
};

function openModel(exchange: ExchangeInfo, context: ReaderContext, { model, verb }: ModelPath): OpenedExchange {
  if (verb === "count-tokens") return free("count_tokens", "count_tokens");
  if (exchange.protocol === "websocket") {
    return { api: "bedrock.invoke_bidirectional", operation: "realtime", isBillable: true, reader: undefined };
  }
  if (exchange.method !== "POST") return free("other", "other");
  const billable = (api: string, operation: string, isStream: boolean, vendor: (asked: { model: string; isStream: boolean }) => Reader): OpenedExchange => {
    const asked = { model, isStream };
    return { api: `bedrock.${api}`, operation, isBillable: true, reader: createBedrockReader(asked, vendor(asked)) };
  };
  switch (verb) {
    case "converse":
    case "converse-stream":
      return billable("converse", "chat", verb === "converse-stream", (asked) => createConverseReader(context, asked));
    case "invoke":
    case "invoke-with-response-stream": {
      const isStream = verb === "invoke-with-response-stream";
      return billable("invoke", OPERATIONS[familyOf(model)], isStream, (asked) => createInvokeReader(context, asked));
    }
    case "invoke-with-bidirectional-stream":
      return billable("invoke_bidirectional", "realtime", true, () => createSpeechReader());
  }
}

function openGuardrail(method: string): OpenedExchange {
  if (method !== "POST") return free("other", "other");
  return { api: "bedrock.guardrail", operation: "guardrail", isBillable: true, reader: createGuardrailReader() };
}

/** A job leaves its result in S3: that it was started is all that passes here. */
function openAsyncInvoke(method: string): OpenedExchange {
  if (method !== "POST") return free("async_invoke", "fetch");
  return { api: "bedrock.async_invoke", operation: "other", isBillable: true, reader: createUnreadReader() };
}

/** The control plane: lists of models, settings, and batch jobs, whose results come to S3. */
function openControl(method: string, path: string): OpenedExchange {
  if (path.startsWith("/model-invocation-job")) return free("batches", "batch");
  const isList = method === "GET" && /^\/(?:foundation-models|inference-profiles|custom-models|imported-models)(?:\/|$)/.test(path);
  return isList ? free("models", "list_models") : free("control", "other");
}

function free(api: string, operation: string): OpenedExchange {
  return { api: `bedrock.${api}`, operation, isBillable: false, reader: undefined };
}

/** Exceptions of the service model by status; others are an InternalServerException. */
const EXCEPTIONS: Readonly<Record<number, string>> = {
  400: "ValidationException",
  403: "AccessDeniedException",
  404: "ResourceNotFoundException",
  408: "ModelTimeoutException",
  429: "ThrottlingException",
  503: "ServiceUnavailableException",
  504: "ModelTimeoutException",
};

/** `{"__type","message"}`: where the x-amzn-errortype header is missing, SDKs take the exception from the body. */
function errorBody(error: ProxyError): Record<string, unknown> {
  return { __type: EXCEPTIONS[error.status] ?? "InternalServerException", message: error.message };
}
