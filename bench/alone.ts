/**
 * `node bench/alone.ts [NAME…]`: what metering costs by itself, with no traffic around it: CPU of a flow
 * through the real meter (relaxed, its log to /dev/null, nothing stored), main thread and all threads, the best of several
 * runs. Then the floor: the parts that no metering can leave out, each alone and warm. NAMEs are of bench/exchanges.ts.
 */

import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { destination, pino } from "pino";

import { createFlowFeed } from "../src/admin/flow-feed.ts";
import { createMetrics } from "../src/admin/metrics.ts";
import { hostTable } from "../src/app/hosts.ts";
import { buildMeter } from "../src/app/metering.ts";
import { loadSettings, type LoadContext } from "../src/config/load.ts";
import { newFlowId } from "../src/flow/flow-id.ts";
import { createCounters, createHandlers, createPriceBook, createTokenizer, createTracker } from "../src/usage/index.ts";
import { EXCHANGES, isExchangeId, type Exchange, type ExchangeId } from "./exchanges.ts";
import { completionBody, JSON_BYTES } from "./payloads.ts";

const RUNS = 8;
const FLOOR_RUNS = 40;
/** Flows under way at once. */
const AT_ONCE = 64;
const DEFAULT_NAMES: readonly ExchangeId[] = ["json", "openai", "openai-gzip", "anthropic", "anthropic-gzip", "bedrock", "bedrock-gzip"];

const meter = realMeter();
const positionals = process.argv.slice(2);
const names = positionals.length === 0 ? DEFAULT_NAMES : positionals.filter(isExchangeId);
for (const name of names) console.log(`metering alone, ${name}`.padEnd(34), await measureFlow(EXCHANGES[name]));
for (const [name, work] of Object.entries(floor())) console.log(`floor: ${name}`.padEnd(34), `${best(work).toFixed(1)} us`);
process.exit(0);

function realMeter(): ReturnType<typeof buildMeter> {
  const result = loadSettings({ TALLYMAN_DURABILITY: "relaxed" }, { cwd: tmpdir(), homeDir: tmpdir() } as LoadContext);
  if (!("settings" in result)) throw new Error("the default settings are refused");
  const { settings } = result;
  const logger = pino({ base: null }, destination({ fd: openSync("/dev/null", "w"), sync: false, minLength: 15_360 }));
  const counters = createCounters({ pendingFile: undefined, now: Date.now, onFileError: () => undefined });
  const store = { deploymentId: "bench", pendingJobs: new Map(), failure: undefined, begin: () => undefined, commit: () => Promise.resolve(), recordGap: () => undefined };
  const parts = { options: { settings, logger, version: "0" }, store, hosts: hostTable(createHandlers(), settings), recognize: undefined, prices: createPriceBook() };
  // Of a store and an authority the meter uses what is here.
  return buildMeter(parts as unknown as Parameters<typeof buildMeter>[0], {
    counters,
    metrics: createMetrics({ counters: () => counters.snapshot() }),
    tracker: createTracker({ logger }),
    feed: createFlowFeed(),
    tokenizer: createTokenizer(),
    hasReceiver: false,
    now: Date.now,
  });
}

async function measureFlow(exchange: Exchange): Promise<string> {
  const { answer } = exchange;
  const pieces = answer.kind === "body" ? [answer.bytes()] : await answer.pieces();
  const headers = ["Content-Type", answer.contentType, "X-Request-Id", "req_bench", ...(answer.kind === "stream" && answer.isGzip ? ["Content-Encoding", "gzip"] : [])];
  const flows = answer.kind === "body" ? 6_400 : 640;
  const requestBody = Buffer.from(exchange.requestBody);
  const flow = (): Promise<void> | undefined => {
    const startedAtMs = Date.now();
    const { host, path, method = "POST" } = exchange;
    const tap = meter.open({ flowId: newFlowId(startedAtMs), startedAtMs, protocol: "http", scheme: "https", host, port: 443, method, target: path, headers: ["Content-Type", "application/json"], proxyUser: undefined, attributionHeaders: [] });
    if (tap === undefined) throw new Error(`${host} is not metered`);
    tap.requestData(requestBody);
    tap.requestEnd();
    tap.responseHead({ status: 200, statusText: "OK", headers: [...headers] });
    for (const piece of pieces) void tap.responseData(piece);
    return tap.end({ kind: "complete" });
  };
  const run = async (): Promise<void> => {
    for (let done = 0; done < flows; done += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, flow));
      // Relaxed flows are settled 10 ms after they ended.
      await new Promise((resolve) => setTimeout(resolve, 12));
    }
  };
  await run();
  await run();
  const main: number[] = [];
  const all: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const [threadBefore, before] = [process.threadCpuUsage(), process.cpuUsage()];
    await run();
    const [thread, process_] = [process.threadCpuUsage(threadBefore), process.cpuUsage(before)];
    main.push((thread.user + thread.system) / flows);
    all.push((process_.user + process_.system) / flows);
  }
  return `${Math.min(...main).toFixed(1)} us on the main thread, ${Math.min(...all).toFixed(1)} us on all`;
}

/** Microseconds of one call, warm: the best of several runs by the clock, which other work on the machine only lengthens. */
function best(work: () => unknown): number {
  const calls = 1_000;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < FLOOR_RUNS; i++) {
    const before = performance.now();
    for (let call = 0; call < calls; call++) work();
    least = Math.min(least, performance.now() - before);
  }
  return (least * 1000) / calls;
}

/** An event's size and shape are those of the ledger. */
function floor(): Record<string, () => unknown> {
  const answer = completionBody(JSON_BYTES);
  const event = { id: "0193f0a2-0000-7000-8000-000000000000", source: "/tallyman/bench", data: Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`a_field_${i}`, i % 3 === 0 ? i : "a value of some length"])) };
  const body = JSON.stringify(event);
  const insert = eventInsert();
  let next = 0;
  return {
    "JSON.parse of the 2 KB answer": () => JSON.parse(answer.toString()),
    "JSON.stringify of an event": () => JSON.stringify(event),
    "copy of an event between threads": () => structuredClone([event.id, 1, 0, body]),
    "one row of a ledger, two indices": () => insert(`${event.id}-${next++}`, body),
  };
}

/** In one transaction, in WAL mode, never synced: the insert alone. */
function eventInsert(): (id: string, body: string) => void {
  const folder = mkdtempSync(join(tmpdir(), "tallyman-alone-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const db = new DatabaseSync(join(folder, "ledger.db"));
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time_ms INTEGER NOT NULL, body TEXT NOT NULL) STRICT");
  db.exec("CREATE INDEX events_by_time ON events (time_ms); BEGIN");
  const statement = db.prepare("INSERT INTO events (id, time_ms, body) VALUES (?, ?, ?)");
  return (id, body) => void statement.run(id, Date.now(), body);
}
