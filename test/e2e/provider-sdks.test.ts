/**
 * The providers' own SDKs in an agent's process, pointed at the real program by environment variables alone: the
 * receiver gets what the SDK was told, in disjoint categories, and the bodies pass byte for byte.
 */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { plainEnvironment, type Program } from "../support/program.ts";
import { ledgerOf, openStage, settled, type Stage } from "../support/stage.ts";
import type { AgentBody } from "../support/wire/agent.ts";
import { APIS, HOSTS } from "../support/wire/apis.ts";
import { startWireServer, type WireServer } from "../support/wire/server.ts";

const AGENT = join(import.meta.dirname, "..", "support", "wire", "agent.ts");

let stage: Stage;
let server: WireServer;
let program: Program;
/** What the SDKs were told, by the name of the call. */
const told = new Map<string, unknown>();
const bodies: AgentBody[] = [];
let events: readonly ModelUsageEvent[];

beforeAll(async () => {
  stage = await openStage();
  const hosts = Object.values(HOSTS);
  const tls = await createSimulatedTls(hosts);
  const roots = join(stage.dir, "roots.pem");
  writeFileSync(roots, tls.ca);
  server = await startWireServer(tls, APIS);
  program = await stage.start({
    TALLYMAN_UPSTREAM_CA_FILE: roots,
    TALLYMAN_CONNECT_TO: hosts.map((host) => `${host}:443:127.0.0.1:${server.port}`).join(","),
    TALLYMAN_INTERCEPT: "all",
  });
  await runAgent(Object.keys(HOSTS));
  await settled(program);
  events = stage.received();
}, 120_000);
afterAll(async () => {
  server?.close();
  await stage?.close();
});

/** Calls every provider, one after the other. */
async function runAgent(names: readonly string[]): Promise<void> {
  const env = { ...plainEnvironment(), HTTPS_PROXY: program.proxyUrl, NODE_USE_ENV_PROXY: "1", NODE_EXTRA_CA_CERTS: program.caFile };
  const child = spawn(process.execPath, [AGENT, ...names], { env, stdio: ["ignore", "pipe", "pipe"] });
  const seen = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (seen.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (seen.stderr += text));
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect([code, code === 0 ? "" : seen.stderr]).toEqual([0, ""]);
  for (const line of seen.stdout.trimEnd().split("\n")) {
    const said = JSON.parse(line) as { name: string; told: unknown } | { body: AgentBody };
    if ("body" in said) bodies.push(said.body);
    else told.set(said.name, said.told);
  }
}

function eventOf(host: keyof typeof HOSTS, place: number): ModelUsageEvent["data"] {
  const own = events.filter(({ data }) => data.host === HOSTS[host]);
  const event = own[place];
  if (event === undefined) throw new Error(`${host} has ${own.length} events`);
  return event.data;
}

