/** Points in time as the user types them: `24h` and `7d` back from now, or ISO 8601 dates. */

import { parseDuration } from "../config/scalar-values.ts";

/** For messages. */
export const TIME_FORMS = "a span back from now such as 90m, 24h or 7d, or an ISO date such as 2026-11-21 or 2026-11-21T10:00Z";

const DATE_TIME = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:\d{2})?)?$/i;

/** Epoch milliseconds; undefined for what is no time. A date or time without a zone is UTC, as the days and hours of `usage` are. */
export function parseTime(text: string, nowMs: number): number | undefined {
  const trimmed = text.trim();
  const span = parseDuration(trimmed);
  if (span !== undefined) return nowMs - span;
  const match = DATE_TIME.exec(trimmed);
  if (match === null) return undefined;
  const [, year = "", month = "", day = "", time = "00:00", zone = "Z"] = match;
  if (!isCalendarDay(year, month, day)) return undefined;
  const parsed = Date.parse(`${year}-${month}-${day}T${time}${zone.toUpperCase()}`);
  return Number.isNaN(parsed) ? undefined : parsed;
}

/** Date.parse takes 31 February for 3 March. */
function isCalendarDay(year: string, month: string, day: string): boolean {
  const parsed = Date.parse(`${year}-${month}-${day}T00:00Z`);
  return !Number.isNaN(parsed) && new Date(parsed).getUTCDate() === Number(day);
}
