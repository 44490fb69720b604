/**
 * A rate card: the price of each category for one model at one moment, as integers, and the arithmetic over it.
 * No table and no model name in here. Internally amounts are atto-USD (10^-18), so that a price per million tokens
 * with up to twelve decimals is a whole number per token and nothing is rounded before the end.
 */

import { INPUT_CATEGORIES, OUTPUT_CATEGORIES } from "../categories.ts";
import type { ModelUsage } from "../categories.ts";
import { divideHalfUp, parseDecimal } from "./money.ts";

/** Atto-USD for `per` counts; `steps` replace `atto` for a request whose whole prompt is over a number of tokens. */
export interface Rate {
  readonly atto: bigint;
  readonly per: bigint;
  readonly steps?: readonly RateStep[];
}

export interface RateStep {
  /** The step holds when the prompt has more tokens than this. */
  readonly overPromptTokens: number;
  readonly atto: bigint;
}

export interface RateCard {
  /** By category name of usage/categories.ts. */
  readonly rates: ReadonlyMap<string, Rate>;
  /** Charged once for a request, whatever it used. Atto-USD. */
  readonly perRequestAtto: bigint;
}

/** An exact multiple, such as 5/4. */
export interface Factor {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

export const ONE: Factor = { numerator: 1n, denominator: 1n };

/** Digits after the point of an atto-USD amount. */
export const ATTO_DIGITS = 18;
const ATTO_PER_PICO = 1_000_000n;

/** Fractions of a count (seconds of audio) are kept to the microsecond. */
const COUNT_DIGITS = 6;
const COUNT_SCALE = 1_000_000n;

const TOKEN_CATEGORIES: ReadonlySet<string> = new Set([...INPUT_CATEGORIES, ...OUTPUT_CATEGORIES]);

/** Categories that are reported and never charged: web fetch has no per-fetch fee (model-usage.md section 5.1.1). */
const FREE_CATEGORIES: ReadonlySet<string> = new Set(["web_fetch_requests"]);

export function multiply(left: Factor, right: Factor): Factor {
  if (left === ONE) return right;
  if (right === ONE) return left;
  return { numerator: left.numerator * right.numerator, denominator: left.denominator * right.denominator };
}

/** A rate times an exact multiple, its steps included. Rounded half up below one atto-USD. */
export function scaleRate(rate: Rate, factor: Factor): Rate {
  const scale = (atto: bigint) => divideHalfUp(atto * factor.numerator, factor.denominator);
  const steps = rate.steps?.map((step) => ({ overPromptTokens: step.overPromptTokens, atto: scale(step.atto) }));
  return { atto: scale(rate.atto), per: rate.per, ...(steps === undefined ? {} : { steps }) };
}

/**
 * The price of a usage in pico-USD, rounded half up once, at the end. `tokenFactor` multiplies what tokens cost (a
 * batch discount, a residency uplift) and leaves fees by the piece alone. `undefined` when a category with a positive
 * count has no rate, or when nothing was reported at all: an unknown price is never zero.
 */
export function costPicoUsd(card: RateCard, usage: ModelUsage, tokenFactor: Factor): bigint | undefined {
  const promptTokens = promptTokensOf(usage);
  let tokens = 0n;
  let pieces = card.perRequestAtto;
  let isReported = false;
  for (const [category, count] of Object.entries(usage)) {
    isReported = true;
    if (count <= 0 || FREE_CATEGORIES.has(category)) continue;
    const rate = card.rates.get(category);
    if (rate === undefined) return undefined;
    const atto = chargeAtto(rate, count, promptTokens);
    if (TOKEN_CATEGORIES.has(category)) tokens += atto;
    else pieces += atto;
  }
  if (!isReported) return undefined;
  const total = (tokens * tokenFactor.numerator) / tokenFactor.denominator + pieces;
  return divideHalfUp(total, ATTO_PER_PICO);
}

/** Everything on the prompt side, cache included: it picks the long-context step (model-usage.md section 2.1). */
function promptTokensOf(usage: ModelUsage): number {
  let sum = 0;
  for (const category of INPUT_CATEGORIES) sum += usage[category] ?? 0;
  return sum;
}

function chargeAtto(rate: Rate, count: number, promptTokens: number): bigint {
  let atto = rate.atto;
  if (rate.steps !== undefined) {
    for (const step of rate.steps) if (promptTokens > step.overPromptTokens) atto = step.atto;
  }
  if (Number.isInteger(count)) return (BigInt(count) * atto) / rate.per;
  const scaled = parseDecimal(count.toFixed(COUNT_DIGITS), COUNT_DIGITS) ?? 0n;
  return (scaled * atto) / (rate.per * COUNT_SCALE);
}
