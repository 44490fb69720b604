/**
 * The hand-over counters: flows (metered exchanges under way), buffered (usage not yet stored) and reports (events
 * stored and not yet delivered). A lease of the next stage is taken before the last one is released, so all three are
 * zero only when nothing is pending. Optionally mirrored to a file (contract section 6, TALLYMAN_PENDING_FILE).
 */

import { randomUUID } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";

export interface CounterSnapshot {
  readonly flows: number;
  readonly buffered: number;
  readonly reports: number;
}

/** A flow's way through the stages. Each step may be taken once; later calls do nothing. */
export interface FlowLease {
  /** The flow has ended and its usage waits to be stored. */
  buffer(): void;
  /** Its usage is stored; `reports` of its events wait for delivery. */
  store(reports: number): void;
  /** Its usage could not be stored, or there is none. */
  drop(): void;
}

export interface Counters {
  startFlow(): FlowLease;
  /** A part of a flow that is still under way has ended, and its usage waits to be stored. */
  startPart(): FlowLease;
  /** Events that reached the receiver (or left the outbox otherwise). */
  reportsDone(count: number): void;
  /** Events found in the outbox that no flow of this process made (an earlier run, an adoption). */
  reportsFound(count: number): void;
  snapshot(): CounterSnapshot;
  onChange(listener: () => void): void;
  /** Writes the pending file a last time, at once. */
  close(): void;
}

export interface CountersOptions {
  /** Events that wait for delivery already, of an earlier run. */
  readonly reports?: number;
  readonly pendingFile: string | undefined;
  /** Told when the file cannot be written: once, and again only after it could be. */
  readonly onFileError: (error: unknown) => void;
  readonly now: () => number;
}

export function createCounters(options: CountersOptions): Counters {
  const counts = { flows: 0, buffered: 0, reports: options.reports ?? 0 };
  const listeners: (() => void)[] = [];
  const file = options.pendingFile === undefined ? undefined : createPendingFile(options.pendingFile, counts, options);
  const changed = (): void => {
    file?.touch();
    for (const listener of listeners) listener();
  };
  const move = (by: Partial<CounterSnapshot>): void => {
    counts.flows += by.flows ?? 0;
    counts.buffered += by.buffered ?? 0;
    counts.reports = Math.max(0, counts.reports + (by.reports ?? 0));
    changed();
  };
  file?.touch();

  return {
    startFlow() {
      move({ flows: 1 });
      return createLease(move, "flow");
    },
    startPart() {
      move({ buffered: 1 });
      return createLease(move, "buffered");
    },
    reportsDone: (count) => move({ reports: -count }),
    reportsFound: (count) => move({ reports: count }),
    snapshot: () => ({ ...counts }),
    onChange: (listener) => void listeners.push(listener),
    close: () => file?.close(),
  };
}

function createLease(move: (by: Partial<CounterSnapshot>) => void, from: "flow" | "buffered"): FlowLease {
  let stage: "flow" | "buffered" | "done" = from;
  return {
    buffer() {
      if (stage !== "flow") return;
      stage = "buffered";
      move({ buffered: 1, flows: -1 });
    },
    store(reports) {
      if (stage === "done") return;
      move(stage === "flow" ? { reports, flows: -1 } : { reports, buffered: -1 });
      stage = "done";
    },
    drop() {
      if (stage === "done") return;
      move(stage === "flow" ? { flows: -1 } : { buffered: -1 });
      stage = "done";
    },
  };
}

const WRITE_EVERY_MS = 100;

/** Keeps the file current with at most one write per WRITE_EVERY_MS, by temp file and rename. */
function createPendingFile(path: string, counts: CounterSnapshot, options: CountersOptions): { touch(): void; close(): void } {
  const stateId = randomUUID();
  const temp = `${path}.${process.pid}.tmp`;
  let isDirty = false;
  let isBusy = false;
  let isFaulty = false;
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;

  const text = (): string =>
    `${JSON.stringify({ pid: process.pid, state_id: stateId, updated_at_ms: options.now(), flows: counts.flows, buffered: counts.buffered, reports: counts.reports })}\n`;
  const write = async (): Promise<void> => {
    timer = undefined;
    isBusy = true;
    isDirty = false;
    try {
      await writeFile(temp, text());
      // The last truth may have been written meanwhile.
      if (!isClosed) await rename(temp, path);
      isFaulty = false;
    } catch (error) {
      if (!isFaulty && !isClosed) options.onFileError(error);
      isFaulty = true;
    }
    isBusy = false;
    if (isClosed) writeLast();
    else if (isDirty) schedule(WRITE_EVERY_MS);
  };
  /** A temporary file of its own: the other one may be in the middle of a write. */
  const writeLast = (): void => {
    try {
      writeFileSync(`${temp}.last`, text());
      renameSync(`${temp}.last`, path);
      rmSync(temp, { force: true });
    } catch (error) {
      if (!isFaulty) options.onFileError(error);
      isFaulty = true;
    }
  };
  const schedule = (delayMs: number): void => {
    timer ??= setTimeout(() => void write(), delayMs).unref();
  };
  return {
    touch() {
      isDirty = true;
      if (!isBusy && !isClosed) schedule(WRITE_EVERY_MS);
    },
    close() {
      clearTimeout(timer);
      isClosed = true;
      writeLast();
    },
  };
}
