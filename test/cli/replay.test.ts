import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { canonicalUsage } from "../../src/usage/categories.ts";
import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { parseRecord } from "../../src/usage/replay.ts";
import { type Outcome, runInProcess } from "./in-process.ts";

const FIXTURES = resolve(import.meta.dirname, "..", "fixtures");

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "tallyman-replay-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function tallyman(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return runInProcess(["replay", ...args], { cwd: dir, env: { PATH: process.env["PATH"], ...env } });
}

async function eventsOf(file: string, env: NodeJS.ProcessEnv = {}): Promise<readonly ModelUsageEvent[]> {
  const { stdout, stderr, code } = await tallyman(["--json", file], env);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout.trimEnd().split("\n").map((line): ModelUsageEvent => JSON.parse(line));
}

function record(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
}

const CHAT = `POST /v1/chat/completions HTTP/1.1
host: llm.internal
content-type: application/json

{"model":"gpt-5.4","messages":[{"role":"user","content":"hello"}]}
### response
HTTP/1.1 200 OK
content-type: application/json

{"id":"c1","model":"gpt-5.4","choices":[],"usage":{"prompt_tokens":100000,"completion_tokens":10,"total_tokens":100010}}
`;

describe("tallyman replay", () => {
  it("prints the event of a record, with what it counted", async () => {
    const { code, stdout, stderr } = await tallyman([join(FIXTURES, "anthropic/message-whole.http")]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("claude-opus-5-5");
    for (const [name, value] of [["cache_write_1h_tokens", "500"], ["web_search_requests", "2"], ["usage_source", "provider"]]) {
      expect(stdout).toMatch(new RegExp(`^ +${name} +${value}$`, "m"));
    }
    expect(stdout).toMatch(/^ +cost +0\.033648 USD \(price_book\)$/m);
  });

  it("prints events as JSON, as they would be sent", async () => {
    const [event, ...others] = await eventsOf(join(FIXTURES, "anthropic/message-whole.http"));
    expect(others).toEqual([]);
    expect(event).toMatchObject({ specversion: "1.0", type: "llm.usage.v1", data: { meter: "anthropic", request_id: "req_SYNTH", sequence: 0, totals: { total_tokens: 10_052 } } });
    expect(event!.data.cost?.price_version).toContain("genai-prices-");
  });

  it("runs the exchanges of a record in view of one another", async () => {
    const events = await eventsOf(join(FIXTURES, "openai/responses-background-polled-and-replayed.http"));
    expect(events.map(({ data }) => data.totals.total_tokens)).toEqual([0, 0, 0, 5700, 0, 0]);
  });

  it("reads sockets, a response an event, and AWS's event streams", async () => {
    const live = await eventsOf(join(FIXTURES, "gemini/live-turns.ws"));
    expect(live.map(({ data }) => [data.api, data.sequence, data.usage.output_audio_tokens, data.usage.output_tokens])).toEqual([["gemini.live", 0, 160, undefined], ["gemini.live", 1, undefined, 20]]);
    const [converse] = await eventsOf(join(FIXTURES, "bedrock/stream/converse.http"));
    expect(converse!.data).toMatchObject({ api: "bedrock.converse", completeness: "complete", usage: { input_tokens: 20, output_tokens: 55 } });
  });

  it("takes a body that is no text in base64", async () => {
    const body = Buffer.from('{"id":"c1","model":"gpt-5.4","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}').toString("base64");
    const file = record("base64.http", `${CHAT.slice(0, CHAT.indexOf('{"id"'))}${body}\n### options\n{"encoding":"base64"}\n`);
    expect((await eventsOf(file))[0]!.data.usage).toEqual({ input_tokens: 3, output_tokens: 4 });
  });

  it("finds the meter as a running program would: by binding, by the record, by the path", async () => {
    const bound = record("bound.http", CHAT.replace("/v1/chat/completions", "/other/chat/completions"));
    expect((await eventsOf(bound, { TALLYMAN_INTERCEPT_HOSTS: "llm.internal=groq" }))[0]!.data.meter).toBe("groq");
    const named = record("named.http", `${CHAT}### options\n{"handler":"mistral"}\n`);
    expect((await eventsOf(named))[0]!.data.meter).toBe("mistral");
    expect((await eventsOf(record("known-path.http", CHAT)))[0]!.data).toMatchObject({ meter: "openai", host: "llm.internal" });
  });

  it("heeds the settings of prices, estimates and attribution", async () => {
    const prices = record("prices.json", '{"models":[{"match":"gpt-5.4","per_million":{"input_tokens":"7","output_tokens":"0"}}]}');
    const [event] = await eventsOf(record("priced.http", CHAT), { TALLYMAN_PRICES_FILE: prices, TALLYMAN_ORG_ID: "acme" });
    expect(event!.data).toMatchObject({ org_id: "acme", cost: { amount: "0.7", source: "override" } });
    const silent = join(FIXTURES, "openai/chat-stream-without-usage.http");
    expect((await eventsOf(silent))[0]!.data.usage_source).toBe("estimate");
    expect((await eventsOf(silent, { TALLYMAN_ESTIMATE: "off" }))[0]!.data).toMatchObject({ usage_source: "none", usage: {} });
    expect((await eventsOf(silent, { TALLYMAN_CANONICAL_TOKENS: "on" }))[0]!.data.canonical_input_tokens).toBeGreaterThan(0);
  });

  it("says of each bad file what is wrong with it, and prints the others", async () => {
    const files = {
      "nowhere.http": undefined,
      "page.http": "<html>",
      "nobody.http": CHAT.replace("/v1/chat/completions", "/other"),
      "no-host.http": CHAT.replace("host: llm.internal\n", ""),
      "bad-option.http": `${CHAT}### options\n{"end":"never"}\n`,
      "no-meter.http": `${CHAT}### options\n{"handler":"opanai"}\n`,
      "no-json.http": `${CHAT}### options\n{\n`,
    };
    for (const [name, text] of Object.entries(files)) if (text !== undefined) record(name, text);
    const good = record("good.http", CHAT);
    const { code, stdout, stderr } = await tallyman([...Object.keys(files), good]);
    expect(code).toBe(1);
    expect(stdout).toContain("100,000 in, 10 out");
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(Object.keys(files).length);
    for (const [place, text] of ["there is no such file", "is not a request line", "no meter knows the host llm.internal", "no host header", "options may have", 'no meter "opanai"', "is not JSON"].entries()) {
      expect(lines[place]).toContain(text);
      expect(lines[place]).toContain(Object.keys(files)[place]);
    }
  });

  it("without a file is wrong usage", async () => {
    expect(await tallyman([])).toMatchObject({ code: 2, stdout: "" });
  });

  it("makes the events that every fixture of a model expects", async () => {
    const files = MODEL_FOLDERS.flatMap((folder) => readdirSync(join(FIXTURES, folder), { recursive: true, encoding: "utf8" }).map((file) => join(FIXTURES, folder, file)));
    const records = files.filter((file) => /\.(?:http|ws)$/.test(file));
    expect(records.length).toBeGreaterThan(500);
    const { code, stdout, stderr } = await tallyman(["--json", ...records]);
    expect([code, stderr]).toEqual([0, ""]);
    const events = stdout.trimEnd().split("\n").map((line): ModelUsageEvent => JSON.parse(line));
    const expected = records.flatMap((file) =>
      parseRecord(readFileSync(file, "utf8")).flatMap(({ expected: readings }): [place: string, reading: unknown][] =>
        Array.isArray(readings) ? readings.map((reading: unknown) => [relative(FIXTURES, file), reading]) : [],
      ),
    );
    expect(events).toHaveLength(expected.length);
    expected.forEach(([place, reading], index) => expectSame(events[index]!, reading, place));
  }, 120_000);
});

const MODEL_FOLDERS = ["anthropic", "azure", "bedrock", "codex", "cohere", "gemini", "ollama", "openai", "openai-compatible", "vertex"];

/** Counts that the provider reported are those of the reading; estimates may be better. */
function expectSame({ type, data }: ModelUsageEvent, reading: unknown, place: string): void {
  const { usage, source = "provider", kind = "measured" } = reading as { usage?: Record<string, unknown>; source?: string; kind?: string };
  if (type !== "llm.usage.v1") return;
  if (kind !== "measured") return expect(data.usage, place).toEqual({});
  expect(data.usage_source, place).toBe(source);
  if (source === "provider" && usage !== undefined) expect(data.usage, place).toEqual(canonicalUsage(usage));
}
