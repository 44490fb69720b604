/**
 * The frame of Gemini's readers: a body reader that also takes a stream that is one JSON array, which is what
 * streamGenerateContent sends without `alt=sse` (reference/model-usage.md sections 3.1 and 3.3).
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { createJsonArrayScan } from "../../extract/json-array.ts";
import type { JsonScan } from "../../extract/json-scan.ts";
import type { ReadEnd, Reader, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { ModelProtocol } from "./body-reader.ts";
import type { RequestReader } from "./request-facts.ts";

/** A response format whose JSON documents may come as the elements of an array: `jsonPaths` begin at the element. */
export interface ArrayProtocol extends ModelProtocol {
  /** The body is an array: called once, before the first value of an element. */
  beginArray(): void;
  /** An element is over. One that is cut off has no end. */
  endElement(): void;
}

/** Makes the reader of one exchange. */
export function createArrayBodyReader(protocol: ArrayProtocol, request: RequestReader): Reader {
  return new ArrayBodyReader(protocol, request);
}

const OPEN_BRACKET = 0x5b;

/** White space, and the bytes of a byte order mark. */
const BLANK = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

class ArrayBodyReader implements Reader {
  private readonly protocol: ArrayProtocol;
  private readonly request: RequestReader;
  /** Reads every other body. */
  private readonly inner: Reader;
  private head: ResponseHead | undefined;
  private array: JsonScan | undefined;
  private hasBegun = false;
  private bodyBytes = 0;
  private hasOversize = false;

  constructor(protocol: ArrayProtocol, request: RequestReader) {
    this.protocol = protocol;
    this.request = request;
    this.inner = createBodyReader(protocol, request);
  }

  requestData(chunk: Uint8Array): void {
    this.request.push(chunk);
  }

  response(head: ResponseHead): void {
    this.head = head;
    this.inner.response(head);
  }

  push(chunk: Uint8Array): void {
    if (!this.hasBegun) this.begin(chunk);
    if (this.array === undefined) return this.inner.push(chunk);
    this.bodyBytes += chunk.length;
    this.array.push(chunk);
  }

  end(end: ReadEnd): readonly Reading[] {
    if (this.array === undefined) return this.inner.end(end);
    const isDocumentWhole = this.array.end();
    const oversizeBytes = this.hasOversize ? this.bodyBytes : undefined;
    return this.protocol.conclude({ framing: "json", transport: end.kind, isDocumentWhole, oversizeBytes, response: this.head });
  }

  /** An error status is an array too, of one error: the inner reader knows what it costs. */
  private begin(chunk: Uint8Array): void {
    const byte = chunk.find((value) => !BLANK.has(value));
    if (byte === undefined) return;
    this.hasBegun = true;
    const { protocol } = this;
    const status = this.head?.status ?? 0;
    if (byte !== OPEN_BRACKET || status < 200 || status >= 300) return;
    protocol.beginArray();
    this.array = createJsonArrayScan({
      paths: protocol.jsonPaths,
      onValue: (path, value) => protocol.jsonValue(path, value),
      onElement: () => protocol.endElement(),
      onOversize: () => {
        this.hasOversize = true;
      },
    });
  }
}
