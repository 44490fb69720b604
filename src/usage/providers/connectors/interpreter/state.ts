/** The memory of a connector over exchanges: bounded in entries and in time, gone at a restart. */

import type { ConnectorState } from "../definition.ts";

export const MAX_STATE_ENTRIES = 10_000;

/** Under a longer key nothing is remembered. */
const MAX_KEY_CHARS = 1024;

/** Makes an empty memory. `now`: epoch milliseconds. */
export function createConnectorState(now: () => number, maxEntries = MAX_STATE_ENTRIES): ConnectorState {
  const entries = new Map<string, { readonly value: unknown; readonly untilMs: number }>();
  return {
    get(key) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      entries.delete(key);
      if (entry.untilMs <= now()) return undefined;
      entries.set(key, entry);
      return entry.value;
    },
    set(key, value, ttlMs) {
      if (key.length > MAX_KEY_CHARS) return;
      entries.delete(key);
      const [oldest] = entries.keys();
      if (entries.size >= maxEntries && oldest !== undefined) entries.delete(oldest);
      entries.set(key, { value, untilMs: now() + ttlMs });
    },
    delete: (key) => void entries.delete(key),
  };
}
