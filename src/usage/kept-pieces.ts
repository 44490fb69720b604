/**
 * What passed of a flow and is not read yet: keeps it by reference, within bounds, and gives it to the flow's reading in
 * order. While the traffic runs this costs it a push to a list.
 */

import type { ResponseHead } from "../flow/flow.ts";
import type { FlowReading } from "./flow-reading.ts";

/** The bounds: of one flow, in pieces and bytes, and of all flows together. */
const MAX_PIECES = 128;
const MAX_BYTES = 32 * 1024;
const MAX_BYTES_OF_ALL = 8 * 1024 * 1024;

/** Bytes that all flows of a meter keep. */
export interface KeptBytes {
  ofAll: number;
}

/** One call of the tap that is still to be made of the reading. Bytes alone are the response's: most pieces are. */
type Piece = Uint8Array | { readonly kind: "request"; readonly chunk: Uint8Array } | { readonly kind: "request_end" } | { readonly kind: "head"; readonly head: ResponseHead };

const REQUEST_END: Piece = { kind: "request_end" };

/** A class for its identity: the pieces of one flow. */
export class KeptPieces {
  readonly #kept: KeptBytes;
  #pieces: Piece[] = [];
  #bytes = 0;

  constructor(kept: KeptBytes) {
    this.#kept = kept;
  }

  /** It is time to read them. */
  get isFull(): boolean {
    return this.#pieces.length >= MAX_PIECES || this.#bytes >= MAX_BYTES || this.#kept.ofAll >= MAX_BYTES_OF_ALL;
  }

  requestData(chunk: Uint8Array): void {
    this.#keep({ kind: "request", chunk }, chunk.length);
  }

  requestEnd(): void {
    this.#keep(REQUEST_END, 0);
  }

  responseHead(head: ResponseHead): void {
    this.#keep({ kind: "head", head }, 0);
  }

  responseData(chunk: Uint8Array): void {
    this.#keep(chunk, chunk.length);
  }

  /** Gives them to the reading and forgets them. */
  feed(reading: FlowReading): void {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#kept.ofAll -= this.#bytes;
    this.#bytes = 0;
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i] as Piece;
      if (piece instanceof Uint8Array) {
        // The events of a stream come one by one; read together they cost a fraction.
        const run = runOfBytes(pieces, i);
        reading.responseData(run);
        i += run.length - 1;
      } else if (piece.kind === "request") reading.requestData(piece.chunk);
      else if (piece.kind === "head") reading.responseHead(piece.head);
      else reading.requestEnd();
    }
  }

  #keep(piece: Piece, bytes: number): void {
    this.#pieces.push(piece);
    this.#bytes += bytes;
    this.#kept.ofAll += bytes;
  }
}

/** The response's bytes from a place on, as far as nothing else comes between them. */
function runOfBytes(pieces: readonly Piece[], from: number): readonly Uint8Array[] {
  let to = from + 1;
  while (pieces[to] instanceof Uint8Array) to++;
  return (to - from === pieces.length ? pieces : pieces.slice(from, to)) as readonly Uint8Array[];
}
