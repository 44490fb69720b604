/** A disk without room, for real: a small tmpfs that is filled up under the program. */

import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { apiClient, CALLS, type ApiClient } from "../support/api-client.ts";
import type { Program } from "../support/program.ts";
import { countersOf, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** SQLite's log alone grows to 4 MiB before it is written back. */
const DISK_BYTES = 16 * 1024 * 1024;
const CALLS_WHILE_FULL = 40;

let stage: Stage;
let disk: string;
beforeEach(async () => {
  stage = await openStage();
  disk = await mkdtemp(join(tmpdir(), "tallyman-disk-"));
  if (CAN_MOUNT) execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "tmpfs", disk]);
});
afterEach(async () => {
  await stage?.close();
  if (CAN_MOUNT) execFileSync("umount", ["--lazy", disk]);
  await rm(disk, { recursive: true, force: true });
});

/** Only root may mount; elsewhere these tests are shown as skipped. */
const CAN_MOUNT = process.getuid?.() === 0 && canMount();

function canMount(): boolean {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

interface Seen {
  readonly statuses: Set<number>;
  /** Threads of responses that ended with 200. */
  readonly ended: string[];
}

/** Calls one after the other; each must be answered. */
async function callMany(api: ApiClient, name: string, seen: Seen): Promise<void> {
  for (let n = 0; n < CALLS_WHILE_FULL; n++) {
    const thread = `${name}-${n}`;
    const { status } = await api.call(CALLS.message, { thread });
    seen.statuses.add(status);
    if (status === 200) seen.ended.push(thread);
  }
}

async function fill(): Promise<string> {
  const filler = join(disk, "filler");
  const { bavail, bsize } = await statfs(disk);
  await writeFile(filler, Buffer.alloc(bavail * bsize)).catch(() => undefined);
  return filler;
}

async function gapsOf(program: Program): Promise<number> {
  const { ledger } = await countersOf(program);
  return Object.values(ledger.gaps).reduce((sum, gap) => sum + gap, 0);
}

describe.skipIf(!CAN_MOUNT)("a data directory on a disk that is full", () => {
  it.each(["block", "drop_newest"])("answers every call, loses nothing unsaid, and goes on when there is room (%s)", async (queueFull) => {
    const dataDir = join(disk, "data");
    await mkdir(dataDir);
    const program = await stage.start({ TALLYMAN_DATA_DIR: dataDir, TALLYMAN_QUEUE_FULL: queueFull });
    const api = apiClient(program);
    const seen: Seen = { statuses: new Set(), ended: [] };
    await callMany(api, "before", seen);
    const filler = await fill();
    await callMany(api, "full", seen);
    await until(async () => JSON.stringify(await program.get("/readyz")).includes("disk"), "readyz to tell of the disk");
    await rm(filler);
    await until(async () => (await fetch(`${program.adminUrl}/readyz`)).status === 200, "the program to be ready again", 60_000);
    await callMany(api, "after", seen);
    await api.close();

    // 503 is the answer of `block` (queue_full); nothing else may come of a full disk.
    expect([...seen.statuses].filter((status) => status !== 200 && status !== 503)).toEqual([]);
    await settled(program);
    const delivered = new Set(stage.received().map(({ data }) => data.thread_id));
    const missing = seen.ended.filter((thread) => !delivered.has(thread));
    expect(missing.length).toBeLessThanOrEqual(await gapsOf(program));
    expect(missing.filter((thread) => !thread.startsWith("full"))).toEqual([]);
    expect(await program.stop()).toBe(0);
  }, 180_000);
});
