/**
 * Servers that speak OpenAI's formats: one row each, with what differs (reference/model-usage.md sections 4.1 and
 * 5.14). How a server spells its counts is read for all of them in protocols/openai-usage.ts.
 */

import type { ExchangeInfo, Handler, HostPattern, OpenedExchange, ReaderContext } from "../handler.ts";
import { openDashScopeExchange } from "./protocols/dashscope-native.ts";
import { openAiErrorBody } from "./protocols/error-body.ts";
import { asObject } from "./protocols/json-values.ts";
import type { JsonObject } from "./protocols/json-values.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { openMistralExchange } from "./protocols/mistral-conversations.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";
import { costMember, tickCost, totalCostMember } from "./protocols/stated-cost.ts";

interface Row extends Partial<Omit<OpenAiDialect, "id" | "isOpenAi">> {
  readonly id: string;
  readonly hosts: readonly HostPattern[];
  /** Opens what the server has beside OpenAI's formats; undefined: it is one of those. */
  readonly openOwn?: (exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect) => OpenedExchange | undefined;
}

/** What holds for a server unless its row says otherwise. */
const COMMON = {
  chatReasoning: "by_total",
  responsesReasoning: "by_total",
  isOpenAi: false,
  hasMessages: true,
  hasAsyncChat: false,
} as const;

const ROWS: readonly Row[] = [
  // With the customer's own key `cost` is OpenRouter's fee, and the upstream bills apart.
  { id: "openrouter", hosts: ["openrouter.ai"], statedCost: costMember, usageHints: byokHints },
  {
    id: "xai",
    hosts: ["api.x.ai", "*.api.x.ai"],
    chatReasoning: "beside",
    responsesReasoning: "inside",
    statedCost: tickCost,
  },
  { id: "groq", hosts: ["api.groq.com"], chatReasoning: "inside", responsesReasoning: "inside" },
  { id: "mistral", hosts: ["api.mistral.ai", "codestral.mistral.ai"], chatReasoning: "inside", openOwn: openMistralExchange },
  { id: "deepseek", hosts: ["api.deepseek.com"], chatReasoning: "inside" },
  { id: "together", hosts: ["api.together.ai", "api.together.xyz"] },
  { id: "fireworks", hosts: ["api.fireworks.ai"] },
  {
    id: "perplexity",
    hosts: ["api.perplexity.ai"],
    chatReasoning: "beside",
    hasAsyncChat: true,
    statedCost: totalCostMember,
    usageHints: searchContextHints,
  },
  { id: "cerebras", hosts: ["api.cerebras.ai"] },
  {
    id: "moonshot",
    hosts: ["api.moonshot.ai", "api.moonshot.cn", "api.kimi.com"],
    chatReasoning: "inside",
    exchangeHints: ({ path }) => planHints(path.startsWith("/coding/")),
  },
  {
    id: "zai",
    hosts: ["api.z.ai", "open.bigmodel.cn"],
    exchangeHints: ({ path }) => planHints(path.startsWith("/api/coding/")),
  },
  {
    id: "dashscope",
    // Also Hong Kong and workspaces (help.aliyun.com, Model Studio, read 2026-11-22), and coding-intl (public code).
    hosts: ["dashscope.aliyuncs.com", "*.dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com", "*.maas.aliyuncs.com"],
    usageHints: cacheTypeHints,
    exchangeHints: ({ host }) => planHints(host.startsWith("coding")),
    openOwn: openDashScopeExchange,
  },
  {
    id: "github-copilot",
    hosts: [
      "api.githubcopilot.com",
      "api.individual.githubcopilot.com",
      "api.business.githubcopilot.com",
      "api.enterprise.githubcopilot.com",
      "copilot-proxy.githubusercontent.com",
      // A tenant's own.
      "copilot-api.*.ghe.com",
    ],
    exchangeHints: () => planHints(true),
  },
  { id: "github-models", hosts: ["models.github.ai", "models.inference.ai.azure.com"] },
  // LM Studio's port. Servers at ports that other programs share (vLLM, llama.cpp) are bound by TALLYMAN_INTERCEPT_HOSTS.
  {
    id: "local",
    hosts: ["localhost:1234", "127.0.0.1:1234", "[::1]:1234", "host.docker.internal:1234"],
    exchangeHints: () => ({ billing_mode: "local" }),
  },
];

/** One handler for each row. */
export const openAiCompatible: readonly Handler[] = ROWS.map((row) => {
  const { hosts, openOwn, ...differences } = row;
  const dialect: OpenAiDialect = { ...COMMON, ...differences };
  return {
    id: row.id,
    kind: "model",
    hosts,
    open: (exchange, context) => openOwn?.(exchange, context, dialect) ?? openOpenAiExchange(exchange, context, dialect),
    errorBody: openAiErrorBody,
  };
});

function byokHints(usage: JsonObject): Readonly<Record<string, string>> {
  return usage["is_byok"] === true ? { billing_mode: "byok" } : {};
}

/** The fee of a request goes by the size of its search context. */
function searchContextHints(usage: JsonObject): Readonly<Record<string, string>> {
  const size = usage["search_context_size"];
  return typeof size === "string" ? { search_context_size: size } : {};
}

/** An explicit cache has other prices than the implicit one. */
function cacheTypeHints(usage: JsonObject): Readonly<Record<string, string>> {
  const type = asObject(usage["prompt_tokens_details"])?.["cache_type"];
  return typeof type === "string" ? { cache_type: type } : {};
}

/** Coding plans and Copilot are paid by subscription (section 8). */
function planHints(isPlan: boolean): Readonly<Record<string, string>> {
  return isPlan ? { billing_mode: "subscription" } : {};
}
