import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { createAddressPolicy } from "../../src/proxy/address-policy.ts";
import { loadOrCreateAuthority, type CertificateAuthority } from "../../src/proxy/certificate-authority.ts";
import { createDialer, type Dialer, type DialerOptions } from "../../src/proxy/dialer.ts";
import type { ProxyError } from "../../src/proxy/proxy-error.ts";
import { startRawUpstream, type RawUpstream } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const NAME = "api.example.com";
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

  it("resolves names and falls back to the next address", async () => {
    const peer = await upstream(false);
    const socket = await dialled(dialer().dialTcp, "localhost", peer.port);
    expect(socket.remotePort).toBe(peer.port);
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
