/** A usage event as single values, for targets that bill one value a request (Stripe, Lago). Pure. */

import { createHash } from "node:crypto";

import type { SinkEvent } from "../delivery/sink.ts";

/** One category of one event. */
export interface UsageValue {
  /** `event:category`: the same for the same usage, whenever it is sent. At most MAX_KEY_LENGTH characters. */
  readonly key: string;
  readonly subject: string;
  /** Epoch milliseconds. */
  readonly timeMs: number;
  readonly category: string;
  /** Over zero; durations may have a fraction. */
  readonly amount: number;
}

/** Stripe's bound for `identifier` (https://docs.stripe.com/api/billing/meter-event/create, read 2026-11). */
export const MAX_KEY_LENGTH = 100;
const DIGEST_LENGTH = 32;

/** None for an event that is not billable, has no usage or is none of usage. Throws when it is no event at all. */
export function usageValues({ id, body }: SinkEvent): UsageValue[] {
  const event = record(JSON.parse(body));
  const data = record(event["data"]);
  if (data["billable"] === false) return [];
  const subject = String(event["subject"]);
  const timeMs = Date.parse(String(event["time"]));
  return Object.entries(record(data["usage"])).flatMap(([category, amount]) =>
    typeof amount === "number" && amount > 0 ? [{ key: keyOf(id, category), subject, timeMs, category, amount }] : [],
  );
}

/** A number as JSON writes it, but never with an exponent. */
export function decimal(amount: number): string {
  const text = String(amount);
  return text.includes("e") ? amount.toFixed(20).replace(/\.?0+$/, "") : text;
}

/** The target's name of something of ours: what the table says, else our own. */
export function named(table: Readonly<Record<string, string>> | undefined, name: string): string | undefined {
  if (table === undefined) return name;
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

function keyOf(id: string, category: string): string {
  const key = `${id}:${category}`;
  if (key.length <= MAX_KEY_LENGTH) return key;
  return `${id}:${createHash("sha256").update(category).digest("hex").slice(0, DIGEST_LENGTH)}`;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
