/** What the rest of the program may import from `usage/`. */

export { attribute, cleanValue, type Attribution } from "./attribution.ts";
export { createBillable, keyFingerprint } from "./billable.ts";
export { createCounters, type Counters, type CounterSnapshot } from "./counters.ts";
export { CANONICAL_ENCODING, createEstimator } from "./estimate/estimator.ts";
export { createTokenizer, type Tokenizer } from "./estimate/tokenizer.ts";
export { createEventBuilder, isDelivered } from "./event.ts";
export type { UsageEvent } from "./event-types.ts";
export type { Handler, Reading } from "./handler.ts";
export { createIncludeUsage } from "./include-usage.ts";
export { createMeter, type ActiveFlow } from "./meter.ts";
export { createPendingJobs } from "./pending-jobs.ts";
export { createPriceBook, type PriceBook } from "./pricing/price-book.ts";
export { createRecognition, type Recognition } from "./recognition.ts";
export { loadConnectors } from "./providers/connectors/interpreter/load-definition.ts";
export { createHandlers, type HandlerOptions } from "./providers/index.ts";
export { RecordError } from "./replay.ts";
export { replayEvents } from "./replay-events.ts";
export { shareHost } from "./shared-host.ts";
export { createTracker, type Tracker, type TrackerDimension, type UsageSubscriber, type UsageTally } from "./tracker.ts";
export type { Delivery, DeliveryState } from "./delivery/delivery.ts";
export { createDeliveries, type Deliveries } from "./delivery/deliveries.ts";
export type { Sink } from "./delivery/sink.ts";
export { createEventFile, createEventStream } from "./sinks/event-file.ts";
export { createLago } from "./sinks/lago.ts";
export { createOpenMeter } from "./sinks/openmeter.ts";
export { createStripe } from "./sinks/stripe.ts";
export { createWebhook } from "./sinks/webhook.ts";
