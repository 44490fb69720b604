/**
 * Who may ask the admin server: its own name in the Host header (a page that rebinds its DNS name to us is refused),
 * no foreign page behind a POST, and the bearer token.
 */

import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

export interface HostRuleOptions {
  /** The address the server is bound to, as configured. */
  readonly boundHost: string;
  /** The port it listens on. */
  readonly port: number;
  /** More names, without port: those by which a container or a cluster knows the server. */
  readonly allowedHosts: readonly string[];
}

const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "::1"];
const HOST_HEADER = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+))(?::(\d{1,5}))?$/i;

/** Whether a server bound to this host takes connections on every address. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::" || host === "";
}

/**
 * Judges Host headers. Bound to one address: that address and the loopback names, with the server's port. Bound to
 * all: any IP literal and `localhost`, with any port (it may be mapped); a rebound name is neither. Allowed names
 * count with any port.
 */
export function createHostRule(options: HostRuleOptions): (hostHeader: string | undefined) => boolean {
  const isBoundToAll = isWildcard(options.boundHost);
  const own = new Set([...LOOPBACK_NAMES, options.boundHost.toLowerCase()]);
  const allowed = new Set(options.allowedHosts.map((name) => name.toLowerCase()));
  return (hostHeader) => {
    const match = HOST_HEADER.exec(hostHeader ?? "");
    if (match === null) return false;
    const name = (match[1] ?? match[2] ?? "").toLowerCase();
    if (allowed.has(name)) return true;
    if (isBoundToAll) return isIP(name) !== 0 || name === "localhost";
    return own.has(name) && Number(match[3] ?? 80) === options.port;
  };
}

/** Whether a browser says that another site's page made this request. */
export function isFromForeignPage(headers: IncomingHttpHeaders): boolean {
  if (headers["sec-fetch-site"] === "cross-site") return true;
  const { origin } = headers;
  return origin !== undefined && origin !== `http://${headers.host}` && origin !== `https://${headers.host}`;
}

/** Checks `Authorization: Bearer TOKEN` in constant time. Without a token everybody may pass. */
export function createTokenCheck(token: string | undefined): (authorization: string | undefined) => boolean {
  if (token === undefined) return () => true;
  const expected = digest(token);
  return (authorization) => {
    const given = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    return given !== undefined && timingSafeEqual(digest(given), expected);
  };
}

/** Digests have one length, so that comparing them tells nothing about the token's. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
