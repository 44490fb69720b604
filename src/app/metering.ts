/** Joins the meter to the store, the counters, the prices and everybody who listens. */

import type { FlowSummary } from "../admin/flow-feed.ts";
import type { Settings } from "../config/settings.ts";
import { flowFields } from "../log.ts";
import type { FlowHead } from "../flow/flow.ts";
import {
  attribute,
  cleanValue,
  createBillable,
  createEstimator,
  createEventBuilder,
  createMeter,
  createPendingJobs,
  keyFingerprint,
  type ActiveFlow,
  type Attribution,
  type PriceBook,
  type UsageEvent,
} from "../usage/index.ts";
import type { AppOptions, MeterParts, Parts } from "./parts.ts";

/** The bound of the wait for a commit (contract section 6). */
const COMMIT_WAIT_MS = 250;

export function buildMeter(parts: Parts, { counters, metrics, tracker, feed, tokenizer, hasReceiver, now }: MeterParts): ReturnType<typeof createMeter> {
  const { options, store, hosts, recognize, prices } = parts;
  const { settings, logger } = options;
  const attributeTo = attributed(settings);
  const isBillable = createBillable(settings.billable);
  const jobsFor = createPendingJobs(store, now);
  return createMeter({
    hosts,
    recognize,
    attribute: (head) => withCallerType(attributeTo(head), head, options),
    isBillable: (meter, head) => isBillable(meter, head),
    events: createEventBuilder({
      deploymentId: store.deploymentId,
      hasCanonicalTokens: settings.canonicalTokens,
      price: (facts, reading, usage) => priceReading(prices, facts, reading, usage),
      priceConnector: (facts, reading) => priceConnectorReading(prices, facts, reading),
    }),
    store,
    counters,
    jobsFor: (handler, head) => jobsFor(() => `${handler.id}|${keyFingerprint(head) ?? "-"}`),
    isEstimateAllowed: settings.estimate,
    estimator: createEstimator({ tokenizer, isEstimateAllowed: settings.estimate, hasCanonicalTokens: settings.canonicalTokens, logger }),
    hasReceiver,
    isQueueFull: () => settings.queueFull === "drop_newest" && counters.snapshot().reports >= settings.queueMaxEvents,
    isStrict: settings.durability === "strict",
    commitWaitMs: COMMIT_WAIT_MS,
    monotonicMs: () => performance.now(),
    logger,
    onStored(events) {
      for (const { event, isDelivered } of events) {
        metrics.eventStored(event);
        if (isDelivered) tracker.record(event);
        logger.info(flowFields(event), "flow");
      }
    },
    onFlowStart: (flow) => feed.started(flow.flowId, () => flowSummary(flow)),
    onFlowEnd({ facts }, ending, readings, outcome) {
      metrics.flowEnded({ meter: facts.meter, ...ending });
      for (const reading of readings) {
        if (reading.kind === "measured") for (const anomaly of reading.anomalies ?? []) metrics.anomaly(anomaly);
      }
      feed.ended({
        flow_id: facts.flowId,
        outcome: outcome.kind,
        status: ending.status,
        latency_ms: ending.latencyMs,
        bytes_up: ending.bytesUp,
        bytes_down: ending.bytesDown,
      });
    },
    onCommitWait: (waitedMs) => metrics.commitWaited(waitedMs / 1000),
  });
}

/** Who a flow belongs to, as far as settings and the client say it. */
export function attributed(settings: Settings): (head: FlowHead) => Attribution {
  const operator: Attribution = {
    orgId: settings.orgId ?? null,
    userId: settings.userId ?? null,
    agentId: settings.agentId ?? null,
    threadId: settings.threadId ?? null,
    callerType: settings.callerType ?? null,
    metadata: settings.metadata,
  };
  return (head) => attribute(operator, head);
}

function flowSummary({ facts, method }: ActiveFlow): FlowSummary {
  return {
    flow_id: facts.flowId,
    started_at: new Date(facts.startedAtMs).toISOString(),
    meter: facts.meter,
    api: facts.api,
    operation: facts.operation,
    host: facts.host,
    method,
    org_id: facts.attribution.orgId,
    user_id: facts.attribution.userId,
    agent_id: facts.attribution.agentId,
    thread_id: facts.attribution.threadId,
  };
}

/** The embedder's function is asked where nobody else said; what it throws is logged and changes nothing. */
function withCallerType(attribution: Attribution, head: FlowHead, { callerType, logger }: AppOptions): Attribution {
  if (attribution.callerType !== null || callerType === undefined) return attribution;
  try {
    return { ...attribution, callerType: cleanValue(callerType(head) ?? "") ?? null };
  } catch (error) {
    logger.error({ err: error }, "callerType failed; the flow has none");
    return attribution;
  }
}

/** Provider-stated cost above all; our own number stands beside it. */
export function priceReading(prices: PriceBook, ...[facts, reading, usage]: Parameters<Parameters<typeof createEventBuilder>[0]["price"]>): UsageEvent["data"]["cost"] {
  if (reading.kind !== "measured" || !("usage" in reading)) return null;
  const own = prices.price({
    meter: facts.meter,
    host: facts.host,
    model: reading.responseModel ?? reading.requestModel,
    serviceTier: reading.serviceTier,
    hints: reading.priceHints ?? {},
    usage,
    atMs: facts.startedAtMs,
  });
  if (reading.statedCost === undefined) return own;
  const { amount, currency } = reading.statedCost;
  return { amount, currency, source: "provider", price_version: prices.version, ...(own === null ? {} : { list_amount: own.amount }) };
}

/** What a connector reading costs at list price. */
export function priceConnectorReading(prices: PriceBook, ...[facts, reading]: Parameters<NonNullable<Parameters<typeof createEventBuilder>[0]["priceConnector"]>>): UsageEvent["data"]["cost"] {
  const { route, connectorUsage: usage, parts } = reading;
  return prices.priceConnector({ connector: facts.meter, route, usage, parts, atMs: facts.startedAtMs });
}
