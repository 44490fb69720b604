/**
 * `tallyman demo`: the whole way of a usage event on one machine, without keys and without internet. Simulated providers
 * stand behind the real names, an agent in a process of its own calls them through a proxy that it knows only by its
 * environment, and a receiver checks what arrives. Exit code 0 only if every call has its event with the very numbers
 * that the client was told, and nothing else came. Leaves nothing behind.
 */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startSimulatedAnthropic } from "../demo/simulated-anthropic.ts";
import { startSimulatedOpenAi } from "../demo/simulated-openai.ts";
import type { SimulatedServer } from "../demo/simulated-server.ts";
import { createSimulatedTls } from "../demo/simulated-tls.ts";
import { createTallyman } from "../index.ts";
import type { UsageRow } from "../store/store.ts";
import { EXIT } from "./context.ts";
import type { CommandContext } from "./context.ts";
import { addDecimals } from "./decimal.ts";
import { parseCallReport } from "./demo-call.ts";
import type { CallReport } from "./demo-call.ts";
import { startDemoReceiver } from "./demo-receiver.ts";
import type { DemoReceiver, ReceivedEvent } from "./demo-receiver.ts";
import { createDemoScreen } from "./demo-screen.ts";
import type { DemoScreen } from "./demo-screen.ts";
import { usageTable } from "./usage-table.ts";

const AGENT_TIMEOUT_MS = 60_000;
const DELIVERY_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
/** How our own cleanup ends the agent; its time limit ends it by SIGTERM. */
const KILL = "SIGKILL";
const SECRET_BYTES = 24;
/** What an agent's stderr may hold of an explanation. */
const MAX_COMPLAINT = 4_000;

/** Things to undo, newest first. */
type Cleanups = (() => Promise<unknown>)[];

/**
 * Runs the demo. Resolves to the exit code, also at SIGINT and SIGTERM, when everything is cleaned up; rejects only for
 * what makes it impossible (no port, no temporary folder).
 */
export async function demo(context: CommandContext): Promise<number> {
  const screen = createDemoScreen(context.stdout);
  const cleanups: Cleanups = [];
  const interrupted = Promise.withResolvers<number>();
  const onInterrupt = (): void => interrupted.resolve(EXIT.interrupted);
  const onTerminate = (): void => interrupted.resolve(EXIT.terminated);
  process.once("SIGINT", onInterrupt).once("SIGTERM", onTerminate);
  try {
    const shown = showAll(context, screen, cleanups).then((isWhole) => (isWhole ? EXIT.done : EXIT.failed));
    return await Promise.race([shown, interrupted.promise]);
  } finally {
    process.off("SIGINT", onInterrupt).off("SIGTERM", onTerminate);
    for (const cleanup of cleanups.toReversed()) await cleanup();
  }
}

async function showAll(context: CommandContext, screen: DemoScreen, cleanups: Cleanups): Promise<boolean> {
  const stage = await setUp(cleanups);
  screen.title(`Tallyman ${context.version}: what an agent uses, metered on the way`);
  screen.fact("proxy", stage.proxyUrl);
  screen.fact("providers", "simulated Anthropic and OpenAI, real TLS, behind their own names");
  screen.fact("receiver", stage.receiver.url);
  screen.heading("An agent with HTTPS_PROXY, NODE_USE_ENV_PROXY and NODE_EXTRA_CA_CERTS set, and no other change, calls:");
  const calls = await runAgent(context, stage, screen, cleanups);
  if (calls === undefined) return false;
  const expected = calls.filter(({ responseId }) => responseId !== null);
  await waitFor(() => stage.receiver.events.length >= expected.length, DELIVERY_TIMEOUT_MS);
  return showEvents(screen, stage.receiver, expected);
}

/** What runs during the demo. */
interface Stage {
  readonly proxyUrl: string;
  readonly caFile: string;
  readonly receiver: DemoReceiver;
}

async function setUp(cleanups: Cleanups): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), "tallyman-demo-"));
  const removeDir = (): void => rmSync(dir, { recursive: true, force: true });
  // Also when the process is ended under us: `tallyman demo | head -3` breaks the pipe.
  process.once("exit", removeDir);
  cleanups.push(async () => {
    process.off("exit", removeDir);
    await rm(dir, { recursive: true, force: true });
  });
  const tls = await createSimulatedTls();
  const upstreamCaFile = join(dir, "providers.pem");
  await writeFile(upstreamCaFile, tls.ca);
  const providers = [await startSimulatedAnthropic({ tls }), await startSimulatedOpenAi({ tls })] as const;
  cleanups.push(() => Promise.all(providers.map((provider) => provider.close())));
  const secret = `whsec_${randomBytes(SECRET_BYTES).toString("base64")}`;
  const receiver = await startDemoReceiver(secret);
  cleanups.push(() => receiver.close());
  const tallyman = createTallyman({
    port: 0,
    adminPort: 0,
    caDir: join(dir, "certs"),
    dataDir: join(dir, "data"),
    connectTo: [connectTo("api.anthropic.com", providers[0]), connectTo("api.openai.com", providers[1])],
    upstreamCaFile,
    webhookUrl: receiver.url,
    webhookSecrets: [secret],
    webhookBatchMaxWaitMs: 100,
    agentId: "demo",
    logLevel: "warn",
  });
  cleanups.push(() => tallyman.stop());
  await tallyman.start();
  return { proxyUrl: tallyman.proxyUrl, caFile: tallyman.caFile, receiver };
}

