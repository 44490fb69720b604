/**
 * The frame of every model reader: takes the exchange's bytes, chooses JSON or SSE by the response, and hands a
 * protocol the values and events it asked for. Errors and other answers that cost nothing end here. Knows no protocol.
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { getHeader } from "../../../flow/headers.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath, JsonScan } from "../../extract/json-scan.ts";
import { createSseReader } from "../../extract/sse.ts";
import type { SseEvent, SseReader } from "../../extract/sse.ts";
import type { ReadEnd, Reader, Reading, RequestOutline } from "../../handler.ts";
import { freeReading } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";

/** How a body ended, as far as framing can tell. */
export interface BodyEnd {
  readonly framing: "json" | "sse";
  readonly transport: ReadEnd["kind"];
  /** JSON: one whole document was seen. Always false for SSE, whose protocols have markers of their own. */
  readonly isDocumentWhole: boolean;
  /** JSON: the size of the body, in bytes, when a wanted value was too large to be told; else undefined. */
  readonly oversizeBytes: number | undefined;
  /** undefined: the client left before an answer came. */
  readonly response: ResponseHead | undefined;
}

/** One response format. Is told values or events, then asked for the readings, once. */
export interface ModelProtocol {
  /** Paths of a whole JSON body. A constant array. */
  readonly jsonPaths: readonly JsonPath[];
  /** A value of a JSON body at one of the paths, in document order. */
  jsonValue(path: JsonPath, value: unknown): void;
  event(event: SseEvent): void;
  conclude(body: BodyEnd): readonly Reading[];
}

type Framing = BodyEnd["framing"] | "unreadable";

/** Makes the reader of one exchange. `request` is undefined where the request has no body that matters. */
export function createBodyReader(protocol: ModelProtocol, request: RequestReader | undefined): Reader {
  return new BodyReader(protocol, request);
}

class BodyReader implements Reader {
  private readonly protocol: ModelProtocol;
  private readonly request: RequestReader | undefined;
  private head: ResponseHead | undefined;
  private framing: Framing | undefined;
  private bodyBytes = 0;
  private hasOversize = false;
  private scan: JsonScan | undefined;
  private sse: SseReader | undefined;

  constructor(protocol: ModelProtocol, request: RequestReader | undefined) {
    this.protocol = protocol;
    this.request = request;
  }

  requestData(chunk: Uint8Array): void {
    this.request?.push(chunk);
  }

  requestOutline(): RequestOutline {
    return this.request?.outline?.() ?? { model: this.request?.facts().model ?? null, isUsageUnlikely: false };
  }

  response(head: ResponseHead): void {
    this.head = head;
  }

  push(chunk: Uint8Array): void {
    if (this.head === undefined || !isSuccess(this.head.status) || chunk.length === 0) return;
    this.bodyBytes += chunk.length;
    if (this.framing === undefined && !this.chooseFraming(this.head, chunk)) return;
    this.scan?.push(chunk);
    this.sse?.push(chunk);
  }

  end(end: ReadEnd): readonly Reading[] {
    const requestModel = this.request?.facts().model ?? null;
    if (this.head === undefined && end.kind !== "client_aborted") return [freeReading("no_response", { requestModel })];
    if (this.head !== undefined && !isSuccess(this.head.status)) return [freeReading("error_status", { requestModel })];
    if (this.bodyBytes === 0 && end.kind === "undecodable") return [{ kind: "unmeasured", reason: "undecodable", requestModel }];
    if (this.framing === "unreadable") return [{ kind: "unmeasured", reason: "unknown_framing", requestModel }];
    if (this.framing === undefined && end.kind === "complete") return [freeReading("empty_body", { requestModel })];
    return this.conclude(end);
  }

  private conclude(end: ReadEnd): readonly Reading[] {
    this.sse?.end();
    const isDocumentWhole = this.scan?.end() === true;
    const framing = this.framing === "sse" || (this.framing === undefined && this.isStreamExpected()) ? "sse" : "json";
    const oversizeBytes = this.hasOversize ? this.bodyBytes : undefined;
    return this.protocol.conclude({ framing, transport: end.kind, isDocumentWhole, oversizeBytes, response: this.head });
  }

  /** Of a response without a body, or that never began. */
  private isStreamExpected(): boolean {
    return this.head === undefined ? this.request?.facts().isStream === true : isEventStream(this.head);
  }

  /** False while only white space came, which neither framing needs. */
  private chooseFraming(head: ResponseHead, chunk: Uint8Array): boolean {
    const byte = chunk.find((value) => !BLANK.has(value));
    if (byte === undefined) return false;
    this.framing = framingOf(head, byte);
    const { protocol } = this;
    if (this.framing === "json") {
      this.scan = createJsonScan({
        paths: protocol.jsonPaths,
        onValue: (path, value) => protocol.jsonValue(path, value),
        onOversize: () => {
          this.hasOversize = true;
        },
      });
    } else if (this.framing === "sse") {
      this.sse = createSseReader({ onEvent: (event) => protocol.event(event) });
    }
    return true;
  }
}

/** White space, and the bytes of a byte order mark. */
const BLANK = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

const JSON_START = new Set(bytesOf("{["));

/** ":" of a comment, or the first letter of data, event, id and retry. */
const SSE_START = new Set(bytesOf(":deir"));

/**
 * The content type decides, never the request (reference section 3.1). The first byte overrules it where gateways
 * mislabel: a line of SSE cannot begin with a bracket, nor JSON with a field name.
 */
function framingOf(head: ResponseHead, firstByte: number): Framing {
  if (JSON_START.has(firstByte)) return "json";
  if (isEventStream(head) || SSE_START.has(firstByte)) return "sse";
  return isJson(head) ? "json" : "unreadable";
}

function isEventStream(head: ResponseHead | undefined): boolean {
  return mediaType(head) === "text/event-stream";
}

function isJson(head: ResponseHead): boolean {
  const type = mediaType(head);
  return type === "application/json" || type.endsWith("+json");
}

function mediaType(head: ResponseHead | undefined): string {
  const type = head === undefined ? undefined : getHeader(head.headers, "content-type");
  return (type ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

function bytesOf(text: string): readonly number[] {
  return [...text].map((char) => char.charCodeAt(0));
}
