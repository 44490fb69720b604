/**
 * Puts better numbers in place of the heuristic's, and learns from what providers reported. Pure: the counts come from
 * elsewhere.
 */

import { INPUT_CATEGORIES, OUTPUT_CATEGORIES, type ModelUsage } from "../categories.ts";
import type { ModelReading, Reading } from "../handler.ts";
import { outputTokensWith } from "./basis.ts";
import type { Calibration, Side } from "./calibration.ts";

/** Exact counts of a reading's texts; undefined: there is none, and the calibrated heuristic stands in. */
export interface ExactCounts {
  readonly input: number | undefined;
  /** Of the text that no report covers. */
  readonly output: number | undefined;
}

export const NO_COUNTS: ExactCounts = { input: undefined, output: undefined };

/** The reading with better estimates, where it has any, and without its basis. */
export function betterReading(reading: Reading, exact: ExactCounts, calibration: Calibration): Reading {
  if (!isModelReading(reading) || reading.basis === undefined) return reading;
  const { basis, ...rest } = reading;
  const usage: ModelUsage = { ...reading.usage };
  const calibrated = (tokens: number, side: Side): number => Math.round(tokens * factorOf(reading, side, calibration));
  if (basis.isInputEstimated) usage.input_tokens = exact.input ?? calibrated(basis.inputTokens, "input");
  if (basis.output !== undefined) {
    usage.output_tokens = outputTokensWith(basis.output, exact.output ?? calibrated(basis.output.tokens, "output"));
  }
  return { ...rest, usage };
}

/** What the provider reported of a whole response stands against what the heuristic would have said. */
export function learnFrom(reading: Reading | undefined, calibration: Calibration): void {
  if (reading === undefined || !isModelReading(reading) || reading.basis === undefined) return;
  if (reading.source !== "provider" || reading.completeness !== "complete") return;
  const { usage, basis } = reading;
  let answerTokens: number | undefined;
  for (const model of new Set(modelsOf(reading))) {
    if (isOnly(usage, TEXT_INPUT, INPUT_CATEGORIES)) {
      calibration.observe(model, "input", { heuristic: basis.inputTokens, reported: sumOf(usage, INPUT_CATEGORIES) });
    }
    // Reasoning is not shown, or in part: its tokens say nothing of the text.
    if (basis.text !== undefined && isOnly(usage, TEXT_OUTPUT, OUTPUT_CATEGORIES) && calibration.isWanted(model, "output")) {
      answerTokens ??= basis.text.tokensOfAll();
      calibration.observe(model, "output", { heuristic: answerTokens, reported: usage.output_tokens ?? 0 });
    }
  }
}

/** Whether numbers of the reading are estimates that can be made better. */
export function isEstimated(reading: Reading): reading is ModelReading {
  return isModelReading(reading) && (reading.basis?.isInputEstimated === true || reading.basis?.output !== undefined);
}

/** The names of its model, as answered and as asked for. */
export function modelsOf(reading: ModelReading): readonly string[] {
  return [reading.responseModel, reading.requestModel].filter((name) => name !== null);
}

type Category = keyof ModelUsage;

const TEXT_INPUT: ReadonlySet<Category> = new Set<Category>([
  "input_tokens",
  "cache_read_tokens",
  "cache_write_5m_tokens",
  "cache_write_30m_tokens",
  "cache_write_1h_tokens",
  "cache_write_12h_tokens",
  "cache_write_tokens",
]);

const TEXT_OUTPUT: ReadonlySet<Category> = new Set<Category>(["output_tokens"]);

function isModelReading(reading: Reading): reading is ModelReading {
  return reading.kind === "measured" && "usage" in reading;
}

function isOnly(usage: ModelUsage, wanted: ReadonlySet<Category>, of: readonly Category[]): boolean {
  return of.every((category) => wanted.has(category) || (usage[category] ?? 0) === 0);
}

function sumOf(usage: ModelUsage, categories: readonly Category[]): number {
  return categories.reduce((sum, category) => sum + (usage[category] ?? 0), 0);
}

/** Of the first of its names that something is known of. */
function factorOf(reading: ModelReading, side: Side, calibration: Calibration): number {
  return modelsOf(reading).map((model) => calibration.factor(model, side)).find((factor) => factor !== undefined) ?? 1;
}
