import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { connect as tlsConnect } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";

import type { ProxyAnswer } from "../../src/proxy/proxy-error.ts";
import { startEngine, type Engine, type EngineOptions } from "../support/engine.ts";
import { rawClient, tunnelClient, type RawClient, type UpstreamConnection } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TUNNELLED = { isIntercepted: () => false, isUpstreamTls: false } as const;
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function start(options: EngineOptions = {}, onData: (connection: UpstreamConnection) => void = answering(OK)): Promise<Engine> {
  const engine = await startEngine(onData, options);
  undo.push(() => engine.close());
  return engine;
}

function answering(answer: string): (connection: UpstreamConnection) => void {
  return (connection) => {
    if (connection.received.endsWith("\r\n\r\n")) connection.socket.write(answer, "latin1");
  };
}

async function client(engine: Engine): Promise<RawClient> {
  const made = await rawClient(engine.proxy.port);
  undo.push(() => made.destroy());
  return made;
}

/** What the proxy says to a head, until it closes the connection. */
async function ask(engine: Engine, head: string): Promise<string> {
  const asking = await client(engine);
  asking.send(head);
  return asking.closed();
}

async function tunnel(engine: Engine, authority = `${HOST}:443`, extraHeaders = ""): Promise<RawClient> {
  const made = await tunnelClient(engine.proxy.port, authority, { extraHeaders });
  undo.push(() => made.destroy());
  return made;
}

async function secure(engine: Engine, extraHeaders = ""): Promise<RawClient> {
  const made = await tunnelClient(engine.proxy.port, `${HOST}:443`, { ca: engine.ca.certificatePem, extraHeaders });
  undo.push(() => made.destroy());
  return made;
}

const CONNECT = (target: string): string => `CONNECT ${target} HTTP/1.1\r\nHost: ${HOST}:443\r\n`;
const ABSOLUTE = `GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n`;
const basic = (text: string): string => `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;

function code(text: string): string | undefined {
  return /\r\nx-tallyman-error: (\w+)\r\n/.exec(text)?.[1];
}

describe("proxy tokens", () => {
  const tokens = { proxyTokens: ["right-secret"] };

  it.each([
    ["no credentials", ""],
    ["a wrong secret", basic("agent-7:wrong-secret")],
    ["the user name alone", basic("agent-7")],
  ])("are asked for with 407 where a client sends %s, on CONNECT and on http://", async (_name, credentials) => {
    const engine = await start(tokens);
    for (const head of [`${CONNECT(`${HOST}:443`)}${credentials}\r\n`, `${ABSOLUTE}${credentials}\r\n`]) {
      const text = await ask(engine, head);
      expect(text).toMatch(/^HTTP\/1\.1 407 /);
      expect(text).toContain('\r\nproxy-authenticate: Basic realm="tallyman"\r\n');
      expect(code(text)).toBe("proxy_auth_required");
    }
    expect(engine.upstream.connections).toEqual([]);
    expect(engine.flows).toEqual([]);
  });

  it("are judged before anything else is told", async () => {
    const engine = await start({ ...tokens, closedFor: () => DRAINING });
    for (const head of [`${CONNECT("no target")}\r\n`, `${CONNECT(`${HOST}:443`)}\r\n`, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`]) {
      // A request line that is no HTTP never gets so far.
      expect(code(await ask(engine, head))).toMatch(/^(proxy_auth_required|bad_request)$/);
    }
    expect(code(await ask(engine, `${CONNECT("no-port")}\r\n`))).toBe("proxy_auth_required");
  });

  it("let a client in, show the observer its user name, and go no further", async () => {
    const engine = await start(tokens);
    const inside = await secure(engine, basic("agent-7;thread=T:right-secret"));
    inside.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await inside.sees("ok");
    expect(engine.flows[0]?.head.proxyUser).toBe("agent-7;thread=T");
    expect(engine.upstream.connections[0]?.received).not.toMatch(/proxy-authorization/i);
  });

  it("let an http:// request in", async () => {
    const engine = await start({ ...tokens, isUpstreamTls: false });
    const asking = await client(engine);
    asking.send(`${ABSOLUTE}${basic("agent-8:right-secret")}\r\n`);
    await asking.sees("ok");
    expect(engine.flows[0]?.head.proxyUser).toBe("agent-8");
    expect(engine.upstream.connections[0]?.received).toBe(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  });

  it("that nobody asked for still name the user", async () => {
    const engine = await start();
    const inside = await secure(engine, basic("agent-9:anything"));
    inside.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await inside.sees("ok");
    const nameless = await secure(engine);
    nameless.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await nameless.sees("ok");
    expect(engine.flows.map((flow) => flow.head.proxyUser)).toEqual(["agent-9", undefined]);
  });
});

