/** The X API in the language of connectors: the rows of x-routes.ts, and the routes that rows cannot say. */

import type { ConnectorDefinition, Expr, Meter, MeterLike, Predicate, Route } from "../definition.ts";
import { X_ROWS } from "../x-routes.ts";
import type { LinesRow, ResourcesRow, XRow } from "../x-routes.ts";
import { activityEventHook } from "./activity.ts";
import { includesMeters } from "./includes.ts";
import { MAX_COMMAND_BYTES, mediaCommandHook, UPLOAD_BYTES } from "./media-command.ts";
import type { XOptions } from "./options.ts";
import { MAX_POST_BYTES, postCreateHook } from "./post.ts";

/** Media downloads (twimg.com), the retired v1.1 streams and the Ads API have no price here: they are tunnelled. */
const HOSTS = ["api.x.com", "api.twitter.com", "upload.x.com", "upload.twitter.com"];

/** An answer of only errors returned nothing: X bills successful requests that return data. */
const NOT_ONLY_ERRORS: Predicate = { not: { all: [{ has: "errors" }, { not: { has: "data" } }] } };

/** Ids in one lookup. */
const MAX_LISTED = 100;

/** JSON-RPC calls that are kept; a longer one is counted without its tool. */
const MAX_MCP_BYTES = 1024 * 1024;

export function defineX({ ownerUserId, urlRule = "text", includes = "all" }: XOptions = {}): ConnectorDefinition {
  return {
    id: "x",
    revision: "2026-11-22",
    hosts: HOSTS,
    // X renames tweets to posts; its paths are likely to follow (reference/connectors.md section 2.1).
    aliases: [{ from: "/2/posts", to: "/2/tweets" }],
    routes: [...X_ROWS.map((row) => routeOf(row, { ownerUserId, includes })), ...MEDIA_ROUTES, ...mcpRoutes()],
    hooks: { "x.postCreate": postCreateHook(urlRule), "x.mediaCommand": mediaCommandHook, "x.activityEvent": activityEventHook },
  };
}

type Choices = Pick<XOptions, "ownerUserId"> & { readonly includes: NonNullable<XOptions["includes"]> };

function routeOf(row: XRow, choices: Choices): Route {
  const base = { id: row.id, method: row.methods, path: row.paths };
  switch (row.rule) {
    case "free":
      return base;
    case "request":
      return row.hook === undefined ? { ...base, success: NOT_ONLY_ERRORS, meters: [{ category: row.category, count: 1 }] } : hookedRoute(base, row.hook);
    case "resources":
      return { ...base, success: NOT_ONLY_ERRORS, meters: resourceMeters(row, choices), fallback: fallbackOf(row, choices) };
    case "lines":
      return {
        ...base,
        body: "ndjson",
        meters: [lineMeter(row), ...includesMeters(row.category, choices.includes)],
        ...(row.hook === undefined ? {} : { hook: row.hook }),
      };
    default:
      return row satisfies never;
  }
}

function hookedRoute(base: Pick<Route, "id" | "method" | "path">, hook: string): Route {
  return hook === "x.postCreate"
    ? { ...base, success: { has: "data.id" }, request: { parse: "json", maxBytes: MAX_POST_BYTES }, hook }
    : { ...base, success: NOT_ONLY_ERRORS, request: { parse: "auto", maxBytes: MAX_COMMAND_BYTES }, hook };
}

function resourceMeters({ category, idField = "id", isOwnable }: ResourcesRow, { ownerUserId, includes }: Choices): readonly MeterLike[] {
  const own: Meter = { category, count: { len: "data" }, ...(idField === "none" ? {} : { ids: `data.*.${idField}` }) };
  return [...split(own, isOwnable === true ? ownerUserId : undefined), ...includesMeters(category, includes)];
}

/** An owner's own lists count as such, others by their category. */
function split(meter: Meter, ownerUserId: string | undefined): readonly Meter[] {
  if (ownerUserId === undefined) return [meter];
  const isOwner: Predicate = { paramEq: ["id", ownerUserId] };
  return [{ ...meter, when: { not: isOwner } }, { ...meter, category: "owned_reads", when: isOwner }];
}

/** What was asked for, where the answer cannot be read (reference/connectors.md section 2.4): a list of ids, a page, or one. */
function fallbackOf({ category, listedIn, page, isOwnable }: ResourcesRow, { ownerUserId }: Choices): readonly Meter[] {
  const count: Expr = page === undefined ? 1 : { within: [{ query: "max_results" }, ...page] };
  const owner = isOwnable === true ? ownerUserId : undefined;
  if (listedIn === undefined) return split({ category, count }, owner);
  const isListed: Predicate = { queryHas: listedIn };
  return [
    { category, count: { within: [{ csv: listedIn }, 1, MAX_LISTED] }, when: isListed },
    { category, count, when: { not: isListed } },
  ];
}

function lineMeter({ category, idField = "id" }: LinesRow): Meter {
  return { category, count: { len: "data" }, ...(idField === "none" ? {} : { ids: "data.id" }) };
}

/** Files go up and come down: their bytes count, and no body of theirs is read. */
const MEDIA_ROUTES: readonly Route[] = [
  {
    id: "media.append",
    method: "POST",
    path: ["/2/media/upload/{id}/append", "/2/chat/media/upload/{id}/append"],
    body: "none",
    meters: [{ category: UPLOAD_BYTES, count: { bytes: "request" } }],
  },
  {
    id: "media.download",
    method: "GET",
    path: ["/2/dm_conversations/media/{dm_id}/{media_id}/{resource_id}", "/2/chat/media/{id}/{media_hash_key}"],
    body: "none",
    meters: [
      { category: "media.downloaded", count: 1 },
      { category: "media.downloaded_bytes", count: { bytes: "response" } },
    ],
  },
  { ...hookedRoute({ id: "media.upload_v1", method: "POST", path: "/1.1/media/upload.json" }, "x.mediaCommand") },
  { id: "media.status_v1", method: "GET", path: "/1.1/media/upload.json" },
  {
    id: "media.metadata_v1",
    method: "POST",
    path: ["/1.1/media/metadata/create.json", "/1.1/media/subtitles/create.json", "/1.1/media/subtitles/delete.json"],
    body: "none",
    meters: [{ category: "media.metadata", count: 1 }],
  },
];

/** X's hosted MCP server: its tools call the routes at their price (reference/connectors.md section 1.1). */
function mcpRoutes(): readonly Route[] {
  const tools = X_ROWS.flatMap(({ id, tools: names = [] }) => names.map((name) => [name, id] as const));
  return [
    { id: "mcp", method: "POST", path: "/mcp", request: { parse: "json", maxBytes: MAX_MCP_BYTES }, expand: "mcp", tools: Object.fromEntries(tools) },
    { id: "mcp.session", method: ["GET", "DELETE"], path: "/mcp" },
  ];
}
