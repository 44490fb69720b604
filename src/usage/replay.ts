/**
 * Recorded exchanges: parses the readable form that test/fixtures and `tallyman replay` use, and runs one through a
 * handler. Pure: no files, no network. The meter's own work (content coding, events, prices) is not done here: bodies
 * are recorded decoded.
 *
 * A record is text in sections. A line that starts with "### " and a section's name begins the next one:
 *
 *     POST /v1/messages HTTP/1.1          the request: request line, headers, blank line, body
 *     host: api.anthropic.com
 *
 *     {"model":"claude-opus-5-5"}
 *     ### response                        status line, headers, blank line, body; left out: no answer came
 *     HTTP/1.1 200 OK
 *     content-type: application/json
 *
 *     {"id":"msg_1"}
 *     ### options                         optional JSON object: {"end":"client_aborted","estimate":false}
 *     ### expect                          optional JSON: the readings, for tests
 *     ### exchange                        optional: another exchange follows, in view of the same pending jobs
 *
 * Lines of heads and separators may end in LF or CRLF. A body is verbatim, from the line after the blank line up to
 * the first character of the next separator, its last line end included: an SSE body whose last event is whole has a
 * blank line before the separator. A body cannot have a line that is itself a separator. A response whose bytes are no
 * text is recorded in base64 (option "encoding"), an event stream of AWS in the notation of replay-frames.ts. A WebSocket
 * is recorded with its 101 as the response and its messages as the body: replay-socket.ts.
 */

import { getHeader } from "../flow/headers.ts";
import type { RawHeaders } from "../flow/headers.ts";
import type { ResponseHead } from "../flow/flow.ts";
import { encodeNotation } from "./replay-frames.ts";
import type { ExchangeInfo, Handler, OpenedExchange, PendingJobs, ReadEnd, Reader, Reading } from "./handler.ts";

/** One exchange as recorded. */
export interface RecordedExchange {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly requestHeaders: RawHeaders;
  readonly requestBody: string;
  /** undefined: no answer came. */
  readonly response: (ResponseHead & { readonly body: string }) | undefined;
  readonly options: ReplayOptions;
  /** The `expect` section, parsed; undefined without one. */
  readonly expected: unknown;
}

export interface ReplayOptions {
  /** How the response ended. Default "complete"; without a response "client_aborted". */
  readonly end?: ReadEnd["kind"];
  /** Whether estimates are allowed. Default true. */
  readonly estimate?: boolean;
  /** A handler's id, where the host does not tell it (a gateway that is bound to a meter). */
  readonly handler?: string;
  /** How the response body is written. Default "text". */
  readonly encoding?: "text" | "base64";
}

/** How an exchange is run. */
export interface ReplaySettings {
  readonly jobs: PendingJobs;
  /** Cuts the response body into the chunks that the reader is fed. Default: one chunk. */
  readonly split?: (body: Uint8Array) => readonly Uint8Array[];
}

/** What came of it. Without a reader, or with an empty list from it, the readings are one free reading. */
export interface ReplayResult {
  readonly opened: OpenedExchange;
  readonly readings: readonly Reading[];
}

/** A record that cannot be parsed: the message says where and why. */
export class RecordError extends Error {
  override readonly name = "RecordError";
  readonly code = "bad_record";
}

/** Parses a record: one exchange or several. Throws RecordError. */
export function parseRecord(text: string): readonly RecordedExchange[] {
  const exchanges: RecordedExchange[] = [];
  let sections = new Map<string, string>();
  for (const { name, content } of splitSections(text)) {
    if (name === "exchange") {
      exchanges.push(toExchange(sections));
      sections = new Map([["request", content]]);
    } else if (sections.has(name)) throw new RecordError(`section "${name}" stands twice in exchange ${exchanges.length + 1}`);
    else sections.set(name, content);
  }
  exchanges.push(toExchange(sections));
  return exchanges;
}

/** What a handler is told of a recorded exchange. Throws RecordError when the host header is missing. */
export function exchangeInfo(exchange: RecordedExchange): ExchangeInfo {
  const authority = getHeader(exchange.requestHeaders, "host");
  if (authority === undefined) throw new RecordError("the request has no host header");
  if (!URL.canParse(`https://${authority}/`)) throw new RecordError(`"${authority}" is not a host`);
  const url = new URL(`https://${authority}/`);
  const question = exchange.target.indexOf("?");
  return {
    host: url.hostname.toLowerCase(),
    port: url.port === "" ? 443 : Number(url.port),
    protocol: getHeader(exchange.requestHeaders, "upgrade")?.toLowerCase() === "websocket" ? "websocket" : "http",
    method: exchange.method,
    path: question === -1 ? exchange.target : exchange.target.slice(0, question),
    query: question === -1 ? "" : exchange.target.slice(question + 1),
    headers: exchange.requestHeaders,
  };
}

/** Runs one exchange through a handler, as the meter does. What the reader throws is thrown. */
export function replayExchange(exchange: RecordedExchange, handler: Handler, settings: ReplaySettings): ReplayResult {
  const opened = handler.open(exchangeInfo(exchange), { isEstimateAllowed: exchange.options.estimate ?? true, jobs: settings.jobs });
  return { opened, readings: replayOpened(exchange, opened, settings) };
}

