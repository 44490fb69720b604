/**
 * The metrics of /metrics. Owns their names, labels and help texts (docs/metrics.md lists them; a test compares the
 * two) and the registry. Others tell it what happened; it never throws at them.
 *
 * Labels come from closed sets only (meters, categories, codes): a model, an agent or a host is never a label, and a
 * set that turns out not to be closed is cut off at MAX_LABEL_VALUES.
 */

import { collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { INPUT_CATEGORIES, OUTPUT_CATEGORIES } from "../usage/categories.ts";
import type { UsageEvent } from "../usage/event-types.ts";
import { createTally, type Tally } from "./tally.ts";

export interface MetricsOptions {
  /** Read at each scrape. */
  readonly counters: () => { readonly flows: number; readonly buffered: number; readonly reports: number };
  /** How each sink's circuit stands, read at each scrape. */
  readonly sinks?: () => ReadonlyMap<string, { readonly circuit: CircuitState }>;
}

type CircuitState = (typeof CIRCUIT_STATES)[number];
const CIRCUIT_STATES = ["closed", "open", "asked", "paused"] as const;

/** A metered flow that has ended. */
export interface EndedFlow {
  readonly meter: string;
  /** Null when there was no response. */
  readonly status: number | null;
  readonly latencyMs: number;
  /** Null when there was no response. */
  readonly timeToFirstByteMs: number | null;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** How one post to a sink went: taken, to be tried again, refused for good, or cut in two. */
export type DeliveryResult = "delivered" | "retried" | "refused" | "split";

/** Told by app.ts what happens. No method throws; a number that is not finite and positive counts as nothing. */
export interface Metrics {
  flowEnded(flow: EndedFlow): void;
  /** Once for each event that was stored. */
  eventStored(event: UsageEvent): void;
  /** How long the last byte of a response waited for the commit. */
  commitWaited(seconds: number): void;
  /** Usage that is not in the ledger, or not in time (`commit_timeout`, `queue_full` …). */
  gap(kind: string, count: number): void;
  /** The proxy answered by itself. `code` is of the contract's table. */
  proxyError(code: string): void;
  /** One post of `events` events to a sink. */
  deliveryAttempted(sink: string, result: DeliveryResult, events: number): void;
  tunnelEnded(tunnel: { readonly bytesUp: number; readonly bytesDown: number }): void;
  leafMinted(): void;
  /** A client did not complete the TLS handshake with our leaf. */
  handshakeFailed(): void;
  /** An oddity that a reader noted. */
  anomaly(name: string): void;
  /** Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
  /** For an embedder's own metrics and for tests. */
  readonly registry: Registry;
}

const PREFIX = "tallyman_";
const MAX_LABEL_VALUES = 200;
const OTHER = "other";

const TOKEN_CATEGORIES: ReadonlySet<string> = new Set([...INPUT_CATEGORIES, ...OUTPUT_CATEGORIES]);

/** Up to the commit's bound of 250 ms, and past it. */
const COMMIT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];
/** A model's answer takes from a fraction of a second to many minutes. */
const FLOW_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** Makes a registry of its own, with the metrics of the process. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  addProcessMetrics(registry);
  addStageGauges(registry, options.counters);
  addCircuitGauge(registry, options.sinks);
  const counter = createCounters(registry);
  const histogram = createHistograms(registry);
  const meterLabel = boundedLabel();
  const categoryLabel = boundedLabel();
  const codeLabel = boundedLabel();
  const sinkLabel = boundedLabel();

  return {
    flowEnded(flow) {
      const meter = meterLabel(flow.meter);
      counter.requests.add(1, meter, statusClass(flow.status));
      counter.bytes.add(flow.bytesUp, "up");
      counter.bytes.add(flow.bytesDown, "down");
      observe(histogram.flow(meter), flow.latencyMs / 1000);
      if (flow.timeToFirstByteMs !== null) observe(histogram.firstByte(meter), flow.timeToFirstByteMs / 1000);
    },
    eventStored(event) {
      const { meter, completeness, usage_source: source, usage, cost } = event.data;
      const label = meterLabel(meter);
      counter.events.add(1, label, completeness, source);
      for (const [category, count] of Object.entries(usage)) {
        const kind = event.type === "llm.usage.v1" && TOKEN_CATEGORIES.has(category) ? counter.tokens : counter.units;
        kind.add(count, label, categoryLabel(category));
      }
      if (cost !== null && cost.currency === "USD") counter.cost.add(Number(cost.amount), label);
    },
    commitWaited: (seconds) => observe(histogram.commit(), seconds),
    gap: (kind, count) => counter.gaps.add(count, codeLabel(kind)),
    proxyError: (code) => counter.errors.add(1, codeLabel(code)),
    deliveryAttempted(sink, result, events) {
      const label = sinkLabel(sink);
      counter.deliveries.add(1, label, result);
      if (result === "delivered") counter.delivered.add(events, label);
      if (result === "refused") counter.dead.add(events, label);
    },
    tunnelEnded(tunnel) {
      counter.tunnels.add(1);
      counter.tunnelBytes.add(tunnel.bytesUp, "up");
      counter.tunnelBytes.add(tunnel.bytesDown, "down");
    },
    leafMinted: () => counter.leaves.add(1),
    handshakeFailed: () => counter.handshakes.add(1),
    anomaly: (name) => counter.anomalies.add(1, codeLabel(name)),
    text: () => registry.metrics(),
    contentType: registry.contentType,
    registry,
  };
}

