/** Joins the store's outbox to the webhook and both to the counters. */

import type { Metrics } from "../admin/metrics.ts";
import type { DurableStore } from "../store/client.ts";
import { createDelivery, type Counters, type Delivery } from "../usage/index.ts";
import type { Parts } from "./parts.ts";

/** Undefined without a webhook: events stay in the ledger. */
export function startDelivery(parts: Parts, counters: Counters, metrics: Metrics): Delivery | undefined {
  const { options, store, extraCaPem } = parts;
  const { settings } = options;
  if (settings.webhookUrl === undefined) return undefined;
  const sizes = new Map<string, number>();
  const delivery = createDelivery({
    // Counts what leaves the outbox.
    store: {
      onPending: (listener) => store.onPending(listener),
      counts: () => store.counts(),
      async takeBatch(maxEvents, maxBytes) {
        const batch = await store.takeBatch(maxEvents, maxBytes);
        if (batch !== undefined) sizes.set(batch.id, batch.events.length);
        return batch;
      },
      async delivered(batchId) {
        await store.delivered(batchId);
        const count = sizes.get(batchId) ?? 0;
        sizes.delete(batchId);
        counters.reportsDone(count);
        metrics.deliveryAttempted("delivered", count);
      },
      async releaseBatch(batchId) {
        sizes.delete(batchId);
        await store.releaseBatch(batchId);
      },
    },
    url: settings.webhookUrl,
    secrets: settings.webhookSecrets,
    headers: settings.webhookHeaders,
    maxEvents: settings.webhookBatchMaxEvents,
    maxBytes: settings.webhookBatchMaxBytes,
    maxWaitMs: settings.webhookBatchMaxWaitMs,
    concurrency: settings.webhookConcurrency,
    timeoutMs: settings.webhookTimeoutMs,
    version: options.version,
    logger: options.logger,
    ...(extraCaPem === undefined ? {} : { ca: extraCaPem }),
  });
  delivery.start();
  return delivery;
}

/** Counts events that no flow of this process made: those of an earlier run, and later adoptions. */
export async function followOutbox(store: DurableStore, counters: Counters, hasReceiver: boolean): Promise<void> {
  if (!hasReceiver) return;
  const catchUp = async (): Promise<void> => {
    const { pending } = await store.counts();
    const missing = pending - counters.snapshot().reports;
    if (missing > 0) counters.reportsFound(missing);
  };
  await catchUp();
  store.onPending((events) => {
    // Undefined after an adoption. A failed look-up is made good by the next one.
    if (events === undefined) catchUp().catch(() => undefined);
  });
}
