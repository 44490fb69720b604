import Anthropic, { InternalServerError, RateLimitError } from "@anthropic-ai/sdk";
import { Agent, fetch as undiciFetch, request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSimulatedAnthropic } from "../../src/demo/simulated-anthropic.ts";
import type { SimulatedExchange, SimulatedServer } from "../../src/demo/simulated-server.ts";
import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import { until } from "../support/until.ts";

let server: SimulatedServer;
let agent: Agent;
let client: Anthropic;

beforeAll(async () => {
  const tls = await createSimulatedTls();
  server = await startSimulatedAnthropic({ tls });
  agent = new Agent({ connect: { ca: tls.ca } });
  client = new Anthropic({
    apiKey: "sk-sim",
    baseURL: server.url,
    maxRetries: 0,
    fetch: undiciFetch as unknown as typeof fetch,
    fetchOptions: { dispatcher: agent } as never,
  });
});

afterAll(async () => {
  await agent.close();
  await server.close();
});

/** The last exchange; there is one as soon as a call was answered. */
function lastExchange(): SimulatedExchange {
  const exchange = server.exchanges.at(-1);
  if (exchange === undefined) throw new Error("no exchange");
  return exchange;
}

const HELLO = { max_tokens: 100, messages: [{ role: "user" as const, content: "Hello, world" }] };

