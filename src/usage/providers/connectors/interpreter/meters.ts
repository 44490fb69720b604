/** Runs the meters of a route over what was found. */

import type { ConnectorState, MapMeter, Meter } from "../definition.ts";
import { isMapMeter } from "./compiled.ts";
import type { Counts } from "./counts.ts";
import { countOf, holds } from "./evaluate.ts";
import type { Evidence } from "./evidence.ts";

/** How long a growing count is remembered: jobs of crawlers and the like are over by then. */
const CUMULATIVE_TTL_MS = 24 * 3_600_000;

export interface MeterMemory {
  readonly state: ConnectorState;
  /** Keys of two credentials are two keys. */
  readonly account: string;
}

export function runMeters(meters: readonly (Meter | MapMeter)[], evidence: Evidence, counts: Counts, memory: MeterMemory): void {
  for (const meter of meters) {
    if (isMapMeter(meter)) counts.addKeys(meter, evidence.response.byKey(meter.each));
    else runMeter(meter, evidence, counts, memory);
  }
}

function runMeter(meter: Meter, evidence: Evidence, counts: Counts, memory: MeterMemory): void {
  if (meter.when !== undefined && holds(meter.when, evidence) !== true) return;
  const total = countOf(meter.count, evidence);
  const count = meter.cumulative === undefined ? total : growth(meter.category, meter.cumulative.key, total, evidence, memory);
  counts.add(meter.category, count, isEstimated(meter, evidence));
}

/** Fallbacks only ever raise what was seen. */
export function runFallback(meters: readonly Meter[], evidence: Evidence, counts: Counts): void {
  const estimates = new Map<string, number>();
  for (const meter of meters) {
    if (meter.when !== undefined && holds(meter.when, evidence) !== true) continue;
    const count = countOf(meter.count, evidence);
    if (count !== undefined) estimates.set(meter.category, (estimates.get(meter.category) ?? 0) + count);
  }
  for (const [category, count] of estimates) counts.raise(category, count);
}

function isEstimated({ estimated = false }: Meter, evidence: Evidence): boolean {
  return typeof estimated === "boolean" ? estimated : holds(estimated, evidence) === true;
}

/** What a count that only ever grows has grown by; undefined without its key. */
function growth(category: string, keyPath: string, total: number | undefined, evidence: Evidence, { state, account }: MeterMemory): number | undefined {
  const key = evidence.response.first(keyPath);
  if (key === undefined || total === undefined) return undefined;
  const place = JSON.stringify(["cumulative", account, category, key]);
  const before = state.get(place);
  const known = typeof before === "number" ? before : 0;
  if (total > known) state.set(place, total, CUMULATIVE_TTL_MS);
  return total - known;
}