describe("a CONNECT target", () => {
  it("that is malformed is answered 400, and the proxy lives", async () => {
    const engine = await start();
    const targets = [
      HOST, `${HOST}:`, `${HOST}:0`, `${HOST}:65536`, `${HOST}:99999`, `${HOST}:100443`, `${HOST}:-1`, `${HOST}:4e2`, `${HOST}:443/`, `${HOST}:443/path`, `${HOST}/path:443`,
      `http://${HOST}`, `https://${HOST}:443`, `user@${HOST}:443`, `user:secret@${HOST}:443`, `${HOST}:443:443`, `${HOST}:443?q`, `${HOST}:443#f`, "/", "*", ":", ":443", "", " ",
      `${HOST} :443`, `${HOST}: 443`, `api example.com:443`, `${HOST}:443 x`, "h\xf3st:443", "\u0445\u043e\u0441\u0442:443", "host\u0000:443", "host\t:443", "[::1]", "[::1]:0", "[::1]:70000", "[::1:443", "::1:443", "[]:443",
      "[host]:443", "[fe80::1%25lo]:443", "a..b:443", ".:443", "-a:443", "a-:443", "*.example.com:443", "%61:443", `${"a".repeat(64)}:443`, `${"a.".repeat(150)}a:443`, `${"a".repeat(60_000)}:443`, `${"9".repeat(60_000)}`,
    ];
    for (const target of targets) {
      const text = await ask(engine, `${CONNECT(target)}\r\n`);
      expect([target.slice(0, 40), text.slice(0, 12), code(text)]).toEqual([target.slice(0, 40), "HTTP/1.1 400", "bad_request"]);
    }
    expect(engine.upstream.connections).toEqual([]);
    await until(() => engine.proxy.connections === 0, "every connection to end");
    const inside = await secure(engine);
    inside.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await inside.sees("ok");
  });

  it("may be in capitals, with a trailing dot, and is known by its plain name", async () => {
    const engine = await start();
    const inside = await tunnelClient(engine.proxy.port, "API.Example.COM.:443", { ca: engine.ca.certificatePem, servername: HOST });
    undo.push(() => inside.destroy());
    inside.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await inside.sees("ok");
    expect(engine.flows[0]?.head).toMatchObject({ host: HOST, port: 443, scheme: "https" });
  });
});

/** A TLS client whose first flight is held back, so that it can leave in the same packet as the CONNECT. */
function heldTls(engine: Engine): { readonly tls: ReturnType<typeof tlsConnect>; readonly wire: Duplex; readonly hello: Promise<Buffer> } {
  const hello = Promise.withResolvers<Buffer>();
  let target: RawClient | undefined;
  const wire = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      if (target === undefined) {
        hello.resolve(chunk);
        rawClient(engine.proxy.port).then((made) => {
          target = made;
          undo.push(() => made.destroy());
          made.socket.write(Buffer.concat([Buffer.from(`${CONNECT(`${HOST}:443`)}\r\n`), chunk]));
          let isHead = true;
          made.socket.on("data", (data: Buffer) => {
            const from = isHead ? data.indexOf("\r\n\r\n") + 4 : 0;
            isHead = false;
            if (from < data.length) wire.push(data.subarray(from));
          });
        }, hello.reject);
      } else target.socket.write(chunk);
      done();
    },
  });
  const tls = tlsConnect({ socket: wire, servername: HOST, ca: engine.ca.certificatePem });
  return { tls, wire, hello: hello.promise };
}

