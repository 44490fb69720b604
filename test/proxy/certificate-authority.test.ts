import "reflect-metadata";
import { execFile } from "node:child_process";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { promisify } from "node:util";
import * as x509 from "@peculiar/x509";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthorityError, loadOrCreateAuthority, rotateAuthority } from "../../src/proxy/certificate-authority.ts";
import type { CertificateAuthority } from "../../src/proxy/certificate-authority.ts";

const run = promisify(execFile);
const HOUR_MS = 3_600_000;
const AUTHORITY_MODULE = new URL("../../src/proxy/certificate-authority.ts", import.meta.url).href;

let root: string;
let sequence = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tallyman-ca-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function freshDir(): string {
  sequence += 1;
  return join(root, `ca-${sequence}`);
}

async function mode(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

/** Makes an authority with openssl in `dir`, as an operator would. */
async function opensslAuthority(dir: string, keyArguments: readonly string[], subject: string, more: readonly string[] = []): Promise<void> {
  await mkdir(dir, { recursive: true });
  await run("openssl", [...keyArguments, "-out", join(dir, "ca.key")]);
  await run("openssl", ["req", "-x509", "-new", "-key", join(dir, "ca.key"), "-sha256", "-days", "30", "-subj", subject, "-addext", "keyUsage=critical,keyCertSign", ...more, "-out", join(dir, "ca.pem")]);
}

const RSA = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const EC_SEC1 = ["ecparam", "-name", "prime256v1", "-genkey"];

async function verify(dir: string, authority: CertificateAuthority, host: string, how: "-verify_hostname" | "-verify_ip"): Promise<string> {
  const leaf = await authority.issueLeaf(host, 72 * HOUR_MS, Date.now());
  const file = join(dir, "leaf.pem");
  await writeFile(file, leaf.certificatePem);
  const { stdout } = await run("openssl", ["verify", "-x509_strict", "-purpose", "sslserver", how, host, "-CAfile", authority.certificatePath, file]);
  return stdout.trim().slice(-2);
}

/** Puts a pair in `dir` whose certificate ended yesterday (openssl req makes none). */
async function expire(dir: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Expired",
    notBefore: new Date(Date.now() - 72 * HOUR_MS),
    notAfter: new Date(Date.now() - 24 * HOUR_MS),
    keys: { privateKey: privateKey.toCryptoKey(algorithm, false, ["sign"]), publicKey: publicKey.toCryptoKey(algorithm, true, ["verify"]) },
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  await writeFile(join(dir, "ca.pem"), certificate.toString("pem"));
  await writeFile(join(dir, "ca.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
}

async function failure(work: Promise<unknown>): Promise<AuthorityError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AuthorityError) return error;
  throw new Error(`expected an AuthorityError, got ${String(error)}`);
}

describe("loadOrCreateAuthority", () => {
  it("makes a directory for its owner only, a secret key and a public certificate, whatever the umask", async () => {
    const dir = join(freshDir(), "deeper");
    const before = process.umask(0o077);
    try {
      await loadOrCreateAuthority(dir);
    } finally {
      process.umask(before);
    }
    expect([await mode(dir), await mode(join(dir, "ca.key")), await mode(join(dir, "ca.pem"))]).toEqual(["700", "600", "644"]);
    expect((await readdir(dir)).toSorted()).toEqual(["ca.key", "ca.pem"]);
  });

  it("leaves the mode of an existing directory alone", async () => {
    const dir = freshDir();
    await mkdir(dir);
    await chmod(dir, 0o755);
    await loadOrCreateAuthority(dir);
    expect(await mode(dir)).toBe("755");
  });

  it("makes an EC root with critical constraints that openssl accepts strictly", async () => {
    const authority = await loadOrCreateAuthority(freshDir());
    const { stdout } = await run("openssl", ["x509", "-in", authority.certificatePath, "-noout", "-text"]);
    expect(stdout).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(stdout).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
    expect(stdout).toContain("Subject Key Identifier");
    expect(stdout).toContain("NIST CURVE: P-256");
    expect(stdout).toMatch(/Subject: CN = Tallyman CA [0-9a-f]{8}/);
    const strict = await run("openssl", ["verify", "-x509_strict", "-CAfile", authority.certificatePath, authority.certificatePath]);
    expect(strict.stdout).toContain("OK");
    expect(authority.notAfter.getTime() - Date.now()).toBeGreaterThan(3650 * 24 * HOUR_MS);
    expect(authority.fingerprint256).toBe(new X509Certificate(authority.certificatePem).fingerprint256);
  });

  it("writes a key that openssl reads", async () => {
    const dir = freshDir();
    await loadOrCreateAuthority(dir);
    expect(await readFile(join(dir, "ca.key"), "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    await run("openssl", ["pkey", "-in", join(dir, "ca.key"), "-noout", "-check"]);
  });

  it("uses the pair it made before", async () => {
    const dir = freshDir();
    const first = await loadOrCreateAuthority(dir);
    const second = await loadOrCreateAuthority(dir);
    expect(second.fingerprint256).toBe(first.fingerprint256);
    expect(second.certificatePem).toBe(first.certificatePem);
  });

  it("gives one pair to processes that start at once", async () => {
    const dir = freshDir();
    const script = `const { loadOrCreateAuthority } = await import(${JSON.stringify(AUTHORITY_MODULE)});
      process.stdin.once("data", async () => { process.stdout.write((await loadOrCreateAuthority(${JSON.stringify(dir)})).fingerprint256); process.exit(0); });
      process.stderr.write("ready");`;
    const children = Array.from({ length: 3 }, () => {
      const result = run(process.execPath, ["--input-type=module", "-e", script]);
      const ready = new Promise<void>((done) => {
        result.child.stderr?.once("data", () => done());
      });
      return { result, ready };
    });
    await Promise.all(children.map(({ ready }) => ready));
    for (const { result } of children) result.child.stdin?.write("go");
    const fingerprints = await Promise.all(children.map(async ({ result }) => (await result).stdout));
    expect(fingerprints[0]).toMatch(/^[0-9A-F:]{95}$/);
    expect(new Set(fingerprints).size).toBe(1);
    expect((await readdir(dir)).toSorted()).toEqual(["ca.key", "ca.pem"]);
  });

  it("gives one pair to many concurrent calls", async () => {
    const dir = freshDir();
    const authorities = await Promise.all(Array.from({ length: 12 }, () => loadOrCreateAuthority(dir)));
    expect(new Set(authorities.map((authority) => authority.fingerprint256)).size).toBe(1);
  });

  it("heals a creation that crashed between the two files", async () => {
    const dir = freshDir();
    const made = await loadOrCreateAuthority(dir);
    await rm(made.certificatePath);
    const healed = await loadOrCreateAuthority(dir);
    expect(healed.fingerprint256).toBe(made.fingerprint256);
    expect(await mode(made.certificatePath)).toBe("644");
  });

  it.each([
    ["RSA", RSA, "/C=DE/O=Example Ümläut/CN=Example Root/emailAddress=ca@example.com", ["-utf8"]],
    ["EC PRIVATE KEY behind EC PARAMETERS", EC_SEC1, "/CN=Example EC", []],
    ["P-384", ["ecparam", "-name", "secp384r1", "-genkey", "-noout"], "/CN=Example 384", []],
  ] as const)("uses a foreign pair: %s", async (_name, key, subject, more) => {
    const dir = freshDir();
    await opensslAuthority(dir, key, subject, more);
    const before = await readFile(join(dir, "ca.key"), "utf8");
    const authority = await loadOrCreateAuthority(dir);
    expect(await verify(dir, authority, "api.example.com", "-verify_hostname")).toBe("OK");
    expect(await readFile(join(dir, "ca.key"), "utf8")).toBe(before);
  });

  it("repeats the subject of a foreign authority byte for byte as the issuer", async () => {
    const dir = freshDir();
    await opensslAuthority(dir, RSA, "/C=DE/O=Example Ümläut/CN=Example Root/emailAddress=ca@example.com", ["-utf8"]);
    const authority = await loadOrCreateAuthority(dir);
    const subject = Buffer.from(new x509.X509Certificate(authority.certificatePem).subjectName.toArrayBuffer());
    const leaf = await authority.issueLeaf("a.example", HOUR_MS, Date.now());
    expect(new X509Certificate(authority.certificatePem).raw.includes(subject)).toBe(true);
    expect(new X509Certificate(leaf.certificatePem).raw.includes(subject)).toBe(true);
  });

  it("sends an intermediate authority along with the leaf", async () => {
    const dir = freshDir();
    const above = freshDir();
    await opensslAuthority(above, RSA, "/CN=Company Root");
    await mkdir(dir);
    await run("openssl", ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", join(dir, "ca.key"), "-subj", "/CN=Company Proxy", "-out", join(dir, "request.pem")]);
    await writeFile(join(dir, "extensions"), "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nkeyUsage=critical,keyCertSign");
    await run("openssl", ["x509", "-req", "-in", join(dir, "request.pem"), "-CA", join(above, "ca.pem"), "-CAkey", join(above, "ca.key"), "-extfile", join(dir, "extensions"), "-days", "3", "-out", join(dir, "ca.pem")]);
    const leaf = await (await loadOrCreateAuthority(dir)).issueLeaf("a.example", HOUR_MS, Date.now());
    await writeFile(join(dir, "chain.pem"), leaf.certificatePem);
    const { stdout } = await run("openssl", ["verify", "-x509_strict", "-CAfile", join(above, "ca.pem"), "-untrusted", join(dir, "chain.pem"), join(dir, "chain.pem")]);
    expect(stdout).toContain("OK");
  });
});

describe("a pair that cannot be used", () => {
  it("is incomplete when the key is missing", async () => {
    const dir = freshDir();
    await loadOrCreateAuthority(dir);
    await rm(join(dir, "ca.key"));
    const error = await failure(loadOrCreateAuthority(dir));
    expect(error.code).toBe("ca_incomplete");
    expect(error.message).toContain(join(dir, "ca.key"));
  });

  it("is incomplete when a foreign key has no certificate", async () => {
    const dir = freshDir();
    await opensslAuthority(dir, EC_SEC1, "/CN=Example");
    await rm(join(dir, "ca.pem"));
    expect((await failure(loadOrCreateAuthority(dir))).code).toBe("ca_incomplete");
  });

  it("is a mismatch when the key is another's", async () => {
    const dir = freshDir();
    const other = freshDir();
    await loadOrCreateAuthority(dir);
    await loadOrCreateAuthority(other);
    await writeFile(join(dir, "ca.pem"), await readFile(join(other, "ca.pem")));
    const error = await failure(loadOrCreateAuthority(dir));
    expect(error.code).toBe("ca_key_mismatch");
    expect(error.message).toContain("tallyman ca rotate");
  });

  it("is invalid when it is no certificate, no key, no authority or expired", async () => {
    const messages: string[] = [];
    const broken = async (change: (dir: string) => Promise<unknown>): Promise<void> => {
      const dir = freshDir();
      await opensslAuthority(dir, RSA, "/CN=Example");
      await change(dir);
      const error = await failure(loadOrCreateAuthority(dir));
      expect(error.code).toBe("ca_invalid");
      messages.push(error.message);
    };
    const selfSign = (dir: string, ...more: string[]) =>
      run("openssl", ["req", "-x509", "-new", "-key", join(dir, "ca.key"), "-subj", "/CN=Example", ...more, "-out", join(dir, "ca.pem")]);
    await broken((dir) => writeFile(join(dir, "ca.pem"), "hello"));
    await broken((dir) => writeFile(join(dir, "ca.key"), "hello"));
    await broken((dir) => run("openssl", ["rsa", "-aes256", "-passout", "pass:secret", "-in", join(dir, "ca.key"), "-out", join(dir, "ca.key")]));
    await broken((dir) => selfSign(dir, "-addext", "basicConstraints=critical,CA:FALSE"));
    await broken(expire);
    await broken(async (dir) => {
      await run("openssl", ["genpkey", "-algorithm", "ed25519", "-out", join(dir, "ca.key")]);
      await selfSign(dir);
    });
    expect(messages.map((message) => /no PEM certificate|without a passphrase|not the certificate of an authority|expired on|neither RSA nor/.exec(message)?.[0])).toEqual([
      "no PEM certificate",
      "without a passphrase",
      "without a passphrase",
      "not the certificate of an authority",
      "expired on",
      "neither RSA nor",
    ]);
    for (const message of messages) expect(message).toContain("tallyman ca rotate");
  });

  it("is unreadable when a file cannot be read", async () => {
    const dir = freshDir();
    await mkdir(join(dir, "ca.key"), { recursive: true });
    const error = await failure(loadOrCreateAuthority(dir));
    expect(error.code).toBe("ca_unreadable");
    expect(error.message).toContain("EISDIR");
  });

  it("cannot be written when the directory cannot be made", async () => {
    const file = freshDir();
    await writeFile(file, "");
    const error = await failure(loadOrCreateAuthority(join(file, "certs")));
    expect(error.code).toBe("ca_dir_unwritable");
    expect(error.message).toContain("TALLYMAN_CA_DIR");
  });
});

describe("rotateAuthority", () => {
  it("makes a new pair and keeps the old certificate beside it", async () => {
    const dir = freshDir();
    const old = await loadOrCreateAuthority(dir);
    const rotated = await rotateAuthority(dir);
    expect(rotated.fingerprint256).not.toBe(old.fingerprint256);
    expect((await loadOrCreateAuthority(dir)).fingerprint256).toBe(rotated.fingerprint256);
    const kept = `ca-${old.fingerprint256.replaceAll(":", "").slice(0, 8).toLowerCase()}.pem`;
    expect((await readdir(dir)).toSorted()).toEqual([kept, "ca.key", "ca.pem"].toSorted());
    expect(await readFile(join(dir, kept), "utf8")).toBe(old.certificatePem);
    expect(await mode(join(dir, "ca.key"))).toBe("600");
  });

  it("heals a rotation that crashed before the certificate was replaced", async () => {
    const dir = freshDir();
    const old = await loadOrCreateAuthority(dir);
    const rotated = await rotateAuthority(dir);
    await writeFile(old.certificatePath, old.certificatePem);
    expect((await loadOrCreateAuthority(dir)).fingerprint256).toBe(rotated.fingerprint256);
    expect(await readFile(old.certificatePath, "utf8")).toBe(rotated.certificatePem);
  });

  it("replaces a pair that cannot be used", async () => {
    const dir = freshDir();
    await mkdir(dir);
    await writeFile(join(dir, "ca.pem"), "hello");
    const rotated = await rotateAuthority(dir);
    expect((await loadOrCreateAuthority(dir)).fingerprint256).toBe(rotated.fingerprint256);
  });

  it("ends with a matching pair when several rotate at once", async () => {
    const dir = freshDir();
    await loadOrCreateAuthority(dir);
    const results = await Promise.allSettled([rotateAuthority(dir), rotateAuthority(dir), rotateAuthority(dir)]);
    expect(results.some((result) => result.status === "fulfilled")).toBe(true);
    await expect(loadOrCreateAuthority(dir)).resolves.toBeDefined();
  });
});

describe("issueLeaf", () => {
  let dir: string;
  let authority: CertificateAuthority;

  beforeAll(async () => {
    dir = freshDir();
    authority = await loadOrCreateAuthority(dir);
  });

  it.each([
    ["api.openai.com", "-verify_hostname"],
    ["localhost", "-verify_hostname"],
    ["constructor", "-verify_hostname"],
    ["__proto__", "-verify_hostname"],
    ["xn--bcher-kva.example", "-verify_hostname"],
    ["my_host.internal", "-verify_hostname"],
    [`${"a".repeat(63)}.${"b".repeat(63)}.example`, "-verify_hostname"],
    ["127.0.0.1", "-verify_ip"],
    ["::1", "-verify_ip"],
    ["2001:db8::", "-verify_ip"],
    ["::ffff:192.0.2.1", "-verify_ip"],
  ] as const)("passes openssl's strict verification for %s", async (host, how) => {
    expect(await verify(dir, authority, host, how)).toBe("OK");
  });

  it("marks subjectAltName critical when the name does not fit a common name", async () => {
    const long = `${"a".repeat(63)}.${"b".repeat(63)}.example`;
    const critical = async (host: string) => {
      const leaf = new x509.X509Certificate((await authority.issueLeaf(host, HOUR_MS, Date.now())).certificatePem);
      return [leaf.subject, leaf.getExtension(x509.SubjectAlternativeNameExtension)?.critical];
    };
    expect(await critical(long)).toEqual(["", true]);
    expect(await critical("short.example")).toEqual(["CN=short.example", false]);
  });

  it("has a positive serial of 16 bytes, the extensions of a server, and one key for all", async () => {
    const serials = new Set<string>();
    const keys = new Set<string>();
    for (let count = 0; count < 64; count += 1) {
      const leaf = await authority.issueLeaf(`h${count}.example`, HOUR_MS, Date.now());
      const serial = new X509Certificate(leaf.certificatePem).serialNumber;
      expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
      serials.add(serial);
      keys.add(leaf.keyPem);
    }
    expect([serials.size, keys.size]).toEqual([64, 1]);
    const file = join(dir, "leaf.pem");
    await writeFile(file, (await authority.issueLeaf("h.example", HOUR_MS, Date.now())).certificatePem);
    const { stdout } = await run("openssl", ["x509", "-in", file, "-noout", "-text"]);
    expect(stdout).toMatch(/Authority Key Identifier/);
    expect(stdout).toMatch(/Subject Key Identifier/);
    expect(stdout).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(stdout).toMatch(/Extended Key Usage: \s+TLS Web Server Authentication/);
  });

  it("is valid from two days ago until its lifetime ends, in whole seconds", async () => {
    const nowMs = Date.UTC(2027, 2, 1, 12, 0, 0, 640);
    const leaf = await authority.issueLeaf("a.example", 72 * HOUR_MS, nowMs);
    const certificate = new X509Certificate(leaf.certificatePem);
    expect(Date.parse(certificate.validFrom)).toBe(nowMs - 640 - 48 * HOUR_MS);
    expect(Date.parse(certificate.validTo)).toBe(leaf.notAfterMs);
    expect(leaf.notAfterMs).toBe(nowMs - 640 + 72 * HOUR_MS);
  });

  it("never outlives the authority, and is refused after its end", async () => {
    const endMs = authority.notAfter.getTime();
    expect((await authority.issueLeaf("a.example", 72 * HOUR_MS, endMs - HOUR_MS)).notAfterMs).toBe(endMs);
    expect((await failure(authority.issueLeaf("a.example", 72 * HOUR_MS, endMs + 1))).code).toBe("ca_invalid");
  });

  it.each(["", ".", "a..b", "a b", "*.example.com", "a/b", "a\0b", "bücher.example", "[::1]", "fe80::1%eth0", "x.example.", "x".repeat(64), `${"a.".repeat(130)}b`])(
    "refuses %j with a TypeError",
    async (host) => {
      await expect(authority.issueLeaf(host, HOUR_MS, Date.now())).rejects.toThrow(TypeError);
    },
  );

  it("signs or refuses whatever name a client sends", async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: "binary", maxLength: 300 }), fc.domain(), fc.ipV6(), fc.ipV4()), async (host) => {
        const error: unknown = await authority.issueLeaf(host, HOUR_MS, Date.now()).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error === undefined || error instanceof TypeError).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it("is trusted by a TLS client of Node and by curl", async () => {
    for (const host of ["metered.example", "127.0.0.1"]) {
      const leaf = await authority.issueLeaf(host, HOUR_MS, Date.now());
      const server = createServer({ cert: leaf.certificatePem, key: leaf.keyPem }, (_request, response) => response.end("hello"));
      await new Promise<void>((done) => {
        server.listen(0, "127.0.0.1", done);
      });
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      try {
        const { stdout } = await run("curl", ["-sS", "--noproxy", "*", "--cacert", authority.certificatePath, "--resolve", `${host}:${port}:127.0.0.1`, `https://${host}:${port}/`]);
        expect(stdout).toBe("hello");
        const authorized = await new Promise<boolean>((done, fail) => {
          const socket = connect({ host: "127.0.0.1", port, ...(host === "127.0.0.1" ? {} : { servername: host }), ca: authority.certificatePem }, () => {
            done(socket.authorized);
            socket.destroy();
          });
          socket.once("error", fail);
        });
        expect(authorized).toBe(true);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    }
  });
});
