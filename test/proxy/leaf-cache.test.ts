import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import type { SecureContext } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadOrCreateAuthority } from "../../src/proxy/certificate-authority.ts";
import type { CertificateAuthority } from "../../src/proxy/certificate-authority.ts";
import { createLeafCache } from "../../src/proxy/leaf-cache.ts";
import type { LeafCacheOptions } from "../../src/proxy/leaf-cache.ts";

const HOUR_MS = 3_600_000;

let dir: string;
let authority: CertificateAuthority;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-leaf-"));
  authority = await loadOrCreateAuthority(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A cache whose clock is set by hand and that counts what it signs. */
function setUp(options: Partial<LeafCacheOptions> = {}) {
  const time = { nowMs: Date.now() };
  const minted: string[] = [];
  const counting: LeafCacheOptions["authority"] = {
    issueLeaf(host, ttlMs, nowMs) {
      minted.push(host);
      return authority.issueLeaf(host, ttlMs, nowMs);
    },
  };
  const cache = createLeafCache({ authority: counting, leafTtlMs: 72 * HOUR_MS, clock: { now: () => time.nowMs }, ...options });
  return { cache, minted, time };
}

describe("leaf cache", () => {
  it("returns the same context for a host while its leaf is fresh", async () => {
    const { cache, minted, time } = setUp();
    const first = await cache.contextFor("api.example");
    time.nowMs += 53 * HOUR_MS;
    expect(await cache.contextFor("API.example")).toBe(first);
    expect(await cache.contextFor("other.example")).not.toBe(first);
    expect(minted).toEqual(["api.example", "other.example"]);
  });

  it("signs a new leaf when a quarter of the lifetime is left", async () => {
    const { cache, minted, time } = setUp();
    const first = await cache.contextFor("api.example");
    time.nowMs += 54 * HOUR_MS + 1000;
    expect(await cache.contextFor("api.example")).not.toBe(first);
    expect(minted).toHaveLength(2);
  });

  it("signs once for concurrent calls", async () => {
    const { cache, minted } = setUp();
    const contexts = await Promise.all(Array.from({ length: 20 }, () => cache.contextFor("api.example")));
    expect(new Set(contexts).size).toBe(1);
    expect(minted).toHaveLength(1);
  });

  it("forgets the host that was used least recently", async () => {
    const { cache, minted } = setUp({ maxEntries: 2 });
    await cache.contextFor("a.example");
    await cache.contextFor("b.example");
    await cache.contextFor("a.example");
    await cache.contextFor("c.example");
    await cache.contextFor("a.example");
    expect(minted).toEqual(["a.example", "b.example", "c.example"]);
    await cache.contextFor("b.example");
    expect(minted).toHaveLength(4);
  });

  it("treats the names of object properties as ordinary hosts", async () => {
    const { cache, minted } = setUp();
    const names = ["constructor", "__proto__", "tostring", "hasownproperty"];
    for (const name of [...names, ...names]) await cache.contextFor(name);
    expect(minted).toEqual(names);
  });

  it("rejects a name that no certificate can be made for and remembers no failure", async () => {
    const { cache, minted } = setUp();
    await expect(cache.contextFor("a b")).rejects.toThrow(TypeError);
    await expect(cache.contextFor("a b")).rejects.toThrow(TypeError);
    expect(minted).toHaveLength(2);
  });

  it("tells of every leaf it signs", async () => {
    let count = 0;
    const { cache } = setUp({ onMint: () => (count += 1) });
    await cache.contextFor("a.example");
    await cache.contextFor("a.example");
    await expect(cache.contextFor("")).rejects.toThrow(TypeError);
    expect(count).toBe(1);
  });

  it("serves handshakes that resume on the cached context", async () => {
    const { cache } = setUp();
    const context: SecureContext = await cache.contextFor("api.example");
    const server = createServer({ SNICallback: (_name, done) => done(null, context) });
    server.on("secureConnection", (socket) => socket.end("x"));
    await new Promise<void>((done) => {
      server.listen(0, "127.0.0.1", done);
    });
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const visit = (session?: Buffer) =>
      new Promise<{ session: Buffer | undefined; reused: boolean; authorized: boolean }>((done, fail) => {
        let ticket: Buffer | undefined;
        const socket = connect({ host: "127.0.0.1", port, servername: "api.example", ca: authority.certificatePem, ...(session ? { session } : {}) });
        socket.on("session", (given) => (ticket = given));
        socket.on("error", fail);
        socket.on("data", () => undefined);
        socket.on("close", () => done({ session: ticket, reused, authorized }));
        let reused = false;
        let authorized = false;
        socket.on("secureConnect", () => {
          reused = socket.isSessionReused();
          authorized = socket.authorized;
        });
      });
    try {
      const first = await visit();
      const second = await visit(first.session);
      expect([first.authorized, first.reused, second.reused]).toEqual([true, false, true]);
      expect(await cache.contextFor("api.example")).toBe(context);
    } finally {
      server.close();
    }
  });
});
