/** The Retry-After header. */

/** The most that a receiver may ask for. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** RFC 9110 section 10.2.3: seconds or an HTTP date, as milliseconds from now within the hour; undefined when it is neither. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d+$/.test(text)) return Math.min(MAX_RETRY_AFTER_MS, Number(text) * 1000);
  // Date.parse takes much that is no HTTP date ("1.5" among it); each of the three forms of one begins with a day's name.
  // The third names no zone: all are in GMT.
  const dateMs = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text.endsWith("GMT") ? text : `${text} GMT`) : Number.NaN;
  return Number.isFinite(dateMs) ? Math.min(MAX_RETRY_AFTER_MS, Math.max(0, dateMs - nowMs)) : undefined;
}
