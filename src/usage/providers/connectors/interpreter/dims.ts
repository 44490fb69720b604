/** The facts beside the counts: their values are short names, never text. */

import type { Dim } from "../definition.ts";
import { holds } from "./evaluate.ts";
import type { Evidence } from "./evidence.ts";

export type Dims = Readonly<Record<string, string>>;

const NAME = /^[a-z][a-z0-9_]{0,63}$/;
const VALUE = /^[A-Za-z0-9_.:-]{1,64}$/;

/** Dims of one exchange; hooks may add to them. */
const MAX_DIMS = 16;

/** Adds a dim; one that has not the form of a name and a value is left out. */
export function setDim(dims: Map<string, string>, name: string, value: string): void {
  if (NAME.test(name) && VALUE.test(value) && (dims.has(name) || dims.size < MAX_DIMS)) dims.set(name, value);
}

export function isDimName(name: string): boolean {
  return NAME.test(name);
}

export function readDims(wanted: Readonly<Record<string, Dim>>, evidence: Evidence, dims: Map<string, string>): void {
  for (const [name, dim] of Object.entries(wanted)) {
    const value = valueOf(dim, evidence);
    if (value !== undefined) setDim(dims, name, String(value));
  }
}

function valueOf(dim: Dim, evidence: Evidence): string | number | boolean | undefined {
  if ("path" in dim) return evidence.response.first(dim.path);
  if ("req" in dim) return evidence.request()?.first(dim.req);
  if ("query" in dim) return evidence.query.get(dim.query) ?? undefined;
  if ("header" in dim) return evidence.responseHeader(dim.header.toLowerCase());
  return holds(dim.is, evidence);
}
