import type { Worker } from "node:worker_threads";
import { Tiktoken } from "js-tiktoken/lite";
import o200k from "js-tiktoken/ranks/o200k_base";
import { afterAll, afterEach, describe, expect, it } from "vitest";

import { createTokenizer, type CountOutcome, type Tokenizer, type TokenizerOptions } from "../../../src/usage/estimate/tokenizer.ts";
import { until } from "../../support/until.ts";

const open: Tokenizer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

function tokenizer(options: TokenizerOptions = {}): Tokenizer {
  const made = createTokenizer(options);
  open.push(made);
  return made;
}

/** Threads that were started here, and those of them that still run. */
const started = new Set<Worker>();
const running = new Set<Worker>();
process.on("worker", (worker) => {
  started.add(worker);
  running.add(worker);
  worker.once("exit", () => running.delete(worker));
});

/** One for all that count with the real one: it takes a second to load. */
const real = createTokenizer({ maxJobMs: 120_000 });
afterAll(() => real.close());

const text = (content: string) => ({ kind: "text", text: content }) as const;
const prompt = (body: unknown) => ({ kind: "prompt", body: Uint8Array.from(Buffer.from(typeof body === "string" ? body : JSON.stringify(body))) }) as const;
const uncounted = (reason: string): CountOutcome => ({ kind: "uncounted", reason }) as CountOutcome;

const HANGS = new URL("../../support/workers/tokenizer-that-hangs.ts", import.meta.url);
const DIES = new URL("../../support/workers/tokenizer-that-dies.ts", import.meta.url);

