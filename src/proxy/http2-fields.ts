/**
 * Heads and trailers between their HTTP/1.1 form (`RawHeaders`, see messages.ts) and the raw lists of node:http2. Pure:
 * no sessions, no sockets. What is refused here would otherwise become another message on the next connection (RFC 9113
 * section 10.3).
 *
 * What Node 24.21 does, seen by running it (2026):
 * - `session.request(list)` and `stream.respond(list, { sendDate: false })` take a flat list of names and values and keep
 *   order and duplicates, pseudo fields moved to the front. `respond` writes into the list that it is given. Duplicates of
 *   single-valued fields (content-type, etag, …) throw unless the session has `strictSingleValueFields: false`.
 * - `additionalHeaders` and `sendTrailers` take objects alone: values of one name stand together, at its first place.
 * - Node joins names and values with NUL before it hands them over and checks no value: a NUL inside one would make further fields.
 * - The listeners of 'stream' (4th argument), 'response', 'headers' (1xx) and 'trailers' (3rd argument each) get the flat
 *   list as received, latin1, pseudo fields included. Never-indexed fields are named in `headers[http2.sensitiveHeaders]`
 *   of the object beside it, and taken from a property of that name on a list that is sent.
 * - nghttp2 resets a stream whose head breaks RFC 9113 section 8 (PROTOCOL_ERROR; nothing tells a server of it, and a
 *   client sees what a reset by its peer looks like). A field whose value or name has a bad character (but for upper case)
 *   is left out in silence. It lets pass: `:authority` beside another Host, CONNECT, `http2-settings`.
 */

import { sensitiveHeaders } from "node:http2";

import type { ResponseHead } from "../flow/flow.ts";
import { getHeader, type RawHeaders } from "../flow/headers.ts";
import { isNoTrailer } from "./message-checks.ts";

/** What of a request makes its HTTP/2 head. */
export interface Http2RequestParts {
  readonly method: string;
  readonly scheme: string;
  /** Goes into `:authority` where the fields hold no Host (HTTP/1.0). */
  readonly authority: string;
  /** Origin-form path and query, or `*`. */
  readonly path: string;
  readonly headers: RawHeaders;
}

/** A request's head as an HTTP/2 client sent it. */
export interface Http2RequestHead {
  readonly kind: "request";
  readonly method: string;
  readonly scheme: string;
  /** `:authority`, or Host where that is missing. Never empty. */
  readonly authority: string;
  /** Begins with `/`, or is `*` of an OPTIONS. Holds no byte that ends a request line. */
  readonly path: string;
  /** Lower-case names in order, a leading `host`, cookie crumbs joined where the first of them stood. */
  readonly headers: RawHeaders;
}

/** A head that must not be passed on: 400, or RST_STREAM(PROTOCOL_ERROR). */
export interface Http2Fault {
  readonly kind: "malformed";
  /** Holds nothing of the request. */
  readonly message: string;
}

/** The list for `session.request`; undefined when a field cannot be said in HTTP/2 without becoming another message. */
export function toHttp2Request(parts: Http2RequestParts): string[] | undefined {
  const host = getHeader(parts.headers, "host");
  const authority = host === undefined || host === "" ? parts.authority : host;
  const list: string[] = [":method", parts.method, ":scheme", parts.scheme, ":path", parts.path, ":authority", authority];
  for (let i = 1; i < list.length; i += 2) if (hasForbiddenByte(list[i] as string)) return undefined;
  if (!appendFields(list, parts.headers, isHost)) return undefined;
  return Object.assign(list, { [sensitiveHeaders]: NEVER_INDEXED });
}

