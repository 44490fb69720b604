/** How many bytes of an upload's body are the file's. */

import { boundaryOf } from "../../../extract/multipart.ts";
import type { RequestBody } from "../definition.ts";

/** The head of the one part, and more than it needs. */
export const KEPT_UPLOAD_BYTES = 4096;

export interface Payload {
  readonly bytes: number;
  /** The body is multipart: `bytes` holds where it has one part, and nothing behind the last boundary. */
  readonly isFramed: boolean;
}

/** The body's bytes; of multipart/form-data without the boundary lines and the head of the part. */
export function payloadBytes(body: Pick<RequestBody, "raw" | "totalBytes">, contentType: string | undefined): Payload {
  const boundary = boundaryOf(contentType);
  if (boundary === undefined) return { bytes: body.totalBytes, isFramed: false };
  const headEnd = Buffer.from(body.raw.buffer, body.raw.byteOffset, body.raw.byteLength).indexOf("\r\n\r\n");
  const head = headEnd === -1 ? 0 : headEnd + 4;
  // CRLF, two hyphens, the boundary, two hyphens, CRLF (RFC 2046 section 5.1.1).
  const tail = boundary.length + 8;
  return { bytes: Math.max(0, body.totalBytes - head - tail), isFramed: true };
}
