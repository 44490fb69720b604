/** How one server of the OpenAI family differs from the others: what a row of the table says. */

import type { ResponseHead } from "../../../flow/flow.ts";
import type { ExchangeInfo, StatedCost } from "../../handler.ts";
import type { JsonObject } from "./json-values.ts";
import type { UsageTraits } from "./openai-usage.ts";

export interface OpenAiDialect {
  /** The handler's id: the first part of `api`. */
  readonly id: string;
  /** Where chat reasoning stands. In the Responses API it is inside on every server we know, or told by the total. */
  readonly chatReasoning: UsageTraits["reasoning"];
  readonly responsesReasoning: UsageTraits["reasoning"];
  /** OpenAI itself: cached tokens are always inside, cache writes live 30 minutes, and every chat stream ends in [DONE]. */
  readonly isOpenAi: boolean;
  /** Serves Anthropic Messages beside the OpenAI formats. */
  readonly hasMessages: boolean;
  /** Serves POST /async/chat/completions, whose answers are polled for. */
  readonly hasAsyncChat: boolean;
  /** Its chat streams report their usage without `stream_options.include_usage`, which it may not even know. */
  readonly reportsUnasked?: boolean;
  /** A cost that the server states in its usage object. */
  readonly statedCost?: (usage: JsonObject) => StatedCost | undefined;
  /** Facts that move the price, from the merged usage object. */
  readonly usageHints?: (usage: JsonObject) => Readonly<Record<string, string>>;
  /** Facts that move the price, from the request and the response head. */
  readonly exchangeHints?: (exchange: ExchangeInfo, response: ResponseHead | undefined) => Readonly<Record<string, string>>;
}

/** Models whose cache writes have OpenAI's 30 minutes, also behind a router ("openai/gpt-5.6"). */
const OPENAI_MODEL = /^(?:openai\/)?(?:gpt-|chatgpt-|codex-|o\d)/;

/** The traits of a server's chat usage for one model. */
export function chatTraits(dialect: OpenAiDialect, model: string | null): UsageTraits {
  const isOpenAiCache = dialect.isOpenAi || (model !== null && OPENAI_MODEL.test(model));
  return {
    reasoning: dialect.chatReasoning,
    isCachedBesideWhenLarger: !dialect.isOpenAi,
    cacheWrite: isOpenAiCache ? "cache_write_30m_tokens" : "cache_write_tokens",
  };
}

/** The traits of a server's Responses usage. */
export function responsesTraits(dialect: OpenAiDialect): UsageTraits {
  return { reasoning: dialect.responsesReasoning, isCachedBesideWhenLarger: !dialect.isOpenAi, cacheWrite: "cache_write_tokens" };
}
