import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { createAddressPolicy } from "../../src/proxy/address-policy.ts";
import { loadOrCreateAuthority, type CertificateAuthority } from "../../src/proxy/certificate-authority.ts";
import { createDialer, type Dialer, type DialerOptions } from "../../src/proxy/dialer.ts";
import { createNameResolver } from "../../src/proxy/name-resolution.ts";
import { ProxyError } from "../../src/proxy/proxy-error.ts";
import { MAX_PROXY_HEAD_BYTES, requestTunnel, type ProxyCredentials, type UpstreamProxy } from "../../src/proxy/upstream-proxy.ts";
import { startRawUpstream, type RawUpstream } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const NAME = "api.example.com";
const DENIED = ["127.0.0.0/8", "::1/128", "169.254.0.0/16"];
const OK = "HTTP/1.1 200 Connection established\r\n\r\n";
let dir: string;
let authority: CertificateAuthority;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-upstream-proxy-"));
  authority = await loadOrCreateAuthority(dir);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

interface TestProxy {
  readonly port: number;
  /** The heads it was sent, whole. */
  readonly heads: string[];
  readonly sockets: Socket[];
}

/** A proxy that does with a connection what it is told once its head is in. */
async function proxy(onHead: (socket: Socket, head: string) => void, allowHalfOpen = false): Promise<TestProxy> {
  const heads: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    let received = "";
    const read = (chunk: Buffer): void => {
      received += chunk.toString("latin1");
      const end = received.indexOf("\r\n\r\n");
      if (end === -1) return;
      socket.off("data", read);
      socket.pause();
      if (received.length > end + 4) socket.unshift(Buffer.from(received.slice(end + 4), "latin1"));
      heads.push(received.slice(0, end + 4));
      onHead(socket, received.slice(0, end + 4));
    };
    socket.on("data", read);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, heads, sockets };
}

/** A real small CONNECT proxy: leads every target to one port, after this answer. */
function forwarding(port: number, answer = OK): Promise<TestProxy> {
  return proxy((socket) => {
    const onward = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => {
      socket.write(answer);
      socket.pipe(onward).pipe(socket);
    });
    undo.push(() => onward.destroy());
    onward.on("error", () => socket.destroy());
  }, true);
}

const answering = (answer: string | Buffer): Promise<TestProxy> => proxy((socket) => void socket.write(answer));

async function upstream(isTls: boolean): Promise<RawUpstream> {
  const leaf = isTls ? await authority.issueLeaf(NAME, 3_600_000, Date.now()) : undefined;
  const started = await startRawUpstream(leaf, (connection) => void connection.socket.write(connection.received));
  undo.push(() => started.close());
  return started;
}

type Options = Partial<DialerOptions> & { credentials?: ProxyCredentials; ownPorts?: readonly number[]; proxyHost?: string };

function through(port: number, options: Options = {}): Dialer {
  const upstreamProxy: UpstreamProxy = { host: options.proxyHost ?? "127.0.0.1", port, credentials: options.credentials };
  return createDialer({
    policy: createAddressPolicy({ denied: DENIED, ownPorts: () => new Set(options.ownPorts ?? []) }),
    connectTo: [],
    extraCaPem: authority.certificatePem,
    connectTimeoutMs: 10_000,
    upstreamProxy,
    ...options,
  });
}

type Dial = Dialer["dialTcp"];

function dialled(dial: Dial, host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    dial({ host, port }, (error, socket) => {
      if (socket !== undefined) {
        undo.push(() => socket.destroy());
        socket.on("error", () => undefined);
        resolve(socket);
      } else reject(error ?? new Error("neither an error nor a socket"));
    });
  });
}

async function failure(dial: Dial, host = NAME, port = 443): Promise<ProxyError> {
  const error = await dialled(dial, host, port).catch((caught: unknown) => caught);
  if (!(error instanceof ProxyError)) throw new TypeError(`no ProxyError: ${String(error)}`);
  return error;
}

/** What the socket receives. */
function collect(socket: Socket): { text: string; isEnded: boolean } {
  const seen = { text: "", isEnded: false };
  socket.on("data", (chunk: Buffer) => (seen.text += chunk.toString("latin1")));
  socket.on("end", () => (seen.isEnded = true));
  return seen;
}