describe("bytes that a client sends with its CONNECT", () => {
  it("are its TLS handshake", async () => {
    const engine = await start();
    const { tls } = heldTls(engine);
    undo.push(() => tls.destroy());
    let received = "";
    tls.on("data", (chunk: Buffer) => (received += chunk.toString()));
    await once(tls, "secureConnect");
    tls.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await until(() => received.includes("ok"), "the answer");
  });

  it("go through a tunnel", async () => {
    const engine = await start(TUNNELLED, ({ socket, received }) => void (received === "early bytes" && socket.write("answer")));
    const asking = await client(engine);
    asking.send(`${CONNECT(`${HOST}:443`)}\r\nearly bytes`);
    expect(await asking.sees("answer")).toBe("HTTP/1.1 200 Connection Established\r\n\r\nanswer");
  });
});

describe("bytes that are no TLS", () => {
  it("to an intercepted host are tunnelled, and seen by nobody", async () => {
    const engine = await start({ isUpstreamTls: false }, ({ socket, received }) => void (received.endsWith("SSH-2.0-c\r\n") && socket.write("SSH-2.0-s\r\n")));
    const inside = await tunnel(engine);
    inside.send("SSH-2.0-c\r\n");
    await inside.sees("SSH-2.0-s\r\n");
    inside.socket.end();
    await until(() => engine.upstream.connections[0]?.isEnded === true, "the end to arrive");
    engine.upstream.connections[0]?.socket.end();
    await until(() => engine.tunnels.length === 1, "the report");
    expect(engine.tunnels[0]).toMatchObject({ host: HOST, port: 443, bytesUp: 11, bytesDown: 11 });
    expect(engine.flows).toEqual([]);
  });

  it("that cannot be tunnelled close the connection", async () => {
    const engine = await start({ connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: 1 }] });
    const inside = await tunnel(engine);
    inside.send("SSH-2.0-c\r\n");
    await inside.closed();
    await until(() => engine.proxy.connections === 0, "the connection to end");
  });
});

