/**
 * List prices out of @pydantic/genai-prices: which sheet holds for a model at a moment, as rates by our categories.
 * The library is used for its data and its matching only; the money is ours, as it computes in floats.
 *
 * It is loaded on first use: it costs some 40 ms and 20 to 30 MB of resident memory (measured on Node 24.21), which
 * a proxy that has not priced anything need not carry. Its data is the bundled snapshot; nothing is fetched.
 */

import { createRequire } from "node:module";
import type { calcPrice, findProvider, ModelPrice } from "@pydantic/genai-prices";
import { modelVersion } from "./model-name.ts";
import { ATTO_DIGITS } from "./rate-card.ts";
import type { Rate, RateStep } from "./rate-card.ts";
import { decimalOfNumber } from "./money.ts";

/** The version of genai-prices that this was written for; a test holds it to the installed one. */
export const LIST_PRICES_VERSION = "0.1.8";

interface PriceLibrary {
  readonly calcPrice: typeof calcPrice;
  readonly findProvider: typeof findProvider;
}

type SheetPrice = ModelPrice[string];

/** The prices of one model, and how long they hold. */
export interface ListPrice {
  /** By category; the caller may add to it. */
  readonly rates: Map<string, Rate>;
  readonly perRequestAtto: bigint;
  /** Epoch milliseconds: these prices hold from here … */
  readonly fromMs: number;
  /** … to here, exclusive. */
  readonly untilMs: number;
}

