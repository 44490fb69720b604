import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, TLSSocket, type SecureVersion } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { createAddressPolicy } from "../../src/proxy/address-policy.ts";
import { loadOrCreateAuthority, type CertificateAuthority } from "../../src/proxy/certificate-authority.ts";
import { createDialer, isNoCommonProtocol, type Dialer, type DialerOptions } from "../../src/proxy/dialer.ts";
import { createNameResolver, type Lookup, type ResolveCallback } from "../../src/proxy/name-resolution.ts";
import { ProxyError } from "../../src/proxy/proxy-error.ts";
import { startRawUpstream, type RawUpstream } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const NAME = "api.example.com";
/** Containers often come without it. */
const hasIpv6 = Object.values(networkInterfaces()).some((entries) => entries?.some(({ address }) => address === "::1"));
let dir: string;
let authority: CertificateAuthority;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-dialer-"));
  authority = await loadOrCreateAuthority(dir);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function upstream(isTls: boolean, name = NAME): Promise<RawUpstream> {
  const leaf = isTls ? await authority.issueLeaf(name, 3_600_000, Date.now()) : undefined;
  const started = await startRawUpstream(leaf, (connection) => void connection.socket.write(connection.received));
  undo.push(() => started.close());
  return started;
}

/** A server that does with a connection what it is told. */
async function server(accept: (socket: Socket) => void): Promise<number> {
  const sockets: Socket[] = [];
  const listening: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    accept(socket);
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => listening.close(resolve));
  });
  return (listening.address() as AddressInfo).port;
}

function dialer(options: Partial<DialerOptions> & { denied?: readonly string[]; ownPorts?: readonly number[] } = {}): Dialer {
  return createDialer({
    policy: createAddressPolicy({ denied: options.denied ?? [], ownPorts: () => new Set(options.ownPorts ?? []) }),
    connectTo: [],
    extraCaPem: authority.certificatePem,
    connectTimeoutMs: 10_000,
    ...options,
  });
}

const toAny = (port: number) => [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: port }];

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

/** A TLS server that answers what it is told and knows these protocols. Sees each connection's own. */
async function alpnServer(protocols: readonly string[], version: SecureVersion = "TLSv1.3"): Promise<number> {
  const leaf = await authority.issueLeaf(NAME, 3_600_000, Date.now());
  const sockets: Socket[] = [];
  const listening = createTlsServer({ key: leaf.keyPem, cert: leaf.certificatePem, ALPNProtocols: [...protocols], minVersion: version, maxVersion: version }, (socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => void socket.write(String(socket.alpnProtocol)));
  });
  listening.on("connection", (socket: Socket) => sockets.push(socket));
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => listening.close(resolve));
  });
  return (listening.address() as AddressInfo).port;
}

/** Makes a port of ::1 take no more connections and refuse none: its listener is a process that stands still, its queue is full. */
async function silence(port: number): Promise<void> {
  const listen = `require("node:net").createServer().listen({ host: "::1", port: ${port}, backlog: 1 }, () => console.log("listens"))`;
  const listener = spawn(process.execPath, ["-e", listen], { stdio: ["ignore", "pipe", "inherit"] });
  undo.push(() => listener.kill("SIGKILL"));
  await once(listener.stdout, "data");
  listener.kill("SIGSTOP");
  let connected = 0;
  for (let n = 0; n < 8; n++) {
    const filler = connect({ host: "::1", port }, () => connected++).on("error", () => undefined);
    undo.push(() => filler.destroy());
  }
  await until(() => connected >= 2, "the queue to be full");
}

/** A resolver that knows what the test tells it. */
const knows = (addresses: Readonly<Record<string, readonly string[]>>) =>
  createNameResolver((name, callback) => {
    const found = (addresses[name] ?? []).map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    setImmediate(() => (found.length === 0 ? callback(Object.assign(new Error(name), { code: "ENOTFOUND" }), []) : callback(null, found)));
  });

