/**
 * What is looked for in JSON documents of one kind, compiled once: the tree of wanted paths, and what is to be found
 * out at each of its places. Knows no text: probes.ts keeps the findings.
 */

import { compilePaths } from "../../../extract/json-path.ts";
import type { JsonPath, PathNode } from "../../../extract/json-path.ts";
import type { Path } from "../definition.ts";

/** What is to be found out at one place. Numbers are indexes into the findings. */
export interface PlaceRole {
  /** Paths whose length, keys, first scalar and presence are wanted. */
  readonly paths: readonly number[];
  /** Objects here are counted key by key. */
  readonly maps: readonly number[];
  /** Scalars here are ids of counted elements. */
  readonly ids: readonly IdPlace[];
  /** Array elements and object keys are counted: what stands here must be entered. */
  readonly isEntered: boolean;
}

/** Where ids of one source may stand. An id counts only where the container that holds the elements is of that kind. */
interface IdPlace {
  readonly source: number;
  /** Depth of the array of elements, or of the one object that is the element itself. */
  readonly containerDepth: number;
  readonly isInArray: boolean;
}

export interface ProbePlan {
  readonly root: PathNode;
  readonly roles: ReadonlyMap<PathNode, PlaceRole>;
  /** Index by path text. */
  readonly pathIndex: ReadonlyMap<Path, number>;
  readonly mapIndex: ReadonlyMap<Path, number>;
  readonly idSources: readonly IdSource[];
}

/** Ids of the elements at a path: "data.*.id", or of all elements under a mapped object ("includes", "id"). */
export interface IdSource {
  readonly path: Path;
  /** Depth of the mapped object whose key names the category; undefined: not of a map. */
  readonly mapDepth: number | undefined;
}

/** What a plan is made for. */
export interface ProbeWants {
  readonly paths: Iterable<Path>;
  readonly maps: Iterable<Path>;
  readonly ids: Iterable<IdSource>;
}

/** "data.*.id" → ["data", "*", "id"]; "" → []. */
export function parsePath(path: Path): JsonPath {
  return path === "" ? [] : path.split(".");
}

/** Compiles a plan. Repeated wants are kept once. */
export function planProbes(wants: ProbeWants): ProbePlan {
  const pathIndex = indexOf(wants.paths);
  const mapIndex = indexOf(wants.maps);
  const idSources = Array.from(new Map(Array.from(wants.ids, (source) => [source.path, source])).values());
  const places = new RoleBuilder();
  for (const [path, index] of pathIndex) places.at(parsePath(path)).paths.push(index);
  for (const [path, index] of mapIndex) {
    places.at(parsePath(path)).maps.push(index);
    // The values must be entered for their length.
    places.at([...parsePath(path), "*"]);
  }
  idSources.forEach((source, index) => addIdPlaces(places, source, index));
  const root = compilePaths(places.paths());
  return { root, roles: places.rolesOf(root), pathIndex, mapIndex, idSources };
}

/** `ids` of "data.*.id": the elements stand in the array `data`, or `data` is the one element. */
function addIdPlaces(places: RoleBuilder, source: IdSource, index: number): void {
  const path = parsePath(source.path);
  const star = path.lastIndexOf("*");
  if (star === -1) {
    places.at(path).ids.push({ source: index, containerDepth: Math.max(0, path.length - 1), isInArray: false });
    return;
  }
  const single = path.filter((_step, at) => at !== star);
  places.at(path).ids.push({ source: index, containerDepth: star, isInArray: true });
  places.at(single).ids.push({ source: index, containerDepth: star, isInArray: false });
}

interface MutableRole {
  readonly paths: number[];
  readonly maps: number[];
  readonly ids: IdPlace[];
}

class RoleBuilder {
  private readonly byText = new Map<string, { readonly path: JsonPath; readonly role: MutableRole }>();

  at(path: JsonPath): MutableRole {
    const text = path.join(".");
    let found = this.byText.get(text);
    if (found === undefined) {
      found = { path, role: { paths: [], maps: [], ids: [] } };
      this.byText.set(text, found);
    }
    return found.role;
  }

  paths(): readonly JsonPath[] {
    return Array.from(this.byText.values(), ({ path }) => path);
  }

  rolesOf(root: PathNode): ReadonlyMap<PathNode, PlaceRole> {
    const roles = new Map<PathNode, PlaceRole>();
    const parts = new Map(Array.from(this.byText.values(), ({ path, role }) => [path, role]));
    const visit = (node: PathNode, isMapValue: boolean): void => {
      const ended = node.paths.map((path) => parts.get(path)).filter((role) => role !== undefined);
      const paths = ended.flatMap((role) => role.paths);
      const maps = ended.flatMap((role) => role.maps);
      roles.set(node, { paths, maps, ids: ended.flatMap((role) => role.ids), isEntered: paths.length > 0 || maps.length > 0 || isMapValue });
      for (const { node: child } of node.keys) visit(child, maps.length > 0);
      if (node.other !== undefined) visit(node.other, maps.length > 0);
    };
    visit(root, false);
    return roles;
  }
}

function indexOf(texts: Iterable<string>): ReadonlyMap<string, number> {
  return new Map(Array.from(new Set(texts), (text, index) => [text, index]));
}
