/** Which flows are billable (TALLYMAN_BILLABLE), and the fingerprint by which a credential is named without being stored. */

import { createHash } from "node:crypto";

import type { FlowHead } from "../flow/flow.ts";
import { getHeader, type RawHeaders } from "../flow/headers.ts";

const FINGERPRINT_HEX = 16;

/** Headers that carry the provider's key, in the order they are looked for. */
const KEY_HEADERS = ["x-api-key", "api-key", "x-goog-api-key", "authorization"];

/** Google's APIs take the key in the query too (https://docs.cloud.google.com/docs/authentication/api-keys-use). */
const KEY_PARAMETER = /[?&]key=([^&#]+)/;

/** AWS signs each request anew; what stays is the id of the access key (Signature Version 4). */
const AWS_CREDENTIAL = /^AWS4-[A-Z0-9-]+\s+(?:.*[\s,])?Credential=([^/,\s]+)/;

type KeyedHead = Pick<FlowHead, "headers" | "target">;

/**
 * The first 16 hex digits of the SHA-256 of the key that a request carries (an Authorization scheme is left out), or
 * undefined when it carries none. `printf %s "$KEY" | sha256sum | cut -c1-16` gives the same.
 */
export function keyFingerprint(head: KeyedHead): string | undefined {
  return keyDigest(head)?.slice(0, FINGERPRINT_HEX);
}

function keyDigest({ headers, target }: KeyedHead): string | undefined {
  const key = keyOf(headers) ?? KEY_PARAMETER.exec(target)?.[1];
  return key === undefined ? undefined : createHash("sha256").update(key).digest("hex");
}

function keyOf(headers: RawHeaders): string | undefined {
  for (const name of KEY_HEADERS) {
    const value = getHeader(headers, name);
    if (value === undefined || value === "") continue;
    return name === "authorization" ? (AWS_CREDENTIAL.exec(value)?.[1] ?? value.replace(/^\S+\s+/, "")) : value;
  }
  return undefined;
}

/** A meter, or one credential of it: `keyFingerprint` is how its key's SHA-256 begins, in lower-case hexadecimal digits. */
export interface BillableRule {
  readonly meter: string;
  readonly keyFingerprint: string | undefined;
}

/** Judges a flow by its meter and its request head. The key is hashed only where a rule names one of the meter. */
export function createBillable(rules: "all" | "none" | readonly BillableRule[]): (meter: string, head: KeyedHead) => boolean {
  if (rules === "all" || rules === "none") return () => rules === "all";
  const meters = new Set(rules.filter((rule) => rule.keyFingerprint === undefined).map((rule) => rule.meter));
  const fingerprints = Map.groupBy(rules, (rule) => rule.meter);
  return (meter, head) => {
    if (meters.has(meter)) return true;
    const named = fingerprints.get(meter);
    const digest = named === undefined ? undefined : keyDigest(head);
    return digest !== undefined && named?.some(({ keyFingerprint: start }) => start !== undefined && digest.startsWith(start)) === true;
  };
}
