/**
 * The Responses half of the simulated OpenAI API (model-usage.md section 5.3): whole, streamed, in the background with
 * polling and cancelling, fetched again, and counted beforehand.
 */

import { contentText, CREATED_S } from "./simulated-openai-prompt.ts";
import type { PromptCount, PromptCounter, PromptText } from "./simulated-openai-prompt.ts";
import { isRecord } from "./simulated-server.ts";
import type { Headers, SimulatedAnswer, SimulatedRequest } from "./simulated-server.ts";
import { answerPieces, answerText, countTokens, createIdSequence, REASONING_TOKENS } from "./simulated-tokens.ts";

export interface SimulatedResponses {
  post(request: SimulatedRequest, headers: Headers, error: (status: number, message: string) => SimulatedAnswer): SimulatedAnswer | undefined;
  get(request: SimulatedRequest, headers: Headers): SimulatedAnswer | undefined;
}

/** A response that can be fetched; a background one finishes after some polls. */
interface StoredResponse {
  readonly id: string;
  readonly request: SimulatedRequest;
  readonly prompt: PromptCount;
  pollsLeft: number;
  isCancelled: boolean;
}

type Status = "queued" | "in_progress" | "completed" | "cancelled";

const PATH = "/v1/responses";

export function createResponses(countPrompt: PromptCounter): SimulatedResponses {
  const nextId = createIdSequence("resp_sim_");
  const stored = new Map<string, StoredResponse>();

  function create(request: SimulatedRequest, headers: Headers): SimulatedAnswer {
    const isBackground = request.body["background"] === true;
    const pollsLeft = isBackground ? request.behaviour.polls : 0;
    const prompt = countPrompt(request.model, promptTexts(request.body));
    const response: StoredResponse = { id: nextId(), request, prompt, pollsLeft, isCancelled: false };
    if (request.body["store"] !== false) stored.set(response.id, response);
    if (request.body["stream"] === true) return { kind: "stream", headers, events: responseEvents(response) };
    return { kind: "whole", status: 200, headers, body: responseObject(response, isBackground ? "queued" : "completed") };
  }

  function find(path: string): StoredResponse | undefined {
    return stored.get(path.slice(PATH.length + 1).split("/", 1)[0] ?? "");
  }

  return {
    post(request, headers, error) {
      const { path } = request;
      if (path === PATH) return request.model === "" ? error(400, "Missing required parameter: 'model'.") : create(request, headers);
      if (path === `${PATH}/input_tokens`) {
        const tokens = promptTexts(request.body).reduce((sum, { text }) => sum + countTokens(text), 0);
        return { kind: "whole", status: 200, headers, body: { object: "response.input_tokens", input_tokens: tokens } };
      }
      const response = path.endsWith("/cancel") ? find(path) : undefined;
      if (response === undefined) return undefined;
      response.isCancelled = response.pollsLeft > 0;
      return { kind: "whole", status: 200, headers, body: responseObject(response, statusOf(response)) };
    },
    get({ path }, headers) {
      const response = path.startsWith(`${PATH}/`) ? find(path) : undefined;
      if (response === undefined) return undefined;
      const status = statusOf(response);
      if (response.pollsLeft > 0) response.pollsLeft -= 1;
      return { kind: "whole", status: 200, headers, body: responseObject(response, status) };
    },
  };
}

function statusOf(response: StoredResponse): Status {
  if (response.isCancelled) return "cancelled";
  return response.pollsLeft > 0 ? "in_progress" : "completed";
}

function promptTexts(body: SimulatedRequest["body"]): readonly PromptText[] {
  const instructions = contentText(body["instructions"]);
  const items: readonly unknown[] = Array.isArray(body["input"]) ? body["input"] : [body["input"]];
  return [
    { text: instructions, isCached: instructions !== "" },
    ...items.map((item) => ({ text: contentText(isRecord(item) ? item["content"] : item), isCached: false })),
  ];
}

function responseObject(response: StoredResponse, status: Status): Record<string, unknown> {
  const { body, model, behaviour } = response.request;
  const isDone = status === "completed";
  const text = isDone ? answerText(behaviour) : "";
  return {
    id: response.id,
    object: "response",
    created_at: CREATED_S,
    status,
    background: body["background"] === true,
    error: null,
    incomplete_details: null,
    instructions: body["instructions"] ?? null,
    metadata: {},
    model,
    output: isDone ? [outputMessage(response.id, text, "completed")] : [],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: isDone ? (behaviour.tier ?? "default") : "auto",
    store: body["store"] !== false,
    temperature: 1,
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    usage: isDone && behaviour.hasUsage ? responseUsage(response, text) : null,
  };
}

function outputMessage(responseId: string, text: string, status: "in_progress" | "completed"): Record<string, unknown> {
  const content = status === "completed" ? [outputText(text)] : [];
  return { id: responseId.replace("resp", "msg"), type: "message", status, role: "assistant", content };
}

function outputText(text: string): Record<string, unknown> {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function responseUsage({ request, prompt }: StoredResponse, text: string): Record<string, unknown> {
  const reasoning = request.body["reasoning"];
  const reasoningTokens = isRecord(reasoning) && reasoning["effort"] !== "none" ? REASONING_TOKENS : 0;
  const output = countTokens(text) + reasoningTokens;
  return {
    input_tokens: prompt.total,
    input_tokens_details: {
      cached_tokens: prompt.cached,
      cache_write_tokens: prompt.written,
      cache_write_tokens_details: { ttl_30m_tokens: prompt.written, ttl_12h_tokens: 0 },
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: prompt.total + output,
  };
}

/** Section 5.3.2: lifecycle events with the whole object, deltas between them, usage in the terminal one only. */
function* responseEvents(response: StoredResponse): Generator<string> {
  const { behaviour } = response.request;
  let sequence = 0;
  for (const event of lifecycle(response)) {
    if (sequence === behaviour.errorAfter) {
      yield sse({ type: "error", code: "server_error", message: "simulated failure", param: null, sequence_number: sequence });
      return;
    }
    yield sse({ ...event, sequence_number: sequence++ });
  }
}

function* lifecycle(response: StoredResponse): Generator<{ readonly type: string } & Record<string, unknown>> {
  const { behaviour } = response.request;
  yield { type: "response.created", response: responseObject(response, "in_progress") };
  yield { type: "response.in_progress", response: responseObject(response, "in_progress") };
  const item = outputMessage(response.id, "", "in_progress");
  const place = { item_id: item["id"], output_index: 0, content_index: 0 };
  yield { type: "response.output_item.added", output_index: 0, item };
  yield { type: "response.content_part.added", ...place, part: outputText("") };
  let text = "";
  for (const piece of answerPieces(behaviour)) {
    if (!behaviour.isEndless) text += piece;
    yield { type: "response.output_text.delta", ...place, delta: piece, logprobs: [], obfuscation: "x".repeat(1 + (piece.length % 7)) };
  }
  yield { type: "response.output_text.done", ...place, text, logprobs: [] };
  yield { type: "response.content_part.done", ...place, part: outputText(text) };
  yield { type: "response.output_item.done", output_index: 0, item: outputMessage(response.id, text, "completed") };
  response.pollsLeft = 0;
  yield { type: "response.completed", response: responseObject(response, "completed") };
}

function sse(data: { readonly type: string } & Record<string, unknown>): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}
