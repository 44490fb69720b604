/**
 * Whether a sink may be tried. Closed: batches go out. Otherwise only a probe does, when the time that `failed` or
 * `refused` gave has passed. Pure; time is given and only compared with itself.
 */

/** Failures in a row that open the circuit. */
const MAX_FAILURES = 5;

/** Between two probes of an open circuit. */
const FIRST_PROBE_MS = 60_000;
const LAST_PROBE_MS = 300_000;

/** Between two attempts of what only a person can put right. */
const PAUSE_MS = 60_000;

/**
 * - `closed`: all is well, or fails too little to tell.
 * - `open`: MAX_FAILURES failures in a row.
 * - `asked`: the sink said when it may be tried again.
 * - `paused`: the sink takes nothing as things are.
 */
export type CircuitState = "closed" | "open" | "asked" | "paused";

export interface Circuit {
  readonly state: CircuitState;
  /** Failures since the sink last answered, those at the same time counted as one. */
  readonly failures: number;
  /** The sink has answered about a batch. */
  answered(): void;
  /**
   * An attempt that began at `startedMs` failed. Gives the wait before the next probe; undefined when the circuit is closed, or
   * when the probe that is due already stands. Attempts under way at once fail together: one that began before the last
   * failure was known does not count again.
   */
  failed(startedMs: number, nowMs: number, retryAfterMs?: number): number | undefined;
  /** The sink refuses everything. Gives the wait before the next probe. */
  refused(): number;
}

/** A closed circuit. `random` gives [0, 1). */
export function createCircuit(random: () => number): Circuit {
  let state: CircuitState = "closed";
  let failures = 0;
  let probes = 0;
  let lastFailureMs = Number.NEGATIVE_INFINITY;

  const probeWaitMs = (): number => {
    const ceiling = Math.min(LAST_PROBE_MS, FIRST_PROBE_MS * 2 ** Math.min(probes, 8));
    probes += 1;
    return Math.floor(FIRST_PROBE_MS + random() * (ceiling - FIRST_PROBE_MS));
  };

  return {
    get state() {
      return state;
    },
    get failures() {
      return failures;
    },
    answered() {
      state = "closed";
      failures = 0;
      probes = 0;
      lastFailureMs = Number.NEGATIVE_INFINITY;
    },
    failed(startedMs, nowMs, retryAfterMs = 0) {
      const isNew = startedMs >= lastFailureMs;
      if (isNew) {
        failures += 1;
        lastFailureMs = nowMs;
      }
      if (state === "open" && !isNew) return undefined;
      if (failures >= MAX_FAILURES) {
        state = "open";
        return Math.max(probeWaitMs(), retryAfterMs);
      }
      if (retryAfterMs > 0) {
        state = "asked";
        return retryAfterMs;
      }
      // A probe that failed, and too little to keep everything back.
      if (isNew) state = "closed";
      return undefined;
    },
    refused() {
      state = "paused";
      failures += 1;
      return PAUSE_MS;
    },
  };
}