describe("a raw tunnel", () => {
  it("passes every byte as it is, both ways, and reports them", async () => {
    const up = randomBytes(300_000);
    const down = randomBytes(500_000);
    const engine = await start(TUNNELLED, ({ socket, received }) => void (received.length === up.length && socket.end(down)));
    const inside = await tunnel(engine);
    inside.socket.write(up);
    await until(() => inside.received.length === down.length, "everything to arrive");
    expect(Buffer.from(inside.received, "latin1").equals(down)).toBe(true);
    expect(Buffer.from(engine.upstream.connections[0]?.received ?? "", "latin1").equals(up)).toBe(true);
    inside.socket.end();
    await until(() => engine.tunnels.length === 1, "the report");
    expect(engine.tunnels[0]).toMatchObject({ host: HOST, port: 443, bytesUp: up.length, bytesDown: down.length });
    expect(engine.tunnels[0]?.durationMs).toBeGreaterThanOrEqual(0);
    expect(engine.flows).toEqual([]);
  });

  it("passes a half-close of either side on and lets the other talk", async () => {
    const engine = await start(TUNNELLED);
    const first = await tunnelClient(engine.proxy.port, `${HOST}:443`);
    undo.push(() => first.destroy());
    first.socket.allowHalfOpen = true;
    first.socket.end("all I have");
    await until(() => engine.upstream.connections[0]?.isEnded === true, "the client's end");
    engine.upstream.connections[0]?.socket.end("answer after the end");
    await first.sees("answer after the end");
    await until(() => engine.tunnels.length === 1, "the report");

    const second = await tunnelClient(engine.proxy.port, `${HOST}:443`);
    undo.push(() => second.destroy());
    second.socket.allowHalfOpen = true;
    await until(() => engine.upstream.connections.length === 2, "the second connection");
    engine.upstream.connections[1]?.socket.end("server is done");
    await second.sees("server is done");
    await until(() => second.isEnded, "the server's end");
    second.socket.end("client goes on");
    await until(() => engine.upstream.connections[1]?.received === "client goes on", "what comes after the end");
    await until(() => engine.tunnels.length === 2, "the report");
    expect(engine.tunnels.map(({ bytesUp, bytesDown }) => [bytesUp, bytesDown])).toEqual([[10, 20], [14, 14]]);
  });

  it("ends on the other side when one breaks off", async () => {
    const engine = await start(TUNNELLED);
    const leaving = await tunnel(engine);
    await until(() => engine.upstream.connections.length === 1, "the connection");
    leaving.socket.resetAndDestroy();
    await until(() => engine.upstream.connections[0]?.isClosed === true, "the upstream to see it");
    const staying = await tunnel(engine);
    await until(() => engine.upstream.connections.length === 2, "the connection");
    engine.upstream.connections[1]?.socket.resetAndDestroy();
    await until(() => staying.isClosed, "the client to see it");
    await until(() => engine.proxy.connections === 0, "every connection to end");
    expect(engine.tunnels).toHaveLength(2);
  });

  it("that cannot be opened is answered with its reason", async () => {
    const refused = await start({ ...TUNNELLED, isMapped: false, denyAddresses: [] });
    expect(code(await ask(refused, `${CONNECT("127.0.0.1:1")}\r\n`))).toBe("upstream_unreachable");
    expect(code(await ask(refused, `${CONNECT("no-such-name.invalid:443")}\r\n`))).toBe("upstream_dns");
    expect(refused.answers).toEqual(["upstream_unreachable", "upstream_dns"]);
  });
});

describe("denied addresses", () => {
  const unmapped = { isMapped: false, isUpstreamTls: false } as const;

  it.each(["127.0.0.1", "localhost", "localhost.", "127.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "0x7f.1"])("are refused in a tunnel, after name resolution: %s", async (name) => {
    const engine = await start({ ...unmapped, isIntercepted: () => false });
    const text = await ask(engine, `${CONNECT(`${name}:${engine.upstream.port}`)}\r\n`);
    // A resolver may not know the odd spellings.
    if (!/^(127\.1|0x)/.test(name) || code(text) !== "upstream_dns") {
      expect(text).toMatch(/^HTTP\/1\.1 403 /);
      expect(code(text)).toBe("address_denied");
    }
    expect(engine.upstream.connections).toEqual([]);
  });

  it("are refused to a request inside an intercepted tunnel, and to one over http://", async () => {
    const engine = await start(unmapped);
    const authority = `localhost:${engine.upstream.port}`;
    const inside = await tunnelClient(engine.proxy.port, authority, { ca: engine.ca.certificatePem });
    undo.push(() => inside.destroy());
    inside.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect(await inside.sees("address_denied")).toMatch(/^HTTP\/1\.1 403 /);
    const asking = await client(engine);
    asking.send(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect(await asking.sees("address_denied")).toMatch(/^HTTP\/1\.1 403 /);
    expect(engine.upstream.connections).toEqual([]);
    await until(() => engine.flows.every((flow) => flow.outcome !== undefined), "the flows to end");
    expect(engine.flows.map((flow) => flow.outcome)).toEqual(Array.from({ length: 2 }, () => ({ kind: "refused", status: 403, code: "address_denied" })));
  });

  it("include the proxy itself and its admin port, whatever the settings say", async () => {
    const engine = await start({ isMapped: false, isIntercepted: () => false, denyAddresses: [], otherOwnPorts: () => [9] });
    for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"]) {
      for (const port of [engine.proxy.port, 9]) expect(code(await ask(engine, `${CONNECT(`${host}:${port}`)}\r\n`))).toBe("address_denied");
    }
  });

  it("include the proxy itself also where TALLYMAN_CONNECT_TO leads to it", async () => {
    const rules: { host: undefined; port: undefined; toHost: string; toPort: number }[] = [];
    const engine = await start({ isIntercepted: () => false, connectTo: rules });
    rules.push({ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: engine.proxy.port });
    expect(code(await ask(engine, `${CONNECT(`${HOST}:443`)}\r\n`))).toBe("address_denied");
  });
});

