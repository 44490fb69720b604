/**
 * Our own dated table: what @pydantic/genai-prices lacks. Rules for cache lifetimes, service tiers and residency, and
 * the few models that it does not list under their own name. A factor that no source gives is `undefined`, and the
 * event is then unpriced: nothing is invented here. Every row names its source.
 */

import type { PriceEntry } from "./price-entry.ts";
import { isAtLeast, modelVendor, modelVersion } from "./model-name.ts";
import { multiply, ONE, scaleRate } from "./rate-card.ts";
import type { Factor, Rate } from "./rate-card.ts";

/** Day of the last change of this file's facts; part of every event's `price_version`. */
export const OWN_PRICES_DATE = "2026-11-28";

const HALF: Factor = { numerator: 1n, denominator: 2n };
const DOUBLE: Factor = { numerator: 2n, denominator: 1n };
const FIVE_QUARTERS: Factor = { numerator: 5n, denominator: 4n };
const TENTH_MORE: Factor = { numerator: 11n, denominator: 10n };

/**
 * Models without an entry of their own in genai-prices 0.1.8. List prices in USD per million tokens:
 * platform.claude.com model pages of Sonnet 5.5 and Haiku 5.5, with the cache-read cut of 2026-10-07 and the prompt
 * steps of Haiku as two independent price tables recorded them on 2026-10-16 and 2026-10-24. Bedrock and Vertex set
 * their own prices, hence the meter.
 */
export const OWN_MODELS: readonly PriceEntry[] = [
  {
    match: "claude-sonnet-5-5",
    meter: "anthropic",
    per_million: {
      input_tokens: "2",
      output_tokens: "10",
      cache_read_tokens: "0.2",
      cache_write_5m_tokens: "2.5",
      cache_write_1h_tokens: "4",
    },
    per_unit: { web_search_requests: "0.01" },
  },
  {
    match: "claude-sonnet-5-5",
    meter: "anthropic",
    from: "2026-10-07",
    per_million: {
      input_tokens: "2",
      output_tokens: "10",
      cache_read_tokens: "0.1",
      cache_write_5m_tokens: "2.5",
      cache_write_1h_tokens: "4",
    },
    per_unit: { web_search_requests: "0.01" },
  },
  {
    match: "claude-haiku-5-5",
    meter: "anthropic",
    per_million: {
      input_tokens: "0.1",
      output_tokens: "0.5",
      cache_read_tokens: "0.01",
      cache_write_5m_tokens: "0.125",
      cache_write_1h_tokens: "0.2",
    },
    long_context: {
      over_prompt_tokens: 100_000,
      per_million: {
        input_tokens: "0.5",
        output_tokens: "2.5",
        cache_read_tokens: "0.05",
        cache_write_5m_tokens: "0.625",
        cache_write_1h_tokens: "1",
      },
    },
    per_unit: { web_search_requests: "0.01" },
  },
];

/**
 * Adds the rates that follow from others, in place; a rate that is there is never replaced.
 *
 * - Reasoning is output (model-usage.md section 0.2 rule 4); tool results fed back are input.
 * - Images and video in a prompt cost what its text costs where the table has no price of their own: that is how
 *   genai-prices defines a missing narrower price. Audio, and anything but text in an answer, is dearer: no rule.
 *   OpenAI's image models are listed with the price of an image as that of their output.
 * - Cache writes: section 8. Anthropic 5 minutes 1.25x and one hour 2x input; OpenAI 1.25x from gpt-5.6, earlier
 *   models write for free, that is at the input rate (section 5.2.1). Twelve hours: rate unknown.
 */
