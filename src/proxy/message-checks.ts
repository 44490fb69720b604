/**
 * What the HTTP/1.1 parsers of Node and undici (llhttp, strict) let through and no proxy may pass on: another peer could
 * read another message out of it. Pure; each fault is named by a rule, never by what the message holds.
 *
 * What llhttp 9.4.3 in Node 24.21 accepts, seen by running it: versions 0.9 and 2.0, HTTP/1.0 with a transfer coding,
 * codings before `chunked` and, in a response, any coding at all; a fragment in the request target; lengths up to 2^64;
 * an upgrade with a body, whose bytes it hands over as those of the new protocol; any bytes in a reason phrase.
 */

import { isAttribution, type RawHeaders } from "../flow/headers.ts";

/** A request head as node:http has parsed it. */
export interface ParsedRequestHead {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  readonly rawHeaders: RawHeaders;
}

/** Longer lengths are not exact numbers. */
const EXACT_LENGTH = /^\d{1,15}$/;

/** Why the request must be answered 400 and its connection closed; undefined: nothing is wrong. `isUpgrade`: it asks to go over to another protocol. */
export function requestFault(head: ParsedRequestHead, isUpgrade: boolean): string | undefined {
  const { method, url = "", httpVersionMajor, httpVersionMinor, rawHeaders } = head;
  if (httpVersionMajor !== 1 || httpVersionMinor > 1) return "the request is not HTTP/1.0 or HTTP/1.1";
  if (url.includes("#")) return "the request target has a fragment";
  if (url === "*" && method !== "OPTIONS") return "only OPTIONS has the target *";
  const { hosts, coding, length } = framingFields(rawHeaders);
  // RFC 9112 section 3.2.
  if (hosts > 1 || (hosts === 0 && httpVersionMinor === 1)) return "the request needs one Host field";
  // RFC 9112 section 6.1.
  if (coding !== undefined && httpVersionMinor === 0) return "HTTP/1.0 has no Transfer-Encoding";
  if (coding !== undefined && !isChunkedAlone(coding)) return "the only transfer coding is chunked";
  if (length !== undefined && !EXACT_LENGTH.test(length)) return "the Content-Length is no number of up to 15 digits";
  if (isUpgrade && (coding !== undefined || Number(length ?? 0) > 0)) return "a request to go over to another protocol has no body";
  return undefined;
}

/**
 * Why a response must not be passed on (502 `upstream_protocol`); undefined: nothing is wrong. We send no TE but
 * `trailers`: a coding besides chunked would reach the client as if it were the body.
 */
export function responseFault(headers: RawHeaders): string | undefined {
  const { coding, length } = framingFields(headers);
  if (coding !== undefined && !isChunkedAlone(coding)) return "the upstream's answer has a transfer coding that nobody asked for";
  if (length !== undefined && !EXACT_LENGTH.test(length)) return "the upstream's answer has a Content-Length that is no number of up to 15 digits";
  return undefined;
}

/** RFC 9112 section 4, with a status of RFC 9110 section 15 and a reason phrase without control characters. No line end. */
export function isStatusLine(line: string): boolean {
  return /^HTTP\/1\.[01] [1-9]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?$/.test(line);
}

/** RFC 9110 section 6.5.1: what frames or routes a message, belongs to the connection or is for a proxy has no place behind its body. */
const NO_TRAILER: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

export function isNoTrailer(lowerName: string): boolean {
  return NO_TRAILER.has(lowerName) || isAttribution(lowerName);
}

/** The trailers without those that a peer could take for fields of the head. */
export function safeTrailers(trailers: RawHeaders): RawHeaders {
  const isLeftOut = (i: number): boolean => isNoTrailer((trailers[i - (i % 2)] as string).toLowerCase());
  return trailers.some((_, i) => isLeftOut(i)) ? trailers.filter((_, i) => !isLeftOut(i)) : trailers;
}

interface FramingFields {
  readonly hosts: number;
  /** Every value of Transfer-Encoding, as one list. */
  readonly coding: string | undefined;
  /** The first Content-Length; the parser lets no second one pass. */
  readonly length: string | undefined;
}

/** One pass: this is asked of every message. */
function framingFields(headers: RawHeaders): FramingFields {
  let hosts = 0;
  let coding: string | undefined;
  let length: string | undefined;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (name.length === HOST.length && name.toLowerCase() === HOST) hosts += 1;
    else if (name.length === LENGTH.length && name.toLowerCase() === LENGTH) length ??= value;
    else if (name.length === CODING.length && name.toLowerCase() === CODING) coding = coding === undefined ? value : `${coding}, ${value}`;
  }
  return { hosts, coding, length };
}

const HOST = "host";
const LENGTH = "content-length";
const CODING = "transfer-encoding";

function isChunkedAlone(coding: string): boolean {
  return coding.toLowerCase() === "chunked";
}
