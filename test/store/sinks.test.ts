import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openStore } from "../../src/store/client.ts";
import type { OutboxBatch } from "../../src/store/store.ts";
import { openTestStore, record, temporaryFolder } from "./support.ts";

const LIMIT = 100_000;

function idsOf(batch: OutboxBatch | undefined): string[] | undefined {
  return batch?.events.map((event) => event.id);
}

describe("several sinks", () => {
  it("each have their own position and their own batches, and an event is delivered when all have it", async () => {
    const store = await openTestStore(temporaryFolder(), { sinks: ["webhook", "file"] });
    const [webhook, file] = [store.outbox("webhook"), store.outbox("file")];
    await store.commit("f", ["a", "b", "c"].map((id) => record(id)));
    const first = await webhook.take(2, LIMIT);
    const whole = await file.take(10, LIMIT);
    expect([idsOf(first), idsOf(whole)]).toEqual([["a", "b"], ["a", "b", "c"]]);
    expect(await webhook.delivered(first?.id ?? "")).toBe(0);
    expect([await webhook.pending(), await file.pending(), await store.pending()]).toEqual([1, 3, 3]);
    expect(await file.delivered(whole?.id ?? "")).toBe(2);
    expect((await store.events({})).map((each) => each.delivery)).toEqual(["delivered", "delivered", "pending"]);
    expect([await webhook.pending(), await file.pending(), await store.pending()]).toEqual([1, 0, 1]);
  });

  it("keep their positions over a restart; a new one begins with what is stored from then on", async () => {
    const dataDir = temporaryFolder();
    const before = await openStore({ dataDir, durability: "strict", sinks: ["webhook"] });
    await before.commit("f", [record("a"), record("b")]);
    const batch = await before.outbox("webhook").take(1, LIMIT);
    await before.close();
    const after = await openTestStore(dataDir, { sinks: ["file", "webhook"] });
    await after.commit("g", [record("c")]);
    expect(await after.outbox("webhook").take(10, LIMIT)).toEqual(batch);
    expect(idsOf(await after.outbox("webhook").take(10, LIMIT))).toEqual(["b"]);
    expect(idsOf(await after.outbox("webhook").take(10, LIMIT))).toEqual(["c"]);
    expect(idsOf(await after.outbox("file").take(10, LIMIT))).toEqual(["c"]);
    expect(await after.pending()).toBe(3);
  });

  it("that are not of this process are refused", async () => {
    const store = await openTestStore(temporaryFolder());
    await expect(store.outbox("file").take(1, LIMIT)).rejects.toMatchObject({ code: "unknown_sink" });
  });
});

describe("a batch", () => {
  it("keeps the bytes that its sink made, whoever reads it later", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    await first.commit("f", [record("a")]);
    const batch = await first.outbox("webhook").take(10, LIMIT);
    await first.outbox("webhook").freeze(batch?.id ?? "", "made");
    await first.outbox("webhook").freeze(batch?.id ?? "", "made again, otherwise");
    await first.close();
    const second = await openTestStore(dataDir);
    expect(await second.outbox("webhook").take(10, LIMIT)).toEqual({ ...batch, requests: "made" });
  });

  it("is split into halves with ids of their own, in order, down to one event, which can be refused", async () => {
    const store = await openTestStore(temporaryFolder());
    const outbox = store.outbox("webhook");
    await store.commit("f", ["a", "b", "c"].map((id) => record(id)));
    const whole = await outbox.take(10, LIMIT);
    const [left, right, ...more] = await outbox.split(whole?.id ?? "");
    expect([idsOf(left), idsOf(right), more]).toEqual([["a", "b"], ["c"], []]);
    expect(new Set([whole?.id, left?.id, right?.id]).size).toBe(3);
    expect([left?.createdAtMs, right?.createdAtMs]).toEqual([whole?.createdAtMs, whole?.createdAtMs]);
    expect(await outbox.split(right?.id ?? "")).toEqual([]);
    expect(await outbox.take(10, LIMIT)).toBeUndefined();
    expect(await outbox.refuse(right?.id ?? "", "HTTP 422")).toBe(1);
    expect(await outbox.read(whole?.id ?? "")).toBeUndefined();
    expect(await outbox.read(left?.id ?? "")).toEqual(left);
    expect((await store.events({})).map((each) => each.delivery)).toEqual(["pending", "pending", "dead"]);
    expect(await store.pending()).toBe(2);
  });
});

/** A database as version 1 left it: one event delivered, one in a batch, one pending, one free, and a flow under way. */
const VERSION_1 = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE owners (id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL, process_start TEXT NOT NULL, host TEXT NOT NULL,
    pid_namespace TEXT NOT NULL, heartbeat_ms INTEGER NOT NULL, is_closed INTEGER NOT NULL DEFAULT 0, adopted_by INTEGER) STRICT;
  CREATE TABLE intents (flow_id TEXT PRIMARY KEY, owner INTEGER NOT NULL, started_at_ms INTEGER NOT NULL, delivery INTEGER NOT NULL,
    unknown_event TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time_ms INTEGER NOT NULL, delivery INTEGER NOT NULL,
    owner INTEGER NOT NULL, recovered INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL) STRICT;
  CREATE INDEX events_by_time ON events (time_ms);
  CREATE INDEX events_pending ON events (owner, position) WHERE delivery = 1;
  CREATE TABLE batches (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL, created_at_ms INTEGER NOT NULL,
    events INTEGER NOT NULL, positions TEXT NOT NULL) STRICT;
  CREATE TABLE gaps (kind TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE jobs (key TEXT PRIMARY KEY, started_at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('pruned', '0'), ('deployment_id', 'the-deployment');
  INSERT INTO owners VALUES (1, 1, '', 'gone', '', 0, 1, NULL);
  INSERT INTO intents VALUES ('flow', 1, 5, 1, '{"id":"flow"}');
  INSERT INTO events VALUES (1, 'a', 1, 3, 1, 0, '{}'), (2, 'b', 2, 2, 1, 0, '{}'), (3, 'c', 3, 1, 1, 0, '{}'), (4, 'd', 4, 0, 1, 0, '{}');
  INSERT INTO batches VALUES (1, 'msg_old', 1, 9, 1, '[2]');
  PRAGMA user_version = 1;
`;

describe("a database of version 1", () => {
  it("is brought up to date with its batches, pending events and flows", async () => {
    const dataDir = temporaryFolder();
    const db = new DatabaseSync(join(dataDir, "tallyman.db"));
    db.exec(VERSION_1);
    db.close();
    const store = await openTestStore(dataDir, { sinks: ["file", "webhook"] });
    expect(store.deploymentId).toBe("the-deployment");
    expect(store.recovered).toBe(1);
    expect((await store.events({ afterPosition: 0 })).map(({ id, delivery }) => [id, delivery])).toEqual([
      ["a", "delivered"],
      ["b", "pending"],
      ["c", "pending"],
      ["d", "none"],
      ["flow", "pending"],
    ]);
    const outbox = store.outbox("webhook");
    expect(await outbox.take(10, LIMIT)).toEqual({ id: "msg_old", createdAtMs: 9, events: [{ id: "b", body: "{}" }] });
    expect(idsOf(await outbox.take(10, LIMIT))).toEqual(["c", "flow"]);
    expect(await store.outbox("file").take(10, LIMIT)).toBeUndefined();
  });
});