function connectTo(host: string, provider: SimulatedServer): { host: string; port: number; toHost: string; toPort: number } {
  return { host, port: 443, toHost: "127.0.0.1", toPort: provider.port };
}

/** The calls that the agent made; `undefined` when it failed. */
async function runAgent(context: CommandContext, stage: Stage, screen: DemoScreen, cleanups: Cleanups): Promise<readonly CallReport[] | undefined> {
  const child = spawn(process.execPath, [agentFile()], {
    env: agentEnvironment(context.env, stage),
    stdio: ["ignore", "pipe", "pipe"],
    timeout: AGENT_TIMEOUT_MS,
  });
  const exited = once(child, "close");
  cleanups.push(() => kill(child));
  const calls: CallReport[] = [];
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const report = parseCallReport(line);
    if (report === undefined) return;
    calls.push(report);
    screen.call(report);
  });
  await exited;
  if (child.exitCode === 0) return calls;
  if (child.signalCode === KILL) return undefined;
  screen.failure(`The agent failed (${child.signalCode ?? `exit code ${child.exitCode ?? "unknown"}`}):\n${complaint}`);
  return undefined;
}

/** Beside this file, with the same extension: .ts in a checkout, .js in the package. */
function agentFile(): string {
  return fileURLToPath(new URL(`./demo-agent${extname(import.meta.url)}`, import.meta.url));
}

/** Settings of the user's own that would lead the agent elsewhere: proxies, keys and addresses of providers, Node's. */
const LEFT_OUT = /^(?:(?:https?|all|no)_proxy|(?:anthropic|openai|tallyman|node)_.*|ssl_cert_.*)$/i;

function agentEnvironment(env: NodeJS.ProcessEnv, stage: Stage): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !LEFT_OUT.test(name));
  return {
    ...Object.fromEntries(kept),
    HTTPS_PROXY: stage.proxyUrl,
    NODE_USE_ENV_PROXY: "1",
    NODE_EXTRA_CA_CERTS: stage.caFile,
  };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(KILL);
  await exited;
}

/** Shows each event against the call it is of; true when all match and nothing is left over. */
function showEvents(screen: DemoScreen, receiver: DemoReceiver, calls: readonly CallReport[]): boolean {
  const { events, posts, refused } = receiver;
  screen.heading(`The receiver got ${events.length} events in ${posts} signed ${posts === 1 ? "post" : "posts"}; it checked every signature itself:`);
  const isMatch = calls.map((call) => {
    const event = events.find(({ responseId }) => responseId === call.responseId);
    const isEqual = event !== undefined && agrees(event, call);
    screen.event(call, event, isEqual);
    return isEqual;
  });
  const isWhole = isMatch.every(Boolean) && events.length === calls.length && refused === 0;
  screen.heading("What it adds up to:");
  screen.text(usageTable(usageRows(events), "model"));
  if (isWhole) screen.success(`Each of the ${calls.length} events has exactly the numbers that the client was told. Counting tokens cost nothing and sent nothing.`);
  else screen.failure(`Events and calls do not match: ${calls.length} expected, ${events.length} received, ${refused} posts refused.`);
  return isWhole;
}

function agrees(event: ReceivedEvent, call: CallReport): boolean {
  return event.completeness === "complete" && event.inputTokens === call.inputTokens && event.outputTokens === call.outputTokens;
}

/** Totals by model of what was received, for the table. */
function usageRows(events: readonly ReceivedEvent[]): readonly UsageRow[] {
  const models = [...new Set(events.map(({ model }) => model ?? ""))];
  return models.map((model) => {
    const own = events.filter((event) => (event.model ?? "") === model);
    const usage: Record<string, number> = {};
    for (const event of own) for (const [category, count] of Object.entries(event.usage)) usage[category] = (usage[category] ?? 0) + count;
    const sum = (pick: (event: ReceivedEvent) => number) => own.reduce((total, event) => total + pick(event), 0);
    const costs = own.flatMap(({ cost }) => cost ?? []);
    const input = sum((event) => event.inputTokens);
    const output = sum((event) => event.outputTokens);
    return {
      key: model,
      requests: own.length,
      usage,
      input_tokens: input,
      output_tokens: output,
      total_tokens: input + output,
      cost: costs.length === 0 ? null : addDecimals(costs),
      unpriced: own.length - costs.length,
      partial: sum((event) => (event.completeness === "partial" ? 1 : 0)),
      unknown: sum((event) => (event.completeness === "unknown" ? 1 : 0)),
    };
  });
}

/** Polls; gives up silently at the bound, as the caller compares anyway. */
async function waitFor(condition: () => boolean, boundMs: number): Promise<void> {
  const deadline = performance.now() + boundMs;
  while (!condition() && performance.now() < deadline) await pause(POLL_MS);
}
