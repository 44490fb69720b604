/**
 * The shape of a usage event: CloudEvents 1.0 in the fields and the order of the contract (docs/events.md). Types
 * only; event.ts builds them. Adding a field is allowed, renaming or removing one is not.
 */

import type { ConnectorUsage, ModelUsage, UsageTotals } from "./categories.ts";

/** What an event says about how sure it is of its usage. */
export type Completeness = "complete" | "partial" | "unknown";

/** Where the numbers come from. `estimate`: at least one of them was not sent by the provider. */
export type UsageSource = "provider" | "estimate" | "none";

/** A price. Amounts are non-negative decimal strings, without exponent. */
export interface EventCost {
  /** What the event costs: the provider's own statement where it makes one. */
  readonly amount: string;
  /** ISO 4217 code; "USD" unless the provider states another. */
  readonly currency: string;
  /** `override`: at least one rate came from the operator's price file. */
  readonly source: "price_book" | "override" | "provider";
  /** Our own number beside the provider's, in USD. Only with source `provider`; absent where we have no price. */
  readonly list_amount?: string;
  /** Names the price data behind `amount` or `list_amount`; absent where neither came from it. */
  readonly price_version?: string;
}

interface Envelope<Type extends string, Data> {
  readonly specversion: "1.0";
  readonly type: Type;
  /** The flow's UUIDv7, with a suffix from sequence 1 on. `source` and `id` together are unique. */
  readonly id: string;
  /** `/tallyman/<deployment id>`. */
  readonly source: string;
  /** org_id, else agent_id, else "default". */
  readonly subject: string;
  /** When the flow ended; RFC 3339, UTC, milliseconds. */
  readonly time: string;
  readonly datacontenttype: "application/json";
  readonly data: Data;
}

/** Whose flow it was, and which one. */
interface Owner {
  readonly flow_id: string;
  /** Place among the events of the flow, from 0. */
  readonly sequence: number;
  readonly org_id: string | null;
  readonly user_id: string | null;
  readonly agent_id: string | null;
  readonly thread_id: string | null;
  readonly caller_type: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  /** Id of the handler that read the flow. A closed set. */
  readonly meter: string;
}

interface Verdict {
  readonly completeness: Completeness;
  readonly usage_source: UsageSource;
  readonly billable: boolean;
  /** Null where the model, or one of the categories, has no price. */
  readonly cost: EventCost | null;
}

interface Timing {
  readonly started_at: string;
  /** From the request head to the end of the response, one decimal. */
  readonly latency_ms: number;
  /** Null when there was no response. */
  readonly time_to_first_byte_ms: number | null;
  /** Body bytes as sent, before decoding. */
  readonly bytes_up: number;
  readonly bytes_down: number;
}

/** One model response. */
export interface ModelEventData extends Owner, Verdict, Timing {
  readonly api: string;
  readonly host: string;
  readonly operation: string;
  readonly streamed: boolean;
  readonly request_model: string | null;
  readonly response_model: string | null;
  readonly response_id: string | null;
  readonly request_id: string | null;
  readonly service_tier: string | null;
  /** HTTP status; null when there was no response. */
  readonly status: number | null;
  /** Disjoint counts. */
  readonly usage: ModelUsage;
  /** Inclusive sums of `usage`. */
  readonly totals: UsageTotals;
  /** Tokens of the request's text in cl100k_base; null where they were not counted. Absent unless asked for. */
  readonly canonical_input_tokens?: number | null;
}

/** One connector response. */
export interface ConnectorEventData extends Owner, Verdict, Timing {
  readonly host: string;
  /** The connector's own name of the route ("tweets.lookup"). */
  readonly route: string;
  readonly request_id: string | null;
  readonly status: number | null;
  /** Counts by the connector's categories ("posts.read"). */
  readonly usage: ConnectorUsage;
  /** Facts beside the counts ("error_reason": "quotaExceeded"). Absent where there are none. */
  readonly dims?: Readonly<Record<string, string>>;
}

export type ModelUsageEvent = Envelope<"llm.usage.v1", ModelEventData>;
export type ConnectorUsageEvent = Envelope<"connector.usage.v1", ConnectorEventData>;
export type UsageEvent = ModelUsageEvent | ConnectorUsageEvent;
