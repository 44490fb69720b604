import { afterEach, describe, expect, it } from "vitest";

import { startEngine, type Engine, type EngineOptions } from "../support/engine.ts";
import { rawClient, tunnelClient, type RawClient, type UpstreamConnection } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const UPGRADE =
  "GET /live HTTP/1.1\r\nHost: api.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n\r\n";
const SWITCHING =
  "HTTP/1.1 101 Now We Talk\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
  "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: b\r\n\r\n";

let engine: Engine | undefined;

afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function start(onData: (connection: UpstreamConnection) => void, options: EngineOptions = {}): Promise<Engine> {
  engine = await startEngine(onData, options);
  return engine;
}

/** Answers the first head that arrives; what follows is left in `received`. */
function answering(text: string): (connection: UpstreamConnection) => void {
  const answered = new WeakSet<UpstreamConnection>();
  return (connection) => {
    if (answered.has(connection) || !connection.received.includes("\r\n\r\n")) return;
    answered.add(connection);
    connection.socket.write(text, "latin1");
  };
}

async function upgraded(running: Engine, text = UPGRADE): Promise<RawClient> {
  const client = await tunnelClient(running.proxy.port, "api.example.com:443", { ca: running.ca.certificatePem });
  client.send(text);
  return client;
}

describe("a WebSocket upgrade", () => {
  it("goes to the upstream first and comes back as the upstream answered, head and early bytes", async () => {
    const running = await start(answering(`${SWITCHING}\x81\x02hi`));
    const client = await upgraded(running);
    expect(await client.sees("\x81\x02hi")).toBe(`${SWITCHING}\x81\x02hi`);
    expect(running.upstream.connections[0]?.received).toBe(UPGRADE.replace("keep-alive, Upgrade", "Upgrade"));
  });

  it("carries bytes both ways unchanged, and shows them to the tap", async () => {
    const running = await start(answering(SWITCHING));
    const client = await upgraded(running, `${UPGRADE}early`);
    await client.sees("\r\n\r\n");
    client.send("\x00\xffup");
    const [connection] = running.upstream.connections;
    await until(() => connection?.received.endsWith("early\x00\xffup") === true, "the client's bytes");
    connection?.socket.write("\xfe\x00down", "latin1");
    await client.sees("\xfe\x00down");
    expect(running.flows[0]?.head.protocol).toBe("websocket");
    expect(running.flows[0]?.request.toString("latin1")).toBe("early\x00\xffup");
    expect(running.flows[0]?.response.toString("latin1")).toBe("\xfe\x00down");
    expect(running.flows[0]?.responseHead?.status).toBe(101);
  });

  it.each(["client", "upstream"] as const)("holds the %s back while the other side does not read, and loses nothing", async (sending) => {
    const running = await start(answering(SWITCHING));
    const client = await upgraded(running);
    await client.sees("\r\n\r\n");
    const near = client.socket;
    const far = (running.upstream.connections[0] as UpstreamConnection).socket;
    const [sender, reader] = sending === "client" ? [near, far] : [far, near];
    reader.removeAllListeners("data");
    reader.pause();
    const piece = Buffer.alloc(1024 * 1024, 0x62);
    const total = 64;
    for (let i = 0; i < total; i++) sender.write(piece);
    let last = -1;
    await until(async () => {
      const before = last;
      last = sender.bytesWritten - sender.writableLength;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return last > 0 && before === last;
    }, "the sender to be held back");
    expect(sender.writableLength).toBeGreaterThan((total / 2) * piece.length);
    let arrived = 0;
    reader.on("data", (chunk: Buffer) => (arrived += chunk.length));
    reader.resume();
    await until(() => arrived === total * piece.length, "the rest to arrive", 60_000);
  });

  it("passes a half-close on, and ends when both sides have", async () => {
    const running = await start(answering(SWITCHING));
    const client = await upgraded(running);
    await client.sees("\r\n\r\n");
    client.socket.end();
    const [connection] = running.upstream.connections;
    await until(() => connection?.isEnded === true, "the end at the upstream");
    expect(running.flows[0]?.outcome).toBeUndefined();
    connection?.socket.end("last");
    await client.sees("last");
    await until(() => running.flows[0]?.outcome !== undefined, "the flow's end");
    expect(running.flows[0]?.outcome).toEqual({ kind: "complete" });
  });

  it("breaks off at the client when the upstream breaks off", async () => {
    const running = await start(answering(SWITCHING), { isUpstreamTls: false });
    const client = await rawClient(running.proxy.port);
    client.send(UPGRADE.replace("/live", "http://api.example.com/live"));
    await client.sees("\r\n\r\n");
    running.upstream.connections[0]?.socket.resetAndDestroy();
    await until(() => client.isClosed, "the client's connection to close");
    await until(() => running.flows[0]?.outcome !== undefined, "the flow's end");
    expect(running.flows[0]?.outcome).toEqual({ kind: "upstream_aborted" });
  });

  it("breaks off at the upstream when the client breaks off", async () => {
    const running = await start(answering(SWITCHING), { isUpstreamTls: false });
    const client = await rawClient(running.proxy.port);
    client.send(UPGRADE.replace("/live", "http://api.example.com/live"));
    await client.sees("\r\n\r\n");
    client.socket.resetAndDestroy();
    await until(() => running.upstream.connections[0]?.isClosed === true, "the upstream's connection to close");
    await until(() => running.flows[0]?.outcome !== undefined, "the flow's end");
    expect(running.flows[0]?.outcome).toEqual({ kind: "client_aborted" });
  });

  it("holds bytes of the upstream back for as long as the tap says, in order", async () => {
    const running = await start(answering(SWITCHING));
    const held = Promise.withResolvers<void>();
    running.holdResponseData = (chunk) => (Buffer.from(chunk).includes("held") ? held.promise : undefined);
    const client = await upgraded(running);
    await client.sees("\r\n\r\n");
    const [connection] = running.upstream.connections;
    connection?.socket.write("held");
    await until(() => running.flows[0]?.response.toString() === "held", "the tap to see the bytes");
    connection?.socket.end("after");
    await new Promise((resolve) => setImmediate(resolve));
    expect(client.received.endsWith("\r\n\r\n")).toBe(true);
    held.resolve();
    expect((await client.sees("after")).endsWith("heldafter")).toBe(true);
    client.socket.end();
    await until(() => running.flows[0]?.outcome !== undefined, "the flow's end");
  });

  it("that is refused keeps the upstream's status, body and fields, and ends the connection", async () => {
    const running = await start(answering("HTTP/1.1 401 Who Are You\r\nWWW-Authenticate: Bearer\r\nContent-Length: 6\r\n\r\nno key"));
    const client = await upgraded(running);
    const answer = await client.closed();
    expect(answer).toMatch(/^HTTP\/1\.1 401 Who Are You\r\nWWW-Authenticate: Bearer\r\nContent-Length: 6\r\n/);
    expect(answer.endsWith("no key")).toBe(true);
    expect(running.flows[0]?.outcome).toEqual({ kind: "complete" });
  });

  it("to an upstream that cannot be reached is 502", async () => {
    const running = await start(() => undefined);
    await running.upstream.close();
    const client = await upgraded(running);
    expect(await client.closed()).toContain("x-tallyman-error: upstream_unreachable");
  });

  it("works on a plain http:// connection to the proxy", async () => {
    const running = await start(answering(SWITCHING), { isUpstreamTls: false });
    const client = await rawClient(running.proxy.port);
    client.send(UPGRADE.replace("/live", "http://api.example.com/live"));
    await client.sees("\r\n\r\n");
    client.send("up");
    await until(() => running.upstream.connections[0]?.received.endsWith("up") === true, "the client's bytes");
    client.destroy();
  });

  it("to anything but a WebSocket is an ordinary request", async () => {
    const running = await start(answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    const client = await upgraded(running, "POST /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 3\r\n\r\nabc");
    await client.sees("ok");
    expect(running.upstream.connections[0]?.received).toBe("POST /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 3\r\n\r\nabc");
  });

  it("that nobody asked for is 502", async () => {
    const running = await start(answering(SWITCHING));
    const client = await upgraded(running, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    expect(await client.sees("upstream_protocol")).toMatch(/^HTTP\/1\.1 502 /);
  });
});

describe("interim responses", () => {
  const OK = "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok";

  it.each([
    ["one", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"],
    ["several", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 E\xe4rly\r\nLink: <a>\r\nlink: <b>\r\n\r\n"],
    ["an unasked 100", "HTTP/1.1 100 Continue\r\n\r\n"],
  ])("%s reach the client as they are, at whatever byte they are split", async (_name, interim) => {
    const whole = interim + OK;
    let split = 0;
    const running = await start((connection) => {
      if (!connection.received.endsWith("\r\n\r\n")) return;
      connection.received = "";
      const at = split;
      connection.socket.write(whole.slice(0, at), "latin1", () => setImmediate(() => connection.socket.write(whole.slice(at), "latin1")));
    });
    const client = await tunnelClient(running.proxy.port, "api.example.com:443", { ca: running.ca.certificatePem });
    for (split = 0; split <= interim.length + 12; split += 1) {
      const before = client.received.length;
      client.send(`GET /${split} HTTP/1.1\r\nHost: api.example.com\r\n\r\n`);
      await until(() => client.received.slice(before).endsWith("ok"), "the response");
      expect(client.received.slice(before).startsWith(interim + "HTTP/1.1 200 Fine\r\n")).toBe(true);
    }
    expect(running.upstream.connections).toHaveLength(1);
  });

  it("are not shown to an HTTP/1.0 client", async () => {
    const running = await start(answering(`HTTP/1.1 103 Early Hints\r\n\r\n${OK}`));
    const client = await tunnelClient(running.proxy.port, "api.example.com:443", { ca: running.ca.certificatePem });
    client.send("GET / HTTP/1.0\r\nHost: api.example.com\r\n\r\n");
    expect(await client.sees("ok")).toMatch(/^HTTP\/1\.1 200 Fine\r\n/);
  });

  it("without end are 502", async () => {
    const running = await start(answering("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)));
    const client = await tunnelClient(running.proxy.port, "api.example.com:443", { ca: running.ca.certificatePem });
    client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    await client.sees("HTTP/1.1 502");
  });
});

describe("a client that expects 100 (Continue)", () => {
  const HEAD = "POST /up HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

  it("gets it from the upstream, and then sends its body", async () => {
    const running = await start((connection) => {
      if (connection.received === HEAD) connection.socket.write("HTTP/1.1 100 Go On\r\nX-A: 1\r\n\r\n");
      if (connection.received === `${HEAD}abc`) connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    const client = await tunnelClient(running.proxy.port, "api.example.com:443", { ca: running.ca.certificatePem });
    client.send(HEAD);
    expect(await client.sees("\r\n\r\n")).toBe("HTTP/1.1 100 Go On\r\nX-A: 1\r\n\r\n");
    client.send("abc");
    await client.sees("ok");
  });

  it("gets a final answer in its place, and the connection ends", async () => {
    const running = await start(answering("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"));
    const client = await tunnelClient(running.proxy.port, "api.example.com:443", { ca: running.ca.certificatePem });
    client.send(HEAD);
    const answer = await client.closed();
    expect(answer).toMatch(/^HTTP\/1\.1 413 Too Large\r\n/);
    expect(answer).toMatch(/\r\nConnection: close\r\n/);
    expect(answer.endsWith("no")).toBe(true);
  });
});
