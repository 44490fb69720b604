import { describe, expect, it } from "vitest";
import type { UsageDimension } from "../../src/store/store.ts";
import { openTestStore, record, temporaryFolder } from "./support.ts";

const DAY = Date.parse("2026-11-21T00:00:00Z");
const HOUR_MS = 3_600_000;

/** Cost as an event states it. */
function usd(amount: string): { amount: string; currency: string } {
  return { amount, currency: "USD" };
}

async function storeWithUsage(): Promise<Awaited<ReturnType<typeof openTestStore>>> {
  const store = await openTestStore(temporaryFolder());
  const sonnet = { meter: "anthropic", request_model: "sonnet", response_model: "sonnet-1", agent_id: "a1", thread_id: "t1", org_id: "acme", user_id: null };
  await store.commit("flows", [
    record("1", {
      timeMs: DAY,
      data: { ...sonnet, usage: { input_tokens: 3, cache_read_tokens: 10 }, totals: { input_tokens: 13, output_tokens: 0, total_tokens: 13 }, cost: usd("0.1") },
    }),
    record("2", {
      timeMs: DAY + HOUR_MS,
      data: { ...sonnet, completeness: "partial", usage: { input_tokens: 4, output_tokens: 1 }, totals: { input_tokens: 4, output_tokens: 1, total_tokens: 5 }, cost: usd("0.2") },
    }),
    record("3", { timeMs: DAY + HOUR_MS, data: { ...sonnet, meter: "openai", request_model: "gpt", response_model: null, agent_id: null, usage: { output_tokens: 100 }, totals: { input_tokens: 0, output_tokens: 100, total_tokens: 100 } } }),
    record("4", { timeMs: DAY + 25 * HOUR_MS, type: "connector.usage.v1", data: { meter: "x", agent_id: "a1", usage: { "posts.read": 12 }, billable: false } }),
    record("5", { timeMs: DAY + 25 * HOUR_MS, data: { ...sonnet, completeness: "unknown" } }),
    record("6", { timeMs: DAY + 25 * HOUR_MS, delivery: "none", data: { ...sonnet, request_model: "only-free", response_model: null } }),
    record("7", { timeMs: DAY + 25 * HOUR_MS, type: "budget.threshold.v1" }),
    { ...record("8", { timeMs: DAY }), body: "no JSON" },
  ]);
  return store;
}

describe("usage", () => {
  it("adds categories, totals and money up exactly, and counts what is free not at all", async () => {
    const store = await storeWithUsage();
    expect(await store.usage({})).toEqual([
      {
        key: "total",
        requests: 5,
        usage: { input_tokens: 7, cache_read_tokens: 10, output_tokens: 101, "posts.read": 12 },
        input_tokens: 17,
        output_tokens: 101,
        total_tokens: 118,
        cost: "0.3",
        unpriced: 1,
        partial: 1,
        unknown: 1,
      },
    ]);
  });

  it.each<[UsageDimension, [string, number][]]>([
    ["model", [["gpt", 1], ["sonnet-1", 3]]],
    ["provider", [["openai", 1], ["anthropic", 3]]],
    ["connector", [["x", 1]]],
    ["agent", [["", 1], ["a1", 4]]],
    ["thread", [["t1", 4], ["", 1]]],
    ["org", [["acme", 4], ["", 1]]],
    ["user", [["", 5]]],
    ["day", [["2026-11-21", 3], ["2026-11-22", 2]]],
    ["hour", [["2026-11-21T00:00Z", 1], ["2026-11-21T01:00Z", 2], ["2026-11-22T01:00Z", 2]]],
  ])("groups by %s", async (by, expected) => {
    const store = await storeWithUsage();
    expect((await store.usage({ by })).map((row) => [row.key, row.requests])).toEqual(expected);
  });

  it("includes the start of the time range and not its end", async () => {
    const store = await storeWithUsage();
    const rows = await store.usage({ sinceMs: DAY, untilMs: DAY + HOUR_MS });
    expect(rows[0]?.requests).toBe(1);
    expect((await store.usage({ sinceMs: DAY + HOUR_MS }))[0]?.requests).toBe(4);
  });

  it("has one row of nothing in an empty ledger, and no rows by a dimension", async () => {
    const store = await openTestStore(temporaryFolder());
    expect(await store.usage({})).toMatchObject([{ key: "total", requests: 0, cost: null }]);
    expect(await store.usage({ by: "model" })).toEqual([]);
  });

  it("tells this process's flows from those of others", async () => {
    const dataDir = temporaryFolder();
    const before = await openTestStore(dataDir);
    await before.commit("a", [record("a", { data: { usage: { input_tokens: 1 } } })]);
    const own = await openTestStore(dataDir);
    await own.commit("b", [record("b", { data: { usage: { input_tokens: 10 } } })]);
    await before.commit("c", [record("c", { data: { usage: { input_tokens: 100 } } })]);
    expect((await own.usage({ ownOnly: true }))[0]?.usage).toEqual({ input_tokens: 10 });
    expect((await before.usage({ ownOnly: true }))[0]?.usage).toEqual({ input_tokens: 101 });
    expect((await own.usage({}))[0]?.usage).toEqual({ input_tokens: 111 });
  });
});

