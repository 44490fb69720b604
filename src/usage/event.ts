/**
 * Builds usage events: CloudEvents 1.0 in the contract's fields and order. An event is serialized once; those bytes
 * are stored and delivered.
 */

import { eventId } from "../flow/flow-id.ts";
import { getHeader, type RawHeaders } from "../flow/headers.ts";
import type { Attribution } from "./attribution.ts";
import { canonicalUsage, totalsOf, type ModelUsage } from "./categories.ts";
import type { EventCost, UsageEvent } from "./event-types.ts";
import type { ConnectorReading, Reading } from "./handler.ts";

/** Facts of a flow that every event of it repeats. */
export interface FlowFacts {
  readonly flowId: string;
  readonly startedAtMs: number;
  readonly host: string;
  readonly meter: string;
  readonly kind: "model" | "connector";
  readonly api: string;
  readonly operation: string;
  readonly attribution: Attribution;
  readonly billable: boolean;
}

/** Facts known when the flow is over. */
export interface FlowEnding {
  readonly endedAtMs: number;
  /** Null when there was no response. */
  readonly status: number | null;
  readonly requestId: string | null;
  readonly latencyMs: number;
  readonly timeToFirstByteMs: number | null;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Tokens of the request's text; undefined: they were not counted. */
  readonly canonicalInputTokens?: number | undefined;
}

export interface EventBuilder {
  /** The event of a reading; `sequence` is its place among the events of the flow. */
  build(facts: FlowFacts, ending: FlowEnding, reading: Reading, sequence: number): UsageEvent;
  /** The event of a flow whose end nobody saw (a crash); `sequence`: how many events it had before. */
  buildUnknown(facts: FlowFacts, sequence: number): UsageEvent;
}

export interface EventBuilderOptions {
  readonly deploymentId: string;
  /** Whether model events say how many tokens the request's text has (TALLYMAN_CANONICAL_TOKENS). Default false. */
  readonly hasCanonicalTokens?: boolean;
  /** The price of a model reading, or null where a model or a category has none. */
  readonly price: (facts: FlowFacts, reading: Reading, usage: ModelUsage) => EventCost | null;
  /** The price of a connector reading, likewise. Default: none has one. */
  readonly priceConnector?: (facts: FlowFacts, reading: ConnectorReading) => EventCost | null;
}

