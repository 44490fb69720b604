/**
 * What waits on the main thread to be stored: calls of one moment are collected into a group, groups keep their order,
 * and each stays here until the worker has stored it. Bounded; knows no thread and no timer.
 */

import { DELIVERY } from "./migrations.ts";
import type { GroupMessage } from "./protocol.ts";
import type { FlowIntent, LedgerRecord } from "./store.ts";
import { StoreError } from "./store-error.ts";

/** Records that wait for the disk. Beyond either bound a record is dropped and counted as gap `memory_full`. */
export const MAX_RECORDS = 10_000;
export const MAX_BYTES = 64 * 1024 * 1024;

/** The part of those bounds from which on nothing new should begin. */
const NEARLY_FULL = 0.8;

/** A group is full at either: a failing disk is then tried with little. */
const GROUP_RECORDS = 1000;
const GROUP_BYTES = 4 * 1024 * 1024;

/** The gap that counts dropped records. */
const MEMORY_FULL = "memory_full";

interface Group {
  readonly seq: number;
  readonly begins: Map<string, FlowIntent>;
  readonly ends: string[];
  readonly records: (string | number)[];
  readonly gaps: Map<string, number>;
  readonly jobs: Map<string, number | null>;
  bytes: number;
  pendingEvents: number;
  pendingBytes: number;
  /** One promise for every commit of the group; made by the first. */
  outcome: PromiseWithResolvers<void> | undefined;
}

/** What the storing of groups made deliverable. */
export interface Stored {
  readonly pendingEvents: number;
  readonly pendingBytes: number;
}

export class OutgoingGroups {
  readonly #intentWaitMs: number;
  /** Intents that wait for their flow to grow old; in order of beginning. Most flows end first, and theirs are never built. */
  readonly #young = new Map<string, { readonly intent: FlowIntent; readonly sinceMs: number }>();
  #open = emptyGroup(1);
  readonly #sealed: Group[] = [];
  readonly #inFlight: Group[] = [];
  #records = 0;
  #bytes = 0;
  #onGap: ((kind: string, count: number) => void) | undefined;
  /** Gaps from before there was a listener: the start's own. */
  readonly #untold = new Map<string, number>();

  /** `intentWaitMs`: how old a flow is before its intent is written. */
  constructor(intentWaitMs: number) {
    this.#intentWaitMs = intentWaitMs;
  }

  /** Records that are not known to be stored. */
  get records(): number {
    return this.#records;
  }

