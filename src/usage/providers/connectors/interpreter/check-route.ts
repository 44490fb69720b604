/** Finds the faults of one route. Ties between routes are found by the table of them. */

import { MAX_REQUEST_BYTES } from "../definition.ts";
import type { ConnectorDefinition, Route } from "../definition.ts";
import { gatherWants, resolveMeters } from "./compile-route.ts";
import type { Wants } from "./compile-route.ts";
import { checkMeters, checkPath, usesOf } from "./check-meters.ts";
import type { ReportFault } from "./definition-fault.ts";
import { isDimName } from "./dims.ts";
import { parseTemplate } from "./path-template.ts";

export function checkRoute(route: Route, definition: ConnectorDefinition, report: ReportFault): void {
  if (!/^[\x21-\x7e](?:[\x20-\x7e]{0,98}[\x21-\x7e])?$/.test(route.id)) report("its id is not 1 to 100 printable characters");
  checkMethods(route, report);
  checkTemplates(route, report);
  checkNames(route, definition, report);
  checkMeters(route.meters ?? [], report);
  checkMeters(route.fallback ?? [], report);
  checkRequest(route, report);
  checkOperands(route, definition, report);
  checkBody(route, definition, report);
}

function checkMethods({ method }: Route, report: ReportFault): void {
  const methods = [method].flat();
  if (methods.length === 0) report("method is empty");
  for (const each of methods) if (each !== "*" && !/^[A-Z]{1,16}$/.test(each)) report(`method "${each}" is not upper case letters or "*"`);
}

function checkTemplates({ path }: Route, report: ReportFault): void {
  const paths = [path].flat();
  if (paths.length === 0) report("path is empty");
  for (const each of paths) {
    const segments = parseTemplate(each);
    if (typeof segments === "string") report(segments);
  }
}

function checkNames(route: Route, { shared = {}, hooks = {}, routes }: ConnectorDefinition, report: ReportFault): void {
  for (const used of usesOf(route.meters ?? [])) if (!Object.hasOwn(shared, used)) report(`use "${used}" names no shared meters`);
  if (route.hook !== undefined && !Object.hasOwn(hooks, route.hook)) report(`hook "${route.hook}" is not among the definition's hooks`);
  if (route.tools !== undefined && route.expand !== "mcp") report('tools needs expand "mcp"');
  for (const [tool, routeId] of Object.entries(route.tools ?? {})) {
    const target = routes.find(({ id }) => id === routeId);
    if (target === undefined) report(`tool "${tool}" is mapped to the route "${routeId}", which does not exist`);
    else if (target.expand !== undefined) report(`tool "${tool}" is mapped to the route "${routeId}", which holds further exchanges itself`);
  }
  for (const name of Object.keys(route.dims ?? {})) if (!isDimName(name)) report(`dim "${name}" is not lower case letters, digits and "_", beginning with a letter`);
}

function checkRequest({ request, expand }: Route, report: ReportFault): void {
  if (expand !== undefined && request === undefined) report(`expand "${expand}" needs request, to know what was asked`);
  if (request === undefined) return;
  const { maxBytes } = request;
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1 || maxBytes > MAX_REQUEST_BYTES) report(`request.maxBytes must be from 1 to ${MAX_REQUEST_BYTES}`);
}

/** What its parts look at, against what there is to look at. */
function checkOperands(route: Route, { shared = {}, hooks = {} }: ConnectorDefinition, report: ReportFault): void {
  const meters = resolveMeters(route.meters ?? [], shared);
  const success = route.success === undefined ? [] : [route.success];
  const probes = (route.hook === undefined ? undefined : hooks[route.hook])?.probes ?? [];
  const wants = gatherWants({ route, success, meters, fallback: route.fallback ?? [], probes });
  for (const path of [...wants.response, ...wants.request]) checkPath(path, report);
  if (wants.request.size > 0 && route.request === undefined) report(`asks for "${[...wants.request][0]}" of the request, and has no request`);
  if (wants.request.size > 0 && route.request?.parse === "raw") report('asks for a path of the request, which parse "raw" does not read');
  const names = parameterNames(route);
  for (const name of wants.parameters) if (!names.has(name)) report(`asks for the path parameter {${name}}, which not every one of its paths has`);
  if (route.when !== undefined) checkWhen(gatherWants({ route: { when: route.when } }), report);
  const hints = gatherWants({ fallback: route.fallback ?? [] });
  if (hints.response.size > 0 || hints.hasText) report("fallback looks at the response's body, which it stands in for");
}

/** It chooses the route before a byte of a body came. */
function checkWhen(wants: Wants, report: ReportFault): void {
  if (wants.response.size > 0 || wants.hasText || wants.hasResponseHead) report("when looks at the response, which comes later");
  if (wants.request.size > 0) report("when looks at the request's body, which comes later");
}

/** Parameters that each of its paths has. */
function parameterNames({ path }: Route): ReadonlySet<string> {
  const [first = new Set<string>(), ...others] = [path].flat().map((template) => {
    const segments = parseTemplate(template);
    return new Set(typeof segments === "string" ? [] : segments.flatMap((segment) => ("name" in segment ? [segment.name] : [])));
  });
  return new Set([...first].filter((name) => others.every((each) => each.has(name))));
}

/** Whether the body is read in a way that gives what is asked of it. */
function checkBody(route: Route, definition: ConnectorDefinition, report: ReportFault): void {
  const { body = "json", expand, hook: hookName } = route;
  const hook = hookName === undefined ? undefined : definition.hooks?.[hookName];
  const isFree = (route.meters ?? []).length === 0 && hookName === undefined && expand === undefined;
  const success = [expand === undefined ? definition.success : undefined, route.success].filter((predicate) => predicate !== undefined);
  const meters = resolveMeters(route.meters ?? [], definition.shared ?? {});
  const wants = gatherWants({ success: isFree ? [] : success, meters });
  const hasPaths = wants.response.size > 0 || meters.some((meter) => "each" in meter);
  if (wants.hasText && body !== "text") report(`asks for the body's text, and reads it as ${body}`);
  if (hasPaths && (body === "none" || body === "frames")) report(`looks into a body that it does not read (body "${body}")`);
  if (expand !== undefined && (hasPaths || wants.hasText)) report(`looks into a body that expand "${expand}" takes apart`);
  if (expand !== undefined && route.body !== undefined) report(`expand "${expand}" says how the body is read: leave body out`);
  if (body === "frames" && !isFree && hook !== undefined && hook.onFrame === undefined) report('body "frames" needs a hook with onFrame');
  if (body === "frames" && hookName === undefined) report('body "frames" needs a hook with onFrame');
  if (hook?.onFrame !== undefined && body !== "frames") report('its hook reads frames: body must be "frames"');
}
