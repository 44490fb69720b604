/** Costs that servers state in their usage objects (reference/model-usage.md section 5.14), as decimal strings. */

import type { StatedCost } from "../../handler.ts";
import { asObject } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";

/** xAI: 1 USD has this many ticks, ten digits. */
const TICK_DIGITS = 10;

/** GitHub Copilot: an AI credit is 10^9 nano-AIU and 0.01 USD (docs.github.com, GitHub Copilot billing, read 2026-11-28). */
const NANO_AIU_DIGITS = 11;

const DECIMAL = /^\d+(?:\.\d+)?$/;
const EXPONENTIAL = /^(\d)(?:\.(\d+))?e([+-]\d+)$/;

/** OpenRouter: `cost`, in credits, which are USD. */
export function costMember(usage: JsonObject): StatedCost | undefined {
  return statedCost(usage["cost"], "USD");
}

/** Perplexity: `cost.total_cost`, with `cost.currency` in its Responses API. */
export function totalCostMember(usage: JsonObject): StatedCost | undefined {
  const cost = asObject(usage["cost"]);
  const currency = cost?.["currency"];
  return statedCost(cost?.["total_cost"], typeof currency === "string" && currency !== "" ? currency : "USD");
}

/** xAI: `cost_in_usd_ticks`, what is billed after discounts, tools included. */
export function tickCost(usage: JsonObject): StatedCost | undefined {
  return unitCost(usage["cost_in_usd_ticks"], TICK_DIGITS);
}

/** Copilot bills credits, not tokens: `total_nano_aiu` of `copilot_usage`, which stands beside the usage. */
export function copilotCost(copilotUsage: JsonObject | undefined): StatedCost | undefined {
  return unitCost(copilotUsage?.["total_nano_aiu"], NANO_AIU_DIGITS);
}

/**
 * A number's shortest decimal text, which is the text that the server sent (up to 17 digits), without an exponent.
 * Undefined for what is no amount.
 */
export function decimalText(value: unknown): string | undefined {
  if (typeof value === "string") return DECIMAL.test(value) ? value : undefined;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return undefined;
  const text = String(value);
  const parts = EXPONENTIAL.exec(text);
  if (parts === null) return text;
  const [, first = "", rest = "", exponent = "0"] = parts;
  return shiftPoint(first + rest, Number(exponent) - rest.length);
}

/** An integer of units, of which 1 USD has 10^`digits`. */
function unitCost(value: unknown, digits: number): StatedCost | undefined {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) return undefined;
  return { amount: shiftPoint(String(value), -digits), currency: "USD" };
}

function statedCost(value: unknown, currency: string): StatedCost | undefined {
  const amount = decimalText(value);
  return amount === undefined ? undefined : { amount, currency };
}

/** The decimal text of an integer times a power of ten. */
export function shiftPoint(digits: string, power: number): string {
  if (power >= 0) return digits + "0".repeat(power);
  const padded = digits.padStart(1 - power, "0");
  const whole = padded.slice(0, padded.length + power);
  const fraction = padded.slice(padded.length + power).replace(/0+$/, "");
  return fraction === "" ? whole : `${whole}.${fraction}`;
}
