/** How demanding routes of equal path are, and whether two of them exclude each other. */

import type { Predicate, Route } from "../definition.ts";

/** The more conditions, the earlier a route is tried. */
export function demandOf(route: Route): number {
  return conditionsOf(route).length;
}

/** Whether a condition of one route contradicts one of the other: then no exchange fits both. */
export function exclude(a: Route, b: Route): boolean {
  const others = conditionsOf(b);
  return conditionsOf(a).some((one) => others.some((other) => contradict(one, other)));
}

/** What a route asks of an exchange beside method and path: each must hold. */
function conditionsOf({ query = {}, when }: Route): readonly Predicate[] {
  const asked = Object.entries(query).map(([name, value]): Predicate => (value === true ? { queryHas: name } : { queryEq: [name, value] }));
  return [...asked, ...(when === undefined ? [] : conjuncts(when))];
}

function conjuncts(predicate: Predicate): readonly Predicate[] {
  return "all" in predicate ? predicate.all.flatMap(conjuncts) : [predicate];
}

function contradict(a: Predicate, b: Predicate): boolean {
  if ("not" in a && implies(b, a.not)) return true;
  if ("not" in b && implies(a, b.not)) return true;
  if ("queryEq" in a && "queryEq" in b) return differ(a.queryEq, b.queryEq);
  if ("paramEq" in a && "paramEq" in b) return differ(a.paramEq, b.paramEq);
  return "reqHeader" in a && "reqHeader" in b && differ(a.reqHeader, b.reqHeader);
}

/** Whether `b` holds wherever `a` does, as far as it can be told. */
function implies(a: Predicate, b: Predicate): boolean {
  if (JSON.stringify(a) === JSON.stringify(b)) return true;
  if ("any" in b) return b.any.some((each) => implies(a, each));
  if ("queryEq" in a && "queryHas" in b) return a.queryEq[0] === b.queryHas;
  return "reqHeader" in a && "reqHeader" in b && b.reqHeader[1] === true && a.reqHeader[0].toLowerCase() === b.reqHeader[0].toLowerCase();
}

function differ(a: readonly [string, string | true], b: readonly [string, string | true]): boolean {
  return a[0] === b[0] && a[1] !== b[1] && a[1] !== true && b[1] !== true;
}
