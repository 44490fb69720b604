import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { createPoster } from "../../../src/usage/sinks/http-post.ts";
import type { Poster, PosterOptions } from "../../../src/usage/sinks/http-post.ts";
import { until } from "../../support/until.ts";

function posterFor(url: string, options: Partial<PosterOptions> = {}): Poster {
  const poster = createPoster({ url, headers: {}, timeoutMs: 300, concurrency: 2, version: "1.2.3", ...options });
  onTestFinished(() => poster.close());
  return poster;
}

function post(poster: Poster): ReturnType<Poster["post"]> {
  return poster.post("[]", {}, new AbortController().signal);
}

async function listen(onConnection: Parameters<typeof createServer>[1]): Promise<number> {
  const server = createServer(onConnection).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

it("the deadline is over name resolution too, for every post that waits for it", async () => {
  const poster = posterFor("http://receiver.example/usage", { lookup: () => undefined, timeoutMs: 100 });
  // More than there are connections: some wait for one that never comes.
  const results = await Promise.all(Array.from({ length: 5 }, () => post(poster)));
  expect(results).toEqual(results.map(() => ({ kind: "failed", reason: "timeout" })));
});

it("a name that does not resolve is a code, without the name", async () => {
  const poster = posterFor("http://receiver.example/usage", {
    lookup: (_host, _options, callback) => callback(Object.assign(new Error("getaddrinfo ENOTFOUND receiver.example"), { code: "ENOTFOUND" }), []),
  });
  expect(await post(poster)).toEqual({ kind: "failed", reason: "ENOTFOUND" });
});

it("the deadline is over a connection that says nothing, and over one that drips its head", async () => {
  const silent = await listen((socket) => void socket.on("error", () => undefined));
  expect(await post(posterFor(`http://127.0.0.1:${silent}/`))).toEqual({ kind: "failed", reason: "timeout" });
  const dripping = await listen((socket) => {
    socket.on("error", () => undefined);
    const text = `HTTP/1.1 200 OK\r\nX-Filler: ${"x".repeat(1000)}`;
    let sent = 0;
    const timer = setInterval(() => socket.write(text[sent++] ?? "x"), 20);
    socket.once("close", () => clearInterval(timer));
  });
  expect(await post(posterFor(`http://127.0.0.1:${dripping}/`))).toEqual({ kind: "failed", reason: "timeout" });
});

it("a body that never ends, or is broken off, takes nothing back of the status", async () => {
  const endless = await listen((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write("HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\nhalf"));
  });
  expect(await post(posterFor(`http://127.0.0.1:${endless}/`))).toMatchObject({ kind: "answered", status: 202 });
  const broken = await listen((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write("HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\nhalf");
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
  });
  expect(await post(posterFor(`http://127.0.0.1:${broken}/`))).toMatchObject({ kind: "answered", status: 202 });
});

it("a post that was given up before it had a connection is never sent", async () => {
  const received: string[] = [];
  const port = await listen((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      received.push(chunk.toString("latin1"));
      socket.write("HTTP/1.1 204 No Content\r\n\r\n");
    });
  });
  let resolveName: (() => void) | undefined;
  let lookups = 0;
  const poster = posterFor(`http://receiver.example:${port}/`, {
    concurrency: 1,
    timeoutMs: 20_000,
    lookup: (_host, options, callback) => {
      resolveName = () => (options.all === true ? callback(null, [{ address: "127.0.0.1", family: 4 }]) : callback(null, "127.0.0.1", 4));
      // The first name is slow. Its connection goes with the post that wanted it, and the next post asks again.
      if (++lookups > 1) resolveName();
    },
  });
  const abort = new AbortController();
  const first = poster.post("given up", {}, abort.signal);
  await until(() => resolveName !== undefined, "the name to be asked for");
  abort.abort();
  expect(await first).toEqual({ kind: "failed", reason: "aborted" });
  const second = poster.post("sent", {}, new AbortController().signal);
  resolveName?.();
  expect(await second).toMatchObject({ kind: "answered", status: 204 });
  expect(received.join("")).toContain("sent");
  expect(received.join("")).not.toContain("given up");
});
