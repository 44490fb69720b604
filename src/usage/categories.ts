/**
 * The closed list of what a model event may count. Token categories are disjoint: no token is in two of them
 * (reference/model-usage.md section 2.1). Connector events have their own categories, named by the connector.
 */

/** Prompt-side token categories, in the order they are written. */
export const INPUT_CATEGORIES = [
  "input_tokens",
  "input_audio_tokens",
  "input_image_tokens",
  "input_video_tokens",
  "input_tool_tokens",
  "cache_read_tokens",
  "cache_read_audio_tokens",
  "cache_read_image_tokens",
  "cache_read_video_tokens",
  "cache_write_5m_tokens",
  "cache_write_30m_tokens",
  "cache_write_1h_tokens",
  "cache_write_12h_tokens",
  "cache_write_tokens",
] as const;

/** Completion-side token categories. */
export const OUTPUT_CATEGORIES = [
  "output_tokens",
  "output_reasoning_tokens",
  "output_audio_tokens",
  "output_image_tokens",
  "output_video_tokens",
] as const;

/** Things that are charged and are not tokens. Durations are seconds and may have a fraction. */
export const UNIT_CATEGORIES = [
  "web_search_requests",
  "web_fetch_requests",
  "grounding_queries",
  "maps_grounding_requests",
  "file_search_calls",
  "code_execution_sessions",
  "images_in",
  "images_out",
  "audio_seconds_in",
  "audio_seconds_out",
  "video_seconds_out",
  "characters_in",
  "pages",
  "search_units",
  "text_units",
  "classifications",
  "citation_tokens",
] as const;

export type InputCategory = (typeof INPUT_CATEGORIES)[number];
export type OutputCategory = (typeof OUTPUT_CATEGORIES)[number];
export type UnitCategory = (typeof UNIT_CATEGORIES)[number];
export type ModelCategory = InputCategory | OutputCategory | UnitCategory;

/** Non-negative counts by category. Absent means not reported. */
export type ModelUsage = Partial<Record<ModelCategory, number>>;

/** Counts of a connector by its own category names ("posts.read"). */
export type ConnectorUsage = Readonly<Record<string, number>>;

/** The inclusive sums of the contract's `totals`. */
export interface UsageTotals {
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly total_tokens: number;
}

/** Every category in the order in which events list them. */
export const MODEL_CATEGORIES: readonly ModelCategory[] = [...INPUT_CATEGORIES, ...OUTPUT_CATEGORIES, ...UNIT_CATEGORIES];

/** Sums each side of a usage. */
export function totalsOf(usage: ModelUsage): UsageTotals {
  let input = 0;
  let output = 0;
  for (const category of INPUT_CATEGORIES) input += usage[category] ?? 0;
  for (const category of OUTPUT_CATEGORIES) output += usage[category] ?? 0;
  return { input_tokens: input, output_tokens: output, total_tokens: input + output };
}

/**
 * Canonical form for an event: known categories in list order; zeros dropped unless everything reported is zero
 * (contract section 4); values clamped to integers in [0, 2^53-1], seconds keep their fraction.
 */
export function canonicalUsage(usage: ModelUsage): ModelUsage {
  const positive: ModelUsage = {};
  const zero: ModelUsage = {};
  let hasPositive = false;
  for (const category of MODEL_CATEGORIES) {
    const value = usage[category];
    if (value === undefined || !Number.isFinite(value)) continue;
    const clean = cleanCount(category, value);
    if (clean > 0) {
      positive[category] = clean;
      hasPositive = true;
    } else zero[category] = 0;
  }
  return hasPositive ? positive : zero;
}

function cleanCount(category: ModelCategory, value: number): number {
  const bounded = Math.min(Math.max(0, value), Number.MAX_SAFE_INTEGER);
  return category.includes("_seconds_") ? bounded : Math.trunc(bounded);
}