describe("dialTcp", () => {
  it("connects, and carries bytes both ways with the other half open", async () => {
    const peer = await upstream(false);
    const socket = await dialled(dialer().dialTcp, "127.0.0.1", peer.port);
    let received = "";
    socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
    socket.end("hello");
    await until(() => received === "hello" && peer.connections[0]?.isEnded === true, "the echo");
    expect(socket.destroyed).toBe(false);
  });

  it("resolves names by the system's resolver", async () => {
    const peer = await upstream(false);
    const socket = await dialled(dialer().dialTcp, "localhost", peer.port);
    expect(socket.remotePort).toBe(peer.port);
  });

  it.each([
    ["refuses", ["::1", "127.0.0.1"]],
    ["is denied", ["10.0.0.1", "127.0.0.1"]],
  ])("falls back to the next address where the first %s", async (_name, addresses) => {
    const peer = await upstream(false);
    const dial = dialer({ names: knows({ "two.example": addresses }), denied: ["10.0.0.0/8"] }).dialTcp;
    expect((await dialled(dial, "two.example", peer.port)).remoteAddress).toBe("127.0.0.1");
  });

  it.runIf(hasIpv6)("falls back to the next address, well inside of the deadline, where the first is silent", async () => {
    const peer = await upstream(false);
    await silence(peer.port);
    const alone = dialer({ names: knows({ "one.example": ["::1"] }), connectTimeoutMs: 500 }).dialTcp;
    await expect(dialled(alone, "one.example", peer.port)).rejects.toMatchObject({ code: "upstream_timeout" });
    const dial = dialer({ names: knows({ "two.example": ["::1", "127.0.0.1"] }) }).dialTcp;
    expect((await dialled(dial, "two.example", peer.port)).remoteAddress).toBe("127.0.0.1");
  });

  it("fails with the code when every address refuses", async () => {
    const dial = dialer({ names: knows({ "two.example": ["::1", "127.0.0.1"] }) }).dialTcp;
    await expect(dialled(dial, "two.example", 1)).rejects.toMatchObject({ code: "upstream_unreachable", message: expect.stringContaining("ECONNREFUSED") });
  });

  it.runIf(hasIpv6)("connects to an IPv6 literal", async () => {
    const started = await startRawUpstream(undefined, () => undefined, "::1");
    undo.push(() => started.close());
    expect((await dialled(dialer().dialTcp, "::1", started.port)).remoteAddress).toBe("::1");
  });

  it("judges every address of a name, on each connection anew", async () => {
    const peer = await upstream(false);
    let address = "127.0.0.1";
    const changing: Lookup = (_name, callback) => void setImmediate(callback, null, [{ address, family: 4 }]);
    const dial = dialer({ names: createNameResolver(changing), denied: ["127.0.0.2"] }).dialTcp;
    await dialled(dial, "rebinding.example", peer.port);
    address = "127.0.0.2";
    await expect(dialled(dial, "rebinding.example", peer.port)).rejects.toMatchObject({ code: "address_denied" });
  });

  it("gives up a name that does not resolve in time, and leaves nothing of the lookup behind", async () => {
    const lookups: ResolveCallback[] = [];
    const names = createNameResolver((_name, callback) => void lookups.push(callback));
    const dial = dialer({ names, connectTimeoutMs: 50 }).dialTcp;
    await expect(dialled(dial, "slow.example", 443)).rejects.toMatchObject({ code: "upstream_timeout" });
    expect(names.running).toBe(1);
    const peer = await upstream(false);
    const patient = dialled(dialer({ names }).dialTcp, "slow.example", peer.port);
    expect(lookups).toHaveLength(1);
    lookups[0]?.(null, [{ address: "127.0.0.1", family: 4 }]);
    expect((await patient).remotePort).toBe(peer.port);
    // The dial that gave up has made no connection of its own.
    await until(() => peer.connections.length > 0, "the connection");
    expect([peer.connections.length, names.running]).toEqual([1, 0]);
  });

  it("takes its name out of the queue when the caller gives up", async () => {
    const lookups: ResolveCallback[] = [];
    const names = createNameResolver((_name, callback) => void lookups.push(callback));
    for (let n = 0; n < 64; n++) names.resolve(`n${n}.example`, () => undefined);
    const errors: (ProxyError | null)[] = [];
    const giveUp = dialer({ names }).dialTcp({ host: "late.example", port: 443 }, (error) => void errors.push(error));
    expect(names.waiting).toBe(1);
    giveUp();
    expect([names.waiting, errors.length]).toEqual([0, 1]);
    for (const callback of lookups) callback(null, [{ address: "127.0.0.1", family: 4 }]);
    expect(lookups).toHaveLength(64);
  });

  it.each([
    ["a closed port", "127.0.0.1", 1, "upstream_unreachable"],
    ["a name that does not exist", "no-such-name.invalid", 443, "upstream_dns"],
  ])("fails for %s", async (_name, host, port, code) => {
    await expect(dialled(dialer().dialTcp, host, port)).rejects.toMatchObject({ name: "ProxyError", code });
  });

  it("refuses denied addresses, literal and resolved, without a connection", async () => {
    const peer = await upstream(false);
    const careful = dialer({ denied: ["127.0.0.0/8", "::1/128"] });
    await expect(dialled(careful.dialTcp, "127.0.0.1", peer.port)).rejects.toMatchObject({ code: "address_denied" });
    await expect(dialled(careful.dialTcp, "localhost", peer.port)).rejects.toMatchObject({ code: "address_denied" });
    await expect(dialled(careful.dialTcp, "::ffff:127.0.0.1", peer.port)).rejects.toMatchObject({ code: "address_denied" });
    expect(peer.connections).toHaveLength(0);
  });

  it("answers after it has returned, also where it refuses at once", async () => {
    let isReturned = false;
    await new Promise<void>((resolve) => {
      dialer({ denied: ["127.0.0.0/8"] }).dialTcp({ host: "127.0.0.1", port: 1 }, () => {
        expect(isReturned).toBe(true);
        resolve();
      });
      isReturned = true;
    });
  });
});

