/** Definitions out of JSON (TALLYMAN_CONNECTORS_FILE): one, or a list of them. No file is opened here. */

import type { Handler } from "../../../handler.ts";
import type { ConnectorDefinition } from "../definition.ts";
import { compileConnectors } from "./compile-connectors.ts";
import type { CompileOptions } from "./compile-connectors.ts";
import { ConnectorDefinitionError } from "./definition-fault.ts";
import type { DefinitionFault } from "./definition-fault.ts";
import { definitionSchema } from "./definition-schema.ts";

const MAX_DEFINITIONS = 100;

/** A handler for each id, in the order of the ids. Throws ConnectorDefinitionError with every fault in all of them. */
export function loadConnectors(json: unknown, options: CompileOptions = {}): readonly Handler[] {
  const faults: DefinitionFault[] = [];
  const documents: readonly unknown[] = Array.isArray(json) ? json : [json];
  if (documents.length > MAX_DEFINITIONS) faults.push({ connectorId: "the file", routeId: undefined, message: `has more than ${MAX_DEFINITIONS} definitions` });
  const byId = new Map<string, ConnectorDefinition[]>();
  for (const [at, document] of documents.slice(0, MAX_DEFINITIONS).entries()) {
    if (!isDefinition(document, `definition ${at + 1}`, faults)) continue;
    byId.set(document.id, [...(byId.get(document.id) ?? []), document]);
  }
  const handlers = Array.from(byId.values(), (definitions) => compiled(definitions, options, faults)).filter((handler) => handler !== undefined);
  if (faults.length > 0) throw new ConnectorDefinitionError(faults);
  return handlers;
}

function compiled(definitions: readonly ConnectorDefinition[], options: CompileOptions, faults: DefinitionFault[]): Handler | undefined {
  try {
    return compileConnectors(definitions, options);
  } catch (error) {
    if (!(error instanceof ConnectorDefinitionError)) throw error;
    faults.push(...error.faults);
    return undefined;
  }
}

/** Whether a document has the form of a definition. JSON has no `undefined`: what the schema lets out is left out. */
function isDefinition(document: unknown, name: string, faults: DefinitionFault[]): document is ConnectorDefinition {
  const { error } = definitionSchema.safeParse(document);
  if (error === undefined) return true;
  const connectorId = idOf(document) ?? name;
  for (const issue of error.issues) faults.push({ connectorId, routeId: routeIdOf(document, issue.path), message: `${placeOf(issue.path)}: ${issue.message}` });
  return false;
}

function idOf(document: unknown): string | undefined {
  return typeof document === "object" && document !== null && "id" in document && typeof document.id === "string" ? document.id.slice(0, 64) : undefined;
}

/** The route that a path into a document leads into. */
function routeIdOf(document: unknown, [first, at]: readonly PropertyKey[]): string | undefined {
  if (first !== "routes" || typeof at !== "number" || typeof document !== "object" || document === null || !("routes" in document)) return undefined;
  const { routes } = document;
  return Array.isArray(routes) ? idOf(routes[at]) : undefined;
}

function placeOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? "the definition" : path.map(String).join(".");
}
