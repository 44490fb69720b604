import { spawn } from "node:child_process";
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { openStore } from "../../src/store/client.ts";
import type { DurableStore, StoreOptions } from "../../src/store/client.ts";
import { until } from "../support/until.ts";
import { openTestStore, record, temporaryFolder } from "./support.ts";

const PAGE_BYTES = 8192;
const HEAD_BYTES = 100;

/** A data directory whose database holds some pages of records. */
async function usedFolder(recordBytes = 2000): Promise<{ dataDir: string; deploymentId: string }> {
  const dataDir = temporaryFolder();
  const store = await openStore({ dataDir, durability: "strict" });
  for (let i = 0; i < 50; i++) await store.commit(`old-${i}`, [record(`old-${i}`, { data: { text: "x".repeat(recordBytes) } })]);
  await store.close();
  return { dataDir, deploymentId: store.deploymentId };
}

function database(dataDir: string): string {
  return join(dataDir, "tallyman.db");
}

function overwrite(path: string, position: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, position);
  closeSync(file);
}

function truncate(path: string, size: number): void {
  const file = openSync(path, "r+");
  ftruncateSync(file, size);
  closeSync(file);
}

function setAsideFiles(dataDir: string): string[] {
  return readdirSync(dataDir).filter((name) => /^tallyman\.db\.damaged-\d{8}T\d{6}Z(-\d+)?$/.test(name));
}

