/**
 * Random and broken HTTP/1.1 requests through the engine. The oracle is Node's own server: whatever is forwarded, it reads
 * at the upstream the message that it reads from the client's bytes, and nothing that it refuses is forwarded.
 */

import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { stripResponseHeaders } from "../../src/flow/headers.ts";
import { loadOrCreateAuthority } from "../../src/proxy/certificate-authority.ts";
import { MAX_HEAD_BYTES } from "../../src/proxy/h1-server.ts";
import { createLeafCache } from "../../src/proxy/leaf-cache.ts";
import { startProxy, type ProxyServer } from "../../src/proxy/proxy.ts";
import { tunnelClient } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const SEED = 20_261_122;
const RUNS = 250;

/** A request as a server read it. */
interface Message {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

/** A server that notes what it reads, and counts what it refuses. */
interface Oracle {
  readonly server: Server;
  port: number;
  messages: Message[];
  refused: number;
}

let dir: string;
let proxy: ProxyServer;
let caPem: string;
let upstream: Oracle;
let direct: Oracle;

function oracle(make: (handler: (request: IncomingMessage, response: ServerResponse) => void) => Server): Oracle {
  const found: Oracle = {
    server: make((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method, url, rawHeaders, rawTrailers } = request;
        // The proxy's own treatment of the fields of a connection is tested elsewhere.
        const headers = stripResponseHeaders(rawHeaders).map((part, i) => (i % 2 === 0 ? part.toLowerCase() : part));
        found.messages.push({ method, url, headers, body: Buffer.concat(chunks).toString("latin1"), trailers: rawTrailers });
        response.setHeader("content-length", 2).end("ok");
      });
    }),
    port: 0,
    messages: [],
    refused: 0,
  };
  found.server.on("clientError", (error: Error & { code?: string }, socket: Socket) => {
    // A request that breaks off was not refused.
    if (error.code !== "ECONNRESET" && error.code !== "HPE_INVALID_EOF_STATE") found.refused += 1;
    socket.destroy();
  });
  return found;
}

const listen = async (found: Oracle): Promise<void> => {
  await new Promise<void>((resolve) => found.server.listen(0, "127.0.0.1", resolve));
  found.port = (found.server.address() as AddressInfo).port;
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-fuzz-"));
  const ca = await loadOrCreateAuthority(join(dir, "ca"));
  const upstreamCa = await loadOrCreateAuthority(join(dir, "upstream"));
  const leaf = await upstreamCa.issueLeaf(HOST, 3_600_000, Date.now());
  upstream = oracle((handler) => createHttpsServer({ key: leaf.keyPem, cert: leaf.certificatePem, maxHeaderSize: MAX_HEAD_BYTES }, handler));
  direct = oracle((handler) => createHttpServer({ maxHeaderSize: MAX_HEAD_BYTES }, handler));
  await Promise.all([listen(upstream), listen(direct)]);
  const leaves = createLeafCache({ authority: ca, leafTtlMs: 3_600_000 });
  caPem = ca.certificatePem;
  proxy = await startProxy({
    host: "127.0.0.1",
    port: 0,
    proxyTokens: [],
    isIntercepted: () => true,
    contextFor: (host) => leaves.contextFor(host),
    denyAddresses: [],
    otherOwnPorts: () => [],
    connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: upstream.port }],
    extraCaPem: upstreamCa.certificatePem,
    connectTimeoutMs: 30_000,
    idleTimeoutMs: 60_000,
    observer: { isMetered: () => true, open: () => undefined },
    gate: { admit: () => undefined },
    closedFor: () => undefined,
    now: Date.now,
    onProxyAnswer: () => undefined,
    onTunnelEnd: () => undefined,
    onHandshakeError: () => undefined,
  });
});

