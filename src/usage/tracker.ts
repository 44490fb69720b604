/**
 * Totals since the start, in memory, and the subscribers. Owns nothing durable: the ledger does. Called after an
 * event is stored; nothing that happens in here can harm a flow.
 */

import type { Logger } from "pino";
import type { UsageEvent } from "./event-types.ts";
import { formatUsd, parseUsd } from "./pricing/money.ts";

/** What totals can be split by. `provider` is the meter; connector events have no `model`, and only they have a `connector`. */
export type TrackerDimension = "agent" | "model" | "provider" | "connector" | "org" | "user" | "thread";

/** Sums over events. */
export interface UsageTally {
  /** Events, those that cost nothing included. */
  readonly requests: number;
  /** Counts by category, connector categories included. Absent means never reported. */
  readonly usage: Readonly<Record<string, number>>;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly total_tokens: number;
  /** Exact sum in USD of the events that have a price; "0" when none has. */
  readonly cost: string;
  /** Billable events with usage that have no price in USD: when positive, `cost` is not the whole. */
  readonly unpriced: number;
  /** Null before the first event. */
  readonly meanLatencyMs: number | null;
}

/** Receives each event after it is stored. The event is frozen. What it throws or rejects with is logged. */
export type UsageSubscriber = (event: UsageEvent) => unknown;

export interface Tracker {
  /** Adds an event and calls the subscribers in the order in which they came. Never throws. */
  record(event: UsageEvent): void;
  /** Returns what ends the subscription. A function that is subscribed twice is called once. */
  subscribe(subscriber: UsageSubscriber): () => void;
  /** Does nothing for one that is not subscribed. */
  unsubscribe(subscriber: UsageSubscriber): void;
  totals(): UsageTally;
  /** In the order in which the keys were first seen. NO_KEY: events without a value; OTHER_KEY: beyond `maxKeys`. */
  totalsBy(dimension: TrackerDimension): ReadonlyMap<string, UsageTally>;
}

export interface TrackerOptions {
  readonly logger: Pick<Logger, "error">;
  /** Keys remembered per dimension; those that come later are added up under OTHER_KEY. Default 10,000. */
  readonly maxKeys?: number;
}

export const NO_KEY = "(none)";
export const OTHER_KEY = "(other)";

const DEFAULT_MAX_KEYS = 10_000;

/** Undefined: the event is not part of that dimension. Null: it is, without a value. */
type Key = string | null | undefined;

const KEYS: Readonly<Record<TrackerDimension, (event: UsageEvent) => Key>> = {
  agent: (event) => event.data.agent_id,
  model: (event) => (event.type === "llm.usage.v1" ? (event.data.response_model ?? event.data.request_model) : undefined),
  provider: (event) => event.data.meter,
  connector: (event) => (event.type === "connector.usage.v1" ? event.data.meter : undefined),
  org: (event) => event.data.org_id,
  user: (event) => event.data.user_id,
  thread: (event) => event.data.thread_id,
};

