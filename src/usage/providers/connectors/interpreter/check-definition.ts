/** Finds the faults of a definition that are not of one route, and sends each route to its own check. */

import { hostPatternFault } from "../../../../flow/route.ts";
import type { ConnectorDefinition } from "../definition.ts";
import { gatherWants } from "./compile-route.ts";
import { checkMeters, usesOf } from "./check-meters.ts";
import { checkRoute } from "./check-route.ts";
import type { ReportFault } from "./definition-fault.ts";

const ID = /^[a-z][a-z0-9_-]{0,31}$/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** `report` takes the route's id, or undefined. */
export function checkDefinition(definition: ConnectorDefinition, report: (routeId: string | undefined, message: string) => void): void {
  const own: ReportFault = (message) => report(undefined, message);
  if (!ID.test(definition.id)) own(`id "${definition.id}" is not lower case letters, digits, "_" and "-", at most 32`);
  if (!DATE.test(definition.revision)) own(`revision "${definition.revision}" is not a date (2026-11-22)`);
  if (definition.hosts.length === 0) own("hosts is empty");
  for (const host of [...definition.hosts, ...(definition.exceptHosts ?? [])]) {
    const fault = hostPatternFault(host);
    if (fault !== undefined) own(`host "${host}" ${fault}`);
  }
  for (const prefix of definition.pathPrefixes ?? []) if (!prefix.startsWith("/")) own(`pathPrefixes: "${prefix}" does not begin with "/"`);
  for (const { from, to } of definition.aliases ?? []) {
    for (const path of [from, to]) if (!/^\/[^{}*?#]+$/.test(path)) own(`aliases: "${path}" is not a path of literals`);
  }
  checkSuccess(definition, own);
  checkShared(definition, own);
  checkRoutes(definition, report);
}

function checkRoutes(definition: ConnectorDefinition, report: (routeId: string | undefined, message: string) => void): void {
  const ids = new Set<string>();
  if (definition.routes.length === 0) report(undefined, "routes is empty");
  for (const route of definition.routes) {
    if (ids.has(route.id)) report(route.id, "there are two routes of this id");
    ids.add(route.id);
    checkRoute(route, definition, (message) => report(route.id, message));
  }
}

/** It is asked of every route, whatever that keeps of its request. */
function checkSuccess({ success }: ConnectorDefinition, report: ReportFault): void {
  if (success === undefined) return;
  const wants = gatherWants({ success: [success] });
  if (wants.request.size > 0) report("success asks for the request's body, which not every route keeps: say it in the routes");
  if (wants.parameters.size > 0) report("success asks for a path parameter, which not every route has: say it in the routes");
}

function checkShared({ shared = {} }: ConnectorDefinition, report: ReportFault): void {
  for (const [name, meters] of Object.entries(shared)) {
    const named: ReportFault = (message) => report(`shared ${name}: ${message}`);
    checkMeters(meters, named);
    for (const used of usesOf(meters)) {
      if (!Object.hasOwn(shared, used)) named(`use "${used}" names no shared meters`);
      else if (leadsTo(used, name, shared)) named(`use "${used}" leads back to ${name}`);
    }
  }
}

function leadsTo(from: string, to: string, shared: NonNullable<ConnectorDefinition["shared"]>, seen = new Set<string>()): boolean {
  if (from === to) return true;
  if (seen.has(from) || !Object.hasOwn(shared, from)) return false;
  seen.add(from);
  return usesOf(shared[from] ?? []).some((used) => leadsTo(used, to, shared, seen));
}
