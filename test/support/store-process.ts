/**
 * A process of its own that puts load on a store until it is killed. Started by tests as
 * `node store-process.ts DATADIR load|hold PREFIX`; writes a line for each thing that has happened, at once:
 * `ready`, `begun ID`, `resolved ID`. `hold` begins two flows, commits one more, and then waits for lines: an id is
 * committed; `:take`, `:read`, `:split` and `:delivered` work on a batch of the outbox.
 */

import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { openStore } from "../../src/store/client.ts";
import type { DurableStore } from "../../src/store/client.ts";
import { intent, record } from "../store/records.ts";

const CONCURRENCY = 16;

const [dataDir = "", mode = "load", prefix = "p"] = process.argv.slice(2);
const store = await openStore({ dataDir, durability: "strict", busyTimeoutMs: 10_000 });

/** Not through a stream: a line that was said is in the pipe, whatever happens next. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function runFlow(target: DurableStore, id: string): Promise<void> {
  target.begin(intent(id));
  say(`begun ${id}`);
  await sleep(Math.random() * 10);
  await target.commit(id, [record(id)]);
  say(`resolved ${id}`);
}

async function load(target: DurableStore): Promise<never> {
  let n = 0;
  const lane = async (): Promise<never> => {
    for (;;) await runFlow(target, `${prefix}-${n++}`);
  };
  return Promise.race(Array.from({ length: CONCURRENCY }, lane));
}

async function hold(target: DurableStore): Promise<void> {
  target.begin(intent(`${prefix}-open-1`));
  target.begin(intent(`${prefix}-open-2`));
  await runFlow(target, `${prefix}-done`);
  say("ready");
  let batchId = "";
  const outbox = target.outbox("webhook");
  const onBatch: Readonly<Record<string, () => Promise<unknown>>> = {
    ":take": async () => (batchId = (await outbox.take(10, 100_000))?.id ?? "none"),
    ":read": async () => ((await outbox.read(batchId)) === undefined ? "gone" : "there"),
    ":split": async () => (await outbox.split(batchId)).length,
    ":delivered": () => outbox.delivered(batchId),
  };
  process.stdin.on("data", (line: Buffer) => {
    const id = line.toString().trim();
    const work = onBatch[id];
    if (work !== undefined) {
      void work().then((result) => say(`${id} ${String(result)}`));
      return;
    }
    target.commit(id, [record(id, { data: { late: true } })]).then(
      () => say(`resolved ${id}`),
      (error: unknown) => say(`failed ${String(error)}`),
    );
  });
}

await (mode === "load" ? load(store) : hold(store));
