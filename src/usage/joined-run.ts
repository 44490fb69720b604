/** Small pieces of a body in a row, put together before they are read: a reader's cost is by the call. */

/** One for all: what is in it is read before this returns. Used again and again it stays in the processor's cache. */
const scratch = Buffer.allocUnsafeSlow(32 * 1024);

/** A larger piece is not worth a copy. */
const MAX_COPIED_BYTES = 4096;

/** Calls `use` with all bytes of the run, in order, in fewer and larger pieces, which are only valid during the call. What it throws ends it. */
export function forEachJoined(run: readonly Uint8Array[], use: (bytes: Uint8Array) => void): void {
  let length = 0;
  const useJoined = (): void => {
    const bytes = scratch.subarray(0, length);
    length = 0;
    if (bytes.length > 0) use(bytes);
  };
  for (const piece of run) {
    const isCopied = piece.length <= MAX_COPIED_BYTES && run.length > 1;
    if (!isCopied || length + piece.length > scratch.length) useJoined();
    if (isCopied) {
      scratch.set(piece, length);
      length += piece.length;
    } else use(piece);
  }
  useJoined();
}