/** Reads the raw list of a server's 'stream' event. */
export function fromHttp2Request(raw: RawHeaders): Http2RequestHead | Http2Fault {
  const pseudo = takePseudoFields(raw, REQUEST_PSEUDO);
  if (pseudo === undefined) return fault("the pseudo fields of the head are unknown, doubled or out of place");
  const regular = takeRequestFields(raw, pseudo.size * 2);
  if (typeof regular === "string") return fault(regular);
  const method = pseudo.get(":method");
  const scheme = pseudo.get(":scheme");
  const path = pseudo.get(":path");
  if (method === undefined || scheme === undefined || path === undefined) return fault("a pseudo field of the head is missing");
  if (!TOKEN.test(method) || method === "CONNECT" || !SCHEME.test(scheme)) return fault("the method or the scheme cannot be passed on");
  if (!isPath(path, method)) return fault("the path of the head cannot be passed on");
  const authority = pseudo.get(":authority") ?? regular.host;
  if (authority === undefined || !AUTHORITY.test(authority)) return fault("the head names no authority");
  if (regular.host !== undefined && regular.host.toLowerCase() !== authority.toLowerCase()) return fault("the head names two authorities");
  return { kind: "request", method, scheme, authority, path, headers: ["host", authority, ...regular.fields] };
}

/**
 * The list for `stream.respond` (with `sendDate: false`), fields of the connection left out; undefined when a field cannot
 * be said in HTTP/2. Statuses above 599 make `respond` throw.
 */
export function toHttp2Response(head: ResponseHead): string[] | undefined {
  const list: string[] = [":status", String(head.status)];
  return appendFields(list, head.headers) ? list : undefined;
}

/** The object for `stream.additionalHeaders` (1xx but 101); undefined as with `toHttp2Response`. */
export function toHttp2Inform(head: ResponseHead): Record<string, string[]> | undefined {
  const list = toHttp2Response(head);
  return list === undefined ? undefined : groupByName(list);
}

/** Reads the raw list of a client's 'response' or 'headers' event. `statusText` is "": HTTP/2 has none. Undefined: no response's head. */
export function fromHttp2Response(raw: RawHeaders): ResponseHead | undefined {
  const pseudo = takePseudoFields(raw, RESPONSE_PSEUDO);
  const status = pseudo?.get(":status");
  if (status === undefined || !/^[1-9]\d\d$/.test(status) || status === "101") return undefined;
  const headers: string[] = [];
  for (let i = 2; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    if (!FIELD_NAME.test(name) || hasForbiddenByte(value) || isConnectionSpecific(name, value)) return undefined;
    headers.push(name, value);
  }
  return { status: Number(status), statusText: "", headers };
}

/** The object for `stream.sendTrailers`. Fields that no trailer may hold are left out. */
export function toHttp2Trailers(trailers: RawHeaders): Record<string, string[]> {
  return groupByName(trailerFields(trailers));
}

/** Reads the raw list of a 'trailers' event. Fields that no trailer may hold are left out. */
export function fromHttp2Trailers(raw: RawHeaders): RawHeaders {
  return trailerFields(raw);
}

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9113 section 8.2: a token without upper case. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** RFC 3986 section 3.1. */
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/;
/** No user info (RFC 9113 section 8.3.1), nothing that a host and a port cannot hold. */
const AUTHORITY = /^[\w.~!$&'()*+,;=:[\]%-]+$/;
/** Whatever stands in a request line without ending it; no fragment. */
const PATH = /^[\x21\x22\x24-\x7e\x80-\xff]+$/;
/** RFC 9110 section 5.5: a field value has no control characters but HTAB. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const FORBIDDEN_BYTE = /[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]/;
/** Longer lengths are not exact numbers. */
const CONTENT_LENGTH = /^\d{1,15}$/;

const REQUEST_PSEUDO: ReadonlySet<string> = new Set([":method", ":scheme", ":path", ":authority"]);
const RESPONSE_PSEUDO: ReadonlySet<string> = new Set([":status"]);

/** RFC 9113 section 8.2.2. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
/** Of the connection too (RFC 7540 section 3.2.1): Node throws at it. No fault where it is received: RFC 9113 knows it no more. */
const HTTP2_SETTINGS = "http2-settings";

/**
 * RFC 7541 section 7.1: many clients share a session to an origin; what one of them proves itself with must not go into
 * the compression table that the others' fields are matched against.
 */
const NEVER_INDEXED: readonly string[] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"];

function fault(message: string): Http2Fault {
  return { kind: "malformed", message };
}

function hasForbiddenByte(value: string): boolean {
  return FORBIDDEN_BYTE.test(value);
}

function isHost(lowerName: string): boolean {
  return lowerName === "host";
}

function isConnectionSpecific(lowerName: string, value: string): boolean {
  return CONNECTION_SPECIFIC.has(lowerName) || (lowerName === "te" && value.toLowerCase() !== "trailers");
}

function isPath(path: string, method: string): boolean {
  return path.startsWith("/") ? PATH.test(path) : path === "*" && method === "OPTIONS";
}

/** Puts the fields that may stand in HTTP/2 on the list. False: there is one that may not and cannot be left out. */
function appendFields(list: string[], headers: RawHeaders, isElsewhere?: (lowerName: string) => boolean): boolean {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    const value = headers[i + 1] as string;
    if (isConnectionSpecific(name, value) || name === HTTP2_SETTINGS || isElsewhere?.(name) === true) continue;
    if (!FIELD_NAME.test(name) || hasForbiddenByte(value)) return false;
    list.push(name, name === "te" ? "trailers" : value);
  }
  return true;
}

