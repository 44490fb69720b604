import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { hostname } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { openStore } from "../../src/store/client.ts";
import type { StoredRecord } from "../../src/store/store.ts";
import { until } from "../support/until.ts";
import { intent, openTestStore, record, temporaryFolder } from "./support.ts";

const CHILD = fileURLToPath(new URL("../support/store-process.ts", import.meta.url));

interface Child {
  readonly process: ChildProcessWithoutNullStreams;
  /** Everything it has said so far. */
  lines(): string[];
  kill(): Promise<void>;
}

function startChild(dataDir: string, mode: "load" | "hold", prefix: string): Child {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", CHILD, dataDir, mode, prefix]);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
  };
  onTestFinished(kill);
  // The last line may be cut off in the middle.
  return { process: child, lines: () => output.split("\n").slice(0, -1), kill };
}

function idsOf(lines: readonly string[], word: string): string[] {
  return lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
}

function completenessById(records: readonly StoredRecord[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { id, body } of records) {
    const completeness = /"completeness":"(\w+)"/.exec(body)?.[1] ?? "none";
    found.set(id, [...(found.get(id) ?? []), completeness]);
  }
  return found;
}

describe("kill -9 in the middle of load", () => {
  it("loses no commit that resolved, and turns each flow under way into one unknown record", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "load", "p");
    await until(() => idsOf(child.lines(), "resolved").length > 500, "the child has stored 500 flows");
    await child.kill();
    const lines = child.lines();
    const store = await openTestStore(dataDir);
    const records = completenessById(await store.events({ limit: 1_000_000 }));

    const resolved = new Set(idsOf(lines, "resolved"));
    for (const id of resolved) expect(records.get(id)).toEqual(["complete"]);
    const begun = idsOf(lines, "begun");
    const underWay = begun.filter((id) => !resolved.has(id));
    // What began before a flow that resolved was in a group before that one's; one that began later may be in none yet.
    const lastResolved = begun.findLastIndex((id) => resolved.has(id));
    const surelyStored = underWay.filter((id) => begun.indexOf(id) < lastResolved);
    expect(surelyStored.length).toBeGreaterThan(0);
    // Complete: ended in the last moment, stored, and not yet said.
    for (const id of surelyStored) expect([["unknown"], ["complete"]]).toContainEqual(records.get(id));
    for (const kinds of records.values()) expect(kinds).toHaveLength(1);
    expect(underWay.length).toBeLessThanOrEqual(16);
    const unknown = [...records.values()].filter((kind) => kind[0] === "unknown");
    expect(store.recovered).toBe(unknown.length);
    expect((await store.counts()).pending).toBe(records.size);
    await store.close();
    const again = await openTestStore(dataDir);
    expect(again.recovered).toBe(0);
  });
});