export function deriveRates(rates: Map<string, Rate>, modelName: string): void {
  derive(rates, "output_reasoning_tokens", "output_tokens");
  derive(rates, "input_tool_tokens", "input_tokens");
  for (const modality of ["image", "video"]) {
    if (!rates.has(`input_${modality}_tokens`)) derive(rates, `cache_read_${modality}_tokens`, "cache_read_tokens");
    derive(rates, `input_${modality}_tokens`, "input_tokens");
  }
  if (IMAGE_MODEL.test(modelName)) derive(rates, "output_image_tokens", "output_tokens");
  const vendor = modelVendor(modelName);
  if (vendor === "anthropic") {
    derive(rates, "cache_write_5m_tokens", "cache_write_tokens");
    derive(rates, "cache_write_5m_tokens", "input_tokens", FIVE_QUARTERS);
    derive(rates, "cache_write_1h_tokens", "input_tokens", DOUBLE);
    derive(rates, "cache_write_tokens", "cache_write_5m_tokens");
    return;
  }
  if (vendor === "openai") {
    derive(rates, "cache_write_30m_tokens", "cache_write_tokens");
    derive(rates, "cache_write_30m_tokens", "input_tokens", isPaidCacheWrite(modelName) ? FIVE_QUARTERS : ONE);
    derive(rates, "cache_write_tokens", "cache_write_30m_tokens");
    return;
  }
  derive(rates, "cache_write_5m_tokens", "cache_write_tokens");
  derive(rates, "cache_write_30m_tokens", "cache_write_tokens");
}

/** By their releases: gpt-image-1, chatgpt-image-latest. */
const IMAGE_MODEL = /^(?:chat)?gpt-image/;

function derive(rates: Map<string, Rate>, target: string, source: string, factor: Factor = ONE): void {
  const rate = rates.get(source);
  if (rate !== undefined && !rates.has(target)) rates.set(target, factor === ONE ? rate : scaleRate(rate, factor));
}

function isPaidCacheWrite(modelName: string): boolean {
  const version = modelVersion(modelName);
  return version?.family === "gpt" && isAtLeast(version, 5, 6);
}

/** What moves the price of an event beside its counts. */
export interface PriceFacts {
  readonly meter: string;
  readonly host: string;
  /** The bare model name. */
  readonly modelName: string;
  readonly serviceTier: string | null;
  readonly hints: Readonly<Record<string, string>>;
  /** Names of facts that the price in hand already includes: no factor is applied for them. */
  readonly included: ReadonlySet<string>;
}

/** The multiple of the token prices for an event's tier, speed, residency and the like; `undefined` where one is unknown. */
export function tokenFactor(facts: PriceFacts): Factor | undefined {
  const parts = [tierFactor(facts), speedFactor(facts), geoFactor(facts), hostFactor(facts), otherFactor(facts)];
  let product = ONE;
  for (const part of parts) {
    if (part === undefined) return undefined;
    product = multiply(product, part);
  }
  return product;
}

/**
 * Service tiers as responses state them, lower case (model-usage.md section 8). Batch is "normally half" and flex
 * costs what batch costs (OpenAI and Gemini price lists). `auto` is what a stream that was cut off early says: list
 * price. Absent rows (scale, provisioned …) have no price per token or none that we know; fast ones go by the model.
 */
const TIER_FACTORS: Readonly<Record<string, Factor>> = {
  standard: ONE,
  default: ONE,
  auto: ONE,
  on_demand: ONE,
  unspecified: ONE,
  batch: HALF,
  flex: HALF,
  on_demand_flex: HALF,
};

/** Groq's flex trades certainty for higher limits at the price of on demand (console.groq.com flex-processing, read 2026-11-28). */
const TIER_FACTORS_OF_METER: Readonly<Record<string, Readonly<Record<string, Factor>>>> = {
  groq: { ...TIER_FACTORS, flex: ONE },
};

/** `billing_mode` hints. A subscription is shown at list price, as a shadow value (sections 5.1.9 and 8). */
const BILLING_FACTORS: Readonly<Record<string, Factor>> = {
  payg: ONE,
  subscription: ONE,
  byok: ONE,
  unknown: ONE,
  batch: HALF,
  flex: HALF,
};

/** The response's tier decides; the billing mode only where the tier is the ordinary one, so that half is not halved. */
function tierFactor(facts: PriceFacts): Factor | undefined {
  if (facts.included.has("service_tier")) return ONE;
  const name = facts.serviceTier?.toLowerCase() ?? "standard";
  const factors = lookup(TIER_FACTORS_OF_METER, facts.meter) ?? TIER_FACTORS;
  const tier = lookup(factors, name) ?? fastTierFactor(name, facts);
  if (tier !== ONE) return tier;
  return facts.included.has("billing_mode") ? ONE : lookup(BILLING_FACTORS, facts.hints["billing_mode"] ?? "payg");
}

/**
 * OpenAI's fast mode, called priority processing until 2026-07-30: a response names it either way. The multiples are
 * those of its price table over the standard one, input, cached input and output alike (openai.com/api-fast-mode and
 * openai.com/api-priority-processing, read 2026-11-28).
 */
