import { describe, expect, it } from "vitest";
import { openLedgerReader, openStore } from "../../src/store/client.ts";
import type { DurableStore } from "../../src/store/client.ts";
import { until } from "../support/until.ts";
import { openTestStore, record, temporaryFolder } from "./support.ts";

const LIMIT = 100_000;

/** Commits events and has each refused; gives the ids of their batches. */
async function refuseAll(store: DurableStore, ids: readonly string[], sink = "webhook"): Promise<Map<string, string>> {
  const batches = new Map<string, string>();
  for (const id of ids) {
    await store.commit(id, [record(id)]);
    const batch = await store.outbox(sink).take(1, LIMIT);
    batches.set(id, batch?.id ?? "");
    await store.outbox(sink).refuse(batch?.id ?? "", "HTTP 422");
  }
  return batches;
}

async function deadIds(store: Pick<DurableStore, "deadLetters">): Promise<string[]> {
  return (await store.deadLetters({})).map(({ id }) => id);
}

describe("dead letters", () => {
  it("are listed with their sink, their reason and their bytes, beside a running store too", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir);
    await refuseAll(store, ["a", "b"]);
    const reader = await openLedgerReader(dataDir);
    const expected = ["a", "b"].map((id) => ({ id, sink: "webhook", reason: "HTTP 422", refusedAtMs: expect.any(Number), body: record(id).body }));
    expect(await reader.deadLetters({})).toEqual(expected);
    expect(await store.deadLetters({ ids: ["b", "c"] })).toEqual(expected.slice(1));
    expect((await store.counts()).dead_letters).toBe(2);
    await reader.close();
  });

  it("are delivered again under the ids of their batches by the process that runs, once another has asked for it", async () => {
    const dataDir = temporaryFolder();
    const running = await openTestStore(dataDir);
    let changes = 0;
    running.onPending((events) => (changes += events === undefined ? 1 : 0));
    const batches = await refuseAll(running, ["a", "b"]);
    const asking = await openStore({ dataDir, durability: "strict", sinks: [] });
    expect(await asking.replayDeadLetters(["a"])).toBe(1);
    expect(await asking.replayDeadLetters(["a"])).toBe(0);
    await asking.close();
    await until(async () => (await running.pending()) === 1, "the running process adopts it");
    expect(changes).toBeGreaterThan(0);
    const batch = await running.outbox("webhook").take(10, LIMIT);
    expect(batch).toMatchObject({ id: batches.get("a"), events: [{ id: "a", body: record("a").body }] });
    expect(await running.outbox("webhook").take(10, LIMIT)).toBeUndefined();
    expect(await deadIds(running)).toEqual(["b"]);
    expect(await running.outbox("webhook").delivered(batch?.id ?? "")).toBe(1);
    expect((await running.events({})).map(({ id, delivery }) => [id, delivery])).toEqual([
      ["a", "delivered"],
      ["b", "dead"],
    ]);
  });

  it("wait for the next start where nobody delivers, and may be refused again", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    const batches = await refuseAll(first, ["a"]);
    await first.replayDeadLetters();
    expect(await first.pending()).toBe(1);
    await first.close();
    const second = await openTestStore(dataDir);
    const batch = await second.outbox("webhook").take(10, LIMIT);
    expect(batch?.id).toBe(batches.get("a"));
    await second.outbox("webhook").refuse(batch?.id ?? "", "HTTP 400");
    expect(await second.deadLetters({})).toMatchObject([{ id: "a", reason: "HTTP 400" }]);
  });

  it("are given up for good when they are discarded, and then pruned like others", async () => {
    const store = await openTestStore(temporaryFolder());
    await refuseAll(store, ["a", "b"]);
    await store.commit("last", [record("last")]);
    expect(await store.discardDeadLetters(["a"])).toBe(1);
    expect(await deadIds(store)).toEqual(["b"]);
    expect((await store.events({})).map(({ delivery }) => delivery)).toEqual(["dead", "dead", "pending"]);
    expect(await store.prune(Date.now())).toBe(1);
    expect((await store.events({})).map(({ id }) => id)).toEqual(["b", "last"]);
    expect(await store.discardDeadLetters()).toBe(1);
  });

  it("of one sink do not keep the event from another", async () => {
    const store = await openTestStore(temporaryFolder(), { sinks: ["webhook", "file"] });
    await refuseAll(store, ["a"]);
    const batch = await store.outbox("file").take(1, LIMIT);
    expect((await store.events({}))[0]?.delivery).toBe("pending");
    expect(await store.outbox("file").delivered(batch?.id ?? "")).toBe(1);
    expect((await store.events({}))[0]?.delivery).toBe("dead");
    await store.replayDeadLetters();
    expect([await store.outbox("webhook").pending(), await store.outbox("file").pending()]).toEqual([1, 0]);
  });
});
