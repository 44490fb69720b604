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

/** `onEvent` is given one whole server-sent event at a time, as bytes. An exception is an `error` event, the last one. */
export function createBedrockStream(onEvent: (event: Uint8Array) => void): BedrockStream {
  return new Unwrapper(onEvent);
}

export const METRICS_MEMBER = "amazon-bedrock-invocationMetrics";

const METRICS_BYTES = Buffer.from(`"${METRICS_MEMBER}"`);
const DATA = Buffer.from("data: ");
const END = Buffer.from("\n\n");
const ERROR_EVENT = Buffer.from('event: error\ndata: {"type":"error","error":{"type":"exception"}}\n\n');

/** Names of the service model. Anything else is no name of an event. */
const EVENT_NAME = /^[A-Za-z-]{1,64}$/;

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

class Unwrapper implements BedrockStream {
  private readonly onEvent: (event: Uint8Array) => void;
  private readonly reader = createEventStreamReader({ onMessage: (message) => this.message(message) });
  private lastChunk: Buffer | undefined;
  private isOver = false;

  constructor(onEvent: (event: Uint8Array) => void) {
    this.onEvent = onEvent;
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
    return asObject(parseObject(lastChunk.toString("utf8", DATA.length))?.[METRICS_MEMBER]);
  }

  push(chunk: Uint8Array): void {
    this.reader.push(chunk);
  }

  private message({ headers, payload }: EventStreamMessage): void {
    if (this.isOver) return;
    const type = headers.get(":message-type");
    if (type === "exception" || type === "error") {
      this.isOver = true;
      return this.onEvent(ERROR_EVENT);
    }
    const name = headers.get(":event-type");
    if (name === "chunk") this.chunk(payload);
    else if (typeof name === "string" && EVENT_NAME.test(name)) this.named(name, payload);
  }

  private chunk(payload: Buffer): void {
    const base64 = wrappedBytes(payload);
    if (base64 === undefined) return;
    const event = Buffer.allocUnsafe(DATA.length + Math.ceil((base64.length * 3) / 4) + END.length);
    const dataEnd = DATA.length + event.write(base64, DATA.length, "base64");
    this.lastChunk = this.emit(event, 0, dataEnd);
  }

  private named(name: string, payload: Buffer): void {
    const prefix = `event: ${name}\n`;
    const dataEnd = prefix.length + DATA.length + payload.length;
    const event = Buffer.allocUnsafe(dataEnd + END.length);
    event.write(prefix, 0, "latin1");
    payload.copy(event, prefix.length + DATA.length);
    this.emit(event, prefix.length, dataEnd);
  }

  /** Completes an event whose data line begins at `lineFrom`, and hands it on. */
  private emit(buffer: Buffer, lineFrom: number, dataEnd: number): Buffer {
    buffer.set(DATA, lineFrom);
    keepOnOneLine(buffer, lineFrom, dataEnd);
    buffer.set(END, dataEnd);
    const event = buffer.subarray(0, dataEnd + END.length);
    this.onEvent(event);
    return event;
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
  for (const lineEnd of [LF, CR]) {
    for (let at = buffer.indexOf(lineEnd, from); at !== -1 && at < to; at = buffer.indexOf(lineEnd, at + 1)) buffer[at] = SPACE;
  }
}
