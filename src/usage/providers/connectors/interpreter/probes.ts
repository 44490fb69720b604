/**
 * The findings in one JSON document (or in a run of records): lengths, first scalars, presence, counts by key. Fed
 * either by a JSON walk as bytes pass or with a parsed document. Memory depends on the plan, never on the document.
 */

import { leadsOn, nodeOfBytes, nodeOfText } from "../../../extract/json-path.ts";
import type { PathNode } from "../../../extract/json-path.ts";
import type { JsonVisitor } from "../../../extract/json-walk.ts";
import { MAX_UNKNOWN_KEYS } from "../definition.ts";
import type { Path, Scalar } from "../definition.ts";
import { toNumber } from "./numbers.ts";
import type { IdSource, PlaceRole, ProbePlan } from "./probe-plan.ts";

/** Called for each id as it passes; `key`: of the mapped object, where the source is of a map. */
export type OnId = (source: IdSource, key: string | undefined, id: string) => void;

/** The key that stands for keys that are not names, and for those beyond the bound. */
export const OTHER_KEY = "_other";

/** Keys of one mapped object that are told apart: far more than any map names, so that known ones are not crowded out. */
const MAX_KEYS = MAX_UNKNOWN_KEYS * 4;

const KEY_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

/** A container on the way to a wanted place. */
interface Frame {
  readonly node: PathNode;
  readonly role: PlaceRole | undefined;
  readonly isObject: boolean;
  /** The key under which it stands. Told where the container above is counted key by key, or is the one above that. */
  readonly keyInParent: string | undefined;
  members: number;
  /** The key of the coming value, where keys are told. */
  key: string | undefined;
}

export class Probes implements JsonVisitor {
  private readonly plan: ProbePlan;
  private readonly onId: OnId | undefined;
  private readonly items: number[];
  private readonly keyCounts: number[];
  private readonly firsts: (Scalar | undefined)[];
  private readonly numbers: (number | undefined)[];
  private readonly isPresent: boolean[];
  private readonly keyItems: Map<string, number>[];
  private frames: Frame[] = [];
  /** Where the coming value stands. */
  private pending: PathNode | undefined;

  constructor(plan: ProbePlan, onId?: OnId) {
    this.plan = plan;
    this.onId = onId;
    const size = plan.pathIndex.size;
    this.items = Array.from<number>({ length: size }).fill(0);
    this.keyCounts = Array.from<number>({ length: size }).fill(0);
    this.firsts = Array.from({ length: size });
    this.numbers = Array.from({ length: size });
    this.isPresent = Array.from<boolean>({ length: size }).fill(false);
    this.keyItems = Array.from({ length: plan.mapIndex.size }, () => new Map());
    this.pending = plan.root;
  }

  /** Sum over the matches: an array its length, an object 1. */
  length(path: Path): number {
    return this.at(this.items, path) ?? 0;
  }

  keys(path: Path): number {
    return this.at(this.keyCounts, path) ?? 0;
  }

  /** The first scalar that is not null. */
  first(path: Path): Scalar | undefined {
    return this.at(this.firsts, path);
  }

  /** The first scalar that is a finite number, or is one in a string. */
  number(path: Path): number | undefined {
    return this.at(this.numbers, path);
  }

  /** Whether a match that is not null was found. */
  has(path: Path): boolean {
    return this.at(this.isPresent, path) === true;
  }

  /** `length` by key of the objects at `path`, in document order. */
  byKey(path: Path): ReadonlyMap<string, number> {
    const index = this.plan.mapIndex.get(path);
    return (index === undefined ? undefined : this.keyItems[index]) ?? NO_KEYS;
  }

  /** Forgets what was found. */
  clear(): void {
    this.items.fill(0);
    this.keyCounts.fill(0);
    this.firsts.fill(undefined);
    this.numbers.fill(undefined);
    this.isPresent.fill(false);
    for (const counts of this.keyItems) counts.clear();
    this.restart();
  }

  /** Adds the findings in a parsed document. */
  document(value: unknown): void {
    this.restart();
    this.value(value);
  }

  /** The next document begins: what was found stays. */
  restart(): void {
    this.frames = [];
    this.pending = this.plan.root;
  }

  /** Whether the text of the coming scalar matters. */
  get wantsScalar(): boolean {
    const role = this.pendingRole();
    return role !== undefined && (role.paths.length > 0 || role.ids.length > 0);
  }

