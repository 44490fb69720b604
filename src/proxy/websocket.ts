/**
 * A connection that went over to the WebSocket protocol: both directions are spliced unchanged, with back-pressure and
 * half-close, and a tap sees a copy of the bytes. It may hold bytes of the upstream back until what they finish is stored.
 */

import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

import type { FlowOutcome, FlowTap } from "../flow/flow.ts";
import type { TunnelWatches } from "./tunnel.ts";

export interface Splice {
  readonly downstream: Duplex;
  readonly upstream: Duplex;
  readonly tap: FlowTap | undefined;
  readonly watches: TunnelWatches;
  readonly onEnd: (outcome: FlowOutcome) => void;
}

/** Joins the two until both have closed; then tells how it ended, once. */
export function spliceWebSocket({ downstream, upstream, tap, watches, onEnd }: Splice): void {
  let open = 2;
  let outcome: FlowOutcome = { kind: "complete" };
  const breakOff = (cause: FlowOutcome): void => {
    if (outcome.kind === "complete") outcome = cause;
    cut(downstream);
    cut(upstream);
  };
  const watched = { onIdle: (): void => breakOff({ kind: "upstream_aborted" }) };
  let idle = watches.whole.watch(watched);
  const closed = (other: Duplex): void => {
    if (!other.destroyed) other.end(() => other.destroy());
    open -= 1;
    idle.stop();
    if (open > 0) idle = watches.halfClosed.watch(watched);
    else onEnd(outcome);
  };
  downstream.on("error", () => breakOff({ kind: "client_aborted" }));
  upstream.on("error", () => breakOff({ kind: "upstream_aborted" }));
  downstream.once("close", () => closed(upstream));
  upstream.once("close", () => closed(downstream));
  pump(downstream, upstream, (chunk) => {
    idle.touch();
    tap?.requestData(chunk);
  });
  pump(upstream, downstream, (chunk) => {
    idle.touch();
    return tap?.responseData(chunk);
  });
}

/** A reset stays a reset: an orderly end would say that everything had arrived. */
function cut(side: Duplex): void {
  if (side instanceof Socket && !(side instanceof TLSSocket)) side.resetAndDestroy();
  else side.destroy();
}

/** Passes what comes out of one side into the other; bytes for which `see` gives a promise wait for it. */
function pump(from: Duplex, to: Duplex, see: (chunk: Buffer) => Promise<void> | undefined | void): void {
  const pass = (chunk: Buffer): void => {
    if (to.destroyed || to.write(chunk)) return;
    from.pause();
    to.once("drain", () => from.resume());
  };
  let held: Promise<void> | undefined;
  from.on("data", (chunk: Buffer) => {
    const wait = see(chunk);
    if (held === undefined && wait === undefined) {
      pass(chunk);
      return;
    }
    from.pause();
    const next = Promise.all([held, wait]).then(() => {
      if (held === next) held = undefined;
      from.resume();
      pass(chunk);
    });
    held = next;
  });
  from.once("end", () => {
    const finish = (): void => void to.end();
    if (held === undefined) finish();
    else void held.then(finish);
  });
}
