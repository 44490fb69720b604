import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { type DurableStore, openStore } from "../../src/store/client.ts";
import { type Outcome, runInProcess } from "./in-process.ts";

const MAIN = resolve(import.meta.dirname, "..", "..", "src", "main.ts");
const START = Date.parse("2026-11-20T00:00:00Z");
const HOUR_MS = 3_600_000;

let dataDir: string;
let store: DurableStore | undefined;
const children: ChildProcess[] = [];

beforeEach(() => {
  dataDir = join(mkdtempSync(join(tmpdir(), "tallyman-ledger-")), "data");
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await store?.close();
  store = undefined;
  rmSync(join(dataDir, ".."), { recursive: true, force: true });
});

function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], TALLYMAN_DATA_DIR: dataDir };
}

function tallyman(...args: readonly string[]): Promise<Outcome> {
  return runInProcess(args, { cwd: join(dataDir, ".."), env: environment() });
}

function start(...args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"], env: environment() });
  children.push(child);
  return child;
}

function exitOf(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((done) => child.once("exit", (code, signal) => done({ code, signal })));
}

/** Resolves once the child has written that many lines. */
function linesOf(child: ChildProcess, count: number): Promise<string[]> {
  return new Promise((done, fail) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split("\n").slice(0, -1);
      if (lines.length >= count) done(lines);
    });
    child.once("exit", () => fail(new Error(`it ended after ${JSON.stringify(text)}`)));
  });
}

interface Sample {
  readonly id: string;
  readonly model: string;
  readonly hour: number;
  readonly tokens: number;
}

async function commit({ id, model, hour, tokens }: Sample): Promise<void> {
  store ??= await openStore({ dataDir, durability: "strict" });
  const timeMs = START + hour * HOUR_MS;
  const data = {
    flow_id: id, sequence: 0, org_id: null, user_id: null, agent_id: "agent-7", thread_id: null, caller_type: null, metadata: {},
    meter: "openai", api: "openai.chat", host: "api.openai.com", operation: "chat", streamed: false,
    request_model: model, response_model: model, response_id: null, request_id: null, service_tier: null, status: 200,
    usage: { input_tokens: tokens, output_tokens: 2 }, totals: { input_tokens: tokens, output_tokens: 2, total_tokens: tokens + 2 },
    completeness: "complete", usage_source: "provider", billable: true, cost: { amount: "0.25", currency: "USD", source: "price_book", price_version: "1" },
    started_at: new Date(timeMs).toISOString(), latency_ms: 1, time_to_first_byte_ms: 1, bytes_up: 1, bytes_down: 1,
  };
  const event = { specversion: "1.0", type: "llm.usage.v1", id, source: "/tallyman/x", subject: "agent-7", time: new Date(timeMs).toISOString(), datacontenttype: "application/json", data };
  await store.commit(id, [{ id, flowId: id, timeMs, delivery: "pending", body: JSON.stringify(event) }]);
}

async function commitThree(): Promise<void> {
  await commit({ id: "e1", model: "gpt-5", hour: 1, tokens: 10 });
  await commit({ id: "e2", model: "gpt-5", hour: 30, tokens: 20 });
  await commit({ id: "e3", model: "gpt-5-mini", hour: 31, tokens: 1000 });
}

