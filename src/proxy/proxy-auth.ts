/** Proxy credentials: reads `Proxy-Authorization: Basic user:secret` and judges the secret in constant time. */

import { createHash, timingSafeEqual } from "node:crypto";

/** `user` is the identity the client claims (attribution), whether or not a secret is asked for. */
export type AuthVerdict = { readonly isAllowed: true; readonly user: string | undefined } | { readonly isAllowed: false };

const MAX_HEADER_LENGTH = 8192;

/** With no tokens every client is allowed; otherwise the secret must be one of them. */
export function createProxyAuth(tokens: readonly string[]): (header: string | undefined) => AuthVerdict {
  const digests = tokens.map(digest);
  return (header) => {
    const credentials = parseBasic(header);
    if (digests.length === 0) return { isAllowed: true, user: credentials?.user };
    if (credentials === undefined) return { isAllowed: false };
    const given = digest(credentials.secret);
    let isKnown = false;
    for (const known of digests) isKnown = timingSafeEqual(known, given) || isKnown;
    return isKnown ? { isAllowed: true, user: credentials.user } : { isAllowed: false };
  };
}

function parseBasic(header: string | undefined): { user: string | undefined; secret: string } | undefined {
  if (header === undefined || header.length > MAX_HEADER_LENGTH) return undefined;
  const match = /^basic\s+([a-z0-9+/=_-]+)\s*$/i.exec(header);
  if (match === null) return undefined;
  const text = Buffer.from(match[1] as string, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon === -1) return undefined;
  const user = text.slice(0, colon);
  return { user: user === "" ? undefined : user, secret: text.slice(colon + 1) };
}

/** Hashing makes both sides of the comparison the same length. */
function digest(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
