/** A raw tunnel: bytes pass both ways with back-pressure and half-close, nothing is read; only counted at the end. */

import type { Socket } from "node:net";

import { createIdleWatch, type IdleWatch } from "./idle-watch.ts";

/** What is known of a tunnel when it is over. */
export interface TunnelReport {
  readonly host: string;
  readonly port: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly durationMs: number;
}

/** A tunnel (or a WebSocket) on which nothing has passed either way for this long is closed. */
export const TUNNEL_IDLE_MS = 3_600_000;
/** The same once one side has ended its direction: what is left is mostly a peer that went away. */
export const HALF_CLOSED_IDLE_MS = 300_000;

/** Who ends tunnels on which nothing passes. */
export interface TunnelWatches {
  readonly whole: IdleWatch;
  readonly halfClosed: IdleWatch;
}

export function createTunnelWatches(idleMs = TUNNEL_IDLE_MS, halfClosedIdleMs = HALF_CLOSED_IDLE_MS): TunnelWatches {
  return { whole: createIdleWatch(idleMs), halfClosed: createIdleWatch(halfClosedIdleMs) };
}

/**
 * Joins two connected sockets (both with allowHalfOpen) until both are closed, then reports. The upstream socket is the
 * one that counts: the downstream one has read the CONNECT request too.
 */
export function joinSockets(downstream: Socket, upstream: Socket, watches: TunnelWatches, onEnd: (bytesUp: number, bytesDown: number) => void): void {
  let open = 2;
  const watched = {
    onIdle(): void {
      downstream.destroy();
      upstream.destroy();
    },
  };
  let idle = watches.whole.watch(watched);
  const moved = (): void => idle.touch();
  const halfClosed = (): void => {
    idle.stop();
    if (open === 2) idle = watches.halfClosed.watch(watched);
  };
  const closed = (other: Socket): void => {
    // A closed side has nothing more to say; what it said before is flushed by end().
    if (!other.destroyed) other.destroySoon();
    open -= 1;
    if (open > 0) return;
    idle.stop();
    onEnd(upstream.bytesWritten, upstream.bytesRead);
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
  downstream.once("end", halfClosed);
  upstream.once("end", halfClosed);
  downstream.on("data", moved);
  upstream.on("data", moved);
  downstream.pipe(upstream);
  upstream.pipe(downstream);
}
