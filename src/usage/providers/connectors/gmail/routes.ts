/** Makes the routes of the Gmail API out of its table of methods: paths, conditions of success, quota units, uploads. */

import { GMAIL_METHODS } from "../gmail-routes.ts";
import type { GmailMethod, QuotaTable } from "../gmail-routes.ts";
import { MAX_REQUEST_BYTES } from "../definition.ts";
import type { Dim, Meter, Predicate, RequestBodyRule, Route } from "../definition.ts";
import { MAX_KEPT_BYTES } from "./sent-message.ts";

export const QUOTA_CATEGORY = "quota_units";

/** Ids of the routes of a resumable upload: its start, which costs nothing, and its data. */
export const SESSION_SUFFIX = ".session";
export const RESUMABLE_SUFFIX = ".resumable";

const USER = "/gmail/v1/users/{userId}";

/** What a failed call says of itself. */
const DIMS: Readonly<Record<string, Dim>> = { error_reason: { path: "error.errors.*.reason" } };

/** Every route that is the same on each host, with the units of one table. */
export function gmailRoutes(table: QuotaTable): readonly Route[] {
  return [
    ...GMAIL_METHODS.flatMap((method) => [callRoute(method, table), ...(method.isUpload === true ? resumableRoutes(method) : [])]),
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
  const { id, http, path, category, count, further = [] } = method;
  const units: Meter = { category: QUOTA_CATEGORY, count: unitsOf(method, table), ...(method.areUnitsGuessed === true ? { estimated: true } : {}) };
  const constant: readonly Meter[] = typeof count === "number" ? [{ category, count }, units] : [units];
  const request = requestRule(method);
  return {
    id,
    method: http,
    path: method.isUpload === true ? [USER + path, `/upload${USER}${path}`] : USER + path,
    ...(method.probed === undefined ? { body: "none" } : { fallback: constant }),
    ...(request === undefined ? {} : { request }),
    ...(method.carries === "message" ? { success: SENT } : {}),
    meters: [{ category, count }, ...further, units],
    hook: method.carries ?? "call",
    dims: { ...DIMS, ...method.dims },
  };
}

/** The message has an id. Where `fields` or `alt` may keep it out of the answer, the status has to do. */
const SENT: Predicate = { any: [{ has: "id" }, { queryHas: "fields" }, { queryEq: ["alt", "media"] }, { queryEq: ["alt", "proto"] }] };

function requestRule({ carries, requestBytes }: GmailMethod): RequestBodyRule | undefined {
  if (carries !== undefined) return { parse: "raw", maxBytes: MAX_KEPT_BYTES };
  return requestBytes === undefined ? undefined : { parse: "json", maxBytes: requestBytes };
}

/** An upload in pieces: the answer to its start is a success without a message, and so may the answer to a piece be. */
function resumableRoutes({ id, http, path, carries }: GmailMethod): readonly Route[] {
  const upload = `/upload${USER}${path}`;
  return [
    { id: id + SESSION_SUFFIX, method: http, path: upload, query: { uploadType: "resumable" } },
    {
      id: id + RESUMABLE_SUFFIX,
      method: "PUT",
      path: upload,
      query: { uploadType: "resumable", upload_id: true },
      success: { has: "id" },
      ...(carries === undefined ? {} : { request: { parse: "raw", maxBytes: MAX_KEPT_BYTES } }),
      hook: "resumable",
      dims: DIMS,
    },
  ];
}
