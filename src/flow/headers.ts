/**
 * Raw header lists: name and value alternating, in the order, case and multiplicity of the wire (latin1 strings).
 * The same shape as node:http `rawHeaders`.
 */

export type RawHeaders = readonly string[];

/** First value of a header (name in lower case), or undefined. */
export function getHeader(headers: RawHeaders, lowerName: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.length === lowerName.length && name.toLowerCase() === lowerName) return headers[i + 1];
  }
  return undefined;
}

/** Every value of a header (name in lower case), in order. */
export function getHeaderValues(headers: RawHeaders, lowerName: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() === lowerName) values.push(headers[i + 1] as string);
  }
  return values;
}

/** RFC 9110 section 7.6.1: fields that belong to one connection. `te` and `trailer` are handled by the caller. */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Fields a client addresses to a proxy, never to the origin. */
const PROXY_REQUEST = new Set(["proxy-authorization", "proxy-authenticate"]);

const ATTRIBUTION_PREFIX = "x-tallyman-";

/** A field by which a client says on whose behalf it asks. It never goes upstream. */
export function isAttribution(lowerName: string): boolean {
  return lowerName.startsWith(ATTRIBUTION_PREFIX);
}

/** A request's headers, sorted by whom they are for. */
export interface SplitRequestHeaders {
  /** What goes upstream, in order. */
  readonly forward: string[];
  /** The x-tallyman-* fields. */
  readonly attribution: string[];
}

/** Fields of the connection that have their place upstream too. */
export interface KeptFields {
  /** The body goes up in chunks as it came: `Transfer-Encoding` stays. */
  readonly framing: boolean;
  /** The request asks to go over to another protocol: `Upgrade` stays, and `Connection: Upgrade`. */
  readonly upgrade: boolean;
}

const NOTHING_KEPT: KeptFields = { framing: false, upgrade: false };

/** Takes hop-by-hop, proxy and attribution fields out of a request's headers. */
export function splitRequestHeaders(headers: RawHeaders, kept: KeptFields = NOTHING_KEPT): SplitRequestHeaders {
  const named = connectionOptions(headers);
  const forward: string[] = [];
  const attribution: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    const lower = name.toLowerCase();
    if (isAttribution(lower)) attribution.push(name, value);
    else if (kept.framing && lower === "transfer-encoding") forward.push(name, value);
    else if (kept.upgrade && lower === "upgrade") forward.push(name, value);
    else if (kept.upgrade && lower === "connection") forward.push(name, value.trim().toLowerCase() === "upgrade" ? value : "Upgrade");
    else if (isHopByHop(lower, value, named) || PROXY_REQUEST.has(lower)) continue;
    else forward.push(name, value);
  }
  return { forward, attribution };
}

/** A response's headers without those that belong to the upstream connection. */
export function stripResponseHeaders(headers: RawHeaders): string[] {
  const named = connectionOptions(headers);
  const forward: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (!isHopByHop(name.toLowerCase(), value, named)) forward.push(name, value);
  }
  return forward;
}

/** `TE: trailers` is end to end in effect (gRPC needs it), as we forward trailers; any other TE is not. */
function isHopByHop(lower: string, value: string, named: ReadonlySet<string> | undefined): boolean {
  if (HOP_BY_HOP.has(lower)) return true;
  if (lower === "te") return value.trim().toLowerCase() !== "trailers";
  return named !== undefined && named.has(lower);
}

/** Field names listed in Connection, but for the framing fields that a peer must not be able to take out. */
function connectionOptions(headers: RawHeaders): ReadonlySet<string> | undefined {
  let named: Set<string> | undefined;
  for (const value of getHeaderValues(headers, "connection")) {
    for (const token of value.toLowerCase().split(",")) {
      const name = token.trim();
      if (name === "" || name === "keep-alive" || name === "close") continue;
      if (name === "host" || name === "content-length" || name === "te" || name === "expect") continue;
      (named ??= new Set()).add(name);
    }
  }
  return named;
}

/** The list without a field (name in lower case). */
export function without(headers: RawHeaders, lowerName: string): string[] {
  return headers.filter((_, i) => headers[i - (i % 2)]?.toLowerCase() !== lowerName);
}
