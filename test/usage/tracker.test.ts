import { describe, expect, it } from "vitest";
import type { EventCost, UsageEvent } from "../../src/usage/event-types.ts";
import { createTracker, NO_KEY, OTHER_KEY } from "../../src/usage/tracker.ts";
import type { TrackerOptions } from "../../src/usage/tracker.ts";
import { connectorEvent, modelEvent } from "../support/usage-event.ts";

const usd = (amount: string): EventCost => ({ amount, currency: "USD", source: "price_book", price_version: "1" });

function setUp(options: Partial<TrackerOptions> = {}) {
  const errors: string[] = [];
  const error = (fields: unknown) => {
    const err: unknown = typeof fields === "object" && fields !== null && "err" in fields ? fields.err : undefined;
    errors.push(err instanceof Error ? err.name : "no error");
  };
  const tracker = createTracker({ logger: { error }, ...options });
  return { tracker, errors };
}

describe("totals", () => {
  it("are empty at the start", () => {
    expect(setUp().tracker.totals()).toEqual({
      requests: 0,
      usage: {},
      input_tokens: 0,
      output_tokens: 0,
      total_tokens: 0,
      cost: "0",
      unpriced: 0,
      meanLatencyMs: null,
    });
  });

  it("add up categories, tokens, exact costs and latencies over models and connectors", () => {
    const { tracker } = setUp();
    for (let count = 0; count < 10; count += 1) tracker.record(modelEvent({ cost: usd("0.1"), latency_ms: 50 }));
    tracker.record(modelEvent({ cost: usd("0.000000000001"), latency_ms: 50, usage: { cache_read_tokens: 7 }, totals: { input_tokens: 7, output_tokens: 0, total_tokens: 7 } }));
    tracker.record(connectorEvent());
    expect(tracker.totals()).toEqual({
      requests: 12,
      usage: { input_tokens: 100, output_tokens: 50, cache_read_tokens: 7, "posts.read": 12 },
      input_tokens: 107,
      output_tokens: 50,
      total_tokens: 157,
      cost: "1.000000000001",
      unpriced: 1,
      meanLatencyMs: (11 * 50 + 100) / 12,
    });
  });

  it("call an event unpriced only when it is billable, has usage and no cost in USD", () => {
    const { tracker } = setUp();
    const nothing = { usage: {}, totals: { input_tokens: 0, output_tokens: 0, total_tokens: 0 } };
    tracker.record(modelEvent({ ...nothing }));
    tracker.record(modelEvent({ usage: { input_tokens: 0 } }));
    tracker.record(modelEvent({ billable: false }));
    expect(tracker.totals().unpriced).toBe(0);
    tracker.record(modelEvent());
    tracker.record(modelEvent({ cost: { amount: "3", currency: "EUR", source: "provider" } }));
    expect(tracker.totals()).toMatchObject({ unpriced: 2, cost: "0" });
  });
});

describe("totalsBy", () => {
  it("splits by each dimension", () => {
    const { tracker } = setUp();
    tracker.record(modelEvent({ agent_id: "a", org_id: "o", user_id: "u", thread_id: "t" }));
    tracker.record(modelEvent({ agent_id: "a", response_model: null }));
    tracker.record(modelEvent({ response_model: null, request_model: null }));
    tracker.record(connectorEvent());
    const requests = (dimension: Parameters<typeof tracker.totalsBy>[0]) => Object.fromEntries([...tracker.totalsBy(dimension)].map(([key, sum]) => [key, sum.requests]));
    expect(requests("agent")).toEqual({ a: 2, [NO_KEY]: 2 });
    expect(requests("model")).toEqual({ "gpt-5-2025-08-07": 1, "gpt-5": 1, [NO_KEY]: 1 });
    expect(requests("provider")).toEqual({ openai: 3, x: 1 });
    expect(requests("org")).toEqual({ o: 1, [NO_KEY]: 3 });
    expect(requests("user")).toEqual({ u: 1, [NO_KEY]: 3 });
    expect(requests("thread")).toEqual({ t: 1, [NO_KEY]: 3 });
  });

  it("adds keys beyond the bound up under one key and keeps counting the known ones", () => {
    const { tracker } = setUp({ maxKeys: 2 });
    for (const agent of ["a", "b", "c", "d", "a", "c"]) tracker.record(modelEvent({ agent_id: agent }));
    const requests = [...tracker.totalsBy("agent")].map(([key, sum]) => [key, sum.requests]);
    expect(requests).toEqual([["a", 2], ["b", 1], [OTHER_KEY, 3]]);
    expect(tracker.totals().requests).toBe(6);
  });

  it("takes names of object properties as ordinary keys", () => {
    const { tracker } = setUp();
    for (const agent of ["__proto__", "constructor", "__proto__"]) tracker.record(modelEvent({ agent_id: agent }));
    expect([...tracker.totalsBy("agent")].map(([key, sum]) => [key, sum.requests])).toEqual([["__proto__", 2], ["constructor", 1]]);
  });
});

describe("subscribers", () => {
  it("get each event frozen, after the totals hold it, until they unsubscribe", () => {
    const { tracker } = setUp();
    const seen: { event: UsageEvent; requests: number }[] = [];
    const subscriber = (event: UsageEvent) => seen.push({ event, requests: tracker.totals().requests });
    const stop = tracker.subscribe(subscriber);
    const event = modelEvent({ cost: usd("1") });
    tracker.record(event);
    stop();
    tracker.record(modelEvent());
    tracker.subscribe(subscriber);
    tracker.unsubscribe(subscriber);
    tracker.record(modelEvent());
    expect(seen).toEqual([{ event, requests: 1 }]);
    expect([event, event.data, event.data.usage, event.data.cost].every((part) => Object.isFrozen(part))).toBe(true);
  });

  it("are called once each when one is subscribed twice, and may unsubscribe while they are called", () => {
    const { tracker } = setUp();
    const calls: string[] = [];
    const once = () => {
      calls.push("once");
      tracker.unsubscribe(once);
    };
    tracker.subscribe(once);
    tracker.subscribe(once);
    tracker.subscribe(() => calls.push("always"));
    tracker.record(modelEvent());
    tracker.record(modelEvent());
    expect(calls).toEqual(["once", "always", "always"]);
  });

  it("that throw or reject are logged and change nothing for the others", async () => {
    const { tracker, errors } = setUp();
    let calls = 0;
    tracker.subscribe(() => {
      throw new Error("thrown");
    });
    tracker.subscribe(() => Promise.reject(new Error("rejected")));
    tracker.subscribe((event) => {
      calls += 1;
      // @ts-expect-error an event is read-only; at run time it is frozen
      event.data.agent_id = "changed";
    });
    tracker.subscribe(() => (calls += 1));
    tracker.record(modelEvent());
    await expect.poll(() => errors.length).toBe(3);
    expect(calls).toBe(2);
    expect(errors).toEqual(["Error", "TypeError", "Error"]);
    expect(tracker.totals().requests).toBe(1);
  });
});
