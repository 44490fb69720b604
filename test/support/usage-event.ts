/** Usage events for tests of what is done with them. */

import type { ConnectorUsageEvent, ModelEventData, ModelUsageEvent } from "../../src/usage/event-types.ts";

const ENVELOPE = {
  specversion: "1.0",
  id: "0193f0a2-0000-7000-8000-000000000000",
  source: "/tallyman/test",
  subject: "default",
  time: "2026-11-21T10:00:03.120Z",
  datacontenttype: "application/json",
} as const;

const COMMON = {
  flow_id: "0193f0a2-0000-7000-8000-000000000000",
  sequence: 0,
  org_id: null,
  user_id: null,
  agent_id: null,
  thread_id: null,
  caller_type: null,
  metadata: {},
  completeness: "complete",
  usage_source: "provider",
  billable: true,
  cost: null,
  started_at: "2026-11-21T10:00:00.010Z",
  latency_ms: 100,
  time_to_first_byte_ms: 10,
  bytes_up: 1,
  bytes_down: 2,
} as const;

/** A chat of 10 and 5 tokens, without a price. */
export function modelEvent(data: Partial<ModelEventData> = {}): ModelUsageEvent {
  return {
    ...ENVELOPE,
    type: "llm.usage.v1",
    data: {
      ...COMMON,
      meter: "openai",
      api: "openai.chat_completions",
      host: "api.openai.com",
      operation: "chat",
      streamed: false,
      request_model: "gpt-5",
      response_model: "gpt-5-2025-08-07",
      response_id: "r",
      request_id: "q",
      service_tier: null,
      status: 200,
      usage: { input_tokens: 10, output_tokens: 5 },
      totals: { input_tokens: 10, output_tokens: 5, total_tokens: 15 },
      ...data,
    },
  };
}

/** Twelve posts read. */
export function connectorEvent(): ConnectorUsageEvent {
  return {
    ...ENVELOPE,
    type: "connector.usage.v1",
    data: { ...COMMON, meter: "x", host: "api.x.com", route: "tweets.lookup", request_id: null, status: 200, usage: { "posts.read": 12 } },
  };
}
