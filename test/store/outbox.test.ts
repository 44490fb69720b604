import { describe, expect, it } from "vitest";
import { openStore } from "../../src/store/client.ts";
import type { OutboxBatch } from "../../src/store/store.ts";
import { openTestStore, record, temporaryFolder } from "./support.ts";

function idsOf(batch: OutboxBatch | undefined): string[] | undefined {
  return batch?.events.map((event) => event.id);
}

describe("the outbox", () => {
  it("gives pending events once each, oldest first, and free ones never", async () => {
    const store = await openTestStore(temporaryFolder());
    await store.commit("f", ["a", "b", "c"].map((id) => record(id)));
    await store.commit("g", [record("free", { delivery: "none" }), record("d")]);
    const taken = [await store.outbox("webhook").take(2, 100_000), await store.outbox("webhook").take(2, 100_000), await store.outbox("webhook").take(2, 100_000)];
    expect(taken.map(idsOf)).toEqual([["a", "b"], ["c", "d"], undefined]);
    expect(taken[0]?.id).not.toBe(taken[1]?.id);
    expect((await store.counts()).pending).toBe(4);
  });

  it("keeps a batch within its bytes, as a JSON array in UTF-8, but for a single event that is larger", async () => {
    const store = await openTestStore(temporaryFolder());
    const body = JSON.stringify({ text: "é".repeat(100) });
    const bytes = Buffer.byteLength(body);
    await store.commit("f", ["a", "b", "c"].map((id) => ({ ...record(id), body })));
    const batch = await store.outbox("webhook").take(10, 2 * bytes + 3);
    expect(idsOf(batch)).toEqual(["a", "b"]);
    expect(Buffer.byteLength(`[${batch?.events.map((event) => event.body).join(",")}]`)).toBe(2 * bytes + 3);
    expect(idsOf(await store.outbox("webhook").take(10, 10))).toEqual(["c"]);
  });

  it("marks a batch delivered for good", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    await first.commit("f", [record("a"), record("b")]);
    const batch = await first.outbox("webhook").take(1, 100_000);
    await first.outbox("webhook").delivered(batch?.id ?? "");
    await first.outbox("webhook").delivered(batch?.id ?? "");
    await first.outbox("webhook").delivered("unheard of");
    expect((await first.events({})).map((each) => each.delivery)).toEqual(["delivered", "pending"]);
    await first.close();
    const second = await openTestStore(dataDir);
    expect(idsOf(await second.outbox("webhook").take(10, 100_000))).toEqual(["b"]);
    expect(await second.outbox("webhook").take(10, 100_000)).toBeUndefined();
  });

  it("gives a released batch again with the same id, events and bytes, also after a restart", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    await first.commit("f", [record("a"), record("b")]);
    const batch = await first.outbox("webhook").take(10, 100_000);
    await first.outbox("webhook").release(batch?.id ?? "");
    await first.commit("g", [record("c")]);
    expect(await first.outbox("webhook").take(1, 1)).toEqual(batch);
    await first.close();
    const second = await openTestStore(dataDir);
    expect((await second.counts()).pending).toBe(3);
    expect(await second.outbox("webhook").take(1, 1)).toEqual(batch);
    expect(idsOf(await second.outbox("webhook").take(10, 100_000))).toEqual(["c"]);
  });
});
