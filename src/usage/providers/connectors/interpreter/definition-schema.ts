/**
 * The form of a definition that comes from outside, as JSON: the types of definition.ts without hooks. What a value
 * means, and whether it makes sense, is not checked here: compile-connectors.ts finds that.
 */

import { z } from "zod";

/** Expressions and predicates nest; deeper ones are no work of a person. */
const MAX_DEPTH = 32;

const text = z.string().max(1024);
const scalar = z.union([text, z.number(), z.boolean()]);
const number = z.number();
const header = z.tuple([text, z.union([text, z.literal(true)])]);
const pair = z.tuple([text, text]);

type Operand = z.ZodType | "expr" | "exprs" | "predicate" | "predicates" | readonly ("expr" | z.ZodType)[];

/** Operators by their key: what stands behind it. */
const EXPRESSIONS: Readonly<Record<string, Operand>> = {
  len: text,
  keys: text,
  num: text,
  reqLen: text,
  reqNum: text,
  csv: text,
  query: text,
  header: text,
  bytes: z.enum(["request", "response"]),
  sum: "exprs",
  max: "exprs",
  mul: "exprs",
  first: "exprs",
  ceilDiv: ["expr", number],
  within: ["expr", number, number],
};

const PREDICATES: Readonly<Record<string, Operand>> = {
  eq: z.tuple([text, scalar]),
  has: text,
  text,
  status: z.tuple([number, number]),
  contentType: text,
  headerEq: header,
  reqHeader: header,
  reqHas: text,
  reqEq: z.tuple([text, scalar]),
  queryHas: text,
  queryEq: pair,
  paramEq: pair,
  all: "predicates",
  any: "predicates",
  not: "predicate",
};

/** Takes a fault and where it is. */
type Report = (path: readonly PropertyKey[], message: string) => void;

function checkExpr(value: unknown, report: Report, path: readonly PropertyKey[]): void {
  if (typeof value === "number") return;
  if (isObject(value) && Object.hasOwn(value, "when")) return checkChoice(value, report, path);
  checkOperator(EXPRESSIONS, "an expression: a number, when, or", value, report, path);
}

function checkChoice(value: Readonly<Record<string, unknown>>, report: Report, path: readonly PropertyKey[]): void {
  for (const key of Object.keys(value)) if (!["when", "then", "else"].includes(key)) report([...path, key], "is not when, then or else");
  checkPredicate(value["when"], report, [...path, "when"]);
  checkExpr(value["then"], report, [...path, "then"]);
  if (Object.hasOwn(value, "else")) checkExpr(value["else"], report, [...path, "else"]);
}

function checkPredicate(value: unknown, report: Report, path: readonly PropertyKey[]): void {
  checkOperator(PREDICATES, "a predicate:", value, report, path);
}

function checkOperator(operators: Readonly<Record<string, Operand>>, what: string, value: unknown, report: Report, path: readonly PropertyKey[]): void {
  const keys = isObject(value) ? Object.keys(value) : [];
  const [key = ""] = keys;
  const operand = Object.hasOwn(operators, key) ? operators[key] : undefined;
  if (operand === undefined || keys.length !== 1 || !isObject(value)) return report(path, `is not ${what} an object with one of ${Object.keys(operators).join(", ")}`);
  if (path.length > MAX_DEPTH) return report(path, "is nested too deep");
  checkOperand(operand, value[key], report, [...path, key]);
}

function checkOperand(operand: Operand, value: unknown, report: Report, path: readonly PropertyKey[]): void {
  if (operand === "expr") return checkExpr(value, report, path);
  if (operand === "predicate") return checkPredicate(value, report, path);
  if (operand === "exprs" || operand === "predicates") {
    const check = operand === "exprs" ? checkExpr : checkPredicate;
    if (!Array.isArray(value)) return report(path, "is not a list");
    return value.forEach((each, at) => check(each, report, [...path, at]));
  }
  if (operand instanceof z.ZodType) {
    const result = operand.safeParse(value);
    for (const issue of result.error?.issues ?? []) report([...path, ...issue.path], issue.message);
    return;
  }
  if (!Array.isArray(value) || value.length !== operand.length) return report(path, `is not a list of ${operand.length}`);
  operand.forEach((each, at) => checkOperand(each, value[at], report, [...path, at]));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value that one of the checks above reads. */
function checkedBy(check: (value: unknown, report: Report, path: readonly PropertyKey[]) => void): z.ZodType {
  return z.unknown().superRefine((value, context) => {
    check(value, (path, message) => context.addIssue({ code: "custom", path: [...path], message }), []);
  });
}

const expr = checkedBy(checkExpr);
const predicate = checkedBy(checkPredicate);
const texts = z.union([text, z.array(text)]);

const meter = z.strictObject({
  category: text,
  count: expr,
  when: predicate.optional(),
  ids: text.optional(),
  cumulative: z.strictObject({ key: text }).optional(),
  estimated: z.union([z.boolean(), predicate]).optional(),
});
const mapMeter = z.strictObject({ each: text, map: z.record(text, text), unknown: text, ids: text.optional() });
const use = z.strictObject({ use: text });

/** Which of the three it is, its keys tell: so that a fault is one of that kind. */
const meterLike = z.unknown().superRefine((value, context) => {
  const keys = isObject(value) ? value : {};
  const schema = Object.hasOwn(keys, "use") ? use : Object.hasOwn(keys, "each") ? mapMeter : meter;
  for (const issue of schema.safeParse(value).error?.issues ?? []) context.addIssue({ code: "custom", path: [...issue.path], message: issue.message });
});

const dim = z.union([
  z.strictObject({ path: text }),
  z.strictObject({ req: text }),
  z.strictObject({ query: text }),
  z.strictObject({ header: text }),
  z.strictObject({ is: predicate }),
]);

const route = z.strictObject({
  id: text,
  method: texts,
  path: texts,
  query: z.record(text, z.union([text, z.literal(true)])).optional(),
  when: predicate.optional(),
  success: predicate.optional(),
  body: z.enum(["json", "ndjson", "sse", "text", "none"]).optional(),
  request: z.strictObject({ parse: z.enum(["auto", "json", "form", "multipart", "raw"]).optional(), maxBytes: number }).optional(),
  expand: z.enum(["google-batch", "mcp"]).optional(),
  tools: z.record(text, text).optional(),
  meters: z.array(meterLike).optional(),
  fallback: z.array(meter).optional(),
  effect: z.enum(["read", "write"]).optional(),
  dims: z.record(text, dim).optional(),
});

/** Most routes of one definition. */
const MAX_ROUTES = 2000;

export const definitionSchema = z.strictObject({
  id: text,
  revision: text,
  hosts: z.array(text),
  exceptHosts: z.array(text).optional(),
  pathPrefixes: z.array(text).optional(),
  aliases: z.array(z.strictObject({ from: text, to: text })).optional(),
  success: predicate.optional(),
  shared: z.record(text, z.array(meterLike)).optional(),
  routes: z.array(route).max(MAX_ROUTES),
  unmatched: z.enum(["requests", "ignore"]).optional(),
});