  /** A container begins. False: it is to be stepped over, and `leave` must not be called. */
  enter(isObject: boolean): boolean {
    const node = this.pending;
    const role = this.pendingRole();
    const parent = this.countMember();
    if (role !== undefined) for (const index of role.paths) this.found(index, isObject);
    if (parent !== undefined && isObject) this.addByKey(parent, 1);
    if (node === undefined || role === undefined || !(role.isEntered || leadsOn(node))) return false;
    this.frames.push({ node, role, isObject, keyInParent: parent?.key, members: 0, key: undefined });
    this.pending = isObject ? undefined : node.other;
    return true;
  }

  leave(): void {
    const frame = this.frames.pop();
    if (frame === undefined) return;
    const counts = frame.isObject ? this.keyCounts : this.items;
    for (const index of frame.role?.paths ?? []) counts[index] = (counts[index] ?? 0) + frame.members;
    const parent = this.frames.at(-1);
    if (parent !== undefined && !frame.isObject) this.addByKey(parent, frame.members);
    this.pending = parent?.isObject === false ? parent.node.other : undefined;
  }

  /** The document was cut: what had begun counts as far as it came. */
  leaveAll(): void {
    while (this.frames.length > 0) this.leave();
  }

  /** The key of the coming value, as its bytes stand between the quotes; `text` gives it decoded. */
  keyBytes(bytes: Uint8Array, from: number, to: number, text: () => string): void {
    const frame = this.frames.at(-1);
    if (frame === undefined) return;
    const isTold = this.tellsKeys(frame);
    const named = isTold ? undefined : nodeOfBytes(frame.node, bytes, from, to);
    if (named !== undefined) this.pending = named;
    else if (isTold || bytes.subarray(from, to).includes(BACKSLASH)) this.key(text());
    else this.pending = frame.node.other;
  }

  key(text: string): void {
    const frame = this.frames.at(-1);
    if (frame === undefined) return;
    frame.key = text;
    this.pending = nodeOfText(frame.node, text);
  }

  /** undefined: a string that is too long to be told. */
  scalar(value: Scalar | null | undefined): void {
    const role = this.pendingRole();
    this.countMember();
    if (role === undefined || value === null) return;
    for (const index of role.paths) {
      this.isPresent[index] = true;
      if (value === undefined) continue;
      this.firsts[index] ??= value;
      this.numbers[index] ??= toNumber(value);
    }
    if (role.ids.length > 0 && (typeof value === "string" || typeof value === "number")) this.tellIds(role, String(value));
  }

  private value(value: unknown): void {
    if (typeof value !== "object" || value === null) return this.scalar(isScalar(value) ? value : null);
    const isObject = !Array.isArray(value);
    if (!this.enter(isObject)) return;
    const { node } = this.frames.at(-1) ?? { node: undefined };
    for (const [key, child] of Object.entries(value)) {
      if (isObject) this.key(key);
      else this.pending = node?.other;
      this.value(child);
    }
    this.leave();
  }

  private tellIds(role: PlaceRole, id: string): void {
    if (this.onId === undefined) return;
    for (const { source, containerDepth, isInArray } of role.ids) {
      const idSource = this.plan.idSources[source];
      if (idSource === undefined || this.frames[containerDepth]?.isObject === isInArray) continue;
      const key = idSource.mapDepth === undefined ? undefined : this.frames[idSource.mapDepth]?.key;
      this.onId(idSource, key, id);
    }
  }

  /** Keys are told of a mapped object, so that ids below it know theirs too. */
  private tellsKeys(frame: Frame): boolean {
    return frame.isObject && (frame.role?.maps.length ?? 0) > 0;
  }

  private countMember(): Frame | undefined {
    const parent = this.frames.at(-1);
    if (parent !== undefined) parent.members++;
    return parent;
  }

  private found(index: number, isObject: boolean): void {
    this.isPresent[index] = true;
    if (isObject) this.items[index] = (this.items[index] ?? 0) + 1;
  }

  private addByKey(parent: Frame, count: number): void {
    if (!this.tellsKeys(parent) || parent.key === undefined || count === 0) return;
    for (const index of parent.role?.maps ?? []) {
      const counts = this.keyItems[index];
      if (counts === undefined) continue;
      const isName = KEY_NAME.test(parent.key) && (counts.has(parent.key) || counts.size < MAX_KEYS);
      const key = isName ? parent.key : OTHER_KEY;
      counts.set(key, (counts.get(key) ?? 0) + count);
    }
  }

  private pendingRole(): PlaceRole | undefined {
    return this.pending === undefined ? undefined : this.plan.roles.get(this.pending);
  }

  private at<T>(values: readonly T[], path: Path): T | undefined {
    const index = this.plan.pathIndex.get(path);
    return index === undefined ? undefined : values[index];
  }
}

const NO_KEYS: ReadonlyMap<string, number> = new Map();
const BACKSLASH = 0x5c;

function isScalar(value: unknown): value is Scalar {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
