/** Compiles one definition. Its faults are added to a list; what has a fault is compiled as far as it goes. */

import type { ConnectorDefinition, ConnectorState, Route } from "../definition.ts";
import { checkDefinition } from "./check-definition.ts";
import { compileRoute, compileUnmatched } from "./compile-route.ts";
import type { CompiledDefinition, CompiledRoute } from "./compiled.ts";
import type { DefinitionFault } from "./definition-fault.ts";
import { compileAlias, parseTemplate } from "./path-template.ts";
import { createRouteTable } from "./route-table.ts";
import type { RouteEntry } from "./route-table.ts";
import type { SeenIds } from "./seen-ids.ts";

/** What the definitions of one connector share. */
export interface ConnectorMemory {
  readonly state: ConnectorState;
  readonly unknownKeys: Set<string>;
  readonly seenIds: SeenIds | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

export function compileDefinition(definition: ConnectorDefinition, memory: ConnectorMemory, faults: DefinitionFault[]): CompiledDefinition {
  const report = (routeId: string | undefined, message: string): void => void faults.push({ connectorId: definition.id, routeId, message });
  checkDefinition(definition, report);
  const routes = new Map<string, CompiledRoute>();
  const entries: RouteEntry<CompiledRoute>[] = [];
  for (const route of definition.routes) {
    const compiled = compileRoute(route, definition, memory.seenIds !== undefined);
    routes.set(route.id, compiled);
    for (const entry of entriesOf(route, compiled)) entries.push(entry);
  }
  const table = createRouteTable(entries);
  for (const [first, second] of table.ties) report(second, `nothing decides between it and ${first}: equal path, a method in common, no condition that excludes the other`);
  return {
    definition,
    aliases: (definition.aliases ?? []).map(compileAlias),
    table,
    routes,
    unmatched: compileUnmatched(definition),
    ...memory,
  };
}

function entriesOf(route: Route, value: CompiledRoute): readonly RouteEntry<CompiledRoute>[] {
  const methods = typeof route.method === "string" ? [route.method] : route.method;
  const paths = typeof route.path === "string" ? [route.path] : route.path;
  return paths.flatMap((path) => {
    const segments = parseTemplate(path);
    // A template with a fault is told by the check.
    return typeof segments === "string" ? [] : [{ route, methods, segments, value }];
  });
}
