/** When a failed post is tried again. */

/** Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): anything from nothing to the doubled base. */
const BASE_MS = 1000;
const MAX_MS = 60_000;

/** The most that a receiver may ask for in Retry-After. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** The wait before a retry. `failures` counts the attempts so far (1 after the first); `random` gives [0, 1). */
export function backoffMs(failures: number, random: () => number): number {
  const ceiling = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(failures - 1, 16));
  return Math.floor(random() * ceiling);
}

/** RFC 9110 section 10.2.3: seconds or an HTTP date, as milliseconds from now within the hour; undefined when it is neither. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d+$/.test(text)) return Math.min(MAX_RETRY_AFTER_MS, Number(text) * 1000);
  // Date.parse takes much that is no HTTP date ("1.5" among it); each of the three forms of one begins with a day's name.
  const dateMs = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isFinite(dateMs) ? Math.min(MAX_RETRY_AFTER_MS, Math.max(0, dateMs - nowMs)) : undefined;
}