describe("events", () => {
  it("gives every record once over more steps than one, also where times are equal", async () => {
    const store = await openTestStore(temporaryFolder());
    const ids = Array.from({ length: 1500 }, (_, i) => `id-${i}`);
    await store.commit("many", ids.map((id, i) => record(id, { timeMs: DAY + Math.floor(i / 400), data: { usage: { input_tokens: 1 } } })));
    expect((await store.events({ limit: 2000 })).map((each) => each.id)).toEqual(ids);
    expect((await store.events({ afterPosition: 0, limit: 2000 })).map((each) => each.id)).toEqual(ids);
    expect((await store.usage({}))[0]?.requests).toBe(1500);
    expect((await store.counts()).records).toBe(1500);
  });

  it("gives the newest without a position and the next ones after it, newest last", async () => {
    const store = await openTestStore(temporaryFolder());
    await store.commit("some", ["a", "b", "c", "d"].map((id, i) => record(id, { timeMs: DAY + i })));
    const newest = await store.events({ limit: 2 });
    expect(newest.map((each) => each.id)).toEqual(["c", "d"]);
    const [first] = await store.events({ sinceMs: DAY + 1, untilMs: DAY + 3, limit: 5 });
    expect(first?.id).toBe("b");
    expect((await store.events({ afterPosition: first?.position ?? -1, limit: 1 })).map((each) => each.id)).toEqual(["c"]);
    expect(await store.events({ afterPosition: newest[1]?.position ?? -1 })).toEqual([]);
  });

  it("lets commits pass while a long query runs", async () => {
    const store = await openTestStore(temporaryFolder());
    const ids = Array.from({ length: 3000 }, (_, i) => `id-${i}`);
    await store.commit("many", ids.map((id) => record(id)));
    const order: string[] = [];
    const query = store.usage({}).then(() => order.push("query"));
    await store.commit("late", [record("late")]).then(() => order.push("commit"));
    await query;
    expect(order).toEqual(["commit", "query"]);
  });
});

describe("pruning", () => {
  it("removes delivered and free records that are old, never pending ones and never the newest", async () => {
    const store = await openTestStore(temporaryFolder());
    await store.commit("old", [
      record("delivered", { timeMs: DAY }),
      ...Array.from({ length: 700 }, (_, i) => record(`free-${i}`, { timeMs: DAY, delivery: "none" })),
    ]);
    const batch = await store.outbox("webhook").take(1, 100_000);
    await store.commit("rest", [record("pending", { timeMs: DAY }), record("young", { timeMs: DAY + 10, delivery: "none" }), record("newest", { timeMs: DAY, delivery: "none" })]);
    expect((await store.counts()).records).toBe(704);
    expect(await store.prune(DAY + 10)).toBe(700);
    await store.outbox("webhook").delivered(batch?.id ?? "");
    expect(await store.prune(DAY + 10)).toBe(1);
    expect((await store.events({})).map((each) => each.id)).toEqual(["pending", "young", "newest"]);
    expect((await store.counts()).records).toBe(3);
  });

  it("happens by itself under a retention", async () => {
    const dataDir = temporaryFolder();
    const first = await openTestStore(dataDir);
    await first.commit("old", [record("a", { timeMs: DAY, delivery: "none" }), record("b", { timeMs: DAY + 1000, delivery: "none" }), record("c", { timeMs: DAY, delivery: "none" })]);
    await first.close();
    const second = await openTestStore(dataDir, { retentionMs: 5000, clock: () => DAY + 5500 });
    await expect.poll(async () => (await second.events({})).map((each) => each.id), { timeout: 20_000 }).toEqual(["b", "c"]);
  });
});
