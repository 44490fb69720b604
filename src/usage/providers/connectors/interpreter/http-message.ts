/** HTTP/1.1 messages that stand in the parts of a batch: heads in text, bodies up to the end of the part. Bounded. */

import type { ResponseHead } from "../../../../flow/flow.ts";
import type { RawHeaders } from "../../../../flow/headers.ts";

/** A longer head is none. */
const MAX_HEAD_BYTES = 16 * 1024;

export interface RequestHead {
  readonly method: string;
  /** Path and query; of an absolute URL too. */
  readonly target: string;
  readonly headers: RawHeaders;
  /** Where the body begins. */
  readonly bodyAt: number;
}

/** "GET /gmail/v1/users/me/messages/m1" with or without a version, and its header fields; undefined: it is none. */
export function parseRequestHead(bytes: Uint8Array): RequestHead | undefined {
  const { text, bodyAt } = headText(bytes, true) ?? {};
  if (text === undefined || bodyAt === undefined) return undefined;
  const { startLine, headers } = parseHead(text);
  const [, method, target] = /^([A-Z]+) (\S+)(?: HTTP\/[\d.]+)?$/.exec(startLine) ?? [];
  if (method === undefined || target === undefined) return undefined;
  const path = target.replace(/^https?:\/\/[^/]*/i, "");
  return path.startsWith("/") ? { method, target: path, headers, bodyAt } : undefined;
}

export interface HttpMessageOptions {
  /** Once, before the body. */
  readonly onHead: (head: ResponseHead) => void;
  readonly onBody: (chunk: Uint8Array) => void;
}

/** Takes one response, cut anywhere. What is no response gives nothing. */
export function createHttpMessage({ onHead, onBody }: HttpMessageOptions): { push(chunk: Uint8Array): void } {
  let held: Buffer = Buffer.alloc(0);
  let state: "head" | "body" | "unread" = "head";
  const readHead = (chunk: Uint8Array): void => {
    held = Buffer.concat([held, chunk]);
    const found = headText(held, false);
    if (found === undefined) {
      if (held.length > MAX_HEAD_BYTES) state = "unread";
      return;
    }
    const head = parseResponseHead(found.text);
    state = head === undefined ? "unread" : "body";
    const rest = held.subarray(found.bodyAt);
    held = Buffer.alloc(0);
    if (head === undefined) return;
    onHead(head);
    if (rest.length > 0) onBody(rest);
  };
  return {
    push(chunk) {
      if (state === "head") readHead(chunk);
      else if (state === "body") onBody(chunk);
    },
  };
}

function parseResponseHead(text: string): ResponseHead | undefined {
  const { startLine, headers } = parseHead(text);
  const [, status, statusText = ""] = /^HTTP\/[\d.]+ (\d{3})(?: (.*))?$/.exec(startLine) ?? [];
  return status === undefined ? undefined : { status: Number(status), statusText, headers };
}

/** The head up to the empty line. `isAll`: nothing more comes, so a head alone needs no empty line. */
function headText(bytes: Uint8Array, isAll: boolean): { readonly text: string; readonly bodyAt: number } | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, MAX_HEAD_BYTES)).toString("latin1");
  const start = /^(?:\r?\n)*/.exec(text)?.[0].length ?? 0;
  const blank = /\r?\n\r?\n/.exec(text.slice(start));
  if (blank !== null) return { text: text.slice(start, start + blank.index), bodyAt: start + blank.index + blank[0].length };
  return isAll && bytes.byteLength <= MAX_HEAD_BYTES ? { text: text.slice(start), bodyAt: bytes.byteLength } : undefined;
}

function parseHead(text: string): { readonly startLine: string; readonly headers: RawHeaders } {
  const [startLine = "", ...fields] = text.split(/\r?\n/);
  const headers = fields.flatMap((field) => {
    const colon = field.indexOf(":");
    return colon < 1 ? [] : [field.slice(0, colon).trim(), field.slice(colon + 1).trim()];
  });
  return { startLine: startLine.trim(), headers };
}
