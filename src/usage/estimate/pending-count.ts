/** A count under way whose outcome can be looked at without waiting, and the bounded wait for several. */

import type { Count, CountOutcome } from "./tokenizer.ts";

export interface PendingCount {
  /** Undefined while it is under way. */
  readonly outcome: CountOutcome | undefined;
  /** Resolves when there is an outcome. Never rejects. */
  readonly settled: Promise<void>;
  cancel(): void;
}

export function pendingCount(count: Count): PendingCount {
  let outcome: CountOutcome | undefined;
  const settled = count.outcome.then((value) => {
    outcome = value;
  });
  return {
    get outcome() {
      return outcome;
    },
    settled,
    cancel: () => count.cancel(),
  };
}

/** A count whose outcome is known. */
export function knownCount(outcome: CountOutcome): PendingCount {
  return { outcome, settled: Promise.resolve(), cancel: () => undefined };
}

/** Resolves when all are settled, at `waitMs` in any case; what is late then is cancelled. */
export async function allWithin(counts: readonly PendingCount[], waitMs: number): Promise<void> {
  const bound = Promise.withResolvers<void>();
  const timer = setTimeout(bound.resolve, waitMs);
  await Promise.race([Promise.all(counts.map(({ settled }) => settled)), bound.promise]);
  clearTimeout(timer);
  for (const count of counts) if (count.outcome === undefined) count.cancel();
}
