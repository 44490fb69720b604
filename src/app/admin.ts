/** Shows the parts at the admin server. */

import { createAdminServer, type AdminServer } from "../admin/server.ts";
import type { DurableStore } from "../store/client.ts";
import type { Delivery } from "../usage/index.ts";
import type { DrainReport } from "./drain.ts";
import type { MeterParts, Parts } from "./parts.ts";

export interface AdminParts extends Omit<MeterParts, "hasReceiver" | "tokenizer"> {
  readonly delivery: Delivery | undefined;
  readonly drain: (timeoutMs?: number) => Promise<DrainReport>;
  readonly drainRequested: PromiseWithResolvers<DrainReport>;
}

export function buildAdmin(parts: Parts, { counters, metrics, tracker, feed, delivery, drain, drainRequested }: AdminParts): AdminServer {
  const { options, store, authority } = parts;
  const { settings, logger } = options;
  return createAdminServer({
    host: settings.adminHost,
    port: settings.adminPort,
    token: settings.adminToken,
    logger,
    sources: {
      health: () => ({ live: true }),
      readiness: () => Promise.resolve(readiness(store, delivery)),
      counters: () => counters.snapshot(),
      caPem: authority.certificatePem,
      store,
      flows: feed,
      tracker,
      metrics,
      async drain() {
        const report = await drain();
        // The answer leaves before the process does.
        setImmediate(() => drainRequested.resolve(report));
        return report;
      },
    },
  });
}

/** Not ready: usage cannot be stored. Degraded but ready: the receiver fails, and events wait on disk. */
function readiness(store: DurableStore, delivery: Delivery | undefined): { ready: boolean; reasons: readonly string[] } {
  const reasons: string[] = [];
  const state = delivery?.state();
  if (store.failure !== undefined) reasons.push(`usage cannot be written to TALLYMAN_DATA_DIR (${store.failure}); see the log`);
  const isStoring = reasons.length === 0;
  const isPaused = state?.status === "paused";
  if (state !== undefined && (isPaused || state.status === "retrying")) {
    reasons.push(`the webhook receiver ${isPaused ? "refuses events" : "does not take events"}: ${state.lastError ?? "unknown"}`);
  }
  return { ready: isStoring && !isPaused, reasons };
}
