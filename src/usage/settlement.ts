/**
 * From readings to stored events: builds them, freezes their bytes, commits them, and bounds how long the traffic waits
 * for that. Shared by whole exchanges and by the responses on a socket.
 */

import type { Logger } from "pino";

import type { LedgerRecord, Store } from "../store/store.ts";
import type { FlowLease } from "./counters.ts";
import { isDelivered, type EventBuilder, type FlowEnding, type FlowFacts } from "./event.ts";
import type { UsageEvent } from "./event-types.ts";
import { reportFault } from "./fault.ts";
import type { Reading } from "./handler.ts";

export interface SettlementOptions {
  readonly events: EventBuilder;
  readonly store: Pick<Store, "commit" | "recordGap" | "failure">;
  /** False: nothing receives events, so none waits for delivery. */
  readonly hasReceiver: boolean;
  /** True: the outbox is at its bound and its events are dropped (`drop_newest`): kept in the ledger, counted in a durable gap. */
  readonly isQueueFull: () => boolean;
  /** True: the last byte of a response waits for the commit. */
  readonly isStrict: boolean;
  /** The bound of that wait. */
  readonly commitWaitMs: number;
  readonly monotonicMs: () => number;
  readonly logger: Pick<Logger, "error">;
  /** Called after events are stored. */
  readonly onStored: (events: readonly BuiltEvent[]) => void;
  readonly onCommitWait: (waitedMs: number, isTimeout: boolean) => void;
}

/** An event, and whether it is for the receiver (free ones are not). */
export interface BuiltEvent {
  readonly event: UsageEvent;
  readonly isDelivered: boolean;
}

export interface FrozenEvent extends BuiltEvent {
  readonly body: string;
  readonly timeMs: number;
}

export interface Settlement {
  /** One event per reading, numbered from `sequence`. Never throws. */
  build(facts: FlowFacts, ending: FlowEnding, readings: readonly Reading[], sequence: number): readonly FrozenEvent[];
  /** Ends the flow in the store with these events. Resolves when they are stored, or lost for good (the store has counted that); never rejects. */
  commit(flowId: string, events: readonly FrozenEvent[], lease: FlowLease): Promise<void>;
  /**
   * What the traffic waits for: nothing under `relaxed`; under `strict` the wait ends at its bound. Where that lets a byte go
   * (`isByteHeld`, the default) it leaves a durable gap.
   */
  boundedWait(stored: Promise<void>, isByteHeld?: boolean): Promise<void> | undefined;
}

export function createSettlement(options: SettlementOptions): Settlement {
  const { store, logger, monotonicMs, onCommitWait } = options;

  const freeze = (facts: FlowFacts, ending: FlowEnding, reading: Reading, sequence: number): FrozenEvent => {
    const event = options.events.build(facts, ending, reading, sequence);
    return { event, body: JSON.stringify(event), isDelivered: isDelivered(reading), timeMs: Math.trunc(ending.endedAtMs) };
  };

  const isDropped = (): boolean => {
    if (!options.isQueueFull()) return false;
    store.recordGap("queue_full", 1);
    return true;
  };

  const recordOf = (flowId: string, { event, body, isDelivered: isForReceiver, timeMs }: FrozenEvent): LedgerRecord => ({
    id: event.id,
    flowId,
    timeMs,
    delivery: options.hasReceiver && isForReceiver && !isDropped() ? "pending" : "none",
    body,
  });

  const tell = (waitedMs: number, isTimeout: boolean): void => {
    if (isTimeout) store.recordGap("commit_timeout", 1);
    isolate(options, () => onCommitWait(waitedMs, isTimeout));
  };

  return {
    build(facts, ending, readings, sequence) {
      // One request, one count: further events of it would be added up with the first.
      const { canonicalInputTokens: _counted, ...further } = ending;
      return readings.map((reading, place) => {
        const own = place === 0 ? ending : further;
        try {
          return freeze(facts, own, reading, sequence + place);
        } catch (error) {
          // A reading that makes no event happened all the same: its event says that its usage is not known.
          reportFault(logger, facts.meter, error);
          return freeze(facts, own, { kind: "unmeasured", reason: "meter_fault" }, sequence + place);
        }
      });
    },
    async commit(flowId, events, lease) {
      try {
        const records = events.map((event) => recordOf(flowId, event));
        await store.commit(flowId, records);
        lease.store(records.filter((record) => record.delivery === "pending").length);
        isolate(options, () => options.onStored(events));
      } catch (error) {
        // The store has counted what it lost and said so; any other fault is a defect, and its flow comes back as unknown.
        reportFault(logger, "settle", error);
        lease.drop();
      }
    },
    boundedWait(stored, isByteHeld = true) {
      if (!options.isStrict) return undefined;
      if (store.failure !== undefined) {
        // Nothing can be written now: waiting would only delay the traffic.
        if (isByteHeld) tell(0, true);
        return undefined;
      }
      const from = monotonicMs();
      return new Promise((resolve) => {
        const over = (isTimeout: boolean): void => {
          if (isOver) return;
          isOver = true;
          clearTimeout(timer);
          if (isByteHeld) tell(monotonicMs() - from, isTimeout);
          resolve();
        };
        let isOver = false;
        const timer = setTimeout(over, options.commitWaitMs, true);
        void stored.then(() => over(false));
      });
    },
  };
}

/** Runs a listener: what it throws is logged and changes nothing. */
export function isolate(options: { readonly logger: Pick<Logger, "error"> }, work: () => void): void {
  try {
    work();
  } catch (error) {
    reportFault(options.logger, "listener", error);
  }
}
