/**
 * Maps usage objects of OpenAI's shape to disjoint categories (reference/model-usage.md sections 2.2 to 2.4, 5.2.1,
 * 5.3.1, 5.14). In this family the prompt total includes cache reads and writes; whether reasoning is inside the
 * completion count depends on the server. One field that servers spell in several ways is read in all spellings.
 */

import type { ModelUsage } from "../../categories.ts";
import { asObject, countOf, firstCount } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { put } from "./reading.ts";

/** What is known of a server's counts. */
export interface UsageTraits {
  /** Where reasoning stands: inside the completion count, beside it, or told by `total_tokens` (section 2.4). */
  readonly reasoning: "inside" | "beside" | "by_total";
  /** Cached tokens that exceed the prompt are beside it (section 2.4). Otherwise they are clamped. */
  readonly isCachedBesideWhenLarger: boolean;
  /** The lifetime of `cache_write_tokens`: OpenAI's 30 minutes, or unknown. */
  readonly cacheWrite: "cache_write_30m_tokens" | "cache_write_tokens";
}

export interface MappedUsage {
  readonly usage: ModelUsage;
  readonly anomalies: readonly string[];
}

/** Fields of which any one makes an object a usage report. */
export const OPENAI_COUNTS = ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"] as const;

/** One usage object in neutral terms; undefined: not reported. */
interface TokenReport {
  readonly prompt: number | undefined;
  readonly completion: number | undefined;
  readonly total: number | undefined;
  readonly cached: number | undefined;
  /** Written to the cache, by lifetime: subsets of the prompt. */
  readonly writes: CacheWrites;
  readonly promptAudio: number | undefined;
  readonly promptImage: number | undefined;
  readonly promptVideo: number | undefined;
  readonly reasoning: number | undefined;
  readonly outputAudio: number | undefined;
  readonly outputImage: number | undefined;
}

type CacheWrites = Pick<
  ModelUsage,
  "cache_write_5m_tokens" | "cache_write_30m_tokens" | "cache_write_1h_tokens" | "cache_write_12h_tokens" | "cache_write_tokens"
>;

/** `usage` of Chat Completions, legacy completions and embeddings. */
export function mapChatUsage(raw: JsonObject, traits: UsageTraits): MappedUsage {
  const input = asObject(raw["prompt_tokens_details"]) ?? asObject(raw["input_tokens_details"]) ?? {};
  const output = asObject(raw["completion_tokens_details"]) ?? asObject(raw["output_tokens_details"]) ?? {};
  const mapped = mapReport(
    {
      prompt: promptOf(raw),
      completion: firstCount(raw["completion_tokens"], raw["output_tokens"]),
      total: countOf(raw["total_tokens"]),
      cached: chatCached(raw, input),
      writes: chatCacheWrites(input, traits),
      promptAudio: countOf(input["audio_tokens"]),
      promptImage: firstCount(input["image_tokens"], raw["image_tokens"]),
      promptVideo: countOf(input["video_tokens"]),
      reasoning: firstCount(output["reasoning_tokens"], raw["reasoning_tokens"]),
      outputAudio: countOf(output["audio_tokens"]),
      outputImage: countOf(output["image_tokens"]),
    },
    traits,
  );
  putUnits(mapped.usage, raw);
  return mapped;
}

/** `usage` of the Responses API. The lifetime of writes is in their details; the rest has an unknown one. */
export function mapResponsesUsage(raw: JsonObject, traits: UsageTraits): MappedUsage {
  const input = asObject(raw["input_tokens_details"]) ?? asObject(raw["prompt_tokens_details"]) ?? {};
  const output = asObject(raw["output_tokens_details"]) ?? asObject(raw["completion_tokens_details"]) ?? {};
  const mapped = mapReport(
    {
      prompt: firstCount(raw["input_tokens"], raw["prompt_tokens"]),
      completion: firstCount(raw["output_tokens"], raw["completion_tokens"]),
      total: countOf(raw["total_tokens"]),
      cached: firstCount(input["cached_tokens"], input["cache_read_input_tokens"]),
      writes: responsesCacheWrites(input),
      promptAudio: countOf(input["audio_tokens"]),
      promptImage: countOf(input["image_tokens"]),
      promptVideo: countOf(input["video_tokens"]),
      reasoning: firstCount(output["reasoning_tokens"], raw["reasoning_tokens"]),
      outputAudio: countOf(output["audio_tokens"]),
      outputImage: countOf(output["image_tokens"]),
    },
    traits,
  );
  putUnits(mapped.usage, raw);
  return mapped;
}