export function createEventBuilder(options: EventBuilderOptions): EventBuilder {
  const source = `/tallyman/${options.deploymentId}`;
  const build = (facts: FlowFacts, ending: FlowEnding, reading: Reading, sequence: number): UsageEvent => {
    const envelope = {
      id: eventId(facts.flowId, sequence),
      source,
      subject: facts.attribution.orgId ?? facts.attribution.agentId ?? "default",
      time: isoTime(ending.endedAtMs),
      datacontenttype: "application/json" as const,
    };
    const owner = {
      flow_id: facts.flowId,
      sequence,
      org_id: facts.attribution.orgId,
      user_id: facts.attribution.userId,
      agent_id: facts.attribution.agentId,
      thread_id: facts.attribution.threadId,
      caller_type: facts.attribution.callerType,
      metadata: facts.attribution.metadata,
      meter: facts.meter,
    };
    const outcome = {
      completeness: completenessOf(reading),
      usage_source: sourceOf(reading),
      billable: facts.billable,
    };
    const timing = {
      started_at: isoTime(facts.startedAtMs),
      latency_ms: tenths(ending.latencyMs),
      time_to_first_byte_ms: ending.timeToFirstByteMs === null ? null : tenths(ending.timeToFirstByteMs),
      bytes_up: ending.bytesUp,
      bytes_down: ending.bytesDown,
    };
    if (facts.kind === "connector") {
      return {
        specversion: "1.0",
        type: "connector.usage.v1",
        ...envelope,
        data: {
          ...owner,
          host: facts.host,
          route: ("route" in reading ? reading.route : undefined) ?? facts.operation,
          request_id: ending.requestId,
          status: ending.status,
          usage: "connectorUsage" in reading ? reading.connectorUsage : {},
          ...("dims" in reading && reading.dims !== undefined ? { dims: reading.dims } : {}),
          ...outcome,
          cost: "connectorUsage" in reading ? (options.priceConnector?.(facts, reading) ?? null) : null,
          ...timing,
        },
      };
    }
    const usage = "usage" in reading ? canonicalUsage(reading.usage) : {};
    return {
      specversion: "1.0",
      type: "llm.usage.v1",
      ...envelope,
      data: {
        ...owner,
        api: facts.api,
        host: facts.host,
        operation: facts.operation,
        streamed: ("streamed" in reading ? reading.streamed : undefined) ?? false,
        request_model: reading.kind === "measured" && !("usage" in reading) ? null : requestModelOf(reading),
        response_model: "responseModel" in reading ? (reading.responseModel ?? null) : null,
        response_id: "responseId" in reading ? (reading.responseId ?? null) : null,
        request_id: ending.requestId,
        service_tier: "serviceTier" in reading ? reading.serviceTier : null,
        status: ending.status,
        usage,
        totals: totalsOf(usage),
        ...(options.hasCanonicalTokens === true ? { canonical_input_tokens: ending.canonicalInputTokens ?? null } : {}),
        ...outcome,
        cost: reading.kind === "measured" ? options.price(facts, reading, usage) : null,
        ...timing,
      },
    };
  };
  return {
    build,
    buildUnknown: (facts, sequence) =>
      build(
        facts,
        { endedAtMs: facts.startedAtMs, status: null, requestId: null, latencyMs: 0, timeToFirstByteMs: null, bytesUp: 0, bytesDown: 0 },
        { kind: "unmeasured", reason: "the process ended before the flow did" },
        sequence,
      ),
  };
}

/** A free flow costs nothing: it is kept in the ledger and not delivered. */
export function isDelivered(reading: Reading): boolean {
  return reading.kind !== "free";
}

function requestModelOf(reading: Reading): string | null {
  return "requestModel" in reading ? (reading.requestModel ?? null) : null;
}

function completenessOf(reading: Reading): "complete" | "partial" | "unknown" {
  if (reading.kind === "measured") return reading.completeness;
  return reading.kind === "free" ? "complete" : "unknown";
}

function sourceOf(reading: Reading): "provider" | "estimate" | "none" {
  return reading.kind === "measured" ? reading.source : "none";
}

const SECOND_MS = 1000;
let lastSecond = Number.NaN;
let lastPrefix = "";

/** As `Date.toISOString`. The second's text is kept, because events come close together and formatting a date is slow. */
function isoTime(epochMs: number): string {
  const whole = Math.trunc(epochMs);
  const second = Math.floor(whole / SECOND_MS);
  if (second !== lastSecond) {
    lastPrefix = new Date(second * SECOND_MS).toISOString().slice(0, -4);
    lastSecond = second;
  }
  return `${lastPrefix}${String(whole - second * SECOND_MS).padStart(3, "0")}Z`;
}

/** Milliseconds with one decimal. */
function tenths(milliseconds: number): number {
  return Math.max(0, Math.round(milliseconds * 10) / 10);
}

/** Response headers that name a request, the most specific first (model-usage.md section 6.3). */
const REQUEST_ID_HEADERS = ["request-id", "x-request-id", "x-slack-req-id", "apim-request-id", "x-amzn-requestid", "x-ms-request-id", "x-generation-id"];
const MAX_REQUEST_ID_CHARS = 200;

/** The provider's own id of the request, from the response head. */
export function requestIdOf(headers: RawHeaders): string | null {
  for (const name of REQUEST_ID_HEADERS) {
    const value = getHeader(headers, name);
    if (value !== undefined && value !== "") return value.slice(0, MAX_REQUEST_ID_CHARS);
  }
  return null;
}
