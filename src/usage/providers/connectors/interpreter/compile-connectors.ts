/**
 * From definitions to a handler. Every fault of the definitions is found here, before the first exchange; at run time
 * a route is found by the tree, and one reader reads the exchange.
 */

import { createHostTable } from "../../../../flow/route.ts";
import type { HostTable } from "../../../../flow/route.ts";
import type { ExchangeInfo, Handler, OpenedExchange, ReaderContext } from "../../../handler.ts";
import type { ConnectorDefinition } from "../definition.ts";
import { compileDefinition } from "./compile-definition.ts";
import type { CompiledDefinition } from "./compiled.ts";
import { ConnectorDefinitionError } from "./definition-fault.ts";
import type { DefinitionFault } from "./definition-fault.ts";
import { ExchangeReader } from "./exchange-reader.ts";
import { Exchange } from "./exchange.ts";
import { findRoute, isOwn } from "./find-route.ts";
import { FramesReader, freeSocket } from "./frames-reader.ts";
import { createSeenIds } from "./seen-ids.ts";
import { createConnectorState } from "./state.ts";

export interface CompileOptions {
  /** Epoch milliseconds. Default Date.now. */
  readonly now?: () => number;
  /** Whether things that have ids are told apart: `<category>.unique` says how many were not counted before on the same UTC day. Default false. */
  readonly isDeduplicating?: boolean;
}

/**
 * Compiles the definitions of one connector (they share their id). Throws ConnectorDefinitionError with every fault.
 * A host that the operator bound to the connector and that no definition has is read by the first one.
 */
export function compileConnectors(definitions: readonly ConnectorDefinition[], options: CompileOptions = {}): Handler {
  const faults: DefinitionFault[] = [];
  const { now = Date.now, isDeduplicating = false } = options;
  const memory = { now, state: createConnectorState(now), unknownKeys: new Set<string>(), seenIds: isDeduplicating ? createSeenIds({ now }) : undefined };
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
    ownsPath: (host, port, path) => isOwn(table.lookup(host, port) ?? [], path),
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
  if (found === undefined) return { api: `${candidates[0]?.definition.id ?? ""}.other`, operation: "other", isBillable: false, reader: undefined, socket: freeSocket };
  const { route, name, definition } = found;
  const opened = { api: `${definition.definition.id}.${route.id}`, operation: name, isBillable: !route.isFree };
  if (exchange.protocol === "websocket") return { ...opened, reader: undefined, socket: route.isFree ? freeSocket : new FramesReader(new Exchange(found, exchange), context) };
  const isUnread = route.isFree || route.body === "frames";
  return { ...opened, reader: isUnread ? undefined : new ExchangeReader(new Exchange(found, exchange), context) };
}
