/**
 * A simulated Anthropic API over real TLS on loopback, exact on the wire (model-usage.md section 5.1) and good enough
 * for the official SDK: messages whole and streamed, count_tokens, models, errors. How it misbehaves on request is in
 * simulated-behaviour.ts; every exchange is recorded.
 *
 * Token numbers (simulated-tokens.ts): the texts of `system` and `messages` are the prompt. Each text up to and with
 * the last one that has `cache_control` is cached: written (by its `ttl`, 5m when it has none) when this server sees it
 * first for a model, read after that. The rest is `input_tokens`. `thinking` in the request adds REASONING_TOKENS to the output.
 */

import { isRecord, startSimulatedServer } from "./simulated-server.ts";
import type { Headers, SimulatedAnswer, SimulatedRequest, SimulatedServer } from "./simulated-server.ts";
import type { SimulatedTls } from "./simulated-tls.ts";
import { answerPieces, answerText, countTokens, createIdSequence, REASONING_TOKENS } from "./simulated-tokens.ts";

/** Aliases answer with the dated name, as the real service does. */
const DATED_NAMES: Readonly<Record<string, string>> = {
  "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
  "claude-haiku-4-5": "claude-haiku-4-5-20251001",
};

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
};

const THINKING_TEXT = "simulated thought";
const SIGNATURE = "c2ltdWxhdGVk";

interface Prompt {
  readonly input: number;
  readonly read: number;
  readonly write5m: number;
  readonly write1h: number;
}

/** Starts one on a free port. */
export function startSimulatedAnthropic(options: { readonly tls: SimulatedTls }): Promise<SimulatedServer> {
  const nextMessageId = createIdSequence("msg_sim_");
  const nextRequestId = createIdSequence("req_sim_");
  const seen = new Set<string>();

  function headers(): Headers {
    return { "request-id": nextRequestId(), "anthropic-organization-id": "org_sim" };
  }

  function error(status: number, message: string): SimulatedAnswer {
    const own = headers();
    const retry: Headers = status === 429 ? { "retry-after": "1" } : {};
    const type = ERROR_TYPES[status] ?? "api_error";
    const body = { type: "error", error: { type, message }, request_id: own["request-id"] };
    return { kind: "whole", status, headers: { ...own, ...retry }, body };
  }

  function messages(request: SimulatedRequest): SimulatedAnswer {
    if (!Array.isArray(request.body["messages"])) return error(400, "messages: Field required");
    const message = newMessage(request, nextMessageId(), promptOf(request, seen));
    if (request.body["stream"] !== true) return { kind: "whole", status: 200, headers: headers(), body: wholeMessage(message) };
    return { kind: "stream", headers: headers(), events: messageEvents(message) };
  }

  function answer(request: SimulatedRequest): SimulatedAnswer | undefined {
    const { method, path, headers: sent, body } = request;
    if (sent["x-api-key"] === undefined && sent["authorization"] === undefined) return error(401, "x-api-key header is required");
    const ok = (json: unknown): SimulatedAnswer => ({ kind: "whole", status: 200, headers: headers(), body: json });
    if (method === "POST" && path === "/v1/messages/count_tokens") {
      return ok({ input_tokens: textsOf(body).reduce((sum, { text }) => sum + countTokens(text), 0) });
    }
    if (method === "POST" && path === "/v1/messages") return request.model === "" ? error(400, "model: Field required") : messages(request);
    if (method === "GET" && path === "/v1/models") return ok(modelList());
    return undefined;
  }

  return startSimulatedServer(options.tls, { answer, error });
}

/** One message that is being made. */
interface Message {
  readonly id: string;
  readonly model: string;
  readonly prompt: Prompt;
  readonly isThinking: boolean;
  readonly request: SimulatedRequest;
}

function newMessage(request: SimulatedRequest, id: string, prompt: Prompt): Message {
  const thinking = request.body["thinking"];
  const isThinking = isRecord(thinking) && thinking["type"] !== "disabled";
  return { id, model: DATED_NAMES[request.model] ?? request.model, prompt, isThinking, request };
}

/** The members that a message has before its content: `message_start` sends them. */
function messageHead(message: Message, outputTokens: number): Record<string, unknown> {
  return {
    id: message.id,
    type: "message",
    role: "assistant",
    model: message.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    ...(message.request.behaviour.hasUsage ? { usage: startUsage(message, outputTokens) } : {}),
  };
}

function startUsage(message: Message, outputTokens: number): Record<string, unknown> {
  const { write5m, write1h } = message.prompt;
  return {
    ...promptUsage(message.prompt),
    cache_creation: { ephemeral_5m_input_tokens: write5m, ephemeral_1h_input_tokens: write1h },
    output_tokens: outputTokens,
    service_tier: message.request.behaviour.tier ?? "standard",
    inference_geo: "global",
  };
}

function promptUsage({ input, read, write5m, write1h }: Prompt): Record<string, number> {
  return { input_tokens: input, cache_creation_input_tokens: write5m + write1h, cache_read_input_tokens: read };
}

