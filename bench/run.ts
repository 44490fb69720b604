/**
 * `npm run bench -- [--quick] [--built] [--rounds N] [--workloads GROUP,ID] [--only ID,ID] [--json FILE]`: what Tallyman costs beside its peers. It
 * measures and prints; it asserts nothing and exits 0 whatever it finds. Linux only: it reads /proc.
 * How to read the output: docs/performance.md.
 */

import { statfsSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, type } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { CONTESTANTS, type Contestant } from "./contestants.ts";
import { type Failure, measureRounds, measureStalledGrowth, type Memory, messageOf, type Plan } from "./measure.ts";
import { rssBytes } from "./process-stats.ts";
import { ratios, render, type Results, type Setting } from "./report.ts";
import { isPinned, openStage, type Running, type Stage, start } from "./stage.ts";
import { selectWorkloads, WORKLOADS } from "./workloads.ts";

const QUICK = { rounds: 3, runMs: 380 };
const LONG = { rounds: 9, runMs: 1_500 };
/** Who takes part where only metering is measured. */
const METERING: readonly string[] = ["intercepting", "relaxed"];
/** What a process holds once it has stopped starting. */
const IDLE_AFTER_MS = 1_000;

/** statfs(2)'s magic numbers: what an fsync means depends on it. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0x01021994: "tmpfs",
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x794c7630: "overlayfs",
  0x2fc12fc1: "zfs",
};

async function bench(): Promise<void> {
  const { plan, contestants, program, jsonFile } = options();
  const startedAt = new Date();
  const failures: Failure[] = [];
  const stage = await openStage();
  const running: Running[] = [];
  try {
    running.push(...(await startAll(contestants, stage, program, failures)));
    await delay(IDLE_AFTER_MS);
    const idle = running.map(({ pid }) => rssBytes(pid));
    const stalled = await measureStalled(running, failures);
    const samples = await measureRounds(plan, stage.direct, running, failures, progress);
    const memory = running.map(({ contestant, pid }, index): Memory => ({
      subject: contestant.id,
      idleBytes: idle[index] ?? Number.NaN,
      stalledGrowthBytes: stalled[index] ?? Number.NaN,
      afterBytes: rssBytes(pid),
    }));
    const titles = Object.fromEntries(contestants.map(({ id, title }) => [id, title]));
    const results = { setting: setting(plan.rounds, program, startedAt), titles, samples, memory, failures };
    progress("");
    console.log(render(results));
    if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify(withRatios(results), null, 1)}\n`);
  } finally {
    await Promise.all(running.map(({ stop }) => stop()));
    await stage.close();
  }
}

interface Options {
  readonly plan: Plan;
  readonly contestants: readonly Contestant[];
  /** Relative to the project. */
  readonly program: string;
  readonly jsonFile: string | undefined;
}

/** Throws an Error whose message is for the user. */
function options(): Options {
  const { values } = parseArgs({
    options: { quick: { type: "boolean", default: false }, built: { type: "boolean", default: false }, rounds: { type: "string" }, workloads: { type: "string", default: "core" }, only: { type: "string" }, json: { type: "string" } },
  });
  const basis = values.quick ? QUICK : LONG;
  const rounds = Number(values.rounds ?? basis.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1_000) throw new Error("--rounds takes a number from 1 to 1000");
  const ids: readonly string[] = CONTESTANTS.map(({ id }) => id);
  const workloads = selectWorkloads(values.workloads.split(","));
  const only = values.only?.split(",") ?? (workloads.some(({ group }) => group === "core") ? ids : METERING);
  const unknown = only.find((id) => !ids.includes(id));
  if (unknown !== undefined) throw new Error(`--only: "${unknown}" is none of ${ids.join(", ")}`);
  const program = values.built ? "dist/main.js" : "src/main.ts";
  const contestants = CONTESTANTS.filter(({ id }) => only.includes(id));
  return { plan: { ...basis, rounds, workloads }, contestants, program, jsonFile: values.json };
}

async function startAll(contestants: readonly Contestant[], stage: Stage, program: string, failures: Failure[]): Promise<Running[]> {
  const running: Running[] = [];
  for (const contestant of contestants) {
    progress(`starting: ${contestant.title}`);
    try {
      running.push(await start(contestant, stage, join(import.meta.dirname, "..", program)));
    } catch (error) {
      failures.push({ subject: contestant.id, workload: "start", message: messageOf(error) });
    }
  }
  return running;
}

/** Bytes by contestant, in their order; NaN where it failed. */
async function measureStalled(running: readonly Running[], failures: Failure[]): Promise<number[]> {
  const growth: number[] = [];
  const warmUp = WORKLOADS.find(({ id }) => id === "json64");
  if (warmUp === undefined) throw new Error("no workload json64");
  for (const one of running) {
    progress(`stalled readers: ${one.contestant.title}`);
    try {
      growth.push(await measureStalledGrowth(one, warmUp));
    } catch (error) {
      growth.push(Number.NaN);
      failures.push({ subject: one.contestant.id, workload: "stalled readers", message: messageOf(error) });
    }
  }
  return growth;
}

function setting(rounds: number, program: string, startedAt: Date): Setting {
  return {
    node: process.version,
    cpu: cpus()[0]?.model.trim() ?? "unknown CPU",
    cpus: cpus().length,
    system: `${type()} ${release()}`,
    fileSystem: FILE_SYSTEMS[statfsSync(tmpdir()).type] ?? "an unknown file system",
    isPinned,
    program,
    rounds,
    seconds: (Date.now() - startedAt.getTime()) / 1000,
    startedAt: startedAt.toISOString().slice(0, 10),
  };
}

function withRatios(results: Results): object {
  return { ...results, ratios: ratios(results.samples) };
}

/** One line on a terminal, overwritten; nothing elsewhere. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

try {
  await bench();
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 2;
}
