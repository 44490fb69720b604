/**
 * The answers of the providers' APIs as their own SDKs read them (field names: those packages' types; meaning:
 * reference/model-usage.md section 5). Counts are fixed and differ from one another.
 */

import { encodeNotation } from "../../../src/usage/replay-frames.ts";
import { isStream, json, sse, type WireApi, type WireAnswer } from "./server.ts";

export const HOSTS = {
  gemini: "generativelanguage.googleapis.com",
  bedrock: "bedrock-runtime.us-east-1.amazonaws.com",
  cohere: "api.cohere.com",
  ollama: "ollama.com",
  mistral: "api.mistral.ai",
  groq: "api.groq.com",
  azure: "acme.openai.azure.com",
  foundry: "acme.services.ai.azure.com",
  unknown: "llm.unknown.example",
} as const;

const gemini: WireApi = ({ target }) => {
  const content = (text: string, usageMetadata: object, more: object = {}) => ({
    candidates: [{ content: { role: "model", parts: [{ text }] }, index: 0, ...more }],
    usageMetadata,
    modelVersion: "gemini-3.8-flash",
    responseId: target.includes("stream") ? "gemini-stream" : "gemini-whole",
  });
  const whole = { promptTokenCount: 1200, cachedContentTokenCount: 1000, candidatesTokenCount: 80, thoughtsTokenCount: 300, toolUsePromptTokenCount: 50, totalTokenCount: 1630 };
  if (target.includes(":generateContent")) return json(content("ok", whole, { finishReason: "STOP" }));
  if (target.includes(":streamGenerateContent")) {
    return sse([
      content("o", { promptTokenCount: 10, totalTokenCount: 10 }),
      content("k", { promptTokenCount: 10, candidatesTokenCount: 3, thoughtsTokenCount: 5, totalTokenCount: 18 }),
      content("!", { promptTokenCount: 10, candidatesTokenCount: 7, totalTokenCount: 22 }, { finishReason: "STOP" }),
    ]);
  }
  if (target.includes(":countTokens")) return json({ totalTokens: 31 });
  if (target.includes("mbedContent")) return json({ embeddings: [{ values: [0.1, 0.2] }], usageMetadata: { promptTokenCount: 6, totalTokenCount: 6 } });
  return undefined;
};

const frames = (notation: string): WireAnswer => ({
  headers: { "content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "bedrock-stream" },
  pieces: encodeNotation(notation),
});

const CLAUDE_USAGE = { input_tokens: 12, cache_creation_input_tokens: 700, cache_read_input_tokens: 9000, cache_creation: { ephemeral_5m_input_tokens: 200, ephemeral_1h_input_tokens: 500 } };

const bedrock: WireApi = ({ target }) => {
  const usage = { inputTokens: 20, outputTokens: 55, totalTokens: 1075, cacheReadInputTokens: 900, cacheWriteInputTokens: 100, cacheDetails: [{ ttl: "1h", inputTokens: 60 }, { ttl: "5m", inputTokens: 40 }] };
  if (target.endsWith("/converse")) {
    return json({ output: { message: { role: "assistant", content: [{ text: "ok" }] } }, stopReason: "end_turn", usage, metrics: { latencyMs: 12 } }, { "x-amzn-requestid": "bedrock-converse" });
  }
  if (target.endsWith("/converse-stream")) {
    return frames(
      [
        'messageStart {"role":"assistant"}',
        'contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"ok"}}',
        'contentBlockStop {"contentBlockIndex":0}',
        'messageStop {"stopReason":"end_turn"}',
        `metadata ${JSON.stringify({ usage, metrics: { latencyMs: 12 } })}`,
      ].join("\n"),
    );
  }
  if (target.endsWith("/invoke")) {
    return json({ id: "msg_bdrk_1", type: "message", role: "assistant", model: "claude-sonnet-4-5-20250929", content: [{ type: "text", text: "ok" }], usage: { ...CLAUDE_USAGE, output_tokens: 340 } }, { "x-amzn-requestid": "bedrock-invoke", "x-amzn-bedrock-input-token-count": "12", "x-amzn-bedrock-output-token-count": "340" });
  }
  if (target.endsWith("/invoke-with-response-stream")) {
    const start = { type: "message_start", message: { id: "msg_bdrk_2", type: "message", role: "assistant", model: "claude-sonnet-4-5-20250929", content: [], usage: { ...CLAUDE_USAGE, output_tokens: 3 } } };
    const stop = { type: "message_stop", "amazon-bedrock-invocationMetrics": { inputTokenCount: 12, outputTokenCount: 41, cacheReadInputTokenCount: 9000, cacheWriteInputTokenCount: 700 } };
    const events = [start, { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "ok" } }, { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 41 } }, stop];
    return frames(events.map((event) => `chunk ${JSON.stringify(event)}`).join("\n"));
  }
  return undefined;
};

