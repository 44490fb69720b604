/**
 * Builds `application/vnd.amazon.eventstream` bodies out of a notation that a record can hold. Written apart from
 * extract/eventstream.ts, so that the two check one another (reference/model-usage.md section 3.4).
 *
 * A record is text: it has one line for each frame, `KIND JSON`, where KIND is
 *
 *     chunk                    JSON in base64 as `bytes`, with padding beside it (InvokeModelWithResponseStream)
 *     exception:NAME           an exception frame
 *     error:CODE               an error frame
 *     anything else            an event of that name with the JSON as it is (ConverseStream)
 */

import { crc32 } from "node:zlib";

/** The value of a header: text, or a type byte and the bytes after it. */
export type HeaderInput = string | { readonly type: number; readonly bytes: Uint8Array };

/** One frame. */
export function encodeFrame(headers: Readonly<Record<string, HeaderInput>>, payload: Uint8Array): Buffer {
  const block = Buffer.concat(Object.entries(headers).map(([name, value]) => encodeHeader(name, value)));
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(16 + block.length + payload.length, 0);
  prelude.writeUInt32BE(block.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const content = Buffer.concat([prelude, block, payload]);
  const trailer = Buffer.alloc(4);
  trailer.writeUInt32BE(crc32(content), 0);
  return Buffer.concat([content, trailer]);
}

/** The frames of a body in the notation above, in order. */
export function encodeNotation(text: string): readonly Buffer[] {
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  return lines.map((line) => {
    const space = line.indexOf(" ");
    return encodeLine(line.slice(0, space), line.slice(space + 1));
  });
}

/** A frame as the service sends an event of a stream. */
export function encodeEvent(name: string, json: string): Buffer {
  return encodeFrame({ ":event-type": name, ":content-type": "application/json", ":message-type": "event" }, Buffer.from(json));
}

/** A frame as the service sends a chunk of a model's own format. */
export function encodeChunk(json: string): Buffer {
  return encodeEvent("chunk", JSON.stringify({ bytes: Buffer.from(json).toString("base64"), p: "abcdefgh" }));
}

function encodeLine(kind: string, json: string): Buffer {
  const [type, name = ""] = kind.split(":");
  if (type === "exception") {
    return encodeFrame({ ":exception-type": name, ":content-type": "application/json", ":message-type": "exception" }, Buffer.from(json));
  }
  if (type === "error") return encodeFrame({ ":message-type": "error", ":error-code": name, ":error-message": json }, Buffer.alloc(0));
  return type === "chunk" ? encodeChunk(json) : encodeEvent(kind, json);
}

function encodeHeader(name: string, value: HeaderInput): Buffer {
  const nameBytes = Buffer.from(name);
  const { type, bytes } = typeof value === "string" ? { type: 7, bytes: sized(Buffer.from(value)) } : value;
  return Buffer.concat([Buffer.of(nameBytes.length), nameBytes, Buffer.of(type), bytes]);
}

/** Bytes after their length in two bytes, as texts and byte arrays are written. */
export function sized(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}
