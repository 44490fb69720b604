/** HTTP/1.1 message syntax as it is written by us (RFC 9112). All strings are latin1: a character is a byte. */

import type { ResponseHead } from "../flow/flow.ts";
import type { RawHeaders } from "../flow/headers.ts";

export function formatFields(fields: RawHeaders): string {
  let text = "";
  for (let i = 0; i + 1 < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return text;
}

/** A head with its blank line. */
export function formatResponseHead(head: ResponseHead): string {
  return `HTTP/1.1 ${head.status} ${head.statusText}\r\n${formatFields(head.headers)}\r\n`;
}

/** Section 7.1: one chunk in one buffer. */
export function formatChunk(chunk: Buffer): Buffer {
  const size = chunk.length.toString(16);
  const framed = Buffer.allocUnsafe(size.length + 2 + chunk.length + 2);
  framed.write(`${size}\r\n`, 0, "latin1");
  chunk.copy(framed, size.length + 2);
  framed.write("\r\n", framed.length - 2, "latin1");
  return framed;
}

/** The end of a chunked body. */
export function formatLastChunk(trailers: RawHeaders): string {
  return `0\r\n${formatFields(trailers)}\r\n`;
}

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

/** Reads a response head with its blank line; undefined for what no strict parser takes. */
export function parseHead(text: string): ResponseHead | undefined {
  const lines = text.split("\r\n");
  const status = STATUS_LINE.exec(lines[0] ?? "");
  if (status === null || lines.at(-1) !== "" || lines.at(-2) !== "") return undefined;
  const headers: string[] = [];
  for (const line of lines.slice(1, -2)) {
    const field = FIELD.exec(line);
    if (field === null) return undefined;
    headers.push(field[1] as string, field[2] as string);
  }
  return { status: Number(status[1]), statusText: status[2] ?? "", headers };
}
