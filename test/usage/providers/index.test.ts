import { describe, expect, it } from "vitest";
import type { ResponseHead } from "../../../src/flow/flow.ts";
import { createHostTable } from "../../../src/flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, Reading } from "../../../src/usage/handler.ts";
import { handlers } from "../../../src/usage/providers/index.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";

const table = createHostTable(handlers.flatMap((handler) => handler.hosts.map((host) => [host, handler] as const)));

function handlerAt(host: string): Handler {
  return table.lookup(host, 443)!;
}

function open(host: string, method: string, path: string, protocol: ExchangeInfo["protocol"] = "http"): OpenedExchange {
  const exchange = { host, port: 443, protocol, method, path, query: "", headers: [] };
  return handlerAt(host).open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

function read(opened: OpenedExchange, head: Partial<ResponseHead>, ...chunks: readonly (string | Uint8Array)[]): readonly Reading[] {
  const reader = opened.reader!;
  reader.response({ status: 200, statusText: "OK", headers: [], ...head });
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return reader.end({ kind: "complete" });
}

const JSON_HEAD = { headers: ["Content-Type", "application/json"] };

describe("the list of handlers", () => {
  it("has an id of its own for each", () => {
    const ids = handlers.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each([
    ["api.anthropic.com", "anthropic"],
    ["api.openai.com", "openai"],
    ["eu.api.openai.com", "openai"],
    ["aws-external-anthropic.us-east-1.api.aws", "anthropic"],
    ["acme.openai.azure.com", "azure-openai"],
    ["acme.cognitiveservices.azure.com", "azure-openai"],
    ["acme.services.ai.azure.com", "azure-openai"],
    ["acme.azure-api.net", "azure-openai"],
    ["chatgpt.com", "codex"],
    ["cloudcode-pa.googleapis.com", "gemini"],
    ["daily-cloudcode-pa.sandbox.googleapis.com", "gemini"],
    ["aiplatform.eu.rep.googleapis.com", "vertex"],
    ["bedrock-mantle.us-east-1.api.aws", "bedrock"],
    ["bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "bedrock"],
    ["bedrock-runtime.cn-north-1.amazonaws.com.cn", "bedrock"],
    ["api.cohere.ai", "cohere"],
    ["api.individual.githubcopilot.com", "github-copilot"],
    ["models.inference.ai.azure.com", "github-models"],
    ["openrouter.ai", "openrouter"],
    ["api.x.ai", "xai"],
    ["api.groq.com", "groq"],
    ["codestral.mistral.ai", "mistral"],
    ["api.deepseek.com", "deepseek"],
    ["api.together.ai", "together"],
    ["api.fireworks.ai", "fireworks"],
    ["api.perplexity.ai", "perplexity"],
    ["api.cerebras.ai", "cerebras"],
    ["api.kimi.com", "moonshot"],
    ["open.bigmodel.cn", "zai"],
    ["dashscope-intl.aliyuncs.com", "dashscope"],
    ["api.business.githubcopilot.com", "github-copilot"],
    ["models.github.ai", "github-models"],
    ["generativelanguage.googleapis.com", "gemini"],
    ["aiplatform.googleapis.com", "vertex"],
    ["us-east5-aiplatform.googleapis.com", "vertex"],
    ["bedrock-runtime.us-east-1.amazonaws.com", "bedrock"],
    ["bedrock-runtime.a-region-not-yet-1.amazonaws.com", "bedrock"],
    ["api.cohere.com", "cohere"],
    ["ollama.com", "ollama"],
    ["gmail.googleapis.com", "gmail"],
    ["www.googleapis.com", "gmail"],
    ["api.x.com", "x"],
    ["upload.twitter.com", "x"],
    ["slack.com", "slack"],
    ["acme.enterprise.slack.com", "slack"],
    ["hooks.slack.com", "slack"],
    ["wss-primary.slack.com", "slack"],
  ])("knows %s as %s", (host, id) => {
    expect(handlerAt(host).id).toBe(id);
  });

  it("knows no other hosts", () => {
    for (const host of ["example.com", "openai.com", "api.openai.com.example.com", "anthropic.com"]) expect(table.lookup(host, 443)).toBeUndefined();
  });
});

describe("an exchange is told by method and path", () => {
  it.each([
    ["api.anthropic.com", "POST", "/v1/messages", "anthropic.messages", "chat", true],
    ["api.anthropic.com", "POST", "/v1/messages/", "anthropic.messages", "chat", true],
    ["api.anthropic.com", "POST", "/v1/messages/count_tokens", "anthropic.messages", "count_tokens", false],
    ["api.anthropic.com", "GET", "/v1/messages", "anthropic.other", "other", false],
    ["api.anthropic.com", "POST", "/v1/messages/batches", "anthropic.batches", "batch", false],
    ["api.anthropic.com", "GET", "/v1/models/claude-opus-5-5", "anthropic.models", "list_models", false],
    ["api.anthropic.com", "GET", "/api/oauth/usage", "anthropic.other", "other", false],
    ["api.openai.com", "POST", "/v1/chat/completions", "openai.chat_completions", "chat", true],
    ["api.openai.com", "GET", "/v1/chat/completions", "openai.other", "other", false],
    ["api.openai.com", "GET", "/v1/chat/completions/chatcmpl-1", "openai.chat_completions", "fetch", false],
    ["api.openai.com", "POST", "/v1/completions", "openai.completions", "completion", true],
    ["api.openai.com", "POST", "/v1/responses", "openai.responses", "chat", true],
    ["api.openai.com", "POST", "/v1/responses/compact", "openai.responses", "compact", true],
    ["api.openai.com", "POST", "/v1/responses/input_tokens", "openai.responses", "count_tokens", false],
    ["api.openai.com", "GET", "/v1/responses/resp_1", "openai.responses", "fetch", false],
    ["api.openai.com", "POST", "/v1/responses/resp_1/cancel", "openai.responses", "cancel", false],
    ["api.openai.com", "GET", "/v1/responses/resp_1/input_items", "openai.other", "other", false],
    ["api.openai.com", "DELETE", "/v1/responses/resp_1", "openai.other", "other", false],
    ["api.openai.com", "POST", "/v1/embeddings", "openai.embeddings", "embeddings", true],
    ["api.openai.com", "POST", "/v1/moderations", "openai.moderations", "moderation", false],
    ["api.openai.com", "POST", "/v1/images/generations", "openai.images", "image", true],
    ["api.openai.com", "POST", "/v1/audio/speech", "openai.audio", "speech", true],
    ["api.openai.com", "POST", "/v1/files", "openai.other", "other", false],
    ["api.openai.com", "POST", "/v1/threads/thread_1/messages", "openai.other", "other", false],
    ["api.openai.com", "POST", "/v1/messages", "openai.other", "other", false],
    ["api.z.ai", "POST", "/api/anthropic/v1/messages", "zai.messages", "chat", true],
    ["api.z.ai", "POST", "/api/anthropic/v1/messages/count_tokens", "zai.messages", "count_tokens", false],
    ["api.perplexity.ai", "POST", "/async/chat/completions", "perplexity.async_chat_completions", "chat", true],
    ["api.together.ai", "POST", "/xchat/completions", "together.completions", "completion", true],
    ["api.together.ai", "POST", "/v1/xcompletions", "together.other", "other", false],
  ])("%s %s %s is %s", (host, method, path, api, operation, isBillable) => {
    expect(open(host, method, path)).toMatchObject({ api, operation, isBillable });
  });

  it("opens sockets without a reader of bodies", () => {
    expect(open("api.openai.com", "GET", "/v1/responses", "websocket")).toMatchObject({ api: "openai.responses", operation: "chat", isBillable: true, reader: undefined });
    expect(open("api.openai.com", "GET", "/v1/realtime", "websocket")).toMatchObject({ api: "openai.realtime", operation: "realtime" });
    expect(open("api.openai.com", "GET", "/v1/other", "websocket")).toMatchObject({ isBillable: false });
  });

  it("has no reader where nothing can cost", () => {
    expect(open("api.openai.com", "POST", "/v1/responses/input_tokens").reader).toBeUndefined();
    expect(open("api.anthropic.com", "POST", "/v1/messages/count_tokens").reader).toBeUndefined();
  });

  it("does not hang on a path of slashes", () => {
    expect(open("api.openai.com", "POST", `/v1${"/".repeat(60_000)}x`)).toMatchObject({ operation: "other" });
  });
});

describe("answers that no reader knows", () => {
  it("are unmeasured when they succeed and free when they fail", () => {
    expect(read(open("api.openai.com", "POST", "/v1/videos/extensions"), {}, "ID3")).toEqual([{ kind: "unmeasured", reason: "format_not_read" }]);
    expect(read(open("api.openai.com", "POST", "/v1/videos/extensions"), { status: 400 }, "{}")).toEqual([{ kind: "free", reason: "error_status" }]);
  });

  it("are unmeasured when a chat endpoint answers with a page", () => {
    const page = { headers: ["content-type", "text/html"] };
    expect(read(open("api.openai.com", "POST", "/v1/chat/completions"), page, "<html>")).toMatchObject([{ kind: "unmeasured", reason: "unknown_framing" }]);
  });
});

describe("framing", () => {
  const whole = JSON.stringify({ id: "x", model: "m", choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } });
  const stream = `data: ${whole}\n\ndata: [DONE]\n\n`;

  it.each([
    ["application/json", whole, false],
    ["application/problem+json; charset=utf-8", whole, false],
    ["text/event-stream", whole, false],
    ["text/plain", `\r\n ${whole}`, false],
    ["text/event-stream", stream, true],
    ["application/json", stream, true],
    ["text/plain", `: comment\n\n${stream}`, true],
    ["text/event-stream", `\uFEFF${stream}`, true],
  ])("of %s follows the body: %#", (type, body, streamed) => {
    const readings = read(open("api.openai.com", "POST", "/v1/chat/completions"), { headers: ["content-type", type] }, body);
    expect(readings).toMatchObject([{ kind: "measured", completeness: "complete", usage: { input_tokens: 3, output_tokens: 4 }, streamed }]);
  });

  it("takes an empty answer for free", () => {
    expect(read(open("api.openai.com", "POST", "/v1/chat/completions"), { status: 204 })).toMatchObject([{ kind: "free", reason: "empty_body" }]);
  });
});

describe("large bodies", () => {
  it("give up the usage that stands at their end", () => {
    const vector = `[${"0.12345,".repeat(500_000)}0]`;
    const body = `{"object":"list","data":[{"embedding":${vector}}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}`;
    const readings = read(open("api.openai.com", "POST", "/v1/embeddings"), JSON_HEAD, body);
    expect(readings).toMatchObject([{ completeness: "complete", source: "provider", usage: { input_tokens: 8 } }]);
  });

  it("are estimated by their size when they hold one huge text and no usage", () => {
    const body = JSON.stringify({ id: "x", choices: [{ message: { content: "word ".repeat(200_000) } }] });
    const readings = read(open("api.openai.com", "POST", "/v1/chat/completions"), JSON_HEAD, body);
    expect(readings).toMatchObject([{ source: "estimate", usage: { output_tokens: Math.ceil(body.length / 4) } }]);
  });
});

describe("readings", () => {
  it("hold no text of prompt or answer", () => {
    for (const [host, path] of [["api.anthropic.com", "/v1/messages"], ["api.openai.com", "/v1/chat/completions"], ["api.openai.com", "/v1/responses"]] as const) {
      const opened = open(host, "POST", path);
      opened.reader?.requestData?.(Buffer.from('{"model":"m","messages":[{"role":"user","content":"SECRET prompt"}],"input":"SECRET"}'));
      const body = '{"id":"i","model":"m","content":[{"type":"text","text":"SECRET"}],"choices":[{"message":{"content":"SECRET"}}],"output":[{"content":[{"text":"SECRET"}]}]}';
      expect(JSON.stringify(read(opened, JSON_HEAD, body))).not.toContain("SECRET");
    }
  });

  it("are the same whichever end a failed connection has", () => {
    for (const kind of ["complete", "client_aborted", "upstream_aborted", "undecodable"] as const) {
      const reader = open("api.openai.com", "POST", "/v1/chat/completions").reader!;
      reader.response({ status: 500, statusText: "", headers: [] });
      expect(reader.end({ kind })).toMatchObject([{ kind: "free", reason: "error_status" }]);
    }
  });

  it("are free when the upstream never answered", () => {
    expect(open("api.openai.com", "POST", "/v1/chat/completions").reader!.end({ kind: "upstream_aborted" })).toMatchObject([{ kind: "free", reason: "no_response" }]);
  });
});

describe("a bearer token", () => {
  const body = JSON.stringify({ id: "msg_1", model: "m", usage: { input_tokens: 1, output_tokens: 2 } });

  function hintsAt(host: string, ...headers: string[]): unknown {
    const exchange = { host, port: 443, protocol: "http", method: "POST", path: "/v1/messages", query: "", headers } as const;
    const opened = handlerAt("api.anthropic.com").open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
    const [reading] = read(opened, JSON_HEAD, body);
    return reading?.kind === "measured" && "usage" in reading ? reading.priceHints : "not measured";
  }

  it("in place of a key is a subscription at Anthropic, not at a gateway", () => {
    expect(hintsAt("api.anthropic.com", "Authorization", "Bearer t")).toEqual({ billing_mode: "subscription" });
    expect(hintsAt("api.anthropic.com", "Authorization", "Bearer t", "X-Api-Key", "k")).toBeUndefined();
    expect(hintsAt("gateway.example", "Authorization", "Bearer t")).toBeUndefined();
  });
});

describe("error bodies", () => {
  const error = { status: 429, code: "budget_exhausted", message: "m" };

  it("have the shape of each provider's SDK", () => {
    expect(handlerAt("api.anthropic.com").errorBody?.(error)).toEqual({ type: "error", error: { type: "rate_limit_error", message: "m" } });
    const openai = { error: { message: "m", type: "rate_limit_error", param: null, code: "budget_exhausted" } };
    expect(handlerAt("api.openai.com").errorBody?.(error)).toEqual(openai);
    expect(handlerAt("api.groq.com").errorBody?.(error)).toEqual(openai);
    expect(handlerAt("api.anthropic.com").errorBody?.({ ...error, status: 502 })).toMatchObject({ error: { type: "api_error" } });
  });
});
