/**
 * Where the message stands in a request that sends or stores one: base64url in JSON, the body itself, or the second
 * part of multipart/related (reference/connectors.md section 4.4). Only its first bytes are looked for.
 */

import { getHeader } from "../../../../flow/headers.ts";
import { boundaryOf, splitMultipart } from "../../../extract/multipart.ts";
import type { RequestBody } from "../definition.ts";
import { stringAt } from "./json-string.ts";
import { countRecipients, hasWholeHead, MAX_MESSAGE_HEAD_BYTES } from "./recipients.ts";

/** A request as far as it was kept. */
export interface MessageRequest {
  readonly isUpload: boolean;
  readonly contentType: string | undefined;
  readonly body: RequestBody;
}

/** The first bytes of a message. */
export interface MessageStart {
  readonly bytes: Uint8Array;
  readonly isWhole: boolean;
}

/** What of a request is kept: a header section in base64, and room for what stands before it. */
export const MAX_KEPT_BYTES = 384 * 1024;

/** The number of recipients of the message in a request. Undefined: there is none in it, or it cannot be told. */
export function recipientsIn(request: MessageRequest): number | undefined {
  const start = messageIn(request);
  return start === undefined ? undefined : countRecipients(start.bytes, start.isWhole);
}

/** The id of a draft that a request names in its JSON. */
export function draftIdIn(request: MessageRequest): string | undefined {
  const { body, contentType } = request;
  const boundary = request.isUpload ? boundaryOf(contentType) : undefined;
  const json = boundary === undefined ? body.raw : partsOf(body.raw, boundary)[0]?.bytes;
  const id = json === undefined ? undefined : stringAt(json, [["id"]], MAX_ID_CHARS);
  return id?.isWhole === true ? id.text : undefined;
}

const MAX_ID_CHARS = 256;

function messageIn({ isUpload, contentType, body }: MessageRequest): MessageStart | undefined {
  if (!isUpload) return fromJson(body);
  const boundary = boundaryOf(contentType);
  if (boundary === undefined) return { bytes: body.raw, isWhole: !body.isTruncated };
  return partsOf(body.raw, boundary)[1];
}

/** Of a send; of a draft. */
const RAW_PATHS = [["raw"], ["message", "raw"]];

/** Most headers are over after this; more is decoded only where they are not. */
const FIRST_BASE64_CHARS = 16 * 1024;
const MAX_BASE64_CHARS = Math.ceil(MAX_MESSAGE_HEAD_BYTES / 3) * 4 + 4;

function fromJson(body: RequestBody): MessageStart | undefined {
  let start: MessageStart | undefined;
  for (let chars = FIRST_BASE64_CHARS; ; chars = Math.min(chars * 4, MAX_BASE64_CHARS)) {
    const raw = stringAt(body.raw, RAW_PATHS, chars);
    if (raw === undefined) return undefined;
    start = { bytes: Buffer.from(raw.text, "base64url"), isWhole: raw.isWhole };
    if (start.isWhole || chars === MAX_BASE64_CHARS || hasWholeHead(start.bytes)) return start;
  }
}

/** The beginnings of the first two parts: JSON, and the message. */
function partsOf(body: Uint8Array, boundary: string): readonly MessageStart[] {
  return splitMultipart(body, boundary, 2).map(({ headers, body: bytes, isWhole }) => {
    const isBase64 = getHeader(headers, "content-transfer-encoding")?.toLowerCase() === "base64";
    return { bytes: isBase64 ? Buffer.from(Buffer.from(bytes).toString("latin1"), "base64") : bytes, isWhole };
  });
}
