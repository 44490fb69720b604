/**
 * The answers that the proxy makes by itself: the contract's codes, what a failure of the upstream connection maps
 * to, and how an answer looks on the wire. Messages never hold addresses of queries, credentials or bodies.
 */

import { constants } from "node:http2";

import type { RawHeaders } from "../flow/headers.ts";
import { StreamReset } from "./messages.ts";

/** Every code of the contract's section 3 with its status. */
export const PROXY_ERROR_STATUS = {
  bad_request: 400,
  address_denied: 403,
  request_denied: 403,
  proxy_auth_required: 407,
  authority_mismatch: 421,
  budget_exhausted: 429,
  head_too_large: 431,
  upstream_unreachable: 502,
  upstream_dns: 502,
  upstream_tls: 502,
  upstream_protocol: 502,
  queue_full: 503,
  draining: 503,
  upstream_timeout: 504,
} as const;

export type ProxyErrorCode = keyof typeof PROXY_ERROR_STATUS;

/** A failure with a code of the contract. `message` is safe to show to the client. */
export class ProxyError extends Error {
  readonly code: ProxyErrorCode;
  readonly status: number;
  constructor(code: ProxyErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ProxyError";
    this.code = code;
    this.status = PROXY_ERROR_STATUS[code];
  }
}

/** The request went up and its answer did not come: it may have had its effect. */
export class LostAnswer extends ProxyError {}

/** Turns whatever the upstream connection failed with into a ProxyError. */
export function toProxyError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  const code = errorCode(error);
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") {
    return new LostAnswer("upstream_timeout", "the upstream sent nothing for TALLYMAN_UPSTREAM_IDLE_TIMEOUT", error);
  }
  if (error instanceof StreamReset && FAULTS_OF_SYNTAX.has(error.http2Code)) {
    return new LostAnswer("upstream_protocol", "the upstream's answer is not valid HTTP", error);
  }
  // undici's parser error has a code for some faults only.
  const isParserError = code.startsWith("HPE_") || (error instanceof Error && error.name === "HTTPParserError");
  if (isParserError || PROTOCOL_CODES.has(code) || PROTOCOL_MESSAGES.has(errorMessage(error))) {
    return new LostAnswer("upstream_protocol", "the upstream's answer is not valid HTTP", error);
  }
  return new LostAnswer("upstream_unreachable", "the upstream closed the connection before it answered", error);
}

/** A malformed head of the origin arrives as one of these resets. */
const FAULTS_OF_SYNTAX: ReadonlySet<number> = new Set([constants.NGHTTP2_PROTOCOL_ERROR, constants.NGHTTP2_ENHANCE_YOUR_CALM]);

const PROTOCOL_CODES = new Set([
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_HEADERS_OVERFLOW",
  "UND_ERR_INVALID_ARG",
  "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
  "ERR_INVALID_CHAR",
  "ERR_HTTP_INVALID_STATUS_CODE",
  "ERR_INVALID_HTTP_TOKEN",
]);

/** undici raises these as plain SocketErrors. */
const PROTOCOL_MESSAGES = new Set(["bad response", "bad upgrade"]);

/** The `code` of an error, or "". */
export function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : "";
}

/** What the proxy says when it refuses or fails. */
export interface ProxyAnswer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers?: RawHeaders;
}

/** The JSON body of an answer; `shape` is the provider's own error body, under which ours is laid. */
export function answerBody(answer: ProxyAnswer, shape?: Record<string, unknown>): string {
  const inner = shape !== undefined && isRecord(shape["error"]) ? shape["error"] : {};
  const error = { ...inner, type: "tallyman_error", code: answer.code, message: answer.message };
  return JSON.stringify({ ...shape, error });
}

/** Header list of an answer whose body has `bodyBytes` bytes. */
export function answerHeaders(answer: ProxyAnswer, bodyBytes: number): string[] {
  return [
    "content-type",
    "application/json",
    "content-length",
    String(bodyBytes),
    "x-tallyman-error",
    answer.code,
    ...(answer.headers ?? []),
  ];
}

/** A whole HTTP/1.1 message for a socket that has no response object (CONNECT, broken heads). The socket closes after it. `shape` as in `answerBody`. */
export function rawAnswer(answer: ProxyAnswer, shape?: Record<string, unknown>): string {
  const body = answerBody(answer, shape);
  const headers = [...answerHeaders(answer, Buffer.byteLength(body)), "connection", "close"];
  let head = `HTTP/1.1 ${answer.status} ${REASONS[answer.status] ?? "Error"}\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${head}\r\n${body}`;
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