/** `output_tokens` includes thinking; the details say how much of it. */
function outputUsage(message: Message, text: string): Record<string, unknown> {
  const thinking = message.isThinking ? REASONING_TOKENS : 0;
  const details = message.isThinking ? { output_tokens_details: { thinking_tokens: thinking } } : {};
  return { output_tokens: countTokens(text) + thinking, ...details };
}

function wholeMessage(message: Message): Record<string, unknown> {
  const text = answerText(message.request.behaviour);
  const thinking = { type: "thinking", thinking: THINKING_TEXT, signature: SIGNATURE };
  const content = [...(message.isThinking ? [thinking] : []), { type: "text", text }];
  const usage = { ...startUsage(message, 0), ...outputUsage(message, text) };
  const whole = { ...messageHead(message, 0), content, stop_reason: "end_turn" };
  return message.request.behaviour.hasUsage ? { ...whole, usage } : whole;
}

/** Section 5.1.3: message_start, blocks with a ping among them, one message_delta, message_stop. */
function* messageEvents(message: Message): Generator<string> {
  const { behaviour } = message.request;
  let count = 0;
  for (const event of allMessageEvents(message)) {
    if (count++ === behaviour.errorAfter) {
      yield sse({ type: "error", error: { type: "overloaded_error", message: "simulated overload" } });
      return;
    }
    yield event;
  }
}

function* allMessageEvents(message: Message): Generator<string> {
  const { behaviour } = message.request;
  yield sse({ type: "message_start", message: messageHead(message, 1) });
  const textIndex = message.isThinking ? 1 : 0;
  if (message.isThinking) yield* thinkingEvents();
  yield sse({ type: "content_block_start", index: textIndex, content_block: { type: "text", text: "" } });
  yield sse({ type: "ping" });
  let text = "";
  for (const piece of answerPieces(behaviour)) {
    if (!behaviour.isEndless) text += piece;
    yield sse({ type: "content_block_delta", index: textIndex, delta: { type: "text_delta", text: piece } });
  }
  yield sse({ type: "content_block_stop", index: textIndex });
  const usage = behaviour.hasUsage ? { usage: { ...promptUsage(message.prompt), ...outputUsage(message, text) } } : {};
  yield sse({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, ...usage });
  yield sse({ type: "message_stop" });
}

function* thinkingEvents(): Generator<string> {
  yield sse({ type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } });
  yield sse({ type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: THINKING_TEXT } });
  yield sse({ type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: SIGNATURE } });
  yield sse({ type: "content_block_stop", index: 0 });
}

function sse(data: { readonly type: string } & Record<string, unknown>): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

interface PromptText {
  readonly text: string;
  /** Cache lifetime, where the text has `cache_control`. */
  readonly ttl: "5m" | "1h" | undefined;
}

/** Counts the prompt and remembers what it cached for the model. */
function promptOf({ model, body }: SimulatedRequest, seen: Set<string>): Prompt {
  const keyOf = (text: string) => `${model}\n${text}`;
  const texts = textsOf(body);
  const lastCached = texts.findLastIndex(({ ttl }) => ttl !== undefined);
  const prompt = { input: 0, read: 0, write5m: 0, write1h: 0 };
  texts.forEach(({ text }, index) => {
    const tokens = countTokens(text);
    if (index > lastCached) prompt.input += tokens;
    else if (seen.has(keyOf(text))) prompt.read += tokens;
    else if (texts.slice(index).find(({ ttl }) => ttl !== undefined)?.ttl === "1h") prompt.write1h += tokens;
    else prompt.write5m += tokens;
  });
  for (const { text } of texts.slice(0, lastCached + 1)) seen.add(keyOf(text));
  return prompt;
}

/** The texts of `system` and `messages`, in order; other content (images, tool calls) counts as its JSON. */
function textsOf(body: SimulatedRequest["body"]): readonly PromptText[] {
  const messages = Array.isArray(body["messages"]) ? body["messages"] : [];
  const contents = messages.map((message: unknown) => (isRecord(message) ? message["content"] : undefined));
  return [body["system"], ...contents].flatMap((content) => (Array.isArray(content) ? content : [content])).flatMap(textOf);
}

function textOf(block: unknown): readonly PromptText[] {
  if (block === undefined || block === null) return [];
  if (typeof block === "string") return [{ text: block, ttl: undefined }];
  if (!isRecord(block)) return [];
  const control = block["cache_control"];
  const ttl = isRecord(control) ? (control["ttl"] === "1h" ? "1h" : "5m") : undefined;
  return [{ text: typeof block["text"] === "string" ? block["text"] : JSON.stringify(block), ttl }];
}

function modelList(): Record<string, unknown> {
  const data = Object.values(DATED_NAMES).map((id) => ({ type: "model", id, display_name: id, created_at: "2025-09-29T00:00:00Z" }));
  return { data, has_more: false, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
}
