/**
 * What an event costs at list price, in exact integers. Order: the operator's overrides, our own models, then
 * genai-prices by way of list-prices.ts; on top, the tiers and uplifts of own-prices.ts. Pure but for loading the
 * price library at the first lookup.
 *
 * A model, a category or a tier without a known price makes the whole event unpriced (`null`), never cheaper: a zero
 * would be read as free. Usage under a subscription (`billing_mode` hint) is priced at list all the same, as a shadow
 * value; the receiver sees the hint's effect nowhere else and decides what it bills.
 */

import { createHash } from "node:crypto";
import type { ModelUsage } from "../categories.ts";
import { createConnectorPriceBook } from "./connector-price-book.ts";
import type { ConnectorPriceProfile, ConnectorPriceQuery } from "./connector-price-book.ts";
import { createListPrices, LIST_PRICES_VERSION } from "./list-prices.ts";
import { modelNameCandidates } from "./model-name.ts";
import { formatUsd } from "./money.ts";
import { deriveRates, OWN_MODELS, OWN_PRICES_DATE, tokenFactor } from "./own-prices.ts";
import { findPriceEntry, ratesOfEntry, readPriceFile } from "./price-entry.ts";
import type { PriceEntry } from "./price-entry.ts";
import { costPicoUsd } from "./rate-card.ts";
import type { Factor, Rate, RateCard } from "./rate-card.ts";

export interface PriceQuery {
  /** Id of the handler, such as "anthropic". */
  readonly meter: string;
  /** Lower case, no port. */
  readonly host: string;
  /** As the response states it, else as the request does. `null` has no price. */
  readonly model: string | null;
  readonly serviceTier: string | null;
  /** `priceHints` of the reading: `speed`, `inference_geo`, `billing_mode`. */
  readonly hints: Readonly<Record<string, string>>;
  /** Disjoint counts. */
  readonly usage: ModelUsage;
  /** When the request started, epoch milliseconds: prices are dated. */
  readonly atMs: number;
}

export interface Price {
  /** Decimal USD, exact to 10^-12, without trailing zeros. */
  readonly amount: string;
  readonly currency: "USD";
  readonly source: "price_book" | "override";
  readonly price_version: string;
}

export interface PriceBook {
  /** Names the data behind every price: library version, date of our own table, hash of the overrides. */
  readonly version: string;
  /** Never throws. Microseconds, save for the first call (loads the library) and each new model. */
  price(query: PriceQuery): Price | null;
  /** What a connector event costs, or null. Never throws. */
  priceConnector(query: ConnectorPriceQuery): Price | null;
  /** Like `price`, as pico-USD, for budgets. */
  pricePicoUsd(query: PriceQuery): bigint | null;
  /** Loads the price library ahead of the first lookup: some 40 ms, synchronous. Throws when it cannot be loaded. */
  load(): void;
}

/** Most resolved prices kept; the one least recently resolved goes first. Model names come from outside. */
const MAX_CACHED_PRICES = 512;
/** A longer name is no model. */
const MAX_NAME_LENGTH = 256;
const DAY_MS = 86_400_000;

