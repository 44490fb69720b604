/** Takes apart responses that hold further exchanges, by what their route says they hold, and takes up what they came to. */

import type { ConnectorPart } from "../../../handler.ts";
import { ATTEMPTED_CATEGORY } from "../definition.ts";
import type { Counts } from "./counts.ts";
import { setDim } from "./dims.ts";
import type { Exchange } from "./exchange.ts";
import { expandBatch, writesOfBatch } from "./expand-batch.ts";
import { expandMcp, writesOfMcp } from "./expand-mcp.ts";
import type { Expanded, Expansion } from "./expansion.ts";
import type { OpenInner } from "./inner.ts";

/** Of a route that expands. */
export function openExpansion(exchange: Exchange, openInner: OpenInner): Expansion {
  return exchange.found.route.route.expand === "mcp" ? expandMcp(exchange, openInner) : expandBatch(exchange, openInner);
}

/** How many writes an exchange may have made whose answer did not come. */
export function attemptedWrites(exchange: Exchange, openInner: OpenInner): number {
  const { expand } = exchange.found.route.route;
  switch (expand) {
    case "google-batch":
      return writesOfBatch(exchange, openInner) ?? 1;
    case "mcp":
      return writesOfMcp(exchange);
    case undefined:
      return exchange.isWrite ? 1 : 0;
    default:
      return expand satisfies never;
  }
}

/** Adds what the inner exchanges counted; `parts`: what of it under which route. */
export function takeUp(expanded: Expanded, counts: Counts, dims: Map<string, string>): { readonly parts: readonly ConnectorPart[]; readonly isWhole: boolean } {
  const parts: ConnectorPart[] = [];
  let { isWhole } = expanded;
  for (const reading of expanded.readings) {
    if (reading.kind === "unmeasured") isWhole = false;
    if (reading.kind !== "measured" || !("connectorUsage" in reading)) continue;
    if (reading.completeness !== "complete") isWhole = false;
    for (const [category, count] of Object.entries(reading.connectorUsage)) counts.add(category, count, reading.source === "estimate");
    parts.push({ route: reading.route, usage: reading.connectorUsage });
    // What holds of a part is to be known of the whole; other facts of parts would contradict each other.
    for (const [name, value] of Object.entries(reading.dims ?? {})) if (value === "true") setDim(dims, name, value);
  }
  for (const [category, count] of Object.entries(expanded.counts)) counts.add(category, count, expanded.isEstimated);
  counts.add(ATTEMPTED_CATEGORY, expanded.attempted);
  for (const [name, value] of Object.entries(expanded.dims)) setDim(dims, name, value);
  return { parts, isWhole };
}
