import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { ExchangeInfo, OpenedExchange, Reading } from "../../../src/usage/handler.ts";
import { ollama } from "../../../src/usage/providers/ollama.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";
import { createHostTable } from "../../../src/flow/route.ts";
import { describeHandlerContract } from "../../support/handler-contract.ts";
import { describeLineContract } from "../../support/line-contract.ts";

describeHandlerContract("ollama", [ollama]);
describeLineContract("ollama", [ollama], '{"error":"an error was encountered while running the model"}');

function open(method: string, path: string, protocol: ExchangeInfo["protocol"] = "http"): OpenedExchange {
  const exchange = { host: "localhost", port: 11434, protocol, method, path, query: "", headers: [] };
  return ollama.open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

function read(path: string, type: string, ...chunks: readonly (string | Uint8Array)[]): readonly Reading[] {
  const reader = open("POST", path).reader!;
  reader.response({ status: 200, statusText: "OK", headers: ["Content-Type", type] });
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return reader.end({ kind: "complete" });
}

const DONE = { model: "m", done: true, done_reason: "stop", prompt_eval_count: 26, eval_count: 298 };
const MEASURED = [{ kind: "measured", completeness: "complete", source: "provider", usage: { input_tokens: 26, output_tokens: 298 } }];

describe("Ollama's hosts", () => {
  const table = createHostTable(ollama.hosts.map((host) => [host, true] as const));

  it.each([
    ["localhost", 11434],
    ["127.0.0.1", 11434],
    ["::1", 11434],
    ["host.docker.internal", 11434],
    ["ollama.com", 443],
  ])("are %s:%i", (host, port) => expect(table.lookup(host, port)).toBe(true));

  it("are no other ports of this machine", () => {
    for (const port of [80, 443, 8080]) expect(table.lookup("localhost", port)).toBeUndefined();
  });
});

describe("an exchange with Ollama is told by method and path", () => {
  it.each([
    ["POST", "/api/chat", "ollama.chat", "chat", true],
    ["POST", "/proxy/api/chat/", "ollama.chat", "chat", true],
    ["GET", "/api/chat", "ollama.other", "other", false],
    ["POST", "/api/generate", "ollama.generate", "completion", true],
    ["POST", "/api/embed", "ollama.embed", "embeddings", true],
    ["POST", "/api/embeddings", "ollama.embed", "embeddings", true],
    ["POST", "/api/web_search", "ollama.web_search", "web_search", true],
    ["POST", "/api/web_fetch", "ollama.web_fetch", "web_fetch", true],
    ["POST", "/v1/systemone", "ollama.systemone", "decision", true],
    ["POST", "/v1/chat/completions", "ollama.chat_completions", "chat", true],
    ["POST", "/v1/responses", "ollama.responses", "chat", true],
    ["POST", "/v1/messages", "ollama.messages", "chat", true],
    ["POST", "/v1/embeddings", "ollama.embeddings", "embeddings", true],
    ["GET", "/v1/models", "ollama.models", "list_models", false],
    ["GET", "/api/tags", "ollama.models", "list_models", false],
    ["GET", "/api/ps", "ollama.models", "list_models", false],
    ["GET", "/api/version", "ollama.other", "other", false],
    ["POST", "/api/show", "ollama.other", "other", false],
    ["POST", "/api/pull", "ollama.other", "other", false],
    ["POST", "/api/push", "ollama.other", "other", false],
    ["POST", "/api/create", "ollama.other", "other", false],
    ["HEAD", "/api/blobs/sha256:0", "ollama.other", "other", false],
    ["DELETE", "/api/delete", "ollama.other", "other", false],
    ["GET", "/", "ollama.other", "other", false],
  ])("%s %s is %s", (method, path, api, operation, isBillable) => {
    const opened = open(method, path);
    expect(opened).toMatchObject({ api, operation, isBillable });
    expect(opened.reader !== undefined).toBe(isBillable);
  });
});

describe("an answer of Ollama", () => {
  it.each(["application/x-ndjson", "application/x-ndjson; charset=utf-8", "application/octet-stream", "text/plain", ""])("is read as lines when its type is '%s'", (type) => {
    const body = `{"model":"m","message":{"content":"x"},"done":false}\n${JSON.stringify(DONE)}\n`;
    expect(read("/api/chat", type, body)).toMatchObject([{ ...MEASURED[0], streamed: true }]);
  });

  it("is read as one document when its type says so, also on many lines", () => {
    expect(read("/api/chat", "application/json", JSON.stringify(DONE, undefined, 2))).toMatchObject([{ ...MEASURED[0], streamed: false }]);
  });

  it("gives its counts when its last line is larger than any that is held", () => {
    const last = JSON.stringify({ ...DONE, context: Array.from({ length: 400_000 }, (_token, index) => index) });
    const body = Buffer.from(`{"model":"m","response":"x","done":false}\n${last}\n`);
    const chunks = Array.from({ length: Math.ceil(body.length / 65_536) }, (_chunk, index) => body.subarray(index * 65_536, (index + 1) * 65_536));
    expect(body.length).toBeGreaterThan(2 * 1024 * 1024);
    expect(read("/api/generate", "application/x-ndjson", ...chunks)).toMatchObject(MEASURED);
    expect(read("/api/generate", "application/x-ndjson", body)).toMatchObject(MEASURED);
  });

  it("counts an image of any size as one", () => {
    const image = JSON.stringify({ model: "m", image: "A".repeat(3_000_000), done: true });
    const body = `{"model":"m","done":false,"completed":1,"total":4}\n${image}\n`;
    expect(read("/api/generate", "application/x-ndjson", body)).toMatchObject([{ completeness: "complete", source: "provider", usage: { images_out: 1 } }]);
  });

  it("gives the count of embeddings that stands behind megabytes of numbers", () => {
    const body = `{"model":"m","embeddings":[[${"0.12345,".repeat(500_000)}0]],"prompt_eval_count":8}`;
    expect(read("/api/embed", "application/json", body)).toMatchObject([{ completeness: "complete", usage: { input_tokens: 8 }, streamed: false }]);
  });

  it("is not read when it is still compressed, and is unmeasured", () => {
    expect(read("/api/chat", "application/x-ndjson", gzipSync(JSON.stringify(DONE)))).toMatchObject([{ kind: "unmeasured", reason: "unknown_framing" }]);
  });

  it("leaves no text of prompt or answer in its readings", () => {
    const reader = open("POST", "/api/chat").reader!;
    reader.requestData?.(Buffer.from('{"model":"m","messages":[{"role":"user","content":"SECRET"}]}'));
    reader.response({ status: 200, statusText: "OK", headers: ["content-type", "application/x-ndjson"] });
    reader.push(Buffer.from('{"model":"m","message":{"content":"SECRET","thinking":"SECRET"},"done":false}\n'));
    expect(JSON.stringify(reader.end({ kind: "client_aborted" }))).not.toContain("SECRET");
  });
});