describe("an http:// request", () => {
  it("goes to its authority with its path untouched, and is watched", async () => {
    const engine = await start({ isUpstreamTls: false });
    const asking = await client(engine);
    asking.send(`GET http://${HOST}/a//b%2F?x=%20&y#  HTTP/1.1\r\n`.replace("#  ", " "));
    asking.send(`Host: ${HOST}\r\nX-CaSe: 1\r\n\r\n`);
    await asking.sees("ok");
    expect(engine.upstream.connections[0]?.received).toBe(`GET /a//b%2F?x=%20&y HTTP/1.1\r\nHost: ${HOST}\r\nX-CaSe: 1\r\n\r\n`);
    expect(engine.flows[0]).toMatchObject({ head: { scheme: "http", host: HOST, port: 80, target: "/a//b%2F?x=%20&y" }, outcome: { kind: "complete" } });
    expect(engine.flows[0]?.response.toString()).toBe("ok");
  });

  it.each([
    [`http://${HOST}`, "/", 80],
    [`http://${HOST}?q=1`, "/?q=1", 80],
    [`HTTP://${HOST.toUpperCase()}:8080/x`, "/x", 8080],
    ["http://[::1]:8081/x", "/x", 8081],
  ])("to %s asks for %s", async (url, path, port) => {
    const engine = await start({ isUpstreamTls: false });
    const host = url.includes("[") ? "[::1]:8081" : port === 80 ? HOST : `${HOST}:${port}`;
    const asking = await client(engine);
    asking.send(`GET ${url} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await asking.sees("ok");
    expect(engine.flows[0]?.head).toMatchObject({ target: path, port });
  });

  it("streams its body up", async () => {
    const engine = await start({ isUpstreamTls: false }, (connection) => void (connection.received.endsWith("0\r\n\r\n") && connection.socket.write(OK)));
    const asking = await client(engine);
    asking.send(`POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
    await until(() => engine.flows[0]?.request.toString() === "abc", "the first piece");
    asking.send("0\r\n\r\n");
    await asking.sees("ok");
  });

  it("serves several hosts on one connection", async () => {
    const engine = await start({ isUpstreamTls: false });
    const asking = await client(engine);
    for (const [index, host] of ["one.example", "two.example"].entries()) {
      asking.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await until(() => asking.received.split("ok").length === index + 2, "the answer");
    }
    expect(engine.flows.map((flow) => flow.head.host)).toEqual(["one.example", "two.example"]);
  });

  it("for https:// goes up over TLS", async () => {
    const engine = await start();
    const asking = await client(engine);
    asking.send(`GET https://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await asking.sees("ok");
    expect(engine.flows[0]?.head).toMatchObject({ scheme: "https", port: 443 });
  });

  it.each(["/", "/v1/messages", "ftp://x/", "http://", "http:///x", "http://user@x/", "http://x:0/", "http://x:99999/", "http://a b/", "http://x/#f", "*", "x:443"])("of the form %s is answered 400 with advice", async (target) => {
    const engine = await start({ isUpstreamTls: false });
    const text = await ask(engine, `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(code(text)).toBe("bad_request");
    if (target.startsWith("/")) expect(text).toContain("HTTPS_PROXY");
    expect(engine.upstream.connections).toEqual([]);
  });

  it("without a Host gets one from its target", async () => {
    const engine = await start({ isUpstreamTls: false });
    const asking = await client(engine);
    asking.send(`GET http://${HOST}/ HTTP/1.0\r\nX-A: 1\r\n\r\n`);
    await asking.sees("ok");
    expect(engine.upstream.connections[0]?.received).toBe(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-A: 1\r\n\r\n`);
  });
});

const DRAINING: ProxyAnswer = { status: 503, code: "draining", message: "shutting down" };

describe("a proxy that is draining", () => {
  it("refuses CONNECT, http:// requests and new requests in tunnels that exist, and lets what is under way finish", async () => {
    const state: { refusal: ProxyAnswer | undefined } = { refusal: undefined };
    const engine = await start({ closedFor: () => state.refusal }, (connection) => void (connection.received.endsWith("\r\n\r\n") && connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")));
    const idle = await secure(engine);
    const busy = await secure(engine);
    busy.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await busy.sees("first");
    state.refusal = DRAINING;
    for (const head of [`${CONNECT(`${HOST}:443`)}\r\n`, `${ABSOLUTE}\r\n`]) {
      const text = await ask(engine, head);
      expect(text).toMatch(/^HTTP\/1\.1 503 /);
      expect(code(text)).toBe("draining");
    }
    idle.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const text = await idle.closed();
    expect([text.slice(0, 12), code(text)]).toEqual(["HTTP/1.1 503", "draining"]);
    engine.upstream.connections[0]?.socket.write("/last");
    await busy.sees("first/last");
    expect(engine.flows).toHaveLength(1);
    expect(engine.answers).toEqual(["draining", "draining", "draining"]);
  });
});

describe("a client that does not get through its handshake", () => {
  it("because it refuses our CA is reported and leaves nothing behind", async () => {
    const failed: string[] = [];
    const engine = await start({ onHandshakeError: (host) => void failed.push(host) });
    // One that sends the alert; Node's own verifies after its handshake.
    const { socket } = await tunnel(engine);
    const tls = tlsConnect({ socket, servername: HOST, ca: engine.ca.certificatePem, minVersion: "TLSv1.2", maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" });
    await once(tls, "error");
    await until(() => failed.length === 1, "the report");
    await until(() => engine.proxy.connections === 0, "the connection to end");
    expect(failed).toEqual([HOST]);
  });

  it("because it verifies too late leaves nothing behind", async () => {
    const engine = await start();
    await expect(tunnelClient(engine.proxy.port, `${HOST}:443`, { ca: engine.upstreamCa.certificatePem })).rejects.toMatchObject({ code: expect.stringMatching(/CERT|SIGNATURE/) });
    await until(() => engine.proxy.connections === 0, "the connection to end");
    expect(engine.flows).toEqual([]);
  });

  it("because it sends nothing is ended in time", async () => {
    const engine = await start({ handshakeTimeoutMs: 100 });
    const inside = await tunnel(engine);
    await inside.closed();
    await until(() => engine.proxy.connections === 0, "the connection to end");
  });
});

describe("a client that sends no request", () => {
  it("after its handshake is ended in time, and one that did is not", async () => {
    const engine = await start({ firstRequestTimeoutMs: 300 }, ({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    });
    const streaming = await secure(engine);
    streaming.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await streaming.sees("hello");
    const silent = await secure(engine);
    const dripping = await secure(engine);
    dripping.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Unfinished: `);
    await Promise.all([silent.closed(), dripping.closed()]);
    await until(() => engine.proxy.connections === 1, "the two to end");
    engine.upstream.connections[0]?.socket.write("6\r\n world\r\n0\r\n\r\n");
    await streaming.sees("world");
  });
});

describe("close", () => {
  it("ends every connection and lets nobody in any more", async () => {
    const engine = await start({ isIntercepted: (host) => host === HOST });
    const inside = await secure(engine);
    inside.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await inside.sees("ok");
    const raw = await tunnel(engine, "raw.example:443");
    const plain = await client(engine);
    plain.send(ABSOLUTE);
    await engine.proxy.close();
    await Promise.all([inside.closed(), raw.closed(), plain.closed()]);
    await expect(rawClient(engine.proxy.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(engine.proxy.connections).toBe(0);
  });
});
