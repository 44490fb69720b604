/** TALLYMAN_CANONICAL_TOKENS: the first call after the start has its count too. */

import { afterAll, beforeAll, expect, it } from "vitest";

import { apiClient, CALLS } from "../support/api-client.ts";
import { openStage, type Stage } from "../support/stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.close());

it("an event tells the tokens of the request's text in one encoding, from the first call on", async () => {
  // Relaxed: how long the last byte may wait for a count is not what is tried here.
  const program = await stage.start({ TALLYMAN_CANONICAL_TOKENS: "on", TALLYMAN_DURABILITY: "relaxed" });
  const client = apiClient(program);
  await client.call(CALLS.message);
  await client.call(CALLS.chatStream);
  const events = await stage.receives(2);
  expect(events.map(({ data }) => data.usage_source)).toEqual(["provider", "provider"]);
  // "What does an agent cost, and when?"
  expect(events.map(({ data }) => data.canonical_input_tokens)).toEqual([9, 9]);
  await client.close();
});