const OPENAI_FAST_FACTORS: Readonly<Record<string, Factor>> = {
  "gpt-5.6-sol": DOUBLE,
  "gpt-5.6-terra": DOUBLE,
  "gpt-5.6-luna": DOUBLE,
  "gpt-5.5": { numerator: 5n, denominator: 2n },
  "gpt-5.4": DOUBLE,
  "gpt-5.4-mini": DOUBLE,
  "gpt-5.2": DOUBLE,
  "gpt-5.1": DOUBLE,
  "gpt-5.1-codex": DOUBLE,
  "gpt-5": DOUBLE,
  "gpt-5-codex": DOUBLE,
  "gpt-5-mini": { numerator: 9n, denominator: 5n },
  "gpt-4.1": { numerator: 7n, denominator: 4n },
};

const OPENAI_HOST = /^(?:[a-z]{2}\.)?api\.openai\.com$/;

/** On OpenAI's own hosts alone: elsewhere the word means something else. */
function fastTierFactor(tier: string, { host, modelName }: PriceFacts): Factor | undefined {
  const isFast = (tier === "priority" || tier === "fast") && OPENAI_HOST.test(host);
  return isFast ? lookup(OPENAI_FAST_FACTORS, modelName) : undefined;
}

/**
 * Anthropic `speed: fast` is a multiple per model (section 8): Opus 5 twice the standard rates (openrouter.ai and vercel.com
 * model pages of its fast variant), Opus 4.6 six times (platform.claude.com fast-mode), both read 2026-11-28.
 */
const CLAUDE_FAST_FACTORS: Readonly<Record<string, Factor>> = {
  "claude-opus-5": DOUBLE,
  "claude-opus-4-6": { numerator: 6n, denominator: 1n },
};

function speedFactor(facts: PriceFacts): Factor | undefined {
  const speed = facts.hints["speed"];
  if (speed === undefined || speed === "standard" || facts.included.has("speed")) return ONE;
  return speed === "fast" ? lookup(CLAUDE_FAST_FACTORS, facts.modelName) : undefined;
}

/**
 * Anthropic `inference_geo: us` is 1.1x on every token category from Opus 4.6 and Sonnet 4.6; older models refuse the
 * parameter (platform.claude.com data-residency, docs.aws.amazon.com claude-platform, read 2026-11-22).
 */
function geoFactor(facts: PriceFacts): Factor | undefined {
  const geo = facts.hints["inference_geo"]?.toLowerCase();
  if (geo === undefined || geo === "global" || geo === "not_available" || facts.included.has("inference_geo")) return ONE;
  if (geo !== "us") return undefined;
  const version = modelVersion(facts.modelName);
  if (version?.family !== "claude") return undefined;
  return isAtLeast(version, 4, 6) ? TENTH_MORE : ONE;
}

/**
 * Facts that move a price by how much no source gives (section 8): Bedrock's optimized latency, an Anthropic retry that a
 * redeemed credit reprices, DashScope's explicit cache.
 */
const UNKNOWN_MULTIPLES: readonly (readonly [hint: string, moves: (value: string) => boolean])[] = [
  ["latency", (value) => value === "optimized"],
  ["fallback_credit", (value) => value === "redeemed"],
  ["cache_type", () => true],
];

function otherFactor({ hints, included }: PriceFacts): Factor | undefined {
  const isMoved = UNKNOWN_MULTIPLES.some(([hint, moves]) => hints[hint] !== undefined && !included.has(hint) && moves(hints[hint]));
  return isMoved ? undefined : ONE;
}

const OPENAI_RESIDENCY_HOST = /^[a-z]{2}\.api\.openai\.com$/;

/**
 * OpenAI's residency hosts charge a tenth more for models released since 2026-03-05, which is gpt-5.4
 * (developers.openai.com data-residency, read 2026-11-22). For a name without a release number it is unknown.
 */
function hostFactor(facts: PriceFacts): Factor | undefined {
  if (facts.included.has("host") || !OPENAI_RESIDENCY_HOST.test(facts.host)) return ONE;
  const version = modelVersion(facts.modelName);
  if (version?.family !== "gpt") return undefined;
  return isAtLeast(version, 5, 4) ? TENTH_MORE : ONE;
}

function lookup<Value>(table: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
