/** The real program on a database that is damaged: it starts, says where the old one is, and tells the receiver of the loss. */

import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";

import { apiClient, CALLS, type ApiClient } from "../support/api-client.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const open: { stage?: Stage; clients: ApiClient[] } = { clients: [] };
afterEach(async () => {
  await Promise.all(open.clients.splice(0).map((client) => client.close()));
  await open.stage?.close();
});

const DAMAGES: Readonly<Record<string, (path: string) => Promise<void>>> = {
  "cut off": (path) => truncate(path, 12_000),
  garbage: (path) => writeFile(path, "this is no database, ".repeat(500)),
};

it.each(Object.keys(DAMAGES))("starts on a database that is %s, names the file that it set aside, and delivers a record of the loss", async (damage) => {
  const stage = await openStage();
  open.stage = stage;
  const path = join(stage.dataDir, "tallyman.db");
  const first = await stage.start();
  expect(await first.stop()).toBe(0);
  await DAMAGES[damage]?.(path);
  const bytes = await readFile(path);
  const program = await stage.start();
  const aside = (await readdir(stage.dataDir)).find((name) => name.startsWith("tallyman.db.damaged-") && !/-(wal|shm)$/.test(name)) ?? "";
  expect(program.stderr).toContain(join(stage.dataDir, aside));
  expect((await readFile(join(stage.dataDir, aside))).subarray(100)).toEqual(bytes.subarray(100));
  const client = apiClient(program);
  open.clients.push(client);
  expect((await client.call(CALLS.chat)).status).toBe(200);
  const gaps = (): unknown[] => stage.receiver.events().filter(({ type }) => type === "usage.gap.v1").map(({ data }) => data);
  await until(() => gaps().length > 0, "the record at the receiver");
  await settled(program);
  expect(gaps()).toMatchObject([{ kind: "database_damaged", count: 1 }]);
  expect(stage.received()).toHaveLength(1);
  expect(await program.stop()).toBe(0);
});

it("starts where a file of another kind has the database's name", async () => {
  const stage = await openStage();
  open.stage = stage;
  await mkdir(stage.dataDir, { mode: 0o700 });
  await writeFile(join(stage.dataDir, "tallyman.db"), "somebody's notes");
  const program = await stage.start();
  expect(program.stderr).toContain("tallyman.db.damaged-");
  expect(await program.stop()).toBe(0);
});