/** The same of an exchange that was opened already: at least one reading. */
export function replayOpened(exchange: RecordedExchange, opened: OpenedExchange, settings: Pick<ReplaySettings, "split"> = {}): readonly Reading[] {
  const { response, options } = exchange;
  const { reader } = opened;
  if (reader === undefined) return [FREE];
  reader.requestData?.(Buffer.from(exchange.requestBody));
  reader.requestEnd?.();
  if (response !== undefined) {
    const body = responseBytes(response, options);
    reader.response(response);
    for (const chunk of settings.split?.(body) ?? [body]) pushOnce(reader, chunk);
  }
  const readings = reader.end({ kind: options.end ?? (response === undefined ? "client_aborted" : "complete") });
  return readings.length === 0 ? [FREE] : readings;
}

/** The buffer is only valid during the call: a reader that keeps it is found out. */
function pushOnce(reader: Reader, chunk: Uint8Array): void {
  const lent = Buffer.from(chunk);
  reader.push(lent);
  lent.fill(0);
}

/** A recorded response body as it came, decoded. */
export function responseBytes(response: NonNullable<RecordedExchange["response"]>, options: ReplayOptions): Buffer {
  if (options.encoding === "base64") return Buffer.from(response.body, "base64");
  const isFrames = getHeader(response.headers, "content-type")?.startsWith("application/vnd.amazon.eventstream") === true;
  return isFrames ? Buffer.concat(encodeNotation(response.body)) : Buffer.from(response.body);
}

/** Pending jobs that live as long as the record is run. */
export function createReplayJobs(): PendingJobs {
  const pending = new Set<string>();
  const claimed = new Set<string>();
  return {
    start: (responseId) => void pending.add(responseId),
    finish: (responseId) => pending.delete(responseId),
    claim(id) {
      const isFirst = !claimed.has(id);
      claimed.add(id);
      return isFirst;
    },
  };
}

const FREE: Reading = { kind: "free", reason: "not_billable" };

const SECTION_NAMES = new Set(["response", "options", "expect", "exchange"]);
const SEPARATOR = /^### ([a-z]+)[ \t]*\r?\n?$/;

interface Section {
  readonly name: string;
  readonly content: string;
}

function splitSections(text: string): readonly Section[] {
  const sections: { name: string; lines: string[] }[] = [{ name: "request", lines: [] }];
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const name = SEPARATOR.exec(line)?.[1];
    if (name !== undefined && SECTION_NAMES.has(name)) sections.push({ name, lines: [] });
    else sections.at(-1)?.lines.push(line);
  }
  return sections.map(({ name, lines }) => ({ name, content: lines.join("") }));
}

function toExchange(sections: ReadonlyMap<string, string>): RecordedExchange {
  const request = parseMessage(sections.get("request") ?? "");
  const [method = "", target = "", version = ""] = request.startLine.split(" ");
  if (method === "" || !target.startsWith("/") || !version.startsWith("HTTP/")) {
    throw new RecordError(`"${request.startLine}" is not a request line (METHOD /path HTTP/1.1)`);
  }
  const response = sections.get("response");
  return {
    method,
    target,
    requestHeaders: request.headers,
    requestBody: request.body,
    response: response === undefined ? undefined : parseResponse(response),
    options: parseOptions(sections.get("options")),
    expected: parseJsonSection("expect", sections.get("expect")),
  };
}

function parseResponse(text: string): NonNullable<RecordedExchange["response"]> {
  const { startLine, headers, body } = parseMessage(text);
  const match = /^HTTP\/[\d.]+ (\d{3})(?: (.*))?$/.exec(startLine);
  if (match === null) throw new RecordError(`"${startLine}" is not a status line (HTTP/1.1 200 OK)`);
  return { status: Number(match[1]), statusText: match[2] ?? "", headers, body };
}

interface Message {
  readonly startLine: string;
  readonly headers: RawHeaders;
  readonly body: string;
}

function parseMessage(text: string): Message {
  const blank = /(?:^|\n)\r?\n/.exec(text);
  const head = blank === null ? text : text.slice(0, blank.index);
  const [startLine = "", ...fields] = head.split("\n").map((line) => line.replace(/\r$/, ""));
  const headers: string[] = [];
  for (const field of fields) {
    if (field === "") continue;
    const colon = field.indexOf(":");
    if (colon < 1) throw new RecordError(`"${field}" is not a header field (name: value)`);
    headers.push(field.slice(0, colon), field.slice(colon + 1).trim());
  }
  return { startLine, headers, body: blank === null ? "" : text.slice(blank.index + blank[0].length) };
}

const ENDS: readonly string[] = ["complete", "client_aborted", "upstream_aborted", "undecodable"] satisfies readonly ReadEnd["kind"][];

function parseOptions(text: string | undefined): ReplayOptions {
  const value = parseJsonSection("options", text) ?? {};
  if (!isReplayOptions(value)) {
    throw new RecordError(`options may have "end" (${ENDS.join(", ")}), "estimate" (true or false), "handler" (an id) and "encoding" (text, base64)`);
  }
  return value;
}

function isReplayOptions(value: unknown): value is ReplayOptions {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(([name, option]) => {
    if (name === "end") return typeof option === "string" && ENDS.includes(option);
    if (name === "estimate") return typeof option === "boolean";
    if (name === "encoding") return option === "text" || option === "base64";
    return name === "handler" && typeof option === "string";
  });
}

function parseJsonSection(name: string, text: string | undefined): unknown {
  if (text === undefined || text.trim() === "") return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (error) {
    throw new RecordError(`section "${name}" is not JSON`, { cause: error });
  }
}
