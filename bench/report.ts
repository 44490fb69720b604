/** Turns what was measured into text: ratios with their bars first, then the numbers behind them. */

import type { ContestantId } from "./contestants.ts";
import type { Failure, Memory, Sample, Subject } from "./measure.ts";
import { STALLED_READERS } from "./measure.ts";
import { median } from "./statistics.ts";
import { type WorkloadId, WORKLOADS } from "./workloads.ts";

/** Where and how it was measured. */
export interface Setting {
  readonly node: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly system: string;
  readonly fileSystem: string;
  readonly isPinned: boolean;
  readonly program: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly startedAt: string;
}

export interface Results {
  readonly setting: Setting;
  readonly titles: Readonly<Record<string, string>>;
  readonly samples: readonly Sample[];
  readonly memory: readonly Memory[];
  readonly failures: readonly Failure[];
}

export interface Ratio {
  readonly name: string;
  readonly over: ContestantId;
  readonly under: ContestantId;
  readonly workload: WorkloadId;
  /** Median over the rounds of the ratio within a round; NaN when either did not run. */
  readonly value: number;
  /** The most that the project allows itself; undefined where it set none. */
  readonly bar: number | undefined;
}

const COMPARED: readonly { readonly name: string; readonly over: ContestantId; readonly under: ContestantId; readonly bars: Partial<Record<WorkloadId, number>> }[] = [
  { name: "intercepting / stock", over: "intercepting", under: "stock", bars: { json1: 0.6, json64: 0.6, stream: 0.6, paced: 0.6 } },
  { name: "metering relaxed / intercepting", over: "relaxed", under: "intercepting", bars: { json1: 1.15, json64: 1.15, stream: 1.15, paced: 1.15 } },
  { name: "metering strict / relaxed", over: "strict", under: "relaxed", bars: { json64: 1.5 } },
];

const MIB = 1024 * 1024;
const IDLE_BAR_MB = 120;
const STALLED_BAR_MB = 50;
const TALLYMAN: ReadonlySet<ContestantId> = new Set<ContestantId>(["tunnelling", "intercepting", "relaxed", "strict"]);

/** CPU ratios of every pair and workload. */
export function ratios(samples: readonly Sample[]): Ratio[] {
  return COMPARED.flatMap(({ name, over, under, bars }) =>
    WORKLOADS.map(({ id }) => ({ name, over, under, workload: id, value: ratio(samples, id, over, under), bar: bars[id] })),
  );
}

function ratio(samples: readonly Sample[], workload: WorkloadId, over: ContestantId, under: ContestantId): number {
  const inRound = new Map(samples.filter((one) => one.workload === workload && one.subject === under).map((one) => [one.round, one.cpuUsPerUnit]));
  return median(
    samples
      .filter((one) => one.workload === workload && one.subject === over)
      .map((one) => (one.cpuUsPerUnit ?? Number.NaN) / (inRound.get(one.round) ?? Number.NaN))
      .filter((value) => !Number.isNaN(value)),
  );
}

export function render(results: Results): string {
  return [header(results.setting), ratioTable(results), memoryTable(results), ...WORKLOADS.map((workload) => workloadTable(results, workload.id)), failureList(results)]
    .filter((part) => part !== "")
    .join("\n\n");
}

function header(setting: Setting): string {
  const where = setting.isPinned ? "proxies on CPU 0, upstream and load on CPU 1" : "nothing pinned: CPU figures are noisier";
  return [
    `tallyman bench (${setting.program}), ${setting.startedAt}, ${setting.rounds} rounds in ${Math.round(setting.seconds)} s, medians`,
    `Node ${setting.node}, ${setting.cpu}, ${setting.cpus} CPUs, ${setting.system}, ledger on ${setting.fileSystem}; ${where}`,
  ].join("\n");
}

function ratioTable({ samples }: Results): string {
  const rows = ratios(samples).map(({ name, workload, value, bar }) => [name, titleOf(workload), number(value, 2), ...verdict(value, bar, 2)]);
  return table(["CPU of the proxy process, ratio", "workload", "ratio", "bar", ""], rows);
}

function verdict(value: number, bar: number | undefined, digits: number): [string, string] {
  if (bar === undefined) return ["", ""];
  if (Number.isNaN(value)) return [`<= ${bar.toFixed(digits)}`, "not run"];
  return [`<= ${bar.toFixed(digits)}`, value <= bar ? "met" : "not met"];
}

function memoryTable({ memory, titles }: Results): string {
  const rows = memory.map(({ subject, idleBytes, afterBytes, stalledGrowthBytes }) => {
    const isOurs = TALLYMAN.has(subject);
    const [idle, grown] = [idleBytes / MIB, stalledGrowthBytes / MIB];
    return [
      titles[subject] ?? subject,
      number(idle, 0),
      ...verdict(idle, isOurs ? IDLE_BAR_MB : undefined, 0),
      number(grown, 0),
      ...verdict(grown, isOurs ? STALLED_BAR_MB : undefined, 0),
      number(afterBytes / MIB, 0),
    ];
  });
  return table(["resident memory, MiB", "idle", "bar", "", `+${STALLED_READERS} stalled 50 MB`, "bar", "", "after"], rows);
}

function workloadTable({ samples, titles }: Results, id: WorkloadId): string {
  const workload = WORKLOADS.find((one) => one.id === id);
  const of = (subject: string, value: (sample: Sample) => number | undefined): number =>
    median(samples.filter((one) => one.workload === id && one.subject === subject).flatMap((one) => value(one) ?? []));
  const direct = { p50: of("direct", (one) => one.p50Us), p99: of("direct", (one) => one.p99Us) };
  const perSecond = (subject: string): number => of(subject, (one) => (one.units / one.seconds) * (workload?.unit === "50 MB" ? 50 : 1));
  const rows = Object.keys(titles).map((subject) => [
    titles[subject] ?? subject,
    number(of(subject, (one) => one.cpuUsPerUnit), 1),
    number(perSecond(subject), 0),
    number(of(subject, (one) => one.p50Us) - direct.p50, 0),
    number(of(subject, (one) => one.p99Us) - direct.p99, 0),
  ]);
  const sample = workload?.sample ?? "";
  rows.unshift(["direct, no proxy: the latency itself", "", number(perSecond("direct"), 0), number(direct.p50, 0), number(direct.p99, 0)]);
  const unit = workload?.unit ?? "";
  return table([titleOf(id), `CPU us/${unit}`, unit === "50 MB" ? "MB/s" : `${unit}s/s`, `+p50 us/${sample}`, `+p99 us/${sample}`], rows);
}

function failureList({ failures, titles }: Results): string {
  const told = new Set<string>(failures.map(({ subject, workload, message }) => `${titles[subject as Subject] ?? subject}, ${workload}: ${message}`));
  return told.size === 0 ? "" : ["Not measured:", ...[...told].map((line) => `  ${line}`)].join("\n");
}

function titleOf(id: WorkloadId): string {
  return WORKLOADS.find((workload) => workload.id === id)?.title ?? id;
}

function number(value: number, digits: number): string {
  return Number.isNaN(value) ? "-" : value.toFixed(digits);
}

/** Columns of equal width; the first to the left, numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const isText = head.map((_, column) => rows.every((row) => !/^-?\d/.test(row[column] ?? "")));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (isText[column] === true ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ").trimEnd();
  return all.map(line).join("\n");
}