/** Those of prom-client, save three gauges that call themselves totals. */
function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, prefix: PREFIX });
  for (const name of ["handles", "requests", "resources"]) registry.removeSingleMetric(`${PREFIX}nodejs_active_${name}_total`);
}

function addStageGauges(registry: Registry, counters: MetricsOptions["counters"]): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    const collect = function (this: Gauge): void {
      this.set(read());
    };
    registry.registerMetric(new Gauge({ name: PREFIX + name, help, registers: [], collect }));
  };
  gauge("flows_active", "Metered exchanges under way.", () => counters().flows);
  gauge("events_buffered", "Ended exchanges whose usage is not yet stored.", () => counters().buffered);
  gauge("events_pending", "Events stored and not yet delivered.", () => counters().reports);
}

function addCircuitGauge(registry: Registry, sinks: MetricsOptions["sinks"]): void {
  const collect = function (this: Gauge): void {
    for (const [sink, { circuit }] of sinks?.() ?? []) for (const state of CIRCUIT_STATES) this.set({ sink, state }, state === circuit ? 1 : 0);
  };
  const help = "1 for the state that a sink's circuit is in: closed, open, asked (to wait) or paused (it refuses everything).";
  registry.registerMetric(new Gauge({ name: `${PREFIX}sink_circuit`, help, labelNames: ["sink", "state"], registers: [], collect }));
}

function createCounters(registry: Registry) {
  const counter = (name: string, help: string, ...labelNames: string[]): Tally => createTally(registry, PREFIX + name, help, labelNames);
  return {
    requests: counter("requests_total", "Metered exchanges that ended, by the class of the response's status.", "meter", "status_class"),
    tokens: counter("tokens_total", "Tokens of model responses, by disjoint category.", "meter", "category"),
    units: counter("units_total", "Things counted that are not tokens: a model's units and a connector's categories.", "meter", "category"),
    cost: counter("cost_usd_total", "Sum of the events' costs in USD, where they have one. Approximate: the ledger is exact.", "meter"),
    events: counter("events_total", "Events stored.", "meter", "completeness", "usage_source"),
    deliveries: counter("deliveries_total", "Posts to a sink, by result.", "sink", "result"),
    delivered: counter("delivered_events_total", "Events that a sink took.", "sink"),
    dead: counter("dead_letters_total", "Events that a sink refused for good.", "sink"),
    gaps: counter("gaps_total", "Usage that is not in the ledger, or was not in time, by kind.", "kind"),
    bytes: counter("bytes_total", "Body bytes of metered exchanges.", "direction"),
    tunnels: counter("tunnels_total", "Tunnels that ended: connections passed on unread."),
    tunnelBytes: counter("tunnel_bytes_total", "Bytes of tunnels.", "direction"),
    errors: counter("proxy_errors_total", "Responses that the proxy made by itself, by code.", "code"),
    leaves: counter("leaf_mints_total", "Leaf certificates signed."),
    handshakes: counter("handshake_failures_total", "TLS handshakes with a client that failed."),
    anomalies: counter("anomalies_total", "Oddities in responses, by name.", "name"),
  };
}

/** Each gives the histogram of a meter, made once: looking a label up costs more than observing. */
function createHistograms(registry: Registry) {
  const histogram = (name: string, help: string, buckets: number[], ...labelNames: string[]): ((...labels: string[]) => Observer) => {
    const made = new Histogram({ name: PREFIX + name, help, buckets, labelNames, registers: [registry] });
    const children = new Map<string, Observer>();
    return (label = "") => {
      const known = children.get(label);
      if (known !== undefined) return known;
      const child = labelNames.length === 0 ? made : made.labels(label);
      children.set(label, child);
      return child;
    };
  };
  return {
    commit: histogram("commit_wait_seconds", "How long the last byte of a response waited for its usage to be on disk.", COMMIT_BUCKETS),
    flow: histogram("flow_duration_seconds", "From the request's head to the end of the response.", FLOW_BUCKETS, "meter"),
    firstByte: histogram("time_to_first_byte_seconds", "From the request's head to the first byte of the response.", FLOW_BUCKETS, "meter"),
  };
}

interface Observer {
  observe(value: number): void;
}

/** Lets the first MAX_LABEL_VALUES distinct values pass and calls the rest `other`. */
function boundedLabel(): (value: string) => string {
  const known = new Set<string>();
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= MAX_LABEL_VALUES) return OTHER;
    known.add(value);
    return value;
  };
}

function statusClass(status: number | null): string {
  return status === null || status < 100 || status > 599 ? "none" : `${Math.floor(status / 100)}xx`;
}

/** prom-client throws at a value that is no number. */
function observe(histogram: Observer, value: number): void {
  if (Number.isFinite(value) && value >= 0) histogram.observe(value);
}
