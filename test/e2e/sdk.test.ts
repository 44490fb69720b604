/** The official SDKs through the real program: what a client is told is what the receiver gets, and what nobody else learns. */

import Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { SimulatedServer } from "../../src/demo/simulated-server.ts";
import type { ModelUsage } from "../../src/usage/categories.ts";
import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import type { Program } from "../support/program.ts";
import { API_KEY, sdkClients, type SdkClients } from "../support/sdk-clients.ts";
import { ledgerOf, openStage, type LedgerEntry, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const CLAUDE = "claude-haiku-4-5";
const GPT = "gpt-5.4";
const QUESTION = "What does an agent cost, and who pays for it?";
const RULES = "Follow the house rules. ".repeat(40);

let stage: Stage;
let program: Program;
let clients: SdkClients;

beforeAll(async () => {
  stage = await openStage();
  program = await stage.start();
  clients = sdkClients(program);
});
afterAll(async () => {
  await clients?.close();
  await stage?.close();
});

/** The one delivered event of a response. */
async function eventOf(responseId: string): Promise<ModelUsageEvent> {
  const own = (): ModelUsageEvent[] => stage.received().filter(({ data }) => data.response_id === responseId);
  await until(() => own().length > 0, `the event of ${responseId}`);
  expect(own()).toHaveLength(1);
  return own()[0]!;
}

/** The ledger's entry of a request, by the id that the provider gave it. */
async function entryOf(requestId: string | null | undefined, host: string): Promise<LedgerEntry> {
  let entry: LedgerEntry | undefined;
  await until(async () => {
    entry = (await ledgerOf(program)).find(({ event }) => event.data.request_id === requestId && event.data.host === host);
    return entry !== undefined;
  }, `the ledger's record of ${requestId}`);
  return entry!;
}

/** Tokens by category that are not zero. */
function counted(usage: Partial<Record<keyof ModelUsage, number | null | undefined>>): ModelUsage {
  return Object.fromEntries(Object.entries(usage).filter(([, count]) => (count ?? 0) > 0));
}

/** What Anthropic's `usage` means in disjoint categories. */
function anthropicUsage(usage: Anthropic.Usage): ModelUsage {
  const thinking = usage.output_tokens_details?.thinking_tokens ?? 0;
  return counted({
    input_tokens: usage.input_tokens,
    cache_read_tokens: usage.cache_read_input_tokens,
    cache_write_5m_tokens: usage.cache_creation?.ephemeral_5m_input_tokens,
    cache_write_1h_tokens: usage.cache_creation?.ephemeral_1h_input_tokens,
    output_tokens: usage.output_tokens - thinking,
    output_reasoning_tokens: thinking,
  });
}

/** What both of OpenAI's usage objects mean in disjoint categories; the cached parts are inside the prompt. */
function openaiUsage(prompt: number, cached: number, written: ModelUsage, output: number, reasoning: number): ModelUsage {
  const allWritten = Object.values(written).reduce((sum, count) => sum + count, 0);
  return counted({
    input_tokens: prompt - cached - allWritten,
    cache_read_tokens: cached,
    ...written,
    output_tokens: output - reasoning,
    output_reasoning_tokens: reasoning,
  });
}

function expectTotals({ data }: ModelUsageEvent, input: number, output: number): void {
  expect(data.totals).toEqual({ input_tokens: input, output_tokens: output, total_tokens: input + output });
  const tokens = Object.entries(data.usage).filter(([category]) => category.endsWith("_tokens"));
  // Disjoint: nothing is counted in two of them.
  expect(tokens.reduce((sum, [, count]) => sum + count, 0)).toBe(input + output);
}

function expectPriced({ data }: ModelUsageEvent): void {
  expect(data.cost).toMatchObject({ amount: expect.stringMatching(/^\d+(\.\d+)?$/), currency: "USD", source: "price_book" });
  expect(Number(data.cost?.amount)).toBeGreaterThan(0);
}

function headerNames(server: SimulatedServer): string[] {
  const { rawHeaders } = server.exchanges.at(-1)!;
  return rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
}

describe("@anthropic-ai/sdk through the program", () => {
  it("counts a whole message that writes a cache and thinks, as the client was told", async () => {
    const message = await clients.anthropic.messages.create({
      model: CLAUDE,
      max_tokens: 2048,
      thinking: { type: "enabled", budget_tokens: 1024 },
      system: [{ type: "text", text: RULES, cache_control: { type: "ephemeral" } }, { type: "text", text: `${RULES}!`, cache_control: { type: "ephemeral", ttl: "1h" } }],
      messages: [{ role: "user", content: QUESTION }],
    });
    const event = await eventOf(message.id);
    expect(event.data).toMatchObject({
      meter: "anthropic",
      api: "anthropic.messages",
      host: "api.anthropic.com",
      operation: "chat",
      streamed: false,
      request_model: CLAUDE,
      response_model: message.model,
      request_id: message._request_id,
      service_tier: "standard",
      status: 200,
      completeness: "complete",
      usage_source: "provider",
      billable: true,
    });
    expect(event.data.usage).toEqual(anthropicUsage(message.usage));
    expect(Object.keys(event.data.usage).toSorted()).toEqual(["cache_write_1h_tokens", "cache_write_5m_tokens", "input_tokens", "output_reasoning_tokens", "output_tokens"]);
    const { usage } = message;
    expectTotals(event, usage.input_tokens + usage.cache_creation_input_tokens! + usage.cache_read_input_tokens!, usage.output_tokens);
    expectPriced(event);
  });

  it("counts a stream by its last snapshot, cache reads included", async () => {
    const request: Anthropic.MessageStreamParams = {
      model: CLAUDE,
      max_tokens: 1024,
      system: [{ type: "text", text: `Be brief. ${RULES}`, cache_control: { type: "ephemeral" } }],
      messages: [{ role: "user", content: QUESTION }],
    };
    const writer = await clients.anthropic.messages.stream(request).finalMessage();
    const reader = await clients.anthropic.messages.stream(request, { headers: { "x-simulate": "events=30,tier=priority" } }).finalMessage();
    expect(reader.usage.cache_read_input_tokens).toBeGreaterThan(0);
    for (const message of [writer, reader]) {
      const event = await eventOf(message.id);
      expect(event.data).toMatchObject({ streamed: true, response_model: message.model, completeness: "complete", usage_source: "provider" });
      expect(event.data.usage).toEqual(anthropicUsage(message.usage));
    }
    expectPriced(await eventOf(writer.id));
    // Bought in advance: no token of this tier has a price.
    expect((await eventOf(reader.id)).data).toMatchObject({ service_tier: "priority", cost: null });
  });

  it("keeps counting tokens and listing models in the ledger, at no cost and undelivered", async () => {
    const counting = await clients.anthropic.messages.countTokens({ model: CLAUDE, messages: [{ role: "user", content: QUESTION }] }).withResponse();
    const listing = await clients.anthropic.models.list().withResponse();
    for (const { response } of [counting, listing]) {
      const { event, delivery } = await entryOf(response.headers.get("request-id"), "api.anthropic.com");
      expect(delivery).toBe("none");
      expect(event.data).toMatchObject({ status: 200, usage: {}, completeness: "complete", usage_source: "none", cost: null });
      expect(event.data.totals.total_tokens).toBe(0);
    }
    const paid = await clients.anthropic.messages.create({ model: CLAUDE, max_tokens: 64, messages: [{ role: "user", content: QUESTION }] });
    await eventOf(paid.id);
    const free = new Set([counting, listing].map(({ response }) => response.headers.get("request-id")));
    expect(stage.received().filter(({ data }) => data.meter === "anthropic" && free.has(data.request_id))).toEqual([]);
  });

  it.each([
    [429, Anthropic.RateLimitError],
    [529, Anthropic.InternalServerError],
  ])("passes an error %i on as the SDK knows it, and charges nothing", async (status, kind) => {
    const error: unknown = await clients.anthropic.messages
      .create({ model: `${CLAUDE}#status=${status}`, max_tokens: 64, messages: [{ role: "user", content: QUESTION }] })
      .catch((cause: unknown) => cause);
    if (!(error instanceof kind)) throw new TypeError(`not the SDK's error: ${String(error)}`);
    expect(error.status).toBe(status);
    const { event, delivery } = await entryOf(error.requestID, "api.anthropic.com");
    expect([delivery, event.data.status, event.data.usage, event.data.completeness]).toEqual(["none", status, {}, "complete"]);
  });
});

describe("openai through the program", () => {
  it("counts whole chat completions, cached prompt and reasoning apart", async () => {
    const request: OpenAI.ChatCompletionCreateParamsNonStreaming = {
      model: GPT,
      reasoning_effort: "low",
      messages: [{ role: "system", content: RULES }, { role: "user", content: QUESTION }],
    };
    for (const category of ["cache_write_tokens", "cache_read_tokens"] as const) {
      const completion = await clients.openai.chat.completions.create(request);
      const event = await eventOf(completion.id);
      expect(event.data).toMatchObject({
        meter: "openai",
        api: "openai.chat_completions",
        streamed: false,
        request_model: GPT,
        response_model: completion.model,
        request_id: completion._request_id,
        service_tier: "default",
        completeness: "complete",
        usage_source: "provider",
      });
      const { prompt_tokens, completion_tokens, prompt_tokens_details, completion_tokens_details } = completion.usage!;
      const cached = prompt_tokens_details?.cached_tokens ?? 0;
      const reported = Object.values(event.data.usage).reduce((sum, count) => sum + count, 0);
      expect(reported).toBe(prompt_tokens + completion_tokens);
      expect(event.data.usage.cache_read_tokens ?? 0).toBe(cached);
      expect(event.data.usage.output_reasoning_tokens).toBe(completion_tokens_details?.reasoning_tokens);
      expect(Object.keys(event.data.usage).some((name) => name.startsWith(category.replace("_tokens", "")))).toBe(true);
      expectTotals(event, prompt_tokens, completion_tokens);
      expectPriced(event);
    }
  });

  it("counts a stream with include_usage from its last chunk", async () => {
    const stream = await clients.openai.chat.completions.create({
      model: GPT,
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: "user", content: QUESTION }],
    });
    const chunks = await collect(stream);
    const { usage, id } = chunks.at(-1)!;
    const event = await eventOf(id);
    expect(event.data).toMatchObject({ streamed: true, completeness: "complete", usage_source: "provider" });
    expect(event.data.usage).toEqual(openaiUsage(usage!.prompt_tokens, 0, {}, usage!.completion_tokens, 0));
    expectTotals(event, usage!.prompt_tokens, usage!.completion_tokens);
  });

  it("estimates a stream that reports no usage, and says so", async () => {
    const chunks = await collect(await clients.openai.chat.completions.create({ model: GPT, stream: true, messages: [{ role: "user", content: QUESTION }] }));
    expect(chunks.every(({ usage }) => usage === undefined || usage === null)).toBe(true);
    const event = await eventOf(chunks[0]!.id);
    expect(event.data).toMatchObject({ streamed: true, completeness: "complete", usage_source: "estimate", response_model: GPT });
    expect(event.data.usage.input_tokens).toBeGreaterThan(0);
    expect(event.data.usage.output_tokens).toBeGreaterThan(0);
    // The tokenizer is not the provider's; it must be of the right size all the same.
    expect(event.data.totals.total_tokens).toBeLessThan(200);
  });

  it("counts responses, whole and streamed, with the lifetime of what they cached", async () => {
    const request = { model: "gpt-6-sol", instructions: RULES, input: QUESTION, reasoning: { effort: "low" } } as const;
    const whole = await clients.openai.responses.create(request);
    const events = await collect(await clients.openai.responses.create({ ...request, stream: true }));
    const last = events.at(-1)!;
    if (last.type !== "response.completed") throw new TypeError(`ended with ${last.type}`);
    for (const [response, streamed] of [[whole, false], [last.response, true]] as const) {
      const event = await eventOf(response.id);
      expect(event.data).toMatchObject({ api: "openai.responses", streamed, response_model: response.model, completeness: "complete", usage_source: "provider" });
      const { input_tokens, output_tokens, input_tokens_details, output_tokens_details } = response.usage!;
      const cached = input_tokens_details.cached_tokens;
      const written = streamed ? {} : { cache_write_30m_tokens: Math.ceil(RULES.length / 4) };
      expect(event.data.usage).toEqual(openaiUsage(input_tokens, cached, written, output_tokens, output_tokens_details.reasoning_tokens));
      expectTotals(event, input_tokens, output_tokens);
      expectPriced(event);
    }
    expect(last.response.usage!.input_tokens_details.cached_tokens).toBeGreaterThan(0);
  });

  it("bills a background response once: at the poll that first shows it finished", async () => {
    const created = await clients.openai.responses.create({ model: "gpt-6-sol#polls=2", input: QUESTION, background: true });
    expect(created.status).toBe("queued");
    const seen = [];
    for (let i = 0; i < 4; i++) seen.push(await clients.openai.responses.retrieve(created.id));
    expect(seen.map(({ status }) => status)).toEqual(["in_progress", "in_progress", "completed", "completed"]);
    const event = await eventOf(created.id);
    expect(event.data).toMatchObject({ request_id: seen[2]!._request_id, completeness: "complete", usage_source: "provider" });
    expect(event.data.usage).toEqual(openaiUsage(seen[2]!.usage!.input_tokens, 0, {}, seen[2]!.usage!.output_tokens, 0));
    for (const free of [created, seen[0]!, seen[1]!, seen[3]!]) {
      const entry = await entryOf(free._request_id, "api.openai.com");
      expect([entry.delivery, entry.event.data.usage]).toEqual(["none", {}]);
    }
  });
});

