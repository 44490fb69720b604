/**
 * The OpenAI-compatible paths of Google's APIs (reference/model-usage.md sections 5.9.2 and 5.12): usage is on each
 * chunk, and whether thoughts are in the completion is told by the total.
 */

import type { OpenAiDialect } from "./openai-dialect.ts";

/** `id`: the handler's. */
export function geminiOpenAiDialect(id: string): OpenAiDialect {
  return { id, chatReasoning: "by_total", responsesReasoning: "by_total", isOpenAi: false, hasMessages: false, hasAsyncChat: false };
}
