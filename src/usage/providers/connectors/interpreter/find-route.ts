/** Finds the route of an exchange in the definitions of its host. */

import { getHeader } from "../../../../flow/headers.ts";
import type { ExchangeInfo } from "../../../handler.ts";
import type { Route } from "../definition.ts";
import type { CompiledDefinition } from "./compiled.ts";
import { holdsOfRequest } from "./evaluate.ts";
import type { RequestEvidence } from "./evidence.ts";
import type { FoundRoute } from "./exchange.ts";
import { applyAliases, splitPath } from "./path-template.ts";

/** The route in the first definition whose prefixes the path has; undefined: nobody's, or ignored. */
export function findRoute(candidates: readonly CompiledDefinition[], exchange: ExchangeInfo): FoundRoute | undefined {
  const path = `/${splitPath(exchange.path).join("/")}`;
  const definition = candidates.find((candidate) => hasPrefix(candidate, path));
  return definition === undefined ? undefined : findInDefinition(definition, exchange);
}

/** Whether one of the definitions wants a path as sent. */
export function isOwn(candidates: readonly CompiledDefinition[], path: string): boolean {
  const decoded = `/${splitPath(path).join("/")}`;
  return candidates.some((candidate) => hasPrefix(candidate, decoded));
}

function hasPrefix({ definition: { pathPrefixes } }: CompiledDefinition, path: string): boolean {
  return pathPrefixes === undefined || pathPrefixes.some((prefix) => path.startsWith(prefix));
}

/** As findRoute, in one definition whatever its prefixes are. */
export function findInDefinition(definition: CompiledDefinition, exchange: ExchangeInfo): FoundRoute | undefined {
  const segments = applyAliases(splitPath(exchange.path), definition.aliases);
  const query = new URLSearchParams(exchange.query);
  const match = definition.table.find(exchange.method, segments, (route, params) => {
    const evidence: RequestEvidence = { params, query, requestHeader: (name) => getHeader(exchange.headers, name) };
    return hasQuery(route, query) && (route.when === undefined || holdsOfRequest(route.when, evidence) === true);
  });
  if (match !== undefined) return { definition, route: match.value, name: match.value.id, params: match.params, query };
  if (definition.unmatched === undefined) return undefined;
  return { definition, route: definition.unmatched, name: `${methodName(exchange.method)} ${definition.table.nameOf(segments)}`, params: {}, query };
}

function hasQuery({ query = {} }: Route, given: URLSearchParams): boolean {
  return Object.entries(query).every(([name, value]) => (value === true ? given.has(name) : given.get(name) === value));
}

/** Methods come from outside. */
function methodName(method: string): string {
  return /^[A-Z]{1,16}$/.test(method) ? method : "OTHER";
}