describe("usage events at the receiver", () => {
  it("have the fields of the contract in its order", async () => {
    const message = await clients.anthropic.messages.create({ model: CLAUDE, max_tokens: 64, messages: [{ role: "user", content: QUESTION }] });
    const event = await eventOf(message.id);
    expect(Object.keys(event)).toEqual(["specversion", "type", "id", "source", "subject", "time", "datacontenttype", "data"]);
    expect(Object.keys(event.data)).toEqual([
      "flow_id", "sequence",
      "org_id", "user_id", "agent_id", "thread_id", "caller_type", "metadata",
      "meter", "api", "host", "operation", "streamed",
      "request_model", "response_model", "response_id", "request_id",
      "service_tier", "status",
      "usage", "totals",
      "completeness", "usage_source", "billable",
      "cost",
      "started_at", "latency_ms", "time_to_first_byte_ms", "bytes_up", "bytes_down",
    ]);
    expect(event).toMatchObject({ specversion: "1.0", type: "llm.usage.v1", subject: "default", datacontenttype: "application/json" });
    expect(event.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(event.source).toMatch(/^\/tallyman\/\S+$/);
    expect(event.data).toMatchObject({ flow_id: event.id, sequence: 0, org_id: null, user_id: null, agent_id: null, thread_id: null, caller_type: null, metadata: {} });
    for (const time of [event.time, event.data.started_at]) expect(new Date(time).toISOString()).toBe(time);
    expect(Date.parse(event.data.started_at)).toBeLessThanOrEqual(Date.parse(event.time));
    const { responseBody, requestBody } = stage.anthropic.exchanges.at(-1)!;
    expect(event.data).toMatchObject({ bytes_down: responseBody.length, bytes_up: requestBody.length });
  });

  it("come as a signed batch of CloudEvents, each id once", () => {
    expect(stage.receiver.requests.length).toBeGreaterThan(0);
    for (const { method, headers, signatureError } of stage.receiver.requests) {
      expect([method, headers["content-type"], signatureError]).toEqual(["POST", "application/cloudevents-batch+json", undefined]);
    }
    const ids = stage.received().map(({ id, source }) => `${source} ${id}`);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("say nothing of prompts, answers and keys; nor do the log and the ledger", async () => {
    const secret = "the-passphrase-of-the-vault";
    const message = await clients.anthropic.messages.create({ model: CLAUDE, max_tokens: 64, messages: [{ role: "user", content: secret }] });
    await eventOf(message.id);
    const said = [JSON.stringify(stage.received()), JSON.stringify(await ledgerOf(program)), program.stdout, program.stderr].join("\n");
    for (const text of [secret, "piece00", API_KEY, QUESTION.slice(0, 20)]) expect(said).not.toContain(text);
  });
});

describe("attribution", () => {
  it.each([
    ["agent-7:secret", { agent_id: "agent-7", org_id: null, thread_id: null }, "agent-7"],
    ["agent-7;thread=t-1;org=acme:secret", { agent_id: "agent-7", org_id: "acme", thread_id: "t-1" }, "acme"],
  ])("is read from the proxy user %s", async (proxyUser, expected, subject) => {
    const own = sdkClients(program, proxyUser);
    try {
      const completion = await own.openai.chat.completions.create({ model: GPT, messages: [{ role: "user", content: QUESTION }] });
      const event = await eventOf(completion.id);
      expect(event.subject).toBe(subject);
      expect(event.data).toMatchObject(expected);
      expect(headerNames(stage.openai)).not.toContain("proxy-authorization");
    } finally {
      await own.close();
    }
  });

  it("is read from x-tallyman headers, which no upstream ever sees; the proxy user is stronger", async () => {
    const headers = {
      "x-tallyman-org-id": "acme",
      "X-Tallyman-User-Id": "ada",
      "x-tallyman-agent-id": "agent-8",
      "x-tallyman-thread-id": "t-2",
      "x-tallyman-caller-type": "subagent",
      "x-tallyman-meta-team": "billing",
      "x-tallyman-unheard-of": "x",
    };
    const request = { model: CLAUDE, max_tokens: 64, messages: [{ role: "user" as const, content: QUESTION }] };
    const first = await clients.anthropic.messages.create(request, { headers });
    const event = await eventOf(first.id);
    const expected = { org_id: "acme", user_id: "ada", agent_id: "agent-8", thread_id: "t-2", caller_type: "subagent", metadata: { team: "billing" } };
    expect(event.data).toMatchObject(expected);
    expect(event.subject).toBe("acme");
    expect(headerNames(stage.anthropic).filter((name) => name.includes("tallyman"))).toEqual([]);
    const own = sdkClients(program, "agent-7;thread=t-1:secret");
    try {
      const second = await own.anthropic.messages.create(request, { headers });
      expect((await eventOf(second.id)).data).toMatchObject({ ...expected, agent_id: "agent-7", thread_id: "t-1" });
    } finally {
      await own.close();
    }
  });
});

async function collect<Item>(stream: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of stream) items.push(item);
  return items;
}
