/** Totals of the ledger as a table, as JSON and as CSV: for `tallyman usage` and for the summary at the end of `tallyman run`. */

import type { UsageDimension, UsageRow } from "../store/store.ts";
import { INPUT_CATEGORIES, OUTPUT_CATEGORIES } from "../usage/categories.ts";
import { addDecimals } from "./decimal.ts";
import { type Column, grouped, renderCsv, renderTable } from "./table.ts";

/** What `--by` takes. */
export const USAGE_DIMENSIONS = ["model", "provider", "connector", "agent", "thread", "org", "user", "day", "hour"] as const satisfies readonly UsageDimension[];

/** What `--json` prints. Times are ISO 8601, null where there was no bound. */
export interface UsageReport {
  readonly since: string | null;
  readonly until: string | null;
  readonly by: UsageDimension;
  readonly rows: readonly UsageRow[];
  readonly total: UsageRow;
}

/** Columns that stand for several categories. A category in none of them is listed by name under "other". */
const COLUMNS = [
  { title: "input", categories: INPUT_CATEGORIES.filter((category) => category.startsWith("input_")) },
  { title: "cached read", categories: INPUT_CATEGORIES.filter((category) => category.startsWith("cache_read_")) },
  { title: "cache write", categories: INPUT_CATEGORIES.filter((category) => category.startsWith("cache_write_")) },
  { title: "output", categories: OUTPUT_CATEGORIES.filter((category) => category !== "output_reasoning_tokens") },
  { title: "reasoning", categories: ["output_reasoning_tokens"] },
] as const satisfies readonly { readonly title: string; readonly categories: readonly string[] }[];

const TOKEN_CATEGORIES: ReadonlySet<string> = new Set([...INPUT_CATEGORIES, ...OUTPUT_CATEGORIES]);

/** Sums rows exactly; `key` is "total". The cost is null where no row has one. */
export function totalRow(rows: readonly UsageRow[]): UsageRow {
  const sum = (pick: (row: UsageRow) => number): number => rows.reduce((total, row) => total + pick(row), 0);
  const usage: Record<string, number> = {};
  for (const row of rows) {
    for (const [category, count] of Object.entries(row.usage)) usage[category] = (usage[category] ?? 0) + count;
  }
  const costs = rows.flatMap((row) => row.cost ?? []);
  return {
    key: "total",
    requests: sum((row) => row.requests),
    usage,
    input_tokens: sum((row) => row.input_tokens),
    output_tokens: sum((row) => row.output_tokens),
    total_tokens: sum((row) => row.total_tokens),
    cost: costs.length === 0 ? null : addDecimals(costs),
    unpriced: sum((row) => row.unpriced),
    partial: sum((row) => row.partial),
    unknown: sum((row) => row.unknown),
  };
}

/** The table for people: one line a row, the total under a rule. Costs are rounded to a millionth of a dollar. */
export function usageTable(rows: readonly UsageRow[], by: UsageDimension): string {
  return by === "connector" ? connectorTable(rows) : tokenTable(rows, by);
}

/** A line for each category of each connector: they have no columns in common. */
function connectorTable(rows: readonly UsageRow[]): string {
  const total = totalRow(rows);
  const columns: Column[] = [
    { title: "connector", align: "left" },
    { title: "requests", align: "right" },
    { title: "counted", align: "left" },
    { title: "count", align: "right" },
    { title: "cost", align: "right" },
  ];
  return renderTable(columns, rows.flatMap(connectorCells), ["total", grouped(total.requests), "", "", dollars(total.cost)]);
}

function connectorCells(row: UsageRow): string[][] {
  const counts = Object.entries(row.usage).filter(([, count]) => count > 0).toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  const [[category, count] = ["", undefined], ...others] = counts;
  const first = [row.key, grouped(row.requests), category, count === undefined ? "" : grouped(count), dollars(row.cost)];
  return [first, ...others.map(([name, value]) => ["", "", name, grouped(value), ""])];
}

function tokenTable(rows: readonly UsageRow[], by: UsageDimension): string {
  const total = totalRow(rows);
  const hasOther = otherCounts(total) !== "";
  const cells = (row: UsageRow): string[] => [
    row.key === "" ? "(none)" : row.key,
    grouped(row.requests),
    ...COLUMNS.map((column) => grouped(countOf(row, column.categories))),
    ...(hasOther ? [otherCounts(row)] : []),
    dollars(row.cost),
  ];
  const columns: Column[] = [
    { title: by, align: "left" },
    ...["requests", ...COLUMNS.map((column) => column.title)].map((title): Column => ({ title, align: "right" })),
    ...(hasOther ? [{ title: "other", align: "left" } satisfies Column] : []),
    { title: "cost", align: "right" },
  ];
  return renderTable(columns, rows.map(cells), cells(total));
}

/** What a reader of the table should know besides: one sentence each. */
export function usageNotes(total: UsageRow): string[] {
  const notes: string[] = [];
  if (total.unpriced > 0) notes.push(`${plural(total.unpriced, "event has", "events have")} no known price and ${total.unpriced === 1 ? "is" : "are"} not in the cost.`);
  if (total.partial > 0) notes.push(`${plural(total.partial, "event is", "events are")} partial: what was seen before the response was cut off.`);
  if (total.unknown > 0) notes.push(`${plural(total.unknown, "flow", "flows")} happened whose usage is not known.`);
  return notes;
}

/** One line a row, without a total; a column for every category that occurs. */
export function usageCsv(rows: readonly UsageRow[], by: UsageDimension): string {
  const categories = Object.keys(totalRow(rows).usage);
  const header = [by, "requests", ...categories, "total_input_tokens", "total_output_tokens", "total_tokens", "cost_usd", "unpriced", "partial", "unknown"];
  return renderCsv(
    header,
    rows.map((row) => [
      row.key,
      ...[row.requests, ...categories.map((category) => row.usage[category] ?? 0), row.input_tokens, row.output_tokens, row.total_tokens].map(String),
      row.cost ?? "",
      ...[row.unpriced, row.partial, row.unknown].map(String),
    ]),
  );
}

function countOf(row: UsageRow, categories: readonly string[]): number {
  return categories.reduce((total, category) => total + (row.usage[category] ?? 0), 0);
}

function otherCounts(row: UsageRow): string {
  const others = Object.entries(row.usage).filter(([category, value]) => !TOKEN_CATEGORIES.has(category) && value > 0);
  return others.map(([category, value]) => `${category}=${grouped(value)}`).join(" ");
}

/** "$0.054399", at most six decimals, at least two; "-" without a price. */
export function dollars(cost: string | null): string {
  if (cost === null) return "-";
  const [, whole = "", cents = "", rest = ""] = /^(\d+)\.(\d{2})(\d*?)0*$/.exec(Number(cost).toFixed(6)) ?? [];
  return `$${grouped(Number(whole))}.${cents}${rest}`;
}

function plural(value: number, one: string, many: string): string {
  return `${grouped(value)} ${value === 1 ? one : many}`;
}
