import { describe, expect, it } from "vitest";

import { eventJson, eventLine } from "../../src/cli/event-line.ts";
import type { StoredRecord } from "../../src/store/store.ts";

function record(body: string, delivery: StoredRecord["delivery"] = "pending"): StoredRecord {
  return { position: 1, id: "e1", timeMs: Date.parse("2026-11-21T10:00:03.120Z"), delivery, body };
}

function cells(event: unknown, delivery?: StoredRecord["delivery"]): string[] {
  return eventLine(record(JSON.stringify(event), delivery)).split(/ {2,}/);
}

describe("eventLine", () => {
  it("tells of a model event", () => {
    const data = {
      meter: "anthropic", request_model: "claude-sonnet-4-5", response_model: "claude-sonnet-4-5-20250929", completeness: "complete",
      usage: { input_tokens: 3 }, totals: { input_tokens: 12_307, output_tokens: 550, total_tokens: 12_857 }, cost: { amount: "0.054399", currency: "USD" },
    };
    expect(cells({ type: "llm.usage.v1", data }, "delivered")).toEqual([
      "2026-11-21T10:00:03.120Z", "delivered", "anthropic", "claude-sonnet-4-5-20250929", "12,307 in, 550 out", "$0.054399", "complete",
    ]);
  });

  it("tells of a connector event", () => {
    const data = { meter: "x", route: "tweets.lookup", usage: { "posts.read": 12, "users.read": 3 }, cost: null, completeness: "partial" };
    expect(cells({ type: "connector.usage.v1", data })).toEqual([
      "2026-11-21T10:00:03.120Z", "pending", "x", "tweets.lookup", "posts.read=12 users.read=3", "-", "partial",
    ]);
  });

  it("has a line for events of any other kind", () => {
    expect(cells({ type: "budget.threshold.v1", data: { name: "daily" } }, "none")).toEqual(["2026-11-21T10:00:03.120Z", "none", "budget.threshold.v1", "-", "-", "-", "-"]);
    for (const event of [null, 7, [], { type: 3, data: 4 }, { data: { meter: 1, usage: { a: "b" }, cost: { amount: 2 }, totals: {} } }]) {
      expect(cells(event)).toHaveLength(7);
    }
    expect(eventLine(record("not JSON"))).toMatch(/pending +- +-/);
  });

  it("lets no name write on the terminal", () => {
    expect(cells({ type: "llm.usage.v1", data: { meter: "x", response_model: "a\u001b]0;b\u0007\nc" } })[3]).toBe("a�]0;b��c");
  });
});

describe("eventJson", () => {
  it("keeps the event byte for byte", () => {
    const body = '{"specversion":"1.0", "n":1.0,"data":{"a":"\\u00e9"}}';
    expect(eventJson(record(body, "dead"))).toBe(`{"event":${body},"delivery":"dead"}`);
  });
});
