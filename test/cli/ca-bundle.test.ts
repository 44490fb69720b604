import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { type TrustFiles, prepareTrust } from "../../src/cli/ca-bundle.ts";
import { proxyEnvironment } from "../../src/cli/proxy-environment.ts";

const [OURS = "", CORPORATE = "", OTHER = ""] = rootCertificates;

let caDir: string;
let elsewhere: string;
beforeEach(() => {
  const root = mkdtempSync(join(tmpdir(), "tallyman-trust-"));
  caDir = join(root, "certs");
  elsewhere = join(root, "etc");
  mkdirSync(caDir);
  mkdirSync(elsewhere);
});
afterEach(() => rmSync(join(caDir, ".."), { recursive: true, force: true }));

function prepare(env: NodeJS.ProcessEnv, certificatePem = `${OURS}\n`): TrustFiles {
  return prepareTrust({ caDir, certificatePem, certificatePath: join(caDir, "ca.pem"), env });
}

function certificates(file: string): string[] {
  return readFileSync(file, "utf8").match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

function rootFile(name: string, ...blocks: readonly string[]): string {
  const file = join(elsewhere, name);
  writeFileSync(file, blocks.join("\n"));
  return file;
}

describe("prepareTrust", () => {
  it("puts the system's roots and ours into one public file", () => {
    const { caFile, bundleFile } = prepare({});
    expect([caFile, bundleFile]).toEqual([join(caDir, "ca.pem"), join(caDir, "ca-bundle.pem")]);
    expect(certificates(bundleFile)).toContain(OURS);
    expect(certificates(bundleFile).length).toBeGreaterThan(10);
    expect(statSync(bundleFile).mode & 0o777).toBe(0o644 & ~process.umask());
    expect(readdirSync(caDir)).toEqual(["ca-bundle.pem"]);
  });

  it("writes only when something changed", () => {
    const { bundleFile } = prepare({});
    const before = statSync(bundleFile).ino;
    prepare({});
    expect(statSync(bundleFile).ino).toBe(before);
    prepare({}, CORPORATE);
    expect(statSync(bundleFile).ino).not.toBe(before);
    expect(certificates(bundleFile)).toContain(CORPORATE);
  });

  it("keeps the roots that the environment names, each once", () => {
    const ssl = rootFile("ssl.pem", CORPORATE);
    const { bundleFile } = prepare({ SSL_CERT_FILE: ssl, CURL_CA_BUNDLE: rootFile("curl.pem", CORPORATE, OTHER), REQUESTS_CA_BUNDLE: ssl });
    expect(certificates(bundleFile)).toEqual([CORPORATE, OTHER, OURS]);
  });

  it("adds a root named for one program to the system's", () => {
    const plain = certificates(prepare({}).bundleFile);
    const { bundleFile } = prepare({ REQUESTS_CA_BUNDLE: rootFile("own.pem", "-----BEGIN CERTIFICATE-----\nT1dO\n-----END CERTIFICATE-----") });
    expect(certificates(bundleFile)).toHaveLength(plain.length + 1);
  });

  it("gives environments with other roots files of their own", () => {
    const first = prepare({ SSL_CERT_FILE: rootFile("a.pem", CORPORATE) });
    const second = prepare({ SSL_CERT_FILE: rootFile("b.pem", OTHER) });
    expect(first.bundleFile).not.toBe(second.bundleFile);
    expect(certificates(first.bundleFile)).toEqual([CORPORATE, OURS]);
    expect(certificates(second.bundleFile)).toEqual([OTHER, OURS]);
  });

  it("adds ours to what NODE_EXTRA_CA_CERTS names already", () => {
    const { caFile } = prepare({ NODE_EXTRA_CA_CERTS: rootFile("node.pem", CORPORATE) });
    expect(certificates(caFile)).toEqual([CORPORATE, OURS]);
  });

  it("ignores files that are missing or hold no certificate", () => {
    const { caFile, bundleFile } = prepare({ NODE_EXTRA_CA_CERTS: "/nowhere.pem", SSL_CERT_FILE: rootFile("empty.pem"), AWS_CA_BUNDLE: "" });
    expect([caFile, bundleFile]).toEqual([join(caDir, "ca.pem"), join(caDir, "ca-bundle.pem")]);
  });

  it.each<[string, () => NodeJS.ProcessEnv]>([
    ["nothing", () => ({})],
    ["SSL_CERT_FILE", () => ({ SSL_CERT_FILE: rootFile("ssl.pem", CORPORATE) })],
    ["roots for single programs", () => ({ REQUESTS_CA_BUNDLE: rootFile("r.pem", CORPORATE), NODE_EXTRA_CA_CERTS: rootFile("n.pem", OTHER) })],
  ])("changes nothing when evaluated again in its own environment, after %s", (_, makeEnv) => {
    const env = makeEnv();
    const first = prepare(env);
    const digest = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");
    const before = digest(first.bundleFile);
    const second = prepare({ ...env, ...proxyEnvironment({ proxyUrl: "http://127.0.0.1:1", ...first, existing: env }) });
    expect(second.bundleFile).toBe(first.bundleFile);
    expect(digest(second.bundleFile)).toBe(before);
    expect(second.caFile).toBe(first.caFile);
  });

  it("tells what it could not write", () => {
    expect(() => prepareTrust({ caDir: join(caDir, "missing"), certificatePem: OURS, certificatePath: join(caDir, "ca.pem"), env: {} })).toThrow(/ENOENT/);
  });
});
