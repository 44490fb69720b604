/**
 * The format in which prices are written by hand: TALLYMAN_PRICES_FILE and our own table. Reads and validates it,
 * picks the entry for an event, turns it into rates. No file is opened here.
 *
 * ```json
 * {"models": [
 *   {"match": "claude-sonnet-4-5", "meter": "anthropic",
 *    "per_million": {"input_tokens": "2.70", "output_tokens": "13.50", "cache_read_tokens": "0.27"}},
 *   {"match": "gpt-6-*", "when": {"service_tier": "priority"}, "per_million": {"input_tokens": "4", "output_tokens": "20"}}
 * ]}
 * ```
 *
 * - `match`: a model name, with or without date and vendor prefix, or a prefix that ends in `*`. The longest one wins.
 * - `meter`: only for events of this meter. `from`: only from this UTC day on; of several the latest holds.
 * - `when`: only for events with these facts: `service_tier`, `host` or a price hint (`speed`, `inference_geo`,
 *   `billing_mode`). The price is taken as it is for them: no discount or uplift of ours for a named fact.
 * - `per_million`: USD per million tokens by category. `per_unit`: USD for one of a unit category. `per_request`: USD
 *   for each response. Prices are decimal strings or numbers, at most twelve decimals.
 * - `long_context`: other prices for a request whose whole prompt has more than `over_prompt_tokens` tokens.
 *
 * `connectors` beside (or in place of) `models` has prices of connectors; their rows are in connector-price-book.ts:
 * `{"connector": "x", "category": "posts.read@users.tweets", "usd": "4", "per": 1000, "from": "2026-06-01"}`.
 *
 * An entry stands for the whole model: a category that it does not name has no price, save what follows from others
 * (own-prices.ts: reasoning as output, cache writes as multiples of input).
 */

import { z } from "zod";
import { INPUT_CATEGORIES, OUTPUT_CATEGORIES, UNIT_CATEGORIES } from "../categories.ts";
import { connectorPriceSchema } from "./connector-price-book.ts";
import type { ConnectorPriceOverride } from "./connector-price-book.ts";
import { ATTO_DIGITS } from "./rate-card.ts";
import type { Rate } from "./rate-card.ts";
import { decimalOfNumber, parseDecimal } from "./money.ts";

/** Most entries in one file. */
const MAX_ENTRIES = 10_000;
const MAX_NAME_LENGTH = 256;
/** One million USD for a million tokens: beyond it a price is a slip. */
const MAX_PRICE_USD = 1_000_000;

const price = z.union([
  z.string().regex(/^\d{1,7}(\.\d{1,12})?$/, "a decimal such as \"0.25\", at most twelve decimals"),
  z.number().min(0).max(MAX_PRICE_USD),
]);
const tokenPrices = z.partialRecord(z.enum([...INPUT_CATEGORIES, ...OUTPUT_CATEGORIES]), price);
const name = z.string().min(1).max(MAX_NAME_LENGTH);

const entryFields = z.strictObject({
  match: name.regex(/^[^*]+\*?$/, "a model name, or a prefix that ends in *"),
  meter: name.optional(),
  from: z.iso.date().optional(),
  when: z.record(name, name).optional(),
  per_million: tokenPrices.optional(),
  per_unit: z.partialRecord(z.enum(UNIT_CATEGORIES), price).optional(),
  per_request: price.optional(),
  long_context: z.strictObject({ over_prompt_tokens: z.int().min(1), per_million: tokenPrices }).optional(),
});

const entrySchema = entryFields.refine(
  ({ long_context: long, per_million: base }) => Object.keys(long?.per_million ?? {}).every((category) => Object.hasOwn(base ?? {}, category)),
  "long_context prices a category that per_million does not",
);

const fileSchema = z
  .strictObject({ models: z.array(entrySchema).max(MAX_ENTRIES).optional(), connectors: z.array(connectorPriceSchema).max(MAX_ENTRIES).optional() })
  .refine(({ models, connectors }) => models !== undefined || connectors !== undefined, { path: ["models"], message: "is missing, and so is connectors" });

type Price = string | number;
type PriceList = Readonly<Record<string, Price | undefined>>;

/** One price, as described above. */
export interface PriceEntry {
  readonly match: string;
  readonly meter?: string | undefined;
  readonly from?: string | undefined;
  readonly when?: Readonly<Record<string, string>> | undefined;
  readonly per_million?: PriceList | undefined;
  readonly per_unit?: PriceList | undefined;
  readonly per_request?: Price | undefined;
  readonly long_context?: { readonly over_prompt_tokens: number; readonly per_million: PriceList } | undefined;
}

