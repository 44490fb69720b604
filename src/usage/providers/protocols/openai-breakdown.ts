/**
 * Groq's compound systems call several models in one response and say so in `usage_breakdown.models[]{model,usage}`
 * (reference/model-usage.md sections 2.1 and 5.14), in a stream inside `x_groq` (types of groq-sdk 1.6.0): each model is
 * an event of its own.
 */

import { totalsOf } from "../../categories.ts";
import type { ModelReading } from "../../handler.ts";
import { asArray, asObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import type { MappedUsage } from "./openai-usage.ts";

/**
 * The readings of a response with a breakdown. When its models sum to the total, the total is not billed again;
 * otherwise the models come beside it.
 */
export function breakdownReadings(
  total: ModelReading,
  breakdown: JsonObject,
  map: (usage: JsonObject, model: string | null) => MappedUsage,
): readonly ModelReading[] {
  const parts = asArray(breakdown["models"]).flatMap((entry) => {
    const part = asObject(entry);
    const usage = asObject(part?.["usage"]);
    return usage === undefined ? [] : [partReading(total, textOf(part?.["model"]) ?? null, usage, map)];
  });
  if (parts.length === 0) return [total];
  const sum = parts.reduce((tokens, part) => tokens + totalsOf(part.usage).total_tokens, 0);
  return sum === totalsOf(total.usage).total_tokens ? parts : [total, ...parts];
}

function partReading(
  total: ModelReading,
  model: string | null,
  usage: JsonObject,
  map: (usage: JsonObject, model: string | null) => MappedUsage,
): ModelReading {
  const { anomalies: _anomalies, statedCost: _cost, basis: _basis, ...shared } = total;
  return { ...shared, usage: map(usage, model).usage, responseModel: model };
}
