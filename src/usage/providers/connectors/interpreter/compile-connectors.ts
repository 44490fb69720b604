/**
 * From definitions to a handler. Every fault of the definitions is found here, before the first exchange; at run time
 * a route is found by the tree, and one reader reads the exchange.
 */

import { getHeader } from "../../../../flow/headers.ts";
import { createHostTable } from "../../../../flow/route.ts";
import type { HostTable } from "../../../../flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../../../handler.ts";
import type { ConnectorDefinition, Route } from "../definition.ts";
import { compileDefinition } from "./compile-definition.ts";
import type { CompiledDefinition } from "./compiled.ts";
import { ConnectorDefinitionError } from "./definition-fault.ts";
import type { DefinitionFault } from "./definition-fault.ts";
import { holdsOfRequest } from "./evaluate.ts";
import type { RequestEvidence } from "./evidence.ts";
import { ExchangeReader } from "./exchange-reader.ts";
import { Exchange } from "./exchange.ts";
import type { FoundRoute } from "./exchange.ts";
import { applyAliases, splitPath } from "./path-template.ts";
import { createConnectorState } from "./state.ts";

export interface CompileOptions {
  /** Epoch milliseconds. Default Date.now. */
  readonly now?: () => number;
}

/**
 * Compiles the definitions of one connector (they share their id). Throws ConnectorDefinitionError with every fault.
 * A host that the operator bound to the connector and that no definition has is read by the first one.
 */
export function compileConnectors(definitions: readonly ConnectorDefinition[], options: CompileOptions = {}): Handler {
  const faults: DefinitionFault[] = [];
  const { now = Date.now } = options;
  const memory = { now, state: createConnectorState(now) };
  const compiled = definitions.map((definition) => compileDefinition(definition, memory, faults));
  const id = definitions[0]?.id ?? "";
  for (const other of definitions) {
    if (other.id !== id) faults.push({ connectorId: other.id, routeId: undefined, message: `is compiled together with "${id}", whose id it must share` });
  }
  if (definitions.length === 0) faults.push({ connectorId: id, routeId: undefined, message: "has no definition" });
  if (faults.length > 0) throw new ConnectorDefinitionError(faults);
  const table = tableOf(compiled);
  return {
    id,
    kind: "connector",
    hosts: [...new Set(definitions.flatMap(({ hosts }) => hosts))],
    exceptHosts: [...new Set(definitions.flatMap(({ exceptHosts = [] }) => exceptHosts))],
    open: (exchange, context) => openExchange(table.lookup(exchange.host, exchange.port) ?? compiled.slice(0, 1), exchange, context),
  };
}

/** The definitions of a host pattern, in their order. */
function tableOf(compiled: readonly CompiledDefinition[]): HostTable<readonly CompiledDefinition[]> {
  const byPattern = new Map<string, CompiledDefinition[]>();
  for (const each of compiled) {
    for (const pattern of each.definition.hosts) {
      const key = pattern.toLowerCase();
      byPattern.set(key, [...(byPattern.get(key) ?? []), each]);
    }
  }
  return createHostTable([...byPattern]);
}

function openExchange(candidates: readonly CompiledDefinition[], exchange: ExchangeInfo, context: ReaderContext): OpenedExchange {
  const found = findRoute(candidates, exchange);
  if (found === undefined) return { api: `${candidates[0]?.definition.id ?? ""}.other`, operation: "other", isBillable: false, reader: undefined };
  const { route, name, definition } = found;
  const api = `${definition.definition.id}.${route.id}`;
  if (route.isFree) return { api, operation: name, isBillable: false, reader: undefined };
  return { api, operation: name, isBillable: true, reader: new ExchangeReader(new Exchange(found, exchange), context) };
}

/** The route in the first definition whose prefixes the path has; undefined: nobody's, or ignored. */
function findRoute(candidates: readonly CompiledDefinition[], exchange: ExchangeInfo): FoundRoute | undefined {
  const sent = splitPath(exchange.path);
  const path = `/${sent.join("/")}`;
  const definition = candidates.find(({ definition: { pathPrefixes } }) => pathPrefixes === undefined || pathPrefixes.some((prefix) => path.startsWith(prefix)));
  if (definition === undefined) return undefined;
  const segments = applyAliases(sent, definition.aliases);
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
