/**
 * A simulated OpenAI API over real TLS on loopback, exact on the wire (model-usage.md sections 5.2 and 5.3) and good
 * enough for the official SDK: chat completions and responses, whole and streamed, background responses with polling,
 * input_tokens, models, errors. How it misbehaves on request is in simulated-behaviour.ts; every exchange is recorded.
 *
 * Token numbers (simulated-tokens.ts): the texts of `messages`, or of `instructions` and `input`, are the prompt. A
 * system or developer text (`instructions`) is cached: `cache_write_tokens` when this server sees it first for
 * a model, `cached_tokens` after that; both are inside the prompt total. `reasoning` or `reasoning_effort` other than "none"
 * adds REASONING_TOKENS to the output.
 */

import { chatTexts, completionEvents, newCompletion, wholeCompletion } from "./simulated-openai-chat.ts";
import { CREATED_S, createPromptCounter } from "./simulated-openai-prompt.ts";
import { createResponses } from "./simulated-openai-responses.ts";
import { startSimulatedServer } from "./simulated-server.ts";
import type { Headers, SimulatedAnswer, SimulatedRequest, SimulatedServer } from "./simulated-server.ts";
import type { SimulatedTls } from "./simulated-tls.ts";
import { createIdSequence } from "./simulated-tokens.ts";

const MODELS = ["gpt-5.4", "gpt-5.6-terra", "gpt-6-sol"] as const;

const ERROR_TYPES: Readonly<Record<number, readonly [type: string, code: string | null]>> = {
  400: ["invalid_request_error", null],
  401: ["invalid_request_error", "invalid_api_key"],
  404: ["invalid_request_error", "not_found"],
  429: ["requests", "rate_limit_exceeded"],
};

/** Starts one on a free port. */
export function startSimulatedOpenAi(options: { readonly tls: SimulatedTls }): Promise<SimulatedServer> {
  const nextRequestId = createIdSequence("req_sim_");
  const nextCompletionId = createIdSequence("chatcmpl-sim-");
  const countPrompt = createPromptCounter();
  const responses = createResponses(countPrompt);

  function headers(): Headers {
    return { "x-request-id": nextRequestId(), "openai-processing-ms": "1", "openai-version": "2020-10-01" };
  }

  function error(status: number, message: string): SimulatedAnswer {
    const [type, code] = ERROR_TYPES[status] ?? ["server_error", null];
    const retry: Headers = status === 429 ? { "retry-after": "1" } : {};
    return { kind: "whole", status, headers: { ...headers(), ...retry }, body: { error: { message, type, param: null, code } } };
  }

  function chat(request: SimulatedRequest): SimulatedAnswer {
    if (!Array.isArray(request.body["messages"])) return error(400, "Missing required parameter: 'messages'.");
    const completion = newCompletion(request, nextCompletionId(), countPrompt(request.model, chatTexts(request.body)));
    if (request.body["stream"] !== true) return { kind: "whole", status: 200, headers: headers(), body: wholeCompletion(completion) };
    return { kind: "stream", headers: headers(), events: completionEvents(completion) };
  }

  function answer(request: SimulatedRequest): SimulatedAnswer | undefined {
    const { method, path } = request;
    if (request.headers["authorization"] === undefined) return error(401, "You didn't provide an API key.");
    if (method === "GET" && path === "/v1/models") {
      const data = MODELS.map((id) => ({ id, object: "model", created: CREATED_S, owned_by: "simulated" }));
      return { kind: "whole", status: 200, headers: headers(), body: { object: "list", data } };
    }
    if (method === "POST" && path !== "/v1/chat/completions") return responses.post(request, headers(), error);
    if (method === "GET") return responses.get(request, headers());
    if (method !== "POST") return undefined;
    return request.model === "" ? error(400, "you must provide a model parameter") : chat(request);
  }

  return startSimulatedServer(options.tls, { answer, error });
}
