/** Delivery to several sinks side by side: each has its own outbox, retries and circuit, and none waits for another. */

import { createDelivery } from "./delivery.ts";
import type { Delivery, DeliveryOptions, DeliveryState } from "./delivery.ts";
import type { AttemptResult } from "./dispatcher.ts";
import type { Sink } from "./sink.ts";

export interface DeliveriesOptions extends Omit<DeliveryOptions, "sink" | "onAttempt"> {
  readonly sinks: readonly Sink[];
  readonly onAttempt?: (sink: string, result: AttemptResult, events: number) => void;
}

export interface Deliveries extends Pick<Delivery, "start" | "flush" | "stop"> {
  /** By sink id, in the order given. */
  states(): ReadonlyMap<string, DeliveryState>;
}

export function createDeliveries(options: DeliveriesOptions): Deliveries {
  const { sinks, onAttempt, ...shared } = options;
  const all = new Map(
    sinks.map((sink): [string, Delivery] => [
      sink.id,
      createDelivery({ ...shared, sink, ...(onAttempt === undefined ? {} : { onAttempt: (result, events) => onAttempt(sink.id, result, events) }) }),
    ]),
  );
  return {
    start: () => all.forEach((delivery) => delivery.start()),
    async flush(deadlineMs) {
      const results = await Promise.all([...all.values()].map((delivery) => delivery.flush(deadlineMs)));
      return results.every(Boolean);
    },
    async stop(deadlineMs) {
      await Promise.all([...all.values()].map((delivery) => delivery.stop(deadlineMs)));
    },
    states: () => new Map([...all].map(([id, delivery]) => [id, delivery.state()])),
  };
}
