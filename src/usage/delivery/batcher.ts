/**
 * Decides when a batch closes: at enough events, enough bytes, or when the oldest event has waited long enough. Keeps
 * counts of what waits in the outbox, never the events. Pure; time is given.
 */

export interface BatcherLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
}

export interface Batcher {
  /** Events became pending. */
  add(events: number, bytes: number, nowMs: number): void;
  /** The outbox may hold events of unknown number and age (a start, an adoption, a flush): a batch is due at once. */
  addUnknown(): void;
  /** A batch of this many events was taken, oldest first. */
  took(events: number, bytes: number, nowMs: number): void;
  /** The outbox was found empty. */
  empty(): void;
  /** Milliseconds until a batch closes: 0 when one is due, undefined when nothing waits. */
  dueInMs(nowMs: number): number | undefined;
}

/** Arrivals within one waiting time; those nearer to each other than a tenth of it count as one. */
interface Arrival {
  readonly atMs: number;
  events: number;
  bytes: number;
}

const MERGE_PARTS = 10;

/** A batcher with nothing waiting. */
export function createBatcher(limits: BatcherLimits): Batcher {
  let arrivals: Arrival[] = [];
  /** Waiting for longer than maxWaitMs: their age no longer matters. */
  let overdue = { events: 0, bytes: 0 };
  let isUnknown = false;

  const age = (nowMs: number): void => {
    while (arrivals[0] !== undefined && arrivals[0].atMs + limits.maxWaitMs <= nowMs) {
      overdue.events += arrivals[0].events;
      overdue.bytes += arrivals[0].bytes;
      arrivals.shift();
    }
  };

  return {
    add(events, bytes, nowMs) {
      age(nowMs);
      const last = arrivals.at(-1);
      if (last !== undefined && nowMs - last.atMs < limits.maxWaitMs / MERGE_PARTS) {
        last.events += events;
        last.bytes += bytes;
      } else arrivals.push({ atMs: nowMs, events, bytes });
    },
    addUnknown() {
      isUnknown = true;
    },
    took(events, bytes, nowMs) {
      age(nowMs);
      let left = remove(overdue, { events, bytes });
      while (left.events > 0 && arrivals[0] !== undefined) {
        left = remove(arrivals[0], left);
        if (arrivals[0].events === 0) arrivals.shift();
      }
    },
    empty() {
      arrivals = [];
      overdue = { events: 0, bytes: 0 };
      isUnknown = false;
    },
    dueInMs(nowMs) {
      age(nowMs);
      if (isUnknown || overdue.events > 0) return 0;
      const oldest = arrivals[0];
      if (oldest === undefined) return undefined;
      const events = arrivals.reduce((sum, each) => sum + each.events, 0);
      const bytes = arrivals.reduce((sum, each) => sum + each.bytes, 0);
      if (events >= limits.maxEvents || bytes >= limits.maxBytes) return 0;
      return oldest.atMs + limits.maxWaitMs - nowMs;
    },
  };
}

/** Takes as much as there is out of `from`; returns what is still to be taken elsewhere. */
function remove(from: { events: number; bytes: number }, count: { events: number; bytes: number }): { events: number; bytes: number } {
  const events = Math.min(from.events, count.events);
  const bytes = from.events === events ? from.bytes : Math.min(from.bytes, count.bytes);
  from.events -= events;
  from.bytes -= bytes;
  return { events: count.events - events, bytes: Math.max(0, count.bytes - bytes) };
}
