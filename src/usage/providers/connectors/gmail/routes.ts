/** Makes the routes of the Gmail API out of its table of methods: paths, conditions of success, quota units, uploads. */

import { GMAIL_METHODS } from "../gmail-routes.ts";
import type { GmailMethod, QuotaTable } from "../gmail-routes.ts";
import { MAX_REQUEST_BYTES } from "../definition.ts";
import type { Dim, Meter, Predicate, RequestBodyRule, Route } from "../definition.ts";
import { MAX_KEPT_BYTES } from "./sent-message.ts";

export const QUOTA_CATEGORY = "quota_units";

/** A piece of a resumable upload has it, or a question how far the upload has come; its start has not. */
export const UPLOAD_ID = "upload_id";

const USER = "/gmail/v1/users/{userId}";

/** What a failed call says of itself. */
const DIMS: Readonly<Record<string, Dim>> = { error_reason: { path: "error.errors.*.reason" } };

/** Every route that is the same on each host, with the units of one table. */
export function gmailRoutes(table: QuotaTable): readonly Route[] {
  return [
    ...GMAIL_METHODS.flatMap((method) => [callRoute(method, table), ...(method.isUpload === true ? [startRoute(method)] : [])]),
    batchRoute("batch", "/batch/gmail/v1"),
    { id: "preflight", method: "OPTIONS", path: ["/gmail/v1/**", "/upload/gmail/v1/**", "/batch/gmail/v1"] },
  ];
}

/** What only Gmail's own hosts have: the batch of old clients, and the description of the API. */
export const OWN_ROUTES: readonly Route[] = [batchRoute("batch.global", "/batch"), { id: "discovery", method: "GET", path: "/$discovery/**" }];

function batchRoute(id: string, path: string): Route {
  return {
    id,
    method: "POST",
    path,
    expand: "google-batch",
    request: { parse: "raw", maxBytes: MAX_REQUEST_BYTES },
    meters: [{ category: "batch.requests", count: 1 }],
  };
}

export function unitsOf(method: GmailMethod, table: QuotaTable): number {
  const [current, legacy] = method.units;
  switch (table) {
    case "2026-05":
      return current;
    case "legacy":
      return legacy;
    default:
      return table satisfies never;
  }
}

function callRoute(method: GmailMethod, table: QuotaTable): Route {
  const { id, http, path, category, count, further = [], isUpload = false } = method;
  const units: Meter = { category: QUOTA_CATEGORY, count: unitsOf(method, table), ...(method.areUnitsGuessed === true ? { estimated: true } : {}) };
  // The hook counts the end of an upload in pieces: the server may say it more than once.
  const meters = [{ category, count }, ...further, units].map((meter): Meter => (isUpload ? { ...meter, when: IN_ONE_PIECE } : meter));
  const request = requestRule(method);
  return {
    id,
    method: isUpload && http === "POST" ? ["POST", "PUT"] : http,
    path: isUpload ? [USER + path, `/upload${USER}${path}`] : USER + path,
    ...(needsAnswer(method) ? { fallback: meters.filter((meter) => typeof meter.count === "number") } : { body: "none" }),
    ...(request === undefined ? {} : { request }),
    ...(isUpload ? { success: method.carries === "message" ? SENT : STORED } : {}),
    meters,
    hook: isUpload ? "upload" : "call",
    dims: { ...DIMS, ...method.dims },
  };
}

/** What counts nothing of a success but its status does not read it: a message may have tens of megabytes. */
function needsAnswer({ probed, isUpload = false }: GmailMethod): boolean {
  return probed !== undefined || isUpload;
}

const IN_ONE_PIECE: Predicate = { not: { queryHas: UPLOAD_ID } };

/** The message has an id: an upload that goes on is answered by a success without one. Where `fields` or `alt` may keep the id out, the status has to do. */
const SENT = { any: [{ has: "id" }, { queryHas: "fields" }, { queryEq: ["alt", "media"] }, { queryEq: ["alt", "proto"] }] } satisfies Predicate;
const STORED: Predicate = { any: [IN_ONE_PIECE, ...SENT.any] };

function requestRule({ carries, requestBytes }: GmailMethod): RequestBodyRule | undefined {
  if (carries !== undefined) return { parse: "raw", maxBytes: MAX_KEPT_BYTES };
  return requestBytes === undefined ? undefined : { parse: "json", maxBytes: requestBytes };
}

/** The start of an upload in pieces: a success, and nothing is sent yet. */
function startRoute({ id, http, path }: GmailMethod): Route {
  return { id: `${id}.start`, method: http, path: `/upload${USER}${path}`, query: { uploadType: "resumable" }, when: IN_ONE_PIECE };
}
