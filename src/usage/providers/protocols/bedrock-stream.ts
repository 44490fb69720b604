/**
 * Turns a Bedrock event stream into the server-sent events that the readers of model protocols take
 * (reference/model-usage.md sections 3.4, 5.13.3, 5.13.4). What a `chunk` of InvokeModelWithResponseStream wraps in
 * base64 is what the vendor's own API sends as the data of an event; an event of ConverseStream has its name and its
 * JSON. Knows no vendor's events.
 */

import { createEventStreamReader } from "../../extract/eventstream.ts";
import type { EventStreamFault, EventStreamMessage } from "../../extract/eventstream.ts";
import { stringMember } from "./delta-text.ts";
import { asObject, parseObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";

/** Reads one response body. */
export interface BedrockStream {
  /** Bytes cut anywhere; they are not kept. */
  push(chunk: Uint8Array): void;
  readonly fault: EventStreamFault | undefined;
  /** The body ended inside a frame. */
  readonly isInsideFrame: boolean;
  /** `amazon-bedrock-invocationMetrics` of the last chunk, if it has them. Parsed when asked for. */
  readonly metrics: JsonObject | undefined;
}

/**
 * `onEvents` is given whole server-sent events, as bytes that are only valid during the call. An exception is an `error` event,
 * the last one.
 */
export function createBedrockStream(onEvents: (events: Uint8Array) => void): BedrockStream {
  return new Unwrapper(onEvents);
}

export const METRICS_MEMBER = "amazon-bedrock-invocationMetrics";

const METRICS_BYTES = Buffer.from(`"${METRICS_MEMBER}"`);
const DATA: Buffer = Buffer.from("data: ");
const END = Buffer.from("\n\n");
const ERROR_EVENT = Buffer.from('event: error\ndata: {"type":"error","error":{"type":"exception"}}\n\n');

/** Names of the service model. Anything else is no name of an event. */
const EVENT_NAME = /^[A-Za-z-]{1,64}$/;

const LINE_ENDS = [0x0a, 0x0d];
const SPACE = 0x20;

/** The events of one piece, put together: a reader's cost is by the call. One for all: it is read before a `push` returns. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024);

class Unwrapper implements BedrockStream {
  private readonly onEvents: (events: Uint8Array) => void;
  private readonly reader = createEventStreamReader({ onMessage: (message) => this.message(message) });
  /** Where the events are written: `scratch`, save for one that is larger. */
  private out: Buffer = scratch;
  private outBytes = 0;
  /** Where the data of the last `chunk` stands in `out`; 0: none does. */
  private chunkFrom = 0;
  private chunkTo = 0;
  private lastChunk: Buffer | undefined;
  private lastName = "";
  private lastPrefix: Buffer = DATA;
  private isOver = false;

  constructor(onEvents: (events: Uint8Array) => void) {
    this.onEvents = onEvents;
  }

  get fault(): EventStreamFault | undefined {
    return this.reader.fault;
  }

  get isInsideFrame(): boolean {
    return this.reader.isInsideFrame;
  }

  get metrics(): JsonObject | undefined {
    const { lastChunk } = this;
    if (lastChunk?.includes(METRICS_BYTES) !== true) return undefined;
    return asObject(parseObject(lastChunk.toString())?.[METRICS_MEMBER]);
  }

  push(chunk: Uint8Array): void {
    this.reader.push(chunk);
    this.flush();
  }

  private message({ headers, payload }: EventStreamMessage): void {
    if (this.isOver) return;
    const type = headers.get(":message-type");
    if (type === "exception" || type === "error") {
      this.isOver = true;
      this.makeRoom(ERROR_EVENT.length);
      this.outBytes += ERROR_EVENT.copy(this.out, this.outBytes);
      return;
    }
    const name = headers.get(":event-type");
    if (name === "chunk") this.chunk(payload);
    else if (typeof name === "string") this.named(name, payload);
  }

  private chunk(payload: Buffer): void {
    const base64 = wrappedBytes(payload);
    if (base64 === undefined) return;
    this.makeRoom(DATA.length + Math.ceil((base64.length * 3) / 4) + END.length);
    const from = this.outBytes + DATA.copy(this.out, this.outBytes);
    const to = from + this.out.write(base64, from, "base64");
    this.endEvent(from, to);
    this.chunkFrom = from;
    this.chunkTo = to;
  }

  private named(name: string, payload: Buffer): void {
    if (name !== this.lastName) {
      if (!EVENT_NAME.test(name)) return;
      this.lastName = name;
      this.lastPrefix = Buffer.from(`event: ${name}\ndata: `, "latin1");
    }
    this.makeRoom(this.lastPrefix.length + payload.length + END.length);
    const from = this.outBytes + this.lastPrefix.copy(this.out, this.outBytes);
    this.endEvent(from, from + payload.copy(this.out, from));
  }

  /** The data of an event stands between these places. */
  private endEvent(from: number, to: number): void {
    keepOnOneLine(this.out, from, to);
    this.outBytes = to + END.copy(this.out, to);
  }

  private makeRoom(bytes: number): void {
    if (this.outBytes + bytes <= this.out.length) return;
    this.flush();
    if (bytes > this.out.length) this.out = Buffer.allocUnsafeSlow(bytes);
  }

  /** Hands the events on. */
  private flush(): void {
    const events = this.out.subarray(0, this.outBytes);
    if (this.chunkTo > 0) this.lastChunk = Buffer.from(this.out.subarray(this.chunkFrom, this.chunkTo));
    this.out = scratch;
    this.outBytes = 0;
    this.chunkTo = 0;
    if (events.length > 0) this.onEvents(events);
  }
}

/** The `bytes` member. Written with escapes (`\/`) it is read as JSON. */
function wrappedBytes(payload: Buffer): string | undefined {
  const base64 = stringMember(payload.toString("latin1"), 'bytes":');
  if (base64 === undefined || !base64.includes("\\")) return base64;
  return textOf(parseObject(payload.toString())?.["bytes"]);
}

/** A line end in JSON stands between its tokens, where a space does as well; in an event it would end the data. */
function keepOnOneLine(buffer: Buffer, from: number, to: number): void {
  const data = buffer.subarray(from, to);
  for (const lineEnd of LINE_ENDS) {
    for (let at = data.indexOf(lineEnd); at !== -1; at = data.indexOf(lineEnd, at + 1)) data[at] = SPACE;
  }
}
