/** `kill -9` in the middle of load, again and again on the same directories: no response that a client saw end is lost or counted twice. */

import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { apiClient, CALLS } from "../support/api-client.ts";
import type { Program } from "../support/program.ts";
import { ledgerOf, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const ROUNDS = 4;
const CLIENTS = 24;
/** Streams that are open when the program is killed, and were for so long that their beginning is on disk. */
const HELD = 4;
/** Responses that end before the kill, at least. */
const ENDED_PER_ROUND = 60;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.close());

/** What a client was told by a response that it saw end. */
interface Told {
  readonly thread: string;
  readonly input: number;
  readonly output: number;
}

const KINDS = Object.values(CALLS);

/** One life of the program: load until enough has ended, then the kill. Adds to what clients saw end, and gives the threads that were held open. */
async function liveAndDie(round: number, program: Program, ended: Told[]): Promise<string[]> {
  const api = apiClient(program);
  const before = ended.length;
  const isDying = { now: false };
  const seen = new Set<string>();
  const held = Array.from({ length: HELD }, (_, i) => `held-${round}-${i}`);
  // They break off with the program: that is what they are for.
  const holding = held.map((thread, i) => api.call(i % 2 === 0 ? CALLS.messageStream : CALLS.chatStream, { thread, simulate: "endless", onText: () => seen.add(thread) }).catch(() => undefined));
  await until(() => seen.size === HELD, "the streams that stay open");
  const client = async (name: number): Promise<void> => {
    for (let n = 0; !isDying.now; n++) {
      const thread = `${round}-${name}-${n}`;
      // Ends are spread over time, so that the kill finds flows in every state.
      const simulate = `events=${1 + ((name * 7 + n * 3) % 12)},delay=${n % 3}`;
      const answer = await api.call(KINDS[(name + n) % KINDS.length]!, { thread, simulate }).catch(() => undefined);
      if (answer !== undefined) ended.push({ ...answer, thread });
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, name) => client(name));
  await until(() => ended.length >= before + ENDED_PER_ROUND, "responses to end", 30_000);
  await pause(Math.random() * 40);
  const killed = program.kill9();
  isDying.now = true;
  await killed;
  await api.close();
  await Promise.all([...clients, ...holding]);
  return held;
}

describe("a program that is killed under load", () => {
  it("delivers exactly one event for every response that a client saw end, and an unknown one for what was under way", async () => {
    const ended: Told[] = [];
    const held: string[] = [];
    for (let round = 0; round < ROUNDS; round++) held.push(...(await liveAndDie(round, await stage.start(), ended)));
    const last = await stage.start();
    await settled(last);

    const events = distinct(stage);
    const byThread = Map.groupBy(events, ({ data }) => data.thread_id ?? "");
    expect(ended.length).toBeGreaterThanOrEqual(ROUNDS * ENDED_PER_ROUND);
    for (const { thread, input, output } of ended) {
      const own = byThread.get(thread) ?? [];
      expect(own.map(({ data }) => [data.completeness, data.usage_source, data.totals.input_tokens, data.totals.output_tokens]), thread).toEqual([["complete", "provider", input, output]]);
    }
    for (const thread of held) {
      const own = byThread.get(thread) ?? [];
      expect(own.map(({ data }) => [data.completeness, data.usage, data.usage_source]), thread).toEqual([["unknown", {}, "none"]]);
    }
    // Whatever else was under way has one event at the most, and one of these two kinds.
    for (const [thread, own] of byThread) {
      expect(own, thread).toHaveLength(1);
      expect(["complete", "unknown"]).toContain(own[0]!.data.completeness);
    }
    const ledger = await ledgerOf(last);
    expect(new Set(ledger.map(({ event }) => event.id)).size).toBe(ledger.length);
    expect(ledger.filter(({ delivery }) => delivery !== "delivered")).toEqual([]);
    expect(await last.stop()).toBe(0);
  });
});

/** The events at the receiver by id; fails when an id, or a batch, came twice with different bytes. */
function distinct({ receiver, received }: Stage): ModelUsageEvent[] {
  expect(received().length).toBeGreaterThan(0);
  const batches = new Map<string, string>();
  const events = new Map<string, string>();
  for (const { body, headers } of receiver.requests) {
    const batchId = String(headers["webhook-id"]);
    expect(body).toBe(batches.get(batchId) ?? body);
    batches.set(batchId, body);
    const list: unknown = JSON.parse(body);
    // Written without blanks, so that what is compared below are the very bytes.
    expect(JSON.stringify(list)).toBe(body);
  }
  for (const event of received()) {
    const bytes = JSON.stringify(event);
    expect(bytes).toBe(events.get(event.id) ?? bytes);
    events.set(event.id, bytes);
  }
  return [...new Map(received().map((event) => [event.id, event])).values()];
}
