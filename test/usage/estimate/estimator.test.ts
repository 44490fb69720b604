import { Tiktoken } from "js-tiktoken/lite";
import cl100k from "js-tiktoken/ranks/cl100k_base";
import o200k from "js-tiktoken/ranks/o200k_base";
import pino from "pino";
import { afterAll, describe, expect, it } from "vitest";

import { createEstimator, type Conclusion, type Estimator } from "../../../src/usage/estimate/estimator.ts";
import { createTokenizer } from "../../../src/usage/estimate/tokenizer.ts";
import type { Handler, ModelReading, Reader, Reading } from "../../../src/usage/handler.ts";
import { anthropic } from "../../../src/usage/providers/anthropic.ts";
import { openai } from "../../../src/usage/providers/openai.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";

const tokenizer = createTokenizer({ maxJobMs: 120_000 });
const stuck = createTokenizer({ workerUrl: new URL("../../support/workers/tokenizer-that-hangs.ts", import.meta.url) });
afterAll(() => Promise.all([tokenizer.close(), stuck.close()]));

function estimator(options: Partial<Parameters<typeof createEstimator>[0]> = {}): Estimator {
  return createEstimator({ tokenizer, isEstimateAllowed: true, hasCanonicalTokens: false, logger: pino({ level: "silent" }), ...options });
}

interface Exchange {
  readonly handler: Handler;
  readonly path: string;
  readonly request: string;
  readonly response: string;
  readonly contentType?: string;
  readonly end?: "complete" | "client_aborted";
}

/** Runs an exchange as the meter does. */
async function run(estimates: Estimator, exchange: Exchange, waitMs = 50_000): Promise<Conclusion> {
  const estimate = estimates.open();
  const reader = open(exchange);
  reader.requestData?.(Buffer.from(exchange.request));
  estimate.requestData(Buffer.from(exchange.request));
  reader.requestEnd?.();
  estimate.requestEnd(reader.requestOutline?.());
  reader.response({ status: 200, statusText: "OK", headers: ["content-type", exchange.contentType ?? "text/event-stream"] });
  reader.push(Buffer.from(exchange.response));
  return estimate.conclude(reader.end({ kind: exchange.end ?? "complete" }), waitMs);
}

function open({ handler, path }: Pick<Exchange, "handler" | "path">): Reader {
  const [host = ""] = handler.hosts;
  return handler.open({ host, port: 443, protocol: "http", method: "POST", path, query: "", headers: [] }, { isEstimateAllowed: true, jobs: createReplayJobs() }).reader!;
}

function only(readings: readonly Reading[]): ModelReading {
  const [first] = readings;
  if (first?.kind !== "measured" || !("usage" in first)) throw new TypeError(`not a reading of a model: ${JSON.stringify(first)}`);
  return first;
}

const QUESTION = "How many tokens has this? Combien de jetons? 何トークンですか。";
const ANSWER = "It has a few: count them, with the model's own encoding 🙂.";
const exact = (ranks: typeof o200k, text: string): number => new Tiktoken(ranks).encode(text, [], []).length;

const chat = (model: string, text: string, more: Partial<Exchange> = {}): Exchange => ({
  handler: openai,
  path: "/v1/chat/completions",
  request: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: QUESTION }] }),
  response: `${[...text].map((char) => `data: ${JSON.stringify({ id: "c", model, choices: [{ index: 0, delta: { content: char } }] })}\n\n`).join("")}data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`,
  ...more,
});

