/**
 * Maps what Cohere reports, `usage` of v2/chat and `meta` of every other endpoint, to disjoint categories
 * (reference/model-usage.md sections 2.2 and 5.15; names of `cohere-ai` 8.1.0, Usage and ApiMeta, as on the wire).
 */

import type { ModelUsage } from "../../categories.ts";
import { asObject, countOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import type { MappedUsage } from "./openai-usage.ts";
import { put } from "./reading.ts";
import { hasCount } from "./snapshot.ts";

const TOKENS = ["input_tokens", "output_tokens"] as const;

const BILLED = ["input_tokens", "output_tokens", "image_tokens", "search_units", "pages", "images", "classifications"] as const;

/** Whether a `usage` or `meta` reports anything. */
export function hasCohereCount(report: JsonObject | undefined): boolean {
  return hasCount(asObject(report?.["billed_units"]), BILLED) || hasCount(asObject(report?.["tokens"]), TOKENS);
}

/**
 * `billed_units` is what is paid; `tokens` has Cohere's own text around the prompt too, and counts only where nothing
 * billed is told. No source says whether `cached_tokens`, prompt tokens that hit the cache, are among the billed ones:
 * they are taken for a part of them while they fit, so that the sum stays what is billed.
 */
export function mapCohereUsage(report: JsonObject): MappedUsage {
  const billed = asObject(report["billed_units"]);
  const isBilled = hasCount(billed, BILLED);
  const units = (isBilled ? billed : asObject(report["tokens"])) ?? {};
  const input = countOf(units["input_tokens"]);
  const cached = countOf(report["cached_tokens"]);
  const isBeside = cached !== undefined && cached > (input ?? 0);
  const usage: ModelUsage = {};
  put(usage, "input_tokens", input === undefined ? undefined : input - (isBeside ? 0 : (cached ?? 0)));
  put(usage, "input_image_tokens", countOf(units["image_tokens"]));
  put(usage, "cache_read_tokens", cached);
  put(usage, "output_tokens", countOf(units["output_tokens"]));
  put(usage, "search_units", countOf(units["search_units"]));
  put(usage, "pages", countOf(units["pages"]));
  put(usage, "images_in", countOf(units["images"]));
  put(usage, "classifications", countOf(units["classifications"]));
  return { usage, anomalies: isBeside ? ["cached_gt_prompt"] : [] };
}
