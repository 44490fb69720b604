/**
 * The certificate authority: an EC P-256 root made at first start (or an existing pair, also RSA), and the leaves it
 * signs. Owns what the certificates hold; authority-files.ts owns the files, leaf-cache.ts which leaf is used when.
 */

// The dependency container inside @peculiar/x509 throws at import time without this polyfill (its README).
import "reflect-metadata";
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from "node:crypto";
import type { KeyObject, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { AuthorityError, authorityPaths, certificateBlocks, createPair, readPair, replacePair } from "./authority-files.ts";
import type { AuthorityPair, AuthorityPaths } from "./authority-files.ts";

export { AuthorityError } from "./authority-files.ts";
export type { AuthorityErrorCode } from "./authority-files.ts";

/** A certificate for one host with its key. */
export interface Leaf {
  /** The leaf alone when the authority is a root; followed by the authority when that is an intermediate. */
  readonly certificatePem: string;
  /** PKCS #8. The same for every leaf of this process. */
  readonly keyPem: string;
  /** End of validity, epoch ms. */
  readonly notAfterMs: number;
}

export interface CertificateAuthority {
  /** The text of `ca.pem`: what a client must trust. */
  readonly certificatePem: string;
  /** Absolute path of `ca.pem`. */
  readonly certificatePath: string;
  /** SHA-256 of the certificate, upper-case hex pairs joined by colons. */
  readonly fingerprint256: string;
  readonly notAfter: Date;
  /**
   * Signs a certificate for a DNS name (A-labels) or an IP literal without brackets. Valid from two days ago until
   * `nowMs + ttlMs`, or the authority's own end if that is sooner. Rejects with a TypeError for anything that is no
   * host name, with AuthorityError `ca_invalid` once the authority has expired.
   */
  issueLeaf(host: string, ttlMs: number, nowMs: number): Promise<Leaf>;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** Clients whose clock is slow still accept what was made just now. */
const BACKDATE_MS = 2 * DAY_MS;
const ROOT_LIFETIME_MS = 3652 * DAY_MS;
const SERIAL_BYTES = 16;

/**
 * Uses the pair in `dir`, or makes one (directory 0700 if it has to be made, `ca.key` 0600, `ca.pem` 0644). Safe when
 * several processes start on one directory at once: all end with the same pair. Throws AuthorityError.
 */
export async function loadOrCreateAuthority(dir: string): Promise<CertificateAuthority> {
  const existing = await readPair(dir);
  if (existing !== undefined) return openAuthority(existing, authorityPaths(dir));
  await createPair(dir, await makeRoot(Date.now()));
  return readBack(dir);
}

/**
 * Replaces the pair by a new one, whatever state it is in. The old certificate stays beside it as
 * `ca-<first 8 hex digits of its fingerprint>.pem` so that it can be taken out of trust stores; the old key is
 * destroyed. Running processes keep the old pair until they are restarted. Throws AuthorityError.
 */
export async function rotateAuthority(dir: string): Promise<CertificateAuthority> {
  await replacePair(dir, await makeRoot(Date.now()), nameForOld);
  return readBack(dir);
}

async function readBack(dir: string): Promise<CertificateAuthority> {
  const pair = await readPair(dir);
  if (pair === undefined) throw new AuthorityError("ca_incomplete", `The pair in ${dir} was removed while it was made. Start again.`);
  return openAuthority(pair, authorityPaths(dir));
}

/** Where an old `ca.pem` is kept; undefined when it is no certificate. */
function nameForOld(certificatePem: string): string | undefined {
  const certificate = parseCertificate(certificatePem);
  if (certificate === undefined) return undefined;
  return `ca-${certificate.fingerprint256.replaceAll(":", "").slice(0, 8).toLowerCase()}.pem`;
}

async function makeRoot(nowMs: number): Promise<AuthorityPair> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const name = new x509.Name([{ CN: [`Tallyman CA ${randomBytes(4).toString("hex")}`] }]);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: name,
    issuer: name,
    ...validity(nowMs, nowMs + ROOT_LIFETIME_MS),
    publicKey: spki,
    ...signerOf(privateKey),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(spki),
    ],
  });
  return { certificatePem: `${certificate.toString("pem")}\n`, keyPem: exportPem(privateKey) };
}

async function openAuthority(pair: AuthorityPair, paths: AuthorityPaths): Promise<CertificateAuthority> {
  const { certificate, key } = checkPair(pair, paths);
  const notAfter = new Date(certificate.validTo);
  return {
    certificatePem: pair.certificatePem,
    certificatePath: paths.certificate,
    fingerprint256: certificate.fingerprint256,
    notAfter,
    issueLeaf: await leafSigner(certificate, key, intermediates(pair.certificatePem), notAfter.getTime()),
  };
}

/** A pair that can sign leaves now, or an AuthorityError that says what to do. */
function checkPair(pair: AuthorityPair, paths: AuthorityPaths): { certificate: X509Certificate; key: KeyObject } {
  const certificate = parseCertificate(pair.certificatePem);
  if (certificate === undefined) throw invalid(`${paths.certificate} holds no PEM certificate.`);
  const key = parseKey(pair.keyPem, paths.key);
  if (!certificate.checkPrivateKey(key)) {
    throw new AuthorityError("ca_key_mismatch", `${paths.key} is not the key of ${paths.certificate}. Put the matching file back, or run "tallyman ca rotate" to make a new pair.`);
  }
  if (!certificate.ca) throw invalid(`${paths.certificate} is not the certificate of an authority (basicConstraints CA:TRUE).`);
  const nowMs = Date.now();
  if (Date.parse(certificate.validTo) <= nowMs) throw invalid(`${paths.certificate} expired on ${certificate.validTo}.`);
  if (Date.parse(certificate.validFrom) > nowMs) throw invalid(`${paths.certificate} is not valid before ${certificate.validFrom}; is the clock right?`);
  return { certificate, key };
}

