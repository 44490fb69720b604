/** What a definition becomes when it is compiled: everything that can be known before the first exchange. */

import type { ConnectorDefinition, ConnectorState, Hook, MapMeter, Meter, Predicate, Route } from "../definition.ts";
import type { CompiledAlias } from "./path-template.ts";
import type { ProbePlan } from "./probe-plan.ts";
import type { RouteTable } from "./route-table.ts";
import type { SeenIds } from "./seen-ids.ts";

export interface CompiledRoute {
  readonly id: string;
  readonly route: Route;
  /** The predicates of the definition and of the route. */
  readonly success: readonly Predicate[];
  /** `use` resolved. */
  readonly meters: readonly (Meter | MapMeter)[];
  readonly fallback: readonly Meter[];
  readonly hook: Hook | undefined;
  readonly body: NonNullable<Route["body"]>;
  readonly effect: "read" | "write" | "by_method";
  /** Looked for in the response, and in the request. */
  readonly plan: ProbePlan;
  readonly requestPlan: ProbePlan;
  /** Nothing of it is read: it costs nothing. */
  readonly isFree: boolean;
  /** Something looks at the request's body or its size. */
  readonly needsRequest: boolean;
}

export interface CompiledDefinition {
  readonly definition: ConnectorDefinition;
  readonly aliases: readonly CompiledAlias[];
  readonly table: RouteTable<CompiledRoute>;
  readonly routes: ReadonlyMap<string, CompiledRoute>;
  /** Stands for every path that no route has; undefined: they are ignored. */
  readonly unmatched: CompiledRoute | undefined;
  readonly state: ConnectorState;
  /** Keys of map meters that no map names, of all exchanges. */
  readonly unknownKeys: Set<string>;
  /** undefined: things are not told apart. */
  readonly seenIds: SeenIds | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

export function isMapMeter(meter: Meter | MapMeter): meter is MapMeter {
  return "each" in meter;
}
