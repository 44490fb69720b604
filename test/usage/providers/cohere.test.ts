import { describe, expect, it } from "vitest";
import type { ExchangeInfo, OpenedExchange, Reading } from "../../../src/usage/handler.ts";
import { cohere } from "../../../src/usage/providers/cohere.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";
import { describeHandlerContract } from "../../support/handler-contract.ts";
import { describeLineContract } from "../../support/line-contract.ts";

describeHandlerContract("cohere", [cohere]);
describeLineContract("cohere", [cohere], '{"is_finished":true,"event_type":"stream-end","finish_reason":"ERROR"}');

function open(method: string, path: string, protocol: ExchangeInfo["protocol"] = "http"): OpenedExchange {
  const exchange = { host: "api.cohere.com", port: 443, protocol, method, path, query: "", headers: [] };
  return cohere.open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

function read(path: string, type: string, body: string): readonly Reading[] {
  const reader = open("POST", path).reader!;
  reader.response({ status: 200, statusText: "OK", headers: ["content-type", type] });
  reader.push(Buffer.from(body));
  return reader.end({ kind: "complete" });
}

describe("an exchange with Cohere is told by method and path", () => {
  it.each([
    ["POST", "/v2/chat", "cohere.chat", "chat", true],
    ["POST", "/v1/chat/", "cohere.chat", "chat", true],
    ["GET", "/v2/chat", "cohere.other", "other", false],
    ["POST", "/v1/embed", "cohere.embed", "embeddings", true],
    ["POST", "/gateway/v2/embed", "cohere.embed", "embeddings", true],
    ["POST", "/v2/rerank", "cohere.rerank", "rerank", true],
    ["POST", "/v2/parse", "cohere.parse", "parse", true],
    ["POST", "/v1/classify", "cohere.classify", "classification", true],
    ["POST", "/v1/generate", "cohere.generate", "completion", true],
    ["POST", "/v1/summarize", "cohere.summarize", "completion", true],
    ["POST", "/v2/audio/transcriptions", "cohere.audio", "transcription", true],
    ["POST", "/v1/tokenize", "cohere.tokenize", "count_tokens", false],
    ["POST", "/v1/detokenize", "cohere.tokenize", "count_tokens", false],
    ["GET", "/v1/models", "cohere.models", "list_models", false],
    ["GET", "/v1/models/command-a-03-2025", "cohere.models", "list_models", false],
    ["POST", "/v2/batches", "cohere.batches", "batch", false],
    ["GET", "/v2/batches/b1", "cohere.batches", "batch", false],
    ["POST", "/v1/embed-jobs/j1/cancel", "cohere.batches", "batch", false],
    ["GET", "/v1/datasets/usage", "cohere.other", "other", false],
    ["POST", "/compatibility/v1/chat/completions", "cohere.chat_completions", "chat", true],
    ["POST", "/compatibility/v1/embeddings", "cohere.embeddings", "embeddings", true],
    ["GET", "/compatibility/v1/models", "cohere.models", "list_models", false],
  ])("%s %s is %s", (method, path, api, operation, isBillable) => {
    const opened = open(method, path);
    expect(opened).toMatchObject({ api, operation, isBillable });
    expect(opened.reader !== undefined).toBe(isBillable);
  });

  it("has no sockets, and does not hang on a path of slashes", () => {
    expect(open("GET", "/v2/chat", "websocket")).toMatchObject({ isBillable: false, reader: undefined });
    expect(open("POST", `/v2${"/".repeat(60_000)}x`)).toMatchObject({ operation: "other" });
  });
});

describe("an answer of Cohere", () => {
  it("gives the usage that stands behind megabytes of embeddings", () => {
    const body = `{"id":"e","embeddings":{"float":[[${"0.12345,".repeat(500_000)}0]]},"meta":{"billed_units":{"input_tokens":8}}}`;
    expect(read("/v2/embed", "application/json", body)).toMatchObject([{ completeness: "complete", source: "provider", usage: { input_tokens: 8 } }]);
  });

  it("gives the usage of a last line that is too long to be held", () => {
    const response = { text: "x".repeat(2_000_000), generation_id: "g", meta: { billed_units: { input_tokens: 7, output_tokens: 3 } } };
    const body = `{"event_type":"stream-start","generation_id":"g"}\n${JSON.stringify({ is_finished: true, event_type: "stream-end", response })}\n`;
    expect(read("/v1/chat", "application/stream+json", body)).toMatchObject([{ completeness: "complete", source: "provider", usage: { input_tokens: 7, output_tokens: 3 } }]);
  });

  it("leaves no text of prompt or answer in its readings", () => {
    const reader = open("POST", "/v2/chat").reader!;
    reader.requestData?.(Buffer.from('{"model":"m","messages":[{"role":"user","content":"SECRET"}]}'));
    reader.response({ status: 200, statusText: "OK", headers: ["content-type", "text/event-stream"] });
    reader.push(Buffer.from('event: content-delta\ndata: {"type":"content-delta","delta":{"message":{"content":{"text":"SECRET"}}}}\n\n'));
    expect(JSON.stringify(reader.end({ kind: "client_aborted" }))).not.toContain("SECRET");
  });
});

describe("an error of the proxy", () => {
  it("has the message where Cohere's clients look for it", () => {
    expect(cohere.errorBody?.({ status: 429, code: "budget_exhausted", message: "m" })).toEqual({ message: "m" });
  });
});