function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    // Not a certificate; callers say so in their own words.
    return undefined;
  }
}

function parseKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw invalid(`${path} holds no private key in PEM that can be read without a passphrase.`, error);
  }
}

function invalid(what: string, cause?: unknown): AuthorityError {
  return new AuthorityError("ca_invalid", `${what} Replace the pair, or run "tallyman ca rotate" to make a new one.`, { cause });
}

/** What a leaf's chain needs beside it: the certificates of `ca.pem` that are no roots. */
function intermediates(certificatePem: string): string {
  return certificateBlocks(certificatePem)
    .filter((block) => {
      const certificate = parseCertificate(block);
      return certificate !== undefined && certificate.subject !== certificate.issuer;
    })
    .map((block) => `${block}\n`)
    .join("");
}

/** Prepares what all leaves share; each then costs one signature. */
async function leafSigner(authority: X509Certificate, authorityKey: KeyObject, chainPem: string, endMs: number): Promise<CertificateAuthority["issueLeaf"]> {
  const issuer = new x509.X509Certificate(authority.raw);
  const signer = signerOf(authorityKey);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const keyPem = exportPem(privateKey);
  const shared = [
    await authorityKeyIdentifier(issuer),
    await x509.SubjectKeyIdentifierExtension.create(spki),
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
  ];
  return async (host, ttlMs, nowMs) => {
    const names = leafNames(host);
    const notAfterMs = wholeSecond(Math.min(nowMs + ttlMs, endMs));
    if (endMs <= nowMs) throw invalid(`The certificate authority expired on ${new Date(endMs).toISOString()}.`);
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: randomSerial(),
      subject: names.subject,
      issuer: issuer.subjectName,
      ...validity(nowMs, notAfterMs),
      publicKey: spki,
      ...signer,
      extensions: [...shared, names.alternative],
    });
    return { certificatePem: `${leaf.toString("pem")}\n${chainPem}`, keyPem, notAfterMs };
  };
}

/** Names the authority's key as its own certificate does, else by the hash of it (RFC 5280 section 4.2.1.2). */
function authorityKeyIdentifier(issuer: x509.X509Certificate): x509.Extension | Promise<x509.Extension> {
  const keyId = issuer.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  return keyId === undefined ? x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey) : new x509.AuthorityKeyIdentifierExtension(keyId);
}

const MAX_HOST_LENGTH = 253;
/** RFC 5280 appendix A: ub-common-name. */
const MAX_COMMON_NAME_LENGTH = 64;
/** Labels as they occur on the wire: `_` and hyphens at either end are no host names by RFC 952, and are used. */
const DNS_NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i;

/**
 * The names of a leaf. Verifiers read subjectAltName; the common name is there because some refuse an empty subject,
 * and where it does not fit subjectAltName is critical (RFC 5280 section 4.1.2.6).
 */
function leafNames(host: string): { subject: x509.Name; alternative: x509.Extension } {
  const name = generalName(host);
  const hasCommonName = name.value.length <= MAX_COMMON_NAME_LENGTH;
  return {
    subject: new x509.Name(hasCommonName ? [{ CN: [name.value] }] : []),
    alternative: new x509.SubjectAlternativeNameExtension([name], !hasCommonName),
  };
}

function generalName(host: string): { type: "dns" | "ip"; value: string } {
  const family = host.length > MAX_HOST_LENGTH ? 0 : isIP(host);
  if (family === 4) return { type: "ip", value: host };
  // The URL parser writes every form of an address ("::ffff:1.2.3.4") in groups of hex digits.
  if (family === 6 && !host.includes("%")) return { type: "ip", value: new URL(`http://[${host}]`).hostname.slice(1, -1) };
  if (host.length <= MAX_HOST_LENGTH && DNS_NAME.test(host)) return { type: "dns", value: host.toLowerCase() };
  throw new TypeError("Not a host name that a certificate can be made for.");
}

/** The parameters that make @peculiar/x509 sign with this key. */
function signerOf(key: KeyObject): { signingKey: webcrypto.CryptoKey; signingAlgorithm: { name: string; hash: string } } {
  const algorithm = signatureAlgorithm(key);
  if (algorithm === undefined) throw invalid("The key of the certificate authority is neither RSA nor on the curves P-256, P-384 or P-521.");
  return { signingKey: key.toCryptoKey(algorithm, false, ["sign"]), signingAlgorithm: { name: algorithm.name, hash: "SHA-256" } };
}

const CURVES = new Map([
  ["prime256v1", "P-256"],
  ["secp384r1", "P-384"],
  ["secp521r1", "P-521"],
]);

function signatureAlgorithm(key: KeyObject): { name: string; hash: string } | { name: string; namedCurve: string } | undefined {
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const namedCurve = key.asymmetricKeyType === "ec" ? CURVES.get(key.asymmetricKeyDetails?.namedCurve ?? "") : undefined;
  return namedCurve === undefined ? undefined : { name: "ECDSA", namedCurve };
}

function validity(nowMs: number, endMs: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(wholeSecond(nowMs - BACKDATE_MS)), notAfter: new Date(wholeSecond(endMs)) };
}

/** X.509 times have no fraction (RFC 5280 section 4.1.2.5). */
function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

/** Positive, and exactly 16 bytes: the first is 0x40 to 0x7f. */
function randomSerial(): string {
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial.toString("hex");
}

function exportPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
