/** Kinds of settings values that name places on the network: hosts, rules over hosts, addresses, URLs, a proxy. */

import { isIP, isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";

import { type ValueKind, invalid, kindOf, valid } from "./value-kind.ts";

/** Names a host, or with `*.` every name below one. */
export interface HostRule {
  /** Lower case, ASCII, no trailing dot, IPv6 without brackets; may begin with `*.`. */
  readonly host: string;
  /** Undefined: any port. */
  readonly port: number | undefined;
}

/** A host to terminate, perhaps bound to a meter. */
export interface InterceptRule extends HostRule {
  /** The id of the meter that reads the host; undefined: whichever knows it. */
  readonly meter: string | undefined;
}

/** One `--connect-to` rule of curl. Hosts as in HostRule, without wildcards. */
export interface ConnectToRule {
  /** Undefined: any host. */
  readonly host: string | undefined;
  /** Undefined: any port. */
  readonly port: number | undefined;
  /** Undefined: the host that was asked for. */
  readonly toHost: string | undefined;
  /** Undefined: the port that was asked for. */
  readonly toPort: number | undefined;
}

/** An HTTP proxy to chain through. */
export interface UpstreamProxy {
  readonly host: string;
  readonly port: number;
  /** Percent-decoded; undefined when the URL names no user. */
  readonly credentials: { readonly user: string; readonly password: string } | undefined;
}

const LABELS = /^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*$/;
const METER_ID = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const HOST_PORT = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{1,5}))?$/;

/** Lower case and ASCII, without brackets or a trailing dot; undefined where it is no host name and no IP address. */
export function readHost(text: string): string | undefined {
  const literal = /^\[(.*)\]$/.exec(text)?.[1];
  if (literal !== undefined) return isIPv6(literal) ? literal.toLowerCase() : undefined;
  if (isIP(text) !== 0) return text.toLowerCase();
  // domainToASCII would silently cut a path, port or user off.
  if (/[\s/\\?#@:%]/.test(text)) return undefined;
  const name = domainToASCII(text.replace(/\.$/, "")).toLowerCase();
  return name.length <= 253 && LABELS.test(name) ? name : undefined;
}

/** Whether nothing outside this machine can reach a listener on this host. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** `host`, or `[host]` where it is IPv6. */
export function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** Where a server listens. */
export const listenHost: ValueKind<string> = kindOf("an IP address or a host name of this machine", readHost, String);

export const hostRule: ValueKind<HostRule> = kindOf("host, *.host or host:port", readHostRule, formatHostRule);

/** An item of TALLYMAN_INTERCEPT_HOSTS. */
export const interceptRule: ValueKind<InterceptRule> = kindOf(
  "host, *.host or host:port, each perhaps with =meter",
  (text) => {
    const equals = text.indexOf("=");
    const rule = readHostRule(equals === -1 ? text : text.slice(0, equals).trim());
    const meter = equals === -1 ? undefined : text.slice(equals + 1).trim();
    if (rule === undefined || (meter !== undefined && !METER_ID.test(meter))) return undefined;
    return { ...rule, meter };
  },
  (rule) => (rule.meter === undefined ? formatHostRule(rule) : `${formatHostRule(rule)}=${rule.meter}`),
);

function readHostRule(text: string): HostRule | undefined {
  const match = HOST_PORT.exec(text) ?? (isIPv6(text) ? [text, text, undefined] : null);
  if (match === null) return undefined;
  const [, name = "", portText] = match;
  const isWildcard = name.startsWith("*.");
  const host = readHost(isWildcard ? name.slice(2) : name);
  const port = portText === undefined ? undefined : readPort(portText);
  if (host === undefined || (isWildcard && isIP(host) !== 0) || (portText !== undefined && port === undefined)) return undefined;
  return { host: isWildcard ? `*.${host}` : host, port };
}

function formatHostRule(rule: HostRule): string {
  return rule.port === undefined ? rule.host : `${bracketed(rule.host)}:${rule.port}`;
}

/** An item of TALLYMAN_CONNECT_TO; https://curl.se/docs/manpage.html#--connect-to */
export const connectToRule: ValueKind<ConnectToRule> = kindOf(
  "HOST:PORT:TOHOST:TOPORT, where each part may be empty and IPv6 stands in brackets",
  (text) => {
    const match = /^(\[[^\]]*\]|[^:[\]]*):(\d{0,5}):(\[[^\]]*\]|[^:[\]]*):(\d{0,5})$/.exec(text);
    if (match === null) return undefined;
    const [, fromHost = "", fromPort = "", toHost = "", toPort = ""] = match;
    const hosts = [fromHost, toHost].map((name) => ({ isEmpty: name === "", value: name === "" ? undefined : readHost(name) }));
    const ports = [fromPort, toPort].map((part) => ({ isEmpty: part === "", value: part === "" ? undefined : readPort(part) }));
    if ([...hosts, ...ports].some((part) => !part.isEmpty && part.value === undefined)) return undefined;
    return { host: hosts[0]?.value, port: ports[0]?.value, toHost: hosts[1]?.value, toPort: ports[1]?.value };
  },
  (rule) => [bracketed(rule.host ?? ""), rule.port ?? "", bracketed(rule.toHost ?? ""), rule.toPort ?? ""].join(":"),
);