interface Logged {
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

async function openLogged(dataDir: string, options: Partial<StoreOptions> = {}): Promise<{ store: DurableStore; log: Logged[] }> {
  const log: Logged[] = [];
  const write = (fields: Record<string, unknown>, message: string): void => void log.push({ fields, message });
  const store = await openTestStore(dataDir, { logger: { info: write, warn: write, error: write }, ...options });
  return { store, log };
}

/** Works as new, tells the loss to the receiver, and says in the log where the old file is. */
async function expectFresh({ store, log }: { store: DurableStore; log: Logged[] }, dataDir: string, deploymentId: string): Promise<void> {
  const [name, ...more] = setAsideFiles(dataDir);
  expect(more).toEqual([]);
  expect(log.find(({ message }) => message.includes("set aside"))?.fields).toEqual({ path: join(dataDir, name ?? "") });
  expect(store.deploymentId).toBe(deploymentId);
  await store.commit("new", [record("new")]);
  await until(async () => (await store.counts()).gaps["database_damaged"] === 1, "the gap is counted");
  await until(async () => (await store.events({})).some(({ body }) => body.includes("usage.gap.v1")), "the gap is reported");
  const batch = await store.outbox("webhook").take(10, 100_000);
  expect(batch?.events.map(({ body }): unknown => JSON.parse(body))).toContainEqual(
    expect.objectContaining({ type: "usage.gap.v1", source: `/tallyman/${deploymentId}`, data: expect.objectContaining({ kind: "database_damaged", count: 1 }) }),
  );
}

describe("a database that is damaged at the start", () => {
  it.each([
    ["cut in the middle", (path: string) => truncate(path, Math.floor(statSync(path).size / 2))],
    ["cut within its first page", (path: string) => truncate(path, 100)],
    ["cut to nothing", (path: string) => truncate(path, 0)],
    ["overwritten at its head", (path: string) => overwrite(path, 0, Buffer.from("no database any more"))],
    ["overwritten in a page", (path: string) => overwrite(path, PAGE_BYTES * 3, Buffer.alloc(PAGE_BYTES, 0xa5))],
    ["another file", (path: string) => writeFileSync(path, "these are somebody's notes, long enough to have no SQLite header. ".repeat(200))],
  ])("and was %s is set aside, with a new one in its place", async (_how, damage) => {
    const { dataDir, deploymentId } = await usedFolder();
    damage(database(dataDir));
    const bytes = readFileSync(database(dataDir));
    await expectFresh(await openLogged(dataDir), dataDir, deploymentId);
    // As it was, save that SQLite may have counted in its head.
    expect(readFileSync(join(dataDir, setAsideFiles(dataDir)[0] ?? "")).subarray(HEAD_BYTES)).toEqual(bytes.subarray(HEAD_BYTES));
  });

  it("is set aside once by any number of processes that start at once", async () => {
    const { dataDir, deploymentId } = await usedFolder();
    truncate(database(dataDir), 20_000);
    const stores = await Promise.all(Array.from({ length: 4 }, () => openLogged(dataDir, { busyTimeoutMs: 10_000 })));
    expect(setAsideFiles(dataDir)).toHaveLength(1);
    expect(new Set(stores.map(({ store }) => store.deploymentId))).toEqual(new Set([deploymentId]));
    expect(stores.filter(({ log }) => log.some(({ message }) => message.includes("set aside")))).toHaveLength(1);
    await Promise.all(stores.map(({ store }, i) => store.commit(`f-${i}`, [record(`f-${i}`)])));
    expect((await stores[0]?.store.events({}))?.map(({ id }) => id).filter((id) => id.startsWith("f-")).toSorted()).toEqual(["f-0", "f-1", "f-2", "f-3"]);
  });

  it("is set aside although a process died while it did so", async () => {
    const { dataDir, deploymentId } = await usedFolder();
    truncate(database(dataDir), 20_000);
    writeFileSync(`${database(dataDir)}.set-aside`, "");
    const child = spawn("touch", ["-d", "2020-01-01", `${database(dataDir)}.set-aside`]);
    await new Promise((resolve) => child.once("close", resolve));
    await expectFresh(await openLogged(dataDir), dataDir, deploymentId);
  });
});

describe("a database that is damaged while it is used", () => {
  it("is set aside when that shows; what could not be written to it is in the new one", async () => {
    // More than SQLite keeps of it in memory: 4 MiB.
    const { dataDir, deploymentId } = await usedFolder(200_000);
    const opened = await openLogged(dataDir);
    const { store } = opened;
    await store.commit("before", [record("before")]);
    // Every page but the first, so that whatever is read or written next is hit.
    const size = statSync(database(dataDir)).size;
    overwrite(database(dataDir), PAGE_BYTES, Buffer.alloc(size - PAGE_BYTES, 0xa5));
    await until(async () => {
      await store.usage({}).catch(() => undefined);
      return setAsideFiles(dataDir).length === 1;
    }, "it is set aside");
    await store.commit("during", [record("during")]);
    await until(async () => (await store.events({}).catch(() => [])).some(({ id }) => id === "during"), "the record is in the new one");
    await expectFresh(opened, dataDir, deploymentId);
  });
});

describe("a database that is taken away from under a process", () => {
  it.each([
    ["set aside by another", (path: string) => renameSync(path, `${path}.gone`)],
    ["removed", (path: string) => rmSync(path)],
  ])("and %s is followed to the new file", async (_how, take) => {
    const { dataDir, deploymentId } = await usedFolder();
    const { store } = await openLogged(dataDir);
    await store.commit("before", [record("before")]);
    for (const suffix of ["-wal", "-shm"]) rmSync(database(dataDir) + suffix, { force: true });
    take(database(dataDir));
    await until(() => statSync(database(dataDir), { throwIfNoEntry: false }) !== undefined, "a new file is made");
    await until(async () => (await store.events({}).catch(() => undefined))?.length === 0, "it is in use");
    await store.commit("after", [record("after")]);
    expect((await store.events({})).map(({ id }) => id)).toEqual(["after"]);
    expect(store.deploymentId).toBe(deploymentId);
    const other = await openTestStore(dataDir);
    onTestFinished(() => other.close());
    expect(other.deploymentId).toBe(deploymentId);
  });
});

describe("an event that is not as it was stored", () => {
  it("goes to nobody: it is a dead letter for each sink, and a gap once", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict", sinks: ["webhook", "file"] });
    await first.commit("flows", ["a", "b", "c"].map((id) => record(id, { data: { thread_id: `thread-${id}` } })));
    await first.close();
    const bytes = readFileSync(database(dataDir));
    overwrite(database(dataDir), bytes.indexOf("thread-b"), Buffer.from("thread-x"));

    const store = await openTestStore(dataDir, { sinks: ["webhook", "file"] });
    for (const sink of ["webhook", "file"]) {
      const batch = await store.outbox(sink).take(10, 100_000);
      expect(batch?.events.map(({ id }) => id)).toEqual(["a", "c"]);
    }
    expect((await store.deadLetters({})).map(({ id, sink, reason }) => [id, sink, reason])).toEqual([
      ["b", "webhook", "damaged on disk"],
      ["b", "file", "damaged on disk"],
    ]);
    expect((await store.counts()).gaps["event_damaged"]).toBe(1);
  });

  it("holds up nothing behind it when a whole batch is damaged", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    await first.commit("flows", ["a", "b"].map((id) => record(id, { data: { thread_id: `thread-${id}` } })));
    await first.close();
    overwrite(database(dataDir), readFileSync(database(dataDir)).indexOf("thread-a"), Buffer.from("thread-x"));
    const store = await openTestStore(dataDir);
    const batch = await store.outbox("webhook").take(1, 100_000);
    expect(batch?.events.map(({ id }) => id)).toEqual(["b"]);
  });
});
