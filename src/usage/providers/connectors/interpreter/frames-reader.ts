/**
 * Reads a WebSocket of a connector: its hook is shown each text message, and what it counted is told after
 * MAX_ITEMS, at each interval and at the close. The route's meters run once, when the socket has opened.
 */

import type { ConnectorReading, ReadEnd, Reading, SocketMessage, SocketReader } from "../../../handler.ts";
import type { HookContext } from "../definition.ts";
import { Counts } from "./counts.ts";
import { readDims } from "./dims.ts";
import type { Exchange } from "./exchange.ts";
import { createHookContext } from "./hook-context.ts";
import { runMeters } from "./meters.ts";

/** Counted things after which a stream or socket is given a reading at once (reference/connectors.md section 1, rule 7). */
export const MAX_ITEMS = 500;

export class FramesReader implements SocketReader {
  private readonly exchange: Exchange;
  private readonly counts = new Counts();
  private readonly dims = new Map<string, string>();
  private readonly hookContext: HookContext;
  private hasOpened = false;
  private hasHookFault = false;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
    exchange.head = SWITCHED;
    this.hookContext = createHookContext(exchange, this.counts, this.dims, () => false);
  }

  clientMessage(message: SocketMessage): void {
    this.frame("up", message);
  }

  serverMessage(message: SocketMessage): readonly Reading[] {
    this.frame("down", message);
    return this.counts.items < MAX_ITEMS ? [] : this.delta();
  }

  delta(): readonly Reading[] {
    this.open();
    return this.counts.isEmpty && !this.hasHookFault ? [] : [this.reading("complete")];
  }

  end(end: ReadEnd): readonly Reading[] {
    this.open();
    if (this.counts.isEmpty && !this.hasHookFault) return [];
    return [this.reading(end.kind === "undecodable" ? "partial" : "complete")];
  }

  private open(): void {
    if (this.hasOpened) return;
    this.hasOpened = true;
    const { route, definition } = this.exchange.found;
    runMeters(route.meters, this.exchange, this.counts, { state: definition.state, account: this.exchange.account });
  }

  private frame(direction: "up" | "down", message: SocketMessage): void {
    this.open();
    const { hook } = this.exchange.found.route;
    if (message.kind !== "text" || hook?.onFrame === undefined) return;
    try {
      hook.onFrame(this.hookContext, direction, message.text);
    } catch {
      // The reading says so; the error itself could quote the message.
      this.hasHookFault = true;
    }
  }

  private reading(completeness: "complete" | "partial"): ConnectorReading {
    readDims(this.exchange.found.route.route.dims ?? {}, this.exchange, this.dims);
    const reading: ConnectorReading = {
      kind: "measured",
      completeness: this.hasHookFault ? "partial" : completeness,
      source: this.counts.isEmpty ? "none" : this.counts.isEstimated ? "estimate" : "provider",
      route: this.exchange.found.name,
      connectorUsage: this.counts.take(),
      ...(this.dims.size === 0 ? {} : { dims: Object.fromEntries(this.dims) }),
    };
    this.hasHookFault = false;
    return reading;
  }
}

/** A socket is only read when its upgrade was granted; which headers granted it, nobody asks. */
const SWITCHED = { status: 101, statusText: "", headers: [] };

/** Of a socket that costs nothing. */
export const freeSocket: SocketReader = { clientMessage: () => undefined, serverMessage: () => [], end: () => [] };