describe("the tokenizer", () => {
  it("counts as OpenAI's encoding does, in a thread", async () => {
    const sample = "An agent reads 東京都 and writes code: for (const x of y) { }\n".repeat(20);
    const exact = new Tiktoken(o200k).encode(sample, [], []).length;
    await expect(real.count("o200k_base", text(sample)).outcome).resolves.toEqual({ kind: "counted", tokens: exact, messages: 0 });
  });

  it("counts the text of a request, and its messages", async () => {
    const body = { model: "gpt-5.4", messages: [{ role: "user", content: "tiktoken is great!" }, { role: "user", content: "2 + 2 = 4" }] };
    const outcome = await real.count("cl100k_base", prompt(body)).outcome;
    expect(outcome).toMatchObject({ kind: "counted", messages: 2 });
    // 6 and 7: what the format puts around a text is not the tokenizer's to count.
    expect(outcome).toMatchObject({ tokens: 13 });
  });

  it("takes special tokens in a request for plain text, and the empty text for nothing", async () => {
    const special = await real.count("cl100k_base", text("<|endoftext|>")).outcome;
    expect(special.kind === "counted" && special.tokens > 1).toBe(true);
    await expect(real.count("cl100k_base", text("")).outcome).resolves.toEqual({ kind: "counted", tokens: 0, messages: 0 });
  });

  it("needs no thread for the empty text, nor before the first job", async () => {
    const before = started.size;
    await tokenizer({ workerUrl: HANGS }).count("cl100k_base", text("")).outcome;
    expect(started.size).toBe(before);
    await tokenizer({ workerUrl: HANGS }).count("cl100k_base", text("x")).outcome;
    expect(started.size).toBe(before + 1);
  });

  it.each([
    ["a run of one letter", "a".repeat(1_000_000)],
    ["a run of one character of Chinese", "漢".repeat(300_000)],
    ["spaces", " ".repeat(1_000_000)],
  ])("counts %s in parts, soon", async (_, content) => {
    const outcome = await real.count("o200k_base", text(content)).outcome;
    expect(outcome.kind).toBe("counted");
  });

  it("gives up a text that is all long words, and goes on with the next", async () => {
    let state = 1;
    const letters = Array.from({ length: 2_000_000 }, () => String.fromCharCode(97 + ((state = (state * 48_271) % 2_147_483_647) % 26))).join("");
    await expect(real.count("o200k_base", text(letters)).outcome).resolves.toEqual(uncounted("too_costly"));
    await expect(real.count("o200k_base", text("2 + 2 = 4")).outcome).resolves.toMatchObject({ kind: "counted", tokens: 7 });
  });

  it("says of a body that is no JSON that there is no count", async () => {
    await expect(real.count("cl100k_base", prompt("<html>")).outcome).resolves.toEqual(uncounted("not_json"));
  });

  it("refuses more than its queue holds, by number and by size", async () => {
    const counts = tokenizer({ workerUrl: HANGS, maxWaiting: 1, maxWaitingBytes: 1000 });
    const current = counts.count("cl100k_base", text("hang"));
    await expect(counts.count("cl100k_base", text("x".repeat(501))).outcome).resolves.toEqual(uncounted("queue_full"));
    const waiting = counts.count("cl100k_base", text("x"));
    await expect(counts.count("cl100k_base", text("x")).outcome).resolves.toEqual(uncounted("queue_full"));
    waiting.cancel();
    await expect(waiting.outcome).resolves.toEqual(uncounted("late"));
    current.cancel();
    await expect(current.outcome).resolves.toEqual(uncounted("late"));
  });

  it("ends a thread that takes too long over a job, and counts the next with another", async () => {
    const counts = tokenizer({ workerUrl: HANGS, maxJobMs: 300 });
    const stuck = counts.count("cl100k_base", text("hang"));
    const next = counts.count("cl100k_base", text("x"));
    await expect(stuck.outcome).resolves.toEqual(uncounted("worker_failed"));
    await expect(next.outcome).resolves.toEqual({ kind: "counted", tokens: 7, messages: 0 });
  });

  it("starts no thread for a while when three died over their jobs", async () => {
    let now = 0;
    const counts = tokenizer({ workerUrl: DIES, restMs: 1000, monotonicMs: () => now });
    for (let i = 0; i < 3; i++) await expect(counts.count("cl100k_base", text("x")).outcome).resolves.toEqual(uncounted("worker_failed"));
    const before = started.size;
    await expect(counts.count("cl100k_base", text("x")).outcome).resolves.toEqual(uncounted("worker_failed"));
    expect(started.size).toBe(before);
    now = 2000;
    await expect(counts.count("cl100k_base", text("x")).outcome).resolves.toEqual(uncounted("worker_failed"));
    expect(started.size).toBe(before + 1);
  });

  it("ends its thread when it has had nothing to do", async () => {
    const before = new Set(running);
    const counts = tokenizer({ workerUrl: HANGS, idleMs: 50 });
    await counts.count("cl100k_base", text("x")).outcome;
    const [own] = [...started].filter((worker) => !before.has(worker)).slice(-1);
    await until(() => own !== undefined && !running.has(own), "the thread to end");
    await expect(counts.count("cl100k_base", text("x")).outcome).resolves.toMatchObject({ tokens: 7 });
  });

  it("keeps a thread that is to be kept, however long it has nothing to do", async () => {
    const before = started.size;
    const kept = tokenizer({ workerUrl: HANGS, idleMs: 1, isKept: true });
    const other = tokenizer({ workerUrl: HANGS, idleMs: 20 });
    for (const each of [kept, other]) await each.warm("cl100k_base");
    const [own, others] = [...started].slice(before);
    await until(() => others !== undefined && !running.has(others), "the other thread to end");
    expect(own !== undefined && running.has(own)).toBe(true);
  });

  it("gives every job an outcome when it is closed", async () => {
    const counts = tokenizer({ workerUrl: HANGS });
    const jobs = [counts.count("cl100k_base", text("hang")), counts.count("cl100k_base", text("x"))];
    await counts.close();
    for (const { outcome } of jobs) await expect(outcome).resolves.toEqual(uncounted("closed"));
    await expect(counts.count("cl100k_base", text("x")).outcome).resolves.toEqual(uncounted("closed"));
  });
});
