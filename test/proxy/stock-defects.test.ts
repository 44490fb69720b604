/**
 * What http-mitm-proxy does wrong by itself (ARCHITECTURE, "measured facts"; docs/decisions/0001), each shown not to
 * happen through our proxy, although it holds the listener.
 */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect, TLSSocket } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";

import { startEngine, type Engine, type EngineOptions } from "../support/engine.ts";
import type { EngineReady, EngineStatus } from "../support/engine-process.ts";
import { rawClient, tunnelClient, type RawClient, type UpstreamConnection } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function start(onData: (connection: UpstreamConnection) => void, options?: EngineOptions): Promise<Engine> {
  const engine = await startEngine(onData, options);
  undo.push(() => engine.close());
  return engine;
}

async function tls(engine: Engine): Promise<RawClient> {
  const client = await tunnelClient(engine.proxy.port, `${HOST}:443`, { ca: engine.ca.certificatePem });
  undo.push(() => client.destroy());
  return client;
}

function answering(answer: string): (connection: UpstreamConnection) => void {
  return (connection) => {
    if (connection.received.endsWith("\r\n\r\n")) connection.socket.write(answer, "latin1");
  };
}

interface EngineProcess extends EngineReady {
  readonly child: ChildProcess;
  status(): Promise<EngineStatus>;
  /** What it has printed. */
  output(): string;
}

async function startProcess(): Promise<EngineProcess> {
  const temp = await mkdtemp(join(tmpdir(), "tallyman-child-"));
  const child = fork(join(import.meta.dirname, "..", "support", "engine-process.ts"), [], {
    silent: true,
    execArgv: [],
    env: { ...process.env, TMPDIR: temp },
  });
  undo.push(async () => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    await rm(temp, { recursive: true, force: true });
  });
  let printed = "";
  child.stdout?.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const failed = once(child, "exit").then(() => Promise.reject(new Error(`the process ended: ${printed}`)));
  failed.catch(() => undefined);
  const [ready] = (await Promise.race([once(child, "message"), failed])) as [EngineReady];
  return {
    ...ready,
    child,
    async status() {
      const answer = Promise.race([once(child, "message"), failed]);
      child.send("status");
      const [status] = (await answer) as [EngineStatus];
      return status;
    },
    output: () => printed,
  };
}

