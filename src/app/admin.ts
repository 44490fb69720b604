/** Shows the parts at the admin server. */

import { createAdminServer, type AdminServer } from "../admin/server.ts";
import type { DurableStore } from "../store/client.ts";
import type { Deliveries } from "../usage/index.ts";
import type { Refusal } from "../flow/flow.ts";
import { DRAINING, type DrainReport } from "./drain.ts";
import { fullness } from "./gate.ts";
import type { MeterParts, Parts } from "./parts.ts";

export interface AdminParts extends Omit<MeterParts, "hasReceiver" | "tokenizer"> {
  readonly delivery: Deliveries | undefined;
  readonly state: { readonly isDraining: boolean };
  readonly drain: (timeoutMs?: number) => Promise<DrainReport>;
  readonly drainRequested: PromiseWithResolvers<DrainReport>;
}

export function buildAdmin(parts: Parts, { counters, metrics, tracker, feed, delivery, state, drain, drainRequested }: AdminParts): AdminServer {
  const { options, store, authority } = parts;
  const { settings, logger } = options;
  const full = fullness(settings, store, counters, delivery !== undefined);
  const refusing = (): Refusal | undefined => (state.isDraining ? DRAINING : full());
  return createAdminServer({
    host: settings.adminHost,
    port: settings.adminPort,
    token: settings.adminToken,
    logger,
    sources: {
      health: () => ({ live: true }),
      readiness: () => Promise.resolve(readiness(store, delivery, refusing())),
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

/** Not ready: new metered requests are refused, usage cannot be stored, or a sink refuses everything. Degraded but ready: a sink fails, and events wait on disk. */
function readiness(store: DurableStore, delivery: Deliveries | undefined, refusal: Refusal | undefined): { ready: boolean; reasons: readonly string[] } {
  const taking = refusal === undefined ? [] : [`${refusal.code}: ${refusal.message}`];
  const storing = store.failure === undefined ? [] : [`usage cannot be written to TALLYMAN_DATA_DIR (${store.failure}); see the log`];
  const states = [...(delivery?.states() ?? [])];
  const failing = states.flatMap(([sink, { status, circuit, lastError = "unknown" }]) => {
    if (status === "paused") return [`the ${sink} receiver refuses events: ${lastError}`];
    if (status !== "retrying") return [];
    return [`the ${sink} receiver does not take events: ${lastError}${circuit === "open" ? "; tried every few minutes" : ""}`];
  });
  return { ready: taking.length + storing.length === 0 && !states.some(([, { status }]) => status === "paused"), reasons: [...taking, ...storing, ...failing] };
}
