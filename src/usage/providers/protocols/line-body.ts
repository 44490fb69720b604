/**
 * The frame of model readers whose servers stream newline-delimited JSON (reference/model-usage.md section 3.1): reads
 * a body of lines itself and leaves every other body to the body reader. A line is looked at by the paths of a whole
 * document, so that a protocol need not know which of the two it reads. Knows no protocol.
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { getHeader } from "../../../flow/headers.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import { createNdjsonReader } from "../../extract/ndjson.ts";
import type { LongLine, NdjsonReader } from "../../extract/ndjson.ts";
import type { ReadEnd, Reader, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { asObject, visitPaths } from "./json-values.ts";
import type { RequestReader } from "./request-facts.ts";

/** As BodyEnd, for bodies that may be lines. These have markers of their own: `isDocumentWhole` is false. */
export interface LineBodyEnd extends Omit<BodyEnd, "framing"> {
  readonly framing: BodyEnd["framing"] | "lines";
}

/**
 * A response format that may come in lines. `jsonValue` is then called for each line, with the values at `jsonPaths`
 * in the order of the paths (of a line too long to be held, in the order of the line).
 */
export interface LineProtocol extends Omit<ModelProtocol, "conclude"> {
  conclude(body: LineBodyEnd): readonly Reading[];
}

/** Makes the reader of one exchange. */
export function createLineBodyReader(protocol: LineProtocol, request: RequestReader): Reader {
  return new LineBodyReader(protocol, request);
}

const OPEN_BRACE = 0x7b;
const BLANK = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** What is one document, or SSE. Of all other types a body that begins with a brace is taken for lines. */
const OTHER_FRAMING = /^\s*(?:application\/(?!stream\+json)(?:[^;\s]+\+)?json|text\/event-stream)\s*(?:;|$)/i;

class LineBodyReader implements Reader {
  private readonly protocol: LineProtocol;
  private readonly body: Reader;
  private head: ResponseHead | undefined;
  private isFramingKnown = false;
  private lines: NdjsonReader | undefined;
  private bodyBytes = 0;
  private hasOversize = false;

  constructor(protocol: LineProtocol, request: RequestReader) {
    this.protocol = protocol;
    this.body = createBodyReader(protocol, request);
  }

  requestData(chunk: Uint8Array): void {
    this.body.requestData?.(chunk);
  }

  response(head: ResponseHead): void {
    this.head = head;
    this.body.response(head);
  }

  push(chunk: Uint8Array): void {
    if (!this.isFramingKnown) this.chooseFraming(chunk);
    if (this.lines === undefined) return this.body.push(chunk);
    this.bodyBytes += chunk.length;
    this.lines.push(chunk);
  }

  end(end: ReadEnd): readonly Reading[] {
    if (this.lines === undefined) return this.body.end(end);
    this.lines.end();
    return this.protocol.conclude({
      framing: "lines",
      transport: end.kind,
      isDocumentWhole: false,
      oversizeBytes: this.hasOversize ? this.bodyBytes : undefined,
      response: this.head,
    });
  }

  private chooseFraming(chunk: Uint8Array): void {
    const byte = chunk.find((value) => !BLANK.has(value));
    if (byte === undefined || this.head === undefined) return;
    this.isFramingKnown = true;
    const { status, headers } = this.head;
    if (byte !== OPEN_BRACE || status < 200 || status >= 300 || OTHER_FRAMING.test(getHeader(headers, "content-type") ?? "")) return;
    const { protocol } = this;
    this.lines = createNdjsonReader({
      onRecord(record) {
        const line = asObject(record);
        if (line !== undefined) visitPaths(line, protocol.jsonPaths, (path, value) => protocol.jsonValue(path, value));
      },
      onLongLine: () => this.scanLine(),
    });
  }

  private scanLine(): LongLine {
    const { protocol } = this;
    const scan = createJsonScan({
      paths: protocol.jsonPaths,
      onValue: (path, value) => protocol.jsonValue(path, value),
      onOversize: () => {
        this.hasOversize = true;
      },
    });
    return { push: (chunk) => scan.push(chunk), end: () => void scan.end() };
  }
}
