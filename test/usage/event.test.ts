import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Attribution } from "../../src/usage/attribution.ts";
import { createEventBuilder, isDelivered, requestIdOf, type EventBuilderOptions, type FlowEnding, type FlowFacts } from "../../src/usage/event.ts";
import type { ConnectorReading, ModelReading, Reading } from "../../src/usage/handler.ts";

const NOBODY: Attribution = { orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} };

const FACTS: FlowFacts = {
  flowId: "0193f0a2-0000-7000-8000-000000000000",
  startedAtMs: Date.UTC(2026, 10, 21, 10, 0, 0, 10),
  host: "api.anthropic.com",
  meter: "anthropic",
  kind: "model",
  api: "anthropic.messages",
  operation: "chat",
  attribution: { ...NOBODY, orgId: "acme", agentId: "agent-7", threadId: "t-1", callerType: "agent", metadata: { team: "red" } },
  billable: true,
};

const ENDING: FlowEnding = {
  endedAtMs: Date.UTC(2026, 10, 21, 10, 0, 3, 120),
  status: 200,
  requestId: "req_1",
  latencyMs: 3110.24,
  timeToFirstByteMs: 412.66,
  bytesUp: 18_211,
  bytesDown: 90_311,
};

const MEASURED: ModelReading = {
  kind: "measured",
  completeness: "complete",
  source: "provider",
  usage: { output_reasoning_tokens: 149, input_tokens: 3, output_tokens: 401, cache_write_5m_tokens: 12_304, cache_read_tokens: 0 },
  requestModel: "claude-sonnet-4-5",
  responseModel: "claude-sonnet-4-5-20250929",
  responseId: "msg_1",
  serviceTier: "standard",
  streamed: true,
};

const CONNECTOR: ConnectorReading = { kind: "measured", completeness: "complete", source: "provider", route: "tweets.lookup", connectorUsage: { "posts.read": 12, "users.read": 3 } };

function builder(price: EventBuilderOptions["price"] = () => null) {
  return createEventBuilder({ deploymentId: "d-1", price });
}

const build = (reading: Reading, facts: Partial<FlowFacts> = {}, ending: Partial<FlowEnding> = {}, sequence = 0) =>
  builder().build({ ...FACTS, ...facts }, { ...ENDING, ...ending }, reading, sequence);