describe("an estimate", () => {
  it("of an OpenAI model is exact by its own encoding, the chat format around the text included", async () => {
    const { usage, source } = only((await run(estimator(), chat("gpt-5.4", ANSWER))).readings);
    // Three for the message, one for its role, three that the answer begins with.
    expect(usage).toEqual({ input_tokens: exact(o200k, QUESTION) + 7, output_tokens: exact(o200k, ANSWER) });
    expect(source).toBe("estimate");
    const older = only((await run(estimator(), chat("gpt-4-turbo", ANSWER))).readings);
    expect(older.usage).toEqual({ input_tokens: exact(cl100k, QUESTION) + 7, output_tokens: exact(cl100k, ANSWER) });
  });

  it("of an aborted stream is of what was seen", async () => {
    const whole = chat("gpt-5.4", ANSWER).response;
    const half = whole.slice(0, whole.indexOf(":", whole.length / 2));
    const reading = only((await run(estimator(), chat("gpt-5.4", ANSWER, { response: half, end: "client_aborted" }))).readings);
    expect(reading).toMatchObject({ completeness: "partial", source: "estimate" });
    expect(reading.usage.output_tokens).toBeGreaterThan(0);
    expect(reading.usage.output_tokens).toBeLessThan(exact(o200k, ANSWER));
  });

  it("has no more than the request allows", async () => {
    const request = JSON.stringify({ model: "gpt-5.4", stream: true, max_tokens: 4, messages: [] });
    expect(only((await run(estimator(), chat("gpt-5.4", ANSWER, { request }))).readings).usage.output_tokens).toBe(4);
  });

  it("keeps what the provider reported, and estimates the rest alone", async () => {
    const start = { type: "message_start", message: { id: "m", model: "claude-opus-5-5", usage: { input_tokens: 12, output_tokens: 1 } } };
    const delta = { type: "content_block_delta", delta: { type: "text_delta", text: ANSWER } };
    const response = [start, delta].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
    const reading = only((await run(estimator(), { handler: anthropic, path: "/v1/messages", request: '{"model":"claude-opus-5-5"}', response, end: "client_aborted" })).readings);
    expect(reading).toMatchObject({ completeness: "partial", source: "estimate", usage: { input_tokens: 12 } });
    expect(reading.usage.output_tokens).toBeGreaterThan(5);
  });

  it("is what it is where nobody can wait for the thread", async () => {
    const late = estimator({ tokenizer: stuck });
    void stuck.count("o200k_base", { kind: "text", text: "hang" });
    const reading = only((await run(late, chat("gpt-5.4", ANSWER), 20)).readings);
    expect(reading.source).toBe("estimate");
    expect(reading.usage.output_tokens).toBeGreaterThan(0);
  });

  it("is calibrated by responses of the same model that did report", async () => {
    const estimates = estimator();
    const text = "The quick brown fox jumps over the lazy dog, and then it sleeps. ".repeat(20);
    const report = (usage: object | undefined): Exchange => ({
      handler: anthropic,
      path: "/v1/messages",
      contentType: "application/json",
      request: JSON.stringify({ model: "claude-opus-5-5", messages: [{ role: "user", content: text }] }),
      response: JSON.stringify({ id: "m", model: "claude-opus-5-5", content: [{ type: "text", text }], ...(usage === undefined ? {} : { usage }) }),
    });
    const before = only((await run(estimates, report(undefined))).readings).usage;
    const told = { input_tokens: Math.round(before.input_tokens! * 1.35), output_tokens: Math.round(before.output_tokens! * 1.35) };
    for (let i = 0; i < 12; i++) await run(estimates, report(told));
    const after = only((await run(estimates, report(undefined))).readings).usage;
    expect(after.input_tokens! / told.input_tokens).toBeCloseTo(1, 1);
    expect(after.output_tokens! / told.output_tokens).toBeCloseTo(1, 1);
    // Of another model nothing was learnt.
    const other = report(undefined);
    const unknown = { ...other, request: other.request.replace("claude-opus-5-5", "claude-haiku-4-5"), response: other.response.replace("claude-opus-5-5", "claude-haiku-4-5") };
    expect(only((await run(estimates, unknown)).readings).usage.output_tokens).toBe(before.output_tokens);
  });
});

