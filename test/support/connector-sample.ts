/**
 * Makes up an exchange for a route of a definition: a request that the route should be found for, a success in which
 * everything that its meters look at stands (arrays of two elements, the number 3), and the counts of that where they
 * can be told without running the interpreter.
 */

import type { ConnectorUsage } from "../../src/usage/categories.ts";
import type { ConnectorDefinition, MapMeter, Meter, MeterLike, Predicate, Route } from "../../src/usage/providers/connectors/definition.ts";

/** What a test says itself where the made-up exchange does not fit. */
export interface SampleOverride {
  readonly target?: string;
  readonly host?: string;
  /** Name and value alternating; added to those that were made up. */
  readonly headers?: readonly string[];
  readonly requestBody?: string;
  readonly status?: number;
  readonly responseHeaders?: readonly string[];
  readonly body?: string;
  /** Counts of the success. */
  readonly usage?: ConnectorUsage;
}

export interface Sample {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly string[];
  readonly requestBody: string;
  readonly response: { readonly status: number; readonly statusText: string; readonly headers: readonly string[]; readonly body: string };
  /** undefined: cannot be told here. */
  readonly usage: ConnectorUsage | undefined;
}

type Tree = { [key: string]: unknown };

export const SAMPLE_PARAMETER = "p7";

/** The sample of one path of a route. */
export function sampleOf(definition: ConnectorDefinition, route: Route, path: string, override: SampleOverride = {}): Sample {
  const response: Draft = { status: 200, headers: [], tree: {}, isExact: true, text: "ok", query: new URLSearchParams(), requestHeaders: [], params: {}, request: {} };
  for (const predicate of [definition.success, route.success, route.when]) if (predicate !== undefined) satisfy(predicate, response);
  for (const [name, value] of Object.entries(route.query ?? {})) response.query.set(name, value === true ? "1" : value);
  const meters = resolve(route.meters ?? [], definition);
  for (const meter of meters) if (!("each" in meter)) addOperands(meter, response);
  for (const meter of meters) if ("each" in meter) addMap(meter, response);
  const isJson = route.body === undefined || route.body === "json";
  const query = response.query.toString();
  const template = path.replace("/**", `/${SAMPLE_PARAMETER}/rest`);
  const filled = template.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => response.params[name] ?? SAMPLE_PARAMETER);
  const host = override.host ?? definition.hosts[0]?.replace(/^\*\./, "w.") ?? "h";
  return {
    method: methodOf(route),
    target: override.target ?? `${filled}${query === "" ? "" : `?${query}`}`,
    headers: ["host", host, "content-type", "application/json", ...response.requestHeaders, ...(override.headers ?? [])],
    requestBody: override.requestBody ?? (route.request === undefined ? "" : JSON.stringify(response.request)),
    response: {
      status: override.status ?? response.status,
      statusText: "",
      headers: [...response.headers, ...(response.headers.includes("content-type") ? [] : ["content-type", "application/json"]), ...(override.responseHeaders ?? [])],
      body: override.body ?? bodyOf(route.body, response),
    },
    usage: override.usage ?? (isJson && response.isExact && override.body === undefined && route.hook === undefined && route.expand === undefined ? exactUsage(meters) : undefined),
  };
}

interface Draft {
  status: number;
  headers: string[];
  tree: Tree;
  /** What stands in the document is what every meter expects. */
  isExact: boolean;
  text: string;
  query: URLSearchParams;
  requestHeaders: string[];
  params: Record<string, string>;
  request: Tree;
}

function methodOf({ method }: Route): string {
  const first = typeof method === "string" ? method : (method[0] ?? "GET");
  return first === "*" ? "POST" : first;
}

function bodyOf(kind: Route["body"], draft: Draft): string {
  const json = JSON.stringify(draft.tree);
  if (kind === "ndjson") return `${json}\r\n\r\n${json}\r\n`;
  if (kind === "sse") return `data: ${json}\n\ndata: ${json}\n\n`;
  return kind === "text" ? draft.text : json;
}

function resolve(meters: readonly MeterLike[], definition: ConnectorDefinition): readonly (Meter | MapMeter)[] {
  return meters.flatMap((meter) => ("use" in meter ? resolve(definition.shared?.[meter.use] ?? [], definition) : [meter]));
}

