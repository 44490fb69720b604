/**
 * What the estimate in a reading was made of, so that the meter can put a better number in its place, and what it can
 * learn from a report. Carried beside the usage; never stored or printed.
 */

import type { RunningEstimate } from "./running-estimate.ts";

export interface EstimateBasis {
  /** The heuristic's count of the request. */
  readonly inputTokens: number;
  /** `usage.input_tokens` is that number. */
  readonly isInputEstimated: boolean;
  /** How `usage.output_tokens` was made; undefined: the provider reported it. */
  readonly output: EstimatedOutput | undefined;
  /** The answer's text, as far as it is held; undefined: none that could be counted. */
  readonly text: RunningEstimate | undefined;
}

export interface EstimatedOutput {
  /** The heuristic's count of what no report covers. */
  readonly tokens: number;
  /** What the provider did report; 0 without a report. */
  readonly reportedTokens: number;
  /** The report is of a beginning of the same text: the larger number counts. Else both are added up. */
  readonly isReportInside: boolean;
  /** No answer has more than the request allowed. */
  readonly maxTokens: number | undefined;
}

/** `usage.output_tokens` for a count of what no report covers. */
export function outputTokensWith(output: EstimatedOutput, tokens: number): number {
  const rest = Math.min(tokens, output.maxTokens ?? tokens);
  return output.isReportInside ? Math.max(output.reportedTokens, rest) : output.reportedTokens + rest;
}