describe("connect-to rules", () => {
  it("lead to the target of the first that matches, and keep what a rule leaves open", async () => {
    const first = await upstream(false);
    const second = await upstream(false);
    const mapped = dialer({
      connectTo: [
        { host: "a.example", port: 443, toHost: "127.0.0.1", toPort: first.port },
        { host: "a.example", port: undefined, toHost: "127.0.0.1", toPort: second.port },
        { host: undefined, port: 5000, toHost: undefined, toPort: first.port },
        { host: "b.example", port: second.port, toHost: "127.0.0.1", toPort: undefined },
      ],
    });
    expect((await dialled(mapped.dialTcp, "a.example", 443)).remotePort).toBe(first.port);
    expect((await dialled(mapped.dialTcp, "a.example", 80)).remotePort).toBe(second.port);
    expect((await dialled(mapped.dialTcp, "127.0.0.1", 5000)).remotePort).toBe(first.port);
    expect((await dialled(mapped.dialTcp, "b.example", second.port)).remotePort).toBe(second.port);
    await expect(dialled(mapped.dialTcp, "no-such-name.invalid", 443)).rejects.toMatchObject({ code: "upstream_dns" });
  });

  it("exempt from the deny list but never from the own ports", async () => {
    const peer = await upstream(false);
    const rules = { denied: ["127.0.0.0/8", "::1/128"], connectTo: toAny(peer.port) };
    expect((await dialled(dialer(rules).dialTcp, "a.example", 443)).remotePort).toBe(peer.port);
    await expect(dialled(dialer({ ...rules, ownPorts: [peer.port] }).dialTcp, "a.example", 443)).rejects.toMatchObject({ code: "address_denied" });
    const byName = { ...rules, connectTo: [{ host: undefined, port: undefined, toHost: "localhost", toPort: peer.port }] };
    await expect(dialled(dialer({ ...byName, ownPorts: [peer.port] }).dialTcp, "a.example", 443)).rejects.toMatchObject({ code: "address_denied" });
  });
});