const cohere: WireApi = (request) => {
  const usage = { billed_units: { input_tokens: 5, output_tokens: 418 }, tokens: { input_tokens: 71, output_tokens: 420 } };
  if (request.target.startsWith("/v2/chat") && !isStream(request)) {
    return json({ id: "cohere-whole", finish_reason: "COMPLETE", message: { role: "assistant", content: [{ type: "text", text: "ok" }] }, usage });
  }
  if (request.target.startsWith("/v2/chat")) {
    return sse(
      [
        { type: "message-start", id: "cohere-stream", delta: { message: { role: "assistant", content: [], tool_plan: "", tool_calls: [], citations: [] } } },
        { type: "content-start", index: 0, delta: { message: { content: { type: "text", text: "" } } } },
        { type: "content-delta", index: 0, delta: { message: { content: { text: "ok" } } } },
        { type: "content-end", index: 0 },
        { type: "message-end", id: "cohere-stream", delta: { finish_reason: "COMPLETE", usage: { billed_units: { input_tokens: 6, output_tokens: 2 }, tokens: { input_tokens: 72, output_tokens: 4 } } } },
      ],
      { isNamed: true },
    );
  }
  if (request.target.startsWith("/v2/embed")) return json({ id: "cohere-embed", embeddings: { float: [[0.1]] }, texts: ["x"], meta: { api_version: { version: "2" }, billed_units: { input_tokens: 8 } } });
  if (request.target.startsWith("/v2/rerank")) return json({ id: "cohere-rerank", results: [{ index: 0, relevance_score: 0.9 }], meta: { billed_units: { search_units: 1 } } });
  return undefined;
};

const ollama: WireApi = (request) => {
  const done = (counts: object) => ({ model: "qwen3.6:27b", created_at: "2026-11-21T10:00:00Z", message: { role: "assistant", content: "" }, done: true, done_reason: "stop", total_duration: 812000000, load_duration: 1000000, ...counts });
  if (request.target === "/api/chat" && !isStream(request)) {
    return json({ ...done({ prompt_eval_count: 26, eval_count: 298 }), message: { role: "assistant", content: "ok" } });
  }
  if (request.target === "/api/chat") {
    const part = (content: string) => ({ model: "qwen3.6:27b", created_at: "2026-11-21T10:00:00Z", message: { role: "assistant", content }, done: false });
    const lines = [part("o"), part("k"), done({ prompt_eval_count: 27, eval_count: 2 })].map((line) => `${JSON.stringify(line)}\n`);
    return { headers: { "content-type": "application/x-ndjson" }, pieces: lines };
  }
  if (request.target === "/api/embed") return json({ model: "embeddinggemma", embeddings: [[0.1]], prompt_eval_count: 9 });
  return undefined;
};

