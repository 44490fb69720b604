import { describe, expect, it } from "vitest";
import { promptTextOf } from "../../../src/usage/estimate/prompt-text.ts";

const textsOf = (document: unknown): readonly string[] => promptTextOf(document).texts.toSorted();

describe("the text of a request", () => {
  it("of OpenAI chat is its messages, tool calls and tools", () => {
    const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
    const document = {
      model: "gpt-4o",
      stream: true,
      user: "u-1",
      metadata: { text: "not this" },
      messages: [
        { role: "system", content: "be brief" },
        { role: "user", name: "ann", content: [{ type: "text", text: "what is it" }, { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] },
        { role: "assistant", content: null, tool_calls: [{ id: "call_1", type: "function", function: { name: "look", arguments: '{"at":1}' } }] },
        { role: "tool", tool_call_id: "call_1", content: "a cat" },
      ],
      tools,
      response_format: { type: "json_schema", json_schema: { schema: { text: "not this" } } },
    };
    expect(textsOf(document)).toEqual(["be brief", "what is it", '{"at":1}', "a cat", JSON.stringify(tools)].toSorted());
    expect(promptTextOf(document)).toMatchObject({ messages: 4, tokenIds: 0 });
  });

  it("of OpenAI Responses is its instructions, and its input as text or as items", () => {
    expect(promptTextOf({ model: "gpt-5", instructions: "be brief", input: "hello", text: { format: { type: "text" } } })).toEqual({
      texts: expect.arrayContaining(["be brief", "hello"]),
      tokenIds: 0,
      messages: 0,
    });
    const input = [
      { type: "message", role: "user", content: [{ type: "input_text", text: "hello" }] },
      { type: "reasoning", summary: [{ type: "summary_text", text: "thinking" }], encrypted_content: "AAAA" },
      { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: "done" },
    ];
    expect(textsOf({ model: "gpt-5", input })).toEqual(["hello", "thinking", "{}", "done"].toSorted());
    expect(promptTextOf({ input }).messages).toBe(4);
    expect(textsOf({ type: "response.create", response: { instructions: "speak", input: [{ role: "user", content: "hello" }] } })).toEqual(["hello", "speak"]);
  });

  it("of Anthropic is its system, content blocks, tool inputs and tools", () => {
    const document = {
      model: "claude-opus-5-5",
      system: [{ type: "text", text: "be brief", cache_control: { type: "ephemeral" } }],
      messages: [
        { role: "user", content: "hello" },
        { role: "assistant", content: [{ type: "thinking", thinking: "hm", signature: "AAAA" }, { type: "tool_use", id: "t", name: "f", input: { path: "/tmp", text: "x" } }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: [{ type: "text", text: "done" }] }] },
        { role: "user", content: [{ type: "document", title: "notes", source: { type: "text", media_type: "text/plain", data: "plain" } }] },
        { role: "user", content: [{ type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } }] },
      ],
    };
    expect(textsOf(document)).toEqual(["be brief", "hello", "hm", '{"path":"/tmp","text":"x"}', "done", "notes", "plain"].toSorted());
  });

  it("of Gemini, Bedrock, Ollama and Cohere is found by the same names", () => {
    expect(
      textsOf({
        systemInstruction: { parts: [{ text: "be brief" }] },
        contents: [
          { role: "user", parts: [{ text: "hello" }, { inlineData: { mimeType: "image/png", data: "AAAA" } }] },
          { role: "model", parts: [{ functionCall: { name: "f", args: { a: 1 } } }] },
          { role: "user", parts: [{ functionResponse: { name: "f", response: { b: 2 } } }] },
        ],
      }),
    ).toEqual(["be brief", "hello", '{"a":1}', '{"name":"f","response":{"b":2}}'].toSorted());
    expect(
      textsOf({
        system: [{ text: "be brief" }],
        messages: [{ role: "user", content: [{ text: "hello" }, { toolResult: { toolUseId: "t", content: [{ json: { b: 2 } }] } }] }],
        toolConfig: { tools: [] },
      }),
    ).toEqual(["be brief", "hello", '{"b":2}', '{"tools":[]}'].toSorted());
    expect(textsOf({ model: "llama3", prompt: "hello", system: "be brief", images: ["AAAA"] })).toEqual(["be brief", "hello"]);
    expect(textsOf({ message: "hello", chat_history: [{ role: "USER", message: "before" }], documents: [{ title: "t", snippet: "s" }] })).toEqual(["before", "hello", "s", "t"]);
    expect(textsOf({ model: "qwen-max", input: { messages: [{ role: "user", content: "hello" }] }, parameters: {} })).toEqual(["hello"]);
  });

  it("of embeddings is a text, texts, or tokens", () => {
    expect(textsOf({ input: "one" })).toEqual(["one"]);
    expect(textsOf({ input: ["one", "two"], encoding_format: "float" })).toEqual(["one", "two"]);
    expect(promptTextOf({ input: [[1, 2, 3], [4]] })).toEqual({ texts: [], tokenIds: 4, messages: 0 });
    expect(promptTextOf({ prompt: [1, 2], max_tokens: 7 })).toEqual({ texts: [], tokenIds: 2, messages: 0 });
  });

  it.each([[null], [[]], [{}], [7], ["text"], [{ messages: null }]])("of %j is nothing", (document) => {
    expect(promptTextOf(document)).toEqual({ texts: [], tokenIds: 0, messages: 0 });
  });

  it("is found at any depth", () => {
    const levels = 100_000;
    const document: unknown = JSON.parse(`${'{"content":['.repeat(levels)}"deep"${"]}".repeat(levels)}`);
    expect(textsOf(document)).toEqual(["deep"]);
  });
});
