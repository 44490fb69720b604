/**
 * Maps the usage of OpenAI's image models (reference/model-usage.md sections 5.3.1 and 5.6.2): a cut of the prompt by
 * modality, and its cached part by modality where it is given (section 2.3).
 */

import type { ModelUsage } from "../../categories.ts";
import { asObject, countOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { put } from "./reading.ts";

/** `usage` of the Images API, and `tool_usage.image_gen` of a response. */
export function mapImageUsage(raw: JsonObject): ModelUsage {
  const input = asObject(raw["input_tokens_details"]);
  const cached = asObject(raw["cached_tokens_details"]);
  const output = asObject(raw["output_tokens_details"]);
  const total = countOf(raw["input_tokens"]) ?? 0;
  const image = countOf(input?.["image_tokens"]) ?? 0;
  const text = Math.max(0, total - image);
  const allCached = countOf(raw["cached_tokens"]) ?? 0;
  const cachedImage = countOf(cached?.["cached_image_tokens"]) ?? Math.max(0, allCached - text);
  const cachedText = countOf(cached?.["cached_text_tokens"]) ?? allCached - cachedImage;
  const outputTotal = countOf(raw["output_tokens"]) ?? 0;
  const outputImage = countOf(output?.["image_tokens"]);
  const usage: ModelUsage = {
    input_tokens: Math.max(0, text - cachedText),
    input_image_tokens: Math.max(0, image - cachedImage),
    cache_read_tokens: cachedText,
    cache_read_image_tokens: cachedImage,
    output_tokens: Math.max(0, outputTotal - (outputImage ?? 0)),
  };
  put(usage, "output_image_tokens", outputImage);
  return usage;
}

/** `svg_usage`: a vector drawing is another model's work. */
export function mapSvgUsage(raw: JsonObject): ModelUsage {
  const reasoning = countOf(raw["reasoning_tokens"]) ?? 0;
  return {
    input_tokens: countOf(raw["input_tokens"]) ?? 0,
    output_tokens: Math.max(0, (countOf(raw["output_tokens"]) ?? 0) - reasoning),
    output_reasoning_tokens: reasoning,
  };
}
