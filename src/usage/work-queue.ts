/**
 * Work that the traffic need not wait for, done in batches: code that runs again and again while it is warm costs half
 * of what it costs between two pieces of I/O. Jobs run in order; a long batch is broken up so that the loop stays free.
 */

export interface WorkQueue {
  /** Runs the job soon. It must not throw. */
  add(job: () => void): void;
  /** Jobs that have not run. */
  readonly size: number;
}

export interface WorkQueueOptions {
  /** How long jobs are gathered. 0 = until the end of this turn of the event loop. */
  readonly gatherMs: number;
  readonly monotonicMs: () => number;
}

/** A batch lets the event loop turn after this long. */
const MAX_BATCH_MS = 2;

export function createWorkQueue({ gatherMs, monotonicMs }: WorkQueueOptions): WorkQueue {
  let waiting: (() => void)[] = [];
  let isScheduled = false;

  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    if (gatherMs === 0) setImmediate(run);
    else setTimeout(run, gatherMs);
  };
  const run = (): void => {
    const jobs = waiting;
    waiting = [];
    isScheduled = false;
    const until = monotonicMs() + MAX_BATCH_MS;
    for (const [index, job] of jobs.entries()) {
      if (monotonicMs() > until) {
        waiting = jobs.slice(index).concat(waiting);
        isScheduled = true;
        setImmediate(run);
        return;
      }
      job();
    }
  };
  return {
    add(job) {
      waiting.push(job);
      schedule();
    },
    get size() {
      return waiting.length;
    },
  };
}
