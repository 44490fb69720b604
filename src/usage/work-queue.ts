/**
 * Work that the traffic need not wait for, done in batches: code that runs again and again while it is warm costs far
 * less than between two pieces of I/O. Jobs run in order. A batch is broken up so that the event loop stays
 * free; the more work waits the longer a part of it may be, so that it is done as fast as it comes.
 */

export interface WorkQueue {
  /** Runs the job soon, or at once with all that wait when MAX_WAITING do. It must not throw. */
  add(job: () => void): void;
  /** Jobs that have not run. */
  readonly size: number;
}

export interface WorkQueueOptions {
  /** How long jobs are gathered. 0 = until the end of this turn of the event loop. */
  readonly gatherMs: number;
  readonly monotonicMs: () => number;
}

/** The event loop turns after this long, and a little longer for every job that waits. */
const MIN_BATCH_MS = 2;
const MAX_BATCH_MS = 15;
const MS_PER_WAITING = 0.02;

/** The bound of the queue. */
export const MAX_WAITING = 4096;

export function createWorkQueue({ gatherMs, monotonicMs }: WorkQueueOptions): WorkQueue {
  let waiting: (() => void)[] = [];
  let isScheduled = false;

  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    if (gatherMs === 0) setImmediate(runPart);
    else setTimeout(runPart, gatherMs);
  };
  /** Runs jobs for `budgetMs`; what is left goes on after the loop has turned. */
  const run = (budgetMs: number): void => {
    const jobs = waiting;
    waiting = [];
    const until = monotonicMs() + budgetMs;
    for (const [index, job] of jobs.entries()) {
      if (monotonicMs() > until) {
        waiting = jobs.slice(index).concat(waiting);
        isScheduled = true;
        setImmediate(runPart);
        return;
      }
      job();
    }
  };
  const runPart = (): void => {
    isScheduled = false;
    run(Math.min(MAX_BATCH_MS, Math.max(MIN_BATCH_MS, waiting.length * MS_PER_WAITING)));
  };
  return {
    add(job) {
      waiting.push(job);
      if (waiting.length >= MAX_WAITING) run(Number.POSITIVE_INFINITY);
      else schedule();
    },
    get size() {
      return waiting.length;
    },
  };
}
