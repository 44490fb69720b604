/**
 * Whether a sink may be tried. Closed: batches go out. Otherwise only a probe does, when the time that `failed` or
 * `refused` gave has passed. Pure; knows no time.
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
  /** The most failures in a row of any batch since the sink last answered. */
  readonly failures: number;
  /** Changes with each answer: failures before and after it are not in a row. */
  readonly generation: number;
  /** The sink has answered about a batch. */
  answered(): void;
  /**
   * A batch failed for the `inRow`th time since the sink last answered. Batches that are under way at once fail at once, so
   * that each is counted for itself. Gives the wait before the next probe; undefined when the circuit is closed, or when
   * this was no probe and the one that is due stands.
   */
  failed(inRow: number, isProbe: boolean, retryAfterMs?: number): number | undefined;
  /** The sink refuses everything. Gives the wait before the next probe. */
  refused(): number;
}

/** A closed circuit. `random` gives [0, 1). */
export function createCircuit(random: () => number): Circuit {
  let state: CircuitState = "closed";
  let failures = 0;
  let probes = 0;
  let generation = 0;

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
    get generation() {
      return generation;
    },
    answered() {
      state = "closed";
      failures = 0;
      probes = 0;
      generation += 1;
    },
    failed(inRow, isProbe, retryAfterMs = 0) {
      failures = Math.max(failures, inRow);
      if (state !== "closed" && !isProbe) return undefined;
      if (failures >= MAX_FAILURES) {
        state = "open";
        return Math.max(probeWaitMs(), retryAfterMs);
      }
      if (retryAfterMs > 0) {
        state = "asked";
        return retryAfterMs;
      }
      // A probe that failed, and too little to keep everything back.
      state = "closed";
      return undefined;
    },
    refused() {
      state = "paused";
      failures += 1;
      return PAUSE_MS;
    },
  };
}