describe("a simulated Anthropic, called by the official SDK", () => {
  it("answers a whole message under its dated name", async () => {
    const { data, response, request_id: requestId } = await client.messages
      .create({ ...HELLO, model: "claude-haiku-4-5" })
      .withResponse();
    expect(data.model).toBe("claude-haiku-4-5-20251001");
    expect(data.content).toEqual([{ type: "text", text: "piece00 piece01 piece02 piece03 piece04 " }]);
    expect(data.usage).toMatchObject({ input_tokens: 3, cache_read_input_tokens: 0, output_tokens: 10, service_tier: "standard" });
    expect(requestId).toMatch(/^req_sim_/);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(JSON.parse(lastExchange().responseBody.toString())).toEqual(JSON.parse(JSON.stringify(data)));
  });

  it("streams the events of the wire in order and ends in the same message", async () => {
    const stream = client.messages.stream({ ...HELLO, model: "claude-opus-5-5#events=2", thinking: { type: "adaptive" } });
    const types: string[] = [];
    stream.on("streamEvent", (event) => types.push(event.type));
    const message = await stream.finalMessage();
    expect(types).toEqual([
      "message_start",
      "content_block_start",
      "content_block_delta",
      "content_block_delta",
      "content_block_stop",
      "content_block_start",
      "content_block_delta",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    expect(message.content).toMatchObject([{ type: "thinking" }, { type: "text", text: "piece00 piece01 " }]);
    expect(message.usage).toMatchObject({ input_tokens: 3, output_tokens: 68, output_tokens_details: { thinking_tokens: 64 } });
    expect(lastExchange().responseBody.toString()).toContain('event: ping\ndata: {"type":"ping"}\n\n');
  });

  it("writes a cached text once, by its lifetime, and reads it after that", async () => {
    const cached = (ttl: "5m" | "1h") => ({
      ...HELLO,
      model: "claude-opus-5-5",
      system: [{ type: "text" as const, text: `${ttl} ${"x".repeat(397)}`, cache_control: { type: "ephemeral" as const, ttl } }],
    });
    for (const ttl of ["5m", "1h"] as const) {
      const first = await client.messages.create(cached(ttl));
      expect(first.usage.cache_creation).toEqual({
        ephemeral_5m_input_tokens: ttl === "5m" ? 100 : 0,
        ephemeral_1h_input_tokens: ttl === "1h" ? 100 : 0,
      });
      expect(first.usage).toMatchObject({ input_tokens: 3, cache_creation_input_tokens: 100, cache_read_input_tokens: 0 });
      const second = await client.messages.create(cached(ttl));
      expect(second.usage).toMatchObject({ input_tokens: 3, cache_creation_input_tokens: 0, cache_read_input_tokens: 100 });
    }
  });

  it("counts tokens and lists models", async () => {
    expect(await client.messages.countTokens({ model: "claude-opus-5-5", messages: HELLO.messages })).toEqual({ input_tokens: 3 });
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toContain("claude-sonnet-4-5-20250929");
  });

  it.each([
    [429, RateLimitError, "rate_limit_error"],
    [500, InternalServerError, "api_error"],
    [529, InternalServerError, "overloaded_error"],
  ])("raises the SDK's own error for status %d", async (status, errorClass, type) => {
    const failure = client.messages.create({ ...HELLO, model: `claude-opus-5-5#status=${status}` });
    await expect(failure).rejects.toBeInstanceOf(errorClass);
    await expect(failure).rejects.toMatchObject({ status, error: { type: "error", error: { type } } });
  });

  it("refuses a call without a key, without a model, and with a directive that it does not know", async () => {
    const post = async (headers: Record<string, string>, body: unknown) => {
      const answer = await request(`${server.url}/v1/messages`, { dispatcher: agent, method: "POST", headers, body: JSON.stringify(body) });
      await answer.body.dump();
      return answer.statusCode;
    };
    expect(await post({}, { ...HELLO, model: "m" })).toBe(401);
    expect(await post({ "x-api-key": "k" }, HELLO)).toBe(400);
    expect(await post({ "x-api-key": "k", "x-simulate": "evnts=3" }, { ...HELLO, model: "m" })).toBe(400);
    expect(await post({ "x-api-key": "k" }, { ...HELLO, model: "m" })).toBe(200);
  });

  it("sends an error inside the stream", async () => {
    const stream = await client.messages.create({ ...HELLO, model: "claude-opus-5-5#error=3", stream: true });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of stream) seen.push(event.type);
    })();
    await expect(reading).rejects.toMatchObject({ error: { error: { type: "overloaded_error" } } });
    expect(seen).toEqual(["message_start", "content_block_start"]);
    expect(lastExchange()).toMatchObject({ status: 200, closedEarly: false });
  });

  it("cuts the stream after the events that were asked for", async () => {
    const stream = await client.messages.create({ ...HELLO, model: "claude-opus-5-5#cut=4", stream: true });
    const seen: string[] = [];
    await expect(
      (async () => {
        for await (const event of stream) seen.push(event.type);
      })(),
    ).rejects.toThrow("terminated");
    expect(seen).toEqual(["message_start", "content_block_start", "content_block_delta"]);
    expect(lastExchange().closedEarly).toBe(true);
  });

  it("notices at once that the client left an endless stream", async () => {
    const stream = await client.messages.create({ ...HELLO, model: "claude-opus-5-5#endless,delay=1", stream: true });
    const exchange = lastExchange();
    let deltas = 0;
    for await (const event of stream) if (event.type === "content_block_delta" && ++deltas === 3) break;
    await until(() => exchange.overAtMs !== undefined, "the end of the exchange");
    expect(exchange.closedEarly).toBe(true);
  });

  it.each(["gzip", "br", "zstd", "deflate"])("flushes after each event of a stream with %s", async (coding) => {
    const model = `claude-opus-5-5#encoding=${coding},endless,delay=1`;
    const stream = await client.messages.create({ ...HELLO, model, stream: true });
    const seen: string[] = [];
    for await (const event of stream) if (seen.push(event.type) === 5) break;
    expect(seen.slice(0, 3)).toEqual(["message_start", "content_block_start", "content_block_delta"]);
  });

  it.each(["gzip", "br", "zstd", "deflate"])("encodes whole answers and streams with %s", async (coding) => {
    const model = `claude-opus-5-5#encoding=${coding}`;
    const whole = await client.messages.create({ ...HELLO, model }).withResponse();
    expect(whole.response.headers.get("content-encoding")).toBe(coding);
    expect(whole.data.usage.output_tokens).toBe(10);
    expect(lastExchange().responseBody.toString()).not.toContain("usage");
    const streamed = await client.messages.stream({ ...HELLO, model }).finalMessage();
    expect(streamed.usage.output_tokens).toBe(10);
    expect(lastExchange().responseBody.toString()).not.toContain("message_start");
  });

  it("leaves usage out when asked to, and makes bodies as large as asked", async () => {
    const bare = await client.messages.create({ ...HELLO, model: "claude-opus-5-5#usage=none" });
    expect(bare).not.toHaveProperty("usage");
    const large = await client.messages.create({ ...HELLO, model: "claude-opus-5-5#bytes=3000000" });
    expect(large.content.map((block) => (block.type === "text" ? block.text.length : 0))).toEqual([3_000_000]);
    expect(large.usage.output_tokens).toBe(750_000);
  });

  it("records what it was sent, byte for byte", async () => {
    const body = `{"model":"claude-opus-5-5",  "max_tokens":1,"messages":[{"role":"user","content":"h\\u00e9"}]}`;
    const headers = ["X-Api-Key", "k", "X-Twice", "1", "x-twice", "2"];
    const answer = await request(`${server.url}/v1/messages?beta=true`, { dispatcher: agent, method: "POST", headers, body });
    const received = Buffer.from(await answer.body.arrayBuffer());
    const exchange = lastExchange();
    expect(exchange).toMatchObject({ method: "POST", path: "/v1/messages?beta=true", status: 200 });
    expect(exchange.requestBody.toString()).toBe(body);
    expect(exchange.responseBody.equals(received)).toBe(true);
    expect(exchange.rawHeaders.join("|")).toContain("X-Api-Key|k|X-Twice|1|x-twice|2");
    await until(() => exchange.overAtMs !== undefined, "the end of the exchange");
    expect(exchange.closedEarly).toBe(false);
  });
});
