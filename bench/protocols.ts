/**
 * `node bench/protocols.ts [--requests N] [--rounds N]`: what the HTTP versions on the two sides of the proxy cost it. CPU of
 * the proxy's process for each request of 1 KB that is answered with 2 KB of JSON, 32 at a time on 4 connections; medians.
 */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent, request as requestHttp1 } from "node:http";
import { connect as connectHttp2, createSecureServer, type ClientHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { createSimulatedTls } from "../src/demo/simulated-tls.ts";
import { completionBody, JSON_BYTES } from "./payloads.ts";
import { openTunnel } from "./soak/client.ts";
import type { Held } from "./soak/proxy.ts";
import { median } from "./statistics.ts";

const HOST = "origin.example.com";
const CONNECTIONS = 4;
const STREAMS = 8;
const BODY = "x".repeat(1024);

type Send = () => Promise<void>;

const { values } = parseArgs({ options: { requests: { type: "string", default: "4000" }, rounds: { type: "string", default: "5" } } });
const tls = await createSimulatedTls([HOST]);
const folder = await mkdtemp(join(tmpdir(), "tallyman-protocols-"));
await writeFile(join(folder, "upstream.pem"), tls.ca);
const answer = completionBody(JSON_BYTES);
const results = new Map<string, number[]>();
const stages = [await openStage("1.1"), await openStage("2")];

for (let round = 0; round <= Number(values.rounds); round += 1) {
  for (const stage of stages) {
    for (const client of ["1.1", "2"] as const) {
      const senders = await openSenders(client, stage);
      const micros = await measure(stage.proxy, senders.sends, Number(values.requests));
      senders.close();
      const key = `client ${client.padEnd(3)}  origin ${stage.version}`;
      // The first round warms up.
      if (round > 0) results.set(key, [...(results.get(key) ?? []), micros]);
    }
  }
}
for (const [key, all] of results) console.log(`${key.padEnd(24)} ${Math.round(median(all))} µs of CPU a request`);
for (const stage of stages) stage.close();
await rm(folder, { recursive: true, force: true });

interface Stage {
  readonly version: "1.1" | "2";
  readonly proxy: ChildProcess;
  readonly proxyPort: number;
  readonly caPem: string;
  close(): void;
}

/** An origin that offers both versions, or HTTP/1.1 alone, and a proxy before it. */
async function openStage(version: "1.1" | "2"): Promise<Stage> {
  const server = createSecureServer({ key: tls.key, cert: tls.cert, allowHTTP1: true, ALPNProtocols: version === "2" ? ["h2", "http/1.1"] : ["http/1.1"] }, (request, response) => {
    request.resume().once("end", () => response.writeHead(200, { "content-type": "application/json", "content-length": answer.length }).end(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const proxy = fork(join(import.meta.dirname, "soak", "proxy.ts"), [String(port), join(folder, version), join(folder, "upstream.pem"), HOST]);
  const [held] = (await once(proxy, "message")) as [Held];
  return {
    version,
    proxy,
    proxyPort: Number(new URL(held.proxyUrl).port),
    caPem: await readFile(held.caFile, "utf8"),
    close() {
      proxy.disconnect();
      server.close();
    },
  };
}

async function openSenders(version: "1.1" | "2", stage: Stage): Promise<{ sends: Send[]; close(): void }> {
  const count = version === "2" ? CONNECTIONS : CONNECTIONS * STREAMS;
  const sockets = await Promise.all(Array.from({ length: count }, () => openTunnel({ ...stage, version, host: HOST })));
  const sends = sockets.flatMap((socket) => {
    if (version === "1.1") return [overHttp1(socket)];
    const session = connectHttp2(`https://${HOST}`, { createConnection: () => socket });
    session.on("error", () => undefined);
    return Array.from({ length: STREAMS }, () => overHttp2(session));
  });
  return { sends, close: () => sockets.forEach((socket) => socket.destroy()) };
}

function overHttp1(socket: Awaited<ReturnType<typeof openTunnel>>): Send {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  Reflect.set(agent, "createConnection", () => socket);
  return () =>
    new Promise((resolve, reject) => {
      const request = requestHttp1({ agent, method: "POST", path: "/v1/x", headers: { host: HOST, "content-length": BODY.length } }, (response) => {
        response.resume().once("close", resolve);
      });
      request.once("error", reject).end(BODY);
    });
}

function overHttp2(session: ClientHttp2Session): Send {
  return () =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ":method": "POST", ":path": "/v1/x", "content-length": BODY.length });
      stream.resume().once("close", resolve).once("error", reject).end(BODY);
    });
}

/** Microseconds of CPU that the proxy's process spent on each request. */
async function measure(proxy: ChildProcess, sends: readonly Send[], requests: number): Promise<number> {
  const before = await cpuOf(proxy);
  let left = requests;
  await Promise.all(
    sends.map(async (send) => {
      while (left > 0) {
        left -= 1;
        await send();
      }
    }),
  );
  return ((await cpuOf(proxy)) - before) / requests;
}

async function cpuOf(proxy: ChildProcess): Promise<number> {
  const message = once(proxy, "message");
  proxy.send("held");
  const [held] = (await message) as [Held];
  return held.cpuMicros;
}
