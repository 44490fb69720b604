import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Worker } from "node:worker_threads";
import { describe, expect, it, onTestFinished } from "vitest";
import { openLedgerReader, openStore } from "../../src/store/client.ts";
import { StoreError } from "../../src/store/store-error.ts";
import { until } from "../support/until.ts";
import { intent, openTestStore, record, temporaryFolder } from "./support.ts";

/** A second connection, as another program would have it. */
function connect(dataDir: string): DatabaseSync {
  return new DatabaseSync(join(dataDir, "tallyman.db"));
}

function connectAnd<T>(dataDir: string, ask: (db: DatabaseSync) => T): T {
  const db = connect(dataDir);
  try {
    return ask(db);
  } finally {
    db.close();
  }
}

function recordingLogger(): { lines: string[]; info: (fields: object, message: string) => void; warn: (fields: object, message: string) => void; error: (fields: object, message: string) => void } {
  const lines: string[] = [];
  const log = (_fields: object, message: string): void => void lines.push(message);
  return { lines, info: log, warn: log, error: log };
}

describe("opening", () => {
  it("makes a private directory and database, and keeps the deployment id", async () => {
    const dataDir = join(temporaryFolder(), "made", "data");
    const first = await openStore({ dataDir, durability: "strict" });
    const { deploymentId } = first;
    await first.close();
    const second = await openTestStore(dataDir);
    expect(deploymentId).toMatch(/^[0-9a-f-]{36}$/);
    expect(second.deploymentId).toBe(deploymentId);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir, "tallyman.db")).mode & 0o777).toBe(0o600);
    expect(statSync(join(dataDir, "tallyman.db-wal")).mode & 0o777).toBe(0o600);
  });

  it("gives every store that opens a new directory at once the same deployment id", async () => {
    const dataDir = temporaryFolder();
    const stores = await Promise.all(Array.from({ length: 5 }, () => openTestStore(dataDir, { busyTimeoutMs: 10_000 })));
    expect(new Set(stores.map((store) => store.deploymentId)).size).toBe(1);
  });

  it("names the directory that cannot be written", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "file"), "");
    await expect(openStore({ dataDir: join(folder, "file", "data"), durability: "strict" })).rejects.toMatchObject({
      code: "data_dir_unwritable",
      message: expect.stringContaining("TALLYMAN_DATA_DIR"),
    });
  });

  it("refuses the database of a newer version", async () => {
    const dataDir = temporaryFolder();
    await (await openStore({ dataDir, durability: "strict" })).close();
    const other = connect(dataDir);
    other.exec("PRAGMA user_version = 99");
    other.close();
    await expect(openStore({ dataDir, durability: "strict" })).rejects.toMatchObject({ code: "schema_too_new" });
  });
});

describe.each(["strict", "relaxed"] as const)("%s durability", (durability) => {
  it("stores the records of a flow byte for byte, and resolves when another connection sees them", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir, { durability });
    const odd = { ...record("a"), body: '{"text":"Grüße \\u0000 😀"}' };
    store.begin(intent("a"));
    await store.commit("a", [odd, record("a-1", { delivery: "none" })]);
    const other = connect(dataDir);
    expect(other.prepare("SELECT body FROM events WHERE id = 'a'").get()).toMatchObject({ body: odd.body });
    expect(other.prepare("SELECT count(*) AS n FROM intents").get()).toMatchObject({ n: 0 });
    other.close();
    expect((await store.events({})).map(({ id, delivery }) => [id, delivery])).toEqual([
      ["a", "pending"],
      ["a-1", "none"],
    ]);
  });

  it("ignores a second record with the same id", async () => {
    const store = await openTestStore(temporaryFolder(), { durability });
    await store.commit("a", [record("a", { data: { n: 1 } })]);
    await store.commit("a", [record("a", { data: { n: 2 } })]);
    const [only, ...more] = await store.events({});
    expect(more).toEqual([]);
    expect(only?.body).toContain('"n":1');
  });
});

