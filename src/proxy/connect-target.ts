/** Parses an authority (CONNECT target, Host header, absolute-form authority) and compares two of them. Does no I/O. */

import { isIP } from "node:net";

/** Where a client wants to go. */
export interface Target {
  /** Lower case, no trailing dot, IPv6 without brackets. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

const MAX_HOST_LENGTH = 253;
const DNS_NAME = /^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*$/;

/**
 * Reads `host:port`, `[v6]:port` or, where a default port is given, `host`. Undefined for anything else: user info,
 * paths, empty hosts, ports outside 1–65535, characters that no host name has.
 */
export function parseAuthority(authority: string, defaultPort?: number): Target | undefined {
  const bracketed = /^\[([0-9a-f:.]+)\](?::(\d{1,5}))?$/i.exec(authority);
  if (bracketed !== null) {
    const host = (bracketed[1] as string).toLowerCase();
    return isIP(host) === 6 ? withPort(host, bracketed[2], defaultPort) : undefined;
  }
  const plain = /^([^:[\]/?#@\s]+)(?::(\d{1,5}))?$/.exec(authority);
  if (plain === null) return undefined;
  const host = normalizeHost(plain[1] as string);
  return host === undefined ? undefined : withPort(host, plain[2], defaultPort);
}

/** Lower-cases, takes one trailing dot away and checks the characters of a host name or IPv4 literal. */
export function normalizeHost(name: string): string | undefined {
  const lower = name.toLowerCase();
  const host = lower.endsWith(".") ? lower.slice(0, -1) : lower;
  return host.length <= MAX_HOST_LENGTH && DNS_NAME.test(host) ? host : undefined;
}

/** `host:port` with brackets around IPv6. */
export function formatAuthority(target: Target): string {
  return target.host.includes(":") ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`;
}

/** Whether a Host header names the target. A Host without a port names any port of the host. */
export function namesTarget(hostHeader: string, target: Target): boolean {
  const named = parseAuthority(hostHeader.trim(), target.port);
  return named !== undefined && named.host === target.host && named.port === target.port;
}

function withPort(host: string, portText: string | undefined, defaultPort: number | undefined): Target | undefined {
  const port = portText === undefined ? defaultPort : Number(portText);
  return port !== undefined && port >= 1 && port <= 65535 ? { host, port } : undefined;
}

/** RFC 9112 section 3.2.2: `http://authority/path?query`. The path is kept byte for byte. */
export function parseAbsoluteForm(url: string): { scheme: "http" | "https"; target: Target; path: string } | undefined {
  const match = /^(https?):\/\/([^/?#]+)([^#]*)$/i.exec(url);
  if (match === null) return undefined;
  const scheme = (match[1] as string).toLowerCase() === "https" ? "https" : "http";
  const target = parseAuthority(match[2] as string, scheme === "https" ? 443 : 80);
  if (target === undefined) return undefined;
  const rest = match[3] as string;
  return { scheme, target, path: rest.startsWith("/") ? rest : `/${rest}` };
}
