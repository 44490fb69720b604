/**
 * Counts as Bedrock itself states them beside the vendor's own: `usage` of Converse, response headers of InvokeModel,
 * `amazon-bedrock-invocationMetrics` of a stream (reference/model-usage.md sections 5.13.1 to 5.13.3). In all of them
 * cache reads and writes are beside the input, as in Anthropic's usage, whose mapping they share.
 */

import type { RawHeaders } from "../../../flow/headers.ts";
import { getHeader } from "../../../flow/headers.ts";
import { UNIT_CATEGORIES } from "../../categories.ts";
import type { ModelCategory, ModelUsage } from "../../categories.ts";
import type { ModelReading } from "../../handler.ts";
import { mapAnthropicUsage } from "./anthropic-usage.ts";
import { asArray, asObject, countOf, firstCount } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";

export interface MappedCounts {
  readonly usage: ModelUsage;
  readonly anomalies: readonly string[];
}

/** Fields of which any one makes an object a usage of Converse. */
export const CONVERSE_COUNTS = ["inputTokens", "outputTokens"] as const;

/**
 * `usage` of Converse; also that of Nova's own format, which spells the cache counts with "Count" at the end.
 * `hasCacheInside`: see `isCacheInside`.
 */
export function mapConverseUsage(raw: JsonObject, hasCacheInside = false): MappedCounts {
  const cacheRead = firstCount(raw["cacheReadInputTokens"], raw["cacheReadInputTokenCount"]);
  const cacheWrite = firstCount(raw["cacheWriteInputTokens"], raw["cacheWriteInputTokenCount"]);
  const input = countOf(raw["inputTokens"]);
  const cached = (cacheRead ?? 0) + (cacheWrite ?? 0);
  const isInside = hasCacheInside && input !== undefined && cached > 0 && input >= cached;
  const { usage, anomalies } = mapSeparate({
    input: isInside ? input - cached : input,
    output: countOf(raw["outputTokens"]),
    cacheRead,
    cacheWrite,
    writesByTtl: writesByTtl(raw["cacheDetails"]),
  });
  return { usage, anomalies: isInside ? [...anomalies, "bedrock_input_includes_cache"] : anomalies };
}

/** Response headers of InvokeModel. Undefined: none is there. Streams have none. */
export function headerCounts(headers: RawHeaders): ModelUsage | undefined {
  const count = (name: string): number | undefined => {
    const text = getHeader(headers, `x-amzn-bedrock-${name}-token-count`);
    return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  };
  const counts = { input: count("input"), output: count("output"), cacheRead: count("cache-read-input"), cacheWrite: count("cache-write-input") };
  return Object.values(counts).some((each) => each !== undefined) ? mapSeparate(counts).usage : undefined;
}

/** The metrics in the last chunk of InvokeModelWithResponseStream. */
export function metricsCounts(metrics: JsonObject): ModelUsage {
  return mapSeparate({
    input: countOf(metrics["inputTokenCount"]),
    output: countOf(metrics["outputTokenCount"]),
    cacheRead: countOf(metrics["cacheReadInputTokenCount"]),
    cacheWrite: countOf(metrics["cacheWriteInputTokenCount"]),
  }).usage;
}

/**
 * A reading with Bedrock's counts where the body reported none. What the body reported stands: it tells more, and the
 * counts repeat it (section 6.1 no. 6 and 7). An estimate of tokens gives way to them.
 */
export function withCounts(reading: ModelReading, counts: ModelUsage | undefined): ModelReading {
  if (counts === undefined || !Object.values(counts).some((count) => count > 0)) return reading;
  const hasUnits = UNIT_CATEGORIES.some((category) => reading.usage[category] !== undefined);
  if (reading.source === "provider") return { ...reading, usage: fillGroups(reading.usage, counts) };
  // Without its basis: no estimate takes the place of a count.
  const { basis: _basis, ...counted } = reading;
  if (hasUnits) return { ...counted, usage: fillGroups(reading.usage, counts) };
  const { anomalies, ...rest } = counted;
  const others = (anomalies ?? []).filter((name) => name !== "usage_missing");
  return { ...rest, usage: counts, source: "provider", ...(others.length > 0 ? { anomalies: others } : {}) };
}

/** Categories of which Bedrock's counts have only the sum. */
const GROUPS: readonly (readonly ModelCategory[])[] = [
  ["input_tokens"],
  ["cache_read_tokens"],
  ["cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"],
  ["output_tokens", "output_reasoning_tokens"],
];

function fillGroups(usage: ModelUsage, counts: ModelUsage): ModelUsage {
  const filled = { ...usage };
  for (const group of GROUPS) {
    if (group.some((category) => (usage[category] ?? 0) > 0)) continue;
    for (const category of group) if (counts[category] !== undefined) filled[category] = counts[category];
  }
  return filled;
}

/** Counts of which each is beside the others. */
interface SeparateCounts {
  readonly input: number | undefined;
  readonly output: number | undefined;
  readonly cacheRead: number | undefined;
  readonly cacheWrite: number | undefined;
  readonly writesByTtl?: JsonObject | undefined;
}

function mapSeparate(counts: SeparateCounts): MappedCounts {
  const raw: JsonObject = {
    input_tokens: counts.input,
    output_tokens: counts.output,
    cache_read_input_tokens: counts.cacheRead,
    cache_creation_input_tokens: counts.cacheWrite,
    cache_creation: counts.writesByTtl,
  };
  const { usage, anomalies } = mapAnthropicUsage(raw, false);
  return { usage, anomalies };
}

/** `cacheDetails[]{ttl,inputTokens}`: writes by lifetime. */
function writesByTtl(details: unknown): JsonObject | undefined {
  const sums: Record<string, number> = {};
  for (const detail of asArray(details)) {
    const { ttl, inputTokens } = asObject(detail) ?? {};
    const field = ttl === "5m" || ttl === "1h" ? `ephemeral_${ttl}_input_tokens` : undefined;
    const tokens = countOf(inputTokens);
    if (field !== undefined && tokens !== undefined) sums[field] = (sums[field] ?? 0) + tokens;
  }
  return Object.keys(sums).length > 0 ? sums : undefined;
}