describe("a connection through the chained proxy", () => {
  it("is asked for by CONNECT, carries bytes both ways and each half's end", async () => {
    const peer = await upstream(false);
    const chain = await forwarding(peer.port);
    const socket = await dialled(through(chain.port).dialTcp, NAME, 80);
    const seen = collect(socket);
    socket.end("hello");
    await until(() => seen.text === "hello" && peer.connections[0]?.isEnded === true, "the echo and the end");
    expect(socket.destroyed).toBe(false);
    peer.connections[0]?.socket.end();
    await until(() => seen.isEnded, "the upstream's end");
    expect(chain.heads).toEqual([`CONNECT ${NAME}:80 HTTP/1.1\r\nHost: ${NAME}:80\r\n\r\n`]);
  });

  it("carries TLS whose end is the upstream, verified by its name", async () => {
    const peer = await upstream(true);
    const chain = await forwarding(peer.port);
    const tls = through(chain.port);
    for (const isReused of [false, true]) {
      const socket = await dialled(tls.dialTls, NAME, 443);
      const seen = collect(socket);
      socket.write("hello");
      await until(() => seen.text === "hello", "the echo");
      expect(socket instanceof TLSSocket && [socket.authorized, socket.isSessionReused()]).toEqual([true, isReused]);
    }
    expect(await failure(tls.dialTls, "other.example.com")).toMatchObject({ code: "upstream_tls", message: expect.stringContaining("ERR_TLS_CERT_ALTNAME_INVALID") });
    expect(await failure(through(chain.port, { extraCaPem: undefined }).dialTls)).toMatchObject({ code: "upstream_tls", message: expect.stringContaining("TALLYMAN_UPSTREAM_CA_FILE") });
  });

  it("writes IPv6 targets in brackets", async () => {
    const peer = await upstream(false);
    const chain = await forwarding(peer.port);
    await dialled(through(chain.port).dialTcp, "2001:db8::1", 8443);
    expect(chain.heads).toEqual(["CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n"]);
  });

  it("asks for where a connect-to rule leads, and keeps the TLS name", async () => {
    const peer = await upstream(true);
    const chain = await forwarding(peer.port);
    const connectTo = [{ host: NAME, port: 443, toHost: "localhost", toPort: 8443 }];
    const socket = await dialled(through(chain.port, { connectTo }).dialTls, NAME, 443);
    expect(socket instanceof TLSSocket && socket.authorized).toBe(true);
    expect(chain.heads[0]).toContain("CONNECT localhost:8443 HTTP/1.1\r\n");
  });

  it("resolves the proxy's name, and none of the target's", async () => {
    const peer = await upstream(false);
    const chain = await forwarding(peer.port);
    const asked: string[] = [];
    const names = createNameResolver((name, callback) => {
      asked.push(name);
      setImmediate(callback, null, [{ address: "127.0.0.1", family: 4 }]);
    });
    await dialled(through(chain.port, { names, proxyHost: "proxy.example" }).dialTcp, "no-such-name.invalid", 443);
    expect(asked).toEqual(["proxy.example"]);
    expect(chain.heads[0]).toContain("CONNECT no-such-name.invalid:443 ");
  });
});