/** Every call in the order in which the agent made them: [event's place, call, what the SDK was told, the event]. */
const CALLS = [
  ["gemini", 0, "gemini-whole", { thoughtsTokenCount: 300 }, { api: "gemini.generate_content", response_id: "gemini-whole", streamed: false, usage: { input_tokens: 200, cache_read_tokens: 1000, input_tool_tokens: 50, output_tokens: 80, output_reasoning_tokens: 300 } }],
  ["gemini", 1, "gemini-stream", { candidatesTokenCount: 7 }, { streamed: true, usage: { input_tokens: 10, output_tokens: 7, output_reasoning_tokens: 5 } }],
  ["gemini", 2, "gemini-embed", 1, { operation: "embeddings", usage: { input_tokens: 6 } }],
  ["bedrock", 0, "bedrock-converse", { inputTokens: 20, cacheReadInputTokens: 900 }, { api: "bedrock.converse", request_id: "bedrock-converse", usage: { input_tokens: 20, cache_read_tokens: 900, cache_write_5m_tokens: 40, cache_write_1h_tokens: 60, output_tokens: 55 } }],
  ["bedrock", 1, "bedrock-converse-stream", { inputTokens: 20, outputTokens: 55 }, { streamed: true, usage: { input_tokens: 20, cache_read_tokens: 900, cache_write_5m_tokens: 40, cache_write_1h_tokens: 60, output_tokens: 55 } }],
  ["bedrock", 2, "bedrock-invoke", { output_tokens: 340 }, { api: "bedrock.invoke", response_id: "msg_bdrk_1", usage: { input_tokens: 12, cache_read_tokens: 9000, cache_write_5m_tokens: 200, cache_write_1h_tokens: 500, output_tokens: 340 } }],
  ["bedrock", 3, "bedrock-invoke-stream", { type: "message_stop" }, { streamed: true, response_id: "msg_bdrk_2", usage: { input_tokens: 12, cache_read_tokens: 9000, cache_write_5m_tokens: 200, cache_write_1h_tokens: 500, output_tokens: 41 } }],
  ["cohere", 0, "cohere-whole", { billedUnits: { inputTokens: 5, outputTokens: 418 } }, { api: "cohere.chat", response_id: "cohere-whole", usage: { input_tokens: 5, output_tokens: 418 } }],
  ["cohere", 1, "cohere-stream", { type: "message-end" }, { streamed: true, response_id: "cohere-stream", usage: { input_tokens: 6, output_tokens: 2 } }],
  ["cohere", 2, "cohere-embed", { billedUnits: { inputTokens: 8 } }, { operation: "embeddings", usage: { input_tokens: 8 } }],
  ["cohere", 3, "cohere-rerank", { billedUnits: { searchUnits: 1 } }, { operation: "rerank", usage: { search_units: 1 } }],
  ["ollama", 0, "ollama-whole", { prompt_eval_count: 26, eval_count: 298 }, { api: "ollama.chat", usage: { input_tokens: 26, output_tokens: 298 } }],
  ["ollama", 1, "ollama-stream", { prompt_eval_count: 27, eval_count: 2 }, { streamed: true, usage: { input_tokens: 27, output_tokens: 2 } }],
  ["ollama", 2, "ollama-embed", { prompt_eval_count: 9 }, { operation: "embeddings", usage: { input_tokens: 9 } }],
  ["mistral", 0, "mistral-whole", { promptTokens: 30, completionTokens: 12 }, { api: "mistral.chat_completions", response_model: "mistral-large-2512", usage: { input_tokens: 14, cache_read_tokens: 16, output_tokens: 12 } }],
  ["mistral", 1, "mistral-stream", { promptTokens: 31, completionTokens: 2 }, { streamed: true, usage: { input_tokens: 31, output_tokens: 2 } }],
  ["mistral", 2, "mistral-embed", { promptTokens: 8 }, { operation: "embeddings", usage: { input_tokens: 8 } }],
  ["groq", 0, "groq-whole", { prompt_tokens: 40, completion_tokens: 20 }, { api: "groq.chat_completions", usage: { input_tokens: 30, cache_read_tokens: 10, output_tokens: 12, output_reasoning_tokens: 8 } }],
  ["groq", 1, "groq-stream", { usage: { prompt_tokens: 41 } }, { streamed: true, usage: { input_tokens: 31, cache_read_tokens: 10, output_tokens: 12, output_reasoning_tokens: 8 } }],
  ["azure", 0, "azure-stream", { prompt_tokens: 100 }, { api: "azure-openai.chat_completions", response_id: "azure-stream", response_model: "gpt-5.4", streamed: true, usage: { input_tokens: 36, cache_read_tokens: 64, output_tokens: 15, output_reasoning_tokens: 5 } }],
  ["azure", 1, "azure-image", { output_tokens: 4160 }, { operation: "image", usage: { input_tokens: 20, input_image_tokens: 30, output_image_tokens: 4160 } }],
  ["azure", 2, "azure-transcription", { input_tokens: 114 }, { operation: "transcription", request_model: "gpt-4o-transcribe", usage: { input_tokens: 14, input_audio_tokens: 100, output_tokens: 9 } }],
  ["azure", 3, "azure-speech", 3000, { operation: "speech", usage_source: "estimate", usage: { characters_in: 11 } }],
  ["azure", 4, "azure-embed", { prompt_tokens: 8 }, { operation: "embeddings", usage: { input_tokens: 8 } }],
  ["foundry", 0, "foundry-whole", { output_tokens: 340 }, { api: "azure-openai.messages", response_id: "msg_foundry", usage: { input_tokens: 12, cache_read_tokens: 9000, cache_write_5m_tokens: 200, cache_write_1h_tokens: 500, output_tokens: 340, web_search_requests: 2 } }],
  ["foundry", 1, "foundry-stream", { input_tokens: 12, output_tokens: 60 }, { streamed: true, usage: { input_tokens: 12, cache_read_tokens: 9000, cache_write_5m_tokens: 200, cache_write_1h_tokens: 500, output_tokens: 40, output_reasoning_tokens: 20 } }],
  ["unknown", 0, "unknown-whole", { prompt_tokens: 21 }, { meter: "openai", host: HOSTS.unknown, usage: { input_tokens: 21, output_tokens: 4 } }],
] as const;

describe("an SDK's response is one event", () => {
  it.each(CALLS)("%s %i: %s", (host, place, name, sdk, { usage, ...facts }) => {
    if (typeof sdk === "object") expect(told.get(name)).toMatchObject(sdk);
    else expect(told.get(name)).toBe(sdk);
    const event = eventOf(host, place);
    expect(event).toMatchObject({ completeness: "complete", usage_source: "provider", status: 200, ...facts });
    expect(event.usage).toEqual(usage);
  });

  it("and there are no others", () => {
    expect(events.map(({ data }) => data.host).toSorted()).toEqual(CALLS.map(([host]) => HOSTS[host]).toSorted());
  });
});

describe("what costs nothing", () => {
  it("is in the ledger and at no receiver: counting, and a path of another API on an unknown host", async () => {
    const free = (await ledgerOf(program)).filter(({ delivery }) => delivery === "none");
    expect(free.map(({ event: { data } }) => [data.host, data.operation, data.usage]).toSorted()).toEqual([
      [HOSTS.gemini, "count_tokens", {}],
      [HOSTS.unknown, "chat", {}],
    ]);
    expect(told.get("gemini-count")).toMatchObject({ totalTokens: 31 });
  });
});

describe("bodies", () => {
  const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

  it("reach the program byte for byte, and those of requests the provider", () => {
    expect(bodies.length).toBeGreaterThan(20);
    for (const { target, request, response } of bodies) {
      const same = server.exchanges.filter((exchange) => exchange.target === target && digest(exchange.responseBody) === response);
      expect(same.length, target).toBeGreaterThan(0);
      if (request !== undefined) expect(same.map(({ body }) => digest(body)), target).toContain(request);
    }
  });

  it("are counted to the byte", () => {
    const lengths = server.exchanges.map(({ host, body, responseBody }) => `${host} ${body.length} ${responseBody.length}`);
    for (const { data } of events) expect(lengths, data.api).toContain(`${data.host} ${data.bytes_up} ${data.bytes_down}`);
  });
});
