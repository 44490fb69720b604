/**
 * Host and path patterns, and a table that finds the most specific host pattern. Pure.
 *
 * A pattern is an exact host ("api.openai.com", "127.0.0.1", "::1"), "*.suffix" (one or more labels before the suffix) or a
 * name with "*" for exactly one label inside it ("runtime.*.example.com", "*.runtime.*.example.com") or for the beginning of one
 * ("*-api.example.com"), each with an optional ":port". An IPv6 literal with a port stands in brackets: "[::1]:443". Case does
 * not matter in a pattern. Hosts that are looked up are as in FlowHead: lower case, no port, no brackets.
 */

/** A pattern taken apart. */
interface HostPatternParts {
  readonly kind: "exact" | "suffix" | "inner";
  /** The exact host; of a suffix, what follows its "*."; of an inner wildcard, the whole name with its "*". */
  readonly host: string;
  /** undefined: any port. */
  readonly port: number | undefined;
}

/** Longest name in the DNS (RFC 1035 section 2.3.4); a longer host matches no wildcard. */
const MAX_HOST_CHARS = 253;

const BRACKETED = /^\[([^\]]*)\](?::(.*))?$/s;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const WILD_LABEL = /^\*(?:-[a-z0-9-]{0,60}[a-z0-9])?$/;
const IPV6 = /^[0-9a-f:]+(?::\d+\.\d+\.\d+\.\d+)?$/;
const PORT = /^[0-9]{1,5}$/;

/** Whether one pattern covers a host (lower case) and port. A pattern with a fault covers nothing. */
export function hostMatches(pattern: string, host: string, port: number): boolean {
  const parts = parseHostPattern(pattern);
  if (typeof parts === "string") return false;
  if (parts.port !== undefined && parts.port !== port) return false;
  if (parts.kind === "exact") return host === parts.host;
  if (parts.kind === "inner") return innerMatches(parts.host.split("."), host);
  const prefixLength = host.length - parts.host.length - 1;
  return host.length <= MAX_HOST_CHARS && prefixLength > 0 && host[prefixLength] === "." && host.endsWith(parts.host);
}

/** Finds what the most specific pattern for a host says. */
export interface HostTable<T> {
  /** `host` in lower case, without port and brackets. */
  lookup(host: string, port: number): T | undefined;
}

/** The values of one host pattern: by port, and for any other port. */
interface HostSlot<T> {
  readonly byPort: Map<number, T>;
  anyPort: T | undefined;
}

/**
 * Builds a table. An exact host beats a wildcard, one inside a name beats a suffix, a longer suffix beats a shorter one, and of one
 * host pattern the entry with the port beats the one without. Of two equal patterns the first counts. A lookup is one Map
 * access a label, and a comparison for each pattern with a wildcard inside. Throws RangeError for a pattern that has a fault: check patterns of users with hostPatternFault first.
 */
export function createHostTable<T>(entries: readonly (readonly [pattern: string, value: T])[]): HostTable<T> {
  const slots: Record<HostPatternParts["kind"], Map<string, HostSlot<T>>> = { exact: new Map(), suffix: new Map(), inner: new Map() };
  for (const [pattern, value] of entries) {
    const parts = parseHostPattern(pattern);
    if (typeof parts === "string") throw new RangeError(`host pattern ${JSON.stringify(pattern)}: ${parts}`);
    addEntry(slots[parts.kind], parts, value);
  }
  const inner = [...slots.inner].map(([name, slot]) => ({ labels: name.split("."), slot }));
  return {
    lookup(host, port) {
      return valueFor(slots.exact.get(host), port) ?? lookupInner(inner, host, port) ?? lookupSuffix(slots.suffix, host, port);
    },
  };
}

