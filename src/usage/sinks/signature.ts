/** Standard Webhooks signatures, version v1 (symmetric): https://www.standardwebhooks.com, read 2026-11. */

import { createHmac } from "node:crypto";

/** A signing key. */
export type SigningKey = Buffer;

const PREFIX = "whsec_";

/** The key of a secret, `whsec_` and base64 of its bytes. Throws on an empty one. */
export function signingKey(secret: string): SigningKey {
  const key = Buffer.from(secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret, "base64");
  if (key.length === 0) throw new TypeError("A webhook secret is whsec_ and the base64 of at least one byte.");
  return key;
}

/**
 * The webhook-signature header over `id.timestamp.body`: one `v1,<base64>` for each key, in order, so that a receiver
 * that knows either the old or the new secret accepts it while they rotate.
 */
export function signatureHeader(keys: readonly SigningKey[], id: string, timestampSeconds: number, body: Uint8Array): string {
  return keys
    .map((key) => createHmac("sha256", key).update(`${id}.${timestampSeconds}.`).update(body).digest("base64"))
    .map((digest) => `v1,${digest}`)
    .join(" ");
}
