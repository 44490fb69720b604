/**
 * The JSON API: what each path answers. Owns the shapes of the answers; server.ts owns HTTP, and the sources are the
 * program's (AdminSources), so that the admin server can be run and tested alone.
 */

import type { Store, StoredRecord } from "../store/store.ts";
import type { Tracker } from "../usage/tracker.ts";
import type { FlowFeed } from "./flow-feed.ts";
import { readEventQuery, readUsageQuery } from "./query.ts";

/** The hand-over counters (contract section 6). */
export interface StageCounters {
  readonly flows: number;
  readonly buffered: number;
  readonly reports: number;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, or what is degraded, in words for an operator. */
  readonly reasons: readonly string[];
}

export interface DrainResult {
  /** False when the drain timed out. */
  readonly drained: boolean;
  readonly counters: StageCounters;
}

/** Everything the admin server shows. What a method throws becomes a 500 and a log line, nothing else. */
export interface AdminSources {
  health(): { readonly live: boolean };
  readiness(): Promise<Readiness>;
  counters(): StageCounters;
  readonly caPem: string;
  readonly store: Pick<Store, "events" | "usage" | "counts" | "deadLetters">;
  readonly flows: Pick<FlowFeed, "active" | "subscribe">;
  readonly tracker: Pick<Tracker, "subscribe" | "totals">;
  readonly metrics: { text(): Promise<string>; readonly contentType: string };
  /** Stops taking new flows and resolves when all is done or its time is up. May be called more than once. */
  drain(): Promise<DrainResult>;
  /** Absent: no budgets. */
  budgets?(): readonly object[];
}

/** What a path of the API answers: a JSON text, or the fault of its query. */
export type ApiAnswer = { readonly json: string } | { readonly fault: string };

export type ApiRoute = (parameters: URLSearchParams) => ApiAnswer | Promise<ApiAnswer>;

const MAX_FLOWS = 1000;
const MAX_DEAD_LETTERS = 1000;

/** The API's GET paths. */
export function createApi(sources: AdminSources, now: () => number): ReadonlyMap<string, ApiRoute> {
  return new Map<string, ApiRoute>([
    ["/api/v1/usage", (parameters) => usage(sources, parameters, now())],
    ["/api/v1/events", (parameters) => events(sources, parameters, now())],
    ["/api/v1/flows", () => flows(sources)],
    ["/api/v1/counters", async () => json({ ...liveCounters(sources), ledger: await sources.store.counts() })],
    ["/api/v1/budgets", () => json({ budgets: sources.budgets?.() ?? [] })],
    ["/api/v1/dead-letters", () => deadLetters(sources)],
  ]);
}

/** What is known without asking the ledger: the stages, and the totals since the start. */
export function liveCounters(sources: Pick<AdminSources, "counters" | "tracker">): StageCounters & { readonly totals: object } {
  const { meanLatencyMs, ...totals } = sources.tracker.totals();
  return { ...sources.counters(), totals: { ...totals, mean_latency_ms: meanLatencyMs } };
}

async function usage(sources: AdminSources, parameters: URLSearchParams, nowMs: number): Promise<ApiAnswer> {
  const read = readUsageQuery(parameters, nowMs);
  if ("fault" in read) return read;
  const { by, sinceMs, untilMs } = read.query;
  const rows = await sources.store.usage(read.query);
  return json({ by: by ?? null, since: isoOrNull(sinceMs), until: isoOrNull(untilMs), rows });
}

async function events(sources: AdminSources, parameters: URLSearchParams, nowMs: number): Promise<ApiAnswer> {
  const read = readEventQuery(parameters, nowMs);
  if ("fault" in read) return read;
  const records = await sources.store.events(read.query);
  const cursor = records.at(-1)?.position ?? read.query.afterPosition ?? 0;
  return { json: `{"events":[${records.map(recordJson).join(",")}],"cursor":"${cursor}"}` };
}

/** The event is the stored text as it is: bytes that were frozen are not written anew. */
function recordJson(record: StoredRecord): string {
  return `{"event":${record.body},"delivery":"${record.delivery}"}`;
}

function flows(sources: AdminSources): ApiAnswer {
  const active = sources.flows.active();
  return json({ flows: active.slice(0, MAX_FLOWS), active: active.length });
}

/** The oldest, and how many there are. */
async function deadLetters({ store }: AdminSources): Promise<ApiAnswer> {
  const [listed, counts] = await Promise.all([store.deadLetters({ limit: MAX_DEAD_LETTERS }), store.counts()]);
  const entries = listed.map(({ id, sink, reason, refusedAtMs, body }) => {
    const facts = JSON.stringify({ id, sink, reason, refused_at: new Date(refusedAtMs).toISOString() });
    return `${facts.slice(0, -1)},"event":${body}}`;
  });
  return { json: `{"dead_letters":[${entries.join(",")}],"total":${counts.dead_letters}}` };
}

function json(value: object): ApiAnswer {
  return { json: JSON.stringify(value) };
}

function isoOrNull(epochMs: number | undefined): string | null {
  return epochMs === undefined ? null : new Date(epochMs).toISOString();
}