/** DeepSeek reports the prompt as hits and misses, which sum to it. */
function promptOf(raw: JsonObject): number | undefined {
  const hit = countOf(raw["prompt_cache_hit_tokens"]);
  const miss = countOf(raw["prompt_cache_miss_tokens"]);
  if (hit !== undefined && miss !== undefined && hit + miss > 0) return hit + miss;
  return firstCount(raw["prompt_tokens"], raw["input_tokens"]);
}

/** Mistral has three spellings, Moonshot and DeepSeek one of their own (section 5.14). */
function chatCached(raw: JsonObject, input: JsonObject): number | undefined {
  const singular = asObject(raw["prompt_token_details"]);
  return firstCount(
    raw["prompt_cache_hit_tokens"],
    input["cached_tokens"],
    singular?.["cached_tokens"],
    raw["num_cached_tokens"],
    raw["cached_tokens"],
  );
}

/** OpenAI's field has one lifetime; DashScope's and LiteLLM's have Anthropic's split, where they know it. */
function chatCacheWrites(input: JsonObject, traits: UsageTraits): CacheWrites {
  const writes: CacheWrites = {};
  put(writes, traits.cacheWrite, countOf(input["cache_write_tokens"]));
  if ((countOf(input["cache_write_tokens"]) ?? 0) > 0) return writes;
  const split = asObject(input["cache_creation"]) ?? asObject(input["cache_creation_token_details"]);
  const fiveMinutes = countOf(split?.["ephemeral_5m_input_tokens"]);
  const hour = countOf(split?.["ephemeral_1h_input_tokens"]);
  const total = firstCount(input["cache_creation_input_tokens"], input["cache_creation_tokens"]);
  put(writes, "cache_write_5m_tokens", fiveMinutes);
  put(writes, "cache_write_1h_tokens", hour);
  const rest = (total ?? 0) - (fiveMinutes ?? 0) - (hour ?? 0);
  if (total !== undefined && (rest > 0 || split === undefined)) writes.cache_write_tokens = rest;
  return writes;
}

function responsesCacheWrites(input: JsonObject): CacheWrites {
  const writes: CacheWrites = {};
  const details = asObject(input["cache_write_tokens_details"]);
  const halfHour = countOf(details?.["ttl_30m_tokens"]);
  const halfDay = countOf(details?.["ttl_12h_tokens"]);
  const total = firstCount(input["cache_write_tokens"], input["cache_creation_input_tokens"]);
  put(writes, "cache_write_30m_tokens", halfHour);
  put(writes, "cache_write_12h_tokens", halfDay);
  const rest = (total ?? 0) - (halfHour ?? 0) - (halfDay ?? 0);
  if (rest > 0 || (total === 0 && details === undefined)) writes.cache_write_tokens = rest;
  return writes;
}

/** Charges that are no tokens (section 5.14). OpenRouter's tool calls include its searches: only these are read. */
function putUnits(usage: ModelUsage, raw: JsonObject): void {
  const tools = asObject(raw["server_tool_use_details"]) ?? asObject(raw["server_tool_use"]);
  put(usage, "web_search_requests", firstCount(tools?.["web_search_requests"], raw["num_search_queries"]));
  put(usage, "citation_tokens", countOf(raw["citation_tokens"]));
  put(usage, "audio_seconds_in", countOf(raw["prompt_audio_seconds"]));
}

function mapReport(report: TokenReport, traits: UsageTraits): MappedUsage {
  const usage: ModelUsage = {};
  const anomalies: string[] = [];
  mapPrompt(usage, report, traits, anomalies);
  mapCompletion(usage, report, isReasoningBeside(report, traits, anomalies), anomalies);
  return { usage, anomalies: [...new Set(anomalies)] };
}

