import { afterEach, describe, expect, it } from "vitest";

import { startEngine, type Engine, type EngineOptions } from "../support/engine.ts";
import { rawClient, tunnelClient, type RawClient, type UpstreamConnection } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
let engine: Engine | undefined;

afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function start(onData: (connection: UpstreamConnection) => void, options?: EngineOptions): Promise<Engine> {
  engine = await startEngine(onData, options);
  return engine;
}

function tls(running: Engine): Promise<RawClient> {
  return tunnelClient(running.proxy.port, `${HOST}:443`, { ca: running.ca.certificatePem });
}

/** Answers once for each complete head. */
function answering(answer: string): (connection: UpstreamConnection) => void {
  return (connection) => {
    if (connection.received.endsWith("\r\n\r\n")) connection.socket.write(answer, "latin1");
  };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a request on its way up", () => {
  it("keeps method, path, query, header order, case and duplicates as sent", async () => {
    const running = await start((connection) => {
      if (connection.received.endsWith("12345")) connection.socket.write(OK);
    });
    const client = await tls(running);
    client.send(
      "PATCH /v1/a%2Fb//c?x=%20&y=+&z=[1] HTTP/1.1\r\nX-Zed: 1\r\nhOsT: api.example.com\r\nauthorization: Bearer k\r\nX-Zed: 2\r\nContent-LENGTH: 5\r\nx-ZED: 3\r\nAccept: */*\r\n\r\n12345",
    );
    await client.sees("ok");
    expect(running.upstream.connections[0]?.received).toBe(
      "PATCH /v1/a%2Fb//c?x=%20&y=+&z=[1] HTTP/1.1\r\nX-Zed: 1\r\nhOsT: api.example.com\r\nauthorization: Bearer k\r\nX-Zed: 2\r\nContent-LENGTH: 5\r\nx-ZED: 3\r\nAccept: */*\r\n\r\n12345",
    );
  });

  it("leaves hop-by-hop, proxy and x-tallyman headers behind, and shows the latter to the observer", async () => {
    const running = await start(answering(OK));
    const client = await tls(running);
    client.send(
      "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: gzip\r\nX-Tallyman-Agent-Id: a7\r\nx-tallyman-meta-Team: red\r\nX-End: 1\r\n\r\n",
    );
    await client.sees("ok");
    expect(running.upstream.connections[0]?.received).toBe("GET / HTTP/1.1\r\nHost: api.example.com\r\nX-End: 1\r\n\r\n");
    expect(running.flows[0]?.head.attributionHeaders).toEqual(["X-Tallyman-Agent-Id", "a7", "x-tallyman-meta-Team", "red"]);
  });

  it("sends a chunked body in chunks, and an empty one as one", async () => {
    const running = await start((connection) => {
      if (connection.received.endsWith("0\r\n\r\n")) connection.socket.write(OK);
    });
    const client = await tls(running);
    client.send("POST /one HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    await client.sees("ok");
    const [connection] = running.upstream.connections;
    expect(connection?.received).toMatch(/^POST \/one HTTP\/1\.1\r\nHost: api\.example\.com\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n/);
    expect(running.flows[0]?.request.toString()).toBe("abcdefg");
    client.send("POST /two HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    await until(() => running.flows[1]?.outcome !== undefined, "the second exchange");
    expect(running.flows[1]?.outcome).toEqual({ kind: "complete" });
  });

  it("sends the trailers of a chunked body, after pieces and after none", async () => {
    const running = await start((connection) => {
      if (connection.received.endsWith("X-Sum: 7\r\n\r\n")) connection.socket.write(OK);
    });
    const client = await tls(running);
    for (const body of ["3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n", "0\r\nX-Sum: 7\r\n\r\n"]) {
      client.send(`POST /t HTTP/1.1\r\nHost: api.example.com\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
      await until(() => running.upstream.connections.some(({ received }) => received.endsWith(`\r\n\r\n${body}`)), "the trailers to arrive");
    }
    await until(() => running.flows.filter(({ outcome }) => outcome?.kind === "complete").length === 2, "two answers");
  });

  it("stops reading a large body while the upstream does not take it", async () => {
    let isHeld = true;
    const running = await start((connection) => {
      if (isHeld) connection.socket.pause();
    });
    const client = await tls(running);
    const size = 64 * 1024 * 1024;
    client.send(`POST /big HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: ${size}\r\n\r\n`);
    const chunk = Buffer.alloc(1024 * 1024, 0x61);
    let accepted = 0;
    const pump = (): void => {
      while (accepted < size) {
        accepted += chunk.length;
        if (!client.socket.write(chunk)) {
          client.socket.once("drain", pump);
          return;
        }
      }
    };
    pump();
    // With nobody reading, what the client could hand over stops well short of the body.
    let last = -1;
    await until(async () => {
      const before = last;
      last = accepted;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return before === accepted;
    }, "the client to be held back");
    expect(accepted).toBeLessThan(size);
    isHeld = false;
    running.upstream.connections[0]?.socket.resume();
    await until(() => accepted >= size, "the rest to flow");
  });
});

describe("a response on its way down", () => {
  it("keeps status text, header order, case, duplicates and trailers", async () => {
    const running = await start(
      answering("HTTP/1.1 200 Fine And Dandy\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n"),
    );
    const client = await tls(running);
    client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    const text = await client.sees("X-Sum: 42");
    expect(text).toMatch(/^HTTP\/1\.1 200 Fine And Dandy\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTrailer: X-Sum\r\n/);
    expect(text).toContain("5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n");
  });

  it("flushes the head before the first byte of the body and passes each piece as it comes", async () => {
    const running = await start(answering("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"));
    const client = await tls(running);
    client.send("GET /sse HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await client.sees("text/event-stream");
    for (const piece of ["data: 1\n\n", "data: 2\n\n"]) {
      running.upstream.connections[0]?.socket.write(`9\r\n${piece}\r\n`);
      await client.sees(piece);
    }
    running.upstream.connections[0]?.socket.write("0\r\n\r\n");
    await client.sees("0\r\n\r\n");
  });

  it("breaks off where the upstream breaks off", async () => {
    const running = await start(answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    const client = await tls(running);
    client.send("GET /cut HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await client.sees("hello");
    running.upstream.connections[0]?.socket.destroy();
    const text = await client.closed();
    expect(text).toContain("5\r\nhello\r\n");
    expect(text).not.toContain("0\r\n\r\n");
    expect(running.flows[0]?.outcome).toEqual({ kind: "upstream_aborted" });
  });

  it("breaks a response of known length off short of it", async () => {
    const running = await start(answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"));
    const client = await tls(running);
    client.send("GET /cut HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await client.sees("hello");
    running.upstream.connections[0]?.socket.end();
    expect(await client.closed()).toMatch(/hello$/);
  });

  it("does not end a cut response of an HTTP/1.0 client as if it were whole", async () => {
    const running = await start((connection) => connection.socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), { isIntercepted: () => false, isUpstreamTls: false });
    const client = await rawClient(running.proxy.port);
    const failure = new Promise<Error>((resolve) => client.socket.once("error", resolve));
    client.send("GET http://api.example.com/cut HTTP/1.0\r\nHost: api.example.com\r\n\r\n");
    await client.sees("hello");
    running.upstream.connections[0]?.socket.destroy();
    expect(await failure).toMatchObject({ code: "ECONNRESET" });
  });

  it("ends a response that is delimited by the close of the connection", async () => {
    const running = await start((connection) => connection.socket.end("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole"));
    const client = await tls(running);
    client.send("GET /old HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await client.sees("0\r\n\r\n")).toContain("5\r\nwhole\r\n0\r\n\r\n");
    expect(running.flows[0]?.outcome).toEqual({ kind: "complete" });
  });

  it.each([
    ["a chunked body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello\r\n", "0\r\n\r\n"],
    ["a body of known length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK", "hello"],
    ["no body", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", "", "204 No Content"],
  ])("holds the last byte of %s until it is let go", async (_name, answer, before, after) => {
    const running = await start(answering(answer));
    let release = (): void => undefined;
    running.hold = new Promise((resolve) => (release = resolve));
    const client = await tls(running);
    client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await until(() => running.flows[0]?.outcome !== undefined, "the end of the flow");
    if (before !== "") await client.sees(before);
    expect(client.received).not.toContain(after);
    release();
    await client.sees(after);
  });

  it("stops reading the upstream while the client does not read", async () => {
    let sent = 0;
    const chunk = Buffer.alloc(256 * 1024, 0x62);
    const total = 64 * 1024 * 1024;
    const running = await start((connection) => {
      connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      const pump = (): void => {
        while (sent < total) {
          sent += chunk.length;
          if (!connection.socket.write(chunk)) {
            connection.socket.once("drain", pump);
            return;
          }
        }
      };
      pump();
    });
    const client = await tls(running);
    client.socket.pause();
    client.send("GET /big HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    let last = -1;
    await until(async () => {
      const before = last;
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return sent > 0 && before === sent;
    }, "the upstream to be held back");
    expect(sent).toBeLessThan(total / 2);
    client.socket.removeAllListeners("data");
    client.socket.resume();
    await until(() => running.flows[0]?.outcome !== undefined, "the rest to arrive", 60_000);
    expect(running.flows[0]?.outcome).toEqual({ kind: "complete" });
  });

  it.each(["Content-Length: 30000000\r\nConnection: close", "Content-Length: 30000000\r\nHost: another.example"])("is there for a client that first sends all of its body, although the connection ends: %s", async (fields) => {
    const running = await start(answering("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno"));
    const client = await tls(running);
    const { socket } = client;
    socket.pause();
    client.send(`POST /large HTTP/1.1\r\n${fields.includes("Host") ? "" : "Host: api.example.com\r\n"}${fields}\r\n\r\n`);
    for (let i = 0; i < 30; i++) await new Promise<unknown>((resolve) => socket.write(Buffer.alloc(1_000_000), resolve));
    socket.resume();
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 4(13|21) [^]*\r\n\r\n(no$|\{)/);
  });

  it.each([
    ["without a Host", "GET /bad HTTP/1.1\r\n\r\n"],
    ["that would be a body's beginning", "POST /bad HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"],
    ["of another host, with a large body", `POST /bad HTTP/1.1\r\nHost: another.example\r\nContent-Length: 3000000\r\n\r\n${"a".repeat(3_000_000)}`],
  ])("is whole before the refusal of a request sent ahead %s", async (_name, bad) => {
    const size = 8_000_000;
    const running = await start(answering(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${"n".repeat(size)}`));
    const client = await tls(running);
    client.socket.pause();
    client.send("GET /large HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await until(() => running.flows[0]?.responseHead !== undefined, "the response to begin");
    client.send(bad);
    client.socket.resume();
    const received = await client.closed();
    expect(received.slice(received.indexOf("\r\n\r\n") + 4 + size)).toMatch(/^HTTP\/1\.1 4(00|21) [^]*\}$/);
    expect(running.flows.map(({ head }) => head.target)).toEqual(["/large"]);
  });

  it("cancels the upstream at once when the client goes away", async () => {
    const running = await start(answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    const client = await tls(running);
    client.send("GET /long HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await client.sees("hello");
    client.destroy();
    await until(() => running.upstream.connections[0]?.isEnded === true, "the upstream connection to end");
    expect(running.flows[0]?.outcome).toEqual({ kind: "client_aborted" });
  });

  it("cancels the upstream at once when the client ends inside of a request that it sent ahead", async () => {
    const running = await start(() => undefined);
    const client = await tls(running);
    client.send("GET /long HTTP/1.1\r\nHost: api.example.com\r\n\r\nGET /ne");
    await until(() => running.upstream.connections.length === 1, "the request");
    client.socket.end();
    await until(() => running.upstream.connections[0]?.isClosed === true || running.upstream.connections[0]?.isEnded === true, "the upstream to be cancelled");
    await until(() => running.flows[0]?.outcome !== undefined, "the flow to end");
    expect(running.flows[0]?.outcome).toEqual({ kind: "client_aborted" });
  });

  it("serves several requests on one connection, pipelined too, over one upstream connection at a time", async () => {
    const running = await start(answering(OK));
    const client = await tls(running);
    client.send("GET /1 HTTP/1.1\r\nHost: api.example.com\r\n\r\nGET /2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await until(() => client.received.split("ok").length === 3, "two answers");
    expect(running.flows.map((flow) => flow.head.target)).toEqual(["/1", "/2"]);
  });
});

describe("what the proxy answers by itself", () => {
  it("refuses a Host that is not the CONNECT target with 421 and never dials it", async () => {
    const running = await start(answering(OK));
    const client = await tls(running);
    client.send("GET / HTTP/1.1\r\nHost: evil.example.net\r\n\r\n");
    expect(await client.sees("authority_mismatch")).toMatch(/^HTTP\/1\.1 421 /);
    expect(running.upstream.connections).toHaveLength(0);
  });

  it("refuses an absolute-form request inside a tunnel", async () => {
    const running = await start(answering(OK));
    const client = await tls(running);
    client.send("GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await client.sees("bad_request")).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("answers 502 upstream_tls for a certificate of another name, an unknown root", async () => {
    const running = await start(answering(OK), { upstreamName: "other.example.com" });
    const client = await tls(running);
    client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await client.sees("upstream_tls")).toMatch(/^HTTP\/1\.1 502 /);
    await running.close();
    const untrusting = await start(answering(OK), { extraCaPem: undefined });
    const second = await tls(untrusting);
    second.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await second.sees("upstream_tls")).toMatch(/^HTTP\/1\.1 502 /);
  });

  it("answers 502 upstream_unreachable, upstream_dns, upstream_protocol and 504 upstream_timeout", async () => {
    const silent = await start(() => undefined, { idleTimeoutMs: 1000 });
    const waiting = await tls(silent);
    waiting.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await waiting.sees("upstream_timeout")).toMatch(/^HTTP\/1\.1 504 /);
    await silent.close();

    const refusing = await start(() => undefined, { connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: 1 }] });
    const refused = await tls(refusing);
    refused.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await refused.sees("upstream_unreachable")).toMatch(/^HTTP\/1\.1 502 /);
    await refusing.close();

    const unnamed = await start(() => undefined, { connectTo: [{ host: undefined, port: undefined, toHost: "no-such-name.invalid", toPort: 443 }] });
    const lost = await tls(unnamed);
    lost.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await lost.sees("upstream_dns")).toMatch(/^HTTP\/1\.1 502 /);
    await unnamed.close();

    const babbling = await start((connection) => connection.socket.end("this is no HTTP\r\n\r\n"));
    const puzzled = await tls(babbling);
    puzzled.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await puzzled.sees("upstream_protocol")).toMatch(/^HTTP\/1\.1 502 /);
  });

  it("refuses a request head over 64 KiB with 431 and takes one of 60 KiB", async () => {
    const running = await start(answering(OK));
    const client = await tls(running);
    client.send(`GET / HTTP/1.1\r\nHost: api.example.com\r\nX-Big: ${"a".repeat(60_000)}\r\n\r\n`);
    await client.sees("ok");
    const second = await tls(running);
    second.send(`GET / HTTP/1.1\r\nHost: api.example.com\r\nX-Big: ${"a".repeat(70_000)}\r\n\r\n`);
    expect(await second.sees("head_too_large")).toMatch(/^HTTP\/1\.1 431 /);
  });

  it("lets a gate refuse with headers of its own", async () => {
    const running = await start(answering(OK), {
      gate: { admit: () => ({ status: 429, code: "budget_exhausted", message: "used up", headers: ["x-should-retry", "false"] }) },
    });
    const client = await tls(running);
    client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    const text = await client.sees("budget_exhausted");
    expect(text).toMatch(/^HTTP\/1\.1 429 /);
    expect(text).toContain("x-should-retry: false");
    expect(running.upstream.connections).toHaveLength(0);
  });

  it("lets a request pass when the gate throws", async () => {
    const running = await start(answering(OK), {
      gate: {
        admit() {
          throw new Error("broken gate");
        },
      },
    });
    const client = await tls(running);
    client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await client.sees("ok");
  });
});
