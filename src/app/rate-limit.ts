/** For what may happen thousands of times a second and is worth saying once in a while. */

/** Calls through at most once per `intervalMs`; calls between are dropped. */
export function rateLimited(intervalMs: number, call: () => void): () => void {
  let calledAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - calledAt < intervalMs) return;
    calledAt = now;
    call();
  };
}
