/** Turns what was measured into text: ratios with their bars first, then the numbers behind them. */

import type { ContestantId } from "./contestants.ts";
import type { Failure, Memory, Sample, Subject } from "./measure.ts";
import { STALLED_READERS } from "./measure.ts";
import { median } from "./statistics.ts";
import { megabytesOf, type Workload, type WorkloadId, WORKLOADS } from "./workloads.ts";

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
  readonly of: Compared["of"];
  readonly over: ContestantId;
  readonly under: ContestantId;
  readonly workload: WorkloadId;
  /** Median over the rounds of the ratio within a round; NaN when either did not run. */
  readonly value: number;
  /** The most (of a rate: the least) that the project allows itself; undefined where it set none. */
  readonly bar: number | undefined;
}

interface Compared {
  readonly name: string;
  /** CPU time of the proxy's process for a unit, or units per second. */
  readonly of: "cpu" | "rate";
  readonly over: ContestantId;
  readonly under: ContestantId;
  readonly bars: Partial<Record<WorkloadId, number>>;
  /** Left out: every workload. */
  readonly workloads?: readonly WorkloadId[];
}

const METERING_BAR = 1.15;
const furtherBars = Object.fromEntries(
  WORKLOADS.filter(({ group, unit }) => group === "connectors" || (group === "providers" && unit === "event")).map(({ id }) => [id, METERING_BAR]),
);

const COMPARED: readonly Compared[] = [
  { name: "intercepting / stock", of: "cpu", over: "intercepting", under: "stock", bars: { json1: 0.6, json64: 0.6, stream: 0.6, paced: 0.6 } },
  {
    name: "metering relaxed / intercepting",
    of: "cpu",
    over: "relaxed",
    under: "intercepting",
    bars: { json1: METERING_BAR, json64: METERING_BAR, stream: METERING_BAR, paced: METERING_BAR, ...furtherBars },
  },
  { name: "metering strict / relaxed", of: "cpu", over: "strict", under: "relaxed", bars: { json64: 1.5 } },
  { name: "metering relaxed / intercepting", of: "rate", over: "relaxed", under: "intercepting", bars: { json40: 0.8 }, workloads: ["json40"] },
];

const MIB = 1024 * 1024;
const IDLE_BAR_MB = 120;
const STALLED_BAR_MB = 50;
const TALLYMAN: ReadonlySet<ContestantId> = new Set<ContestantId>(["tunnelling", "intercepting", "relaxed", "strict"]);

/** The ratios of every pair whose contestants both ran a workload. */
export function ratios(samples: readonly Sample[]): Ratio[] {
  const ran = new Set(samples.map(({ workload }) => workload));
  return COMPARED.flatMap(({ name, of, over, under, bars, workloads = WORKLOADS.map(({ id }) => id) }) =>
    workloads.filter((id) => ran.has(id)).map((id) => ({ name, of, over, under, workload: id, value: ratio(samples, of, id, over, under), bar: bars[id] })),
  );
}

function ratio(samples: readonly Sample[], of: Compared["of"], workload: WorkloadId, over: ContestantId, under: ContestantId): number {
  const figure = (one: Sample): number => (of === "cpu" ? (one.cpuUsPerUnit ?? Number.NaN) : one.units / one.seconds);
  const inRound = new Map(samples.filter((one) => one.workload === workload && one.subject === under).map((one) => [one.round, figure(one)]));
  return median(
    samples
      .filter((one) => one.workload === workload && one.subject === over)
      .map((one) => figure(one) / (inRound.get(one.round) ?? Number.NaN))
      .filter((value) => !Number.isNaN(value)),
  );
}

export function render(results: Results): string {
  return [header(results.setting), ratioTable(results), memoryTable(results), ...workloadTables(results), failureList(results)]
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
  const told = ratios(samples).filter(({ value, bar }) => bar !== undefined || !Number.isNaN(value));
  const rows = told.map(({ name, of, workload, value, bar }) => [name, titleOf(workload) + (of === "rate" ? ", MB/s" : ""), number(value, 2), ...verdict(value, bar, 2, of === "rate")]);
  return table(["CPU of the proxy process, ratio", "workload", "ratio", "bar", ""], rows);
}

function verdict(value: number, bar: number | undefined, digits: number, isLeast = false): [string, string] {
  if (bar === undefined) return ["", ""];
  const text = `${isLeast ? ">=" : "<="} ${bar.toFixed(digits)}`;
  if (Number.isNaN(value)) return [text, "not run"];
  return [text, (isLeast ? value >= bar : value <= bar) ? "met" : "not met"];
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

function workloadTables(results: Results): string[] {
  const ran = new Set(results.samples.map(({ workload }) => workload));
  return WORKLOADS.filter(({ id }) => ran.has(id)).map((workload) => workloadTable(results, workload));
}

function workloadTable({ samples, titles }: Results, workload: Workload): string {
  const { id, unit, sample } = workload;
  const of = (subject: string, value: (sample: Sample) => number | undefined): number =>
    median(samples.filter((one) => one.workload === id && one.subject === subject).flatMap((one) => value(one) ?? []));
  const direct = { p50: of("direct", (one) => one.p50Us), p99: of("direct", (one) => one.p99Us) };
  const perSecond = (subject: string): number => of(subject, (one) => (one.units / one.seconds) * megabytesOf(workload));
  const rows = Object.keys(titles).map((subject) => [
    titles[subject] ?? subject,
    number(of(subject, (one) => one.cpuUsPerUnit), 1),
    number(perSecond(subject), 0),
    number(of(subject, (one) => one.p50Us) - direct.p50, 0),
    number(of(subject, (one) => one.p99Us) - direct.p99, 0),
  ]);
  rows.unshift(["direct, no proxy: the latency itself", "", number(perSecond("direct"), 0), number(direct.p50, 0), number(direct.p99, 0)]);
  return table([titleOf(id), `CPU us/${unit}`, unit === "body" ? "MB/s" : `${unit}s/s`, `+p50 us/${sample}`, `+p99 us/${sample}`], rows);
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