describe("a group commit", () => {
  it("never writes the intent of a flow that ends at once", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir, { durability: "relaxed" });
    const other = connect(dataDir);
    other.exec("CREATE TABLE seen (n INTEGER); CREATE TRIGGER watch AFTER INSERT ON intents BEGIN INSERT INTO seen VALUES (1); END");
    store.begin(intent("short"));
    await Promise.resolve();
    store.begin(intent("long"));
    await store.commit("short", [record("short")]);
    await until(() => other.prepare("SELECT flow_id FROM intents").all().length > 0, "the intent of the flow that goes on");
    expect(other.prepare("SELECT flow_id FROM intents").all()).toEqual([{ flow_id: "long" }]);
    expect(other.prepare("SELECT count(*) AS n FROM seen").get()).toMatchObject({ n: 1 });
    other.close();
  });

  it("resolves a commit that has no records", async () => {
    const store = await openTestStore(temporaryFolder());
    store.begin(intent("a"));
    await store.commit("a", []);
    expect((await store.counts()).records).toBe(0);
  });

  it("tells how much became pending", async () => {
    const store = await openTestStore(temporaryFolder());
    const told: (number | undefined)[] = [];
    store.onPending((events) => told.push(events));
    await Promise.all([store.commit("a", [record("a")]), store.commit("b", [record("b", { delivery: "none" })])]);
    await store.commit("c", [record("c", { delivery: "none" })]);
    expect(told).toEqual([1]);
  });

  it("adds gaps up and keeps jobs over a restart", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    first.recordGap("commit_timeout", 2);
    first.recordGap("commit_timeout", 3);
    first.recordGap("queue_full", 1);
    first.saveJob("resp_1", 5);
    first.saveJob("resp_2", 6);
    first.removeJob("resp_1");
    await first.close();
    const second = await openTestStore(dataDir);
    second.recordGap("queue_full", 1);
    expect([...second.pendingJobs]).toEqual([["resp_2", 6]]);
    await second.commit("a", []);
    expect((await second.counts()).gaps).toEqual({ commit_timeout: 5, queue_full: 2 });
  });
});

describe("a store that cannot write", () => {
  it("keeps the records, says why, and stores them once when the lock is gone", async () => {
    const dataDir = temporaryFolder();
    const logger = recordingLogger();
    const store = await openTestStore(dataDir, { busyTimeoutMs: 50, logger });
    const other = connect(dataDir);
    other.exec("BEGIN IMMEDIATE");
    store.begin(intent("open"));
    const early = ["a", "b"].map((id) => store.commit(id, [record(id)]));
    await until(() => store.failure === "database_locked", "the store to say that it cannot write");
    const late = store.commit("c", [record("c")]);
    expect(store.unstored).toBe(3);
    other.exec("COMMIT");
    other.close();
    await Promise.all([...early, late]);
    expect(store.failure).toBeUndefined();
    await until(() => store.unstored === 0, "everything is stored");
    expect((await store.events({})).map((each) => each.id)).toEqual(["a", "b", "c"]);
    expect(logger.lines.filter((line) => line.includes("cannot write"))).toHaveLength(1);
    expect(logger.lines.filter((line) => line.includes("writes again"))).toHaveLength(1);
  });

  it("drops past its memory bound and leaves a durable gap that counts what was dropped", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir, { busyTimeoutMs: 50 });
    const other = connect(dataDir);
    other.exec("BEGIN IMMEDIATE");
    const ids = Array.from({ length: 10_003 }, (_, i) => `flow-${i}`);
    const outcomes = ids.map((id) => store.commit(id, [record(id)]).then(() => "stored", (error: unknown) => (error instanceof StoreError ? error.code : "other")));
    expect(store.unstored).toBe(10_000);
    other.exec("COMMIT");
    other.close();
    expect((await Promise.all(outcomes)).filter((code) => code === "memory_full")).toHaveLength(3);
    await until(() => store.unstored === 0, "everything is stored");
    await store.commit("last", []);
    expect(await store.counts()).toMatchObject({ records: 10_000, gaps: { memory_full: 3 } });
  });

  it("leaves callers unharmed while the disk is full, and goes on when there is room again", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir, { maxBytes: 200 * 1024, busyTimeoutMs: 5000 });
    let n = 0;
    while (store.failure === undefined) {
      const id = `flow-${n++}`;
      store.begin(intent(id));
      const stored = store.commit(id, [record(id)]);
      await Promise.race([stored, until(() => store.failure !== undefined, "the disk to be full")]);
    }
    expect(store.failure).toBe("disk_full");
    store.begin(intent("later"));
    store.recordGap("commit_timeout", 1);
    expect(store.unstored).toBe(1);
    expect(await store.events({ limit: 1 })).toHaveLength(1);

    const other = connect(dataDir);
    other.exec("PRAGMA busy_timeout = 5000; DELETE FROM events");
    other.close();
    await until(() => store.unstored === 0, "the record is stored");
    await store.commit("later", [record("later")]);
    expect((await store.events({})).map((each) => each.id)).toEqual([`flow-${n - 1}`, "later"]);
  });
});

