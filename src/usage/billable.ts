/** Which flows are billable (TALLYMAN_BILLABLE), and the fingerprint by which a credential is named without being stored. */

import { createHash } from "node:crypto";

import { getHeader, type RawHeaders } from "../flow/headers.ts";

const FINGERPRINT_HEX = 16;

/** Headers that carry the provider's key, in the order they are looked for. */
const KEY_HEADERS = ["x-api-key", "api-key", "x-goog-api-key", "authorization"];

/**
 * The first 16 hex digits of the SHA-256 of the key that a request carries (an Authorization scheme is left out), or
 * undefined when it carries none. `printf %s "$KEY" | sha256sum | cut -c1-16` gives the same.
 */
export function keyFingerprint(headers: RawHeaders): string | undefined {
  for (const name of KEY_HEADERS) {
    const value = getHeader(headers, name);
    if (value === undefined || value === "") continue;
    const key = name === "authorization" ? value.replace(/^\S+\s+/, "") : value;
    return createHash("sha256").update(key).digest("hex").slice(0, FINGERPRINT_HEX);
  }
  return undefined;
}

/** A meter, or one credential of it. */
export interface BillableRule {
  readonly meter: string;
  readonly keyFingerprint: string | undefined;
}

/** Judges a flow by its meter and its request headers. The key is hashed only where a rule names one. */
export function createBillable(rules: "all" | "none" | readonly BillableRule[]): (meter: string, headers: RawHeaders) => boolean {
  if (rules === "all" || rules === "none") return () => rules === "all";
  const meters = new Set(rules.filter((rule) => rule.keyFingerprint === undefined).map((rule) => rule.meter));
  const keys = new Set(rules.filter((rule) => rule.keyFingerprint !== undefined).map((rule) => `${rule.meter}:${rule.keyFingerprint}`));
  return (meter, headers) => {
    if (meters.has(meter)) return true;
    if (keys.size === 0) return false;
    const fingerprint = keyFingerprint(headers);
    return fingerprint !== undefined && keys.has(`${meter}:${fingerprint}`);
  };
}
