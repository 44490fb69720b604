/**
 * Slack: Web API, files, webhooks, Socket Mode and the hosted MCP server. Source: reference/connectors.md section 3.
 * Slack charges nothing per call: its counts serve budgets and audit, and have no price. Paths of hooks.slack.com,
 * files.slack.com and the socket hosts hold secrets and file names: the routes there cover every path, so that none of
 * them is ever made into a route's name.
 */

import type { Handler } from "../../handler.ts";
import type { ConnectorDefinition, Meter, Predicate, Route } from "./definition.ts";
import { UNMATCHED_CATEGORY } from "./definition.ts";
import { compileConnectors, type CompileOptions } from "./interpreter/compile-connectors.ts";
import { METHOD_ROWS, UPLOAD_METHODS } from "./slack-routes.ts";
import type { MethodRow } from "./slack-routes.ts";
import { countTargets, KEPT_ARGUMENT_BYTES } from "./slack/arguments.ts";
import { KEPT_UPLOAD_BYTES } from "./slack/payload-bytes.ts";
import { socketMode } from "./slack/socket.ts";
import { announceUpload, completeUpload, sendUpload } from "./slack/upload.ts";
import { incomingWebhook, responseUrl } from "./slack/webhooks.ts";

/** Errors come with status 200 too (section 3.2). */
const IS_OK: Predicate = { eq: ["ok", true] };

/** The one answer without `ok`: lines of JSON in a gzip file, no document. */
const ANALYTICS_METHOD = "admin.analytics.getFile";
const IS_ANALYTICS_FILE: Predicate = { contentType: "application/gzip" };

/** Methods whose arguments say how many are meant. */
const METHODS_WITH_TARGETS = new Set(["conversations.invite"]);

const facts = { id: "slack", revision: "2026-11-22" };

const webApi: ConnectorDefinition = {
  ...facts,
  hosts: ["slack.com", "*.slack.com", "slack-gov.com", "*.slack-gov.com"],
  // What Slack's own client talks to.
  exceptHosts: ["app.slack.com", "edgeapi.slack.com", "app.slack-gov.com", "edgeapi.slack-gov.com"],
  pathPrefixes: ["/api/"],
  success: { any: [IS_OK, IS_ANALYTICS_FILE] },
  routes: [...METHOD_ROWS.flatMap(routesOf), ...uploadRoutes(), apiRoute("other", "{method}", [one("requests.other")])],
  hooks: { announceUpload, completeUpload, countTargets },
};

const files: ConnectorDefinition = {
  ...facts,
  hosts: ["files.slack.com", "files.slack-gov.com"],
  routes: [
    {
      id: "files.upload.bytes",
      method: ["POST", "PUT"],
      path: "/upload/v1/**",
      body: "none",
      success: { status: [200, 200] },
      request: { parse: "raw", maxBytes: KEPT_UPLOAD_BYTES },
      hook: "sendUpload",
    },
    {
      id: "files.download",
      method: "GET",
      path: ["/files-pri/**", "/files-tmb/**"],
      body: "none",
      // The page that asks to log in comes with status 200 (section 3.4).
      success: { not: { contentType: "text/html" } },
      meters: [
        { category: "files.download_bytes", count: { bytes: "response" } },
        { category: "files.downloaded", count: 1, when: { status: [200, 200] } },
      ],
    },
    { id: "files.head", method: "HEAD", path: ["/files-pri/**", "/files-tmb/**"], body: "none" },
    unmatchedRoute("files.other"),
  ],
  hooks: { sendUpload },
};

const webhooks: ConnectorDefinition = {
  ...facts,
  hosts: ["hooks.slack.com", "hooks.slack-gov.com"],
  success: { any: [{ text: "ok" }, IS_OK] },
  routes: [
    { id: "webhooks.post", method: "POST", path: "/services/**", body: "text", hook: "incomingWebhook" },
    { id: "workflows.trigger", method: "POST", path: ["/triggers/**", "/workflows/**"], body: "text", meters: [one("workflows.triggered")] },
    {
      id: "response_urls.post",
      method: "POST",
      path: ["/actions/**", "/commands/**"],
      body: "text",
      request: { maxBytes: KEPT_ARGUMENT_BYTES },
      hook: "responseUrl",
    },
    { ...unmatchedRoute("webhooks.other"), body: "text" },
  ],
  hooks: { incomingWebhook, responseUrl },
};

const sockets: ConnectorDefinition = {
  ...facts,
  hosts: ["wss-primary.slack.com", "wss-backup.slack.com", "*.lb.slack.com", "wss-primary.slack-gov.com", "wss-backup.slack-gov.com", "*.lb.slack-gov.com"],
  routes: [{ id: "socket", method: "*", path: "/**", body: "frames", hook: "socketMode" }],
  hooks: { socketMode },
};

const mcp: ConnectorDefinition = {
  ...facts,
  hosts: ["mcp.slack.com"],
  pathPrefixes: ["/mcp"],
  routes: [{ id: "mcp", method: "POST", path: "/mcp", expand: "mcp", request: { parse: "json", maxBytes: KEPT_ARGUMENT_BYTES } }],
  unmatched: "ignore",
};

export const slackDefinitions: readonly ConnectorDefinition[] = [webApi, files, webhooks, sockets, mcp];

/** Makes the handler, with a memory of its own (uploads and slash commands under way). */
export function createSlack(options: CompileOptions = {}): Handler {
  return compileConnectors(slackDefinitions, options);
}

function routesOf(row: MethodRow): readonly Route[] {
  const meters = row.category === undefined ? [] : [{ category: row.category, count: row.count }, ...(row.also ?? [])];
  return row.methods.split(/\s+/).map((method) => ({
    ...apiRoute(method, method, meters),
    effect: row.effect,
    ...(method === ANALYTICS_METHOD ? { body: "text" as const } : {}),
    ...(METHODS_WITH_TARGETS.has(method) ? { request: { maxBytes: KEPT_ARGUMENT_BYTES }, hook: "countTargets" } : {}),
  }));
}

function uploadRoutes(): readonly Route[] {
  const request = { maxBytes: KEPT_ARGUMENT_BYTES };
  return [
    { ...apiRoute(UPLOAD_METHODS.announce, UPLOAD_METHODS.announce, []), effect: "read", request, hook: "announceUpload" },
    { ...apiRoute(UPLOAD_METHODS.complete, UPLOAD_METHODS.complete, []), effect: "write", request, hook: "completeUpload" },
  ];
}

/** Any HTTP method: arguments may come in the query as well as in a body. */
function apiRoute(id: string, method: string, meters: readonly Meter[]): Route {
  return { id, method: "*", path: `/api/${method}`, meters, dims: { error: { path: "error" } } };
}

function unmatchedRoute(id: string): Route {
  return { id, method: "*", path: "/**", body: "none", meters: [one(UNMATCHED_CATEGORY)] };
}

function one(category: string): Meter {
  return { category, count: 1 };
}
