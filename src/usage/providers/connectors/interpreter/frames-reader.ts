/**
 * Reads a WebSocket of a connector: its hook is shown each text message, and what it counted is told after
 * MAX_ITEMS, at each interval and at the close. The route's meters run once, when the socket has opened.
 */

import type { ConnectorReading, DeltaSource, ReadEnd, ReaderContext, Reading, SocketMessage, SocketReader } from "../../../handler.ts";
import type { HookContext } from "../definition.ts";
import { Counts, MAX_ITEMS } from "./counts.ts";
import { readDims } from "./dims.ts";
import type { Exchange } from "./exchange.ts";
import { createHookContext } from "./hook-context.ts";
import { runMeters } from "./meters.ts";

/** Counts with different facts beside them are told apart, up to so many; what is beyond is told without facts. */
const MAX_GROUPS = 16;

/** What was counted with the same facts beside it. */
interface Group {
  readonly counts: Counts;
  readonly dims: ReadonlyMap<string, string>;
}

export class FramesReader implements SocketReader {
  readonly deltas: DeltaSource;
  private readonly onFault: ReaderContext["onFault"] | undefined;
  private readonly exchange: Exchange;
  /** Of the frame that the hook is shown. */
  private readonly counts = new Counts();
  private readonly dims = new Map<string, string>();
  private readonly hookContext: HookContext;
  /** Since the last readings. */
  private readonly groups = new Map<string, Group>();
  private hasOpened = false;
  private hasHookFault = false;

  constructor(exchange: Exchange, { onFault }: Pick<ReaderContext, "onFault"> = {}) {
    this.exchange = exchange;
    this.onFault = onFault;
    exchange.head = SWITCHED;
    const hasMany = (): boolean => this.items >= MAX_ITEMS;
    this.deltas = {
      get isDue() {
        return hasMany();
      },
      take: () => this.takeDelta(),
    };
    this.hookContext = createHookContext(exchange, this.counts, this.dims, () => false);
  }

  clientMessage(message: SocketMessage): void {
    this.frame("up", message);
  }

  serverMessage(message: SocketMessage): readonly Reading[] {
    this.frame("down", message);
    return this.deltas.isDue ? this.deltas.take() : [];
  }

  end(end: ReadEnd): readonly Reading[] {
    this.open();
    return this.readings(end.kind === "undecodable" ? "partial" : "complete");
  }

  private takeDelta(): readonly Reading[] {
    this.open();
    return this.readings("complete");
  }

  private open(): void {
    if (this.hasOpened) return;
    this.hasOpened = true;
    const { route, definition } = this.exchange.found;
    runMeters(route.meters, this.exchange, this.counts, { state: definition.state, account: this.exchange.account });
    this.keepCounts();
  }

  private frame(direction: "up" | "down", message: SocketMessage): void {
    this.open();
    const { hook } = this.exchange.found.route;
    if (message.kind !== "text" || hook?.onFrame === undefined) return;
    try {
      hook.onFrame(this.hookContext, direction, message.text);
    } catch (error) {
      this.hasHookFault = true;
      this.onFault?.(error);
    }
    this.keepCounts();
  }

  /** What the frame counted goes to what was counted with the same facts. */
  private keepCounts(): void {
    if (!this.counts.isEmpty) this.groupOf(new Map(this.dims)).counts.addAll(this.counts);
    this.dims.clear();
  }

  private groupOf(dims: ReadonlyMap<string, string>): Group {
    const key = JSON.stringify([...dims].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const known = this.groups.get(key);
    if (known !== undefined) return known;
    if (this.groups.size >= MAX_GROUPS && dims.size > 0) return this.groupOf(new Map());
    const group: Group = { counts: new Counts(), dims };
    this.groups.set(key, group);
    return group;
  }

  private get items(): number {
    let sum = 0;
    for (const { counts } of this.groups.values()) sum += counts.items;
    return sum;
  }

  /** One for each group; after a fault at least one. */
  private readings(completeness: "complete" | "partial"): readonly Reading[] {
    if (this.hasHookFault && this.groups.size === 0) this.groupOf(new Map());
    const readings = Array.from(this.groups.values(), (group) => this.reading(group, this.hasHookFault ? "partial" : completeness));
    this.groups.clear();
    this.hasHookFault = false;
    return readings;
  }

  private reading({ counts, dims }: Group, completeness: "complete" | "partial"): ConnectorReading {
    const { name, route } = this.exchange.found;
    const allDims = new Map(dims);
    readDims(route.route.dims ?? {}, this.exchange, allDims);
    return {
      kind: "measured",
      completeness,
      source: counts.isEmpty ? "none" : counts.isEstimated ? "estimate" : "provider",
      route: name,
      connectorUsage: counts.take(),
      ...(allDims.size === 0 ? {} : { dims: Object.fromEntries(allDims) }),
    };
  }
}

/** A socket is only read when its upgrade was granted; which headers granted it, nobody asks. */
const SWITCHED = { status: 101, statusText: "", headers: [] };

/** Of a socket that costs nothing. */
export const freeSocket: SocketReader = { clientMessage: () => undefined, serverMessage: () => [], end: () => [] };
