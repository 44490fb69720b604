/**
 * The events of a response that never ends: what was counted is stored every INTERVAL_MS, or earlier when the reader
 * says that much has come, each time as an event of its own (contract section 4). A crash leaves an `unknown` event
 * behind the last one.
 */

import type { FlowLease } from "./counters.ts";
import type { FlowEnding, FlowFacts } from "./event.ts";
import type { Reading } from "./handler.ts";
import type { Settlement } from "./settlement.ts";

/** reference/connectors.md section 1, rule 7. */
export const INTERVAL_MS = 10_000;

/** Calls `work` every `ms` until the function that it gives is called. Must not keep the process alive. */
export type Schedule = (work: () => void, ms: number) => () => void;

export const scheduleWithTimers: Schedule = (work, ms) => {
  const timer = setInterval(work, ms);
  timer.unref();
  return () => clearInterval(timer);
};

export interface IntervalPartsOptions {
  readonly flowId: string;
  readonly facts: FlowFacts;
  readonly settlement: Settlement;
  readonly monotonicMs: () => number;
  readonly schedule: Schedule;
  readonly startPart: () => FlowLease;
  /** Begins the flow anew in the store: what comes after the first `sequence` events is not told yet. */
  readonly begin: (sequence: number) => void;
  /** What is to be stored now. Never throws. */
  readonly takeDelta: () => readonly Reading[];
  /** How the flow stands, sizes from its beginning on. */
  readonly ending: () => FlowEnding;
}

/** A class for its identity: the parts of one flow, from its response's head to its end. */
export class IntervalParts {
  readonly #options: IntervalPartsOptions;
  readonly #stop: () => void;
  #sequence = 0;
  #startedAt: number;
  readonly #openedAt: number;
  #bytesUp = 0;
  #bytesDown = 0;

  /** `openedAt`: monotonic, when the flow began. */
  constructor(options: IntervalPartsOptions, openedAt: number) {
    this.#options = options;
    this.#openedAt = openedAt;
    this.#startedAt = openedAt;
    this.#stop = options.schedule(() => this.store(), INTERVAL_MS);
  }

  /** How many events the flow has by now. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Stores what came since the last time, if anything did. */
  store(): void {
    const { settlement, takeDelta, startPart, flowId, begin } = this.#options;
    const readings = takeDelta();
    if (readings.length === 0) return;
    const lease = startPart();
    const { facts, ending } = this.part();
    const built = settlement.build(facts, ending, readings, this.#sequence);
    this.#sequence += built.length;
    void settlement.commit(flowId, built, lease);
    begin(this.#sequence);
  }

  /** The times and sizes of the part that ends now; the next one begins. */
  part(): { readonly facts: FlowFacts; readonly ending: FlowEnding } {
    const { facts, ending, monotonicMs } = this.#options;
    const now = monotonicMs();
    const whole = ending();
    const isFirst = this.#startedAt === this.#openedAt;
    const part = {
      facts: { ...facts, startedAtMs: facts.startedAtMs + Math.max(0, this.#startedAt - this.#openedAt) },
      ending: {
        ...whole,
        latencyMs: now - this.#startedAt,
        timeToFirstByteMs: isFirst ? whole.timeToFirstByteMs : null,
        bytesUp: whole.bytesUp - this.#bytesUp,
        bytesDown: whole.bytesDown - this.#bytesDown,
      },
    };
    this.#startedAt = now;
    this.#bytesUp = whole.bytesUp;
    this.#bytesDown = whole.bytesDown;
    return part;
  }

  /** No more parts: the flow's end stores the rest. Idempotent. */
  stop(): void {
    this.#stop();
  }
}