/** An item of TALLYMAN_DENY_ADDRESSES, as `address/prefix`; a bare address is a block of one. */
export const addressBlock: ValueKind<string> = kindOf(
  "a CIDR block such as 10.0.0.0/8 or fe80::/10, or one address",
  (text) => {
    const [address = "", prefix, ...rest] = text.split("/");
    const family = isIP(address);
    if (family === 0 || rest.length > 0 || address.includes("%")) return undefined;
    const bits = family === 4 ? 32 : 128;
    if (prefix === undefined) return `${address.toLowerCase()}/${bits}`;
    return /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits ? `${address.toLowerCase()}/${Number(prefix)}` : undefined;
  },
  String,
);

/** An address without user name and password; `instead` says where those go. */
function httpUrlKind(instead: string): ValueKind<string> {
  return {
    allowed: "an http:// or https:// URL",
    parse: (text) => {
      const url = URL.parse(text);
      if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) return invalid();
      if (url.username !== "" || url.password !== "") return invalid(`an http:// or https:// URL without user name and password; ${instead}`);
      url.hash = "";
      return valid(url.href);
    },
    format: String,
  };
}

export const webhookUrl = httpUrlKind("set TALLYMAN_WEBHOOK_HEADERS for an Authorization header");

/** The address of a billing system's API. */
export const apiUrl = httpUrlKind("its key is a setting of its own");

/** TALLYMAN_UPSTREAM_PROXY. The port is asked for: 80 would rarely be meant. */
export const upstreamProxy: ValueKind<UpstreamProxy> = kindOf(
  "http://host:port or http://user:password@host:port",
  (text) => {
    const url = URL.parse(text);
    if (url === null || url.protocol !== "http:" || !/:\d+\/?$/.test(text) || url.pathname !== "/" || url.search !== "" || url.hash !== "") return undefined;
    const host = readHost(url.hostname);
    const port = url.port === "" ? 80 : Number(url.port);
    const user = decode(url.username);
    const password = decode(url.password);
    if (host === undefined || port === 0 || user === undefined || password === undefined) return undefined;
    return { host, port, credentials: user === "" && password === "" ? undefined : { user, password } };
  },
  ({ host, port, credentials }) => {
    const userInfo = credentials === undefined ? "" : `${encodeURIComponent(credentials.user)}:${encodeURIComponent(credentials.password)}@`;
    return `http://${userInfo}${bracketed(host)}:${port}`;
  },
);

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray "%" in a password: told as a wrong value, whose text says how it is written.
    return undefined;
  }
}

function readPort(text: string): number | undefined {
  const port = Number(text);
  return port >= 1 && port <= 65535 ? port : undefined;
}
