/**
 * `npm run soak -- [--minutes N] [--streams N] [--seed N]`: many parallel streams with random aborts on both sides, then
 * nothing; prints what the proxy's process holds before, during and after. Exit code 1 when something is left behind.
 */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";

import { seeded } from "../../test/support/seeded.ts";
import { runStream, type Outcome } from "./client.ts";
import type { Held } from "./proxy.ts";
import { startSoakUpstream } from "./upstream.ts";

const MEBIBYTE = 1_048_576;
/** JavaScript's heap and its buffers may be larger by this much when all is over than before. A leak shows here first. */
const HEAP_SLACK_BYTES = 16 * MEBIBYTE;
/** Memory may grow by this much between a third of the time and the end: what the allocator keeps goes up and down by 50 MiB. */
const RSS_SLACK_BYTES = 100 * MEBIBYTE;
/** Idle connections to upstreams close after 15 s, unused origins after a minute. */
const SETTLE_BOUND_MS = 180_000;
const LEAVING_SHARE = 0.3;
const BREAKING_SHARE = 0.2;

const { values } = parseArgs({ options: { minutes: { type: "string", default: "3" }, streams: { type: "string", default: "500" }, seed: { type: "string", default: "1" } } });
const minutes = Number(values.minutes);
const streams = Number(values.streams);
const random = seeded(Number(values.seed));

const folder = await mkdtemp(join(tmpdir(), "tallyman-soak-"));
const upstream = await startSoakUpstream(BREAKING_SHARE, random);
const upstreamCaFile = join(folder, "upstream.pem");
await writeFile(upstreamCaFile, upstream.caPem);
const child = fork(join(import.meta.dirname, "proxy.ts"), [String(upstream.port), folder, upstreamCaFile]);
const before = await nextMessage(child);
const caPem = await readFile(before.caFile, "utf8");
const proxyPort = Number(new URL(before.proxyUrl).port);

const outcomes: Record<Outcome, number> = { whole: 0, broken: 0, left: 0 };
const endsAt = Date.now() + minutes * 60_000;
console.log(`${streams} parallel streams for ${minutes} minutes, seed ${values.seed}, Node ${process.version}`);
show("before", before);

const workers = Array.from({ length: streams }, async (_, i) => {
  while (Date.now() < endsAt) {
    const leavesAfter = random() < LEAVING_SHARE ? 1 + Math.floor(random() * 30) : undefined;
    outcomes[await runStream({ proxyPort, caPem, version: i % 2 === 0 ? "1.1" : "2", leavesAfter })] += 1;
  }
});
await delay((minutes * 60_000) / 3);
const warm = await ask(child);
show("at a third", warm);
await Promise.all(workers);
const loaded = await ask(child);
show("at the end", loaded);

const settled = await settle();
show("settled", settled);
const total = outcomes.whole + outcomes.broken + outcomes.left;
console.log(`${total} streams: ${outcomes.whole} whole, ${outcomes.broken} broken off, ${outcomes.left} left by the client; the upstream broke ${upstream.brokenOff} off; ${settled.events} events`);

const faults = [
  ...leftOver(before, settled),
  ...(settled.flows + settled.buffered > 0 ? [`counters: flows ${settled.flows}, buffered ${settled.buffered}`] : []),
  ...(loaded.rssBytes > warm.rssBytes + RSS_SLACK_BYTES ? [`memory grew from ${mebibytes(warm.rssBytes)} to ${mebibytes(loaded.rssBytes)} MiB`] : []),
  ...(settled.heapBytes + settled.externalBytes > before.heapBytes + before.externalBytes + HEAP_SLACK_BYTES ? [`heap: ${mebibytes(settled.heapBytes + settled.externalBytes)} MiB, ${mebibytes(before.heapBytes + before.externalBytes)} before`] : []),
  ...settled.warnings,
  ...settled.errors,
];
for (const fault of faults) console.log(`LEFT: ${fault}`);
console.log(faults.length === 0 ? "nothing is left behind" : "something is left behind");
process.exitCode = faults.length === 0 && outcomes.whole > 0 ? 0 : 1;
child.disconnect();
await once(child, "exit");
upstream.close();
await rm(folder, { recursive: true, force: true });

/** Asks until nothing is left, or gives the last answer when the bound is reached. */
async function settle(): Promise<Held> {
  const bound = Date.now() + SETTLE_BOUND_MS;
  for (;;) {
    const held = await ask(child);
    if (leftOver(before, held).length === 0 || Date.now() > bound) return held;
    await delay(1000);
  }
}

/** What there is more of than before. */
function leftOver(first: Held, last: Held): string[] {
  const kinds = new Set([...Object.keys(first.resources), ...Object.keys(last.resources)]);
  const left = [...kinds].flatMap((kind) => {
    const [was, is] = [first.resources[kind] ?? 0, last.resources[kind] ?? 0];
    return is > was ? [`${kind}: ${is}, ${was} before`] : [];
  });
  return last.processListeners > first.processListeners ? [...left, `listeners of the process: ${last.processListeners}`] : left;
}

async function ask(proxy: ChildProcess): Promise<Held> {
  const answer = nextMessage(proxy);
  proxy.send("held");
  return await answer;
}

async function nextMessage(proxy: ChildProcess): Promise<Held> {
  const [message] = (await once(proxy, "message")) as [Held];
  return message;
}

function show(when: string, held: Held): void {
  const resources = Object.entries(held.resources).map(([kind, count]) => `${kind} ${count}`).join(", ");
  console.log(`${when.padEnd(10)}  RSS ${mebibytes(held.rssBytes)} MiB, heap ${mebibytes(held.heapBytes)} and ${mebibytes(held.externalBytes)} MiB outside, flows ${held.flows}, buffered ${held.buffered}, ${resources}`);
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / MEBIBYTE);
}