/** The pseudo fields that lead the list. Undefined: an unknown or doubled one, or one behind a regular field. */
function takePseudoFields(raw: RawHeaders, known: ReadonlySet<string>): Map<string, string> | undefined {
  const pseudo = new Map<string, string>();
  let isBehind = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!name.startsWith(":")) {
      isBehind = true;
      continue;
    }
    if (isBehind || !known.has(name) || pseudo.has(name)) return undefined;
    pseudo.set(name, raw[i + 1] as string);
  }
  return pseudo;
}

interface RequestFields {
  readonly host: string | undefined;
  /** Without the host. */
  readonly fields: string[];
}

/** The regular fields from `start` on, or what is wrong with them. */
function takeRequestFields(raw: RawHeaders, start: number): RequestFields | string {
  const fields: string[] = [];
  let host: string | undefined;
  let cookieAt = -1;
  let length: string | undefined;
  for (let i = start; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    if (!FIELD_NAME.test(name) || hasForbiddenByte(value)) return "a field of the head has characters that none may have";
    if (isConnectionSpecific(name, value)) return "the head holds a field that HTTP/2 has no use for";
    if (name === "host") {
      if (host !== undefined) return "the head names two authorities";
      host = value;
    } else if (name === "cookie" && cookieAt >= 0) {
      // RFC 9113 section 8.2.3: crumbs are one field outside of HTTP/2.
      fields[cookieAt] = `${fields[cookieAt]}; ${value}`;
    } else if (name === "content-length" && length !== undefined) {
      if (value !== length) return "the head holds two lengths";
    } else {
      if (name === "content-length" && !CONTENT_LENGTH.test(value)) return "the length in the head is no number";
      if (name === "content-length") length = value;
      if (name === "cookie") cookieAt = fields.length + 1;
      fields.push(name, value);
    }
  }
  return { host, fields };
}

function trailerFields(trailers: RawHeaders): string[] {
  const fields: string[] = [];
  for (let i = 0; i + 1 < trailers.length; i += 2) {
    const name = (trailers[i] as string).toLowerCase();
    const value = trailers[i + 1] as string;
    if (FIELD_NAME.test(name) && !isNoTrailer(name) && !hasForbiddenByte(value)) fields.push(name, value);
  }
  return fields;
}

/** One entry for each name, in the order of first appearance. Without a prototype: any name is a name. */
function groupByName(list: RawHeaders): Record<string, string[]> {
  const grouped: Record<string, string[]> = Object.create(null);
  for (let i = 0; i + 1 < list.length; i += 2) {
    const name = list[i] as string;
    const value = list[i + 1] as string;
    const values = grouped[name];
    if (values === undefined) grouped[name] = [value];
    else values.push(value);
  }
  return grouped;
}
