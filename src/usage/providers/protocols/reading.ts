/**
 * Turns what was found in one response into a reading: what the provider reported stands, and where it reported
 * nothing, or the response was cut off, an estimate fills in when estimates are allowed (contract section 4,
 * reference/model-usage.md section 7).
 */

import { INPUT_CATEGORIES } from "../../categories.ts";
import type { ModelUsage } from "../../categories.ts";
import { tokensOfBytes } from "../../estimate/input-estimate.ts";
import type { RunningEstimate } from "../../estimate/running-estimate.ts";
import type { FreeReading, ModelReading, StatedCost } from "../../handler.ts";
import type { RequestFacts } from "./request-facts.ts";

/** Token counts from sizes, computed only when called. */
export interface Estimates {
  readonly input: () => number;
  /** Output that no report covers yet. */
  readonly output: () => number;
}

export interface Findings {
  readonly request: RequestFacts;
  readonly responseModel: string | null;
  readonly responseId: string | null;
  readonly serviceTier: string | null;
  readonly streamed: boolean;
  /** The terminal marker was seen, or the document was whole. */
  readonly isWhole: boolean;
  /** The usage that the provider reported; undefined: none. */
  readonly reported: ModelUsage | undefined;
  /** The reported output is only the few tokens that a stream begins with (Anthropic `message_start`). */
  readonly isOutputSeed?: boolean;
  /** undefined: estimates are not allowed. */
  readonly estimates: Estimates | undefined;
  readonly statedCost?: StatedCost | undefined;
  readonly priceHints?: Readonly<Record<string, string>>;
  readonly anomalies?: readonly string[];
}

/** The reading of a response that did cost something. */
export function measuredReading(findings: Findings): ModelReading {
  const { usage, source } = fillIn(findings);
  const anomalies = [...(findings.anomalies ?? [])];
  if (findings.reported === undefined) anomalies.push("usage_missing");
  if (findings.responseModel === null && findings.request.model === null) anomalies.push("model_missing");
  const hasHints = Object.keys(findings.priceHints ?? {}).length > 0;
  return {
    kind: "measured",
    completeness: findings.isWhole ? "complete" : "partial",
    source,
    usage,
    requestModel: findings.request.model,
    responseModel: findings.responseModel,
    responseId: findings.responseId,
    serviceTier: findings.serviceTier,
    streamed: findings.streamed,
    ...(hasHints && findings.priceHints !== undefined ? { priceHints: findings.priceHints } : {}),
    // What the provider states covers what it reported, not what is estimated on top.
    ...(findings.statedCost !== undefined && source === "provider" ? { statedCost: findings.statedCost } : {}),
    ...(anomalies.length > 0 ? { anomalies } : {}),
  };
}

/** The reading of an exchange that costs nothing. `reason` is one of a few fixed words. */
export function freeReading(
  reason: string,
  facts: { readonly requestModel?: string | null; readonly responseModel?: string | null; readonly responseId?: string | null; readonly streamed?: boolean },
): FreeReading {
  return { kind: "free", reason, ...facts };
}

/** The estimate of an answer's output: of its text, or of the whole body where a text was too large to be held. */
export function outputTokens(text: RunningEstimate, oversizeBytes: number | undefined): number {
  return oversizeBytes === undefined ? text.tokens() : tokensOfBytes(oversizeBytes);
}

/** Adds a category when its count is known. */
export function put(usage: ModelUsage, category: keyof ModelUsage, count: number | undefined): void {
  if (count !== undefined) usage[category] = count;
}

function fillIn(findings: Findings): Pick<ModelReading, "usage" | "source"> {
  const { reported, estimates } = findings;
  if (reported !== undefined && findings.isWhole) return { usage: reported, source: "provider" };
  if (estimates === undefined) return { usage: reported ?? {}, source: reported === undefined ? "none" : "provider" };
  const output = boundedOutput(findings, estimates);
  if (reported === undefined) return { usage: { input_tokens: estimates.input(), output_tokens: output }, source: "estimate" };
  return fillInRest(reported, estimates, output, findings.isOutputSeed === true);
}

/** A response that was cut off after it had reported something. */
function fillInRest(reported: ModelUsage, estimates: Estimates, rest: number, isSeed: boolean): Pick<ModelReading, "usage" | "source"> {
  const usage = { ...reported };
  let isEstimated = false;
  if (INPUT_CATEGORIES.every((category) => (usage[category] ?? 0) === 0)) {
    usage.input_tokens = estimates.input();
    isEstimated = true;
  }
  if (isSeed) {
    usage.output_tokens = Math.max(usage.output_tokens ?? 0, rest);
    isEstimated = true;
  } else if (rest > 0) {
    usage.output_tokens = (usage.output_tokens ?? 0) + rest;
    isEstimated = true;
  }
  return { usage, source: isEstimated ? "estimate" : "provider" };
}

/** No answer has more than the request allowed. */
function boundedOutput(findings: Findings, estimates: Estimates): number {
  const { maxOutputTokens, choiceCount } = findings.request;
  const output = estimates.output();
  return maxOutputTokens === undefined ? output : Math.min(output, maxOutputTokens * choiceCount);
}
