/** One ledger record as one line, for people and as JSON. */

import { z } from "zod";

import type { StoredRecord } from "../store/store.ts";
import { grouped, printable } from "./table.ts";
import { dollars } from "./usage-table.ts";

/** What the line shows; an event without a field (another type, a later version) shows "-" in its place. */
const eventSchema = z.object({
  type: z.string().catch("-"),
  data: z
    .object({
      meter: z.string().optional().catch(undefined),
      route: z.string().nullish().catch(undefined),
      request_model: z.string().nullish().catch(undefined),
      response_model: z.string().nullish().catch(undefined),
      usage: z.record(z.string(), z.number()).catch({}),
      totals: z.object({ input_tokens: z.number(), output_tokens: z.number() }).optional().catch(undefined),
      cost: z.object({ amount: z.string() }).nullish().catch(undefined),
      completeness: z.string().optional().catch(undefined),
    })
    .catch({ usage: {} }),
});

/** Time, delivery, meter, model or route, counts, cost, completeness; aligned as long as names are of usual length. */
export function eventLine(record: StoredRecord): string {
  const { type, data } = eventSchema.catch({ type: "-", data: { usage: {} } }).parse(parseBody(record.body));
  const subject = data.route ?? data.response_model ?? data.request_model ?? "-";
  const cells = [
    new Date(record.timeMs).toISOString(),
    record.delivery.padEnd(9),
    (data.meter ?? type).padEnd(10),
    subject.padEnd(28),
    counts(data).padEnd(26),
    dollars(data.cost?.amount ?? null).padEnd(10),
    data.completeness ?? "-",
  ];
  return printable(cells.join("  ").trimEnd());
}

/** `{"event":…,"delivery":…}` on one line; the event byte for byte as it was stored. */
export function eventJson(record: StoredRecord): string {
  return `{"event":${record.body},"delivery":${JSON.stringify(record.delivery)}}`;
}

function counts({ totals, usage }: z.infer<typeof eventSchema>["data"]): string {
  if (totals !== undefined) return `${grouped(totals.input_tokens)} in, ${grouped(totals.output_tokens)} out`;
  const parts = Object.entries(usage).map(([category, value]) => `${category}=${grouped(value)}`);
  return parts.length === 0 ? "-" : parts.join(" ");
}

function parseBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    // The store writes what the meter serialized; a damaged row is still worth its line.
    return undefined;
  }
}
