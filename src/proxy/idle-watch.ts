/** One sweep for all exchanges in place of a timer each: ends those on which nothing has moved for the idle bound. */

/** Something that is ended when it is idle too long. */
export interface Watched {
  onIdle(): void;
}

export interface IdleTicket {
  /** Something moved. Costs a store. */
  touch(): void;
  /** While the client takes nothing, silence is not the upstream's. `resume` counts as a move. */
  pause(): void;
  resume(): void;
  stop(): void;
}

export interface IdleWatch {
  watch(watched: Watched): IdleTicket;
  /** Watched now. */
  readonly size: number;
  close(): void;
}

/** The bound is kept to this part of itself: something is ended after 1 to 1.1 times the bound. */
const SWEEPS_PER_BOUND = 10;
const MIN_SWEEP_MS = 10;
const PAUSED = Number.POSITIVE_INFINITY;

export function createIdleWatch(idleMs: number): IdleWatch {
  const entries = new Set<Entry>();
  let sweeps = 0;

  class Entry implements IdleTicket {
    readonly watched: Watched;
    /** The sweep after which something moved last. */
    movedAt = sweeps;
    constructor(watched: Watched) {
      this.watched = watched;
    }
    touch(): void {
      if (this.movedAt !== PAUSED) this.movedAt = sweeps;
    }
    pause(): void {
      this.movedAt = PAUSED;
    }
    resume(): void {
      this.movedAt = sweeps;
    }
    stop(): void {
      entries.delete(this);
    }
  }

  const sweepMs = Math.max(MIN_SWEEP_MS, Math.floor(idleMs / SWEEPS_PER_BOUND));
  const boundInSweeps = Math.ceil(idleMs / sweepMs);
  const timer = setInterval(() => {
    sweeps += 1;
    for (const entry of entries) {
      if (sweeps - entry.movedAt <= boundInSweeps) continue;
      entries.delete(entry);
      entry.watched.onIdle();
    }
  }, sweepMs);
  timer.unref();

  return {
    watch(watched) {
      const entry = new Entry(watched);
      entries.add(entry);
      return entry;
    },
    get size() {
      return entries.size;
    },
    close: () => clearInterval(timer),
  };
}
