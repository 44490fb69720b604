import { describe, expect, it } from "vitest";

import type { FlowHead, FlowTap } from "../../src/flow/flow.ts";
import { createHostTable } from "../../src/flow/route.ts";
import type { FlowIntent, LedgerRecord } from "../../src/store/store.ts";
import { createCounters } from "../../src/usage/counters.ts";
import { createEventBuilder } from "../../src/usage/event.ts";
import type { ConnectorUsageEvent } from "../../src/usage/event-types.ts";
import type { Handler } from "../../src/usage/handler.ts";
import { createMeter } from "../../src/usage/meter.ts";
import { compileConnectors } from "../../src/usage/providers/connectors/interpreter/compile-connectors.ts";
import { toy } from "./providers/connectors/toy.ts";

const HEAD: FlowHead = {
  flowId: "0193f0a2-0000-7000-8000-000000000000",
  startedAtMs: 1_700_000_000_000,
  protocol: "http",
  scheme: "https",
  host: "api.toy.example",
  port: 443,
  method: "GET",
  target: "/v1/things/stream",
  headers: [],
  proxyUser: undefined,
  attributionHeaders: [],
};

const POST = Buffer.from('{"data":{"id":"1","text":"the words of a post"}}\r\n');

function setUp(handler: Handler = compileConnectors([toy])) {
  let now = 0;
  let interval: (() => void) | undefined;
  const intents: FlowIntent[] = [];
  const commits: (readonly LedgerRecord[])[] = [];
  const counters = createCounters({ pendingFile: undefined, onFileError: () => undefined, now: Date.now });
  const meter = createMeter({
    hosts: createHostTable([["api.toy.example", handler]]),
    attribute: () => ({ orgId: "acme", userId: null, agentId: null, threadId: null, callerType: null, metadata: {} }),
    isBillable: () => true,
    events: createEventBuilder({ deploymentId: "d", price: () => null }),
    counters,
    jobsFor: () => ({ start: () => undefined, finish: () => false, claim: () => false }),
    isEstimateAllowed: true,
    hasReceiver: true,
    isQueueFull: () => false,
    isStrict: true,
    commitWaitMs: 60_000,
    monotonicMs: () => now,
    logger: { warn: () => undefined, error: (...fault: unknown[]) => expect.fail(JSON.stringify(fault)), debug: () => undefined },
    onStored: () => undefined,
    onFlowStart: () => undefined,
    onFlowEnd: () => undefined,
    onCommitWait: () => undefined,
    schedule(work, ms) {
      expect(ms).toBe(10_000);
      interval = work;
      return () => void (interval = undefined);
    },
    store: {
      begin: (intent) => void intents.push(intent),
      commit: (_flowId, records) => Promise.resolve(void commits.push(records)),
      failure: undefined,
      recordGap: (kind) => expect.fail(kind),
    },
  });
  return {
    counters, intents, commits,
    open: (head: Partial<FlowHead> = {}): FlowTap => meter.open({ ...HEAD, ...head }) ?? expect.fail("not watched"),
    pass: (ms: number) => void (now += ms),
    tick: () => interval?.(),
    hasInterval: () => interval !== undefined,
    events: () => commits.flatMap((records) => records.map((record): ConnectorUsageEvent => JSON.parse(record.body))),
  };
}

function begin(tap: FlowTap): void {
  tap.requestEnd();
  tap.responseHead({ status: 200, statusText: "OK", headers: [] });
}