/**
 * Two cuts of one total: by modality and by cache state (section 2.3). What was cached or written is taken from text
 * first, then audio, image, video, as nobody reports the cut of both.
 */
function mapPrompt(usage: ModelUsage, report: TokenReport, traits: UsageTraits, anomalies: string[]): void {
  const { prompt, cached = 0, writes } = report;
  const written = Object.values(writes).reduce((sum, count) => sum + count, 0);
  const other = (report.promptAudio ?? 0) + (report.promptImage ?? 0) + (report.promptVideo ?? 0);
  const isBeside = traits.isCachedBesideWhenLarger && cached > (prompt ?? 0);
  if (cached > (prompt ?? 0)) anomalies.push("cached_gt_prompt");
  if (other > 0 && cached + written > 0) anomalies.push("cache_modality_assumed");
  if (prompt !== undefined && (other > prompt || (isBeside ? 0 : cached) + written > prompt)) anomalies.push("negative_clamped");
  const pools: Pools = {
    text: Math.max(0, (prompt ?? 0) - other),
    audio: report.promptAudio ?? 0,
    image: report.promptImage ?? 0,
    video: report.promptVideo ?? 0,
  };
  const read = isBeside ? { text: cached, audio: 0, image: 0, video: 0 } : take(pools, cached);
  take(pools, written);
  put(usage, "input_tokens", prompt === undefined ? undefined : pools.text);
  put(usage, "input_audio_tokens", report.promptAudio === undefined ? undefined : pools.audio);
  put(usage, "input_image_tokens", report.promptImage === undefined ? undefined : pools.image);
  put(usage, "input_video_tokens", report.promptVideo === undefined ? undefined : pools.video);
  put(usage, "cache_read_tokens", report.cached === undefined ? undefined : read.text);
  if (read.audio > 0) usage.cache_read_audio_tokens = read.audio;
  if (read.image > 0) usage.cache_read_image_tokens = read.image;
  if (read.video > 0) usage.cache_read_video_tokens = read.video;
  Object.assign(usage, writes);
}

interface Pools {
  text: number;
  audio: number;
  image: number;
  video: number;
}

const POOL_ORDER = ["text", "audio", "image", "video"] as const;

/** Takes tokens out of the pools, in order; more than all of them hold counts as text. */
function take(pools: Pools, count: number): Pools {
  const taken: Pools = { text: 0, audio: 0, image: 0, video: 0 };
  let left = count;
  for (const pool of POOL_ORDER) {
    taken[pool] = Math.min(left, pools[pool]);
    pools[pool] -= taken[pool];
    left -= taken[pool];
  }
  taken.text += left;
  return taken;
}

function mapCompletion(usage: ModelUsage, report: TokenReport, isBeside: boolean, anomalies: string[]): void {
  const { completion, reasoning, outputAudio, outputImage } = report;
  if (completion !== undefined) {
    const visible = completion - (isBeside ? 0 : (reasoning ?? 0)) - (outputAudio ?? 0) - (outputImage ?? 0);
    if (visible < 0) anomalies.push("negative_clamped");
    usage.output_tokens = Math.max(0, visible);
  }
  put(usage, "output_reasoning_tokens", reasoning);
  put(usage, "output_audio_tokens", outputAudio);
  put(usage, "output_image_tokens", outputImage);
}

/** Section 2.4. */
function isReasoningBeside(report: TokenReport, traits: UsageTraits, anomalies: string[]): boolean {
  const { prompt = 0, completion = 0, reasoning = 0, total, cached = 0 } = report;
  if (traits.reasoning === "beside") return true;
  if (reasoning > completion) anomalies.push("reasoning_gt_completion");
  if (traits.reasoning === "inside") return false;
  if (reasoning > completion) return true;
  const promptTotal = cached > prompt && total !== undefined && total >= prompt + cached + completion ? prompt + cached : prompt;
  if (total === promptTotal + completion) return false;
  if (reasoning > 0 && total === promptTotal + completion + reasoning) return true;
  if (total !== undefined || reasoning > 0) anomalies.push("total_mismatch");
  return false;
}