  get isEmpty(): boolean {
    return this.#young.size === 0 && this.#inFlight.length === 0 && this.#sealed.length === 0 && !hasContent(this.#open);
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** Little room is left: what is under way by now should still find some. */
  get isNearlyFull(): boolean {
    return this.#records >= MAX_RECORDS * NEARLY_FULL || this.#bytes >= MAX_BYTES * NEARLY_FULL;
  }

  /** The number of the oldest group that is not known to be stored. */
  get nextSeq(): number {
    return (this.#inFlight[0] ?? this.#sealed[0] ?? this.#open).seq;
  }

  begin(intent: FlowIntent, nowMs: number): void {
    this.#young.set(intent.flowId, { intent, sinceMs: nowMs });
  }

  /** Moves the intents that are old enough at `nowMs` into the open group; true when younger ones are left. */
  ripen(nowMs: number): boolean {
    for (const [flowId, { intent, sinceMs }] of this.#young) {
      if (sinceMs + this.#intentWaitMs > nowMs) return true;
      this.#young.delete(flowId);
      this.#write(intent);
    }
    return false;
  }

  /** An intent that does not fit in memory is left out: its flow's records are still counted. */
  #write({ flowId, startedAtMs, unknownEvent }: FlowIntent): void {
    if (this.#bytes + unknownEvent.length > MAX_BYTES) return;
    this.#open.begins.set(flowId, { flowId, startedAtMs, unknownEvent });
    this.#grow(unknownEvent.length);
  }

  commit(flowId: string, records: readonly LedgerRecord[]): Promise<void> {
    let bytes = 0;
    for (const record of records) bytes += record.body.length;
    if (this.#records + records.length > MAX_RECORDS || this.#bytes + bytes > MAX_BYTES) {
      // The intent stays: if it is on disk, the flow comes back as unknown and is not lost without a trace.
      this.addGap(MEMORY_FULL, records.length);
      return rejected(new StoreError("memory_full", "Too many records wait for the disk; this one was dropped."));
    }
    const group = this.#open;
    this.#endFlow(group, flowId);
    for (const record of records) {
      group.records.push(record.id, Math.trunc(record.timeMs), record.delivery === "pending" ? DELIVERY.pending : DELIVERY.none, record.body);
      if (record.delivery === "pending") {
        group.pendingEvents += 1;
        group.pendingBytes += record.body.length;
      }
    }
    this.#records += records.length;
    group.outcome ??= outcomeOf();
    const { promise } = group.outcome;
    this.#grow(bytes);
    return promise;
  }

  addGap(kind: string, count: number): void {
    if (count <= 0) return;
    this.#open.gaps.set(kind, (this.#open.gaps.get(kind) ?? 0) + count);
    if (this.#onGap === undefined) this.#untold.set(kind, (this.#untold.get(kind) ?? 0) + count);
    else this.#onGap(kind, count);
  }

  /** Told of each gap from now on, and of those before. `listener` must not throw. */
  onGap(listener: (kind: string, count: number) => void): void {
    this.#onGap = listener;
    for (const [kind, count] of this.#untold) listener(kind, count);
    this.#untold.clear();
  }

  /** `startedAtMs` null: the job is over. */
  setJob(key: string, startedAtMs: number | null): void {
    this.#open.jobs.set(key, startedAtMs);
  }

  /** The next group to send, which is in flight from now on; undefined when nothing waits. */
  next(): GroupMessage | undefined {
    if (this.#sealed.length === 0) this.#seal();
    const group = this.#sealed.shift();
    if (group === undefined) return undefined;
    this.#inFlight.push(group);
    return messageOf(group);
  }

  /** Every group up to `seq` is stored: its commits resolve. */
  stored(seq: number): Stored {
    let pendingEvents = 0;
    let pendingBytes = 0;
    while ((this.#inFlight[0]?.seq ?? Number.POSITIVE_INFINITY) <= seq) {
      const group = this.#inFlight.shift();
      if (group === undefined) break;
      this.#records -= group.records.length / 4;
      this.#bytes -= group.bytes;
      pendingEvents += group.pendingEvents;
      pendingBytes += group.pendingBytes;
      group.outcome?.resolve();
    }
    return { pendingEvents, pendingBytes };
  }

  /** Nothing could be stored: every group waits to be sent again in its old order. */
  refused(): void {
    this.#seal();
    this.#sealed.unshift(...this.#inFlight.splice(0));
  }

  /** The store closes: what is not stored by now is lost, and its commits reject. */
  abandon(error: StoreError): void {
    this.refused();
    for (const group of this.#sealed) group.outcome?.reject(error);
  }

  #endFlow(group: Group, flowId: string): void {
    if (this.#young.delete(flowId)) return;
    const begun = group.begins.get(flowId);
    if (begun === undefined) {
      group.ends.push(flowId);
      return;
    }
    group.begins.delete(flowId);
    group.bytes -= begun.unknownEvent.length;
    this.#bytes -= begun.unknownEvent.length;
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    this.#open.bytes += bytes;
    if (this.#open.bytes >= GROUP_BYTES || this.#open.records.length >= GROUP_RECORDS * 4) this.#seal();
  }

  #seal(): void {
    if (!hasContent(this.#open)) return;
    this.#sealed.push(this.#open);
    this.#open = emptyGroup(this.#open.seq + 1);
  }
}

function emptyGroup(seq: number): Group {
  return {
    seq,
    begins: new Map(),
    ends: [],
    records: [],
    gaps: new Map(),
    jobs: new Map(),
    bytes: 0,
    pendingEvents: 0,
    pendingBytes: 0,
    outcome: undefined,
  };
}

function hasContent(group: Group): boolean {
  return group.outcome !== undefined || group.begins.size + group.ends.length + group.gaps.size + group.jobs.size > 0;
}

function messageOf(group: Group): GroupMessage {
  const begins: (string | number)[] = [];
  for (const intent of group.begins.values()) begins.push(intent.flowId, Math.trunc(intent.startedAtMs), intent.unknownEvent);
  return {
    kind: "group",
    seq: group.seq,
    begins,
    ends: group.ends,
    records: group.records,
    gaps: [...group.gaps],
    jobs: [...group.jobs],
  };
}

/** A rejection that ends nothing if nobody hears it. */
export function rejected(error: StoreError): Promise<void> {
  const outcome = outcomeOf();
  outcome.reject(error);
  return outcome.promise;
}

/** A caller may not wait for the outcome (relaxed durability): a rejection that nobody hears must not end the process. */
function outcomeOf(): PromiseWithResolvers<void> {
  const outcome = Promise.withResolvers<void>();
  outcome.promise.catch(() => undefined);
  return outcome;
}
