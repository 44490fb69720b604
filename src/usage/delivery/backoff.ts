/** When a failed post is tried again. */

/** Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): anything from nothing to the doubled base. */
const BASE_MS = 1000;
const MAX_MS = 60_000;

/** The wait before a retry. `failures` counts the attempts so far (1 after the first); `random` gives [0, 1). */
export function backoffMs(failures: number, random: () => number): number {
  const ceiling = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(failures - 1, 16));
  return Math.floor(random() * ceiling);
}
