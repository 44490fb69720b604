/** Ledgers that were cut short or had bits turned over while no program ran: the next start works, and says what was lost. */

import { open, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { apiClient, CALLS } from "../support/api-client.ts";
import type { Program } from "../support/program.ts";
import { seeded } from "../support/seeded.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** SQLite's own, which it may write when it opens the file. */
const HEADER_BYTES = 100;

/** Nothing is taken, so that what is damaged holds usage that nobody has yet. */
let isAway = true;
let stage: Stage;
let database: string;
beforeEach(async () => {
  isAway = true;
  stage = await openStage(() => (isAway ? "reset" : { status: 204 }));
  database = join(stage.dataDir, "tallyman.db");
});
afterEach(() => stage?.close());

async function call(program: Program, thread: string): Promise<number> {
  const api = apiClient(program);
  const { status } = await api.call(CALLS.message, { thread });
  await api.close();
  return status;
}

/** A program that stores some events and ends without having delivered them. */
async function leaveEvents(): Promise<void> {
  const program = await stage.start({ TALLYMAN_DRAIN_TIMEOUT: "250ms" });
  for (let n = 0; n < 30; n++) await call(program, `before-${n}`);
  // A drain that may not wait writes SQLite's log back into the database.
  await program.stop();
}

async function overwrite(file: string, position: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, "r+");
  await handle.write(bytes, 0, bytes.length, position);
  await handle.close();
}

async function flipBits(file: string, from: number, count: number, seed: number): Promise<void> {
  const bytes = await readFile(file);
  const random = seeded(seed);
  for (let n = 0; n < count; n++) {
    const place = from + Math.floor(random() * (bytes.length - from));
    bytes[place] = (bytes[place] ?? 0) ^ (1 << Math.floor(random() * 8));
  }
  await writeFile(file, bytes);
}

/** Damage that SQLite sees when it opens the file, or when it is asked to look. */
const SEEN: readonly [string, (file: string) => Promise<void>][] = [
  ["is cut to half its pages", async (file) => truncate(file, Math.floor((await stat(file)).size / 2 / 4096) * 4096)],
  ["is cut inside its first page", (file) => truncate(file, 1000)],
  ["has another header", (file) => overwrite(file, 0, Buffer.from("not a database at all"))],
  ["is a text", (file) => writeFile(file, "usage, usage, usage\n".repeat(500))],
  ["has a page of zeros where its tables are described", (file) => overwrite(file, 100, Buffer.alloc(3996))],
];

describe("a damaged ledger", () => {
  it.each(SEEN)("that %s is set aside under a name that the log tells, and the loss is a delivered record", async (_, damage) => {
    await leaveEvents();
    await damage(database);
    const bytes = await readFile(database);
    isAway = false;
    const program = await stage.start();
    expect(await call(program, "after")).toBe(200);
    const thread = (event: Record<string, unknown>): unknown => (typeof event["data"] === "object" && event["data"] !== null && "thread_id" in event["data"] ? event["data"].thread_id : undefined);
    await until(() => stage.receiver.events().some((event) => thread(event) === "after"), "the event of a call after the damage");
    const aside = (await readdir(stage.dataDir)).find((name) => /^tallyman\.db\.damaged-\w+$/.test(name)) ?? "";
    expect(program.stderr).toContain(join(stage.dataDir, aside));
    expect((await readFile(join(stage.dataDir, aside))).subarray(HEADER_BYTES)).toEqual(bytes.subarray(HEADER_BYTES));
    const gaps = (): unknown[] => stage.receiver.events().filter(({ type }) => type === "usage.gap.v1").map(({ data }) => data);
    await until(() => gaps().length > 0, "the record of the gap");
    expect(gaps()).toMatchObject([{ kind: "database_damaged", count: 1 }]);
    expect(await program.stop()).toBe(0);
  });

  it("that is empty is begun anew", async () => {
    await leaveEvents();
    await truncate(database, 0);
    isAway = false;
    const program = await stage.start();
    expect(await call(program, "after")).toBe(200);
    await until(() => stage.receiver.events().length > 0, "an event");
    expect(await program.stop()).toBe(0);
  });

  it.each([2, 3, 5])("with bits turned over anywhere (seed %s) never holds traffic up, and new usage is delivered", async (seed) => {
    await leaveEvents();
    await flipBits(database, 100, 12, seed);
    isAway = false;
    const program = await stage.start();
    for (let n = 0; n < 5; n++) expect(await call(program, `after-${n}`)).toBe(200);
    // SQLite need not see a bit within a text; what it sees may come up at any time.
    await until(() => JSON.stringify(stage.receiver.events()).includes("after-4"), "the events of calls after the damage", 60_000);
    await program.stop();
  });

  it.each(["-wal", "-shm"])("whose %s file is nonsense after a kill starts, and new usage is delivered", async (suffix) => {
    const first = await stage.start();
    for (let n = 0; n < 10; n++) await call(first, `before-${n}`);
    await first.kill9();
    await writeFile(database + suffix, Buffer.alloc(50_000, 0x5a));
    isAway = false;
    const program = await stage.start();
    expect(await call(program, "after")).toBe(200);
    await until(() => JSON.stringify(stage.receiver.events()).includes('"after"'), "the event of a call after the damage", 60_000);
    await settled(program);
    expect(await program.stop()).toBe(0);
    await rm(database + suffix, { force: true });
  });
});
