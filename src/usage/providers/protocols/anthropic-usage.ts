/**
 * Maps the `usage` object of Anthropic Messages to disjoint categories (reference/model-usage.md sections 2.2, 5.1.1,
 * 5.1.4). `input_tokens` excludes cache reads and writes; thinking is inside `output_tokens`.
 */

import type { ModelUsage } from "../../categories.ts";
import { asArray, asObject, countOf, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { put } from "./reading.ts";

/** One response's usage, with what it reports for other models. */
export interface AnthropicUsage {
  /** Of the message's own model. */
  readonly usage: ModelUsage;
  /** Of advisor models, in order: not inside `usage`. */
  readonly advisors: readonly AdvisorUsage[];
  readonly anomalies: readonly string[];
}

export interface AdvisorUsage {
  readonly model: string | null;
  readonly usage: ModelUsage;
}

/** Fields of which any one makes an object a usage report. */
export const ANTHROPIC_COUNTS = ["input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"] as const;

/** The counts of one usage object or of one of its iterations; undefined: not reported. */
interface Counts {
  readonly input: number | undefined;
  readonly cacheRead: number | undefined;
  readonly cacheWrite: number | undefined;
  readonly write5m: number | undefined;
  readonly write1h: number | undefined;
  readonly output: number | undefined;
  readonly thinking: number | undefined;
}

/**
 * Maps a merged usage object. `hasStaleIterations`: the iterations came in an earlier snapshot than the counts beside
 * them, so that their sum is behind.
 */
export function mapAnthropicUsage(raw: JsonObject, hasStaleIterations: boolean): AnthropicUsage {
  const anomalies: string[] = [];
  const iterations = asArray(raw["iterations"]).map(asObject).filter((entry) => entry !== undefined);
  const usage = toCategories(ownCounts(readCounts(raw), iterations, hasStaleIterations), anomalies);
  const tools = asObject(raw["server_tool_use"]);
  put(usage, "web_search_requests", countOf(tools?.["web_search_requests"]));
  put(usage, "web_fetch_requests", countOf(tools?.["web_fetch_requests"]));
  const advisors = iterations
    .filter((entry) => entry["type"] === "advisor_message")
    .map((entry) => ({ model: textOf(entry["model"]) ?? null, usage: toCategories(readCounts(entry), anomalies) }));
  return { usage, advisors, anomalies: [...new Set(anomalies)] };
}

/**
 * The counts to bill at the message's own model (section 5.1.4). Messages are inside the top level, compaction is
 * not. With a fallback the top level is that of the model that served, and the blocked attempt is not in it.
 */
function ownCounts(top: Counts, iterations: readonly JsonObject[], hasStaleIterations: boolean): Counts {
  const ofType = (type: string): Counts[] => iterations.filter((entry) => typeOf(entry) === type).map(readCounts);
  if (ofType("fallback_message").length > 0) return top;
  const compactions = ofType("compaction");
  const messages = ofType("message");
  const isSumKnown = messages.length > 0 && iterations.every((entry) => KNOWN_TYPES.has(typeOf(entry)));
  if (hasStaleIterations || !isSumKnown) return sumCounts([top, ...compactions]);
  const sum = sumCounts([...messages, ...compactions]);
  const hasSplit = sum.write5m !== undefined || sum.write1h !== undefined;
  return {
    input: sum.input ?? top.input,
    cacheRead: sum.cacheRead ?? top.cacheRead,
    cacheWrite: sum.cacheWrite ?? top.cacheWrite,
    write5m: hasSplit ? sum.write5m : top.write5m,
    write1h: hasSplit ? sum.write1h : top.write1h,
    output: sum.output ?? top.output,
    thinking: sum.thinking ?? top.thinking,
  };
}

const KNOWN_TYPES = new Set(["message", "compaction", "advisor_message"]);

function typeOf(iteration: JsonObject): string {
  return textOf(iteration["type"]) ?? "message";
}

function readCounts(raw: JsonObject): Counts {
  const split = asObject(raw["cache_creation"]);
  return {
    input: countOf(raw["input_tokens"]),
    cacheRead: countOf(raw["cache_read_input_tokens"]),
    cacheWrite: countOf(raw["cache_creation_input_tokens"]),
    write5m: countOf(split?.["ephemeral_5m_input_tokens"]),
    write1h: countOf(split?.["ephemeral_1h_input_tokens"]),
    output: countOf(raw["output_tokens"]),
    thinking: countOf(asObject(raw["output_tokens_details"])?.["thinking_tokens"]),
  };
}

/** Sums entries of one response that the provider bills together (section 6.2). What none of them reports stays out. */
function sumCounts(entries: readonly Counts[]): Counts {
  const sum = (name: keyof Counts): number | undefined =>
    entries.reduce<number | undefined>((total, entry) => {
      const count = entry[name];
      return count === undefined ? total : (total ?? 0) + count;
    }, undefined);
  return {
    input: sum("input"),
    cacheRead: sum("cacheRead"),
    cacheWrite: sum("cacheWrite"),
    write5m: sum("write5m"),
    write1h: sum("write1h"),
    output: sum("output"),
    thinking: sum("thinking"),
  };
}

function toCategories(counts: Counts, anomalies: string[]): ModelUsage {
  const usage: ModelUsage = {};
  put(usage, "input_tokens", counts.input);
  put(usage, "cache_read_tokens", counts.cacheRead);
  putCacheWrites(usage, counts, anomalies);
  if (counts.output !== undefined) {
    const visible = counts.output - (counts.thinking ?? 0);
    if (visible < 0) anomalies.push("negative_clamped");
    usage.output_tokens = Math.max(0, visible);
  }
  put(usage, "output_reasoning_tokens", counts.thinking);
  return usage;
}

/**
 * The split by lifetime comes at the start of a stream; the total may grow after it. What the split does not cover has
 * an unknown lifetime. A total that was lowered later is right, and the split is cut to it, the shorter lifetime first.
 */
function putCacheWrites(usage: ModelUsage, counts: Counts, anomalies: string[]): void {
  const hour = counts.write1h ?? 0;
  const fiveMinutes = counts.write5m ?? 0;
  const hasSplit = counts.write1h !== undefined || counts.write5m !== undefined;
  if (!hasSplit) return put(usage, "cache_write_tokens", counts.cacheWrite);
  const total = counts.cacheWrite === undefined || counts.cacheWrite === 0 ? hour + fiveMinutes : counts.cacheWrite;
  if (total < hour + fiveMinutes) anomalies.push("negative_clamped");
  usage.cache_write_1h_tokens = Math.min(hour, total);
  usage.cache_write_5m_tokens = Math.min(fiveMinutes, total - usage.cache_write_1h_tokens);
  const rest = total - hour - fiveMinutes;
  if (rest > 0) usage.cache_write_tokens = rest;
}
