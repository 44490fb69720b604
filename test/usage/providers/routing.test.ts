/** Every row of the routing tables of reference/model-usage.md section 4: host, method and path to what is made of it. */

import { describe, expect, it } from "vitest";

import { hostTable } from "../../../src/app/hosts.ts";
import { loadSettings } from "../../../src/config/load.ts";
import type { Settings } from "../../../src/config/settings.ts";
import type { OpenedExchange } from "../../../src/usage/handler.ts";
import { handlers } from "../../../src/usage/providers/index.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";

function settings(env: NodeJS.ProcessEnv = {}): Settings {
  const result = loadSettings(env, { cwd: "/", isCheckout: false, homeDir: "/home/ada" });
  if (!result.ok) throw new Error("the settings have a fault");
  return result.settings;
}

const hosts = hostTable(handlers, settings());

function open(table: typeof hosts, host: string, method: string, path: string): OpenedExchange & { readonly meter: string } {
  const [name = "", port = "443"] = host.split(":");
  const handler = table.lookup(name, Number(port));
  if (handler === undefined) throw new Error(`nobody knows ${host}`);
  const [clean = "", query = ""] = path.split("?");
  const protocol = method === "WS" ? "websocket" : "http";
  const exchange = { host: name, port: Number(port), protocol, method: method === "WS" ? "GET" : method, path: clean, query, headers: [] } as const;
  return { meter: handler.id, ...handler.open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() }) };
}

/** generate: a successful answer costs something, and somebody reads it. job: it may finish something. free: nothing is read. */
const isRead = ({ reader, socket }: OpenedExchange): boolean => reader !== undefined || socket !== undefined;
const kindOf = (opened: OpenedExchange): string => (opened.isBillable && isRead(opened) ? "generate" : !opened.isBillable && isRead(opened) ? "job" : opened.isBillable ? "unread" : "free");

describe("the hosts of section 4.1", () => {
  it.each([
    ["anthropic", "api.anthropic.com"],
    ["azure-openai", "acme.services.ai.azure.com"],
    ["anthropic", "aws-external-anthropic.eu-west-1.api.aws"],
    ["bedrock", "bedrock-mantle.us-east-1.api.aws"],
    ["openai", "api.openai.com"],
    ["openai", "eu.api.openai.com"],
    ["azure-openai", "acme.openai.azure.com"],
    ["azure-openai", "acme.cognitiveservices.azure.com"],
    ["azure-openai", "acme.azure-api.net"],
    ["codex", "chatgpt.com"],
    ["gemini", "generativelanguage.googleapis.com"],
    ["gemini", "cloudcode-pa.googleapis.com"],
    ["gemini", "daily-cloudcode-pa.sandbox.googleapis.com"],
    ["vertex", "aiplatform.googleapis.com"],
    ["vertex", "us-central1-aiplatform.googleapis.com"],
    ["vertex", "aiplatform.us.rep.googleapis.com"],
    ["vertex", "aiplatform.eu.rep.googleapis.com"],
    ["bedrock", "bedrock-runtime.us-east-1.amazonaws.com"],
    ["bedrock", "bedrock-runtime-fips.us-east-1.amazonaws.com"],
    ["bedrock", "bedrock-runtime.cn-north-1.amazonaws.com.cn"],
    ["openrouter", "openrouter.ai"],
    ["xai", "api.x.ai"],
    ["groq", "api.groq.com"],
    ["mistral", "api.mistral.ai"],
    ["mistral", "codestral.mistral.ai"],
    ["deepseek", "api.deepseek.com"],
    ["cohere", "api.cohere.com"],
    ["cohere", "api.cohere.ai"],
    ["together", "api.together.ai"],
    ["together", "api.together.xyz"],
    ["fireworks", "api.fireworks.ai"],
    ["perplexity", "api.perplexity.ai"],
    ["cerebras", "api.cerebras.ai"],
    ["moonshot", "api.moonshot.ai"],
    ["moonshot", "api.moonshot.cn"],
    ["moonshot", "api.kimi.com"],
    ["zai", "api.z.ai"],
    ["zai", "open.bigmodel.cn"],
    ["dashscope", "dashscope.aliyuncs.com"],
    ["dashscope", "dashscope-intl.aliyuncs.com"],
    ["dashscope", "dashscope-us.aliyuncs.com"],
    ["github-copilot", "api.githubcopilot.com"],
    ["github-copilot", "api.individual.githubcopilot.com"],
    ["github-copilot", "api.business.githubcopilot.com"],
    ["github-copilot", "api.enterprise.githubcopilot.com"],
    ["github-copilot", "copilot-proxy.githubusercontent.com"],
    ["github-models", "models.github.ai"],
    ["github-models", "models.inference.ai.azure.com"],
    ["ollama", "localhost:11434"],
    ["ollama", "ollama.com"],
  ])("%s is at %s", (id, host) => {
    const [name = "", port = "443"] = host.split(":");
    expect(hosts.lookup(name, Number(port))?.id).toBe(id);
  });
});