describe("the canonical count", () => {
  const canonical = async (request: string): Promise<number | undefined> => {
    const exchange = { ...chat("claude-opus-5-5", ANSWER), request };
    return (await run(estimator({ hasCanonicalTokens: true }), exchange)).canonicalInputTokens;
  };
  const asking = (content: string): string => JSON.stringify({ model: "m", messages: [{ content }] });

  it("is that of cl100k_base over the request's text, whatever the model", async () => {
    expect(await canonical(asking(QUESTION))).toBe(exact(cl100k, QUESTION));
    // Pinned: a drift of the encoding shows here.
    expect(await canonical(asking("tiktoken is great! お誕生日おめでとう"))).toBe(16);
  });

  it("is 0 of the empty text and of no body, and takes special tokens for plain text", async () => {
    expect(await canonical(asking(""))).toBe(0);
    expect(await canonical("")).toBe(0);
    expect(await canonical(asking("<|endoftext|>"))).toBeGreaterThan(1);
  });

  it("is unknown of a body that is no JSON, and is not made unless it is asked for", async () => {
    expect(await canonical("no json")).toBeUndefined();
    expect((await run(estimator(), chat("gpt-5.4", ANSWER))).canonicalInputTokens).toBeUndefined();
  });
});

/** Of this thread, in milliseconds: other programs on the machine do not count. */
function cpuMs(work: () => void): number {
  const before = process.threadCpuUsage();
  work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

describe("the event loop", () => {
  const BOUND_MS = 20;
  const CHUNK_BYTES = 64 * 1024;

  it.each([
    ["a run of one letter", "a".repeat(4_000_000)],
    ["Chinese without a space", "漢字仮名".repeat(500_000)],
    ["spaces", " ".repeat(4_000_000)],
    ["quotes and backslashes", '"\\'.repeat(1_000_000)],
    ["emoji of many code points", "👩‍👩‍👧‍👦".repeat(100_000)],
    ["digits", "0123456789".repeat(400_000)],
  ])("is held for less than 20 ms at a time by %s", async (_, text) => {
    const request = Buffer.from(JSON.stringify({ model: "gpt-5.4", stream: true, messages: [{ role: "user", content: text }] }));
    const pieces = text.match(/.{1,2000}/gsu) ?? [];
    const response = Buffer.from(pieces.map((piece) => `data: ${JSON.stringify({ model: "gpt-5.4", choices: [{ index: 0, delta: { content: piece } }] })}\n\n`).join(""));
    let least = Number.POSITIVE_INFINITY;
    // The best of some: the first runs of a program are compiled while they run.
    for (let attempt = 0; attempt < 5 && least >= BOUND_MS; attempt++) least = Math.min(least, await longestHold(request, response));
    expect(least).toBeLessThan(BOUND_MS);
  }, 60_000);

  async function longestHold(request: Buffer, response: Buffer): Promise<number> {
    const estimate = estimator({ hasCanonicalTokens: true }).open();
    const reader = open({ handler: openai, path: "/v1/chat/completions" });
    const holds: number[] = [];
    const step = (work: () => void): void => void holds.push(cpuMs(work));
    for (let at = 0; at < request.length; at += CHUNK_BYTES) {
      const chunk = request.subarray(at, at + CHUNK_BYTES);
      step(() => reader.requestData?.(chunk));
      step(() => estimate.requestData(chunk));
    }
    step(() => estimate.requestEnd(reader.requestOutline?.()));
    reader.response({ status: 200, statusText: "OK", headers: ["content-type", "text/event-stream"] });
    for (let at = 0; at < response.length; at += CHUNK_BYTES) step(() => reader.push(response.subarray(at, at + CHUNK_BYTES)));
    let readings: readonly Reading[] = [];
    step(() => {
      readings = reader.end({ kind: "client_aborted" });
    });
    let conclusion: Conclusion | Promise<Conclusion> | undefined;
    step(() => {
      conclusion = estimate.conclude(readings, 0);
    });
    await conclusion;
    return Math.max(...holds);
  }
});
