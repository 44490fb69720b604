import OpenAI, { InternalServerError, NotFoundError, RateLimitError } from "openai";
import { Agent, fetch as undiciFetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSimulatedOpenAi } from "../../src/demo/simulated-openai.ts";
import type { SimulatedServer } from "../../src/demo/simulated-server.ts";
import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";

let server: SimulatedServer;
let agent: Agent;
let client: OpenAI;

beforeAll(async () => {
  const tls = await createSimulatedTls();
  server = await startSimulatedOpenAi({ tls });
  agent = new Agent({ connect: { ca: tls.ca } });
  client = new OpenAI({
    apiKey: "sk-sim",
    baseURL: `${server.url}/v1`,
    maxRetries: 0,
    fetch: undiciFetch as unknown as typeof fetch,
    fetchOptions: { dispatcher: agent } as never,
  });
});

afterAll(async () => {
  await agent.close();
  await server.close();
});

const MESSAGES = [{ role: "user" as const, content: "Hello, world" }];

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe("a simulated OpenAI, called by the official SDK: chat completions", () => {
  it("answers a whole completion with usage", async () => {
    const completion = await client.chat.completions.create({ model: "gpt-5.4", messages: MESSAGES, reasoning_effort: "low" });
    expect(completion.choices[0]?.message.content).toBe("piece00 piece01 piece02 piece03 piece04 ");
    expect(completion.usage).toMatchObject({
      prompt_tokens: 3,
      completion_tokens: 74,
      total_tokens: 77,
      completion_tokens_details: { reasoning_tokens: 64 },
    });
  });

  it("caches what the system says", async () => {
    const messages = [{ role: "system" as const, content: "s".repeat(400) }, ...MESSAGES];
    const details = async () => (await client.chat.completions.create({ model: "gpt-5.6-terra", messages })).usage;
    expect(await details()).toMatchObject({ prompt_tokens: 103, prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 100 } });
    expect(await details()).toMatchObject({ prompt_tokens: 103, prompt_tokens_details: { cached_tokens: 100, cache_write_tokens: 0 } });
  });

  it("streams without usage unless it was asked for", async () => {
    const chunks = await collect(await client.chat.completions.create({ model: "gpt-5.4#events=3", messages: MESSAGES, stream: true }));
    expect(chunks).toHaveLength(5);
    expect(chunks.some((chunk) => "usage" in chunk)).toBe(false);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("piece00 piece01 piece02 ");
  });

  it("sends usage in one more chunk before the end when it was asked for", async () => {
    const options = { stream: true as const, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create({ model: "gpt-5.4#events=3", messages: MESSAGES, ...options }));
    expect(chunks).toHaveLength(6);
    expect(chunks.slice(0, 5).every(({ usage }) => usage === null)).toBe(true);
    expect(chunks[5]).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 6, total_tokens: 9 } });
    expect(server.exchanges.at(-1)?.responseBody.toString().endsWith("data: [DONE]\n\n")).toBe(true);
  });

  it("sends an error inside the stream", async () => {
    const stream = await client.chat.completions.create({ model: "gpt-5.4#error=2", messages: MESSAGES, stream: true });
    await expect(collect(stream)).rejects.toThrow("simulated failure");
  });

  it.each([
    [429, RateLimitError, "rate_limit_exceeded"],
    [500, InternalServerError, null],
  ])("raises the SDK's own error for status %d", async (status, errorClass, code) => {
    const failure = client.chat.completions.create({ model: `gpt-5.4#status=${status}`, messages: MESSAGES });
    await expect(failure).rejects.toBeInstanceOf(errorClass);
    await expect(failure).rejects.toMatchObject({ status, code });
  });

  it("takes its behaviour from a header before the model name", async () => {
    const completion = await client.chat.completions.create(
      { model: "gpt-5.4#events=9", messages: MESSAGES },
      { headers: { "x-simulate": "events=1; tier=flex" } },
    );
    expect(completion).toMatchObject({ model: "gpt-5.4", service_tier: "flex", usage: { completion_tokens: 2 } });
  });
});

describe("a simulated OpenAI, called by the official SDK: responses", () => {
  it("answers a whole response with usage", async () => {
    const response = await client.responses.create({ model: "gpt-6-sol", instructions: "i".repeat(40), input: "Hello, world", reasoning: { effort: "low" } });
    expect(response.output_text).toBe("piece00 piece01 piece02 piece03 piece04 ");
    expect(response).toMatchObject({
      status: "completed",
      service_tier: "default",
      usage: {
        input_tokens: 13,
        input_tokens_details: { cached_tokens: 0, cache_write_tokens: 10, cache_write_tokens_details: { ttl_30m_tokens: 10 } },
        output_tokens: 74,
        output_tokens_details: { reasoning_tokens: 64 },
        total_tokens: 87,
      },
    });
  });

  it("streams lifecycle events with usage in the last one only", async () => {
    const events = await collect(await client.responses.create({ model: "gpt-6-sol#events=2", input: "Hello, world", stream: true }));
    expect(events.map(({ type }) => type)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
    expect(events[0]).toMatchObject({ response: { status: "in_progress", usage: null, service_tier: "auto" } });
    expect(events.at(-1)).toMatchObject({ response: { status: "completed", usage: { input_tokens: 3, output_tokens: 4 } } });
  });

  it("finishes a background response after the polls that were asked for, and repeats its usage after that", async () => {
    const created = await client.responses.create({ model: "gpt-6-sol#polls=2", input: "Hello, world", background: true });
    expect(created).toMatchObject({ status: "queued", usage: null });
    const statuses: (string | undefined)[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await client.responses.retrieve(created.id)).status);
    expect(statuses).toEqual(["in_progress", "in_progress", "completed", "completed"]);
    expect((await client.responses.retrieve(created.id)).usage).toMatchObject({ total_tokens: 13 });
  });

  it("cancels a background response", async () => {
    const created = await client.responses.create({ model: "gpt-6-sol#polls=9", input: "Hello, world", background: true });
    expect(await client.responses.cancel(created.id)).toMatchObject({ status: "cancelled", usage: null });
    expect((await client.responses.retrieve(created.id)).status).toBe("cancelled");
  });

  it("does not keep what is not to be stored", async () => {
    const response = await client.responses.create({ model: "gpt-6-sol", input: "Hello, world", store: false });
    await expect(client.responses.retrieve(response.id)).rejects.toBeInstanceOf(NotFoundError);
  });

  it("counts input and lists models", async () => {
    expect(await client.responses.inputTokens.count({ model: "gpt-6-sol", input: "Hello, world" })).toMatchObject({ input_tokens: 3 });
    expect((await client.models.list()).data.map(({ id }) => id)).toContain("gpt-6-sol");
  });
});
