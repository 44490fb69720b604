/**
 * Rounds of faults under load, on one data directory: programs that are killed (-9), stopped for a while or drained,
 * one or two at a time, and a receiver of many moods. At the end all must come out right (judge.ts).
 */

import { setTimeout as pause } from "node:timers/promises";

import type { Program } from "../support/program.ts";
import { seeded } from "../support/seeded.ts";
import { countersOf, openStage, WEBHOOK_SECRET, type CountersAnswer, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { judge, lost, takenEvents } from "./judge.ts";
import { createNotes, startLoad, type Load, type Notes } from "./load.ts";
import { ORACLE_MOODS, startOracle, type Oracle, type OracleMood } from "./oracle.ts";

export interface ChaosOptions {
  readonly rounds: number;
  /** The same faults for the same seed; what they meet is up to the machine. */
  readonly seed: number;
  readonly log?: (line: string) => void;
}

export interface ChaosReport {
  readonly rounds: number;
  readonly seconds: number;
  readonly programs: number;
  readonly kills: number;
  readonly pauses: number;
  readonly drains: number;
  /** Changes of the receiver's mood. */
  readonly moods: number;
  readonly begun: number;
  readonly ended: number;
  readonly held: number;
  readonly events: number;
  readonly posts: number;
  readonly duplicates: number;
  /** Responses that a client saw end within the bound of the commit, and whose usage is gone. */
  readonly lost: number;
  /** Those that were let go at the bound, and killed before the disk had them. */
  readonly lostLate: number;
  /** Losses that the program itself reports. */
  readonly gaps: number;
  readonly faults: readonly string[];
}

/** Responses that end before a round's programs do, at least. */
const ENDED_PER_ROUND = 30;
const CLIENTS = 12;
const HELD = 2;
const PAIR_SHARE = 0.3;
const DRAIN_SHARE = 0.15;
const PAUSE_SHARE = 0.2;
const WELL_SHARE = 0.5;
/** In a run of many rounds the receiver is away for this share of them, in one piece: minutes. */
const ABSENCE = { fromRounds: 50, begins: 0.4, ends: 0.65 } as const;
/** A batch that was refused often waits for up to five minutes. */
const SETTLE_BOUND_MS = 600_000;

export async function runChaos({ rounds, seed, log = () => undefined }: ChaosOptions): Promise<ChaosReport> {
  const startedAt = performance.now();
  const stage = await openStage();
  const oracle = await startOracle(WEBHOOK_SECRET);
  const run: Run = {
    stage,
    oracle,
    notes: createNotes(),
    random: seeded(seed),
    counts: { programs: 0, kills: 0, pauses: 0, drains: 0, moods: 0 },
    faults: [],
  };
  try {
    for (let round = 0; round < rounds; round++) {
      const isAbsent = rounds >= ABSENCE.fromRounds && round >= rounds * ABSENCE.begins && round < rounds * ABSENCE.ends;
      await playRound(run, round, isAbsent);
      if ((round + 1) % 10 === 0) log(`round ${round + 1}: ${run.notes.ended.length} responses ended, ${oracle.posts} posts, ${oracle.duplicates} duplicates, ${run.counts.kills} kills`);
    }
    await oracle.setMood("well");
    const { ledger } = await settle(run, log);
    const taken = takenEvents(oracle);
    const gone = lost(run.notes, oracle);
    return {
      rounds,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      ...run.counts,
      begun: run.notes.begun.size,
      ended: run.notes.ended.length,
      held: run.notes.held.length,
      events: taken.models,
      posts: oracle.posts,
      duplicates: oracle.duplicates,
      lost: gone.inTime,
      lostLate: gone.late,
      gaps: Object.values(ledger.gaps).reduce((sum, gap) => sum + gap, 0),
      faults: [...run.faults, ...judge(run.notes, oracle)],
    };
  } finally {
    await oracle.close();
    await stage.close();
  }
}

interface Run {
  readonly stage: Stage;
  readonly oracle: Oracle;
  readonly notes: Notes;
  readonly random: () => number;
  readonly counts: { programs: number; kills: number; pauses: number; drains: number; moods: number };
  readonly faults: string[];
}

interface Player {
  readonly program: Program;
  readonly load: Load;
  readonly isDrained: boolean;
}

async function playRound(run: Run, round: number, isAbsent: boolean): Promise<void> {
  const { notes, random } = run;
  const size = random() < PAIR_SHARE ? 2 : 1;
  const before = notes.ended.length;
  const players = await Promise.all(Array.from({ length: size }, (_, place) => enter(run, `${round}${"ab"[place] ?? ""}`)));
  const isOver = { now: false };
  const moods = changeMoods(run, isAbsent, isOver);
  await until(() => notes.ended.length >= before + ENDED_PER_ROUND, "responses to end", 60_000);
  if (random() < PAUSE_SHARE) await stopForAWhile(run, players);
  for (const player of players) {
    await pause(random() * 40);
    await leave(run, player);
    // What a dead one left may be taken over by the other, while that is under load.
    await pause(random() * 500);
  }
  isOver.now = true;
  await moods;
}

async function enter(run: Run, name: string): Promise<Player> {
  run.counts.programs += 1;
  const isDrained = run.random() < DRAIN_SHARE;
  const program = await startProgram(run);
  const load = await startLoad(program, run.notes, { name, providers: [run.stage.anthropic, run.stage.openai], clients: CLIENTS, held: isDrained ? 0 : HELD });
  return { program, load, isDrained };
}

function startProgram({ stage, oracle }: Run): Promise<Program> {
  return stage.start({ TALLYMAN_WEBHOOK_URL: oracle.url, TALLYMAN_WEBHOOK_TIMEOUT: "1s", TALLYMAN_DRAIN_TIMEOUT: "20s" });
}

async function leave(run: Run, { program, load, isDrained }: Player): Promise<void> {
  if (isDrained) {
    run.counts.drains += 1;
    const code = program.stop();
    await load.stop();
    // With a receiver that is down what is left stays on disk, and the exit code says so.
    if (![0, 1].includes(await code)) run.faults.push(`a drained program ended with ${await code}`);
    return;
  }
  run.counts.kills += 1;
  await program.kill9();
  await load.stop();
}

async function stopForAWhile({ counts, random }: Run, players: readonly Player[]): Promise<void> {
  const player = players[Math.floor(random() * players.length)];
  counts.pauses += 1;
  player?.program.signal("SIGSTOP");
  await pause(100 + random() * 1500);
  player?.program.signal("SIGCONT");
}

async function changeMoods(run: Run, isAbsent: boolean, isOver: { readonly now: boolean }): Promise<void> {
  const { oracle, random } = run;
  while (!isOver.now) {
    const next = isAbsent ? "away" : nextMood(random);
    if (next !== oracle.mood) run.counts.moods += 1;
    await oracle.setMood(next);
    await pause(50 + random() * 400);
  }
}

function nextMood(random: () => number): OracleMood {
  if (random() < WELL_SHARE) return "well";
  return ORACLE_MOODS[Math.floor(random() * ORACLE_MOODS.length)] ?? "well";
}

/** A last program takes over what all others left, and delivers it. */
async function settle(run: Run, log: (line: string) => void): Promise<CountersAnswer> {
  const last = await startProgram(run);
  const from = performance.now();
  const isSettled = async (): Promise<boolean> => {
    const { flows, buffered, reports, ledger } = await countersOf(last);
    return flows + buffered + reports + ledger.pending === 0;
  };
  await until(isSettled, "everything to be delivered", SETTLE_BOUND_MS);
  log(`delivered everything ${Math.round((performance.now() - from) / 1000)} s after the last fault`);
  const counters = await countersOf(last);
  const code = await last.stop();
  if (code !== 0) run.faults.push(`the last program ended with ${code}`);
  return counters;
}