export interface ListPrices {
  /** Loads the library now instead of at the first lookup. Idempotent. Throws when it cannot be loaded. */
  load(): void;
  /**
   * The list price for the first of `names` that the provider of `host` (or else the one of `meter`) lists;
   * `undefined` when none is listed, or when the sheet has a charge that an event does not count.
   * Throws when the library cannot be loaded or its data is broken.
   */
  find(query: { readonly meter: string; readonly host: string; readonly names: readonly string[]; readonly atMs: number }): ListPrice | undefined;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** Meters whose id is not the provider's id in genai-prices. */
const PROVIDER_OF_METER: Readonly<Record<string, string>> = {
  gemini: "google",
  vertex: "google",
  bedrock: "aws",
  xai: "x-ai",
  moonshot: "moonshotai",
  "azure-openai": "azure",
  codex: "openai",
  copilot: "github-copilot",
};

/** Price keys of genai-prices and what they price here: category, and how many of it the price is for. */
const CATEGORY_OF_KEY: Readonly<Record<string, readonly [category: string, per: bigint]>> = {
  input_mtok: ["input_tokens", 1_000_000n],
  input_audio_mtok: ["input_audio_tokens", 1_000_000n],
  input_image_mtok: ["input_image_tokens", 1_000_000n],
  input_video_mtok: ["input_video_tokens", 1_000_000n],
  input_tool_mtok: ["input_tool_tokens", 1_000_000n],
  cache_read_mtok: ["cache_read_tokens", 1_000_000n],
  cache_audio_read_mtok: ["cache_read_audio_tokens", 1_000_000n],
  cache_image_read_mtok: ["cache_read_image_tokens", 1_000_000n],
  cache_video_read_mtok: ["cache_read_video_tokens", 1_000_000n],
  cache_write_mtok: ["cache_write_tokens", 1_000_000n],
  cache_write_5m_mtok: ["cache_write_5m_tokens", 1_000_000n],
  cache_write_1h_mtok: ["cache_write_1h_tokens", 1_000_000n],
  output_mtok: ["output_tokens", 1_000_000n],
  output_reasoning_mtok: ["output_reasoning_tokens", 1_000_000n],
  output_audio_mtok: ["output_audio_tokens", 1_000_000n],
  output_image_mtok: ["output_image_tokens", 1_000_000n],
  output_video_mtok: ["output_video_tokens", 1_000_000n],
  output_citation_mtok: ["citation_tokens", 1_000_000n],
  web_searches_kcount: ["web_search_requests", 1_000n],
  storage_searches_kcount: ["file_search_calls", 1_000n],
  rerank_searches_kcount: ["search_units", 1_000n],
  input_document_kpages: ["pages", 1_000n],
  input_mchars: ["characters_in", 1_000_000n],
  audio_hours: ["audio_seconds_in", 3_600n],
  input_audio_hours: ["audio_seconds_in", 3_600n],
  output_audio_hours: ["audio_seconds_out", 3_600n],
};

const PER_REQUEST_KEY = "requests_kcount";
const REQUESTS_PER_PRICE = 1_000n;

/** Claude releases from 4 on carry their minor number in the name, so that a longer name may be another model. */
const FIRST_NUMBERED_CLAUDE = 4;

export function createListPrices(): ListPrices {
  let library: PriceLibrary | undefined;
  const load = (): PriceLibrary => (library ??= requireLibrary());
  return {
    load: () => void load(),
    find({ meter, host, names, atMs }) {
      const loaded = load();
      const providerId = findProviderId(loaded, meter, host);
      if (providerId === undefined) return undefined;
      for (const name of names) {
        const found = lookUp(loaded, providerId, name, atMs);
        if (found !== undefined) return toListPrice(found.sheet, found.isHourly, atMs);
      }
      return undefined;
    },
  };
}

function requireLibrary(): PriceLibrary {
  const loaded: unknown = createRequire(import.meta.url)("@pydantic/genai-prices");
  if (!isPriceLibrary(loaded)) throw new TypeError("@pydantic/genai-prices has no calcPrice and findProvider");
  return loaded;
}

function isPriceLibrary(value: unknown): value is PriceLibrary {
  return typeof value === "object" && value !== null && "calcPrice" in value && "findProvider" in value;
}

/** The host decides, as a gateway's prices are its own; a host that no table knows is priced by its meter's list. */
function findProviderId(library: PriceLibrary, meter: string, host: string): string | undefined {
  const byHost = library.findProvider({ providerApiUrl: `https://${host}/` });
  if (byHost !== undefined) return byHost.id;
  const wanted = Object.hasOwn(PROVIDER_OF_METER, meter) ? PROVIDER_OF_METER[meter] : meter;
  if (wanted === undefined || wanted === "") return undefined;
  const byMeter = library.findProvider({ providerId: wanted });
  // The library also matches by substring; only the exact id is meant here.
  return byMeter?.id === wanted ? wanted : undefined;
}

interface Sheet {
  readonly sheet: Readonly<Record<string, SheetPrice>>;
  /** Whether the model's price depends on the time of day. */
  readonly isHourly: boolean;
}

function lookUp(library: PriceLibrary, providerId: string, name: string, atMs: number): Sheet | undefined {
  // With no usage it resolves the dated sheet and computes nothing.
  const result = library.calcPrice({}, name, { providerId, timestamp: new Date(atMs) });
  if (result === null || isOtherRelease(name, result.model.id)) return undefined;
  const periods = result.model.prices;
  const isHourly = Array.isArray(periods) && periods.some(({ constraint }) => constraint?.type === "time_of_date");
  return { sheet: result.model_price, isHourly };
}

/**
 * The library matches some models by prefix: "claude-sonnet-5-5" finds the entry of "claude-sonnet-5", whose prices
 * differ. Such a match is none.
 */
function isOtherRelease(name: string, entryId: string): boolean {
  const wanted = modelVersion(name);
  const found = modelVersion(entryId);
  if (wanted === undefined || found === undefined || wanted.family !== "claude") return false;
  return wanted.major >= FIRST_NUMBERED_CLAUDE && (wanted.major !== found.major || wanted.minor !== found.minor);
}

function toListPrice(sheet: Sheet["sheet"], isHourly: boolean, atMs: number): ListPrice | undefined {
  const rates = new Map<string, Rate>();
  let perRequestAtto = 0n;
  for (const [key, price] of Object.entries(sheet)) {
    if (price === undefined) continue;
    if (key === PER_REQUEST_KEY && typeof price === "number") {
      perRequestAtto = attoOf(price) / REQUESTS_PER_PRICE;
      continue;
    }
    const target = CATEGORY_OF_KEY[key];
    // A charge for something that events do not count: any sum without it would be too low.
    if (target === undefined) return undefined;
    const [category, per] = target;
    rates.set(category, toRate(price, per));
  }
  const windowMs = isHourly ? MINUTE_MS : DAY_MS;
  const fromMs = Math.floor(atMs / windowMs) * windowMs;
  return { rates, perRequestAtto, fromMs, untilMs: fromMs + windowMs };
}

function toRate(price: Exclude<SheetPrice, undefined>, per: bigint): Rate {
  if (typeof price === "number") return { atto: attoOf(price), per };
  const steps: RateStep[] = price.tiers.map((tier) => ({ overPromptTokens: tier.start, atto: attoOf(tier.price) }));
  steps.sort((left, right) => left.overPromptTokens - right.overPromptTokens);
  return { atto: attoOf(price.base), per, steps };
}

/**
 * Prices are floats in the data; their shortest decimal form is what was published, up to noise in the last place
 * (0.18000000000000002), which goes at the twelfth decimal.
 */
function attoOf(price: number): bigint {
  const pico = decimalOfNumber(price, ATTO_DIGITS - 6);
  if (pico === undefined) throw new TypeError(`genai-prices has a price that is no decimal: ${String(price)}`);
  return pico * 1_000_000n;
}
