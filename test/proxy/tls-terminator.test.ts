import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect, type SecureContext, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { loadOrCreateAuthority, type CertificateAuthority } from "../../src/proxy/certificate-authority.ts";
import { createLeafCache } from "../../src/proxy/leaf-cache.ts";
import { createTerminator, type TerminatorOptions } from "../../src/proxy/tls-terminator.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
let dir: string;
let authority: CertificateAuthority;
let contextFor: (host: string) => Promise<SecureContext>;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-terminator-"));
  authority = await loadOrCreateAuthority(dir);
  const leaves = createLeafCache({ authority, leafTtlMs: 3_600_000 });
  contextFor = (host) => leaves.contextFor(host);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

interface Stage {
  readonly port: number;
  readonly accepted: Socket[];
  readonly secure: TLSSocket[];
  readonly plain: Socket[];
  readonly errors: Error[];
  /** All that came over TLS or plain. */
  received: string;
}

async function start(options: Partial<TerminatorOptions> = {}): Promise<Stage> {
  const terminator = createTerminator({ contextFor, handshakeTimeoutMs: 60_000, ...options });
  const accepted: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => socket.destroy());
    const collect = (from: Socket): void => void from.on("data", (chunk: Buffer) => (stage.received += chunk.toString("latin1")));
    terminator.terminate(socket, HOST, {
      onSecure(tls) {
        stage.secure.push(tls);
        // As the HTTP server inside does.
        tls.on("end", () => tls.end());
        collect(tls);
      },
      onPlain(plain) {
        stage.plain.push(plain);
        collect(plain);
      },
      onError: (error) => void stage.errors.push(error),
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stage: Stage = { port: (server.address() as AddressInfo).port, accepted, secure: [], plain: [], errors: [], received: "" };
  undo.push(() => {
    for (const socket of accepted) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return stage;
}

function client(stage: Stage): Socket {
  const socket = connect({ port: stage.port, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  undo.push(() => socket.destroy());
  return socket;
}

function tlsClient(stage: Stage, ca: string | undefined = authority.certificatePem): TLSSocket {
  const socket = tlsConnect({ socket: client(stage), servername: HOST, ALPNProtocols: ["h2", "http/1.1"], ...(ca === undefined ? {} : { ca }) });
  socket.on("error", () => undefined);
  return socket;
}

/** The first record of a client's handshake. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (chunk: Buffer) => {
        resolve(chunk);
        socket.destroy();
        server.close();
      });
    });
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const socket = tlsConnect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", servername: HOST });
      socket.on("error", () => undefined);
    });
  });
}

const isGone = (stage: Stage) => async (): Promise<boolean> => stage.accepted.length > 0 && stage.accepted.every((socket) => socket.closed);

describe("a client that speaks TLS", () => {
  it("is shown a leaf for the host and reaches the plain side, with HTTP/2 where it speaks it", async () => {
    const stage = await start();
    const tls = tlsClient(stage);
    await until(() => stage.secure.length === 1, "the handshake");
    tls.write("hello");
    await until(() => stage.received === "hello", "the bytes");
    expect(tls.authorized).toBe(true);
    expect(tls.alpnProtocol).toBe("h2");
    expect(tls.getPeerCertificate().subjectaltname).toBe(`DNS:${HOST}`);
    expect(stage.errors).toEqual([]);
  });

  it("may send its handshake a byte at a time", async () => {
    const stage = await start();
    const socket = client(stage);
    const hello = await clientHello();
    let answer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => (answer = Buffer.concat([answer, chunk])));
    socket.setNoDelay(true);
    for (const byte of hello) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => answer.length > 0, "the answer");
    // A ServerHello, in a record of type handshake.
    expect([answer[0], answer[5]]).toEqual([0x16, 0x02]);
  });

  it("may come while its certificate is still being made", async () => {
    const gate = Promise.withResolvers<void>();
    const stage = await start({ contextFor: (host) => gate.promise.then(() => contextFor(host)) });
    const tls = tlsClient(stage);
    await until(() => stage.accepted.some((socket) => socket.bytesRead > 0), "its first bytes");
    gate.resolve();
    await until(() => stage.secure.length === 1, "the handshake");
    tls.write("hello");
    await until(() => stage.received === "hello", "the bytes");
  });

  it("takes its connection with it when it leaves, and loses it when the TLS side is destroyed", async () => {
    const stage = await start();
    const tls = tlsClient(stage);
    await until(() => stage.secure.length === 1, "the handshake");
    tls.destroy();
    await until(isGone(stage), "the raw socket to close");
    expect(stage.secure[0]?.destroyed).toBe(true);

    const second = tlsClient(stage);
    await until(() => stage.secure.length === 2, "the second handshake");
    stage.secure[1]?.destroy();
    await until(isGone(stage), "the raw socket to close");
    await until(() => second.destroyed, "the client to see it");
  });

  it("passes a reset on", async () => {
    const stage = await start();
    const raw = client(stage);
    const tls = tlsConnect({ socket: raw, servername: HOST, ca: authority.certificatePem });
    tls.on("error", () => undefined);
    await until(() => stage.secure.length === 1, "the handshake");
    raw.resetAndDestroy();
    await until(isGone(stage), "the raw socket to close");
    expect(stage.secure[0]?.destroyed).toBe(true);
    expect(stage.errors).toEqual([]);
  });
});

describe("a client that does not speak TLS", () => {
  it("is handed back with every byte it sent", async () => {
    const stage = await start();
    const socket = client(stage);
    socket.write("SSH-2.0-x\r\n");
    await until(() => stage.received === "SSH-2.0-x\r\n", "its bytes");
    socket.end("more");
    await until(() => stage.received === "SSH-2.0-x\r\nmore", "the rest");
    expect(stage.plain).toHaveLength(1);
  });

  it("is not ended by the timer once it was handed back", async () => {
    const stage = await start({ handshakeTimeoutMs: 50 });
    const socket = client(stage);
    socket.write("plain");
    await until(() => stage.plain.length === 1, "it to be handed back");
    // A second client that says nothing shows that the time is over.
    const silent = client(stage);
    await until(() => silent.closed, "the silent one to be ended");
    socket.write(" and alive");
    await until(() => stage.received === "plain and alive", "its bytes");
  });
});

describe("a client that never gets there", () => {
  it("is ended when it sends nothing", async () => {
    const stage = await start({ handshakeTimeoutMs: 50 });
    const socket = client(stage);
    await until(() => socket.closed, "the connection to end");
    await until(isGone(stage), "the socket to close");
    expect([stage.secure, stage.plain, stage.errors]).toEqual([[], [], []]);
  });

  it("is ended when it stops inside its handshake", async () => {
    const stage = await start({ handshakeTimeoutMs: 50 });
    const socket = client(stage);
    socket.write((await clientHello()).subarray(0, 40));
    await until(isGone(stage), "the socket to close");
    expect(stage.secure).toEqual([]);
  });

  it("is ended when it stops after the server's answer", async () => {
    const stage = await start({ handshakeTimeoutMs: 50 });
    const socket = client(stage);
    socket.write(await clientHello());
    await until(isGone(stage), "the socket to close");
    expect(stage.secure).toEqual([]);
  });

  it("leaves nothing behind when it goes away before its first byte", async () => {
    const stage = await start();
    const polite = client(stage);
    await until(() => stage.accepted.length === 1, "the connection");
    polite.end();
    await until(isGone(stage), "the socket to close");
    expect(stage.errors).toEqual([]);
  });

  it.each([
    ["with a FIN, inside its first record", 40, (socket: Socket) => void socket.end()],
    ["with a FIN, after the server's answer", 10_000, (socket: Socket) => void socket.end()],
    ["with a reset, after the server's answer", 10_000, (socket: Socket) => void socket.resetAndDestroy()],
  ])("is reported and leaves nothing behind when it goes away %s", async (_name, bytes, leave) => {
    const stage = await start();
    const socket = client(stage);
    socket.write((await clientHello()).subarray(0, bytes));
    await until(() => stage.accepted.some((raw) => raw.bytesRead >= Math.min(bytes, 40)), "the first bytes");
    if (bytes > 40) await until(() => socket.bytesRead > 0, "the server's answer");
    leave(socket);
    await until(isGone(stage), "the socket to close");
    expect(stage.secure).toEqual([]);
    await until(() => stage.errors.length === 1, "the report");
  });

  it("is reported once when its handshake is rubbish", async () => {
    const stage = await start();
    const socket = client(stage);
    socket.write(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5, 0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5]));
    await until(isGone(stage), "the socket to close");
    expect(stage.errors).toHaveLength(1);
  });

  it("is ended and reported when no certificate can be made for it", async () => {
    const stage = await start({ contextFor: () => Promise.reject(new Error("no leaf")) });
    tlsClient(stage);
    await until(isGone(stage), "the socket to close");
    expect(stage.errors.map((error) => error.message)).toEqual(["no leaf"]);
  });

  it("is not shown a certificate that comes after it left", async () => {
    const gate = Promise.withResolvers<void>();
    const stage = await start({ contextFor: (host) => gate.promise.then(() => contextFor(host)) });
    const socket = client(stage);
    socket.write(await clientHello());
    await until(() => stage.accepted.some((raw) => raw.bytesRead > 0), "its first bytes");
    socket.resetAndDestroy();
    await until(isGone(stage), "the socket to close");
    gate.resolve();
    await gate.promise;
    await new Promise((resolve) => setImmediate(resolve));
    expect([stage.secure, stage.errors]).toEqual([[], []]);
  });
});
