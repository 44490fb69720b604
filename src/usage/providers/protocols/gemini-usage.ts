/**
 * Maps Google's usage objects to disjoint categories: `usageMetadata` of generateContent, embeddings and Live
 * (reference/model-usage.md sections 2.2, 2.3, 5.9.1, 5.11) and `usage` of Interactions (section 5.10). The prompt
 * includes what was read from a cache; thoughts and tool-use prompts stand beside prompt and output.
 */

import type { InputCategory, ModelUsage, OutputCategory } from "../../categories.ts";
import { asArray, asObject, countOf, firstCount, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { put } from "./reading.ts";

export interface MappedGeminiUsage {
  readonly usage: ModelUsage;
  /** Names of reference/model-usage.md section 2.5. */
  readonly anomalies: readonly string[];
}

/** Fields of `usageMetadata` of which any one makes it a report: `trafficType` alone is none. */
export const GEMINI_COUNTS = [
  "promptTokenCount",
  "cachedContentTokenCount",
  "candidatesTokenCount",
  "responseTokenCount",
  "thoughtsTokenCount",
  "toolUsePromptTokenCount",
] as const;

/** The same of an interaction's `usage`. */
export const INTERACTION_COUNTS = [
  "total_input_tokens",
  "total_cached_tokens",
  "total_output_tokens",
  "total_thought_tokens",
  "total_tool_use_tokens",
] as const;

/** `usageMetadata`, merged over the response. `responseTokenCount` is what Live and a single turn call the output. */
export function mapGeminiUsage(raw: JsonObject): MappedGeminiUsage {
  return mapCounts({
    prompt: countOf(raw["promptTokenCount"]),
    cached: countOf(raw["cachedContentTokenCount"]),
    output: firstCount(raw["candidatesTokenCount"], raw["responseTokenCount"]),
    thoughts: countOf(raw["thoughtsTokenCount"]),
    toolUse: countOf(raw["toolUsePromptTokenCount"]),
    total: countOf(raw["totalTokenCount"]),
    promptParts: modalities(raw["promptTokensDetails"], "tokenCount"),
    cachedParts: modalities(raw["cacheTokensDetails"], "tokenCount"),
    outputParts: modalities(raw["candidatesTokensDetails"] ?? raw["responseTokensDetails"], "tokenCount"),
  });
}

/** `usage` of an interaction. Grounding that it counts are units. */
export function mapInteractionUsage(raw: JsonObject): MappedGeminiUsage {
  const mapped = mapCounts({
    prompt: countOf(raw["total_input_tokens"]),
    cached: countOf(raw["total_cached_tokens"]),
    output: countOf(raw["total_output_tokens"]),
    thoughts: countOf(raw["total_thought_tokens"]),
    toolUse: countOf(raw["total_tool_use_tokens"]),
    total: countOf(raw["total_tokens"]),
    promptParts: modalities(raw["input_tokens_by_modality"], "tokens"),
    cachedParts: modalities(raw["cached_tokens_by_modality"], "tokens"),
    outputParts: modalities(raw["output_tokens_by_modality"], "tokens"),
  });
  for (const entry of asArray(raw["grounding_tool_count"])) putGrounding(mapped.usage, asObject(entry));
  return mapped;
}

/** A usage object in neutral terms; undefined: not reported. */
interface Counts {
  readonly prompt: number | undefined;
  readonly cached: number | undefined;
  readonly output: number | undefined;
  readonly thoughts: number | undefined;
  readonly toolUse: number | undefined;
  readonly total: number | undefined;
  readonly promptParts: Parts;
  readonly cachedParts: Parts;
  readonly outputParts: Parts;
}

/** Modalities with categories of their own. Text, documents and what is unknown are the rest of a total. */
const MODALITIES = ["audio", "image", "video"] as const;
type Modality = (typeof MODALITIES)[number];

interface Parts extends Readonly<Partial<Record<Modality, number>>> {
  /** Any detail was given, of text too. */
  readonly isGiven: boolean;
}

/** A total cut into disjoint parts. */
type Cut = Readonly<Record<Modality | "text", number>>;

function mapCounts(counts: Counts): MappedGeminiUsage {
  const anomalies: string[] = [];
  const usage: ModelUsage = {};
  putPrompt(usage, counts, anomalies);
  put(usage, "input_tool_tokens", counts.toolUse);
  putOutput(usage, counts, anomalies);
  put(usage, "output_reasoning_tokens", counts.thoughts);
  const sum = (counts.prompt ?? 0) + (counts.output ?? 0) + (counts.thoughts ?? 0) + (counts.toolUse ?? 0);
  if (counts.total !== undefined && counts.total > 0 && counts.total !== sum) anomalies.push("total_mismatch");
  return { usage, anomalies };
}

/** Section 2.3: the cache's own split where it is given, else cached tokens are text first. */
function putPrompt(usage: ModelUsage, counts: Counts, anomalies: string[]): void {
  const { prompt, cached = 0, promptParts, cachedParts } = counts;
  if (prompt === undefined && counts.cached === undefined) return;
  const total = prompt ?? cached;
  if (cached > total) anomalies.push("cached_gt_prompt");
  const whole = cutTotal(total, promptParts, anomalies);
  const read = cachedParts.isGiven ? cutTotal(cached, cachedParts, anomalies) : assumeText(cached, whole, anomalies);
  putRest(usage, "input_tokens", whole.text, read.text, anomalies);
  if (counts.cached !== undefined) usage.cache_read_tokens = read.text;
  for (const modality of MODALITIES) {
    const isGiven = promptParts[modality] !== undefined || read[modality] > 0;
    if (isGiven) putRest(usage, INPUT_OF[modality], whole[modality], read[modality], anomalies);
    if (isGiven && counts.cached !== undefined) usage[CACHE_OF[modality]] = read[modality];
  }
}

function putOutput(usage: ModelUsage, counts: Counts, anomalies: string[]): void {
  if (counts.output === undefined) return;
  const cut = cutTotal(counts.output, counts.outputParts, anomalies);
  usage.output_tokens = cut.text;
  for (const modality of MODALITIES) {
    if (counts.outputParts[modality] !== undefined) usage[OUTPUT_OF[modality]] = cut[modality];
  }
}

/** Cached tokens without a split of their own: text, and what is more than the text, the other parts in turn. */
function assumeText(cached: number, whole: Cut, anomalies: string[]): Cut {
  const hasOthers = MODALITIES.some((modality) => whole[modality] > 0);
  if (cached > 0 && hasOthers) anomalies.push("cache_modality_assumed");
  let rest = Math.max(0, cached - whole.text);
  const take = (limit: number): number => {
    const taken = Math.min(rest, limit);
    rest -= taken;
    return taken;
  };
  const parts = { audio: take(whole.audio), image: take(whole.image), video: take(whole.video) };
  return { ...parts, text: cached - parts.audio - parts.image - parts.video };
}

/** The total is what counts: parts that exceed it are cut down to it. */
function cutTotal(total: number, parts: Parts, anomalies: string[]): Cut {
  let rest = total;
  const take = (part = 0): number => {
    const taken = Math.min(part, rest);
    if (taken < part) anomalies.push("negative_clamped");
    rest -= taken;
    return taken;
  };
  const cut = { audio: take(parts.audio), image: take(parts.image), video: take(parts.video) };
  return { ...cut, text: rest };
}

function putRest(usage: ModelUsage, category: InputCategory, total: number, part: number, anomalies: string[]): void {
  if (part > total) anomalies.push("negative_clamped");
  usage[category] = Math.max(0, total - part);
}

/** `[{modality, tokenCount}]`, the names in capitals, or `[{modality, tokens}]`. Entries of one modality add up. */
function modalities(details: unknown, countName: string): Parts {
  const parts: Partial<Record<Modality, number>> = {};
  let isGiven = false;
  for (const value of asArray(details)) {
    const entry = asObject(value);
    const count = countOf(entry?.[countName]);
    if (count === undefined) continue;
    isGiven = true;
    const name = textOf(entry?.["modality"])?.toLowerCase();
    const modality = MODALITIES.find((candidate) => candidate === name);
    if (modality !== undefined) parts[modality] = (parts[modality] ?? 0) + count;
  }
  return { ...parts, isGiven };
}

/** `grounding_tool_count[]{type,count}`. Retrieval from one's own store has no category. */
function putGrounding(usage: ModelUsage, entry: JsonObject | undefined): void {
  const count = countOf(entry?.["count"]);
  if (count === undefined || count === 0) return;
  if (entry?.["type"] === "google_search") usage.grounding_queries = (usage.grounding_queries ?? 0) + count;
  if (entry?.["type"] === "google_maps") usage.maps_grounding_requests = (usage.maps_grounding_requests ?? 0) + count;
}

const INPUT_OF: Readonly<Record<Modality, InputCategory>> = {
  audio: "input_audio_tokens",
  image: "input_image_tokens",
  video: "input_video_tokens",
};

const CACHE_OF: Readonly<Record<Modality, InputCategory>> = {
  audio: "cache_read_audio_tokens",
  image: "cache_read_image_tokens",
  video: "cache_read_video_tokens",
};

const OUTPUT_OF: Readonly<Record<Modality, OutputCategory>> = {
  audio: "output_audio_tokens",
  image: "output_image_tokens",
  video: "output_video_tokens",
};
