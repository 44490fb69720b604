/**
 * A stream that is one JSON array: the values at given paths in each element as it arrives, and the end of each
 * element (reference/model-usage.md section 3.3). A JSON scan whose paths begin at the element. Knows no vendor.
 */

import type { JsonPath } from "./json-path.ts";
import { createJsonScan } from "./json-scan.ts";
import type { JsonScan } from "./json-scan.ts";

export interface JsonArrayOptions {
  /** The values to capture, at least one, from the element down: [] is the element itself. Give a constant array. */
  readonly paths: readonly JsonPath[];
  /** As in JsonScanOptions: for each occurrence, in document order. */
  readonly onValue: (path: JsonPath, value: unknown) => void;
  /** An element is over, after its values. An element that is cut off has no end. */
  readonly onElement: () => void;
  /** Largest captured value, in bytes as sent. Default as of a JSON scan. */
  readonly maxValueBytes?: number;
  readonly onOversize?: (path: JsonPath) => void;
}

/** Makes the scan of one array. A document that is no array breaks it. Memory is that of a JSON scan. */
export function createJsonArrayScan(options: JsonArrayOptions): JsonScan {
  return new ArrayScan(options);
}

const OPEN_BRACKET = 0x5b;

/** White space, and the bytes of a byte order mark. */
const BLANK = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

class ArrayScan implements JsonScan {
  private readonly scan: JsonScan;
  private hasBegun = false;
  private isNoArray = false;

  constructor(options: JsonArrayOptions) {
    const { onValue, onElement, onOversize, maxValueBytes } = options;
    const { inDocument, inElement } = elementPaths(options.paths);
    this.scan = createJsonScan({
      paths: inDocument,
      onValue: (path, value) => onValue(inElement.get(path) ?? path, value),
      onMember: onElement,
      ...(onOversize === undefined ? {} : { onOversize: (path: JsonPath) => onOversize(inElement.get(path) ?? path) }),
      ...(maxValueBytes === undefined ? {} : { maxValueBytes }),
    });
  }

  get isBroken(): boolean {
    return this.isNoArray || this.scan.isBroken;
  }

  push(chunk: Uint8Array): void {
    if (!this.hasBegun) this.begin(chunk);
    if (!this.isNoArray) this.scan.push(chunk);
  }

  end(): boolean {
    return this.scan.end() && !this.isNoArray;
  }

  private begin(chunk: Uint8Array): void {
    const byte = chunk.find((value) => !BLANK.has(value));
    this.hasBegun = byte !== undefined;
    this.isNoArray = byte !== undefined && byte !== OPEN_BRACKET;
  }
}

interface ElementPaths {
  readonly inDocument: readonly JsonPath[];
  /** The path as it was given, by the path in the document. */
  readonly inElement: ReadonlyMap<JsonPath, JsonPath>;
}

/** A scan keeps what it derives from a table of paths by the table's identity. */
const derived = new WeakMap<readonly JsonPath[], ElementPaths>();

function elementPaths(paths: readonly JsonPath[]): ElementPaths {
  let found = derived.get(paths);
  if (found === undefined) {
    const pairs = paths.map((path) => [["*", ...path], path] as const);
    found = { inDocument: pairs.map(([inDocument]) => inDocument), inElement: new Map(pairs) };
    derived.set(paths, found);
  }
  return found;
}
