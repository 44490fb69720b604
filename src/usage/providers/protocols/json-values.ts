/** Reads values of unknown JSON: what is not of the wanted type is absent. */

import type { JsonPath } from "../../extract/json-scan.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export function asObject(value: unknown): JsonObject | undefined {
  return isObject(value) ? value : undefined;
}

export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A string that is not empty. Some servers send "" for an id or a model that they do not know yet. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A count as text: what protobuf's JSON makes of 64-bit integers. Fifteen digits are exact. */
const COUNT_TEXT = /^\d{1,15}$/;

/** A count: finite and not negative, as a number or as its digits. Some servers send -1 for "unknown". */
export function countOf(value: unknown): number | undefined {
  if (typeof value === "string") return COUNT_TEXT.test(value) ? Number(value) : undefined;
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

/**
 * One count that servers spell in several ways: the first positive one, else 0 when one of them was reported as 0,
 * else undefined.
 */
export function firstCount(...values: readonly unknown[]): number | undefined {
  let reported: number | undefined;
  for (const value of values) {
    const count = countOf(value);
    if (count !== undefined && count > 0) return count;
    reported ??= count;
  }
  return reported;
}

/** An object out of JSON text; undefined for anything else, broken text included. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return asObject(value);
  } catch {
    // An event that is no JSON, or the cut end of a stream, has nothing to tell.
    return undefined;
  }
}

/** Characters of a value's JSON; 0 for what is nested too deep to be written. */
export function jsonLength(value: unknown): number {
  try {
    return JSON.stringify(value)?.length ?? 0;
  } catch {
    // Only a size for an estimate is lost.
    return 0;
  }
}

/** Calls `visit` for each value of a document at one of the paths, as a JSON scan of its text would. */
export function visitPaths(document: JsonObject, paths: readonly JsonPath[], visit: (path: JsonPath, value: unknown) => void): void {
  for (const path of paths) visitPath(document, path, 0, visit);
}

function visitPath(value: unknown, path: JsonPath, step: number, visit: (path: JsonPath, value: unknown) => void): void {
  const key = path[step];
  if (key === undefined) return visit(path, value);
  if (key === "*") {
    const children = Array.isArray(value) ? value : Object.values(asObject(value) ?? {});
    for (const child of children) visitPath(child, path, step + 1, visit);
    return;
  }
  const object = asObject(value);
  if (object !== undefined && Object.hasOwn(object, key)) visitPath(object[key], path, step + 1, visit);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
