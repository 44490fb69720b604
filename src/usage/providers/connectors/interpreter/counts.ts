/** Counts by category of one exchange (of a stream: since the last reading). Bounded in the number of categories. */

import type { ConnectorUsage } from "../../../categories.ts";
import { MAX_UNKNOWN_KEYS, MAX_UNKNOWN_KEYS_OF_ALL } from "../definition.ts";
import type { MapMeter } from "../definition.ts";
import { OTHER_KEY } from "./probes.ts";

/** Categories of one exchange that hooks may name; further ones are left out. Far more than any connector has. */
const MAX_CATEGORIES = 256;

/** Counted things after which a stream or socket is given a reading at once (reference/connectors.md section 1, rule 7). */
export const MAX_ITEMS = 500;

export class Counts {
  private readonly byCategory = new Map<string, number>();
  /** Keys of map meters that no map names; kept over the whole exchange. */
  private readonly unknownKeys = new Set<string>();
  /** By category: how many of what was counted were counted before today. There only where that is told. */
  private readonly known = new Map<string, number>();
  /** Such keys of all exchanges of the connector. */
  private readonly keysOfAll: Set<string>;
  private hasEstimate = false;

  /** `keysOfAll`: the connector's own, shared by its exchanges. */
  constructor(keysOfAll: Set<string> = new Set()) {
    this.keysOfAll = keysOfAll;
  }

  /** Adds a count; one that is not positive and finite is left out. */
  add(category: string, count: number | undefined, isEstimated = false): void {
    if (count === undefined || !Number.isFinite(count) || count <= 0) return;
    const before = this.byCategory.get(category);
    if (before === undefined && this.byCategory.size >= MAX_CATEGORIES) return;
    this.byCategory.set(category, (before ?? 0) + count);
    if (isEstimated) this.hasEstimate = true;
  }

  /** Raises a category to a count that is an estimate, where less was seen. */
  raise(category: string, count: number | undefined): void {
    this.add(category, count === undefined ? undefined : count - (this.byCategory.get(category) ?? 0), true);
  }

  /** Moves the counts of another one here. */
  addAll(other: Counts): void {
    for (const [category, count] of other.byCategory) this.add(category, count, other.hasEstimate);
    for (const [category, known] of other.known) this.addKnown(category, known);
    other.take();
  }

  /** `count` things of a category were counted before today; 0 says that it is told. */
  addKnown(category: string, count: number): void {
    const before = this.known.get(category);
    if (before !== undefined || this.known.size < MAX_CATEGORIES) this.known.set(category, (before ?? 0) + count);
  }

  addKeys(meter: MapMeter, byKey: ReadonlyMap<string, number>): void {
    for (const [key, count] of byKey) this.add(this.categoryOf(meter, key), count);
  }

  /** The category of a mapped object's key. The key is one that Probes told. */
  categoryOf({ map, unknown }: MapMeter, key: string): string {
    const named = Object.hasOwn(map, key) ? map[key] : undefined;
    if (named !== undefined) return named;
    const isNew = key !== OTHER_KEY && !this.unknownKeys.has(key);
    const isOver = isNew && (this.unknownKeys.size >= MAX_UNKNOWN_KEYS || !isAdmitted(this.keysOfAll, key));
    if (isNew && !isOver) this.unknownKeys.add(key);
    return unknown.replaceAll("{key}", isOver ? OTHER_KEY : key);
  }

  get isEstimated(): boolean {
    return this.hasEstimate;
  }

  /** The sum of all counts. */
  get items(): number {
    let sum = 0;
    for (const count of this.byCategory.values()) sum += count;
    return sum;
  }

  get isEmpty(): boolean {
    return this.byCategory.size === 0;
  }

  /** Whole numbers, a fraction rounded up, at most 2^53-1; then it begins anew. */
  take(): ConnectorUsage {
    const usage: Record<string, number> = Object.fromEntries(Array.from(this.byCategory, ([category, count]) => [category, Math.min(Math.ceil(count), Number.MAX_SAFE_INTEGER)]));
    for (const [category, known] of this.known) {
      const count = usage[category];
      if (count !== undefined) usage[`${category}.unique`] = Math.max(0, count - known);
    }
    this.byCategory.clear();
    this.known.clear();
    this.hasEstimate = false;
    return usage;
  }
}

/** Whether a key is one of the first of the connector. */
function isAdmitted(keys: Set<string>, key: string): boolean {
  if (!keys.has(key) && keys.size < MAX_UNKNOWN_KEYS_OF_ALL) keys.add(key);
  return keys.has(key);
}
