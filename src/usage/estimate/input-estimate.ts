/**
 * How many tokens a request may have, from the size of its body alone: bytes / 4, which is within a third of a real
 * tokenizer on English and on code (reference/model-usage.md section 11). The JSON around the text is counted with
 * it. Runs of base64 (images, files) are left out, as their size says nothing of their tokens.
 */

import { IS_BASE64 } from "./base64.ts";

/** Counts one request body. Constant memory; the result does not depend on how the body is cut into chunks. */
export interface InputEstimate {
  /** Decoded body bytes, in order. */
  push(chunk: Uint8Array): void;
  /** An integer, 0 without a body. */
  tokens(): number;
}

const BYTES_PER_TOKEN = 4;

/** Of each period its first bytes are looked at: when all of them can be base64, the period is taken for base64. */
const PERIOD_BYTES = 1024;
const PROBE_BYTES = 64;

export function createInputEstimate(): InputEstimate {
  let totalBytes = 0;
  let base64Bytes = 0;
  let offset = 0;
  let isBase64 = true;

  function probe(chunk: Uint8Array, from: number): number {
    const to = Math.min(chunk.length, from + PROBE_BYTES - offset);
    for (let at = from; isBase64 && at < to; at++) isBase64 = IS_BASE64[chunk[at] ?? 0] === 1;
    return to;
  }

  return {
    push(chunk) {
      totalBytes += chunk.length;
      let at = 0;
      while (at < chunk.length) {
        const next = offset < PROBE_BYTES ? probe(chunk, at) : Math.min(chunk.length, at + PERIOD_BYTES - offset);
        offset += next - at;
        at = next;
        if (offset < PERIOD_BYTES) continue;
        if (isBase64) base64Bytes += PERIOD_BYTES;
        offset = 0;
        isBase64 = true;
      }
    },
    tokens() {
      return tokensOfBytes(totalBytes - base64Bytes);
    },
  };
}

/** The roughest estimate: of a text of which only the size in bytes is known. */
export function tokensOfBytes(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}
