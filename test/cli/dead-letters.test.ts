import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/client.ts";
import { record } from "../store/records.ts";
import { type Outcome, runInProcess } from "./in-process.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallyman-dead-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function tallyman(...args: readonly string[]): Promise<Outcome> {
  return runInProcess(["dead-letters", ...args], { cwd: folder, env: { TALLYMAN_DATA_DIR: join(folder, "data") } });
}

async function refuse(...ids: readonly string[]): Promise<void> {
  const store = await openStore({ dataDir: join(folder, "data"), durability: "strict" });
  for (const id of ids) {
    await store.commit(id, [record(id)]);
    const batch = await store.outbox("webhook").take(1, 100_000);
    await store.outbox("webhook").refuse(batch?.id ?? "", "HTTP 422");
  }
  await store.close();
}

describe("tallyman dead-letters", () => {
  it("lists them as a table and as JSON lines, and says when there are none", async () => {
    expect(await tallyman("list")).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("no dead letters") });
    await refuse("a", "b");
    const table = await tallyman("list");
    expect(table.stdout.split("\n")).toHaveLength(4);
    expect(table.stdout).toMatch(/^EVENT +REFUSED +SINK +REASON\na +\d{4}-\S+Z +webhook +HTTP 422\n/);
    const lines = (await tallyman("list", "--json")).stdout.trimEnd().split("\n");
    expect(lines[0]).toContain(`"event":${record("a").body}}`);
    expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([{ id: "a", sink: "webhook", reason: "HTTP 422" }, { id: "b" }]);
  });

  it("shows the event, and names ids that are none", async () => {
    await refuse("a");
    expect(JSON.parse((await tallyman("show", "a")).stdout)).toMatchObject({ id: "a", reason: "HTTP 422", event: { id: "a" } });
    expect(await tallyman("show", "x")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("no dead letter has the id x") });
  });

  it("replays those named, all or nothing", async () => {
    await refuse("a", "b");
    expect(await tallyman("replay", "a", "x")).toMatchObject({ code: 1, stderr: expect.stringContaining("the id x; nothing was changed") });
    expect(await tallyman("replay", "a")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^1 event will be delivered again/) });
    expect((await tallyman("list")).stdout).not.toMatch(/^a /m);
    const store = await openStore({ dataDir: join(folder, "data"), durability: "strict" });
    expect((await store.outbox("webhook").take(10, 100_000))?.events.map(({ id }) => id)).toEqual(["a"]);
    await store.close();
  });

  it("replays and discards all", async () => {
    await refuse("a", "b", "c");
    expect((await tallyman("discard", "a")).stdout).toMatch(/^1 event given up/);
    expect((await tallyman("replay", "--all")).stdout).toMatch(/^2 events will be delivered again/);
    expect(await tallyman("replay", "--all")).toMatchObject({ code: 0, stdout: expect.stringContaining("no dead letters") });
    await refuse("d");
    expect((await tallyman("discard", "--all")).stdout).toMatch(/^1 event given up/);
  });

  it("wants to be told which", async () => {
    expect(await tallyman("replay")).toMatchObject({ code: 2, stderr: expect.stringContaining("--all") });
    expect(await tallyman("discard", "a", "--all")).toMatchObject({ code: 2, stderr: expect.stringContaining("not both") });
    expect(await tallyman("show")).toMatchObject({ code: 2 });
    expect(await tallyman("replya")).toMatchObject({ code: 2, stderr: expect.stringContaining("replay") });
    // Nothing is made where there is no ledger.
    expect(await tallyman("replay", "--all")).toMatchObject({ code: 0, stdout: expect.stringContaining("no dead letters") });
  });
});
