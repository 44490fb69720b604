import { describe, expect, it } from "vitest";
import { describeHandlerContract } from "../../support/handler-contract.ts";
import { createHostTable } from "../../../src/flow/route.ts";
import type { ExchangeInfo, OpenedExchange } from "../../../src/usage/handler.ts";
import { vertex } from "../../../src/usage/providers/vertex.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";

describeHandlerContract("vertex", [vertex]);

const PROJECT = "/v1/projects/p/locations/us-east5";

function open(method: string, path: string, protocol: ExchangeInfo["protocol"] = "http"): OpenedExchange {
  const exchange = { host: "us-east5-aiplatform.googleapis.com", port: 443, protocol, method, path, query: "", headers: [] };
  return vertex.open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

describe("hosts of Vertex AI", () => {
  const table = createHostTable(vertex.hosts.map((host) => [host, vertex] as const));

  it.each(["aiplatform.googleapis.com", "us-east5-aiplatform.googleapis.com", "europe-west12-aiplatform.googleapis.com", "aiplatform.us.rep.googleapis.com", "aiplatform.eu.rep.googleapis.com"])("are %s", (host) => {
    expect(table.lookup(host, 443)).toBe(vertex);
  });

  it.each(["storage.googleapis.com", "googleapis.com", "us-east5-aiplatform.googleapis.com.example.com", "aiplatform.europe.googleapis.com", "-aiplatform.googleapis.com", "storage.us.rep.googleapis.com"])("are not %s", (host) => {
    expect(table.lookup(host, 443)).toBeUndefined();
  });

  it("are named once each", () => {
    expect(new Set(vertex.hosts).size).toBe(vertex.hosts.length);
  });
});

describe("paths of Vertex AI", () => {
  it.each([
    ["POST", `${PROJECT}/publishers/google/models/gemini-3.8-flash:generateContent`, "vertex.generate_content", "chat", true],
    ["POST", `${PROJECT}/endpoints/123:streamGenerateContent`, "vertex.generate_content", "chat", true],
    ["POST", `${PROJECT}/publishers/anthropic/models/claude-opus-5-5@default:rawPredict`, "vertex.messages", "chat", true],
    ["POST", `${PROJECT}/publishers/anthropic/models/claude-opus-5-5:streamRawPredict`, "vertex.messages", "chat", true],
    ["POST", `${PROJECT}/publishers/anthropic/models/count-tokens:rawPredict`, "vertex.messages", "count_tokens", false],
    ["GET", `${PROJECT}/publishers/anthropic/models/claude-opus-5-5:rawPredict`, "vertex.other", "other", false],
    ["POST", `${PROJECT}/publishers/mistralai/models/codestral:streamRawPredict`, "vertex.chat_completions", "chat", true],
    ["POST", `${PROJECT}/publishers/ai21/models/jamba:rawPredict`, "vertex.raw_predict", "other", true],
    ["POST", `${PROJECT}/endpoints/123:rawPredict`, "vertex.raw_predict", "other", false],
    ["POST", `${PROJECT}/endpoints/123:predict`, "vertex.predict", "other", false],
    ["POST", `${PROJECT}/endpoints/openapi/chat/completions`, "vertex.chat_completions", "chat", true],
    ["POST", `${PROJECT}/endpoints/123/chat/completions`, "vertex.chat_completions", "chat", true],
    ["POST", `${PROJECT}/publishers/openai/v1/responses`, "vertex.responses", "chat", true],
    ["POST", `${PROJECT}/publishers/google/models/text-embedding-005:predict`, "vertex.embeddings", "embeddings", true],
    ["POST", `${PROJECT}/publishers/google/models/imagen-4.0-generate-001:predict`, "vertex.predict", "image", true],
    ["POST", `${PROJECT}/publishers/google/models/veo-3.0-generate-001:fetchPredictOperation`, "vertex.predict_long_running", "fetch", false],
    ["POST", `${PROJECT}/batchPredictionJobs`, "vertex.batches", "batch", false],
    ["GET", `${PROJECT}/publishers/google/models`, "vertex.models", "list_models", false],
    ["POST", `${PROJECT}/reasoningEngines/1:query`, "vertex.other", "other", false],
  ])("%s %s is %s", (method, path, api, operation, isBillable) => {
    expect(open(method, path)).toMatchObject({ api, operation, isBillable });
  });

  it("opens Live without an HTTP reader", () => {
    expect(open("GET", "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", "websocket")).toMatchObject({ api: "vertex.live", operation: "realtime", isBillable: true, reader: undefined });
  });
});