describe("two processes on one directory", () => {
  it("adopts what a killed one leaves once, while another lives", async () => {
    const dataDir = temporaryFolder();
    const survivors = [await openTestStore(dataDir), await openTestStore(dataDir)];
    let pendingTold = 0;
    for (const survivor of survivors) survivor.onPending(() => (pendingTold += 1));
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    expect(survivors.map((survivor) => survivor.recovered)).toEqual([0, 0]);
    await child.kill();

    const recovered = (): number => survivors.reduce((sum, survivor) => sum + survivor.recovered, 0);
    await until(() => recovered() > 0, "a survivor adopts");
    const late = await openTestStore(dataDir);
    expect(recovered() + late.recovered).toBe(2);
    expect(pendingTold).toBe(1);
    const records = completenessById(await late.events({}));
    expect([...records].toSorted()).toEqual([
      ["p-done", ["complete"]],
      ["p-open-1", ["unknown"]],
      ["p-open-2", ["unknown"]],
    ]);
    const pending = await Promise.all([...survivors, late].map(async (store) => (await store.counts()).pending));
    expect(pending.toSorted()).toEqual([0, 0, 3]);
  });

  it("leaves a living process its flows and events, and gives up its own at close", async () => {
    const dataDir = temporaryFolder();
    const first = await openStore({ dataDir, durability: "strict" });
    first.begin(intent("open"));
    await first.commit("done", [record("done")]);
    const batch = await first.outbox("webhook").take(10, 100_000);
    const second = await openTestStore(dataDir);
    expect(second.recovered).toBe(0);
    expect(await second.outbox("webhook").take(10, 100_000)).toBeUndefined();
    await first.close();
    await until(() => second.recovered === 1, "the second adopts");
    const adopted = [await second.outbox("webhook").take(10, 100_000), await second.outbox("webhook").take(10, 100_000)];
    // The frozen batch first, with the id and the bytes that it had.
    expect(adopted[0]).toEqual(batch);
    expect(adopted[1]?.events.map((event) => event.id)).toEqual(["open"]);
  });

  it("leaves pending events to those that deliver, but stores the lost flows", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    await child.kill();
    const ledgerOnly = await openTestStore(dataDir, { sinks: [] });
    expect(ledgerOnly.recovered).toBe(2);
    expect((await ledgerOnly.counts()).pending).toBe(0);
    const delivering = await openTestStore(dataDir);
    expect((await delivering.counts()).pending).toBe(3);
  });

  it("keeps one record of a flow that was adopted while its process stood still, the true one", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    child.process.kill("SIGSTOP");
    const store = await openTestStore(dataDir);
    expect(store.recovered).toBe(0);
    silence(dataDir, child.process.pid ?? 0, 31_000);
    await until(() => store.recovered === 2, "the silent process is taken for dead");
    // One of the two is on its way to the receiver: it stays as it is.
    const batch = await store.outbox("webhook").take(1, 100_000);
    expect(batch?.events.map((event) => event.id)).toEqual(["p-done"]);
    const second = await store.outbox("webhook").take(1, 100_000);
    expect(second?.events.map((event) => event.id)).toEqual(["p-open-1"]);

    child.process.kill("SIGCONT");
    for (const id of ["p-open-1", "p-open-2"]) {
      child.process.stdin.write(`${id}\n`);
      await until(() => child.lines().includes(`resolved ${id}`), "the child's commit resolves");
    }
    const records = completenessById(await store.events({}));
    expect(records.get("p-open-1")).toEqual(["unknown"]);
    expect(records.get("p-open-2")).toEqual(["complete"]);
  });

  it("leaves a batch to the process that adopted it when its first owner comes back, and settles it for whichever is told that it arrived", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    const ask = async (command: string): Promise<string> => {
      const before = child.lines().length;
      child.process.stdin.write(`${command}\n`);
      await until(() => child.lines().slice(before).some((line) => line.startsWith(command)), "the child's answer");
      return child.lines().slice(before).find((line) => line.startsWith(command))?.slice(command.length + 1) ?? "";
    };
    const batchId = await ask(":take");
    child.process.kill("SIGSTOP");
    const store = await openTestStore(dataDir);
    silence(dataDir, child.process.pid ?? 0, 31_000);
    await until(() => store.recovered === 2, "the silent process is taken for dead");
    const adopted = await store.outbox("webhook").take(10, 100_000);
    expect(adopted).toMatchObject({ id: batchId, events: [{ id: "p-done" }] });
    child.process.kill("SIGCONT");
    // A process reads a batch anew before it tries it again: it is told that this one is not its own any more.
    expect(await ask(":read")).toBe("gone");
    expect(await ask(":split")).toBe("0");
    // A post that was under way while it stood still has arrived all the same.
    expect(await ask(":delivered")).toBe("1");
    expect((await store.events({})).find(({ id }) => id === "p-done")?.delivery).toBe("delivered");
    expect(await store.outbox("webhook").delivered(batchId)).toBe(0);
    expect(await store.outbox("webhook").read(batchId)).toBeUndefined();
  });

  it("robs no living process, however old its heartbeat looks: clocks jump", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    const store = await openTestStore(dataDir);
    const beats = new Set<unknown>();
    await until(() => {
      const db = new DatabaseSync(join(dataDir, "tallyman.db"), { timeout: 5000 });
      beats.add(db.prepare("SELECT heartbeat_ms FROM owners WHERE pid = ?").get(child.process.pid ?? 0)?.["heartbeat_ms"]);
      // As if its clock were a day behind, on another host.
      db.prepare("UPDATE owners SET heartbeat_ms = heartbeat_ms - 86400000, host = 'elsewhere' WHERE pid = ? AND heartbeat_ms > ?").run(child.process.pid ?? 0, Date.now() - 3_600_000);
      db.close();
      return beats.size > 12;
    }, "it has beaten some times");
    expect(store.recovered).toBe(0);
    child.process.stdin.write("p-open-1\n");
    await until(() => child.lines().includes("resolved p-open-1"), "the child's commit resolves");
    expect(completenessById(await store.events({})).get("p-open-1")).toEqual(["complete"]);
  });

  it("takes a process for dead whose pid belongs to another one now", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    await child.kill();
    const other = startChild(temporaryFolder(), "hold", "other");
    await until(() => other.lines().includes("ready"), "the other process runs");
    edit(dataDir, "UPDATE owners SET pid = ?", other.process.pid ?? 0);
    expect((await openTestStore(dataDir)).recovered).toBe(2);
  });

  it("waits for the heartbeat of a process on another host", async () => {
    const dataDir = temporaryFolder();
    const child = startChild(dataDir, "hold", "p");
    await until(() => child.lines().includes("ready"), "the child is ready");
    await child.kill();
    edit(dataDir, "UPDATE owners SET host = ?", `not-${hostname()}`);
    const store = await openTestStore(dataDir);
    expect(store.recovered).toBe(0);
    edit(dataDir, "UPDATE owners SET heartbeat_ms = heartbeat_ms - ? WHERE host LIKE 'not-%'", 31_000);
    await until(() => store.recovered === 2, "the silent process is taken for dead");
  });
});

function silence(dataDir: string, pid: number, ms: number): void {
  edit(dataDir, `UPDATE owners SET heartbeat_ms = heartbeat_ms - ? WHERE pid = ${pid}`, ms);
}

function edit(dataDir: string, sql: string, value: string | number): void {
  const db = new DatabaseSync(join(dataDir, "tallyman.db"), { timeout: 5000 });
  expect(db.prepare(sql).run(value).changes).toBeGreaterThan(0);
  db.close();
}
