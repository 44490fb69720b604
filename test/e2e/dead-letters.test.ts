/** A receiver that refuses an event for good, and the operator's answer, beside the running program. */

import { afterEach, expect, it } from "vitest";

import { apiClient, CALLS, type ApiClient } from "../support/api-client.ts";
import { runCommand } from "../support/program.ts";
import { ledgerOf, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const open: { stage?: Stage; clients: ApiClient[] } = { clients: [] };
afterEach(async () => {
  await Promise.all(open.clients.splice(0).map((client) => client.close()));
  await open.stage?.close();
});

it("an event that is refused stands alone as a dead letter, and is delivered under the same ids when it is replayed", async () => {
  let isStrict = true;
  const stage = await openStage((request) => ({ status: isStrict && request.body.includes('"thread_id":"bad"') ? 422 : 204 }));
  open.stage = stage;
  const program = await stage.start({ TALLYMAN_WEBHOOK_BATCH_MAX_WAIT: "300ms" });
  const client = apiClient(program);
  open.clients.push(client);
  await Promise.all(["good-1", "bad", "good-2"].map((thread) => client.call(CALLS.chat, { thread })));
  await settled(program);
  const ledger = await ledgerOf(program);
  expect(ledger.map(({ event, delivery }) => `${event.data.thread_id} ${delivery}`).toSorted()).toEqual(["bad dead", "good-1 delivered", "good-2 delivered"]);
  const bad = ledger.find(({ event }) => event.data.thread_id === "bad")?.event;
  expect(await program.get("/api/v1/dead-letters")).toMatchObject({ total: 1, dead_letters: [{ id: bad?.id, sink: "webhook", reason: "HTTP 422", event: { id: bad?.id } }] });
  expect(await program.get("/readyz")).toMatchObject({ ready: true });

  isStrict = false;
  const replay = await runCommand(["dead-letters", "replay", bad?.id ?? ""], { env: { TALLYMAN_DATA_DIR: stage.dataDir, TALLYMAN_CA_DIR: stage.caDir } });
  expect([replay.code, replay.stderr]).toEqual([0, ""]);
  await until(() => stage.received().some(({ id }) => id === bad?.id), "the event at the receiver");
  await settled(program);
  const alone = stage.receiver.requests.filter(({ body }) => body.startsWith(`[${JSON.stringify(bad)}]`));
  expect(alone.length).toBeGreaterThanOrEqual(2);
  expect(new Set(alone.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  expect(await program.get("/api/v1/dead-letters")).toEqual({ dead_letters: [], total: 0 });
  expect(stage.received()).toHaveLength(3);
  expect(await program.stop()).toBe(0);
});
