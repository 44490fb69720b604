/**
 * The certificate authority's two files on disk: `ca.pem` (public, 0644) and `ca.key` (secret, 0600). Owns how they
 * appear, are replaced and heal; knows nothing of what a certificate must hold (certificate-authority.ts does).
 *
 * Two files cannot appear at once, so one of them is the truth: `ca.key` is put in place whole in one step and carries
 * a copy of its certificate behind the key (PEM readers skip blocks they did not ask for). `ca.pem` is written from
 * that copy, and written again by whoever starts next when a crash came in between. A pair made by other tools has no
 * copy in its key and is never written to.
 */

import { createHash, randomBytes } from "node:crypto";
import { constants, copyFile, link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";

/** Why there is no usable authority. The message names the file and says what to do. */
export class AuthorityError extends Error {
  override readonly name = "AuthorityError";
  readonly code: AuthorityErrorCode;

  constructor(code: AuthorityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type AuthorityErrorCode = "ca_dir_unwritable" | "ca_unreadable" | "ca_invalid" | "ca_key_mismatch" | "ca_incomplete";

/** The texts of both files. `keyPem` may hold a certificate block behind the key. */
export interface AuthorityPair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Absolute paths of both files. */
export interface AuthorityPaths {
  readonly certificate: string;
  readonly key: string;
}

/** Where the pair of a directory stands. */
export function authorityPaths(dir: string): AuthorityPaths {
  const base = resolve(dir);
  return { certificate: join(base, "ca.pem"), key: join(base, "ca.key") };
}

/** The certificate blocks of a PEM text, in order. */
export function certificateBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

/**
 * Reads the pair, finishing what a crashed creation or rotation left half done. `undefined`: neither file exists.
 * Throws AuthorityError `ca_incomplete` when one is missing and cannot be made from the other, `ca_unreadable`.
 */
export async function readPair(dir: string): Promise<AuthorityPair | undefined> {
  const paths = authorityPaths(dir);
  // The certificate first: a creation or rotation that happens between the two reads is then seen as half done.
  const certificatePem = await readIfPresent(paths.certificate);
  const keyPem = await readIfPresent(paths.key);
  if (keyPem === undefined) {
    if (certificatePem === undefined) return undefined;
    throw incomplete(paths.key, paths.certificate);
  }
  const copy = certificateCopy(keyPem);
  if (copy === undefined) {
    if (certificatePem === undefined) throw incomplete(paths.certificate, paths.key);
    return { certificatePem, keyPem };
  }
  if (certificatePem === undefined || isReplacedBy(keyPem, certificatePem)) return publishCertificate(paths);
  return { certificatePem, keyPem };
}

/**
 * Puts a new pair in place unless one exists. Of several processes that do this at once exactly one succeeds; the
 * caller reads the pair back to learn whose it is. Makes the directory (0700) when it is missing.
 */
export async function createPair(dir: string, pair: AuthorityPair): Promise<void> {
  const paths = authorityPaths(dir);
  await writing(dir, async () => {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const temporary = await writeTemporary(paths.key, keyFile(pair), 0o600);
    try {
      await linkExclusively(temporary, paths.key);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

/**
 * Puts a new pair in the place of whatever is there. The old certificate is kept beside it under the name that
 * `nameForOld` gives it (`undefined`: not kept); the old key is gone.
 */
export async function replacePair(dir: string, pair: AuthorityPair, nameForOld: (certificatePem: string) => string | undefined): Promise<void> {
  const paths = authorityPaths(dir);
  const old = await readIfPresent(paths.certificate);
  const keepAs = old === undefined ? undefined : nameForOld(old);
  await writing(dir, async () => {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    if (old !== undefined && keepAs !== undefined) await writeFileAtomically(join(dir, keepAs), old, 0o644);
    await writeFileAtomically(paths.key, keyFile(pair, old), 0o600);
    await publishCertificate(paths);
  });
}

/** Writes `ca.pem` from the copy in `ca.key` until no other process has changed the key meanwhile. */
async function publishCertificate(paths: AuthorityPaths): Promise<AuthorityPair> {
  let keyPem = await readFile(paths.key, "utf8");
  for (;;) {
    const certificatePem = certificateCopy(keyPem);
    if (certificatePem === undefined) throw incomplete(paths.certificate, paths.key);
    const written = keyPem;
    await writing(paths.certificate, () => writeFileAtomically(paths.certificate, certificatePem, 0o644));
    keyPem = await readFile(paths.key, "utf8");
    if (keyPem === written) return { certificatePem, keyPem };
  }
}

const REPLACES = "Replaces-SHA256: ";

/** The text of `ca.key`: the key, its certificate, and the hash of the `ca.pem` that it takes the place of. */
function keyFile(pair: AuthorityPair, replaced?: string): string {
  const note = replaced === undefined ? "" : `${REPLACES}${sha256(replaced)}\n`;
  return `${pair.keyPem.trim()}\n${note}${pair.certificatePem.trim()}\n`;
}

function isReplacedBy(keyPem: string, certificatePem: string): boolean {
  return keyPem.includes(`${REPLACES}${sha256(certificatePem)}\n`);
}

function certificateCopy(keyPem: string): string | undefined {
  const blocks = certificateBlocks(keyPem);
  return blocks.length === 0 ? undefined : `${blocks.join("\n")}\n`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    // ENOTDIR: the directory's path is a file. Making the directory fails next, with a message about just that.
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw new AuthorityError("ca_unreadable", `Cannot read ${path} (${reason(error)}). Make it readable for this user.`, { cause: error });
  }
}

async function writeFileAtomically(path: string, text: string, mode: number): Promise<void> {
  const temporary = await writeTemporary(path, text, mode);
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** A file beside `path`, on disk with its final mode whatever the umask. */
async function writeTemporary(path: string, text: string, mode: number): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await open(temporary, "wx", mode);
  try {
    await file.writeFile(text);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
  return temporary;
}

/** Gives a file a second name, only if that name is free. Where there are no hard links (SMB mounts) it is copied. */
async function linkExclusively(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (hasCode(error, "EEXIST")) return;
    if (!hasCode(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")) throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL).catch((copyError: unknown) => {
      if (!hasCode(copyError, "EEXIST")) throw copyError;
    });
  }
}

async function writing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (error instanceof AuthorityError) throw error;
    const message = `Cannot write ${resolve(path)} (${reason(error)}). Make it writable for this user, or set TALLYMAN_CA_DIR to a directory that is.`;
    throw new AuthorityError("ca_dir_unwritable", message, { cause: error });
  }
}

function incomplete(missing: string, present: string): AuthorityError {
  return new AuthorityError("ca_incomplete", `${present} exists but ${missing} does not. Put the missing file back, or move the other away to have a new pair made.`);
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && codes.includes(error.code);
}

function reason(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
