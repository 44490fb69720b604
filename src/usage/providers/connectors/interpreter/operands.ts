/** Which parts of an exchange an expression or a predicate looks at. */

import type { Expr, Path, Predicate } from "../definition.ts";

/** Told once for each mention. */
export interface OperandSink {
  response(path: Path): void;
  request(path: Path): void;
  text(): void;
  requestBytes(): void;
  parameter(name: string): void;
  /** Something else of the response: its status, headers or size. */
  responseHead(): void;
}

export function visitExpr(expr: Expr, sink: OperandSink): void {
  if (typeof expr === "number") return;
  if ("len" in expr) return sink.response(expr.len);
  if ("keys" in expr) return sink.response(expr.keys);
  if ("num" in expr) return sink.response(expr.num);
  if ("reqLen" in expr) return sink.request(expr.reqLen);
  if ("reqNum" in expr) return sink.request(expr.reqNum);
  if ("csv" in expr || "query" in expr) return;
  if ("header" in expr) return sink.responseHead();
  if ("bytes" in expr) return expr.bytes === "response" ? sink.responseHead() : sink.requestBytes();
  if ("when" in expr) {
    visitPredicate(expr.when, sink);
    visitExpr(expr.then, sink);
    if (expr.else !== undefined) visitExpr(expr.else, sink);
    return;
  }
  for (const operand of operandsOf(expr)) visitExpr(operand, sink);
}

type Listed = Extract<Expr, { sum: unknown } | { max: unknown } | { mul: unknown } | { ceilDiv: unknown } | { within: unknown } | { first: unknown }>;

function operandsOf(expr: Listed): readonly Expr[] {
  if ("sum" in expr) return expr.sum;
  if ("max" in expr) return expr.max;
  if ("mul" in expr) return expr.mul;
  if ("first" in expr) return expr.first;
  return [("ceilDiv" in expr ? expr.ceilDiv : expr.within)[0]];
}

export function visitPredicate(predicate: Predicate, sink: OperandSink): void {
  if ("eq" in predicate) return sink.response(predicate.eq[0]);
  if ("has" in predicate) return sink.response(predicate.has);
  if ("text" in predicate) return sink.text();
  if ("status" in predicate || "contentType" in predicate || "headerEq" in predicate) return sink.responseHead();
  if ("reqHas" in predicate) return sink.request(predicate.reqHas);
  if ("reqEq" in predicate) return sink.request(predicate.reqEq[0]);
  if ("paramEq" in predicate) return sink.parameter(predicate.paramEq[0]);
  if ("reqHeader" in predicate || "queryHas" in predicate || "queryEq" in predicate) return;
  if ("not" in predicate) return visitPredicate(predicate.not, sink);
  for (const each of "all" in predicate ? predicate.all : predicate.any) visitPredicate(each, sink);
}
