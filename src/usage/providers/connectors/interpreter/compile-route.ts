/** Compiles one route: resolves what it names, gathers what is looked for in its bodies. Finds no faults: check-*.ts do. */

import { UNMATCHED_CATEGORY } from "../definition.ts";
import type { ConnectorDefinition, MapMeter, Meter, MeterLike, Path, Predicate, Route } from "../definition.ts";
import type { CompiledRoute } from "./compiled.ts";
import { isMapMeter } from "./compiled.ts";
import { visitExpr, visitPredicate } from "./operands.ts";
import type { OperandSink } from "./operands.ts";
import { parsePath, planProbes } from "./probe-plan.ts";
import type { IdSource } from "./probe-plan.ts";

/** `hasIds`: the ids of counted things are told. Looking for them, each element has to be entered: three times the work of stepping over it. */
export function compileRoute(route: Route, definition: ConnectorDefinition, hasIds = false): CompiledRoute {
  // What a batch or an MCP server answers has not the form of the API's own answers.
  const success = [route.expand === undefined ? definition.success : undefined, route.success].filter((predicate) => predicate !== undefined);
  const meters = resolveMeters(route.meters ?? [], definition.shared ?? {});
  const fallback = route.fallback ?? [];
  const hook = route.hook === undefined ? undefined : definition.hooks?.[route.hook];
  const isFree = meters.length === 0 && hook === undefined && route.expand === undefined;
  const wants = gatherWants({ route, success, meters, fallback, probes: hook?.probes ?? [] });
  const plan = once(() => planProbes({ paths: wants.response, maps: meters.filter(isMapMeter).map(({ each }) => each), ids: hasIds ? idSources(meters) : [] }));
  const requestPlan = once(() => planProbes({ paths: wants.request, maps: [], ids: [] }));
  return {
    id: route.id,
    route,
    success,
    meters,
    fallback,
    hook,
    body: route.body ?? "json",
    effect: route.effect ?? "by_method",
    get plan() {
      return plan();
    },
    get requestPlan() {
      return requestPlan();
    },
    isFree,
    needsRequest: !isFree && (route.request !== undefined || wants.hasRequestBytes),
  };
}

/** Plans are made when a route is first called: a connector has hundreds of routes, and a program calls a few. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** Stands for the paths that no route has: one per success. */
export function compileUnmatched(definition: ConnectorDefinition): CompiledRoute | undefined {
  if (definition.unmatched === "ignore") return undefined;
  const wants = gatherWants({ success: definition.success === undefined ? [] : [definition.success] });
  const body = wants.response.size > 0 ? "json" : wants.hasText ? "text" : "none";
  const route: Route = { id: "unmatched", method: "*", path: "/**", body, meters: [{ category: UNMATCHED_CATEGORY, count: 1 }] };
  return compileRoute(route, definition);
}

/** The meters with `use` resolved. A name that is unknown, or that leads to itself, gives none: a fault says so. */
export function resolveMeters(meters: readonly MeterLike[], shared: Readonly<Record<string, readonly MeterLike[]>>, above: readonly string[] = []): readonly (Meter | MapMeter)[] {
  return meters.flatMap((meter) => {
    if (!("use" in meter)) return [meter];
    const named = Object.hasOwn(shared, meter.use) && !above.includes(meter.use) ? shared[meter.use] : undefined;
    return named === undefined ? [] : resolveMeters(named, shared, [...above, meter.use]);
  });
}

/** What a route looks at. */
export interface Wants {
  readonly response: Set<Path>;
  readonly request: Set<Path>;
  hasText: boolean;
  hasRequestBytes: boolean;
  hasResponseHead: boolean;
  readonly parameters: Set<string>;
}

interface WantParts {
  readonly route?: Pick<Route, "dims" | "when">;
  readonly success?: readonly Predicate[];
  readonly meters?: readonly (Meter | MapMeter)[];
  readonly fallback?: readonly Meter[];
  readonly probes?: readonly Path[];
}

export function gatherWants({ route = {}, success = [], meters = [], fallback = [], probes = [] }: WantParts): Wants {
  const wants: Wants = { response: new Set(probes), request: new Set(), hasText: false, hasRequestBytes: false, hasResponseHead: false, parameters: new Set() };
  const sink = sinkOf(wants);
  for (const predicate of success) visitPredicate(predicate, sink);
  for (const meter of [...meters, ...fallback]) {
    if (isMapMeter(meter)) continue;
    visitExpr(meter.count, sink);
    if (meter.when !== undefined) visitPredicate(meter.when, sink);
    if (typeof meter.estimated === "object") visitPredicate(meter.estimated, sink);
    if (meter.cumulative !== undefined) sink.response(meter.cumulative.key);
  }
  for (const dim of Object.values(route.dims ?? {})) {
    if ("path" in dim) sink.response(dim.path);
    else if ("req" in dim) sink.request(dim.req);
    else if ("is" in dim) visitPredicate(dim.is, sink);
    else if ("header" in dim) sink.responseHead();
  }
  if (route.when !== undefined) visitPredicate(route.when, sink);
  return wants;
}

function sinkOf(wants: Wants): OperandSink {
  return {
    response: (path) => void wants.response.add(path),
    request: (path) => void wants.request.add(path),
    text: () => {
      wants.hasText = true;
    },
    requestBytes: () => {
      wants.hasRequestBytes = true;
    },
    parameter: (name) => void wants.parameters.add(name),
    responseHead: () => {
      wants.hasResponseHead = true;
    },
  };
}

/** Where the ids of counted elements stand. Of a map: below each of its keys, in the elements. */
function idSources(meters: readonly (Meter | MapMeter)[]): readonly IdSource[] {
  return meters.flatMap((meter): readonly IdSource[] => {
    if (meter.ids === undefined) return [];
    if (!isMapMeter(meter)) return [{ path: meter.ids, mapDepth: undefined }];
    const prefix = meter.each === "" ? "" : `${meter.each}.`;
    return [{ path: `${prefix}*.*.${meter.ids}`, mapDepth: parsePath(meter.each).length }];
  });
}
