/**
 * How long a WAVE file plays, from its header and its size (RIFF: Microsoft "Multimedia Programming Interface and Data
 * Specifications 1.0"). Other audio has to be decoded to be timed, which is not done here.
 */

/** Times one file. */
export interface WaveClock {
  /** Bytes of the file, in order, cut anywhere; they are not kept. */
  push(chunk: Uint8Array): void;
  /** Seconds of what was pushed; undefined for what is no WAVE file of a constant rate. */
  seconds(): number | undefined;
}

/** The format stands before the samples, nearly always in the first hundred bytes. */
const MAX_HEAD_BYTES = 4096;
const RIFF_HEAD_BYTES = 12;
const CHUNK_HEAD_BYTES = 8;
const BYTE_RATE_OFFSET = 8;

export function createWaveClock(): WaveClock {
  let head = Buffer.alloc(0);
  let size = 0;
  return {
    push(chunk) {
      size += chunk.length;
      if (head.length < MAX_HEAD_BYTES) head = Buffer.concat([head, chunk.subarray(0, MAX_HEAD_BYTES - head.length)]);
    },
    seconds: () => secondsOf(head, size),
  };
}

function secondsOf(head: Buffer, size: number): number | undefined {
  if (head.toString("latin1", 0, 4) !== "RIFF" || head.toString("latin1", 8, 12) !== "WAVE") return undefined;
  let bytesPerSecond = 0;
  for (let at = RIFF_HEAD_BYTES; at + CHUNK_HEAD_BYTES <= head.length; ) {
    const name = head.toString("latin1", at, at + 4);
    const length = head.readUInt32LE(at + 4);
    const from = at + CHUNK_HEAD_BYTES;
    if (name === "fmt " && from + BYTE_RATE_OFFSET + 4 <= head.length) bytesPerSecond = head.readUInt32LE(from + BYTE_RATE_OFFSET);
    // A recording that is written while it lasts has no length yet.
    if (name === "data") return bytesPerSecond === 0 ? undefined : Math.min(length === 0 ? size : length, Math.max(0, size - from)) / bytesPerSecond;
    at = from + length + (length % 2);
  }
  return undefined;
}