afterAll(async () => {
  await proxy.close();
  for (const { server } of [upstream, direct]) await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

/** Sends the bytes to the oracle; resolves when it has read all of them or has closed the connection. */
async function sendDirect(text: string): Promise<void> {
  const accepted = once(direct.server, "connection");
  const socket = connect(direct.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume().write(text, "latin1");
  const [peer] = (await accepted) as [Socket];
  await until(() => peer.destroyed || peer.bytesRead === text.length, "the oracle to read the bytes");
  // What the parser has found is told in the turns behind the read.
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
}

/** Sends the bytes through the proxy, and waits for what the oracle says of them: so many messages, or a refusal. */
async function sendThroughProxy(text: string): Promise<void> {
  const client = await tunnelClient(proxy.port, `${HOST}:443`, { ca: caPem });
  client.send(text);
  const isOver = (): boolean => client.isClosed || client.isEnded;
  const answered = (): number => client.received.split("\r\n\r\nok").length - 1;
  await until(() => isOver() || (direct.refused === 0 && answered() >= direct.messages.length), "the messages or the end of the connection");
  client.destroy();
}

const token = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,8}$/).filter((name) => !/^(host|content-length|transfer-encoding|connection|expect|upgrade|te|trailer|keep-alive|proxy-.*|x-tallyman.*)$/i.test(name));
const value = fc.stringMatching(/^[!-~\xa1-\xff]([ -~\xa1-\xff]{0,20}[!-~\xa1-\xff])?$/);
const fields = fc.array(fc.tuple(token, value), { maxLength: 6 });
const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("latin1"));

const framed = fc.oneof(
  fc.constant({ fields: "", body: "" }),
  body.map((bytes) => ({ fields: `Content-Length: ${bytes.length}\r\n`, body: bytes })),
  fc.tuple(fc.array(body, { maxLength: 4 }), fc.boolean(), fields).map(([chunks, hasExtension, trailers]) => ({
    fields: "Transfer-Encoding: chunked\r\n",
    body:
      chunks.filter((chunk) => chunk !== "").map((chunk) => `${chunk.length.toString(16)}${hasExtension ? ";a=b" : ""}\r\n${chunk}\r\n`).join("") +
      `0\r\n${trailers.map(([name, text]) => `${name}: ${text}\r\n`).join("")}\r\n`,
  })),
);

const request = fc
  .tuple(fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"), fc.stringMatching(/^[!"$-~]{0,30}$/), fields, framed, fields)
  .map(([method, path, before, framing, after]) => {
    const text = (list: readonly (readonly [string, string])[]): string => list.map(([name, each]) => `${name}: ${each}\r\n`).join("");
    return `${method} /${path} HTTP/1.1\r\nHost: ${HOST}\r\n${text(before)}${framing.fields}${text(after)}\r\n${framing.body}`;
  });

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.integer({ min: 0, max: 2 }),
  put: fc.constantFrom("", "\r", "\n", "\r\n", "\0", " ", "\t", "\x0b", ":", ",", ";", "0", "-", "+", "x", "\x7f", "\x80", "Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n", "\r\n "),
});

const broken = fc.tuple(request, fc.array(edit, { minLength: 1, maxLength: 3 })).map(([text, edits]) =>
  edits.reduce((from, { at, cut, put }) => {
    const place = Math.floor(at * from.length);
    return from.slice(0, place) + put + from.slice(place + cut);
  }, text),
);

async function readsTheSame(text: string): Promise<void> {
  upstream.messages = [];
  upstream.refused = 0;
  direct.messages = [];
  direct.refused = 0;
  await sendDirect(text);
  await sendThroughProxy(text);
  // What the oracle accepts may still be refused (another host, say); what is forwarded is what it read, in order.
  expect(upstream.refused).toBe(0);
  for (const [i, message] of upstream.messages.entries()) expect(message).toEqual(direct.messages[i]);
}

describe("requests over HTTP/1.1", () => {
  it("reach the upstream as the client sent them", async () => {
    await fc.assert(
      fc.asyncProperty(request, async (text) => {
        await readsTheSame(text);
        expect(upstream.messages.length).toBe(direct.messages.length);
      }),
      { seed: SEED, numRuns: RUNS },
    );
  }, 240_000);

  it("that are broken are forwarded as Node reads them, or not at all", async () => {
    await fc.assert(fc.asyncProperty(broken, readsTheSame), { seed: SEED, numRuns: RUNS });
    const client = await tunnelClient(proxy.port, `${HOST}:443`, { ca: caPem });
    client.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await client.sees("ok");
    client.destroy();
  }, 240_000);
});
