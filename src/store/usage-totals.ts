/** Adds events up into the rows of `tallyman usage`. Reads the frozen bytes, so that a row is what was delivered. */

import type { UsageDimension, UsageRow } from "./store.ts";

/** Sums of one key. Money is an integer of 10^-18 USD: amounts with up to 18 decimals add up exactly. */
interface Sums {
  requests: number;
  readonly usage: Map<string, number>;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
  costAttoUsd: bigint | undefined;
  unpriced: number;
  partial: number;
  unknown: number;
}

export interface UsageTotals {
  /** Adds one record. Events that are no usage, cost nothing, or are outside the dimension (a connector by model) are passed over. */
  add(body: string, timeMs: number, isForDelivery: boolean): void;
  /** Days and hours by time, everything else by tokens, then requests, highest first. */
  rows(): UsageRow[];
}

/** The key of the single row when there is no dimension. */
const TOTAL_KEY = "total";

/** Rows by dimension; `key` is "" where an event has no value for it. Without a dimension there is always one row, "total". */
export function createUsageTotals(by: UsageDimension | undefined): UsageTotals {
  const byKey = new Map<string, Sums>();
  if (by === undefined) byKey.set(TOTAL_KEY, emptySums());
  return {
    add(body, timeMs, isForDelivery) {
      const event = parseEvent(body);
      const data = objectOf(event?.["data"]);
      if (event === undefined || data === undefined) return;
      const key = keyOf(by, textOrEmpty(event["type"]), data, timeMs);
      if (key === undefined || isFree(data, isForDelivery)) return;
      let sums = byKey.get(key);
      if (sums === undefined) byKey.set(key, (sums = emptySums()));
      addEvent(sums, data);
    },
    rows: () => [...byKey].map(([key, sums]) => rowOf(key, sums)).toSorted(by === "day" || by === "hour" ? byTime : byTokens),
  };
}

const MODEL_TYPE = "llm.usage.v1";
const CONNECTOR_TYPE = "connector.usage.v1";

/** `undefined`: the event does not belong in these rows. */
function keyOf(by: UsageDimension | undefined, type: string, data: Record<string, unknown>, timeMs: number): string | undefined {
  if (type !== MODEL_TYPE && type !== CONNECTOR_TYPE) return undefined;
  switch (by) {
    case undefined:
      return TOTAL_KEY;
    case "model":
      return type === MODEL_TYPE ? textOrEmpty(data["response_model"]) || textOrEmpty(data["request_model"]) : undefined;
    case "provider":
      return type === MODEL_TYPE ? textOrEmpty(data["meter"]) : undefined;
    case "connector":
      return type === CONNECTOR_TYPE ? textOrEmpty(data["meter"]) : undefined;
    case "agent":
      return textOrEmpty(data["agent_id"]);
    case "thread":
      return textOrEmpty(data["thread_id"]);
    case "org":
      return textOrEmpty(data["org_id"]);
    case "user":
      return textOrEmpty(data["user_id"]);
    case "day":
      return new Date(timeMs).toISOString().slice(0, 10);
    case "hour":
      return `${new Date(timeMs).toISOString().slice(0, 13)}:00Z`;
    default:
      return by satisfies never;
  }
}

function isFree(data: Record<string, unknown>, isForDelivery: boolean): boolean {
  return !isForDelivery && data["completeness"] === "complete" && Object.keys(objectOf(data["usage"]) ?? {}).length === 0;
}

function addEvent(sums: Sums, data: Record<string, unknown>): void {
  const usage = objectOf(data["usage"]) ?? {};
  const categories = Object.keys(usage);
  const completeness = data["completeness"];
  sums.requests += 1;
  if (completeness === "partial") sums.partial += 1;
  if (completeness === "unknown") sums.unknown += 1;
  for (const category of categories) {
    sums.usage.set(category, (sums.usage.get(category) ?? 0) + countOf(usage[category]));
  }
  const totals = objectOf(data["totals"]);
  sums.inputTokens += countOf(totals?.["input_tokens"]);
  sums.outputTokens += countOf(totals?.["output_tokens"]);
  sums.totalTokens += countOf(totals?.["total_tokens"]);
  const cost = costOf(data["cost"]);
  if (cost !== undefined) sums.costAttoUsd = (sums.costAttoUsd ?? 0n) + cost;
  else if (data["billable"] !== false && categories.length > 0) sums.unpriced += 1;
}

function rowOf(key: string, sums: Sums): UsageRow {
  return {
    key,
    requests: sums.requests,
    usage: Object.fromEntries(sums.usage),
    input_tokens: sums.inputTokens,
    output_tokens: sums.outputTokens,
    total_tokens: sums.totalTokens,
    cost: sums.costAttoUsd === undefined ? null : formatAtto(sums.costAttoUsd),
    unpriced: sums.unpriced,
    partial: sums.partial,
    unknown: sums.unknown,
  };
}

const DECIMALS = 18;
const DECIMAL = /^(\d+)(?:\.(\d*))?$/;

/** A priced event's amount; undefined when it has none, or none in USD. */
function costOf(value: unknown): bigint | undefined {
  const cost = objectOf(value);
  if (cost === undefined || cost["currency"] !== "USD" || typeof cost["amount"] !== "string") return undefined;
  const match = DECIMAL.exec(cost["amount"]);
  if (match === null) return undefined;
  return BigInt((match[1] ?? "0") + (match[2] ?? "").slice(0, DECIMALS).padEnd(DECIMALS, "0"));
}

function formatAtto(atto: bigint): string {
  const digits = atto.toString().padStart(DECIMALS + 1, "0");
  const fraction = digits.slice(-DECIMALS).replace(/0+$/, "");
  const whole = digits.slice(0, -DECIMALS);
  return fraction === "" ? whole : `${whole}.${fraction}`;
}

function emptySums(): Sums {
  return {
    requests: 0,
    usage: new Map(),
    inputTokens: 0,
    outputTokens: 0,
    totalTokens: 0,
    costAttoUsd: undefined,
    unpriced: 0,
    partial: 0,
    unknown: 0,
  };
}

function byTime(a: UsageRow, b: UsageRow): number {
  return a.key < b.key ? -1 : 1;
}

function byTokens(a: UsageRow, b: UsageRow): number {
  return b.total_tokens - a.total_tokens || b.requests - a.requests || (a.key < b.key ? -1 : 1);
}

function parseEvent(body: string): Record<string, unknown> | undefined {
  try {
    return objectOf(JSON.parse(body));
  } catch {
    return undefined; // Bodies are stored as they are given: one that is no JSON has no usage to add.
  }
}

function objectOf(value: unknown): Record<string, unknown> | undefined {
  return isObject(value) ? value : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOrEmpty(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function countOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
