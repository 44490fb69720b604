/** TALLYMAN_INCLUDE_USAGE: the real SDK streams without asking for usage, and the event has it. */

import { afterAll, beforeAll, expect, it } from "vitest";

import type { Program } from "../support/program.ts";
import { sdkClients, type SdkClients } from "../support/sdk-clients.ts";
import { openStage, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

let stage: Stage;
let program: Program;
let clients: SdkClients;

beforeAll(async () => {
  stage = await openStage();
  program = await stage.start({ TALLYMAN_INCLUDE_USAGE: "on" });
  clients = sdkClients(program);
});
afterAll(async () => {
  await clients?.close();
  await stage?.close();
});

it.each(["asks for nothing", "refuses the usage"])("a client that %s sees no chunk more than it asked for, and its usage is the provider's", async (what) => {
  const options = what === "refuses the usage" ? { stream_options: { include_usage: false } } : {};
  const stream = await clients.openai.chat.completions.create({ model: "gpt-5.4", stream: true, messages: [{ role: "user", content: "Why?" }], ...options });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const id = chunks[0]!.id;
  expect(chunks.every(({ choices }) => choices.length > 0)).toBe(true);
  await until(() => stage.received().some(({ data }) => data.response_id === id), "the event");
  const { data } = stage.received().find((event) => event.data.response_id === id)!;
  expect(data).toMatchObject({ completeness: "complete", usage_source: "provider" });
  expect(data.totals.output_tokens).toBeGreaterThan(0);
});

it("a client that asks by itself gets its chunk", async () => {
  const stream = await clients.openai.chat.completions.create({ model: "gpt-5.4", stream: true, messages: [{ role: "user", content: "Why?" }], stream_options: { include_usage: true } });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.filter(({ choices, usage }) => choices.length === 0 && usage !== null)).toHaveLength(1);
});
