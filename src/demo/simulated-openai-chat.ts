/** The Chat Completions half of the simulated OpenAI API (model-usage.md section 5.2). */

import { contentText, CREATED_S } from "./simulated-openai-prompt.ts";
import type { PromptCount, PromptText } from "./simulated-openai-prompt.ts";
import { isRecord } from "./simulated-server.ts";
import type { SimulatedRequest } from "./simulated-server.ts";
import { answerPieces, answerText, countTokens, REASONING_TOKENS } from "./simulated-tokens.ts";

/** The texts of `messages`; what system and developer say is cached. */
export function chatTexts(body: SimulatedRequest["body"]): readonly PromptText[] {
  const messages: readonly unknown[] = Array.isArray(body["messages"]) ? body["messages"] : [];
  return messages.filter(isRecord).map(({ role, content }) => ({ text: contentText(content), isCached: role === "system" || role === "developer" }));
}

/** One chat completion that is being made. */
export interface Completion {
  readonly id: string;
  readonly request: SimulatedRequest;
  readonly prompt: PromptCount;
  readonly reasoningTokens: number;
}

export function newCompletion(request: SimulatedRequest, id: string, prompt: PromptCount): Completion {
  const effort = request.body["reasoning_effort"];
  const isReasoning = typeof effort === "string" && effort !== "none";
  return { id, request, prompt, reasoningTokens: isReasoning ? REASONING_TOKENS : 0 };
}

function completionHead(completion: Completion, object: string): Record<string, unknown> {
  const { model, behaviour } = completion.request;
  return { id: completion.id, object, created: CREATED_S, model, service_tier: behaviour.tier ?? "default", system_fingerprint: "fp_sim" };
}

function completionUsage({ prompt, reasoningTokens }: Completion, text: string): Record<string, unknown> {
  const output = countTokens(text) + reasoningTokens;
  return {
    prompt_tokens: prompt.total,
    completion_tokens: output,
    total_tokens: prompt.total + output,
    prompt_tokens_details: { cached_tokens: prompt.cached, cache_write_tokens: prompt.written, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: reasoningTokens, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  };
}

export function wholeCompletion(completion: Completion): Record<string, unknown> {
  const { behaviour } = completion.request;
  const text = answerText(behaviour);
  const message = { role: "assistant", content: text, refusal: null, annotations: [] };
  return {
    ...completionHead(completion, "chat.completion"),
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
    ...(behaviour.hasUsage ? { usage: completionUsage(completion, text) } : {}),
  };
}

/** Section 5.2.2: deltas, the finish reason, the usage chunk if it was asked for, [DONE]. */
export function* completionEvents(completion: Completion): Generator<string> {
  const { behaviour } = completion.request;
  let count = 0;
  for (const chunk of completionChunks(completion)) {
    if (count++ === behaviour.errorAfter) {
      yield sse({ error: { message: "simulated failure", type: "server_error", param: null, code: null } });
      return;
    }
    yield sse(chunk);
  }
  yield "data: [DONE]\n\n";
}

function* completionChunks(completion: Completion): Generator<Record<string, unknown>> {
  const { body, behaviour } = completion.request;
  const options = body["stream_options"];
  const isUsageAsked = isRecord(options) && options["include_usage"] === true && behaviour.hasUsage;
  const head = { ...completionHead(completion, "chat.completion.chunk") };
  const usage = isUsageAsked ? { usage: null } : {};
  const chunk = (delta: Record<string, unknown>, finishReason: string | null) => ({
    ...head,
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    ...usage,
    obfuscation: "x".repeat(1 + (JSON.stringify(delta).length % 7)),
  });
  yield chunk({ role: "assistant", content: "", refusal: null }, null);
  let text = "";
  for (const piece of answerPieces(behaviour)) {
    if (!behaviour.isEndless) text += piece;
    yield chunk({ content: piece }, null);
  }
  yield chunk({}, "stop");
  if (isUsageAsked) yield { ...head, choices: [], usage: completionUsage(completion, text) };
}

function sse(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
