import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";

import { listenFront, type Front, type FrontHandlers } from "../../src/proxy/front.ts";
import { MAX_HEAD_BYTES } from "../../src/proxy/h1-server.ts";
import { rawAnswer } from "../../src/proxy/proxy-error.ts";
import { rawClient, type RawClient } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function start(handlers: Partial<FrontHandlers> = {}): Promise<Front> {
  const front = await listenFront("127.0.0.1", 0, { onConnectionsFull: () => undefined, onConnect: (_request, socket) => socket.destroy(), onRequest: (_request, response) => void response.end("ok"), writeRefusal: (_socket, answer) => rawAnswer(answer), ...handlers });
  undo.push(() => {
    front.stopListening();
    front.destroy();
  });
  return front;
}

async function client(front: Front): Promise<RawClient> {
  const made = await rawClient(front.port);
  undo.push(() => made.destroy());
  return made;
}

describe("listening", () => {
  it("takes any free port for port 0", async () => {
    const front = await start();
    expect(front.port).toBeGreaterThan(0);
  });

  it("rejects with the listen error", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    undo.push(() => new Promise((resolve) => taken.close(resolve)));
    const { port } = taken.address() as AddressInfo;
    const handlers = { onConnectionsFull: () => undefined, onConnect: () => undefined, onRequest: () => undefined, writeRefusal: () => "" };
    await expect(listenFront("127.0.0.1", port, handlers)).rejects.toMatchObject({ code: "EADDRINUSE" });
    await expect(listenFront("no-such-name.invalid", 0, handlers)).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  it("leaves no CA of the library on the disk, whether it listens or not", async () => {
    const temp = mkdtempSync(join(tmpdir(), "tallyman-tmp-"));
    const before = existsSync(".http-mitm-proxy");
    undo.push(() => rmSync(temp, { recursive: true, force: true }));
    vi.stubEnv("TMPDIR", temp);
    const front = await start();
    expect(readdirSync(temp)).toEqual([]);
    await expect(listenFront("127.0.0.1", front.port, { onConnectionsFull: () => undefined, onConnect: () => undefined, onRequest: () => undefined, writeRefusal: () => "" })).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(readdirSync(temp)).toEqual([]);
    expect(existsSync(".http-mitm-proxy")).toBe(before);
  });

  it("goes on with the connections it has when it stops", async () => {
    const pending: ServerResponse[] = [];
    const front = await start({ onRequest: (_request, response) => void pending.push(response) });
    const busy = await client(front);
    busy.send("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
    await until(() => pending.length === 1, "the request");
    front.stopListening();
    await expect(rawClient(front.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    pending[0]?.end("late");
    await busy.sees("late");
    front.destroy();
    await until(() => busy.isClosed, "the connection to end");
  });
});

it("takes no CONNECT that is sent ahead of an answer", async () => {
  const targets: string[] = [];
  const front = await start({ onRequest: () => undefined, onConnect: (request) => void targets.push(request.url ?? "") });
  const busy = await client(front);
  busy.send("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\nCONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n");
  expect(await busy.closed()).toBe("");
  expect(targets).toEqual([]);
});

describe("a request", () => {
  it.each([
    "http://a.example/path?query=1",
    "http://a.example:8080/x//y/%2F",
    "HTTP://a.example/",
    "http://[::1]:80/",
    "http://a.example",
    "/origin-form",
    "*",
  ])("arrives with its target %s as sent", async (target) => {
    const urls: (string | undefined)[] = [];
    const front = await start({
      onRequest(request, response) {
        urls.push(request.url);
        response.end("ok");
      },
    });
    const sender = await client(front);
    sender.send(`${target === "*" ? "OPTIONS" : "GET"} ${target} HTTP/1.1\r\nHost: a.example\r\n\r\n`);
    await sender.sees("ok");
    expect(urls).toEqual([target]);
  });

  it("reaches the handler without a Host, and with one that is rubbish", async () => {
    const seen: IncomingMessage[] = [];
    const front = await start({
      onRequest(request, response) {
        seen.push(request);
        response.end("ok");
      },
    });
    for (const head of ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x:99999\r\n\r\n", "GET / HTTP/1.1\r\nHost: http://%%%\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"]) {
      const sender = await client(front);
      sender.send(head);
      await sender.sees("ok");
    }
    expect(seen).toHaveLength(4);
  });

  it("that asks for an upgrade is an ordinary request", async () => {
    const front = await start();
    const sender = await client(front);
    sender.send("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    expect(await sender.sees("ok")).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("a CONNECT", () => {
  it("hands the socket over, silent, with the bytes that came along", async () => {
    const seen: { url: string | undefined; socket: Socket; first: string }[] = [];
    const front = await start({ onConnect: (request, socket, first) => void seen.push({ url: request.url, socket, first: first.toString() }) });
    const sender = await client(front);
    sender.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nalong");
    await until(() => seen.length === 1, "the CONNECT");
    expect(seen[0]).toMatchObject({ url: "a.example:443", first: "along" });
    // The library would have answered by itself by now.
    await new Promise((resolve) => setImmediate(resolve));
    expect(sender.received).toBe("");
    seen[0]?.socket.end("mine");
    expect(await sender.sees("mine")).toBe("mine");
    sender.destroy();
  });

  it("whose client resets writes nothing on the console", async () => {
    const spies = (["log", "info", "debug", "warn", "error"] as const).map((name) => vi.spyOn(console, name).mockImplementation(() => undefined));
    const sockets: Socket[] = [];
    const front = await start({
      onConnect(_request, socket) {
        sockets.push(socket);
        socket.on("error", () => socket.destroy());
        socket.resume();
      },
    });
    const sender = await client(front);
    sender.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    await until(() => sockets.length === 1, "the CONNECT");
    sender.socket.resetAndDestroy();
    await until(() => sockets[0]?.closed === true, "the socket to close");
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
  });
});

describe("a head that is no HTTP", () => {
  it.each([
    ["rubbish", "this is no HTTP\r\n\r\n", "400", "bad_request"],
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400", "bad_request"],
    ["a header without a colon", "GET http://a.example/ HTTP/1.1\r\nHost a.example\r\n\r\n", "400", "bad_request"],
    ["two lengths", "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400", "bad_request"],
    ["length and chunks", "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400", "bad_request"],
    ["a head that is too large", `GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX: ${"a".repeat(MAX_HEAD_BYTES)}\r\n\r\n`, "431", "head_too_large"],
  ])("is answered in the contract's shape: %s", async (_name, head, status, code) => {
    const front = await start();
    const sender = await client(front);
    sender.send(head);
    const text = await sender.closed();
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text).toContain(`x-tallyman-error: ${code}`);
    expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4))).toMatchObject({ error: { type: "tallyman_error", code } });
  });

  it("is not answered inside a response that is under way: the connection breaks off", async () => {
    const front = await start({
      onRequest(_request, response) {
        response.writeHead(200, { "content-length": "1000" });
        response.write("begun");
      },
    });
    const sender = await client(front);
    sender.send("POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    await sender.sees("begun");
    sender.send("rubbish that is no chunk\r\n");
    await until(() => sender.isClosed, "the connection to end");
    expect(sender.received).toMatch(/begun$/);
  });
});
