/**
 * The Gmail API: messages sent, read and changed, recipients, and quota units (reference/connectors.md section 4). The
 * methods are in gmail-routes.ts; mail that goes by SMTP or IMAP is not seen here, nor is what arrives by push.
 */

import type { Handler } from "../../handler.ts";
import type { ConnectorDefinition } from "./definition.ts";
import type { QuotaTable } from "./gmail-routes.ts";
import { gmailHooks } from "./gmail/hooks.ts";
import { gmailRoutes, OWN_ROUTES } from "./gmail/routes.ts";
import { compileConnectors } from "./interpreter/compile-connectors.ts";

/** Date of the facts. */
const REVISION = "2026-11-22";

/** Google's clients ask at this one; browsers at the second. */
const OWN_HOSTS = ["gmail.googleapis.com", "content-gmail.googleapis.com"];

/** Other APIs of Google live here too. */
const SHARED_HOSTS = ["www.googleapis.com", "content.googleapis.com"];
const SHARED_PREFIXES = ["/gmail/v1/", "/upload/gmail/v1/", "/resumable/upload/gmail/v1/", "/batch/gmail/v1"];

/** What an operator may say of the account. */
export interface GmailOptions {
  /** Default "2026-05". Whether old projects have kept the units of before is not stated by Google. */
  readonly quotaTable?: QuotaTable | undefined;
}

export function createGmail({ quotaTable = "2026-05" }: GmailOptions = {}): Handler {
  return compileConnectors(gmailDefinitions(quotaTable));
}

/** Google's hosted MCP server: it calls the API on its own side, and the calls of its tools are all that is seen. */
const MCP: ConnectorDefinition = {
  id: "gmail",
  revision: REVISION,
  hosts: ["gmailmcp.googleapis.com"],
  routes: [
    { id: "mcp", method: "POST", path: "/mcp/v1", expand: "mcp", request: { parse: "json", maxBytes: 1024 * 1024 } },
    { id: "mcp.session", method: ["GET", "DELETE"], path: "/mcp/v1" },
  ],
  unmatched: "ignore",
};

/** The connector, uncompiled. */
export function gmailDefinitions(table: QuotaTable): readonly ConnectorDefinition[] {
  const shared: ConnectorDefinition = {
    id: "gmail",
    revision: REVISION,
    hosts: SHARED_HOSTS,
    pathPrefixes: SHARED_PREFIXES,
    // Where Google's discovery document has resumable uploads begin.
    aliases: [{ from: "/resumable/upload/gmail/v1", to: "/upload/gmail/v1" }],
    routes: gmailRoutes(table),
    hooks: gmailHooks(table),
  };
  return [{ id: shared.id, revision: REVISION, hosts: OWN_HOSTS, aliases: shared.aliases ?? [], routes: [...shared.routes, ...OWN_ROUTES], hooks: gmailHooks(table) }, shared, MCP];
}
