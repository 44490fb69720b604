/**
 * Stripe meter events, one for each category of an event (https://docs.stripe.com/api/billing/meter-event/create, read 2026-11).
 * Stripe keeps `identifier` unique for 24 hours at least, and answers a second one with 400: that one is delivered. Nothing
 * is sent by itself once those hours may be over, because a second attempt could then be billed twice.
 */

import type { Sink, SinkBatch, SinkLimits, SinkRequest, Verdict } from "../delivery/sink.ts";
import { createPoster } from "./http-post.ts";
import type { PosterOptions, PostResult } from "./http-post.ts";
import { judge } from "./http-verdict.ts";
import { decimal, named, usageValues, type UsageValue } from "./usage-values.ts";

export interface StripeOptions extends Omit<PosterOptions, "concurrency" | "headers"> {
  readonly apiKey: string;
  /** Subject to `stripe_customer_id`; absent: subjects are customer ids. An event of a subject that it lacks is refused. */
  readonly customers: Readonly<Record<string, string>> | undefined;
  /** Category to `event_name`; absent: all, under their own names. Categories that it lacks are not sent. */
  readonly meters: Readonly<Record<string, string>> | undefined;
  readonly clock?: () => number;
}

/** Small batches: each value is a request of its own, and a batch that fails is sent again from its start. */
const LIMITS: SinkLimits = { maxEvents: 10, maxBytes: 256 * 1024, maxWaitMs: 1000, concurrency: 4 };

/** An hour short of the 24 in which Stripe knows an identifier: for clocks, and for what is under way. */
const RESEND_BOUND_MS = 23 * 3_600_000;

const HEADERS = { "content-type": "application/x-www-form-urlencoded" } as const;

const CUSTOMER_ID = /^cus_[A-Za-z0-9]+$/;

/** Seen in answers to a second identifier; the error has no code. */
const DUPLICATE = /an event already exists with identifier/i;

export function createStripe(options: StripeOptions): Sink {
  const { clock = Date.now } = options;
  const poster = createPoster({
    ...options,
    url: `${options.url.replace(/\/+$/, "")}/v1/billing/meter_events`,
    headers: { authorization: `Bearer ${options.apiKey}` },
    concurrency: LIMITS.concurrency,
  });

  const sendAll = async ({ requests }: SinkBatch, signal: AbortSignal): Promise<Verdict> => {
    for (const { body } of requests) {
      const verdict = verdictOf(await poster.post(body, HEADERS, signal), clock());
      if (verdict.kind !== "delivered") return verdict;
    }
    return { kind: "delivered" };
  };

  return {
    id: "stripe",
    limits: LIMITS,
    prepare: (events) => events.flatMap((event) => usageValues(event).flatMap((value) => requestsFor(value, options))),
    send: async (batch, signal) =>
      clock() - batch.createdAtMs > RESEND_BOUND_MS ? { kind: "refused", reason: "older than 24 hours" } : await sendAll(batch, signal),
    close: () => poster.close(),
  };
}

function requestsFor(value: UsageValue, { customers, meters }: StripeOptions): SinkRequest[] {
  const eventName = named(meters, value.category);
  if (eventName === undefined) return [];
  const customer = named(customers, value.subject);
  if (customer === undefined || !CUSTOMER_ID.test(customer)) throw new TypeError("the event's subject has no Stripe customer");
  const form = new URLSearchParams({
    event_name: eventName,
    identifier: value.key,
    timestamp: String(Math.floor(value.timeMs / 1000)),
    "payload[stripe_customer_id]": customer,
    "payload[value]": decimal(value.amount),
  });
  return [{ key: value.key, body: form.toString() }];
}

function verdictOf(result: PostResult, nowMs: number): Verdict {
  if (result.kind === "answered" && result.status === 400 && DUPLICATE.test(result.problem)) return { kind: "delivered" };
  return judge(result, nowMs);
}
