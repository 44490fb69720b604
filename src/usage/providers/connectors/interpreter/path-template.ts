/** Path templates of routes ("/2/tweets/{id}", "/keys/{key}:disable", "/repos/**"), and paths as they are compared. */

import type { PathAlias } from "../definition.ts";

/** One segment of a template. `rest` stands only at the end. */
export type TemplateSegment =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "verb"; readonly name: string; readonly verb: string }
  | { readonly kind: "parameter"; readonly name: string }
  | { readonly kind: "rest" };

const PARAMETER = /^\{([A-Za-z_][A-Za-z0-9_]*)\}(:[A-Za-z][A-Za-z0-9]*)?$/;

/** Takes a template apart, or says what is wrong with it. */
export function parseTemplate(template: string): readonly TemplateSegment[] | string {
  if (!template.startsWith("/")) return `path "${template}" does not begin with "/"`;
  if (template !== "/" && template.endsWith("/")) return `path "${template}" ends with "/"`;
  const texts = splitTemplate(template);
  const segments: TemplateSegment[] = [];
  for (const [at, text] of texts.entries()) {
    const segment = parseSegment(text, at === texts.length - 1);
    if (segment === undefined) return `path "${template}" has a segment "${text}" that is neither a literal, {name}, {name}:verb nor a ** at the end`;
    segments.push(segment);
  }
  const names = segments.flatMap((segment) => ("name" in segment ? [segment.name] : []));
  if (new Set(names).size < names.length) return `path "${template}" has one parameter twice`;
  return segments;
}

function splitTemplate(template: string): readonly string[] {
  return template === "/" ? [] : template.slice(1).split("/");
}

function parseSegment(text: string, isLast: boolean): TemplateSegment | undefined {
  if (text === "**") return isLast ? { kind: "rest" } : undefined;
  const [, name, verb] = PARAMETER.exec(text) ?? [];
  if (name !== undefined) return verb === undefined ? { kind: "parameter", name } : { kind: "verb", name, verb };
  return text === "" || /[{}*?#]/.test(text) ? undefined : { kind: "literal", text };
}

/**
 * The segments of a path as sent (no query): split, then each decoded once, without slashes at the end. A segment that
 * is not properly encoded stays as it is.
 */
export function splitPath(path: string): readonly string[] {
  let end = path.length;
  while (end > 0 && path[end - 1] === "/") end--;
  if (end === 0) return [];
  const segments = path.slice(path.startsWith("/") ? 1 : 0, end).split("/");
  return path.includes("%") ? segments.map(decodeSegment) : segments;
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // Not what its client meant to be decoded: compared as it was sent.
    return segment;
  }
}

/** An alias taken apart. */
export interface CompiledAlias {
  readonly from: readonly string[];
  readonly to: readonly string[];
}

export function compileAlias(alias: PathAlias): CompiledAlias {
  return { from: splitPath(alias.from), to: splitPath(alias.to) };
}

/** The path with the first alias that fits applied, once. */
export function applyAliases(segments: readonly string[], aliases: readonly CompiledAlias[]): readonly string[] {
  const alias = aliases.find(({ from }) => from.length <= segments.length && from.every((text, at) => text === segments[at]));
  return alias === undefined ? segments : [...alias.to, ...segments.slice(alias.from.length)];
}