const mistral: WireApi = (request) => {
  const usage = { prompt_tokens: 30, completion_tokens: 12, total_tokens: 42, num_cached_tokens: 16 };
  const chunk = (delta: object, more: object) => ({ id: "mistral-stream", object: "chat.completion.chunk", created: 1, model: "mistral-large-2512", choices: [{ index: 0, delta, finish_reason: null, ...more }] });
  if (request.target.startsWith("/v1/chat/completions") && isStream(request)) {
    return sse([chunk({ role: "assistant", content: "" }, {}), chunk({ content: "ok" }, {}), { ...chunk({ content: "" }, { finish_reason: "stop" }), usage: { prompt_tokens: 31, completion_tokens: 2, total_tokens: 33 } }], { isDone: true });
  }
  if (request.target.startsWith("/v1/chat/completions")) {
    return json({ id: "mistral-whole", object: "chat.completion", created: 1, model: "mistral-large-2512", choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop" }], usage });
  }
  if (request.target.startsWith("/v1/embeddings")) return json({ id: "mistral-embed", object: "list", model: "mistral-embed", data: [{ object: "embedding", index: 0, embedding: [0.1] }], usage: { prompt_tokens: 8, completion_tokens: 0, total_tokens: 8 } });
  return undefined;
};

const groq: WireApi = (request) => {
  const usage = { queue_time: 0.01, prompt_tokens: 40, prompt_time: 0.01, completion_tokens: 20, completion_time: 0.02, total_tokens: 60, total_time: 0.03, prompt_tokens_details: { cached_tokens: 10 }, completion_tokens_details: { reasoning_tokens: 8 } };
  const chunk = (delta: object, finish: string | null, more: object = {}) => ({ id: "groq-stream", object: "chat.completion.chunk", created: 1, model: "openai/gpt-oss-120b", choices: [{ index: 0, delta, finish_reason: finish }], ...more });
  if (!request.target.startsWith("/openai/v1/chat/completions")) return undefined;
  if (isStream(request)) {
    return sse([chunk({ role: "assistant", content: "ok" }, null, { x_groq: { id: "req_1" } }), chunk({}, "stop", { x_groq: { id: "req_1", usage: { ...usage, prompt_tokens: 41, total_tokens: 61 } } })], { isDone: true });
  }
  return json({ id: "groq-whole", object: "chat.completion", created: 1, model: "openai/gpt-oss-120b", choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop" }], usage, usage_breakdown: null, x_groq: { id: "req_2", usage: { dram_cached_tokens: 7, sram_cached_tokens: 9 } } });
};

const azure: WireApi = (request) => {
  const { target } = request;
  if (target.includes("/chat/completions")) {
    const chunk = (more: object) => ({ id: "azure-stream", object: "chat.completion.chunk", created: 1, model: "gpt-5.4", choices: [], ...more });
    return sse([
      { choices: [], created: 0, id: "", model: "", object: "", prompt_filter_results: [{ prompt_index: 0, content_filter_results: {} }] },
      chunk({ choices: [{ index: 0, delta: { content: "ok" }, finish_reason: "stop" }] }),
      chunk({ usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120, prompt_tokens_details: { cached_tokens: 64 }, completion_tokens_details: { reasoning_tokens: 5 } } }),
    ], { isDone: true });
  }
  if (target.includes("/images/generations")) {
    return json({ created: 1, data: [{ b64_json: "aGVsbG8=".repeat(50_000) }], usage: { input_tokens: 50, input_tokens_details: { text_tokens: 20, image_tokens: 30 }, output_tokens: 4160, output_tokens_details: { image_tokens: 4160, text_tokens: 0 }, total_tokens: 4210 } });
  }
  if (target.includes("/audio/transcriptions")) return json({ text: "ok", usage: { type: "tokens", input_tokens: 114, input_token_details: { audio_tokens: 100, text_tokens: 14 }, output_tokens: 9, total_tokens: 123 } });
  if (target.includes("/audio/speech")) return { headers: { "content-type": "audio/mpeg" }, pieces: [Uint8Array.from({ length: 3000 }, (_value, index) => index % 251)] };
  if (target.includes("/embeddings")) return json({ object: "list", model: "text-embedding-3-small", data: [{ object: "embedding", index: 0, embedding: [0.1] }], usage: { prompt_tokens: 8, total_tokens: 8 } });
  return undefined;
};

const foundry: WireApi = (request) => {
  if (!request.target.startsWith("/anthropic/v1/messages")) return undefined;
  const message = (usage: object) => ({ id: "msg_foundry", type: "message", role: "assistant", model: "claude-opus-5-5", content: [], stop_reason: null, stop_sequence: null, usage });
  if (!isStream(request)) return json({ ...message({ ...CLAUDE_USAGE, output_tokens: 340, server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 } }), content: [{ type: "text", text: "ok" }], stop_reason: "end_turn" });
  return sse(
    [
      { type: "message_start", message: { ...message({ ...CLAUDE_USAGE, output_tokens: 3 }), id: "msg_foundry_stream" } },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
      { type: "ping" },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "ok" } },
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 60, output_tokens_details: { thinking_tokens: 20 } } },
      { type: "message_stop" },
    ],
    { isNamed: true },
  );
};

/** A host that no meter names, with OpenAI's format on a path of it. */
const unknown: WireApi = ({ target }) => {
  if (target !== "/gateway/v1/chat/completions") return json({ hello: "world" });
  return json({ id: "unknown-whole", object: "chat.completion", created: 1, model: "some-model", choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop" }], usage: { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 } });
};

export const APIS: Readonly<Record<string, WireApi>> = {
  [HOSTS.gemini]: gemini,
  [HOSTS.bedrock]: bedrock,
  [HOSTS.cohere]: cohere,
  [HOSTS.ollama]: ollama,
  [HOSTS.mistral]: mistral,
  [HOSTS.groq]: groq,
  [HOSTS.azure]: azure,
  [HOSTS.foundry]: foundry,
  [HOSTS.unknown]: unknown,
};