/** Makes a tracker with empty totals. */
export function createTracker(options: TrackerOptions): Tracker {
  const { logger, maxKeys = DEFAULT_MAX_KEYS } = options;
  const all = createSum();
  const sums: Readonly<Record<TrackerDimension, Map<string, Sum>>> = {
    agent: new Map(),
    model: new Map(),
    provider: new Map(),
    connector: new Map(),
    org: new Map(),
    user: new Map(),
    thread: new Map(),
  };
  const subscribers = new Set<UsageSubscriber>();
  /** Events with the same keys in a row are added up once. */
  let run = createSum();
  let runKeys: readonly Key[] = [];

  function sumFor(dimension: TrackerDimension, key: Key): Sum | undefined {
    if (key === undefined) return undefined;
    const known = sums[dimension];
    const name = key ?? NO_KEY;
    const found = known.get(name) ?? (known.size < maxKeys ? undefined : known.get(OTHER_KEY));
    if (found !== undefined) return found;
    const made = createSum();
    known.set(known.size < maxKeys ? name : OTHER_KEY, made);
    return made;
  }

  function endRun(): void {
    if (run.requests === 0) return;
    merge(all, run);
    for (const [place, dimension] of DIMENSIONS.entries()) {
      const sum = sumFor(dimension, runKeys[place]);
      if (sum !== undefined) merge(sum, run);
    }
    run = createSum();
  }

  function notify(event: UsageEvent): void {
    // A copy: one that subscribes again while it is called must not be called for ever.
    for (const subscriber of Array.from(subscribers)) {
      try {
        const result = subscriber(event);
        if (result instanceof Promise) result.catch(report);
      } catch (error) {
        report(error);
      }
    }
  }

  function report(error: unknown): void {
    logger.error({ err: error }, "a subscriber to usage events failed");
  }

  return {
    record(event) {
      if (!DIMENSIONS.every((dimension, place) => KEYS[dimension](event) === runKeys[place])) {
        endRun();
        runKeys = DIMENSIONS.map((dimension) => KEYS[dimension](event));
      }
      add(run, event, costOf(event));
      if (subscribers.size > 0) notify(deepFreeze(event));
    },
    subscribe(subscriber) {
      subscribers.add(subscriber);
      return () => void subscribers.delete(subscriber);
    },
    unsubscribe: (subscriber) => void subscribers.delete(subscriber),
    totals() {
      endRun();
      return tally(all);
    },
    totalsBy(dimension) {
      endRun();
      return new Map(Array.from(sums[dimension], ([key, sum]) => [key, tally(sum)]));
    },
  };
}

const DIMENSIONS = ["agent", "model", "provider", "connector", "org", "user", "thread"] as const satisfies readonly TrackerDimension[];

interface Sum {
  requests: number;
  readonly usage: Map<string, number>;
  inputTokens: number;
  outputTokens: number;
  costPicoUsd: bigint;
  unpriced: number;
  latencyMs: number;
}

function createSum(): Sum {
  return { requests: 0, usage: new Map(), inputTokens: 0, outputTokens: 0, costPicoUsd: 0n, unpriced: 0, latencyMs: 0 };
}

/** Pico-USD; undefined when the event should have a price and has none. */
function costOf(event: UsageEvent): bigint | undefined {
  const { cost, billable, usage } = event.data;
  if (cost !== null && cost.currency === "USD") return parseUsd(cost.amount);
  const isPriceMissing = billable && Object.values(usage).some((count) => count > 0);
  return isPriceMissing ? undefined : 0n;
}

function add(sum: Sum, event: UsageEvent, cost: bigint | undefined): void {
  sum.requests += 1;
  sum.latencyMs += event.data.latency_ms;
  for (const [category, count] of Object.entries(event.data.usage)) sum.usage.set(category, (sum.usage.get(category) ?? 0) + count);
  if (event.type === "llm.usage.v1") {
    sum.inputTokens += event.data.totals.input_tokens;
    sum.outputTokens += event.data.totals.output_tokens;
  }
  if (cost === undefined) sum.unpriced += 1;
  else sum.costPicoUsd += cost;
}

function merge(sum: Sum, more: Sum): void {
  sum.requests += more.requests;
  sum.latencyMs += more.latencyMs;
  for (const [category, count] of more.usage) sum.usage.set(category, (sum.usage.get(category) ?? 0) + count);
  sum.inputTokens += more.inputTokens;
  sum.outputTokens += more.outputTokens;
  sum.unpriced += more.unpriced;
  sum.costPicoUsd += more.costPicoUsd;
}

function tally(sum: Sum): UsageTally {
  return {
    requests: sum.requests,
    usage: Object.fromEntries(sum.usage),
    input_tokens: sum.inputTokens,
    output_tokens: sum.outputTokens,
    total_tokens: sum.inputTokens + sum.outputTokens,
    cost: formatUsd(sum.costPicoUsd),
    unpriced: sum.unpriced,
    meanLatencyMs: sum.requests === 0 ? null : sum.latencyMs / sum.requests,
  };
}

/** Freezes an event and all in it; events are trees of plain objects. */
function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === "object" && part !== null) deepFreeze(part);
  return Object.freeze(value);
}
