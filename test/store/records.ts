/** Records and intents for the store's tests; no test framework, because child processes use them too. */

import type { FlowIntent, LedgerRecord } from "../../src/store/store.ts";

/** The bytes of an event as the meter would freeze them; `data` is laid over the usual. */
export function eventBody(id: string, timeMs: number, data: Record<string, unknown> = {}, type = "llm.usage.v1"): string {
  return JSON.stringify({
    specversion: "1.0",
    type,
    id,
    source: "/tallyman/test",
    time: new Date(timeMs).toISOString(),
    data: { flow_id: id, sequence: 0, usage: {}, completeness: "complete", billable: true, cost: null, ...data },
  });
}

/** An event record. */
export function record(id: string, options: { timeMs?: number; delivery?: "none" | "pending"; data?: Record<string, unknown>; type?: string } = {}): LedgerRecord {
  const timeMs = options.timeMs ?? 1_700_000_000_000;
  return { id, flowId: id, timeMs, delivery: options.delivery ?? "pending", body: eventBody(id, timeMs, options.data, options.type) };
}

/** The intent of a flow whose unknown event has the flow's id. */
export function intent(flowId: string, startedAtMs = 1_700_000_000_000): FlowIntent {
  return { flowId, startedAtMs, unknownEvent: eventBody(flowId, startedAtMs, { completeness: "unknown" }) };
}