/** As far as it can be made to hold. */
function satisfy(predicate: Predicate, draft: Draft): void {
  if ("eq" in predicate) put(draft, predicate.eq[0], predicate.eq[1]);
  else if ("has" in predicate) put(draft, predicate.has, "x1");
  else if ("text" in predicate) draft.text = predicate.text;
  else if ("status" in predicate) draft.status = predicate.status[0];
  else if ("contentType" in predicate) draft.headers.push("content-type", predicate.contentType);
  else if ("headerEq" in predicate) draft.headers.push(predicate.headerEq[0], predicate.headerEq[1] === true ? "1" : predicate.headerEq[1]);
  else if ("reqHeader" in predicate) draft.requestHeaders.push(predicate.reqHeader[0], predicate.reqHeader[1] === true ? "1" : predicate.reqHeader[1]);
  else if ("queryHas" in predicate) draft.query.set(predicate.queryHas, "1");
  else if ("queryEq" in predicate) draft.query.set(...predicate.queryEq);
  else if ("paramEq" in predicate) draft.params[predicate.paramEq[0]] = predicate.paramEq[1];
  else if ("all" in predicate) for (const each of predicate.all) satisfy(each, draft);
  else if ("any" in predicate) {
    const [first] = predicate.any;
    if (first !== undefined) satisfy(first, draft);
  } else draft.isExact &&= "not" in predicate;
}

function addOperands(meter: Meter, draft: Draft): void {
  const { count } = meter;
  if (typeof count === "number") draft.isExact &&= meter.when === undefined;
  else if ("len" in count && !count.len.includes("*") && meter.when === undefined) put(draft, count.len, [{ id: "1" }, { id: "2" }]);
  else {
    draft.isExact = false;
    visitPaths(count, draft);
  }
}

/** Every path that a nested expression looks at, with a value that suits its operand. */
function visitPaths(expr: unknown, draft: Draft): void {
  if (typeof expr !== "object" || expr === null) return;
  for (const [name, operand] of Object.entries(expr)) {
    if (typeof operand !== "string") visitPaths(operand, draft);
    else if (name === "len" || name === "keys") put(draft, operand, [{ id: "1" }, { id: "2" }]);
    else if (name === "num") put(draft, operand, 3);
    else if (name === "reqLen") putInto(draft.request, operand, [{ id: "1" }, { id: "2" }]);
    else if (name === "reqNum") putInto(draft.request, operand, 3);
  }
}

function addMap(meter: MapMeter, draft: Draft): void {
  const keys = [...Object.keys(meter.map), "not_known"];
  put(draft, meter.each, Object.fromEntries(keys.map((key) => [key, [{ id: "1" }, { id: "2" }]])));
}

/** Where the place is taken by something else, the counts cannot be told. */
function put(draft: Draft, path: string, value: unknown): void {
  if (!putInto(draft.tree, path, value)) draft.isExact = false;
}

function putInto(tree: Tree, path: string, value: unknown): boolean {
  const steps = path.split(".");
  let at = tree;
  for (const step of steps.slice(0, -1)) {
    if (step === "*") return false;
    at[step] ??= {};
    const next = at[step];
    if (typeof next !== "object" || next === null || Array.isArray(next)) return false;
    at = next as Tree;
  }
  const last = steps.at(-1) ?? "";
  if (last === "" || last === "*") return false;
  if (at[last] !== undefined) return JSON.stringify(at[last]) === JSON.stringify(value);
  at[last] = value;
  return true;
}

function exactUsage(meters: readonly (Meter | MapMeter)[]): ConnectorUsage {
  const usage: Record<string, number> = {};
  const add = (category: string, count: number): void => {
    if (count > 0) usage[category] = (usage[category] ?? 0) + count;
  };
  for (const meter of meters) {
    if (!("each" in meter)) add(meter.category, typeof meter.count === "number" ? meter.count : 2);
    else for (const category of [...Object.values(meter.map), meter.unknown.replace("{key}", "not_known")]) add(category, 2);
  }
  return usage;
}
