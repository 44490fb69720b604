/** Runs the rounds: every workload at every contestant in turn, so that a slow minute of the machine meets them all. */

import { setTimeout as delay } from "node:timers/promises";
import type { Route } from "./client.ts";
import type { ContestantId } from "./contestants.ts";
import { cpuUs, rssBytes } from "./process-stats.ts";
import type { Running } from "./stage.ts";
import { quantile } from "./statistics.ts";
import { meteredHostOf, openStalledReaders, prepareLoad, type Workload, type WorkloadId } from "./workloads.ts";

export type Subject = ContestantId | "direct";

/** One run of one workload at one contestant. */
export interface Sample {
  readonly round: number;
  readonly subject: Subject;
  readonly workload: WorkloadId;
  readonly units: number;
  readonly seconds: number;
  /** Of the proxy's process; undefined for `direct`, which has none. */
  readonly cpuUsPerUnit: number | undefined;
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface Memory {
  readonly subject: ContestantId;
  readonly idleBytes: number;
  /** The most that four readers that stopped reading 50 MB each added; NaN when that failed. */
  readonly stalledGrowthBytes: number;
  /** After the last round. */
  readonly afterBytes: number;
}

export interface Failure {
  readonly subject: Subject;
  readonly workload: WorkloadId | "start" | "stalled readers";
  readonly message: string;
}

export interface Plan {
  readonly rounds: number;
  readonly runMs: number;
  readonly workloads: readonly Workload[];
}

export const STALLED_READERS = 4;
const STALL_WATCH_MS = 900;
const STALL_SAMPLE_MS = 40;
/** Work that outlives the responses (commits, collections) is part of their cost. */
const SETTLE_MS = 60;
const MAX_WARM_UP_MS = 20_000;
const WARM_UP_STEP_MS = 200;
/** Round 0 warms up and is not counted. A run that fails is a failure of that contestant, not the end of the bench. */
export async function measureRounds(
  plan: Plan,
  direct: Route,
  running: readonly Running[],
  failures: Failure[],
  progress: (text: string) => void,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const subjects = [{ subject: "direct" as const, routeTo: () => direct, pid: undefined }, ...running.map(asSubject)];
  for (let round = 0; round <= plan.rounds; round++) {
    const isWarmUp = round === 0;
    for (const workload of plan.workloads) {
      if (isWarmUp && workload.warmUpUnits === 0) continue;
      progress(isWarmUp ? `warm-up: ${workload.title}` : `round ${round} of ${plan.rounds}: ${workload.title}`);
      for (const { subject, routeTo, pid } of subjects) {
        if (isWarmUp && pid === undefined) continue;
        try {
          const route = routeTo(meteredHostOf(workload));
          if (isWarmUp) await warm(workload, route);
          else samples.push({ round, subject, workload: workload.id, ...(await measure(workload, route, pid, plan.runMs)) });
        } catch (error) {
          failures.push({ subject, workload: workload.id, message: messageOf(error) });
        }
      }
    }
  }
  return samples;
}

function asSubject({ contestant, routeTo, pid }: Running): { readonly subject: Subject; readonly routeTo: (meteredHost: string) => Route; readonly pid: number } {
  return { subject: contestant.id, routeTo, pid };
}

/** Runs until enough has passed, or it takes too long. */
async function warm(workload: Workload, route: Route): Promise<void> {
  const load = await prepareLoad(workload, route);
  const until = performance.now() + MAX_WARM_UP_MS;
  try {
    for (let units = 0; units < workload.warmUpUnits && performance.now() < until; ) units += (await load.run(WARM_UP_STEP_MS)).units;
  } finally {
    load.close();
  }
}

async function measure(workload: Workload, route: Route, pid: number | undefined, runMs: number): Promise<Omit<Sample, "round" | "subject" | "workload">> {
  const load = await prepareLoad(workload, route);
  try {
    await delay(SETTLE_MS);
    const cpuBefore = pid === undefined ? 0 : cpuUs(pid);
    const started = performance.now();
    const { units, latenciesUs } = await load.run(runMs);
    const seconds = (performance.now() - started) / 1000;
    await delay(SETTLE_MS);
    return {
      units,
      seconds,
      cpuUsPerUnit: pid === undefined ? undefined : (cpuUs(pid) - cpuBefore) / units,
      p50Us: quantile(latenciesUs, 0.5),
      p99Us: quantile(latenciesUs, 0.99),
    };
  } finally {
    load.close();
  }
}

/**
 * What stalled readers add, in bytes. Measured before the rounds: the memory that those leave behind for reuse would
 * hide it. One run of 64 connections goes before, so that what is loaded at the first request is not counted.
 */
export async function measureStalledGrowth({ pid, routeTo }: Running, warmUp: Workload): Promise<number> {
  const route = routeTo(meteredHostOf(warmUp));
  (await prepareLoad(warmUp, route)).close();
  await delay(SETTLE_MS);
  const before = rssBytes(pid);
  const readers = await openStalledReaders(STALLED_READERS, route);
  let most = before;
  const until = performance.now() + STALL_WATCH_MS;
  while (performance.now() < until) {
    await delay(STALL_SAMPLE_MS);
    most = Math.max(most, rssBytes(pid));
  }
  readers.close();
  return most - before;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
