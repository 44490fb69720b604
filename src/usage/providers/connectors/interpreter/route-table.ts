/**
 * Finds the route of an exchange: a tree of path segments in which a literal is tried before `{x}:verb`, that before
 * `{x}`, that before `/**`, leftmost segment first (reference/connectors.md section 6.2). Also names paths that no
 * route has, without what may be an id or a name in them.
 */

import type { Route } from "../definition.ts";
import { exclude, demandOf } from "./route-demand.ts";
import type { TemplateSegment } from "./path-template.ts";

/** A route at one of its paths. */
export interface RouteEntry<T> {
  readonly route: Route;
  readonly methods: readonly string[];
  readonly segments: readonly TemplateSegment[];
  readonly value: T;
}

/** A route that fits. `params`: of its path, decoded. */
export interface RouteMatch<T> {
  readonly value: T;
  readonly params: Readonly<Record<string, string>>;
}

export interface RouteTable<T> {
  /** The most specific route that fits and that `accepts` (query and `when`). `segments`: decoded. */
  find(method: string, segments: readonly string[], accepts: (route: Route, params: Readonly<Record<string, string>>) => boolean): RouteMatch<T> | undefined;
  /**
   * A path for people: segments are kept that some route has as a literal, and new words after a version or an id where
   * routes have literals only; others become "{}". At most MAX_NAMED_SEGMENTS, then "**".
   */
  nameOf(segments: readonly string[]): string;
  /** Pairs of routes between which nothing decides. */
  readonly ties: readonly (readonly [string, string])[];
}

interface Node<T> {
  readonly literals: Map<string, Node<T>>;
  readonly verbs: Map<string, Node<T>>;
  parameter: Node<T> | undefined;
  /** Routes that end here, the most demanding first. */
  entries: RouteEntry<T>[];
  rest: RouteEntry<T>[];
}

export function createRouteTable<T>(entries: readonly RouteEntry<T>[]): RouteTable<T> {
  const root = emptyNode<T>();
  const words = new Set<string>();
  const ties: [string, string][] = [];
  for (const entry of entries) {
    const place = placeOf(root, entry.segments, words);
    for (const other of place) if (isTie(entry, other)) ties.push([other.route.id, entry.route.id]);
    place.push(entry);
    place.sort((a, b) => rank(b) - rank(a));
  }
  return {
    ties,
    find(method, segments, accepts) {
      const values: string[] = [];
      const pick = (candidates: readonly RouteEntry<T>[]): RouteMatch<T> | undefined => {
        for (const entry of candidates) {
          if (!entry.methods.includes(method) && !entry.methods.includes("*")) continue;
          const params = paramsOf(entry.segments, values);
          if (accepts(entry.route, params)) return { value: entry.value, params };
        }
        return undefined;
      };
      return search(root, segments, 0, values, pick);
    },
    nameOf: (segments) => pathName(root, words, segments),
  };
}

const MAX_NAMED_SEGMENTS = 8;

/** What only an id, an address or the caller is: a word in its place may be the beginning of another path. */
const ID = /[\d@]|^me$/;

const VERSION = /^v?\d{1,2}(?:\.\d)?$/;

/** A version, or letters: never digits, of which ids are made, nor what addresses have. */
const WORD = /^(?:v?\d{1,2}(?:\.\d)?|[A-Za-z][A-Za-z_-]{0,31}(?:\.json)?)$/;

function search<T>(
  node: Node<T>,
  segments: readonly string[],
  at: number,
  values: string[],
  pick: (candidates: readonly RouteEntry<T>[]) => RouteMatch<T> | undefined,
): RouteMatch<T> | undefined {
  const segment = segments[at];
  if (segment === undefined) return pick(node.entries) ?? pick(node.rest);
  const literal = node.literals.get(segment);
  const found = literal === undefined ? undefined : search(literal, segments, at + 1, values, pick);
  return found ?? searchParameters(node, segments, at, values, pick) ?? pick(node.rest);
}

function searchParameters<T>(
  node: Node<T>,
  segments: readonly string[],
  at: number,
  values: string[],
  pick: (candidates: readonly RouteEntry<T>[]) => RouteMatch<T> | undefined,
): RouteMatch<T> | undefined {
  const segment = segments[at] ?? "";
  if (segment === "") return undefined;
  const descend = (child: Node<T>, value: string): RouteMatch<T> | undefined => {
    values.push(value);
    const found = search(child, segments, at + 1, values, pick);
    values.pop();
    return found;
  };
  for (const [verb, child] of node.verbs) {
    if (segment.length <= verb.length || !segment.endsWith(verb)) continue;
    const found = descend(child, segment.slice(0, -verb.length));
    if (found !== undefined) return found;
  }
  return node.parameter === undefined ? undefined : descend(node.parameter, segment);
}

/** The list of the routes that end where these segments lead. */
function placeOf<T>(root: Node<T>, segments: readonly TemplateSegment[], words: Set<string>): RouteEntry<T>[] {
  let node = root;
  for (const segment of segments) {
    switch (segment.kind) {
      case "literal":
        words.add(segment.text);
        node = childOf(node.literals, segment.text);
        break;
      case "verb":
        node = childOf(node.verbs, segment.verb);
        break;
      case "parameter":
        node.parameter ??= emptyNode();
        node = node.parameter;
        break;
      case "rest":
        return node.rest;
      default:
        segment satisfies never;
    }
  }
  return node.entries;
}

function childOf<T>(children: Map<string, Node<T>>, text: string): Node<T> {
  let child = children.get(text);
  if (child === undefined) {
    child = emptyNode();
    children.set(text, child);
  }
  return child;
}

function emptyNode<T>(): Node<T> {
  return { literals: new Map(), verbs: new Map(), parameter: undefined, entries: [], rest: [] };
}

function paramsOf(segments: readonly TemplateSegment[], values: readonly string[]): Readonly<Record<string, string>> {
  const names = segments.flatMap((segment) => ("name" in segment ? [segment.name] : []));
  return Object.fromEntries(names.map((name, at) => [name, values[at] ?? ""]));
}

/** A named method goes before "*", then the more demanding route. */
function rank(entry: RouteEntry<unknown>): number {
  return (entry.methods.includes("*") ? 0 : 1000) + demandOf(entry.route);
}

/** Two routes of one path with a method in common and equal demands, of which both may fit. */
function isTie(a: RouteEntry<unknown>, b: RouteEntry<unknown>): boolean {
  return rank(a) === rank(b) && a.methods.some((method) => b.methods.includes(method)) && !exclude(a.route, b.route);
}

function pathName<T>(root: Node<T>, words: ReadonlySet<string>, segments: readonly string[]): string {
  const names: string[] = [];
  let node: Node<T> | undefined = root;
  let isPlaceOfWords = false;
  for (const segment of segments.slice(0, MAX_NAMED_SEGMENTS)) {
    const literal: Node<T> | undefined = node?.literals.get(segment);
    const isNewWord = isPlaceOfWords && node !== undefined && node.parameter === undefined && node.verbs.size === 0 && node.literals.size > 0 && WORD.test(segment);
    const isWord = literal !== undefined || isNewWord || (node === undefined && words.has(segment));
    names.push(isWord ? segment : "{}");
    // A new resource stands after a version, a new part of one after its id. Elsewhere ("/users/by/…", "/posts/by/…") it may be a name.
    isPlaceOfWords = VERSION.test(segment) || (literal === undefined && node?.parameter !== undefined && ID.test(segment));
    node = literal ?? node?.parameter;
  }
  if (segments.length > MAX_NAMED_SEGMENTS) names.push("**");
  return `/${names.join("/")}`;
}
