/** The counters are sampled at every turn of the loop while flows pass through all stages: they never say zero too early. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, it, onTestFinished } from "vitest";

import { createTallyman, type Handler } from "../../src/index.ts";
import { loadOrCreateAuthority } from "../../src/proxy/certificate-authority.ts";
import { startRawUpstream, tunnelClient } from "../support/raw-peers.ts";
import { startReceiver } from "../support/receiver.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const LANES = 8;
const CALLS = 25;

const METER: Handler = {
  id: "example",
  kind: "model",
  hosts: [HOST],
  open: () => ({
    api: "example.chat",
    operation: "chat",
    isBillable: true,
    reader: {
      response: () => undefined,
      push: () => undefined,
      end: () => [{ kind: "measured", completeness: "complete", source: "provider", usage: { input_tokens: 10 }, requestModel: "m", responseModel: null, responseId: null, serviceTier: null, streamed: false }],
    },
  }),
};

it("counters are zero only when every flow that reached the upstream has reached the receiver", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tallyman-hand-over-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const authority = await loadOrCreateAuthority(join(dir, "upstream"));
  let started = 0;
  const upstream = await startRawUpstream(await authority.issueLeaf(HOST, 3_600_000, Date.now()), ({ socket, received }) => {
    const requests = received.split("\r\n\r\n").length - 1;
    if (!received.endsWith("\r\n\r\n")) return;
    const isNew = requests > (seen.get(socket) ?? 0);
    seen.set(socket, requests);
    if (!isNew) return;
    started += 1;
    setTimeout(() => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), Math.random() * 5);
  });
  const seen = new Map<unknown, number>();
  onTestFinished(() => upstream.close());
  const receiver = await startReceiver({ answer: ({ attempt }) => (attempt === 0 && Math.random() < 0.1 ? "reset" : { status: 204, delayMs: Math.random() * 10 }) });
  onTestFinished(() => receiver.close());
  const pendingFile = join(dir, "pending.json");
  const tallyman = createTallyman({
    host: "127.0.0.1",
    port: 0,
    hasAdmin: false,
    caDir: join(dir, "ca"),
    dataDir: join(dir, "data"),
    upstreamCaFile: authority.certificatePath,
    connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: upstream.port }],
    meters: [METER],
    webhookUrl: receiver.url,
    webhookBatchMaxWaitMs: 5,
    webhookBatchMaxEvents: 5,
    pendingFile,
    logger: pino({ level: "silent" }),
  });
  onTestFinished(() => tallyman.stop(0));
  await tallyman.start();

  const early: unknown[] = [];
  let samples = 0;
  const isOver = (): boolean => receiver.events().length === LANES * CALLS;
  const sample = (): void => {
    samples += 1;
    const { flows, buffered, reports } = tallyman.counters();
    // The receiver counts an event before it answers; what is zero now was answered.
    if (flows + buffered + reports === 0 && started > receiver.events().length) early.push({ started, received: receiver.events().length });
    if (!isOver()) setImmediate(sample);
  };
  sample();
  const ca = await readFile(tallyman.caFile, "utf8");
  const lane = async (): Promise<void> => {
    const client = await tunnelClient(Number(new URL(tallyman.proxyUrl).port), `${HOST}:443`, { ca });
    onTestFinished(() => client.destroy());
    for (let call = 1; call <= CALLS; call++) {
      client.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
      await until(() => client.received.split("hello").length === call + 1, "the answer");
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await until(isOver, "every event at the receiver", 60_000);
  expect(early).toEqual([]);
  expect(started).toBe(LANES * CALLS);
  expect(samples).toBeGreaterThan(LANES * CALLS);
  await until(() => {
    const { flows, buffered, reports } = tallyman.counters();
    return flows + buffered + reports === 0;
  }, "the counters to come to zero");
  await until(() => readFileSync(pendingFile, "utf8").includes('"flows":0,"buffered":0,"reports":0'), "the pending file to follow");
});
