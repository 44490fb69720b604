/**
 * Usage inside one response is a snapshot, not an increment (contract section 4; reference/model-usage.md section 0.2
 * rules 1 and 2): a later one replaces an earlier one field by field. Absent, null or 0 never erases a positive
 * number. Nothing is added and no maximum is taken: some servers lower a count in the later event.
 *
 * Raw provider fields are merged, nested details alike, and mapped to categories once, at the end.
 */

import { asArray, asObject, countOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";

/** Usage objects have some 20 fields and two levels. More than this comes from a server that grows them. */
const MAX_FIELDS = 256;
const MAX_DEPTH = 6;

/** The fields of `later` over those of `earlier`. Neither is changed. */
export function mergeSnapshot(earlier: JsonObject | undefined, later: JsonObject): JsonObject {
  return earlier === undefined ? later : mergeObjects(earlier, later, 0);
}

/** Whether a field named one of `names` holds a number. */
export function hasCount(usage: JsonObject | undefined, names: readonly string[]): boolean {
  return usage !== undefined && names.some((name) => countOf(usage[name]) !== undefined);
}

function mergeObjects(earlier: JsonObject, later: JsonObject, depth: number): JsonObject {
  const merged = new Map<string, unknown>(Object.entries(earlier));
  for (const [name, value] of Object.entries(later)) {
    if (!merged.has(name) && merged.size >= MAX_FIELDS) continue;
    merged.set(name, mergeField(merged.get(name), value, depth));
  }
  return Object.fromEntries(merged);
}

function mergeField(earlier: unknown, later: unknown, depth: number): unknown {
  if (earlier === undefined || earlier === null) return later;
  if (isBlank(later)) return earlier;
  const earlierObject = asObject(earlier);
  const laterObject = asObject(later);
  if (earlierObject === undefined || laterObject === undefined || depth >= MAX_DEPTH) return later;
  return mergeObjects(earlierObject, laterObject, depth + 1);
}

/** What never erases a value that is there. */
function isBlank(value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === "0") return true;
  if (typeof value === "number") return !(value > 0);
  return Array.isArray(value) && asArray(value).length === 0;
}