/** What a (meter, host, model, tier, hints) costs inside a window of time; without a card it has no price. */
interface ResolvedPrice {
  readonly card: RateCard | undefined;
  readonly factor: Factor | undefined;
  readonly source: Price["source"];
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface PriceBookOptions {
  /** The parsed TALLYMAN_PRICES_FILE; its format is in price-entry.ts. */
  readonly overridesJson?: unknown;
  /** Where sources of connector prices disagree. Default "list". */
  readonly connectorProfile?: ConnectorPriceProfile | undefined;
  /** Told when a lookup failed (the price library cannot be loaded, its data is broken). The event is unpriced then. */
  readonly onFault?: (error: unknown) => void;
}

const NO_OVERRIDES = { models: [], connectors: [] };

/** Throws PriceFileError when the overrides are not valid. */
export function createPriceBook(options: PriceBookOptions = {}): PriceBook {
  const overrides = options.overridesJson === undefined ? NO_OVERRIDES : readPriceFile(options.overridesJson);
  const version = versionOf(options.overridesJson);
  const { resolve, load } = createResolver(overrides.models, options.onFault);
  const connectors = createConnectorPriceBook(overrides.connectors, options.connectorProfile);
  const connectorVersion = `${connectors.version}${overridesMark(options.overridesJson)}`;
  const cache = new Map<string, ResolvedPrice>();

  function resolved(query: PriceQuery, model: string): ResolvedPrice {
    const key = cacheKey(query, model);
    const cached = cache.get(key);
    if (cached !== undefined && query.atMs >= cached.fromMs && query.atMs < cached.untilMs) return cached;
    const fresh = resolve(query, model);
    cache.delete(key);
    cache.set(key, fresh);
    if (cache.size > MAX_CACHED_PRICES) dropOldest(cache);
    return fresh;
  }

  function cost(query: PriceQuery): { readonly pico: bigint; readonly source: Price["source"] } | undefined {
    if (query.model === null || query.model.length > MAX_NAME_LENGTH || !Number.isFinite(query.atMs)) return undefined;
    const { card, factor, source } = resolved(query, query.model);
    // What runs on a machine of one's own costs nothing a token, unless the operator says otherwise (model-usage.md section 7.1).
    if (query.hints["billing_mode"] === "local" && source !== "override") return Object.keys(query.usage).length === 0 ? undefined : { pico: 0n, source };
    if (card === undefined || factor === undefined) return undefined;
    const pico = costPicoUsd(card, query.usage, factor);
    return pico === undefined ? undefined : { pico, source };
  }

  return {
    version,
    price(query) {
      const found = cost(query);
      if (found === undefined) return null;
      return { amount: formatUsd(found.pico), currency: "USD", source: found.source, price_version: version };
    },
    priceConnector(query) {
      const found = connectors.price(query);
      return found === null ? null : { amount: found.amount, currency: "USD", source: found.source, price_version: connectorVersion };
    },
    pricePicoUsd: (query) => cost(query)?.pico ?? null,
    load,
  };
}

interface Resolver {
  resolve(query: PriceQuery, model: string): ResolvedPrice;
  load(): void;
}

function createResolver(overrides: readonly PriceEntry[], onFault: PriceBookOptions["onFault"]): Resolver {
  const listPrices = createListPrices();

  function fromList(query: PriceQuery, names: readonly string[]): ResolvedPrice {
    const { meter, host, atMs } = query;
    const listed = listPrices.find({ meter, host, names, atMs });
    if (listed === undefined) return unpriced(atMs);
    const card = cardOf(listed.rates, listed.perRequestAtto, names);
    const { fromMs, untilMs } = listed;
    return { card, factor: factorOf(query, names, {}), source: "price_book", fromMs, untilMs };
  }

  function resolve(query: PriceQuery, model: string): ResolvedPrice {
    const names = modelNameCandidates(model);
    const { meter, atMs } = query;
    const entryQuery = { meter, names, facts: factsOf(query), atMs };
    const override = findPriceEntry(overrides, entryQuery);
    if (override !== undefined) return fromEntry(query, names, override, "override");
    const own = findPriceEntry(OWN_MODELS, entryQuery);
    if (own !== undefined) return fromEntry(query, names, own, "price_book");
    try {
      return fromList(query, names);
    } catch (error) {
      onFault?.(error);
      return unpriced(atMs);
    }
  }

  return { resolve, load: () => listPrices.load() };
}

function unpriced(atMs: number): ResolvedPrice {
  return { card: undefined, factor: undefined, source: "price_book", ...dayOf(atMs) };
}

function dropOldest(cache: Map<string, ResolvedPrice>): void {
  const oldest = cache.keys().next();
  if (oldest.done !== true) cache.delete(oldest.value);
}

function fromEntry(query: PriceQuery, names: readonly string[], entry: PriceEntry, source: Price["source"]): ResolvedPrice {
  const { rates, perRequestAtto } = ratesOfEntry(entry);
  const card = cardOf(rates, perRequestAtto, names);
  return { card, factor: factorOf(query, names, entry.when ?? {}), source, ...dayOf(query.atMs) };
}

function cardOf(rates: Map<string, Rate>, perRequestAtto: bigint, names: readonly string[]): RateCard {
  deriveRates(rates, bareName(names));
  return { rates, perRequestAtto };
}

function factorOf(query: PriceQuery, names: readonly string[], when: Readonly<Record<string, string>>): Factor | undefined {
  const { meter, host, serviceTier, hints } = query;
  return tokenFactor({ meter, host, modelName: bareName(names), serviceTier, hints, included: new Set(Object.keys(when)) });
}

function factsOf(query: PriceQuery): Record<string, string> {
  const tier = query.serviceTier === null ? {} : { service_tier: query.serviceTier };
  return { ...query.hints, host: query.host, ...tier };
}

function bareName(names: readonly string[]): string {
  return names[names.length - 1] ?? "";
}

/** The UTC day of a moment: no price changes inside it save those by the hour, which list-prices.ts marks. */
function dayOf(atMs: number): { readonly fromMs: number; readonly untilMs: number } {
  const fromMs = Math.floor(atMs / DAY_MS) * DAY_MS;
  return { fromMs, untilMs: fromMs + DAY_MS };
}

function cacheKey(query: PriceQuery, model: string): string {
  let key = `${query.meter}\n${query.host}\n${model}\n${query.serviceTier ?? ""}`;
  for (const hint in query.hints) key += `\n${hint}=${query.hints[hint] ?? ""}`;
  return key;
}

function versionOf(overridesJson: unknown): string {
  return `genai-prices-${LIST_PRICES_VERSION}+own-${OWN_PRICES_DATE}${overridesMark(overridesJson)}`;
}

function overridesMark(overridesJson: unknown): string {
  if (overridesJson === undefined) return "";
  const hash = createHash("sha256").update(JSON.stringify(overridesJson)).digest("hex").slice(0, 12);
  return `+overrides-${hash}`;
}