const VERTEX = "us-central1-aiplatform.googleapis.com";
const PUBLISHERS = "/v1/projects/p/locations/us-central1/publishers";
const BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com";
const GEMINI = "generativelanguage.googleapis.com";

describe("the paths of section 4.2", () => {
  it.each([
    ["api.anthropic.com", "POST", "/v1/messages?beta=true", "anthropic.messages", "generate"],
    ["api.anthropic.com", "POST", "/v1/messages/count_tokens", "anthropic.messages", "free"],
    ["api.anthropic.com", "POST", "/v1/messages/batches", "anthropic.batches", "job"],
    ["api.anthropic.com", "GET", "/v1/messages/batches/msgbatch_1", "anthropic.batches", "free"],
    ["api.anthropic.com", "GET", "/v1/messages/batches/msgbatch_1/results", "anthropic.batches", "job"],
    ["api.anthropic.com", "POST", "/v1/complete", "anthropic.other", "free"],
    ["api.anthropic.com", "POST", "/v1/sessions", "anthropic.sessions", "job"],
    ["api.anthropic.com", "GET", "/v1/sessions/s1", "anthropic.sessions", "free"],
    ["api.anthropic.com", "GET", "/v1/sessions/s1/events/stream", "anthropic.sessions", "job"],
    ["acme.services.ai.azure.com", "POST", "/anthropic/v1/messages", "azure-openai.messages", "generate"],
    ["bedrock-mantle.us-east-1.api.aws", "POST", "/anthropic/v1/messages", "bedrock.messages", "generate"],
    ["bedrock-mantle.us-east-1.api.aws", "POST", "/openai/v1/responses", "bedrock.responses", "generate"],
    ["bedrock-mantle.us-east-1.api.aws", "POST", "/v1/chat/completions", "bedrock.chat_completions", "generate"],
    ["api.openai.com", "POST", "/v1/chat/completions", "openai.chat_completions", "generate"],
    ["api.openai.com", "GET", "/v1/chat/completions/chatcmpl-1", "openai.chat_completions", "free"],
    ["api.openai.com", "POST", "/v1/chat/completions/chatcmpl-1", "openai.chat_completions", "free"],
    ["api.openai.com", "POST", "/v1/completions", "openai.completions", "generate"],
    ["api.openai.com", "POST", "/v1/responses", "openai.responses", "generate"],
    ["api.openai.com", "GET", "/v1/responses/resp_1?stream=true&starting_after=3", "openai.responses", "job"],
    ["api.openai.com", "POST", "/v1/responses/resp_1/cancel", "openai.responses", "job"],
    ["api.openai.com", "POST", "/v1/responses/compact", "openai.responses", "generate"],
    ["api.openai.com", "POST", "/v1/responses/input_tokens", "openai.responses", "free"],
    ["api.openai.com", "WS", "/v1/responses", "openai.responses", "generate"],
    ["api.openai.com", "WS", "/v1/realtime?model=gpt-realtime", "openai.realtime", "generate"],
    ["api.openai.com", "POST", "/v1/realtime/calls", "openai.realtime", "free"],
    ["api.openai.com", "WS", "/v1/live/sessions/s1", "openai.live", "generate"],
    ["api.openai.com", "POST", "/v1/decisions", "openai.decisions", "generate"],
    ["api.openai.com", "POST", "/v1/embeddings", "openai.embeddings", "generate"],
    ["api.openai.com", "POST", "/v1/images/generations", "openai.images", "generate"],
    ["api.openai.com", "POST", "/v1/images/edits", "openai.images", "generate"],
    ["api.openai.com", "POST", "/v1/audio/transcriptions", "openai.audio", "generate"],
    ["api.openai.com", "POST", "/v1/audio/translations", "openai.audio", "generate"],
    ["api.openai.com", "POST", "/v1/audio/speech", "openai.audio", "generate"],
    ["api.openai.com", "POST", "/v1/videos", "openai.videos", "generate"],
    ["api.openai.com", "GET", "/v1/videos/video_1", "openai.videos", "job"],
    ["api.openai.com", "POST", "/v1/moderations", "openai.moderations", "free"],
    ["api.openai.com", "POST", "/v1/files", "openai.other", "free"],
    ["api.openai.com", "POST", "/v1/uploads", "openai.other", "free"],
    ["api.openai.com", "POST", "/v1/vector_stores", "openai.other", "free"],
    ["api.openai.com", "POST", "/v1/batches", "openai.batches", "job"],
    ["api.openai.com", "GET", "/v1/batches/batch_1", "openai.batches", "job"],
    ["api.openai.com", "GET", "/v1/files/file-1/content", "openai.files", "job"],
    ["api.openai.com", "POST", "/v1/threads/t1/runs", "openai.runs", "generate"],
    ["api.openai.com", "GET", "/v1/threads/t1/runs/run_1", "openai.runs", "job"],
    ["api.openai.com", "GET", "/v1/threads/t1/runs/run_1/steps", "openai.other", "free"],
    ["api.openai.com", "POST", "/v1/agents/sessions/s1/turns", "openai.agents", "generate"],
    ["api.openai.com", "GET", "/v1/agents/sessions/s1/turns/turn_1", "openai.agents", "job"],
    ["api.openai.com", "GET", "/v1/models", "openai.models", "free"],
    ["acme.openai.azure.com", "POST", "/openai/deployments/d/chat/completions?api-version=1", "azure-openai.chat_completions", "generate"],
    ["acme.openai.azure.com", "POST", "/openai/v1/responses", "azure-openai.responses", "generate"],
    ["acme.openai.azure.com", "WS", "/openai/realtime?deployment=d", "azure-openai.realtime", "generate"],
    ["acme.services.ai.azure.com", "POST", "/models/chat/completions", "azure-openai.chat_completions", "generate"],
    ["chatgpt.com", "POST", "/backend-api/codex/responses", "codex.responses", "generate"],
    ["chatgpt.com", "POST", "/backend-api/codex/responses/compact", "codex.responses", "generate"],
    ["chatgpt.com", "WS", "/backend-api/codex/responses", "codex.responses", "generate"],
    ["chatgpt.com", "GET", "/backend-api/wham/usage", "codex.other", "free"],
    [GEMINI, "POST", "/v1beta/models/gemini-3.8-flash:generateContent", "gemini.generate_content", "generate"],
    [GEMINI, "POST", "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", "gemini.generate_content", "generate"],
    [GEMINI, "POST", "/v1beta/models/gemini-3.8-flash:countTokens", "gemini.count_tokens", "free"],
    [GEMINI, "POST", "/v1beta/models/gemini-embedding-001:embedContent", "gemini.embeddings", "generate"],
    [GEMINI, "POST", "/v1beta/models/gemini-embedding-001:batchEmbedContents", "gemini.embeddings", "generate"],
    [GEMINI, "POST", "/v1beta/models/gemini-3.8-flash:batchGenerateContent", "gemini.batches", "job"],
    [GEMINI, "POST", "/v1beta/models/imagen-4:predict", "gemini.predict", "generate"],
    [GEMINI, "POST", "/v1beta/models/veo-3:predictLongRunning", "gemini.predict_long_running", "generate"],
    [GEMINI, "POST", "/v1beta/interactions", "gemini.interactions", "generate"],
    [GEMINI, "GET", "/v1beta/interactions/i1", "gemini.interactions", "job"],
    [GEMINI, "POST", "/v1beta/openai/chat/completions", "gemini.chat_completions", "generate"],
    [GEMINI, "WS", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "gemini.live", "generate"],
    [GEMINI, "WS", "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained", "gemini.live", "generate"],
    ["cloudcode-pa.googleapis.com", "POST", "/v1internal:generateContent", "gemini.generate_content", "generate"],
    ["cloudcode-pa.googleapis.com", "POST", "/v1internal:streamGenerateContent?alt=sse", "gemini.generate_content", "generate"],
    [VERTEX, "POST", `${PUBLISHERS}/google/models/gemini-3.8-flash:generateContent`, "vertex.generate_content", "generate"],
    [VERTEX, "POST", `${PUBLISHERS}/google/models/gemini-3.8-flash:computeTokens`, "vertex.count_tokens", "free"],
    [VERTEX, "POST", `${PUBLISHERS}/anthropic/models/claude-opus-5-5@default:rawPredict`, "vertex.messages", "generate"],
    [VERTEX, "POST", `${PUBLISHERS}/anthropic/models/claude-opus-5-5@default:streamRawPredict`, "vertex.messages", "generate"],
    [VERTEX, "POST", `${PUBLISHERS}/anthropic/models/count-tokens:rawPredict`, "vertex.messages", "free"],
    [VERTEX, "POST", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", "vertex.chat_completions", "generate"],
    [VERTEX, "POST", `${PUBLISHERS}/openai/v1/responses`, "vertex.responses", "generate"],
    [VERTEX, "WS", "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", "vertex.live", "generate"],
    [BEDROCK, "POST", "/model/anthropic.claude-opus-5-5-v1%3A0/invoke", "bedrock.invoke", "generate"],
    [BEDROCK, "POST", "/model/anthropic.claude-opus-5-5-v1%3A0/invoke-with-response-stream", "bedrock.invoke", "generate"],
    [BEDROCK, "POST", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fp/converse", "bedrock.converse", "generate"],
    [BEDROCK, "POST", "/model/amazon.nova-pro-v1%3A0/converse-stream", "bedrock.converse", "generate"],
    [BEDROCK, "POST", "/model/amazon.nova-pro-v1%3A0/count-tokens", "bedrock.count_tokens", "free"],
    [BEDROCK, "POST", "/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream", "bedrock.invoke_bidirectional", "generate"],
    [BEDROCK, "POST", "/async-invoke", "bedrock.async_invoke", "generate"],
    [BEDROCK, "GET", "/async-invoke/arn", "bedrock.async_invoke", "free"],
    [BEDROCK, "POST", "/guardrail/g/version/1/apply", "bedrock.guardrail", "generate"],
    [BEDROCK, "POST", "/guardrail-checks/invoke", "bedrock.guardrail", "generate"],
    ["openrouter.ai", "POST", "/api/v1/chat/completions", "openrouter.chat_completions", "generate"],
    ["openrouter.ai", "POST", "/api/v1/messages", "openrouter.messages", "generate"],
    ["openrouter.ai", "POST", "/api/v1/responses", "openrouter.responses", "generate"],
    ["openrouter.ai", "GET", "/api/v1/generation?id=gen-1", "openrouter.other", "free"],
    ["api.x.ai", "WS", "/v1/responses", "xai.responses", "generate"],
    ["api.groq.com", "POST", "/openai/v1/chat/completions", "groq.chat_completions", "generate"],
    ["api.groq.com", "POST", "/openai/v1/audio/transcriptions", "groq.audio", "generate"],
    ["api.deepseek.com", "POST", "/chat/completions", "deepseek.chat_completions", "generate"],
    ["api.deepseek.com", "POST", "/anthropic/v1/messages", "deepseek.messages", "generate"],
    ["api.fireworks.ai", "POST", "/inference/v1/chat/completions", "fireworks.chat_completions", "generate"],
    ["api.kimi.com", "POST", "/coding/v1/chat/completions", "moonshot.chat_completions", "generate"],
    ["api.z.ai", "POST", "/api/coding/paas/v4/chat/completions", "zai.chat_completions", "generate"],
    ["api.z.ai", "POST", "/api/anthropic/v1/messages", "zai.messages", "generate"],
    ["dashscope-intl.aliyuncs.com", "POST", "/compatible-mode/v1/chat/completions", "dashscope.chat_completions", "generate"],
    ["dashscope.aliyuncs.com", "POST", "/api/v1/services/aigc/multimodal-generation/generation", "dashscope.services", "generate"],
    ["api.githubcopilot.com", "POST", "/responses", "github-copilot.responses", "generate"],
    ["api.githubcopilot.com", "POST", "/v1/messages", "github-copilot.messages", "generate"],
    ["models.github.ai", "POST", "/orgs/acme/inference/chat/completions", "github-models.chat_completions", "generate"],
    ["api.cohere.com", "POST", "/v2/chat", "cohere.chat", "generate"],
    ["api.cohere.com", "POST", "/v1/chat", "cohere.chat", "generate"],
    ["api.cohere.com", "POST", "/v2/embed", "cohere.embed", "generate"],
    ["api.cohere.com", "POST", "/v2/rerank", "cohere.rerank", "generate"],
    ["api.cohere.com", "POST", "/v2/parse", "cohere.parse", "generate"],
    ["api.cohere.com", "POST", "/v1/tokenize", "cohere.tokenize", "free"],
    ["localhost:11434", "POST", "/api/chat", "ollama.chat", "generate"],
    ["localhost:11434", "POST", "/api/generate", "ollama.generate", "generate"],
    ["localhost:11434", "POST", "/api/embed", "ollama.embed", "generate"],
    ["localhost:11434", "POST", "/v1/chat/completions", "ollama.chat_completions", "generate"],
  ])("%s %s %s is %s: %s", (host, method, path, api, kind) => {
    const opened = open(hosts, host, method, path);
    expect([opened.api, kindOf(opened)]).toEqual([api, kind]);
  });
});

describe("a host that is bound by TALLYMAN_INTERCEPT_HOSTS", () => {
  const PATHS: Readonly<Record<string, readonly [method: string, path: string]>> = {
    anthropic: ["POST", "/gateway/v1/messages"],
    openai: ["POST", "/gateway/v1/chat/completions"],
    "azure-openai": ["POST", "/openai/deployments/d/chat/completions"],
    codex: ["POST", "/backend-api/codex/responses"],
    gemini: ["POST", "/gateway/v1beta/models/m:generateContent"],
    vertex: ["POST", `${PUBLISHERS}/google/models/m:generateContent`],
    bedrock: ["POST", "/gateway/model/m/converse"],
    cohere: ["POST", "/gateway/v2/chat"],
    ollama: ["POST", "/gateway/api/chat"],
  };

  it.each(handlers.filter(({ kind }) => kind === "model").map(({ id }) => id))("is read by %s, whatever its name, wildcard or port", (id) => {
    const [method, path] = PATHS[id] ?? ["POST", "/gateway/v1/chat/completions"];
    for (const [pattern, host] of [["llm.internal", "llm.internal"], ["*.gateway.internal", "eu.gateway.internal"], ["10.0.0.7:8000", "10.0.0.7:8000"]] as const) {
      const opened = open(hostTable(handlers, settings({ TALLYMAN_INTERCEPT_HOSTS: `${pattern}=${id}` })), host, method, path);
      expect([opened.meter, kindOf(opened)], host).toEqual([id, "generate"]);
    }
  });
});