describe("a stream without end", () => {
  it("gives one event per interval in which something came, and one at its end", async () => {
    const all = setUp();
    const tap = all.open();
    begin(tap);
    tap.responseData(POST);
    all.pass(10_000);
    all.tick();
    all.pass(10_000);
    all.tick();
    tap.responseData(POST);
    tap.responseData(POST);
    all.pass(10_000);
    all.tick();
    tap.responseData(POST);
    all.pass(500);
    await tap.end({ kind: "client_aborted" });
    expect(all.events().map(({ data }) => [data.sequence, data.usage, data.completeness, data.bytes_down, data.latency_ms, data.flow_id])).toEqual([
      [0, { "things.read": 1 }, "complete", POST.length, 10_000, HEAD.flowId],
      [1, { "things.read": 2 }, "complete", 2 * POST.length, 20_000, HEAD.flowId],
      [2, { "things.read": 1 }, "partial", POST.length, 500, HEAD.flowId],
    ]);
    expect(new Set(all.events().map(({ id }) => id)).size).toBe(3);
    expect(all.events().map(({ data }) => data.started_at)).toEqual(["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:30.000Z", "2023-11-14T22:13:50.000Z"]);
    expect(all.hasInterval()).toBe(false);
    expect(all.counters.snapshot()).toMatchObject({ flows: 0, buffered: 0, reports: 3 });
  });

  it("gives an event early when 500 things have come, and loses none of many", async () => {
    const all = setUp();
    const tap = all.open();
    begin(tap);
    for (let i = 0; i < 3000; i++) tap.responseData(POST);
    expect(all.events().length).toBeGreaterThanOrEqual(4);
    for (const { data } of all.events()) expect(data.usage["things.read"]).toBeLessThan(1200);
    await tap.end({ kind: "complete" });
    expect(all.events().reduce((sum, { data }) => sum + (data.usage["things.read"] ?? 0), 0)).toBe(3000);
  });

  it("leaves behind it, at a crash, an unknown event after those that it gave", () => {
    const all = setUp();
    const tap = all.open();
    begin(tap);
    tap.responseData(POST);
    all.tick();
    const left: ConnectorUsageEvent = JSON.parse(all.intents.at(-1)?.unknownEvent ?? "");
    expect(left).toMatchObject({ type: "connector.usage.v1", data: { sequence: 1, completeness: "unknown", usage: {}, route: "things.stream" } });
    expect(left.id).not.toBe(all.events()[0]?.id);
  });

  it("gives no further event at its end when nothing came since the last one", async () => {
    const all = setUp();
    const tap = all.open();
    begin(tap);
    tap.responseData(POST);
    all.tick();
    await tap.end({ kind: "upstream_aborted" });
    expect(all.commits.map((records) => records.length)).toEqual([1, 0]);
    expect(all.counters.snapshot()).toMatchObject({ flows: 0, buffered: 0, reports: 1 });
  });

  it("that brought nothing leaves one free record", async () => {
    const all = setUp();
    const tap = all.open();
    begin(tap);
    all.tick();
    await tap.end({ kind: "client_aborted" });
    expect(all.commits.flat()).toMatchObject([{ delivery: "none" }]);
    expect(all.events()).toMatchObject([{ data: { usage: {}, completeness: "complete" } }]);
  });

  it("is the only response that is asked at intervals", () => {
    const all = setUp();
    begin(all.open({ target: "/v1/things" }));
    expect(all.hasInterval()).toBe(false);
  });
});

describe("a socket without turns", () => {
  it("gives one event per interval in which something came, and one at its end", async () => {
    const hook = { onFrame: (c: { emit(category: string, count: number): void }) => c.emit("frames.read", 1) };
    const all = setUp(compileConnectors([{ ...toy, hooks: { hook }, routes: [{ id: "socket", method: "GET", path: "/v1/socket", body: "frames", hook: "hook" }] }]));
    const tap = all.open({ protocol: "websocket", target: "/v1/socket" });
    tap.requestEnd();
    tap.responseHead({ status: 101, statusText: "", headers: [] });
    const frame = Buffer.from([0x81, 2, 0x68, 0x69]);
    void tap.responseData(frame);
    void tap.responseData(frame);
    all.tick();
    all.tick();
    void tap.responseData(frame);
    await tap.end({ kind: "client_aborted" });
    expect(all.events().map(({ data }) => [data.sequence, data.usage, data.completeness])).toEqual([
      [0, { "frames.read": 2 }, "complete"],
      [1, { "frames.read": 1 }, "complete"],
    ]);
    expect(all.hasInterval()).toBe(false);
  });
});

describe("a write whose answer was lost", () => {
  it("was attempted when it had gone up, and cost nothing when it had not", async () => {
    const all = setUp();
    const create = { method: "POST", target: "/v1/things" };
    const lost = all.open(create);
    lost.requestEnd();
    await lost.end({ kind: "refused", status: 502, code: "upstream_unreachable", isAnswerLost: true });
    const unsent = all.open({ ...create, flowId: "0193f0a2-0000-7000-8000-000000000001" });
    unsent.requestEnd();
    await unsent.end({ kind: "refused", status: 502, code: "upstream_unreachable" });
    expect(all.events().map(({ data }) => [data.usage, data.completeness, data.status])).toEqual([
      [{ attempted: 1 }, "unknown", 502],
      [{}, "complete", 502],
    ]);
    expect(all.commits.flat().map(({ delivery }) => delivery)).toEqual(["pending", "none"]);
  });
});
