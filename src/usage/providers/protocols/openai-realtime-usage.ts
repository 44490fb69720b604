/**
 * Maps what OpenAI's Realtime reports to disjoint categories (reference/model-usage.md sections 2.2, 2.3 and 5.5.1;
 * RealtimeResponseUsage of the `openai` package 7.57). Its details are named in the singular, and its cache has a split
 * by modality of its own.
 */

import type { ModelUsage } from "../../categories.ts";
import { asObject, countOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { mapResponsesUsage } from "./openai-usage.ts";
import type { MappedUsage, UsageTraits } from "./openai-usage.ts";

/** `response.done.response.usage`. */
export function mapRealtimeUsage(raw: JsonObject, traits: UsageTraits): MappedUsage {
  const input = asObject(raw["input_token_details"]);
  const mapped = mapResponsesUsage({ ...raw, input_tokens_details: input, output_tokens_details: raw["output_token_details"] }, traits);
  const cached = asObject(input?.["cached_tokens_details"]);
  if (input === undefined || cached === undefined) return mapped;
  const isClamped = MODALITIES.some(({ member }) => (countOf(cached[member]) ?? 0) > wholeOf(mapped.usage, member));
  const anomalies = mapped.anomalies.filter((name) => name !== "cache_modality_assumed");
  return {
    usage: { ...mapped.usage, ...splitCache(mapped.usage, cached) },
    anomalies: isClamped ? [...new Set([...anomalies, "negative_clamped"])] : anomalies,
  };
}

/** `usage` of a finished input transcription: tokens, or the length of the audio. Undefined: neither. */
export function mapTranscriptionUsage(raw: JsonObject, traits: UsageTraits): MappedUsage | undefined {
  if (raw["type"] !== "duration") return countOf(raw["input_tokens"]) === undefined ? undefined : mapRealtimeUsage(raw, traits);
  const seconds = countOf(raw["seconds"]);
  return seconds === undefined ? undefined : { usage: { audio_seconds_in: seconds }, anomalies: [] };
}

const MODALITIES = [
  { member: "text_tokens", fresh: "input_tokens", read: "cache_read_tokens" },
  { member: "audio_tokens", fresh: "input_audio_tokens", read: "cache_read_audio_tokens" },
  { member: "image_tokens", fresh: "input_image_tokens", read: "cache_read_image_tokens" },
] as const;

type Member = (typeof MODALITIES)[number]["member"];

/** The prompt's tokens of one modality, read from a cache or not. */
function wholeOf(usage: ModelUsage, member: Member): number {
  const row = MODALITIES.find((modality) => modality.member === member);
  return row === undefined ? 0 : (usage[row.fresh] ?? 0) + (usage[row.read] ?? 0);
}

/** The same prompt, with the cache's own split in place of the assumed one. */
function splitCache(usage: ModelUsage, cached: JsonObject): ModelUsage {
  const split: ModelUsage = {};
  for (const { member, fresh, read } of MODALITIES) {
    const whole = wholeOf(usage, member);
    const taken = Math.min(whole, countOf(cached[member]) ?? 0);
    if (usage[fresh] === undefined && whole === 0) continue;
    split[fresh] = whole - taken;
    split[read] = taken;
  }
  return split;
}
