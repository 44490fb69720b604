/** Counts, beside every thing, how many were counted before today: `<category>.unique` (definition.ts, Meter.ids). */

import { isMapMeter } from "./compiled.ts";
import type { Counts } from "./counts.ts";
import { setDim } from "./dims.ts";
import { holds } from "./evaluate.ts";
import type { Exchange } from "./exchange.ts";
import type { IdSource } from "./probe-plan.ts";
import type { OnId } from "./probes.ts";

/** undefined: the connector does not ask. */
export function watchIds(exchange: Exchange, counts: Counts, dims: Map<string, string>): OnId | undefined {
  const { seenIds } = exchange.found.definition;
  if (seenIds === undefined) return undefined;
  return (source, key, id) => {
    const category = categoryOf(exchange, source, key);
    if (category === undefined) return;
    counts.addKnown(category, seenIds.isNew(exchange.account, category, id) ? 0 : 1);
    if (seenIds.isSaturated) setDim(dims, "dedup", "saturated");
  };
}

/** The category of the meter whose ids these are. Under keys that no map names, things are not told apart. */
function categoryOf(exchange: Exchange, source: IdSource, key: string | undefined): string | undefined {
  for (const meter of exchange.found.route.meters) {
    if (isMapMeter(meter)) {
      const named = key !== undefined && Object.hasOwn(meter.map, key) ? meter.map[key] : undefined;
      if (named !== undefined && source.path.startsWith(meter.each)) return named;
    } else if (meter.ids === source.path && (meter.when === undefined || holds(meter.when, exchange) === true)) return meter.category;
  }
  return undefined;
}
