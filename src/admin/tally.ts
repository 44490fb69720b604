/**
 * Counters that cost little to add to: plain sums by label values, handed to prom-client when somebody scrapes. Adding
 * to prom-client itself sorts and hashes the labels every time.
 */

import { Counter, type Registry } from "prom-client";

export interface Tally {
  /** Adds to the sum of these label values, given in the order of the names. A value that is not finite and positive counts as nothing. */
  add(value: number, ...labels: string[]): void;
}

/** Between label values; none of them has it. */
const SEPARATOR = "\u0000";

/** Makes a counter and registers it. */
export function createTally(registry: Registry, name: string, help: string, labelNames: readonly string[]): Tally {
  const sums = new Map<string, number>();
  const collect = function (this: Counter): void {
    this.reset();
    for (const [key, sum] of sums) this.inc(labelsOf(key, labelNames), sum);
  };
  registry.registerMetric(new Counter({ name, help, labelNames: [...labelNames], registers: [], collect }));
  return {
    add(value, ...labels) {
      if (!(value > 0) || value === Number.POSITIVE_INFINITY) return;
      const key = labels.length === 1 ? (labels[0] ?? "") : labels.join(SEPARATOR);
      sums.set(key, (sums.get(key) ?? 0) + value);
    },
  };
}

function labelsOf(key: string, labelNames: readonly string[]): Record<string, string> {
  if (labelNames.length === 0) return {};
  const values = key.split(SEPARATOR);
  return Object.fromEntries(labelNames.map((name, index) => [name, values[index] ?? ""]));
}