describe("a worker that dies", () => {
  it("is started again under the same owner, and what it had not stored is stored", async () => {
    const started: Worker[] = [];
    const listen = (message: unknown): void => {
      if (typeof message === "object" && message !== null && "worker" in message && message.worker instanceof Worker) started.push(message.worker);
    };
    subscribe("worker_threads", listen);
    onTestFinished(() => void unsubscribe("worker_threads", listen));
    const dataDir = temporaryFolder();
    const logger = recordingLogger();
    const store = await openTestStore(dataDir, { logger });
    await store.commit("a", [record("a"), record("a-1")]);
    const batch = await store.outbox("webhook").take(1, 100_000);
    store.begin(intent("under way"));
    await until(() => connectAnd(dataDir, (db) => db.prepare("SELECT 1 FROM intents").get() !== undefined), "the intent is stored");

    const interrupted = store.commit("b", [record("b")]).then(() => "stored", () => "rejected");
    await started[0]?.terminate();
    await interrupted;
    await until(() => store.unstored === 0, "everything is stored");
    await store.commit("under way", [record("under way")]);
    expect(started).toHaveLength(2);
    expect((await store.events({})).map((each) => each.id)).toEqual(["a", "a-1", "b", "under way"]);
    expect(store.recovered).toBe(0);
    // The batch that was handed out before is still being worked on.
    expect((await store.outbox("webhook").take(1, 100_000))?.events.map((event) => event.id)).toEqual(["a-1"]);
    await store.outbox("webhook").delivered(batch?.id ?? "");
    expect((await store.counts()).pending).toBe(3);
    expect(logger.lines.filter((line) => line.includes("cannot write"))).toHaveLength(1);
  });
});

describe("a reader beside the store", () => {
  it("says that there is no ledger yet", async () => {
    const dataDir = temporaryFolder();
    await expect(openLedgerReader(dataDir)).rejects.toMatchObject({ code: "ledger_missing" });
    mkdirSync(join(dataDir, "sub"));
    await expect(openLedgerReader(join(dataDir, "sub"))).rejects.toMatchObject({ code: "ledger_missing" });
  });

  it("sees what the store commits while it is open, and owns nothing", async () => {
    const dataDir = temporaryFolder();
    const store = await openTestStore(dataDir);
    await store.commit("a", [record("a", { data: { usage: { input_tokens: 3 } } })]);
    const reader = await openLedgerReader(dataDir);
    const [first] = await reader.events({});
    await store.commit("b", [record("b")]);
    expect((await reader.events({ afterPosition: first?.position ?? -1 })).map((each) => each.id)).toEqual(["b"]);
    expect((await reader.usage({}))[0]).toMatchObject({ key: "total", requests: 2, usage: { input_tokens: 3 } });
    expect(await reader.counts()).toEqual({ pending: 2, records: 2, gaps: {}, dead_letters: 0 });
    expect(reader.deploymentId).toBe(store.deploymentId);
    await reader.close();
    const other = connect(dataDir);
    expect(other.prepare("SELECT count(*) AS n FROM owners").get()).toMatchObject({ n: 1 });
    other.close();
  });
});

describe("closing", () => {
  it("stores what was given before it, refuses what comes after, and may be called twice", async () => {
    const dataDir = temporaryFolder();
    const store = await openStore({ dataDir, durability: "relaxed" });
    const last = store.commit("a", [record("a")]);
    await Promise.all([store.close(), store.close()]);
    await last;
    await expect(store.commit("b", [record("b")])).rejects.toMatchObject({ code: "store_closed" });
    await expect(store.outbox("webhook").take(1, 1000)).rejects.toMatchObject({ code: "store_closed" });
    const reader = await openLedgerReader(dataDir);
    expect((await reader.events({})).map((each) => each.id)).toEqual(["a"]);
    await reader.close();
  });
});
