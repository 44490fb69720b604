/** Connectors when answers are lost, cut off, or without end, through the program: what was attempted, what was seen, what a crash leaves. */

import { readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ProxyAgent, request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ConnectorUsageEvent } from "../../src/usage/event-types.ts";
import type { Program } from "../support/program.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const POST = '{"data":{"id":"1","text":"t"}}\r\n';

let stage: Stage;
let server: Server;
let settings: Record<string, string>;

beforeAll(async () => {
  stage = await openStage();
  const tls = await createSimulatedTls(["api.x.com", "slack.com"]);
  server = createServer(tls, (incoming, response) => {
    incoming.resume();
    incoming.on("end", () => {
      if (incoming.method === "POST") return void incoming.socket.destroy();
      response.writeHead(200, { "content-type": "application/json" });
      if (incoming.url === "/2/tweets/search/stream") return void response.write(POST.repeat(3000));
      response.write('{"data":[{"id":"1"},{"id":"2"},{"id":', () => setTimeout(() => incoming.socket.destroy(), 50));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await writeFile(join(stage.dir, "x-ca.pem"), tls.ca);
  settings = {
    TALLYMAN_UPSTREAM_CA_FILE: join(stage.dir, "x-ca.pem"),
    // Nothing listens behind the second.
    TALLYMAN_CONNECT_TO: `api.x.com:443:127.0.0.1:${port},slack.com:443:127.0.0.1:1`,
  };
});
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  await stage?.close();
});

async function agentOf(program: Program): Promise<ProxyAgent> {
  return new ProxyAgent({ uri: program.proxyUrl, requestTls: { ca: await readFile(program.caFile, "utf8") } });
}

function delivered(): readonly ConnectorUsageEvent["data"][] {
  const isConnectorEvent = (event: object): event is ConnectorUsageEvent => "type" in event && event.type === "connector.usage.v1";
  return stage.receiver.events().map((event: object) => event).filter(isConnectorEvent).map(({ data }) => data);
}

describe("a connector's answer", () => {
  it("that is lost after a write went up leaves an attempt, one that was cut off what was seen of it, one that was never asked for nothing", async () => {
    const program = await stage.start(settings);
    const dispatcher = await agentOf(program);
    const write = await request("https://api.x.com/2/tweets", { method: "POST", dispatcher, body: '{"text":"t"}' });
    expect(write.statusCode).toBe(502);
    await write.body.dump();
    const read = await request("https://api.x.com/2/tweets?ids=1,2,3,4", { dispatcher });
    await expect(read.body.text()).rejects.toThrow(/closed|terminated/);
    const unsent = await request("https://slack.com/api/chat.postMessage", { method: "POST", dispatcher, body: '{"text":"t"}' });
    expect(unsent.statusCode).toBe(502);
    await unsent.body.dump();
    await settled(program);
    await dispatcher.destroy();
    expect(delivered().map(({ meter, route, usage, completeness, usage_source, status }) => [meter, route, usage, completeness, usage_source, status])).toEqual([
      ["x", "tweets.create", { attempted: 1 }, "unknown", "none", 502],
      ["x", "tweets.lookup", { "posts.read": 4 }, "partial", "estimate", 200],
    ]);
    await program.stop();
  });

  it("that never ends is counted as it comes; a crash leaves an unknown event behind what was stored", async () => {
    const before = delivered().length;
    const program = await stage.start(settings);
    const dispatcher = await agentOf(program);
    const { body } = await request("https://api.x.com/2/tweets/search/stream", { dispatcher });
    let bytes = 0;
    body.on("data", (chunk: Buffer) => (bytes += chunk.length));
    body.on("error", () => undefined);
    await until(() => bytes === POST.length * 3000 && delivered().length > before, "all posts at the client, and events of them at the receiver");
    await program.kill9();
    await dispatcher.destroy();
    const next = await stage.start(settings);
    await until(() => delivered().at(-1)?.completeness === "unknown", "the event of the flow that the crash cut off");
    // At least once: what was under way to the receiver at the crash may come again.
    const bySequence = new Map(delivered().slice(before).map((data) => [data.sequence, data]));
    const events = [...bySequence.values()].toSorted((a, b) => a.sequence - b.sequence);
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, place) => place));
    expect(events.map(({ completeness }) => completeness)).toEqual([...events.slice(1).map(() => "complete"), "unknown"]);
    expect(new Set(events.map(({ flow_id: flowId }) => flowId)).size).toBe(1);
    const counted = events.reduce((sum, { usage }) => sum + (usage["posts.read"] ?? 0), 0);
    expect(counted).toBeGreaterThanOrEqual(500);
    expect(counted).toBeLessThanOrEqual(3000);
    await next.stop();
  });
});
