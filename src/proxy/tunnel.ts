/** A raw tunnel: bytes pass both ways with back-pressure and half-close, nothing is read; only counted at the end. */

import type { Socket } from "node:net";

/** What is known of a tunnel when it is over. */
export interface TunnelReport {
  readonly host: string;
  readonly port: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly durationMs: number;
}

/**
 * Joins two connected sockets (both with allowHalfOpen) until both are closed, then reports. The upstream socket is the
 * one that counts: the downstream one has read the CONNECT request too.
 */
export function joinSockets(downstream: Socket, upstream: Socket, onEnd: (bytesUp: number, bytesDown: number) => void): void {
  let open = 2;
  const closed = (other: Socket): void => {
    // A closed side has nothing more to say; what it said before is flushed by end().
    if (!other.destroyed) other.destroySoon();
    open -= 1;
    if (open === 0) onEnd(upstream.bytesWritten, upstream.bytesRead);
  };
  const failed = (side: Socket, other: Socket): void => {
    side.destroy();
    // A reset stays a reset: an orderly end would say that everything had arrived.
    other.resetAndDestroy();
  };
  downstream.on("error", () => failed(downstream, upstream));
  upstream.on("error", () => failed(upstream, downstream));
  downstream.once("close", () => closed(upstream));
  upstream.once("close", () => closed(downstream));
  downstream.pipe(upstream);
  upstream.pipe(downstream);
}
