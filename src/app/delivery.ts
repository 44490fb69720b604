/** Joins the store's outbox to the sinks and both to the counters. */

import type { Metrics } from "../admin/metrics.ts";
import { createDeliveries, type Counters, type Deliveries } from "../usage/index.ts";
import { configuredSinks, givenSinks, settingsOfSinks } from "./sinks.ts";
import { StartError } from "./start-error.ts";
import type { AppOptions, Parts } from "./parts.ts";

/** The ids of the sinks that the program will deliver to. Throws StartError for an id that is no name or that two sinks have. */
export function sinkIds(options: AppOptions): string[] {
  const ids = [...settingsOfSinks(options.settings), ...givenSinks(options).map((sink) => sink.id)];
  const wrong = ids.find((id, place) => !/^[a-z0-9-]{1,64}$/.test(id) || ids.indexOf(id) !== place);
  if (wrong === undefined) return ids;
  throw new StartError("sinks_invalid", `The sink id "${wrong}" is not valid: each sink needs an id of its own, of lower-case letters, digits and hyphens ("webhook", "file", "stdout", "openmeter", "stripe" and "lago" are those of the settings).`, { isWrongSetting: true });
}

/** Undefined without a sink: events stay in the ledger. */
export function startDelivery(parts: Parts, counters: Counters, metrics: Metrics): Deliveries | undefined {
  const { options, store } = parts;
  const sinks = [...configuredSinks(parts), ...givenSinks(options)];
  if (sinks.length === 0) return undefined;
  const delivery = createDeliveries({
    store,
    sinks,
    logger: options.logger,
    onAttempt: (sink, result, events) => metrics.deliveryAttempted(sink, result, events),
    onSettled: (events) => counters.reportsDone(events),
  });
  delivery.start();
  return delivery;
}

/** How often the counter is compared with the outbox, which other processes change too. */
const COMPARE_MS = 10_000;

/**
 * Keeps the counter of reports true to the outbox: events of an earlier run, adoptions, and what another process delivered
 * for this one. Resolves to what ends it.
 */
export async function followOutbox({ store }: Parts, counters: Counters): Promise<() => void> {
  const compare = async (): Promise<void> => {
    // Exact: whatever the worker did before it counted has been told, and has been counted here, by the time the answer is.
    const difference = (await store.pending()) - counters.snapshot().reports;
    if (difference > 0) counters.reportsFound(difference);
    else if (difference < 0) counters.reportsDone(-difference);
  };
  await compare();
  // A failed look is made good by the next one.
  const compareLater = (): void => void compare().catch(() => undefined);
  store.onPending((events) => {
    if (events === undefined) compareLater();
  });
  const timer = setInterval(compareLater, COMPARE_MS).unref();
  return () => clearInterval(timer);
}
