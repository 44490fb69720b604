import { describe, expect, it } from "vitest";

import { handlers } from "../../src/usage/providers/index.ts";
import type { Reading } from "../../src/usage/handler.ts";
import { createRecognition } from "../../src/usage/recognition.ts";
import { createReplayJobs } from "../../src/usage/replay.ts";

const recognize = createRecognition(handlers);

function readingsOf(path: string, body: string, contentType = "application/json"): readonly Reading[] {
  const handler = recognize({ protocol: "http", method: "POST", target: path })!;
  const { reader } = handler.open(
    { host: "llm.internal", port: 443, protocol: "http", method: "POST", path, query: "", headers: [] },
    { isEstimateAllowed: true, jobs: createReplayJobs() },
  );
  reader!.requestData?.(Buffer.from('{"model":"m","messages":[]}'));
  reader!.requestEnd?.();
  reader!.response({ status: 200, statusText: "OK", headers: ["content-type", contentType] });
  reader!.push(Buffer.from(body));
  return reader!.end({ kind: "complete" });
}

describe("a host that nobody has named is recognized by its path", () => {
  it.each([
    ["POST", "/v1/messages?beta=true", "anthropic"],
    ["POST", "/gateway/v1/chat/completions", "openai"],
    ["POST", "/chat/completions/", "openai"],
    ["POST", "/v1/responses", "openai"],
    ["POST", "/v1/embeddings", "openai"],
    ["POST", "/v1/audio/transcriptions", "openai"],
    ["POST", "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", "gemini"],
    ["POST", "/model/anthropic.claude-opus-5-5-v1%3A0/converse-stream", "bedrock"],
    ["POST", "/v2/chat", "cohere"],
    ["POST", "/api/chat", "ollama"],
  ])("%s %s as %s", (method, target, id) => expect(recognize({ protocol: "http", method, target })?.id).toBe(id));

  it.each([
    ["/v1/responses", "openai"],
    ["/v1/realtime?model=gpt-realtime", "openai"],
    ["/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "gemini"],
  ])("the socket %s as %s", (target, id) => expect(recognize({ protocol: "websocket", method: "GET", target })?.id).toBe(id));

  it.each([
    ["GET", "/v1/messages"],
    ["GET", "/v1/chat/completions"],
    ["POST", "/v1/messages/count_tokens"],
    ["POST", "/surveys/1/responses"],
    ["POST", "/embeddings"],
    ["POST", "/model/1/train"],
    ["POST", `/${"/".repeat(60_000)}x`],
  ])("and %s %s is nobody's", (method, target) => expect(recognize({ protocol: "http", method, target })).toBeUndefined());
});

describe("an answer of such a host", () => {
  it("counts when it reports usage", () => {
    expect(readingsOf("/v1/chat/completions", '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}')).toMatchObject([
      { kind: "measured", source: "provider", usage: { input_tokens: 3, output_tokens: 4 } },
    ]);
  });

  it("counts when it names its model", () => {
    expect(readingsOf("/v1/chat/completions", 'data: {"model":"m","choices":[{"delta":{"content":"hello"}}]}\n\ndata: [DONE]\n\n', "text/event-stream")).toMatchObject([
      { kind: "measured", source: "estimate", responseModel: "m" },
    ]);
  });

  it("is free where it does neither: the path was another API's", () => {
    expect(readingsOf("/v1/messages", '{"sid":"SM1","status":"queued"}')).toEqual([{ kind: "free", reason: "not_recognized" }]);
    expect(readingsOf("/api/chat", "<html>", "text/html")).toEqual([{ kind: "free", reason: "not_recognized" }]);
  });
});
