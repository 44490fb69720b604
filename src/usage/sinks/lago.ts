/**
 * Lago events, one for each category of an event, up to 100 a request (https://docs.getlago.com/api-reference/events/batch,
 * read 2026-11). Lago keeps `transaction_id` unique and takes all of a request or none of it: of a request that holds
 * some that it has, the others are sent once more.
 */

import type { Sink, SinkLimits, SinkRequest, Verdict } from "../delivery/sink.ts";
import { createPoster } from "./http-post.ts";
import type { PosterOptions, PostResult } from "./http-post.ts";
import { judge } from "./http-verdict.ts";
import { decimal, named, usageValues, type UsageValue } from "./usage-values.ts";

export interface LagoOptions extends Omit<PosterOptions, "concurrency" | "headers"> {
  readonly apiKey: string;
  /** Subject to `external_subscription_id`; absent: subjects are subscriptions. An event of a subject that it lacks is refused. */
  readonly subscriptions: Readonly<Record<string, string>> | undefined;
  /** Category to the `code` of a billable metric; absent: all, under their own names. Categories that it lacks are not sent. */
  readonly metrics: Readonly<Record<string, string>> | undefined;
  readonly clock?: () => number;
}

const LIMITS: SinkLimits = { maxEvents: 20, maxBytes: 256 * 1024, maxWaitMs: 1000, concurrency: 4 };

const MAX_REQUEST_EVENTS = 100;

const HEADERS = { "content-type": "application/json" } as const;

export function createLago(options: LagoOptions): Sink {
  const { clock = Date.now } = options;
  const poster = createPoster({
    ...options,
    url: `${options.url.replace(/\/+$/, "")}/api/v1/events/batch`,
    headers: { authorization: `Bearer ${options.apiKey}` },
    concurrency: LIMITS.concurrency,
  });

  const sendSome = async (requests: readonly SinkRequest[], signal: AbortSignal): Promise<Verdict> => {
    const post = (some: readonly SinkRequest[]): Promise<PostResult> => poster.post(`{"events":[${some.map(({ body }) => body).join(",")}]}`, HEADERS, signal);
    const first = await post(requests);
    const known = placesKnown(first);
    if (known.size === 0) return judge(first, clock());
    const others = requests.filter((_, place) => !known.has(place));
    return others.length === 0 ? { kind: "delivered" } : judge(await post(others), clock());
  };

  return {
    id: "lago",
    limits: LIMITS,
    prepare: (events) => events.flatMap((event) => usageValues(event).flatMap((value) => requestsFor(value, options))),
    async send({ requests }, signal) {
      for (let from = 0; from < requests.length; from += MAX_REQUEST_EVENTS) {
        const verdict = await sendSome(requests.slice(from, from + MAX_REQUEST_EVENTS), signal);
        if (verdict.kind !== "delivered") return verdict;
      }
      return { kind: "delivered" };
    },
    close: () => poster.close(),
  };
}

function requestsFor(value: UsageValue, { subscriptions, metrics }: LagoOptions): SinkRequest[] {
  const code = named(metrics, value.category);
  if (code === undefined) return [];
  const subscription = named(subscriptions, value.subject);
  if (subscription === undefined) throw new TypeError("the event's subject has no Lago subscription");
  const event = {
    transaction_id: value.key,
    external_subscription_id: subscription,
    code,
    timestamp: value.timeMs / 1000,
    properties: { value: decimal(value.amount) },
  };
  return [{ key: value.key, body: JSON.stringify(event) }];
}

/** Places in the request of events that Lago has already, from the `error_details` of a 422. */
function placesKnown(result: PostResult): ReadonlySet<number> {
  if (result.kind !== "answered" || result.status !== 422) return new Set();
  const details = detailsOf(result.problem);
  return new Set(Object.entries(details).flatMap(([place, faults]) => (isKnown(faults) ? [Number(place)] : [])));
}

function detailsOf(problem: string): object {
  try {
    const parsed: unknown = JSON.parse(problem);
    if (typeof parsed === "object" && parsed !== null && "error_details" in parsed && typeof parsed.error_details === "object" && parsed.error_details !== null) return parsed.error_details;
  } catch {
    // An answer that is no JSON names no places.
  }
  return {};
}

function isKnown(faults: unknown): boolean {
  if (typeof faults !== "object" || faults === null || !("transaction_id" in faults)) return false;
  const codes = faults.transaction_id;
  return Array.isArray(codes) && codes.includes("value_already_exist") && Object.keys(faults).length === 1;
}