/** The price file is not of the format. `faults` has one line for each fault, with the place in the file. */
export class PriceFileError extends Error {
  readonly code = "price_file_invalid";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`the price file is not valid: ${faults.join("; ")}`);
    this.name = "PriceFileError";
    this.faults = faults;
  }
}

/** What a price file holds. */
export interface PriceFile {
  readonly models: readonly PriceEntry[];
  readonly connectors: readonly ConnectorPriceOverride[];
}

/** Validates the parsed JSON of a price file. Throws PriceFileError with every fault. */
export function readPriceFile(json: unknown): PriceFile {
  const result = fileSchema.safeParse(json);
  if (result.success) return { models: result.data.models ?? [], connectors: result.data.connectors ?? [] };
  throw new PriceFileError(result.error.issues.map((issue) => `${placeOf(issue.path)}: ${issue.message}`));
}

function placeOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? "the file" : path.map(String).join(".");
}

/** What an entry is matched against. */
export interface EntryQuery {
  readonly meter: string;
  /** Names of the model, see model-name.ts. */
  readonly names: readonly string[];
  /** service_tier, host and the price hints. */
  readonly facts: Readonly<Record<string, string>>;
  /** Epoch milliseconds. */
  readonly atMs: number;
}

/**
 * The entry for an event: the longest matching name (an exact one before a prefix), then the most facts in `when`,
 * then one bound to the meter, then the latest `from`, then the last in the list. `undefined` when none matches.
 */
export function findPriceEntry(entries: readonly PriceEntry[], query: EntryQuery): PriceEntry | undefined {
  let best: PriceEntry | undefined;
  let bestRank: readonly (number | string)[] = [];
  for (const entry of entries) {
    if (!applies(entry, query)) continue;
    const rank = rankOf(entry);
    if (best === undefined || compareRanks(rank, bestRank) >= 0) {
      best = entry;
      bestRank = rank;
    }
  }
  return best;
}

function applies(entry: PriceEntry, query: EntryQuery): boolean {
  if (entry.meter !== undefined && entry.meter !== query.meter) return false;
  if (entry.from !== undefined && Date.parse(entry.from) > query.atMs) return false;
  for (const [fact, value] of Object.entries(entry.when ?? {})) if (query.facts[fact] !== value) return false;
  const match = entry.match.toLowerCase();
  if (!match.endsWith("*")) return query.names.includes(match);
  const prefix = match.slice(0, -1);
  return query.names.some((candidate) => candidate.startsWith(prefix));
}

function rankOf(entry: PriceEntry): readonly (number | string)[] {
  const isPrefix = entry.match.endsWith("*");
  return [
    isPrefix ? entry.match.length - 1 : entry.match.length,
    isPrefix ? 0 : 1,
    Object.keys(entry.when ?? {}).length,
    entry.meter === undefined ? 0 : 1,
    entry.from ?? "",
  ];
}

function compareRanks(left: readonly (number | string)[], right: readonly (number | string)[]): number {
  for (let i = 0; i < left.length; i++) {
    const a = left[i] ?? 0;
    const b = right[i] ?? 0;
    if (a !== b) return a > b ? 1 : -1;
  }
  return 0;
}

/** The rates that an entry states, by category, and its fee for each response in atto-USD. */
export function ratesOfEntry(entry: PriceEntry): { readonly rates: Map<string, Rate>; readonly perRequestAtto: bigint } {
  const rates = new Map<string, Rate>();
  for (const [category, value] of Object.entries(entry.per_million ?? {})) {
    if (value === undefined) continue;
    const long = entry.long_context?.per_million[category];
    const steps =
      entry.long_context === undefined || long === undefined
        ? undefined
        : [{ overPromptTokens: entry.long_context.over_prompt_tokens, atto: attoOf(long) }];
    rates.set(category, { atto: attoOf(value), per: 1_000_000n, ...(steps === undefined ? {} : { steps }) });
  }
  for (const [category, value] of Object.entries(entry.per_unit ?? {})) {
    if (value !== undefined) rates.set(category, { atto: attoOf(value), per: 1n });
  }
  return { rates, perRequestAtto: attoOf(entry.per_request ?? "0") };
}

/** Validated prices always parse: they are non-negative decimals of bounded length. */
function attoOf(value: Price): bigint {
  const atto = typeof value === "number" ? decimalOfNumber(value, ATTO_DIGITS) : parseDecimal(value, ATTO_DIGITS);
  if (atto === undefined) throw new PriceFileError([`not a price: ${String(value)}`]);
  return atto;
}
