/**
 * Everything around the program under test: simulated providers behind their real names, a receiver that checks
 * signatures, and directories of its own. Starts any number of programs on them.
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startSimulatedAnthropic } from "../../src/demo/simulated-anthropic.ts";
import { startSimulatedOpenAi } from "../../src/demo/simulated-openai.ts";
import type { SimulatedServer } from "../../src/demo/simulated-server.ts";
import { createSimulatedTls, type SimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { startProgram, type Program } from "./program.ts";
import { startReceiver, type Receiver, type ReceiverOptions } from "./receiver.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "./scripted-upstream.ts";
import { until } from "./until.ts";

/** One record of `/api/v1/events`. */
export interface LedgerEntry {
  readonly event: ModelUsageEvent;
  readonly delivery: string;
}

export interface Stage {
  /** Removed at the end. */
  readonly dir: string;
  readonly dataDir: string;
  readonly caDir: string;
  readonly tls: SimulatedTls;
  readonly upstreamCaFile: string;
  readonly anthropic: SimulatedServer;
  readonly openai: SimulatedServer;
  /** Behind GATEWAY. */
  readonly gateway: ScriptedUpstream;
  readonly receiver: Receiver;
  /** Settings of a program on this stage, save for its ports. */
  readonly env: Readonly<Record<string, string>>;
  start(env?: NodeJS.ProcessEnv): Promise<Program>;
  /** The usage events that the receiver took, in order of arrival, without reports of gaps. Throws when a signature did not hold. */
  received(): ModelUsageEvent[];
  /** Waits until the receiver took this many events, and gives them. */
  receives(count: number): Promise<ModelUsageEvent[]>;
  /** Ends programs that are left, then everything else. */
  close(): Promise<void>;
}

export const WEBHOOK_SECRET = `whsec_${Buffer.from("thirty-two bytes of test secret!").toString("base64")}`;

/** A host of nobody's, bound to Anthropic's meter: its answers are the test's own. */
export const GATEWAY = "gateway.example";

const GAP_TYPE = "usage.gap.v1";

/** `answer`: what the receiver says to each post; without it, 204. */
export async function openStage(answer?: ReceiverOptions["answer"]): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), "tallyman-e2e-"));
  const tls = await createSimulatedTls([GATEWAY]);
  const upstreamCaFile = join(dir, "upstream-ca.pem");
  await writeFile(upstreamCaFile, tls.ca);
  const anthropic = await startSimulatedAnthropic({ tls });
  const openai = await startSimulatedOpenAi({ tls });
  const receiver = await startReceiver({ secret: WEBHOOK_SECRET, ...(answer === undefined ? {} : { answer }) });
  const gateway = await startScriptedUpstream(tls);
  const programs: Program[] = [];
  const env = {
    TALLYMAN_CA_DIR: join(dir, "certs"),
    TALLYMAN_DATA_DIR: join(dir, "data"),
    TALLYMAN_UPSTREAM_CA_FILE: upstreamCaFile,
    TALLYMAN_CONNECT_TO: [
      `${GATEWAY}:443:127.0.0.1:${gateway.port}`,
      `api.anthropic.com:443:127.0.0.1:${anthropic.port}`,
      `api.openai.com:443:127.0.0.1:${openai.port}`,
    ].join(","),
    TALLYMAN_INTERCEPT_HOSTS: `${GATEWAY}=anthropic`,
    TALLYMAN_WEBHOOK_URL: receiver.url,
    TALLYMAN_WEBHOOK_SECRET: WEBHOOK_SECRET,
    TALLYMAN_WEBHOOK_BATCH_MAX_WAIT: "20ms",
  };
  const received = (): ModelUsageEvent[] => {
    const refused = receiver.requests.find(({ signatureError }) => signatureError !== undefined);
    if (refused !== undefined) throw new Error(`a post is not signed: ${refused.signatureError}`);
    return receiver.events().filter(({ type }) => type !== GAP_TYPE).map(asModelEvent);
  };
  return {
    dir,
    dataDir: env.TALLYMAN_DATA_DIR,
    caDir: env.TALLYMAN_CA_DIR,
    tls,
    upstreamCaFile,
    anthropic,
    openai,
    gateway,
    receiver,
    env,
    async start(further = {}) {
      const program = await startProgram({ ...env, ...further });
      programs.push(program);
      return program;
    },
    received,
    async receives(count) {
      await until(() => received().length >= count, `${count} events at the receiver`);
      return received();
    },
    async close() {
      await Promise.all(programs.filter(({ exitCode }) => exitCode === undefined).map((program) => program.kill9()));
      gateway.close();
      await Promise.all([anthropic.close(), openai.close(), receiver.close()]);
      await rm(dir, { recursive: true, force: true });
      // The program survives its own defects; a test must not.
      const defects = programs.flatMap(({ stderr }) => stderr.match(/.*a defect in tallyman.*/g) ?? []);
      if (defects.length > 0) throw new Error(defects.join("\n"));
    },
  };
}

/** The hand-over counters and the durable gaps, as `/api/v1/counters` has them. */
export interface CountersAnswer {
  readonly flows: number;
  readonly buffered: number;
  readonly reports: number;
  readonly ledger: { readonly pending: number; readonly records: number; readonly gaps: Readonly<Record<string, number>> };
}

export async function countersOf(program: Program): Promise<CountersAnswer> {
  const isCounters = (value: unknown): value is CountersAnswer =>
    typeof value === "object" && value !== null && "flows" in value && "buffered" in value && "reports" in value && "ledger" in value;
  const answer = await program.get("/api/v1/counters");
  if (!isCounters(answer)) throw new TypeError(`no counters: ${JSON.stringify(answer)}`);
  return answer;
}

/** Waits until nothing is under way, unstored or undelivered. */
export async function settled(program: Program): Promise<void> {
  await until(async () => {
    const { flows, buffered, reports, ledger } = await countersOf(program);
    return flows + buffered + reports + ledger.pending === 0;
  }, "the counters to come to zero");
}

/** Every ledger record that a program shows, oldest first. */
export async function ledgerOf(program: Program): Promise<LedgerEntry[]> {
  const answer = await program.get("/api/v1/events?limit=1000");
  if (typeof answer !== "object" || answer === null || !("events" in answer) || !Array.isArray(answer.events)) throw new TypeError("no list of events");
  return answer.events.filter((entry: unknown) => !JSON.stringify(entry).includes(GAP_TYPE)).map((entry: unknown) => {
    if (typeof entry !== "object" || entry === null || !("event" in entry) || !("delivery" in entry)) throw new TypeError("no ledger entry");
    return { event: asModelEvent(entry.event), delivery: String(entry.delivery) };
  });
}

/** Checks what tells a usage event of a model from anything else; the tests check the rest. */
export function asModelEvent(value: unknown): ModelUsageEvent {
  const isModelEvent = (event: unknown): event is ModelUsageEvent =>
    typeof event === "object" && event !== null && "type" in event && event.type === "llm.usage.v1" && "data" in event && "id" in event;
  if (!isModelEvent(value)) throw new TypeError(`not a model's usage event: ${JSON.stringify(value)}`);
  return value;
}