describe("credentials", () => {
  it("are sent as UTF-8 Basic to a proxy that demands them", async () => {
    const peer = await upstream(false);
    const expected = `Proxy-Authorization: Basic ${Buffer.from("jürgen:pa:ss wörd/€").toString("base64")}\r\n`;
    const chain = await proxy((socket, head) => {
      if (!head.includes(expected)) {
        socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      const onward = connect({ port: peer.port, host: "127.0.0.1" }, () => socket.write(OK));
      undo.push(() => onward.destroy());
      socket.pipe(onward).pipe(socket);
    });
    const credentials = { user: "jürgen", password: "pa:ss wörd/€" };
    await dialled(through(chain.port, { credentials }).dialTcp, NAME, 443);
    expect(chain.heads[0]).toBe(`CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n${expected}\r\n`);
    for (const wrong of [undefined, { user: "jürgen", password: "other" }]) {
      const error = await failure(through(chain.port, wrong === undefined ? {} : { credentials: wrong }).dialTcp);
      expect(error).toMatchObject({ code: "upstream_unreachable", status: 502, message: expect.stringMatching(/407.*check the credentials in TALLYMAN_UPSTREAM_PROXY/) });
    }
  });

  it("are in no error, whatever the proxy does", async () => {
    const credentials = { user: "alice-user", password: "hunter2-secret" };
    const token = Buffer.from("alice-user:hunter2-secret").toString("base64");
    const echo = await proxy((socket, head) => void socket.end(`HTTP/1.1 400 ${head.split("\r\n").join(" ")}\r\n\r\n${head}`));
    const garbage = await proxy((socket, head) => void socket.end(head));
    const reset = await proxy((socket) => socket.resetAndDestroy());
    const failures = [
      await failure(through(echo.port, { credentials }).dialTls),
      await failure(through(garbage.port, { credentials }).dialTls),
      await failure(through(reset.port, { credentials }).dialTls),
      await failure(through(1, { credentials }).dialTls),
    ];
    expect(failures.map(({ code }) => code)).toEqual(["upstream_unreachable", "upstream_protocol", "upstream_unreachable", "upstream_unreachable"]);
    for (const error of failures) {
      const told = [error.message, error.stack, String(error.cause), JSON.stringify(error), JSON.stringify(error.cause)].join("\n");
      for (const secret of ["alice-user", "hunter2-secret", token]) expect(told).not.toContain(secret);
    }
  });
});

describe("the proxy's answer", () => {
  it.each([
    ["a 200 without a reason", "HTTP/1.1 200\r\n\r\n"],
    ["HTTP/1.0 and another 2xx", "HTTP/1.0 299 Fine\r\nVia: 1.1 x\r\n\r\n"],
    ["framing fields, which mean nothing here", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["interim answers first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
    ["bytes above ASCII", "HTTP/1.1 200 Verbindung hergestellt \u00fc\r\nX-Name: \u00e9\r\n\r\n"],
  ])("may be %s", async (_name, answer) => {
    const peer = await upstream(true);
    const chain = await forwarding(peer.port, answer);
    const socket = await dialled(through(chain.port).dialTls, NAME, 443);
    expect(socket instanceof TLSSocket && socket.authorized).toBe(true);
  });

  it("leaves the bytes behind it to the tunnel, exactly, however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 4 }), fc.boolean(), async (rest, cuts, isInterim) => {
        const whole = Buffer.concat([Buffer.from(`${isInterim ? "HTTP/1.1 102 Processing\r\n\r\n" : ""}${OK}`), rest]);
        const chain = await proxy((socket) => {
          socket.setNoDelay(true);
          const places = [0, ...cuts.filter((cut) => cut < whole.length).toSorted((a, b) => a - b), whole.length];
          const pieces = places.slice(1).map((end, index) => whole.subarray(places[index], end));
          const next = (): void => {
            const piece = pieces.shift();
            if (piece === undefined) socket.end();
            else socket.write(piece, () => setImmediate(next));
          };
          next();
        });
        const seen = collect(await dialled(through(chain.port).dialTcp, NAME, 80));
        await until(() => seen.isEnded, "the end");
        expect(Buffer.from(seen.text, "latin1").equals(Buffer.from(rest))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("hands the bytes behind it over to the TLS handshake", async () => {
    const chain = await answering(`${OK}SSH-2.0-x\r\n`);
    expect(await failure(through(chain.port).dialTls)).toMatchObject({ code: "upstream_tls", message: expect.stringContaining("ERR_SSL_") });
  });

  it("lets a reader pause, read and resume the socket afterwards", async () => {
    const chain = await answering(`${OK}first`);
    const socket = await dialled(through(chain.port).dialTcp, NAME, 80);
    await new Promise((resolve) => socket.once("readable", resolve));
    expect(String(socket.read())).toBe("first");
    const seen = collect(socket);
    chain.sockets[0]?.write("second");
    await until(() => seen.text === "second", "what came later");
  });

  it.each([
    [403, /403.*rules/],
    [407, /407.*credentials in TALLYMAN_UPSTREAM_PROXY/],
    [301, /301.*rules/],
    [101, /101/],
    [502, /502.*did not reach the upstream/],
    [504, /504.*did not reach the upstream/],
  ])("%i is upstream_unreachable, closes the connection and tells the status alone", async (status, message) => {
    const chain = await answering(`HTTP/1.1 ${status} Secret Reason\r\nX-Secret: y\r\nContent-Length: 6\r\n\r\nsecret`);
    const error = await failure(through(chain.port).dialTls);
    expect(error).toMatchObject({ code: "upstream_unreachable", status: 502, message: expect.stringMatching(message) });
    expect(error.message).not.toMatch(/secret/i);
    await until(() => chain.sockets[0]?.resume().closed === true, "the connection to close");
  });

  it.each([
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["a byte that begins no status line", "\u0015"],
    ["HTTP/2", "HTTP/2 200\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status beyond 599", "HTTP/1.1 600 OK\r\n\r\n"],
    ["a bare line feed", "HTTP/1.1 200 OK\n\n"],
    ["a null byte in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"],
    ["a carriage return inside of a field", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"],
    ["a field without a colon", "HTTP/1.1 200 OK\r\nfield\r\n\r\n"],
    ["a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
    ["no final answer behind an interim one", "HTTP/1.1 100 Continue\r\n\r\nxyz"],
    ["no end", `HTTP/1.1 200 OK\r\nA: ${"b".repeat(MAX_PROXY_HEAD_BYTES)}`],
    ["interim answers without end", "HTTP/1.1 102 Processing\r\n\r\n".repeat(MAX_PROXY_HEAD_BYTES / 26)],
    ["a head beyond the bound", `HTTP/1.1 200 OK\r\nA: ${"b".repeat(MAX_PROXY_HEAD_BYTES)}\r\n\r\n`],
  ])("with %s is upstream_protocol", async (_name, answer) => {
    const chain = await answering(Buffer.from(answer, "latin1"));
    expect(await failure(through(chain.port).dialTcp)).toMatchObject({ code: "upstream_protocol", status: 502, message: expect.stringContaining("TALLYMAN_UPSTREAM_PROXY") });
  });

  it("may be as long as the bound", async () => {
    const start = "HTTP/1.1 200 OK\r\nA: ";
    const chain = await answering(`${start}${"b".repeat(MAX_PROXY_HEAD_BYTES - start.length - 4)}\r\n\r\nrest`);
    const seen = collect(await dialled(through(chain.port).dialTcp, NAME, 80));
    await until(() => seen.text === "rest", "the bytes behind the head");
  });

  it("beyond the bound is upstream_protocol also where its last piece brings its end", async () => {
    const chain = await proxy((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nA: ${"b".repeat(MAX_PROXY_HEAD_BYTES - 1000)}`, () => setImmediate(() => socket.write(`${"b".repeat(1000)}\r\n\r\n`)));
    });
    expect(await failure(through(chain.port).dialTcp)).toMatchObject({ code: "upstream_protocol" });
  });

  it("is told once, also where the tunnel then ends", async () => {
    const chain = await proxy((socket) => void socket.end(`${OK}rest`));
    const socket = connect({ port: chain.port, host: "127.0.0.1" });
    undo.push(() => socket.destroy());
    const told: (ProxyError | null)[] = [];
    requestTunnel(socket, { host: NAME, port: 443 }, undefined, (error) => void told.push(error));
    await until(() => told.length === 1, "the answer");
    const seen = collect(socket);
    await until(() => seen.isEnded, "the end");
    expect([seen.text, told]).toEqual(["rest", [null]]);
  });

  it.each([
    ["closes", (socket: Socket) => void socket.end(), /closed the connection before it answered/],
    ["closes inside the head", (socket: Socket) => void socket.end("HTTP/1.1 200 OK\r\nA"), /closed the connection before it answered/],
    ["resets", (socket: Socket) => void socket.resetAndDestroy(), /the upstream proxy .*\(ECONNRESET\)/],
  ])("that never comes because the proxy %s is upstream_unreachable", async (_name, act, message) => {
    const chain = await proxy(act);
    expect(await failure(through(chain.port).dialTcp)).toMatchObject({ code: "upstream_unreachable", message: expect.stringMatching(message) });
  });

  it("followed by the tunnel's end fails the handshake, and not at the deadline", async () => {
    const chain = await proxy((socket) => void socket.end(OK));
    expect(await failure(through(chain.port, { connectTimeoutMs: 600_000 }).dialTls)).toMatchObject({ code: "upstream_tls" });
  });
});

describe("the deadline and giving up", () => {
  it.each([
    ["says nothing", "", /no answer of the upstream proxy/],
    ["stops inside of its answer", "HTTP/1.1 200 O", /no answer of the upstream proxy/],
    ["answers and leaves the handshake hanging", OK, /no connection to the upstream within/],
  ])("end a dial where the proxy %s, and close its connection", async (_name, said, message) => {
    const chain = await proxy((socket) => void socket.resume().write(said));
    const error = await failure(through(chain.port, { connectTimeoutMs: 200 }).dialTls);
    expect(error).toMatchObject({ code: "upstream_timeout", status: 504, message: expect.stringMatching(message) });
    await until(() => chain.sockets[0]?.closed === true, "the connection to close");
  });

  it("close the connection while the proxy thinks, and call back once", async () => {
    const chain = await proxy((socket) => void socket.resume());
    const errors: (ProxyError | null)[] = [];
    const giveUp = through(chain.port).dialTls({ host: NAME, port: 443 }, (error) => void errors.push(error));
    await until(() => chain.heads.length === 1, "the CONNECT");
    giveUp();
    giveUp();
    await until(() => chain.sockets[0]?.closed === true, "the connection to close");
    expect(errors.map((error) => error?.message)).toEqual(["the client went away"]);
  });
});

describe("faults on the way to the proxy", () => {
  it("name it", async () => {
    expect(await failure(through(1).dialTcp)).toMatchObject({ code: "upstream_unreachable", message: "no connection to the upstream proxy (ECONNREFUSED)" });
    expect(await failure(through(3128, { proxyHost: "no-such-name.invalid" }).dialTcp)).toMatchObject({ code: "upstream_dns", message: "the upstream proxy's name does not resolve" });
    const silent = createNameResolver(() => undefined);
    expect(await failure(through(3128, { proxyHost: "slow.example", names: silent, connectTimeoutMs: 50 }).dialTcp)).toMatchObject({
      code: "upstream_timeout",
      message: expect.stringContaining("no connection to the upstream proxy within"),
    });
  });
});

describe("addresses", () => {
  it("of the proxy are exempt from the deny list, but never an own port", async () => {
    const peer = await upstream(false);
    const chain = await forwarding(peer.port);
    for (const proxyHost of ["127.0.0.1", "localhost"]) {
      await dialled(through(chain.port, { proxyHost }).dialTcp, NAME, 443);
      expect(await failure(through(chain.port, { proxyHost, ownPorts: [chain.port] }).dialTcp)).toMatchObject({ code: "address_denied", message: "TALLYMAN_UPSTREAM_PROXY names this proxy itself" });
    }
    expect(chain.heads).toHaveLength(2);
  });

  it.each(["127.0.0.1", "169.254.169.254", "2852039166", "0x7f.1", "::1", "64:ff9b::a9fe:a9fe", "localhost", "admin.localhost"])("and local names of targets are denied before the proxy hears of them: %s", async (host) => {
    const chain = await answering(OK);
    expect(await failure(through(chain.port).dialTcp, host)).toMatchObject({ code: "address_denied", status: 403 });
    expect(chain.sockets).toHaveLength(0);
  });

  it("that a connect-to rule names pass, but never at an own port", async () => {
    const chain = await answering(OK);
    const to = (toHost: string) => ({ connectTo: [{ host: undefined, port: undefined, toHost, toPort: 8080 }] });
    for (const host of ["127.0.0.1", "169.254.169.254", "localhost"]) await dialled(through(chain.port, to(host)).dialTcp, NAME, 443);
    expect(chain.heads.map((head) => head.split(" ")[1])).toEqual(["127.0.0.1:8080", "169.254.169.254:8080", "localhost:8080"]);
    for (const host of ["127.0.0.1", "localhost"]) expect(await failure(through(chain.port, { ...to(host), ownPorts: [8080] }).dialTcp)).toMatchObject({ code: "address_denied" });
  });

  it("are asked for in the form that was judged", async () => {
    const chain = await answering(OK);
    await dialled(through(chain.port).dialTcp, "0x01010101", 443);
    expect(chain.heads[0]).toContain("CONNECT 1.1.1.1:443 ");
  });
});