async function get(proxy: EngineProcess, path: string): Promise<string> {
  const client = await tunnelClient(proxy.port, `${HOST}:443`, { ca: proxy.caPem });
  client.send(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  const text = await client.sees("ok");
  client.destroy();
  return text;
}

describe("the process", () => {
  it("lives through targets and Hosts that end the stock proxy, and prints nothing", async () => {
    const proxy = await startProcess();
    for (const name of ["constructor", "__proto__", "prototype", "hasOwnProperty", "toString"]) {
      const client = await tunnelClient(proxy.port, `${name}:443`);
      const inside = tlsConnect({ socket: client.socket, servername: name.replaceAll("_", "a"), rejectUnauthorized: false });
      await Promise.race([once(inside, "secureConnect"), once(inside, "error"), once(inside, "close")]);
      client.destroy();
    }
    const heads = [
      "GET / HTTP/1.1\r\nHost: x:99999\r\n\r\n",
      "GET http://x:99999/ HTTP/1.1\r\nHost: x:99999\r\n\r\n",
      "GET http://constructor/ HTTP/1.1\r\nHost: constructor\r\n\r\n",
      "GET http://__proto__/ HTTP/1.1\r\nHost: __proto__\r\n\r\n",
      "CONNECT x:99999 HTTP/1.1\r\nHost: x:99999\r\n\r\n",
      "CONNECT http://x HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET / HTTP/1.0\r\n\r\n",
      "\u0000\u0000\u0000\r\n\r\n",
    ];
    for (const head of heads) {
      const client = await rawClient(proxy.port);
      client.send(head);
      await client.sees("HTTP/1.1 ");
      client.destroy();
    }
    for (const leave of [(socket: Socket) => socket.resetAndDestroy(), (socket: Socket) => socket.destroy()]) {
      const client = await tunnelClient(proxy.port, `${HOST}:443`);
      leave(client.socket);
      const plain = await rawClient(proxy.port);
      plain.send(`GET http://${HOST}/endless HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
      leave(plain.socket);
    }
    expect(await get(proxy, "/")).toContain("200 OK");
    await until(async () => (await proxy.status()).connections === 0, "every connection to end");
    expect(proxy.child.exitCode).toBeNull();
    expect(proxy.output()).toBe("");
  });

  it("listens on one port, however many hosts are asked for, and leaves no CA folder behind", async () => {
    const proxy = await startProcess();
    const before = await proxy.status();
    for (let count = 0; count < 30; count += 1) {
      const client = await tunnelClient(proxy.port, `host-${count}.example.com:443`, { ca: proxy.caPem });
      client.destroy();
    }
    const after = await proxy.status();
    // The proxy's, and that of the upstream in the same process.
    expect(before.listeners).toBe(2);
    expect(after.listeners).toBe(2);
    expect(after.leftFolders).toBe(0);
  });

  it("keeps nothing of 300 clients that leave at every stage", async () => {
    const proxy = await startProcess();
    await leaveAtEveryStage(proxy, 300);
    await until(async () => {
      const { connections, downstreamSockets, streams, unendedFlows } = await proxy.status();
      return connections + downstreamSockets + streams + unendedFlows === 0;
    }, "every connection and stream to end");
    // The few that the pool keeps for the next request may stay.
    await until(async () => (await proxy.status()).upstreamSockets <= LANES, "the upstream connections to close");
    const { flows, listeners } = await proxy.status();
    // Three of the fifteen stages are behind a response that has begun.
    expect(flows).toBeGreaterThanOrEqual(60);
    expect(listeners).toBe(2);
    expect(proxy.output()).toBe("");
  });
});

type Stage = (proxy: EngineProcess) => Promise<void>;

const REQUEST = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

async function secure(proxy: EngineProcess): Promise<RawClient> {
  return tunnelClient(proxy.port, `${HOST}:443`, { ca: proxy.caPem });
}

async function insideHandshake(proxy: EngineProcess, leave: (socket: Socket) => void): Promise<void> {
  const { socket } = await tunnelClient(proxy.port, `${HOST}:443`);
  // The first bytes of a ClientHello, whose record is to have 512.
  socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]), () => leave(socket));
}

/** Where clients go away. */
const STAGES: readonly Stage[] = [
  async (proxy) => (await rawClient(proxy.port)).destroy(),
  async (proxy) => {
    const socket = connect({ port: proxy.port, host: "127.0.0.1" });
    socket.on("error", () => undefined);
    socket.write(`CONNECT ${HOST}:443 HTTP/1.1\r\n`, () => socket.destroy());
    await once(socket, "close");
  },
  async (proxy) => void (await tunnelClient(proxy.port, `${HOST}:443`)).socket.end(),
  async (proxy) => void (await tunnelClient(proxy.port, `${HOST}:443`)).socket.resetAndDestroy(),
  (proxy) => insideHandshake(proxy, (socket) => void socket.end()),
  (proxy) => insideHandshake(proxy, (socket) => void socket.resetAndDestroy()),
  async (proxy) => (await secure(proxy)).destroy(),
  async (proxy) => void (await secure(proxy)).socket.end(),
  async (proxy) => {
    const client = await secure(proxy);
    client.socket.write(REQUEST("/"), () => client.destroy());
  },
  async (proxy) => {
    const client = await secure(proxy);
    client.send(REQUEST("/"));
    await client.sees("ok");
    client.destroy();
  },
  async (proxy) => {
    const client = await secure(proxy);
    client.send(REQUEST("/endless"));
    await client.sees("hello");
    client.destroy();
  },
  async (proxy) => {
    const client = await secure(proxy);
    client.send(REQUEST("/endless"));
    await client.sees("hello");
    client.socket.end();
  },
  async (proxy) => {
    const client = await secure(proxy);
    client.send(`POST /upload HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 1000\r\n\r\nsome of it`);
    client.socket.write("and more", () => client.destroy());
  },
  async (proxy) => {
    const client = await rawClient(proxy.port);
    client.send(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\nplain bytes`);
    // The upstream wants TLS and breaks off.
    await client.closed();
    client.socket.resetAndDestroy();
  },
  async (proxy) => {
    const client = await tunnelClient(proxy.port, "a.tunnelled.example:443");
    client.socket.write("tunnelled", () => client.destroy());
  },
];

/** Clients at once. */
const LANES = 6;

async function leaveAtEveryStage(proxy: EngineProcess, clients: number): Promise<void> {
  const lane = async (first: number): Promise<void> => {
    for (let index = first; index < clients; index += LANES) await STAGES[index % STAGES.length]?.(proxy);
  };
  await Promise.all(Array.from({ length: LANES }, (_, first) => lane(first)));
}

describe("certificates", () => {
  it("have an EC key of P-256, and the public exponent of no RSA one", async () => {
    const engine = await start(answering(OK));
    const client = await tls(engine);
    const certificate = client.socket instanceof TLSSocket ? client.socket.getPeerCertificate(true) : undefined;
    expect(certificate).toMatchObject({ asn1Curve: "prime256v1", nistCurve: "P-256" });
    expect(certificate?.exponent).toBeUndefined();
    expect(certificate?.issuerCertificate).toMatchObject({ asn1Curve: "prime256v1" });
  });
});

describe("an exchange", () => {
  it("breaks off where the upstream does, without an error text in the response", async () => {
    const engine = await start(answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    const client = await tls(engine);
    client.send(REQUEST("/"));
    await client.sees("hello");
    engine.upstream.connections[0]?.socket.destroy();
    const text = await client.closed();
    expect(text).toMatch(/5\r\nhello\r\n$/);
  });

  it("cancels the upstream when the client goes away before the response begins", async () => {
    const engine = await start(() => undefined);
    const client = await tls(engine);
    client.send(REQUEST("/"));
    await until(() => engine.upstream.connections[0]?.received.includes("\r\n\r\n") === true, "the request");
    client.destroy();
    await until(() => engine.upstream.connections[0]?.isEnded === true || engine.upstream.connections[0]?.isClosed === true, "the upstream connection to end");
    expect(engine.flows[0]?.outcome).toEqual({ kind: "client_aborted" });
  });

  it("goes to the CONNECT target and never to the host that the inner Host header names", async () => {
    const engine = await start(answering(OK));
    const client = await tls(engine);
    client.send("GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n");
    expect(await client.sees("authority_mismatch")).toMatch(/^HTTP\/1\.1 421 /);
    expect(engine.upstream.connections).toEqual([]);
  });

  it("keeps header case and duplicates, takes hop-by-hop fields out, and keeps reason phrase and trailers", async () => {
    const engine = await start(
      answering("HTTP/1.1 299 Quite Fine\r\nX-One: 1\r\nx-one: 2\r\nKeep-Alive: timeout=1\r\nPublic-Key-Pins: p\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: t\r\n\r\n"),
    );
    const client = await tls(engine);
    client.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-CaSe: 1\r\nx-case: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\n\r\n`);
    const text = await client.sees("X-Trailer");
    expect(engine.upstream.connections[0]?.received).toBe(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-CaSe: 1\r\nx-case: 2\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 299 Quite Fine\r\nX-One: 1\r\nx-one: 2\r\nPublic-Key-Pins: p\r\n/);
    expect(text).not.toContain("timeout=1");
    expect(text).toMatch(/0\r\nX-Trailer: t\r\n\r\n$/);
  });

  it("reaches IPv6 literals", async () => {
    const engine = await start(answering(OK), { isMapped: false, upstreamHost: "::1", upstreamName: "::1", denyAddresses: [] });
    const authority = `[::1]:${engine.upstream.port}`;
    const client = await tunnelClient(engine.proxy.port, authority, { ca: engine.ca.certificatePem });
    undo.push(() => client.destroy());
    client.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await client.sees("ok");
    expect(engine.upstream.connections[0]?.received).toBe(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect(engine.flows[0]?.head).toMatchObject({ host: "::1", port: engine.upstream.port });
  });

  it("holds a fast upstream back while the client does not read", async () => {
    const total = 64 * 1024 * 1024;
    let sent = 0;
    const engine = await start(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      const body = "a".repeat(0x10000);
      const pump = (): void => {
        while (sent < total) {
          sent += body.length;
          if (!socket.write(`10000\r\n${body}\r\n`)) {
            socket.once("drain", pump);
            return;
          }
        }
      };
      pump();
    });
    const client = await tls(engine);
    client.socket.pause();
    client.send(REQUEST("/"));
    let last = -1;
    await until(async () => {
      const before = last;
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return sent > 0 && before === sent;
    }, "the upstream to be held back");
    expect(sent).toBeLessThan(total / 2);
  });
});