describe("dialTls", () => {
  it("verifies the name of the target, not of the address that it is led to", async () => {
    const peer = await upstream(true);
    const tls = dialer({ connectTo: toAny(peer.port) });
    const socket = await dialled(tls.dialTls, NAME, 443);
    expect(socket).toBeInstanceOf(TLSSocket);
    expect(socket instanceof TLSSocket && socket.authorized).toBe(true);
    await expect(dialled(tls.dialTls, "other.example.com", 443)).rejects.toMatchObject({ code: "upstream_tls", message: expect.stringContaining("ERR_TLS_CERT_ALTNAME_INVALID") });
  });

  it("refuses a root that nobody named, and says where it goes", async () => {
    const peer = await upstream(true);
    const dial = dialer({ extraCaPem: undefined, connectTo: toAny(peer.port) }).dialTls;
    await expect(dialled(dial, NAME, 443)).rejects.toMatchObject({ code: "upstream_tls", message: expect.stringContaining("TALLYMAN_UPSTREAM_CA_FILE") });
  });

  it("verifies an address that is named by itself", async () => {
    const peer = await upstream(true, "127.0.0.1");
    const socket = await dialled(dialer().dialTls, "127.0.0.1", peer.port);
    expect(socket instanceof TLSSocket && socket.authorized).toBe(true);
  });

  it("resumes the session of the same origin", async () => {
    const peer = await upstream(true);
    const tls = dialer({ connectTo: toAny(peer.port) });
    const isReused = async (): Promise<boolean> => {
      const socket = await dialled(tls.dialTls, NAME, 443);
      socket.resume();
      // TLS 1.3 hands its tickets out after the handshake.
      socket.write("x");
      await new Promise((resolve) => socket.once("data", resolve));
      return socket instanceof TLSSocket && socket.isSessionReused();
    };
    expect(await isReused()).toBe(false);
    expect(await isReused()).toBe(true);
  });

  it("offers http/1.1 alone where nothing is said", async () => {
    const port = await alpnServer(["h2", "http/1.1"]);
    const socket = await dialled(dialer({ connectTo: toAny(port) }).dialTls, NAME, 443);
    expect(socket instanceof TLSSocket && socket.alpnProtocol).toBe("http/1.1");
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("negotiates what is offered on each connection anew, resumed or not (%s)", async (version) => {
    const port = await alpnServer(["h2", "http/1.1"], version);
    const tls = dialer({ connectTo: toAny(port) });
    const negotiated = async (protocols: readonly string[]): Promise<[unknown, string, boolean]> => {
      const socket = await new Promise<TLSSocket>((resolve, reject) => {
        tls.dialTls({ host: NAME, port: 443 }, (error, made) => (made === undefined ? reject(error) : resolve(made)), protocols);
      });
      undo.push(() => socket.destroy());
      socket.write("x");
      const seen = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
      return [socket.alpnProtocol, seen.toString(), socket.isSessionReused()];
    };
    const both = ["h2", "http/1.1"];
    expect(await negotiated(both)).toEqual(["h2", "h2", false]);
    expect(await negotiated(["http/1.1"])).toEqual(["http/1.1", "http/1.1", false]);
    expect(await negotiated(both)).toEqual(["h2", "h2", true]);
    expect(await negotiated(["http/1.1"])).toEqual(["http/1.1", "http/1.1", true]);
  });

  it("tells false for an upstream that knows no ALPN", async () => {
    const peer = await upstream(true);
    const socket = await dialled(dialer({ connectTo: toAny(peer.port) }).dialTls, NAME, 443);
    expect(socket instanceof TLSSocket && socket.alpnProtocol).toBe(false);
  });

  it("marks the failure of an upstream that wants none of the protocols", async () => {
    const port = await alpnServer(["h2"]);
    const error = await dialled(dialer({ connectTo: toAny(port) }).dialTls, NAME, 443).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: "upstream_tls", message: expect.stringContaining("HTTP versions") });
    expect(isNoCommonProtocol(error)).toBe(true);
    const peer = await upstream(true);
    const other = await dialled(dialer({ extraCaPem: undefined, connectTo: toAny(peer.port) }).dialTls, NAME, 443).catch((failure: unknown) => failure);
    expect(other).toMatchObject({ code: "upstream_tls" });
    for (const unmarked of [other, new ProxyError("upstream_tls", "x"), new Error("x"), undefined, (error as ProxyError).cause]) expect(isNoCommonProtocol(unmarked)).toBe(false);
  });

  it.each([
    ["speaks no TLS", (socket: Socket) => void socket.end("SSH-2.0-x\r\n")],
    ["closes inside the handshake", (socket: Socket) => void socket.end()],
    ["resets inside the handshake", (socket: Socket) => void socket.once("data", () => socket.resetAndDestroy())],
  ])("is upstream_tls where the peer %s", async (_name, accept) => {
    const port = await server(accept);
    await expect(dialled(dialer().dialTls, "127.0.0.1", port)).rejects.toMatchObject({ code: "upstream_tls" });
  });

  it("gives up at its deadline, over the handshake too, and closes the socket", async () => {
    const accepted: Socket[] = [];
    const port = await server((socket) => void accepted.push(socket.resume()));
    await expect(dialled(dialer({ connectTimeoutMs: 100 }).dialTls, "127.0.0.1", port)).rejects.toMatchObject({ code: "upstream_timeout", status: 504 });
    await until(() => accepted[0]?.closed === true, "the socket to close");
  });

  it("closes the socket when the caller gives up, and calls back once", async () => {
    const accepted: Socket[] = [];
    const port = await server((socket) => void accepted.push(socket.resume()));
    const errors: (ProxyError | null)[] = [];
    const giveUp = dialer().dialTls({ host: "127.0.0.1", port }, (error) => void errors.push(error));
    await until(() => accepted.length === 1, "the connection");
    giveUp();
    giveUp();
    await until(() => accepted[0]?.closed === true, "the socket to close");
    expect(errors.map((error) => error?.code)).toEqual(["upstream_unreachable"]);
  });

  it("leaves a socket alone that was handed over before the caller gave up", async () => {
    const peer = await upstream(true);
    let giveUp = (): void => undefined;
    const socket = await new Promise<Socket>((resolve, reject) => {
      giveUp = dialer({ connectTo: toAny(peer.port) }).dialTls({ host: NAME, port: 443 }, (error, made) => (made === undefined ? reject(error) : resolve(made)));
    });
    undo.push(() => socket.destroy());
    giveUp();
    socket.write("still here");
    await until(() => peer.connections[0]?.received === "still here", "bytes to arrive");
  });
});
