import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openStore } from "../../src/store/client.ts";
import type { DurableStore } from "../../src/store/client.ts";
import { until } from "../support/until.ts";
import { openTestStore, record, temporaryFolder } from "./support.ts";

interface GapEvent {
  readonly type: string;
  readonly id: string;
  readonly source: string;
  readonly data: { readonly kind: string; readonly count: number; readonly total: number; readonly since: string; readonly until: string };
}

async function gapEvents(store: DurableStore): Promise<GapEvent[]> {
  const bodies = (await store.events({})).map(({ body }): GapEvent => JSON.parse(body));
  return bodies.filter(({ type }) => type === "usage.gap.v1");
}

describe("a gap that is a loss", () => {
  it("becomes an event for the sinks, once, when it has stopped growing; the next one counts only what is new", async () => {
    const store = await openTestStore(temporaryFolder());
    const told: (number | undefined)[] = [];
    store.onPending((events) => told.push(events));
    store.recordGap("queue_full", 2);
    store.recordGap("queue_full", 1);
    await until(async () => (await gapEvents(store)).length === 1, "the first is reported");
    expect(told).toContain(undefined);
    store.recordGap("queue_full", 5);
    await until(async () => (await gapEvents(store)).length === 2, "the second is reported");
    const [first, second] = await gapEvents(store);
    expect(first).toMatchObject({ source: `/tallyman/${store.deploymentId}`, data: { kind: "queue_full", count: 3, total: 3 } });
    expect(second?.data).toMatchObject({ kind: "queue_full", count: 5, total: 8 });
    expect(Date.parse(first?.data.since ?? "")).toBeLessThanOrEqual(Date.parse(first?.data.until ?? ""));
    expect(Date.parse(second?.data.since ?? "")).toBeGreaterThanOrEqual(Date.parse(first?.data.since ?? ""));
    const batch = await store.outbox("webhook").take(10, 100_000);
    expect(batch?.events.map(({ id }) => id)).toEqual([first?.id, second?.id]);
    expect((await store.counts()).gaps).toEqual({ queue_full: 8 });
  });

  it("is reported at the latest at the end, and by a process that delivers", async () => {
    const dataDir = temporaryFolder();
    const ledgerOnly = await openStore({ dataDir, durability: "strict", sinks: [] });
    ledgerOnly.recordGap("memory_full", 4);
    await ledgerOnly.commit("f", []);
    await ledgerOnly.close();
    const delivering = await openStore({ dataDir, durability: "strict" });
    await delivering.close();
    const next = await openTestStore(dataDir);
    expect((await gapEvents(next)).map(({ data }) => data)).toMatchObject([{ kind: "memory_full", count: 4 }]);
    expect(await next.pending()).toBe(1);
  });

  it("is counted only where its usage is stored late", async () => {
    const dataDir = temporaryFolder();
    const store = await openStore({ dataDir, durability: "strict" });
    store.recordGap("commit_timeout", 1);
    await store.commit("f", []);
    await store.close();
    const next = await openTestStore(dataDir);
    expect((await next.counts()).gaps).toEqual({ commit_timeout: 1 });
    expect(await gapEvents(next)).toEqual([]);
  });
});

describe("retention", () => {
  it("never touches what is undelivered or can be replayed, and gives the room of the rest back", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir, { sinks: ["webhook", "file"] });
    const big = (id: string) => ({ ...record(id, { timeMs: 1000 }), body: JSON.stringify({ id, text: "x".repeat(60_000) }) });
    for (let i = 0; i < 400; i++) await store.commit(`old-${i}`, [{ ...big(`old-${i}`), delivery: "none" }]);
    await store.commit("f", ["delivered", "refused", "half", "pending"].map((id) => record(id, { timeMs: 1000 })));
    await store.commit("g", [record("newest")]);
    const [webhook, file] = [store.outbox("webhook"), store.outbox("file")];
    for (const sink of [webhook, file]) {
      for (const id of ["delivered", "refused", "half"]) {
        const batch = await sink.take(1, 1_000_000);
        if (id === "refused" && sink === webhook) await sink.refuse(batch?.id ?? "", "HTTP 422");
        else if (id !== "half" || sink === webhook) await sink.delivered(batch?.id ?? "");
      }
    }
    const path = join(dataDir, "tallyman.db");
    expect(await store.prune(2000)).toBe(401);
    expect((await store.events({})).map(({ id }) => id)).toEqual(["refused", "half", "pending", "newest"]);
    await store.close();
    // The spare of free pages is 8 MiB; 24 MB were stored.
    expect(statSync(path).size).toBeLessThan(10_000_000);
    const again = await openTestStore(dataDir, { sinks: ["webhook", "file"] });
    expect([await again.outbox("webhook").pending(), await again.outbox("file").pending()]).toEqual([2, 3]);
  });
});