describe("tallyman usage", () => {
  it("prints totals by model", async () => {
    await commitThree();
    const { code, stdout, stderr } = await tallyman("usage");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^model +requests +input/);
    expect(stdout).toMatch(/^gpt-5 +2 +30 +0 +0 +4 +0 +\$0\.50$/m);
    expect(stdout).toMatch(/^total +3 +1,030 +0 +0 +6 +0 +\$0\.75$/m);
  });

  it("prints JSON with the time asked for, the rows and their total", async () => {
    await commitThree();
    const { stdout } = await tallyman("usage", "--json", "--by", "day", "--since", "2026-11-21", "--until", "2026-11-22");
    expect(JSON.parse(stdout)).toMatchObject({
      since: "2026-11-21T00:00:00.000Z", until: "2026-11-22T00:00:00.000Z", by: "day",
      rows: [{ key: "2026-11-21", requests: 2, usage: { input_tokens: 1020, output_tokens: 4 }, cost: "0.5" }],
      total: { key: "total", requests: 2, total_tokens: 1024 },
    });
  });

  it("prints CSV", async () => {
    await commitThree();
    const lines = await (await tallyman("usage", "--csv", "--by", "agent")).stdout.split("\r\n");
    expect(lines[0]).toMatch(/^agent,requests,input_tokens,output_tokens,/);
    expect(lines[1]).toMatch(/^agent-7,3,1030,6,/);
    expect(lines).toHaveLength(3);
  });

  it("is an empty table and a friendly word where there is no ledger, and makes none", async () => {
    const { code, stdout, stderr } = await tallyman("usage");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^total +0/m);
    expect(stderr).toContain(`no usage yet in the ledger in ${dataDir}`);
    expect(JSON.parse((await tallyman("usage", "--json")).stdout)).toMatchObject({ since: null, until: null, rows: [], total: { requests: 0, cost: null } });
    expect(existsSync(dataDir)).toBe(false);
  });
});

describe("tallyman events", () => {
  it("prints the newest last, within the limit and the time asked for", async () => {
    await commitThree();
    const ids = async (...args: readonly string[]): Promise<unknown[]> => {
      const { stdout } = await tallyman("events", "--json", ...args);
      return stdout.split("\n").slice(0, -1).map((line): unknown => JSON.parse(line).event.id);
    };
    expect(await ids()).toEqual(["e1", "e2", "e3"]);
    expect(await ids("--limit", "2")).toEqual(["e2", "e3"]);
    expect(await ids("--since", "2026-11-21")).toEqual(["e2", "e3"]);
  });

  it("prints a line an event for people", async () => {
    await commitThree();
    expect((await tallyman("events", "--limit", "1")).stdout).toMatch(/^2026-11-21T07:00:00\.000Z +pending +openai +gpt-5-mini +1,000 in, 2 out +\$0\.25 +complete\n$/);
  });

  it("prints nothing but a friendly word where there is no ledger", async () => {
    const { code, stdout, stderr } = await tallyman("events", "--json");
    expect([code, stdout]).toEqual([0, ""]);
    expect(stderr).toContain("no events in the ledger");
  });

  it.each([["SIGINT", 130], ["SIGTERM", 143]] as const)("follows events as they are stored, each once, until %s", async (signal, code) => {
    await commit({ id: "e1", model: "gpt-5", hour: 1, tokens: 10 });
    const child = start("events", "--follow", "--json");
    await linesOf(child, 1);
    const more = linesOf(child, 2);
    await commit({ id: "e2", model: "gpt-5", hour: 2, tokens: 10 });
    await commit({ id: "e3", model: "gpt-5", hour: 3, tokens: 10 });
    expect((await more).map((line): unknown => JSON.parse(line).event.id)).toEqual(["e2", "e3"]);
    const exit = exitOf(child);
    child.kill(signal);
    expect(await exit).toEqual({ code, signal: null });
  });

  it("follows a ledger that is made later", async () => {
    const child = start("events", "--follow", "--json");
    const lines = linesOf(child, 1);
    await new Promise((done) => child.once("spawn", done));
    await commit({ id: "e1", model: "gpt-5", hour: 1, tokens: 10 });
    expect(JSON.parse((await lines)[0] ?? "")).toMatchObject({ event: { id: "e1" }, delivery: "pending" });
  });

  it("ends quietly when the reader of its output goes away", async () => {
    await commit({ id: "e1", model: "gpt-5", hour: 1, tokens: 10 });
    const child = start("events", "--follow");
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    await linesOf(child, 1);
    const exit = exitOf(child);
    child.stdout?.destroy();
    await commit({ id: "e2", model: "gpt-5", hour: 2, tokens: 10 });
    expect({ ...(await exit), stderr }).toEqual({ code: 0, signal: null, stderr: "" });
  });
});