describe("a model event", () => {
  it("has the fields and the order of the contract, byte for byte", () => {
    const cost = { amount: "0.054399", currency: "USD", source: "price_book", price_version: "v" } as const;
    expect(JSON.stringify(builder(() => cost).build(FACTS, ENDING, MEASURED, 0))).toBe(
      '{"specversion":"1.0","type":"llm.usage.v1","id":"0193f0a2-0000-7000-8000-000000000000","source":"/tallyman/d-1","subject":"acme",' +
        '"time":"2026-11-21T10:00:03.120Z","datacontenttype":"application/json","data":{"flow_id":"0193f0a2-0000-7000-8000-000000000000","sequence":0,' +
        '"org_id":"acme","user_id":null,"agent_id":"agent-7","thread_id":"t-1","caller_type":"agent","metadata":{"team":"red"},' +
        '"meter":"anthropic","api":"anthropic.messages","host":"api.anthropic.com","operation":"chat","streamed":true,' +
        '"request_model":"claude-sonnet-4-5","response_model":"claude-sonnet-4-5-20250929","response_id":"msg_1","request_id":"req_1",' +
        '"service_tier":"standard","status":200,"usage":{"input_tokens":3,"cache_write_5m_tokens":12304,"output_tokens":401,"output_reasoning_tokens":149},' +
        '"totals":{"input_tokens":12307,"output_tokens":550,"total_tokens":12857},"completeness":"complete","usage_source":"provider","billable":true,' +
        '"cost":{"amount":"0.054399","currency":"USD","source":"price_book","price_version":"v"},' +
        '"started_at":"2026-11-21T10:00:00.010Z","latency_ms":3110.2,"time_to_first_byte_ms":412.7,"bytes_up":18211,"bytes_down":90311}}',
    );
  });

  it("drops zeros beside positive counts and keeps them where nothing was used", () => {
    expect(build(MEASURED).data.usage).not.toHaveProperty("cache_read_tokens");
    expect(build({ ...MEASURED, usage: { output_tokens: 0, input_tokens: 0 } }).data.usage).toEqual({ input_tokens: 0, output_tokens: 0 });
    expect(build({ ...MEASURED, usage: {} }).data).toMatchObject({ usage: {}, totals: { input_tokens: 0, output_tokens: 0, total_tokens: 0 } });
  });

  it("cleans what no count can be", () => {
    const { usage, totals } = (() => {
      const event = build({ ...MEASURED, usage: { input_tokens: 1.9, output_tokens: -5, cache_read_tokens: Number.NaN, output_audio_tokens: 2 ** 60, audio_seconds_in: 1.5 } });
      if (event.type !== "llm.usage.v1") throw new Error("no model event");
      return event.data;
    })();
    expect(usage).toEqual({ input_tokens: 1, output_audio_tokens: Number.MAX_SAFE_INTEGER, audio_seconds_in: 1.5 });
    expect(totals.input_tokens).toBe(1);
  });

  it("asks for the price of the canonical usage, and only of what was measured", () => {
    const asked: unknown[] = [];
    const events = builder((_facts, _reading, usage) => {
      asked.push(usage);
      return null;
    });
    for (const reading of [MEASURED, { kind: "free", reason: "error" }, { kind: "unmeasured", reason: "fault" }] as const) {
      expect(events.build(FACTS, ENDING, reading, 0).data.cost).toBeNull();
    }
    expect(asked).toEqual([{ input_tokens: 3, cache_write_5m_tokens: 12_304, output_tokens: 401, output_reasoning_tokens: 149 }]);
  });

  it("of a partial estimate says so", () => {
    expect(build({ ...MEASURED, completeness: "partial", source: "estimate" }).data).toMatchObject({ completeness: "partial", usage_source: "estimate" });
  });

  it("of a free flow is complete, without usage, and keeps what is known of the models", () => {
    const event = build({ kind: "free", reason: "error", requestModel: "m", responseId: "r" }, {}, { status: 429 });
    expect(event.data).toMatchObject({ completeness: "complete", usage_source: "none", usage: {}, totals: { total_tokens: 0 }, status: 429, request_model: "m", response_model: null, response_id: "r", streamed: false, service_tier: null, cost: null });
  });

  it("of an unmeasured flow is unknown", () => {
    expect(build({ kind: "unmeasured", reason: "meter_fault", requestModel: "m" }).data).toMatchObject({ completeness: "unknown", usage_source: "none", usage: {}, request_model: "m" });
  });

  it("without a response has no status and no first byte", () => {
    expect(build({ kind: "unmeasured", reason: "x" }, {}, { status: null, requestId: null, timeToFirstByteMs: null }).data).toMatchObject({ status: null, request_id: null, time_to_first_byte_ms: null });
  });

  it("never has a latency below zero", () => {
    expect(build(MEASURED, {}, { latencyMs: -3, timeToFirstByteMs: -0.04 }).data).toMatchObject({ latency_ms: 0, time_to_first_byte_ms: 0 });
  });
});

