/**
 * The tree of the paths that a JSON scan wants: where each key and array element leads. Compiled once for a table of
 * paths. Knows no JSON text: json-scan.ts walks it.
 */

/** Object keys from the root; "*" matches any array index and any key. The empty path is the document itself. */
export type JsonPath = readonly string[];

/** A place in the tree of wanted paths. The same document place may stand for several paths, because of "*". */
export interface PathNode {
  /** The paths that end here: the value is captured. */
  readonly paths: readonly JsonPath[];
  readonly keys: readonly PathKey[];
  /** Any array element, and a key that is not in `keys`. */
  readonly other: PathNode | undefined;
}

export interface PathKey {
  readonly text: string;
  /** The key in UTF-8, as it stands between its quotes when nothing in it is escaped. */
  readonly bytes: Uint8Array;
  readonly node: PathNode;
}

/** Handlers scan each response with the same table of paths. */
const compiled = new WeakMap<readonly JsonPath[], PathNode>();

/** The root of the tree of `paths`: the same one for the same array, which must not change after. */
export function compilePaths(paths: readonly JsonPath[]): PathNode {
  let root = compiled.get(paths);
  if (root === undefined) {
    root = buildNode(paths, 0);
    compiled.set(paths, root);
  }
  return root;
}

/** Whether a wanted path goes on below a node. */
export function leadsOn(node: PathNode): boolean {
  return node.keys.length > 0 || node.other !== undefined;
}

/** Where a key leads. */
export function nodeOfText(node: PathNode, key: string): PathNode | undefined {
  return node.keys.find((candidate) => candidate.text === key)?.node ?? node.other;
}

/** Where a key named in `keys`, without escapes, leads: the bytes from `from` up to `to`. Not by "*". */
export function nodeOfBytes(node: PathNode, bytes: Uint8Array, from: number, to: number): PathNode | undefined {
  for (const key of node.keys) {
    if (isSame(key.bytes, bytes, from, to)) return key.node;
  }
  return undefined;
}

/** The node reached by `depth` steps of each of `paths`. */
function buildNode(paths: readonly JsonPath[], depth: number): PathNode {
  const here = paths.filter((path) => path.length === depth);
  const longer = paths.filter((path) => path.length > depth);
  const wild = longer.filter((path) => path[depth] === "*");
  const texts = new Set(longer.map((path) => path[depth] ?? "*").filter((step) => step !== "*"));
  const keys = Array.from(texts, (text) => ({
    text,
    bytes: Buffer.from(text),
    node: buildNode(longer.filter((path) => path[depth] === text || path[depth] === "*"), depth + 1),
  }));
  return { paths: here, keys, other: wild.length > 0 ? buildNode(wild, depth + 1) : undefined };
}

function isSame(key: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (key.length !== to - from) return false;
  for (let i = 0; i < key.length; i++) {
    if (key[i] !== bytes[from + i]) return false;
  }
  return true;
}
