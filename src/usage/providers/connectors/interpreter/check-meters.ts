/** Finds the faults of meters: categories, paths, and numbers that make no sense. Names that they use are the caller's. */

import { MAX_PATH_STEPS } from "../definition.ts";
import type { Expr, MapMeter, Meter, MeterLike, Path } from "../definition.ts";
import { isMapMeter } from "./compiled.ts";
import { gatherWants } from "./compile-route.ts";
import type { ReportFault } from "./definition-fault.ts";
import { isCategory } from "./names.ts";
import { parsePath } from "./probe-plan.ts";

export function checkMeters(meters: readonly MeterLike[], report: ReportFault): void {
  for (const meter of meters) {
    if ("use" in meter) continue;
    if (isMapMeter(meter)) checkMapMeter(meter, report);
    else checkMeter(meter, report);
  }
}

function checkMeter(meter: Meter, report: ReportFault): void {
  const named: ReportFault = (message) => report(`${meter.category}: ${message}`);
  checkCategory(meter.category, report);
  checkExpr(meter.count, named);
  const wants = gatherWants({ meters: [meter] });
  for (const path of [...wants.response, ...wants.request]) checkPath(path, named);
  if (meter.ids === undefined) return;
  checkPath(meter.ids, named);
  if (parsePath(meter.ids).filter((step) => step === "*").length > 1) named(`ids "${meter.ids}" has more than one "*"`);
}

function checkMapMeter(meter: MapMeter, report: ReportFault): void {
  const named: ReportFault = (message) => report(`the map of "${meter.each}": ${message}`);
  checkPath(meter.each, named);
  for (const category of Object.values(meter.map)) checkCategory(category, named);
  if (!isCategory(meter.unknown.replaceAll("{key}", "k"))) named(`unknown "${meter.unknown}" is not a category with {key} in it`);
  if (meter.ids !== undefined && (meter.ids === "" || meter.ids.includes("*"))) named(`ids "${meter.ids}" is not the path of an id within an element`);
  if (meter.ids !== undefined) checkPath(meter.ids, named);
}

export function checkCategory(category: string, report: ReportFault): void {
  if (!isCategory(category)) report(`category "${category}" is not lower case letters, digits, "_" and ".", beginning with a letter`);
}

export function checkPath(path: Path, report: ReportFault): void {
  const steps = parsePath(path);
  if (steps.includes("")) report(`path "${path}" has an empty step`);
  if (steps.length > MAX_PATH_STEPS) report(`path "${path}" has more than ${MAX_PATH_STEPS} steps`);
}

/** Numbers and lists; the operands' paths are checked where all of them are known. */
function checkExpr(expr: Expr, report: ReportFault): void {
  if (typeof expr === "number") {
    if (!Number.isFinite(expr) || expr < 0) report(`${expr} is no count`);
  } else if ("ceilDiv" in expr) {
    const [inner, divisor] = expr.ceilDiv;
    if (!(divisor > 0)) report("ceilDiv needs a divisor above 0");
    checkExpr(inner, report);
  } else if ("within" in expr) {
    const [inner, least, most] = expr.within;
    if (!(least <= most)) report("within needs bounds of which the first is not above the second");
    checkExpr(inner, report);
  } else if ("when" in expr) {
    checkExpr(expr.then, report);
    if (expr.else !== undefined) checkExpr(expr.else, report);
  } else checkOperands(expr, report);
}

function checkOperands(expr: Exclude<Expr, number>, report: ReportFault): void {
  for (const [name, operands] of Object.entries(expr)) {
    if (!Array.isArray(operands)) continue;
    if (operands.length === 0) report(`${name} has no operands`);
    for (const operand of operands as readonly Expr[]) checkExpr(operand, report);
  }
}

/** The names of shared meters that a list uses. */
export function usesOf(meters: readonly MeterLike[]): readonly string[] {
  return meters.flatMap((meter) => ("use" in meter ? [meter.use] : []));
}
