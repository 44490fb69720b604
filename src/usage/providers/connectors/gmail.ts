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

/** The connector. Whether old projects have kept the units of the legacy table is not stated by Google: the operator says. */
export function createGmail(table: QuotaTable = "2026-05"): Handler {
  return compileConnectors(gmailDefinitions(table));
}

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
  return [{ id: shared.id, revision: REVISION, hosts: OWN_HOSTS, aliases: shared.aliases ?? [], routes: [...shared.routes, ...OWN_ROUTES], hooks: gmailHooks(table) }, shared];
}
