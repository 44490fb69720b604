/** Reads the query parameters of the API. A fault is a sentence that names the parameter. */

import { parseDuration } from "../config/scalar-values.ts";
import type { EventQuery, UsageDimension, UsageQuery } from "../store/store.ts";

/** What a query holds, or what is wrong with it. */
export type QueryResult<T> = { readonly query: T } | { readonly fault: string };

const DIMENSIONS: readonly UsageDimension[] = ["model", "provider", "connector", "agent", "thread", "org", "user", "day", "hour"];

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** `by`, `since`, `until` of /api/v1/usage. */
export function readUsageQuery(parameters: URLSearchParams, nowMs: number): QueryResult<UsageQuery> {
  const fault = unknownParameter(parameters, ["by", "since", "until"]);
  if (fault !== undefined) return { fault };
  const since = readMoment(parameters, "since", nowMs);
  const until = readMoment(parameters, "until", nowMs);
  if ("fault" in since) return since;
  if ("fault" in until) return until;
  const by = parameters.get("by");
  const dimension = DIMENSIONS.find((name) => name === by);
  if (by !== null && dimension === undefined) return { fault: `by must be one of ${DIMENSIONS.join(", ")}` };
  return {
    query: {
      ...(dimension === undefined ? {} : { by: dimension }),
      ...(since.query === undefined ? {} : { sinceMs: since.query }),
      ...(until.query === undefined ? {} : { untilMs: until.query }),
    },
  };
}

/** `since`, `limit`, `cursor` of /api/v1/events. */
export function readEventQuery(parameters: URLSearchParams, nowMs: number): QueryResult<EventQuery> {
  const fault = unknownParameter(parameters, ["since", "limit", "cursor"]);
  if (fault !== undefined) return { fault };
  const since = readMoment(parameters, "since", nowMs);
  if ("fault" in since) return since;
  const limit = parameters.get("limit") ?? String(DEFAULT_LIMIT);
  if (!/^\d{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > MAX_LIMIT) return { fault: `limit must be a whole number from 1 to ${MAX_LIMIT}` };
  const cursor = parameters.get("cursor");
  if (cursor !== null && !/^\d{1,15}$/.test(cursor)) return { fault: "cursor must be one that an earlier answer gave, or 0 to begin with the oldest" };
  return {
    query: {
      limit: Number(limit),
      ...(since.query === undefined ? {} : { sinceMs: since.query }),
      ...(cursor === null ? {} : { afterPosition: Number(cursor) }),
    },
  };
}

function unknownParameter(parameters: URLSearchParams, known: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const name of parameters.keys()) {
    if (!known.includes(name)) return `${JSON.stringify(name.slice(0, 40))} is no parameter here; known are ${known.join(", ")}`;
    if (seen.has(name)) return `${name} is given twice`;
    seen.add(name);
  }
  return undefined;
}

/** A duration back from now, or a date or time; without a zone it is UTC. */
function readMoment(parameters: URLSearchParams, name: string, nowMs: number): QueryResult<number | undefined> {
  const text = parameters.get(name);
  if (text === null) return { query: undefined };
  const spanMs = parseDuration(text);
  const momentMs = spanMs === undefined ? parseTimestamp(text) : nowMs - spanMs;
  if (momentMs !== undefined) return { query: momentMs };
  return { fault: `${name} must be a duration such as 24h, or a time such as 2026-11-21 or 2026-11-21T10:00:00Z` };
}

/** A "+" in a query is a blank by the time it gets here, so a blank before the zone's digits is taken for one. */
const TIMESTAMP = /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[ +-]\d{2}:\d{2})?)?$/;

function parseTimestamp(text: string): number | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null) return undefined;
  const [, day = "", time = "00:00", zone = "Z"] = match;
  const midnightMs = Date.parse(`${day}T00:00Z`);
  // Date.parse takes 31 February for 3 March.
  if (Number.isNaN(midnightMs) || !new Date(midnightMs).toISOString().startsWith(day)) return undefined;
  const momentMs = Date.parse(`${day}T${time}${zone.toUpperCase().replace(" ", "+")}`);
  return Number.isNaN(momentMs) ? undefined : momentMs;
}
