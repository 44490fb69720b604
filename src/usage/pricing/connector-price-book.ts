/**
 * What a connector event costs at list price, in exact integers. For each category the operator's rows go first, then
 * the built-in table; "category@route" goes before "category". A category without a row leaves the whole event
 * unpriced. Counts are never changed by a price.
 */

import { z } from "zod";

import type { ConnectorUsage } from "../categories.ts";
import { CONNECTOR_PRICES, CONNECTOR_PRICES_DATE } from "./connector-prices.ts";
import type { ConnectorPriceRow } from "./connector-prices.ts";
import { decimalOfNumber, divideHalfUp, formatUsd, parseDecimal, PICO_DIGITS } from "./money.ts";

/** `list`: what the sources most likely mean. `strict`: the dearer reading wherever they disagree. */
export type ConnectorPriceProfile = "list" | "strict";

/** A row of the operator's price file (`connectors` in TALLYMAN_PRICES_FILE). */
export interface ConnectorPriceOverride {
  readonly connector: string;
  readonly category: string;
  /** USD for `per` of them (1 where it is left out). */
  readonly usd: string | number;
  readonly per?: number | undefined;
  readonly from?: string | undefined;
}

export interface ConnectorPriceQuery {
  readonly connector: string;
  readonly route: string;
  readonly usage: ConnectorUsage;
  /** What of `usage` was counted under routes of its own. */
  readonly parts?: readonly { readonly route: string; readonly usage: ConnectorUsage }[] | undefined;
  /** Epoch milliseconds. */
  readonly atMs: number;
}

export interface ConnectorPrice {
  readonly amount: string;
  readonly source: "price_book" | "override";
}

export interface ConnectorPriceBook {
  /** Names the built-in table and the profile. */
  readonly version: string;
  /** null: nothing was counted, or a category has no price. Never throws. */
  price(query: ConnectorPriceQuery): ConnectorPrice | null;
}

/** The rows of a price file, for its schema. */
export const connectorPriceSchema = z.strictObject({
  connector: z.string().min(1).max(64),
  category: z.string().regex(/^[a-z][a-z0-9_.]{0,99}(?:@.{1,100})?$/, 'a category, or "category@route"'),
  usd: z.union([z.string().regex(/^\d{1,7}(\.\d{1,12})?$/, 'a decimal such as "0.005", at most twelve decimals'), z.number().min(0).max(1_000_000)]),
  per: z.int().min(1).max(1_000_000_000).optional(),
  from: z.iso.date().optional(),
});

/** A rate: atto-USD for `per`. */
interface Rate {
  readonly atto: bigint;
  readonly per: bigint;
  readonly fromMs: number;
  readonly source: ConnectorPrice["source"];
}

/** Digits below a pico-USD that a rate keeps. */
const RATE_DIGITS = 18;
const PICO_PER_RATE = 10n ** BigInt(RATE_DIGITS - PICO_DIGITS);

/** What is counted beside what costs: `category.unique` takes the place of `category` where events have it. */
const UNIQUE = ".unique";

/** Counts of the metering itself (`_bad_lines`): nobody charges for them. */
const BESIDE = "_";

export function createConnectorPriceBook(overrides: readonly ConnectorPriceOverride[] = [], profile: ConnectorPriceProfile = "list"): ConnectorPriceBook {
  const rates = new Map<string, Rate[]>();
  for (const row of CONNECTOR_PRICES) add(rates, row, rateOfRow(row, profile));
  for (const row of overrides) add(rates, row, rateOfOverride(row));
  return {
    version: `connectors-${CONNECTOR_PRICES_DATE}${profile === "strict" ? "-strict" : ""}`,
    price({ connector, route, usage, parts = [], atMs }) {
      const found = [{ route, usage: withoutParts(usage, parts) }, ...parts].map((part) => costOf(rates, connector, part, atMs));
      const costs = found.filter((cost) => cost !== undefined);
      if (costs.length < found.length || Object.keys(usage).length === 0) return null;
      const atto = costs.reduce((sum, cost) => sum + cost.atto, 0n);
      const source = costs.some((cost) => cost.source === "override") ? "override" : "price_book";
      return { amount: formatUsd(divideHalfUp(atto, PICO_PER_RATE)), source };
    },
  };
}

interface Cost {
  readonly atto: bigint;
  readonly source: ConnectorPrice["source"];
}

function costOf(rates: ReadonlyMap<string, readonly Rate[]>, connector: string, { route, usage }: { readonly route: string; readonly usage: ConnectorUsage }, atMs: number): Cost | undefined {
  let atto = 0n;
  let source: Cost["source"] = "price_book";
  for (const [category, count] of Object.entries(usage)) {
    if (category.startsWith(BESIDE) || Object.hasOwn(usage, `${category}${UNIQUE}`)) continue;
    const billed = category.endsWith(UNIQUE) ? category.slice(0, -UNIQUE.length) : category;
    const rate = rateFor(rates, `${connector}\n${billed}@${route}`, atMs) ?? rateFor(rates, `${connector}\n${billed}`, atMs);
    if (rate === undefined || !Number.isSafeInteger(count)) return undefined;
    atto += divideHalfUp(rate.atto * BigInt(count), rate.per);
    if (rate.source === "override") source = "override";
  }
  return { atto, source };
}

/** The operator's before the table's, then the latest that has begun. */
function rateFor(rates: ReadonlyMap<string, readonly Rate[]>, key: string, atMs: number): Rate | undefined {
  let best: Rate | undefined;
  for (const rate of rates.get(key) ?? []) {
    if (rate.fromMs > atMs) continue;
    const isBetter = best === undefined || (rate.source === best.source ? rate.fromMs >= best.fromMs : rate.source === "override");
    if (isBetter) best = rate;
  }
  return best;
}

function withoutParts(usage: ConnectorUsage, parts: NonNullable<ConnectorPriceQuery["parts"]>): ConnectorUsage {
  const left = new Map(Object.entries(usage));
  for (const part of parts) for (const [category, count] of Object.entries(part.usage)) left.set(category, (left.get(category) ?? 0) - count);
  // No new ones among the counted: that zero is what costs nothing.
  return Object.fromEntries([...left].filter(([category, count]) => count > 0 || category.endsWith(UNIQUE)));
}

function add(rates: Map<string, Rate[]>, { connector, category }: { readonly connector: string; readonly category: string }, rate: Rate): void {
  const key = `${connector}\n${category}`;
  rates.set(key, [...(rates.get(key) ?? []), rate]);
}

function rateOfRow(row: ConnectorPriceRow, profile: ConnectorPriceProfile): Rate {
  const usd = profile === "strict" ? (row.strictUsd ?? row.usd) : row.usd;
  return { atto: attoOf(usd), per: 1n, fromMs: Date.parse(row.from), source: "price_book" };
}

function rateOfOverride({ usd, per = 1, from }: ConnectorPriceOverride): Rate {
  return { atto: attoOf(usd), per: BigInt(per), fromMs: from === undefined ? Number.NEGATIVE_INFINITY : Date.parse(from), source: "override" };
}

/** Rows are decimals of bounded length: those of the table by its test, those of a file by its schema. */
function attoOf(usd: string | number): bigint {
  const atto = typeof usd === "number" ? decimalOfNumber(usd, RATE_DIGITS) : parseDecimal(usd, RATE_DIGITS);
  if (atto === undefined) throw new RangeError(`not a price: ${String(usd)}`);
  return atto;
}
