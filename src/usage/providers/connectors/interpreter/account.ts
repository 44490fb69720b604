/** Tells credentials apart without keeping them. */

import { hash, randomBytes } from "node:crypto";

import { getHeader } from "../../../../flow/headers.ts";
import type { RawHeaders } from "../../../../flow/headers.ts";

/** Another one in each process: a hash leads to no credential and is the same nowhere else. */
const salt = randomBytes(32).toString("hex");

const CREDENTIAL_HEADERS = ["authorization", "x-api-key", "x-goog-api-key", "cookie"];
const CREDENTIAL_PARAMETERS = ["access_token", "token", "key", "api_key"];

/** 16 hexadecimal digits; "" where the request's head carries no credential. */
export function accountOf(headers: RawHeaders, query: URLSearchParams): string {
  const credential =
    CREDENTIAL_HEADERS.map((name) => getHeader(headers, name)).find((value) => value !== undefined) ??
    CREDENTIAL_PARAMETERS.map((name) => query.get(name)).find((value) => value !== null);
  return credential === undefined ? "" : hash("sha256", salt + accountPart(credential)).slice(0, 16);
}

/** OAuth 1.0a signs each request anew: of its header only the token stays. */
function accountPart(credential: string): string {
  return /\boauth_token="([^"]*)"/.exec(credential)?.[1] ?? credential;
}
