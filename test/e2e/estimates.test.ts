/** What was not reported, through the real program: exact by the model's own encoding, by calibration, and counted canonically. */

import { Tiktoken } from "js-tiktoken/lite";
import cl100k from "js-tiktoken/ranks/cl100k_base";
import o200k from "js-tiktoken/ranks/o200k_base";
import { afterAll, beforeAll, expect, it } from "vitest";

import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import type { Program } from "../support/program.ts";
import { sdkClients, type SdkClients } from "../support/sdk-clients.ts";
import { openStage, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const QUESTION = "What does an agent cost, and who pays for it? 誰が払う?";
const GPT = "gpt-5.4";

let stage: Stage;
let program: Program;
let clients: SdkClients;

beforeAll(async () => {
  stage = await openStage();
  // Nobody's last byte waits for the count.
  program = await stage.start({ TALLYMAN_CANONICAL_TOKENS: "on", TALLYMAN_DURABILITY: "relaxed" });
  clients = sdkClients(program);
  // On a busy machine the thread may take longer to load both encodings than anybody waits for a count.
  await until(async () => {
    const { id } = await answerTo(streaming("warm up"));
    const { usage, canonical_input_tokens: canonical } = await eventOf(id);
    return usage.input_tokens === count(o200k, "warm up") + 7 && typeof canonical === "number";
  }, "the tokenizer's thread", 100_000);
}, 120_000);
afterAll(async () => {
  await clients?.close();
  await stage?.close();
});

const streaming = (content: string) => ({ model: GPT, stream: true as const, messages: [{ role: "user" as const, content }] });
const count = (ranks: typeof o200k, text: string): number => new Tiktoken(ranks).encode(text, [], []).length;

async function eventOf(responseId: string): Promise<ModelUsageEvent["data"]> {
  const find = (): ModelUsageEvent | undefined => stage.received().find(({ data }) => data.response_id === responseId);
  await until(() => find() !== undefined, `the event of ${responseId}`);
  return find()!.data;
}

async function answerTo(request: ReturnType<typeof streaming>): Promise<{ readonly id: string; readonly text: string }> {
  let text = "";
  let id = "";
  for await (const chunk of await clients.openai.chat.completions.create(request)) {
    id = chunk.id;
    text += chunk.choices[0]?.delta.content ?? "";
  }
  return { id, text };
}

it("counts a stream without usage exactly", async () => {
  const { id, text } = await answerTo(streaming(QUESTION));
  const event = await eventOf(id);
  expect(event).toMatchObject({ completeness: "complete", usage_source: "estimate" });
  // One message: three tokens around it, one for its role, three that the answer begins with.
  expect(event.usage).toEqual({ input_tokens: count(o200k, QUESTION) + 7, output_tokens: count(o200k, text) });
});

it("counts what came of a stream that its client leaves, and says that it is partial", async () => {
  const stream = await clients.openai.chat.completions.create({ ...streaming(QUESTION), model: `${GPT}#events=200,delay=10` });
  let id = "";
  let chunks = 0;
  for await (const chunk of stream) {
    id = chunk.id;
    if (++chunks === 10) break;
  }
  const event = await eventOf(id);
  expect(event).toMatchObject({ completeness: "partial", usage_source: "estimate" });
  expect(event.usage.input_tokens).toBe(count(o200k, QUESTION) + 7);
  expect(event.usage.output_tokens).toBeGreaterThan(0);
});

it("adds the canonical count of the request's text, whatever the model, and whoever reported the usage", async () => {
  const request = { model: "claude-haiku-4-5", max_tokens: 64, messages: [{ role: "user" as const, content: `${QUESTION}<|endoftext|>` }] };
  const message = await clients.anthropic.messages.create(request);
  const event = await eventOf(message.id);
  expect(event).toMatchObject({ usage_source: "provider", canonical_input_tokens: count(cl100k, `${QUESTION}<|endoftext|>`) });
  const empty = await clients.anthropic.messages.create({ ...request, messages: [{ role: "user", content: "" }] });
  expect((await eventOf(empty.id)).canonical_input_tokens).toBe(0);
});
