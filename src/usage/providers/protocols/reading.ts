/**
 * Turns what was found in one response into a reading: what the provider reported stands, and where it reported
 * nothing, or the response was cut off, an estimate fills in when estimates are allowed (contract section 4,
 * reference/model-usage.md section 7).
 */

import { INPUT_CATEGORIES } from "../../categories.ts";
import type { ModelUsage } from "../../categories.ts";
import type { EstimateBasis, EstimatedOutput } from "../../estimate/basis.ts";
import { outputTokensWith } from "../../estimate/basis.ts";
import { tokensOfBytes } from "../../estimate/input-estimate.ts";
import type { RunningEstimate } from "../../estimate/running-estimate.ts";
import type { FreeReading, ModelReading, StatedCost } from "../../handler.ts";
import type { RequestFacts, RequestReader } from "./request-facts.ts";

/** Token counts from sizes, computed only when called. */
export interface Estimates {
  readonly input: () => number;
  /** Output that no report covers yet. */
  readonly output: () => number;
}

/** The sizes of an exchange, from which better estimates are made than `Estimates`, and which are learnt from. */
export interface ExchangeSizes {
  /** The heuristic's count of the request. */
  readonly input: () => number;
  /** The answer's text; undefined where it is not known. */
  readonly text: RunningEstimate | undefined;
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
  /** Left out: the estimates stay as they are, and nothing is learnt from the response. */
  readonly sizes?: ExchangeSizes;
  readonly statedCost?: StatedCost | undefined;
  readonly priceHints?: Readonly<Record<string, string>>;
  readonly anomalies?: readonly string[];
}

/** The reading of a response that did cost something. */
export function measuredReading(findings: Findings): ModelReading {
  const { usage, source, isInputEstimated, output } = fillIn(findings);
  const { sizes } = findings;
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
    ...(sizes === undefined ? {} : { basis: { inputTokens: sizes.input(), isInputEstimated, output, text: sizes.text } }),
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

/** The sizes of an exchange. Of an answer with a text too large to be held the text is not known. */
export function sizesOf(request: RequestReader, text: RunningEstimate, oversizeBytes: number | undefined): ExchangeSizes {
  return { input: () => request.inputTokens(), text: oversizeBytes === undefined ? text : undefined };
}

/** Adds a category when its count is known. */
export function put(usage: ModelUsage, category: keyof ModelUsage, count: number | undefined): void {
  if (count !== undefined) usage[category] = count;
}

/** Usage, and how the estimates in it were made. */
interface FilledUsage extends Pick<EstimateBasis, "isInputEstimated" | "output"> {
  readonly usage: ModelUsage;
  readonly source: ModelReading["source"];
}

function fillIn(findings: Findings): FilledUsage {
  const { reported, estimates } = findings;
  const asReported = { isInputEstimated: false, output: undefined };
  if (reported !== undefined && findings.isWhole) return { ...asReported, usage: reported, source: "provider" };
  if (estimates === undefined) return { ...asReported, usage: reported ?? {}, source: reported === undefined ? "none" : "provider" };
  return reported === undefined ? fillInAll(findings, estimates) : fillInRest(reported, findings, estimates);
}

/** A response that reported nothing. */
function fillInAll(findings: Findings, estimates: Estimates): FilledUsage {
  const output = estimatedOutput(findings, estimates, 0);
  const usage = { input_tokens: estimates.input(), output_tokens: outputTokensWith(output, output.tokens) };
  return { usage, source: "estimate", isInputEstimated: true, output };
}

/** A response that was cut off after it had reported something. */
function fillInRest(reported: ModelUsage, findings: Findings, estimates: Estimates): FilledUsage {
  const usage = { ...reported };
  const isInputEstimated = INPUT_CATEGORIES.every((category) => (usage[category] ?? 0) === 0);
  if (isInputEstimated) usage.input_tokens = estimates.input();
  const rest = estimatedOutput(findings, estimates, usage.output_tokens ?? 0);
  const output = rest.isReportInside || rest.tokens > 0 ? rest : undefined;
  if (output !== undefined) usage.output_tokens = outputTokensWith(output, output.tokens);
  return { usage, source: isInputEstimated || output !== undefined ? "estimate" : "provider", isInputEstimated, output };
}

/** No answer has more than the request allowed. */
function estimatedOutput(findings: Findings, estimates: Estimates, reportedTokens: number): EstimatedOutput {
  const { maxOutputTokens, choiceCount } = findings.request;
  return {
    tokens: estimates.output(),
    reportedTokens,
    isReportInside: findings.isOutputSeed === true,
    maxTokens: maxOutputTokens === undefined ? undefined : maxOutputTokens * choiceCount,
  };
}