describe("a connector event", () => {
  it("has the connector's fields in place of the model's, byte for byte", () => {
    const event = build(CONNECTOR, { kind: "connector", meter: "x", api: "x.api", host: "api.x.com", operation: "read", attribution: NOBODY });
    expect(JSON.stringify(event)).toBe(
      '{"specversion":"1.0","type":"connector.usage.v1","id":"0193f0a2-0000-7000-8000-000000000000","source":"/tallyman/d-1","subject":"default",' +
        '"time":"2026-11-21T10:00:03.120Z","datacontenttype":"application/json","data":{"flow_id":"0193f0a2-0000-7000-8000-000000000000","sequence":0,' +
        '"org_id":null,"user_id":null,"agent_id":null,"thread_id":null,"caller_type":null,"metadata":{},"meter":"x","host":"api.x.com","route":"tweets.lookup",' +
        '"request_id":"req_1","status":200,"usage":{"posts.read":12,"users.read":3},"completeness":"complete","usage_source":"provider","billable":true,"cost":null,' +
        '"started_at":"2026-11-21T10:00:00.010Z","latency_ms":3110.2,"time_to_first_byte_ms":412.7,"bytes_up":18211,"bytes_down":90311}}',
    );
  });

  it("names the operation where no reading names a route", () => {
    const facts = { kind: "connector", operation: "posts.search" } as const;
    expect(build({ kind: "free", reason: "error" }, facts).data).toMatchObject({ route: "posts.search", usage: {}, completeness: "complete" });
    expect(build({ kind: "unmeasured", reason: "x", route: "tweets.lookup" }, facts).data).toMatchObject({ route: "tweets.lookup", completeness: "unknown" });
  });
});

describe("the envelope", () => {
  it.each([
    [{ orgId: "acme", agentId: "a" }, "acme"],
    [{ agentId: "a", userId: "u", threadId: "t" }, "a"],
    [{ userId: "u", threadId: "t" }, "default"],
  ])("of a flow of %j has the subject %s", (attribution, subject) => {
    expect(build(MEASURED, { attribution: { ...NOBODY, ...attribution } }).subject).toBe(subject);
  });

  it("has the flow's id, with a suffix from the second event on", () => {
    expect([0, 1, 2].map((sequence) => build(MEASURED, {}, {}, sequence)).map((event) => [event.id, event.data.flow_id, event.data.sequence])).toEqual([
      [FACTS.flowId, FACTS.flowId, 0],
      [`${FACTS.flowId}-1`, FACTS.flowId, 1],
      [`${FACTS.flowId}-2`, FACTS.flowId, 2],
    ]);
  });

  it("has times as Date writes them, for any moment", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 253_402_300_799_000, noNaN: true }), fc.integer({ min: 0, max: 5000 }), (startedAtMs, laterMs) => {
        const event = build(MEASURED, { startedAtMs }, { endedAtMs: startedAtMs + laterMs });
        expect(event.data.started_at).toBe(new Date(startedAtMs).toISOString());
        expect(event.time).toBe(new Date(startedAtMs + laterMs).toISOString());
      }),
    );
  });
});

describe("the event of a flow whose end nobody saw", () => {
  it("is unknown, ends when it starts, and has the id of the flow's first event", () => {
    const event = builder().buildUnknown(FACTS, 0);
    expect(event).toMatchObject({
      id: FACTS.flowId,
      time: "2026-11-21T10:00:00.010Z",
      data: { sequence: 0, completeness: "unknown", usage_source: "none", usage: {}, status: null, latency_ms: 0, time_to_first_byte_ms: null, bytes_up: 0, bytes_down: 0, org_id: "acme", cost: null },
    });
    expect(Object.keys(event.data)).toEqual(Object.keys(build(MEASURED).data));
  });
});

describe("isDelivered", () => {
  it("leaves out only what costs nothing", () => {
    expect([MEASURED, CONNECTOR, { kind: "unmeasured", reason: "x" } as const, { kind: "free", reason: "x" } as const].map(isDelivered)).toEqual([true, true, true, false]);
  });
});

describe("requestIdOf", () => {
  it("takes the most specific header, in any case, and bounds it", () => {
    expect(requestIdOf(["X-Request-Id", "general", "Request-Id", "specific"])).toBe("specific");
    expect(requestIdOf(["request-id", "", "x-request-id", "general"])).toBe("general");
    expect(requestIdOf(["x-amzn-RequestId", "aws"])).toBe("aws");
    expect(requestIdOf(["x-request-id", "i".repeat(500)])).toHaveLength(200);
    expect(requestIdOf(["content-type", "x"])).toBeNull();
  });
});
