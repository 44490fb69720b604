import { describe, expect, it } from "vitest";
import { describeHandlerContract } from "../../support/handler-contract.ts";
import type { ResponseHead } from "../../../src/flow/flow.ts";
import type { ExchangeInfo, OpenedExchange, Reading } from "../../../src/usage/handler.ts";
import { gemini } from "../../../src/usage/providers/gemini.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";

describeHandlerContract("gemini", [gemini]);

function open(method: string, path: string, protocol: ExchangeInfo["protocol"] = "http"): OpenedExchange {
  const exchange = { host: "generativelanguage.googleapis.com", port: 443, protocol, method, path, query: "", headers: [] };
  return gemini.open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

function read(opened: OpenedExchange, head: Partial<ResponseHead>, ...chunks: readonly (string | Uint8Array)[]): readonly Reading[] {
  const reader = opened.reader!;
  reader.response({ status: 200, statusText: "OK", headers: ["content-type", "application/json"], ...head });
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return reader.end({ kind: "complete" });
}

const GENERATE = "/v1beta/models/gemini-3.8-flash:generateContent";
const STREAM = "/v1beta/models/gemini-3.8-flash:streamGenerateContent";

describe("paths of the Gemini API", () => {
  it.each([
    ["POST", GENERATE, "gemini.generate_content", "chat", true],
    ["POST", STREAM, "gemini.generate_content", "chat", true],
    ["POST", `${GENERATE}/`, "gemini.generate_content", "chat", true],
    ["POST", "/v1internal:streamGenerateContent", "gemini.generate_content", "chat", true],
    ["POST", "/v1beta/models/gemini-3.8-flash:countTokens", "gemini.count_tokens", "count_tokens", false],
    ["POST", "/v1beta/models/gemini-3.8-flash:computeTokens", "gemini.count_tokens", "count_tokens", false],
    ["POST", "/v1beta/models/gemini-embedding-001:embedContent", "gemini.embeddings", "embeddings", true],
    ["POST", "/v1beta/models/gemini-embedding-001:batchEmbedContents", "gemini.embeddings", "embeddings", true],
    ["POST", "/v1beta/models/imagen-4.0-generate-001:predict", "gemini.predict", "image", true],
    ["POST", "/v1beta/models/veo-3.1:predictLongRunning", "gemini.predict_long_running", "video", true],
    ["GET", "/v1beta/models/veo-3.1/operations/op1", "gemini.predict_long_running", "fetch", false],
    ["POST", "/v1beta/models/gemini-3.8-flash:batchGenerateContent", "gemini.batches", "batch", false],
    ["POST", "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent", "gemini.batches", "batch", false],
    ["GET", "/v1beta/batches/b1", "gemini.batches", "batch", false],
    ["POST", "/v1beta/batches/b1:cancel", "gemini.other", "other", false],
    ["POST", "/v1beta/cachedContents", "gemini.cached_contents", "cache_write", true],
    ["DELETE", "/v1beta/cachedContents/c1", "gemini.cached_contents", "other", false],
    ["POST", "/v1beta/interactions", "gemini.interactions", "chat", true],
    ["GET", "/v1beta/interactions/int_1", "gemini.interactions", "fetch", false],
    ["POST", "/v1beta/interactions/int_1/cancel", "gemini.interactions", "fetch", false],
    ["DELETE", "/v1beta/interactions/int_1", "gemini.other", "other", false],
    ["GET", "/v1beta/models", "gemini.models", "list_models", false],
    ["GET", "/v1beta/models/gemini-3.8-flash", "gemini.models", "list_models", false],
    ["POST", "/upload/v1beta/files", "gemini.files", "file", false],
    ["GET", "/download/v1beta/files/f1:download", "gemini.files", "file", false],
    ["GET", GENERATE, "gemini.other", "other", false],
    ["POST", "/v1internal:loadCodeAssist", "gemini.other", "other", false],
    ["POST", "/v1beta/models/gemini-3.8-flash:constructor", "gemini.other", "other", false],
    ["POST", "/v1beta/models/m:__proto__", "gemini.other", "other", false],
    ["POST", "/v1beta/openai/chat/completions", "gemini.chat_completions", "chat", true],
    ["POST", "/v1beta/openai/embeddings", "gemini.embeddings", "embeddings", true],
    ["GET", "/v1beta/openai/models", "gemini.models", "list_models", false],
    ["POST", "", "gemini.other", "other", false],
  ])("%s %s is %s", (method, path, api, operation, isBillable) => {
    expect(open(method, path)).toMatchObject({ api, operation, isBillable });
  });

  it("has no reader where nothing can cost", () => {
    for (const path of ["/v1beta/models/gemini-3.8-flash:countTokens", "/v1beta/files"]) expect(open("POST", path).reader).toBeUndefined();
    expect(open("GET", "/v1beta/models").reader).toBeUndefined();
  });

  it.each([
    ["/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "gemini.live", true],
    ["/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained", "gemini.live", true],
    ["/ws/google.ai.generativelanguage.v1beta.GenerativeService.Other", "gemini.other", false],
  ])("opens the socket %s without an HTTP reader", (path, api, isBillable) => {
    expect(open("GET", path, "websocket")).toMatchObject({ api, isBillable, reader: undefined });
  });

  it("does not hang on a path of slashes or colons", () => {
    expect(open("POST", `/v1beta${"/".repeat(60_000)}x`)).toMatchObject({ operation: "other" });
    expect(open("POST", `/v1beta/models/${":".repeat(60_000)}`)).toMatchObject({ operation: "other" });
  });
});

describe("a stream of Gemini", () => {
  const element = (text: string, tokens: number, finish?: string) => ({
    candidates: [{ content: { parts: [{ text }] }, ...(finish === undefined ? {} : { finishReason: finish }), index: 0 }],
    usageMetadata: { promptTokenCount: 3, candidatesTokenCount: tokens, totalTokenCount: 3 + tokens },
  });
  const array = JSON.stringify([element("a", 1), element("b", 4, "STOP")]);
  const usage = { input_tokens: 3, output_tokens: 4 };

  it.each([
    ["a byte order mark that is cut", [Uint8Array.of(0xef), Uint8Array.of(0xbb, 0xbf), array]],
    ["white space in a chunk of its own", [" \r\n", "\t", array]],
    ["nothing before it", [array]],
  ])("is read as an array with %s", (_, chunks) => {
    expect(read(open("POST", STREAM), {}, ...chunks)).toMatchObject([{ completeness: "complete", source: "provider", usage, streamed: true }]);
  });

  it("is not whole when something stands behind its array", () => {
    expect(read(open("POST", STREAM), {}, array, "{}")).toMatchObject([{ completeness: "partial", usage }]);
  });

  it("is whole without elements, and then nothing is known", () => {
    expect(read(open("POST", STREAM), {}, "[]")).toMatchObject([{ completeness: "complete", source: "estimate", usage: { output_tokens: 0 } }]);
  });

  it("counts an element whose image is larger than what is held", () => {
    const image = { inlineData: { mimeType: "image/png", data: "QUJD".repeat(500_000) } };
    const big = { candidates: [{ content: { parts: [image] }, finishReason: "STOP" }], usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 1290, candidatesTokensDetails: [{ modality: "IMAGE", tokenCount: 1290 }] } };
    expect(read(open("POST", STREAM), {}, JSON.stringify([element("a", 1), big]))).toMatchObject([{ source: "provider", usage: { input_tokens: 3, output_tokens: 0, output_image_tokens: 1290 } }]);
    expect(read(open("POST", GENERATE), {}, JSON.stringify(big))).toMatchObject([{ source: "provider", usage: { output_image_tokens: 1290 } }]);
  });

  it("is estimated by its size when it holds one huge text and no usage", () => {
    const body = JSON.stringify([{ candidates: [{ content: { parts: [{ text: "word ".repeat(200_000) }] }, finishReason: "STOP" }] }]);
    expect(read(open("POST", STREAM), {}, body)).toMatchObject([{ source: "estimate", usage: { output_tokens: Math.ceil(body.length / 4) } }]);
  });

  it("is bounded by the request's limit where it is estimated", () => {
    const opened = open("POST", GENERATE);
    opened.reader?.requestData?.(Buffer.from('{"generation_config":{"max_output_tokens":7,"candidate_count":2}}'));
    const body = JSON.stringify({ candidates: [{ content: { parts: [{ text: "word ".repeat(1000) }] }, finishReason: "STOP" }] });
    expect(read(opened, {}, body)).toMatchObject([{ source: "estimate", usage: { output_tokens: 14 } }]);
  });
});

describe("readings of Gemini", () => {
  it("hold no text of prompt, answer or search", () => {
    const opened = open("POST", GENERATE);
    opened.reader?.requestData?.(Buffer.from('{"contents":[{"parts":[{"text":"SECRET"}]}],"systemInstruction":{"parts":[{"text":"SECRET"}]}}'));
    const answer = { candidates: [{ content: { parts: [{ text: "SECRET" }] }, finishReason: "STOP", groundingMetadata: { webSearchQueries: ["SECRET"] } }] };
    expect(JSON.stringify(read(opened, {}, JSON.stringify(answer)))).not.toContain("SECRET");
  });

  it("are unmeasured when a page is the answer, and free when nothing is", () => {
    expect(read(open("POST", GENERATE), { headers: ["content-type", "text/html"] }, "<html>")).toMatchObject([{ kind: "unmeasured", reason: "unknown_framing" }]);
    expect(read(open("POST", GENERATE), { status: 204 })).toMatchObject([{ kind: "free", reason: "empty_body" }]);
  });
});

describe("interactions", () => {
  const event = (type: string, members: object): string => `data: ${JSON.stringify({ event_type: type, ...members })}\n\n`;
  const hop = (id: string, status: string, output: number): string =>
    event("interaction.created", { interaction: { id, status: "in_progress" } }) +
    event("interaction.completed", { interaction: { id, status, usage: { total_input_tokens: 10, total_output_tokens: output } } });

  it("are each counted when one stream holds several", () => {
    const body = hop("int_1", "requires_continuation", 1) + hop("int_2", "requires_continuation", 2) + hop("int_3", "completed", 3);
    const readings = read(open("POST", "/v1beta/interactions"), { headers: ["content-type", "text/event-stream"] }, body);
    expect(readings).toMatchObject([1, 2, 3].map((output) => ({ completeness: "complete", responseId: `int_${output}`, usage: { input_tokens: 10, output_tokens: output } })));
  });
});

describe("answers of a batch", () => {
  const exchange = { host: "generativelanguage.googleapis.com", port: 443, protocol: "http", method: "GET", path: "/download/v1beta/files/f1:download", query: "", headers: [] } as const;

  it("have rows of their own up to a bound, and the rest are summed up", () => {
    const jobs = createReplayJobs();
    const opened = gemini.open(exchange, { isEstimateAllowed: true, jobs });
    const line = '{"key":"k","response":{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1},"modelVersion":"m"}}\n';
    const readings = read(opened, { headers: [] }, ...Array.from({ length: 1003 }, () => line));
    expect(readings).toHaveLength(1001);
    expect(readings[0]).toMatchObject({ usage: { input_tokens: 10, output_tokens: 1 }, responseModel: "m" });
    expect(readings.at(-1)).toMatchObject({ usage: { input_tokens: 30, output_tokens: 3 } });
  });

  it("are not counted from a download that was cut off, and then from the whole one", () => {
    const jobs = createReplayJobs();
    const line = Buffer.from('{"response":{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1}}}\nnot json\n\n');
    for (const kind of ["client_aborted", "complete"] as const) {
      const reader = gemini.open(exchange, { isEstimateAllowed: true, jobs }).reader!;
      reader.response({ status: 200, statusText: "OK", headers: [] });
      for (const byte of line) reader.push(Uint8Array.of(byte));
      expect(reader.end({ kind })).toMatchObject([kind === "complete" ? { kind: "measured", usage: { input_tokens: 10 } } : { kind: "free" }]);
    }
  });
});

describe("the error body", () => {
  it("has the shape that Google's SDK raises from", () => {
    expect(gemini.errorBody?.({ status: 429, code: "budget_exhausted", message: "m" })).toMatchObject({
      error: { code: 429, message: "m", status: "RESOURCE_EXHAUSTED", details: [{ reason: "budget_exhausted" }] },
    });
    expect(gemini.errorBody?.({ status: 502, code: "upstream_tls", message: "m" })).toMatchObject({ error: { code: 502, status: "UNAVAILABLE" } });
    expect(gemini.errorBody?.({ status: 421, code: "authority_mismatch", message: "m" })).toMatchObject({ error: { status: "FAILED_PRECONDITION" } });
  });
});
