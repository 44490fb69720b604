/** The real `nghttp` and `h2load` through the engine, over a tunnel that a forwarder opens for them (they know no proxies). */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { loadOrCreateAuthority } from "../../src/proxy/certificate-authority.ts";
import { startEngine, type Engine } from "../support/engine.ts";

const HOST = "api.example.com";
const isInstalled = spawnSync("h2load", ["--version"]).status === 0;
const BODY = "0123456789".repeat(2_000);

let dir: string;
let origin: Http2SecureServer;
let engine: Engine;
let forwarder: Server;
let url: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-tools-"));
  const originCa = await loadOrCreateAuthority(join(dir, "origin"));
  const leaf = await originCa.issueLeaf(HOST, 3_600_000, Date.now());
  origin = createSecureServer({ key: leaf.keyPem, cert: leaf.certificatePem, allowHTTP1: true });
  origin.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    if (headers[":path"] === "/hints") stream.additionalHeaders({ ":status": 103, link: "</style.css>; rel=preload" });
    stream.respond({ ":status": 200, "content-type": "text/plain" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42" }));
    stream.end(BODY);
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  const { port } = origin.address() as AddressInfo;
  engine = await startEngine(() => undefined, {
    connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: port }],
    extraCaPem: originCa.certificatePem,
  });
  forwarder = createServer((client) => forward(client, engine.proxy.port));
  forwarder.listen(0, "127.0.0.1");
  await once(forwarder, "listening");
  url = `https://127.0.0.1:${(forwarder.address() as AddressInfo).port}`;
});

afterAll(async () => {
  forwarder.close();
  await engine.close();
  origin.close();
  await rm(dir, { recursive: true, force: true });
});

function forward(client: Socket, proxyPort: number): void {
  const tunnel = connect(proxyPort, "127.0.0.1");
  client.on("error", () => tunnel.destroy());
  tunnel.on("error", () => client.destroy());
  tunnel.write(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`);
  tunnel.once("data", () => {
    client.pipe(tunnel);
    tunnel.pipe(client);
  });
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  await once(child, "close");
  return output;
}

describe.skipIf(!isInstalled)("the tools of nghttp2", () => {
  it("load the engine with many streams, and every one succeeds", async () => {
    const output = await run("h2load", ["-n", "600", "-c", "6", "-m", "50", "-H", `:authority: ${HOST}`, `${url}/x`]);
    expect(output).toContain("600 total, 600 started, 600 done, 600 succeeded, 0 failed, 0 errored, 0 timeout");
    expect(output).toContain("Application protocol: h2");
  });

  it("load the engine with small windows, and every stream succeeds", async () => {
    const output = await run("h2load", ["-n", "60", "-c", "2", "-m", "10", "-w", "10", "-W", "12", "-H", `:authority: ${HOST}`, `${url}/x`]);
    expect(output).toContain("60 total, 60 started, 60 done, 60 succeeded, 0 failed, 0 errored, 0 timeout");
  });

  it("see interim responses and trailers as the origin sent them", async () => {
    const output = await run("nghttp", ["-nv", "--no-verify-peer", "-H", `:authority: ${HOST}`, `${url}/hints`]);
    expect(output).toMatch(/:status.*103[\s\S]*link.*<\/style\.css>[\s\S]*:status.*200[\s\S]*x-sum.*42/);
  });

  it("post a body that arrives whole", async () => {
    const output = await run("h2load", ["-n", "40", "-c", "2", "-m", "4", "-d", import.meta.filename, "-H", `:authority: ${HOST}`, `${url}/x`]);
    expect(output).toContain("40 succeeded");
  });
});
