/** Gives expressions and predicates their meaning (definition.ts says it in words). Pure; linear in their size. */

import type { Expr, Predicate } from "../definition.ts";
import type { Evidence, RequestEvidence } from "./evidence.ts";
import { toNumber } from "./numbers.ts";

/** The number, or undefined: not known. */
export function countOf(expr: Expr, evidence: Evidence): number | undefined {
  if (typeof expr === "number") return expr;
  if ("len" in expr) return evidence.response.length(expr.len);
  if ("keys" in expr) return evidence.response.keys(expr.keys);
  if ("num" in expr) return evidence.response.number(expr.num);
  if ("reqLen" in expr) return evidence.request()?.length(expr.reqLen);
  if ("reqNum" in expr) return evidence.request()?.number(expr.reqNum);
  if ("csv" in expr) return partsOf(evidence.query.get(expr.csv));
  if ("query" in expr) return toNumber(evidence.query.get(expr.query));
  if ("header" in expr) return toNumber(evidence.responseHeader(expr.header.toLowerCase()));
  if ("bytes" in expr) return expr.bytes === "request" ? evidence.requestBytes : evidence.responseBytes;
  return countOfSeveral(expr, evidence);
}

type Compound = Exclude<Expr, number | { len: unknown } | { keys: unknown } | { num: unknown } | { reqLen: unknown } | { reqNum: unknown } | { csv: unknown } | { query: unknown } | { header: unknown } | { bytes: unknown }>;

function countOfSeveral(expr: Compound, evidence: Evidence): number | undefined {
  if ("sum" in expr) return known(expr.sum, evidence)?.reduce((sum, value) => sum + value, 0);
  if ("max" in expr) return known(expr.max, evidence)?.reduce((most, value) => Math.max(most, value));
  if ("mul" in expr) return productOf(expr.mul, evidence);
  if ("ceilDiv" in expr) {
    const value = countOf(expr.ceilDiv[0], evidence);
    return value === undefined ? undefined : Math.ceil(value / expr.ceilDiv[1]);
  }
  if ("within" in expr) {
    const [inner, least, most] = expr.within;
    const value = countOf(inner, evidence);
    return value !== undefined && value >= least && value <= most ? value : undefined;
  }
  if ("first" in expr) return firstKnown(expr.first, evidence);
  const isHeld = holds(expr.when, evidence);
  if (isHeld === undefined) return undefined;
  if (isHeld) return countOf(expr.then, evidence);
  return expr.else === undefined ? undefined : countOf(expr.else, evidence);
}

/** True, false, or undefined: what would tell has not come. */
export function holds(predicate: Predicate, evidence: Evidence): boolean | undefined {
  if ("eq" in predicate) return found(evidence.response.first(predicate.eq[0]), predicate.eq[1], evidence.isResponseWhole);
  if ("has" in predicate) return evidence.response.has(predicate.has) || (evidence.isResponseWhole ? false : undefined);
  if ("text" in predicate) return evidence.isResponseWhole ? evidence.text === predicate.text : undefined;
  if ("status" in predicate) return evidence.status >= predicate.status[0] && evidence.status <= predicate.status[1];
  if ("contentType" in predicate) return mediaType(evidence.responseHeader("content-type")) === predicate.contentType.toLowerCase();
  if ("headerEq" in predicate) return isHeader(evidence.responseHeader(predicate.headerEq[0].toLowerCase()), predicate.headerEq[1]);
  if ("reqHas" in predicate) return evidence.request()?.has(predicate.reqHas);
  if ("reqEq" in predicate) {
    const request = evidence.request();
    return request === undefined ? undefined : found(request.first(predicate.reqEq[0]), predicate.reqEq[1], true);
  }
  if ("all" in predicate) return every(predicate.all, (each) => holds(each, evidence));
  if ("any" in predicate) return negate(every(predicate.any, (each) => negate(holds(each, evidence))));
  if ("not" in predicate) return negate(holds(predicate.not, evidence));
  return holdsOfRequest(predicate, evidence);
}

/** A predicate of a route's `when`: undefined where it looks at more than the request's head. */
export function holdsOfRequest(predicate: Predicate, evidence: RequestEvidence): boolean | undefined {
  if ("reqHeader" in predicate) return isHeader(evidence.requestHeader(predicate.reqHeader[0].toLowerCase()), predicate.reqHeader[1]);
  if ("queryHas" in predicate) return evidence.query.has(predicate.queryHas);
  if ("queryEq" in predicate) return evidence.query.get(predicate.queryEq[0]) === predicate.queryEq[1];
  if ("paramEq" in predicate) return Object.hasOwn(evidence.params, predicate.paramEq[0]) && evidence.params[predicate.paramEq[0]] === predicate.paramEq[1];
  if ("all" in predicate) return every(predicate.all, (each) => holdsOfRequest(each, evidence));
  if ("any" in predicate) return negate(every(predicate.any, (each) => negate(holdsOfRequest(each, evidence))));
  if ("not" in predicate) return negate(holdsOfRequest(predicate.not, evidence));
  return undefined;
}

function found(value: unknown, wanted: unknown, isWhole: boolean): boolean | undefined {
  return value === undefined && !isWhole ? undefined : value === wanted;
}

/** False when one is false, else unknown when one is unknown. */
function every(predicates: readonly Predicate[], ask: (predicate: Predicate) => boolean | undefined): boolean | undefined {
  let isUnknown = false;
  for (const predicate of predicates) {
    const answer = ask(predicate);
    if (answer === false) return false;
    if (answer === undefined) isUnknown = true;
  }
  return isUnknown ? undefined : true;
}

function negate(answer: boolean | undefined): boolean | undefined {
  return answer === undefined ? undefined : !answer;
}

function known(operands: readonly Expr[], evidence: Evidence): readonly number[] | undefined {
  const values = operands.map((operand) => countOf(operand, evidence)).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : values;
}

function productOf(operands: readonly Expr[], evidence: Evidence): number | undefined {
  let product = 1;
  for (const operand of operands) {
    const value = countOf(operand, evidence);
    if (value === undefined) return undefined;
    product *= value;
  }
  return product;
}

function firstKnown(operands: readonly Expr[], evidence: Evidence): number | undefined {
  for (const operand of operands) {
    const value = countOf(operand, evidence);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** The non-empty parts of a comma-separated list. */
function partsOf(list: string | null): number | undefined {
  return list === null ? undefined : list.split(",").filter((part) => part.trim() !== "").length;
}

function isHeader(value: string | undefined, wanted: string | true): boolean {
  return wanted === true ? value !== undefined : value === wanted;
}

function mediaType(contentType: string | undefined): string | undefined {
  return contentType?.split(";", 1)[0]?.trim().toLowerCase();
}
