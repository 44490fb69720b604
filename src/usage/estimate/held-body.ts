/**
 * The bytes of request bodies, held as long as their tokens may have to be counted: of one request, and of all
 * together, no more than a bound. Long stretches of base64 (images, files) are left out: they are no text.
 */

import { IS_BASE64 } from "./base64.ts";

/** Largest body that is held, after base64 is left out: a million tokens of English. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** All bodies together. */
export const MAX_BYTES_OF_ALL = 64 * 1024 * 1024;

/** Stands in place of base64 that was left out: U+FFFF, which is no character. Where a text holds it the text is not whole. */
export const LEFT_OUT = "\uFFFF";

/** One body. */
export interface HeldBody {
  /** More of it, cut anywhere; the bytes are copied. */
  push(chunk: Uint8Array): void;
  /** A copy of what is held, undefined when the body was too large or has been released. */
  copy(): Uint8Array<ArrayBuffer> | undefined;
  /** Nothing came yet. */
  readonly isEmpty: boolean;
  /** Forgets it. Idempotent; must be called. */
  release(): void;
}

export interface BodyHolder {
  open(): HeldBody;
  /** Bytes held for all bodies. */
  readonly heldBytes: number;
}

export interface BodyHolderOptions {
  readonly maxBodyBytes?: number;
  readonly maxBytesOfAll?: number;
}

export function createBodyHolder(options: BodyHolderOptions = {}): BodyHolder {
  const maxBodyBytes = options.maxBodyBytes ?? MAX_BODY_BYTES;
  const maxBytesOfAll = options.maxBytesOfAll ?? MAX_BYTES_OF_ALL;
  let heldBytes = 0;
  return {
    open: () =>
      new Body(maxBodyBytes, (more) => {
        if (heldBytes + more > maxBytesOfAll) return false;
        heldBytes += more;
        return true;
      }),
    get heldBytes() {
      return heldBytes;
    },
  };
}

const FIRST_BYTES = 4096;

/** Base64 is looked for in blocks of this many bytes: most of a text is told from it by a few bytes of each. */
const BLOCK_BYTES = 1024;

/** Blocks of a stretch that are held: shorter ones may be text, and longer ones need no more room. */
const HELD_BLOCKS = 16;

const MARK = Buffer.from(LEFT_OUT);

/** A class for its identity: held, then released, once. */
class Body implements HeldBody {
  readonly #maxBytes: number;
  /** Asks for room; a negative number gives it back. */
  readonly #reserve: (bytes: number) => boolean;
  /** Undefined once the body is given up. */
  #bytes: Uint8Array<ArrayBuffer> | undefined = new Uint8Array(0);
  #length = 0;
  #blockBytes = 0;
  #isBlockBase64 = true;
  /** Blocks of base64 in a row. */
  #base64Blocks = 0;
  #hasBytes = false;

  constructor(maxBytes: number, reserve: (bytes: number) => boolean) {
    this.#maxBytes = maxBytes;
    this.#reserve = reserve;
  }

  get isEmpty(): boolean {
    return !this.#hasBytes;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#hasBytes = true;
    let at = 0;
    while (at < chunk.length && this.#bytes !== undefined) {
      const end = Math.min(chunk.length, at + BLOCK_BYTES - this.#blockBytes);
      this.#pushInBlock(chunk.subarray(at, end));
      at = end;
    }
  }

  copy(): Uint8Array<ArrayBuffer> | undefined {
    return this.#bytes?.slice(0, this.#length);
  }

  release(): void {
    if (this.#bytes !== undefined) this.#reserve(-this.#bytes.length);
    this.#bytes = undefined;
  }

  #pushInBlock(part: Uint8Array): void {
    const bytes = this.#roomFor(part.length);
    if (bytes === undefined) return;
    bytes.set(part, this.#length);
    this.#length += part.length;
    this.#blockBytes += part.length;
    this.#isBlockBase64 &&= isBase64(part);
    if (this.#blockBytes === BLOCK_BYTES) this.#endBlock(bytes);
  }

  #endBlock(bytes: Uint8Array): void {
    this.#base64Blocks = this.#isBlockBase64 ? this.#base64Blocks + 1 : 0;
    if (this.#base64Blocks > HELD_BLOCKS) {
      this.#length -= BLOCK_BYTES;
      if (this.#base64Blocks === HELD_BLOCKS + 1) {
        bytes.set(MARK, this.#length);
        this.#length += MARK.length;
      }
    }
    this.#blockBytes = 0;
    this.#isBlockBase64 = true;
  }

  /** The buffer, grown where it has to be; undefined when the body is given up. */
  #roomFor(more: number): Uint8Array | undefined {
    const bytes = this.#bytes;
    const needed = this.#length + more;
    if (bytes === undefined || needed <= bytes.length) return bytes;
    // A block that may be base64 is held until it is whole.
    const size = Math.min(this.#maxBytes + BLOCK_BYTES, Math.max(FIRST_BYTES, bytes.length * 2, needed));
    if (needed > size || !this.#reserve(size - bytes.length)) {
      this.release();
      return undefined;
    }
    const grown = new Uint8Array(size);
    grown.set(bytes.subarray(0, this.#length));
    this.#bytes = grown;
    return grown;
  }
}

/** In a text the first few bytes tell. */
function isBase64(part: Uint8Array): boolean {
  for (let at = 0; at < part.length; at++) {
    if (IS_BASE64[part[at] as number] !== 1) return false;
  }
  return true;
}