function lookupInner<T>(patterns: readonly { readonly labels: readonly string[]; readonly slot: HostSlot<T> }[], host: string, port: number): T | undefined {
  for (const { labels, slot } of patterns) {
    const value = innerMatches(labels, host) ? valueFor(slot, port) : undefined;
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Label by label; "*" is any one, "*-end" any that ends so. */
function innerMatches(labels: readonly string[], host: string): boolean {
  // Most hosts are another's: their end tells.
  if (host.length > MAX_HOST_CHARS || !host.endsWith(labels.at(-1) ?? "")) return false;
  const own = host.split(".");
  return own.length === labels.length && labels.every((label, i) => labelMatches(label, own[i] ?? ""));
}

function labelMatches(pattern: string, label: string): boolean {
  return pattern.startsWith("*") ? label.length >= pattern.length && label.endsWith(pattern.slice(1)) : label === pattern;
}

/** Says what is wrong with a pattern, in a clause that can follow the setting's name; undefined when it is right. */
export function hostPatternFault(pattern: string): string | undefined {
  const parts = parseHostPattern(pattern);
  return typeof parts === "string" ? parts : undefined;
}

/**
 * Whether a path (percent-encoded, no query) ends with a suffix at a segment boundary: "/proxy/v1/messages" ends
 * with "/v1/messages" and with "v1/messages", "/proxyv1/messages" with neither.
 */
export function pathEndsWith(path: string, suffix: string): boolean {
  if (!path.endsWith(suffix)) return false;
  return path.length === suffix.length || suffix[0] === "/" || path[path.length - suffix.length - 1] === "/";
}

function addEntry<T>(slots: Map<string, HostSlot<T>>, parts: HostPatternParts, value: T): void {
  let slot = slots.get(parts.host);
  if (slot === undefined) {
    slot = { byPort: new Map(), anyPort: undefined };
    slots.set(parts.host, slot);
  }
  if (parts.port === undefined) slot.anyPort ??= value;
  else if (!slot.byPort.has(parts.port)) slot.byPort.set(parts.port, value);
}

function valueFor<T>(slot: HostSlot<T> | undefined, port: number): T | undefined {
  return slot === undefined ? undefined : (slot.byPort.get(port) ?? slot.anyPort);
}

function lookupSuffix<T>(slots: Map<string, HostSlot<T>>, host: string, port: number): T | undefined {
  if (slots.size === 0 || host.length > MAX_HOST_CHARS) return undefined;
  for (let dot = host.indexOf(".", 1); dot !== -1; dot = host.indexOf(".", dot + 1)) {
    const value = valueFor(slots.get(host.slice(dot + 1)), port);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Takes a pattern apart, or says what is wrong with it. */
function parseHostPattern(pattern: string): HostPatternParts | string {
  const text = pattern.toLowerCase();
  if (text === "") return "is empty";
  const bracketed = BRACKETED.exec(text);
  if (bracketed !== null) return parseIpv6(bracketed[1] ?? "", bracketed[2]);
  const colon = text.indexOf(":");
  if (colon !== -1 && text.indexOf(":", colon + 1) !== -1) return parseIpv6(text, undefined);
  const port = parsePort(colon === -1 ? undefined : text.slice(colon + 1));
  if (typeof port === "string") return port;
  return parseName(colon === -1 ? text : text.slice(0, colon), port);
}

function parseIpv6(host: string, portText: string | undefined): HostPatternParts | string {
  if (!host.includes(":") || !IPV6.test(host)) return "is not an IPv6 address (an IPv6 address with a port is [address]:port)";
  const port = parsePort(portText);
  return typeof port === "string" ? port : { kind: "exact", host, port };
}

function parseName(name: string, port: number | undefined): HostPatternParts | string {
  const isSuffix = name.startsWith("*.") && !name.includes("*", 1);
  const host = isSuffix ? name.slice(2) : name;
  if (host.includes("/")) return "is a host pattern, not a URL: leave out the scheme and the path";
  if (host.length > MAX_HOST_CHARS) return `is longer than ${MAX_HOST_CHARS} characters`;
  const labels = host.split(".");
  const isInner = !isSuffix && labels.slice(0, -2).some((label) => WILD_LABEL.test(label));
  const plain = isInner ? labels.filter((label, i) => i >= labels.length - 2 || !WILD_LABEL.test(label)) : labels;
  if (plain.some((label) => label.includes("*"))) return 'may have a wildcard only as in "*.example.com", "api.*.example.com" or "*-api.example.com"';
  if (!plain.every((label) => LABEL.test(label))) return "is not a host name (letters, digits, hyphens; labels of 1 to 63 characters)";
  if (isSuffix && /^[0-9]+$/.test(labels.at(-1) ?? "")) return "has a wildcard in an IP address";
  return { kind: isInner ? "inner" : isSuffix ? "suffix" : "exact", host, port };
}

function parsePort(text: string | undefined): number | undefined | string {
  if (text === undefined) return undefined;
  const port = PORT.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : "has a port that is not a number from 1 to 65535";
}
