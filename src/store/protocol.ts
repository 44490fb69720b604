/** The messages between the client (main thread) and the worker that owns the database. */

import type { DeadLetter, DeadLetterQuery, EventQuery, OutboxBatch, StoreCounts, StoredRecord, UsageQuery, UsageRow } from "./store.ts";
import type { StoreErrorCode } from "./store-error.ts";

/**
 * What one group commit writes. Flat lists, because they cost the least to copy between threads. Groups are numbered
 * without gaps and are written in order; a group that is sent again has its old number.
 */
export interface GroupMessage {
  readonly kind: "group";
  readonly seq: number;
  /** flowId, startedAtMs, unknownEvent of each flow that began. */
  readonly begins: readonly (string | number)[];
  /** Flows that ended and whose intent may be on disk. */
  readonly ends: readonly string[];
  /** id, timeMs, delivery code, body of each record. */
  readonly records: readonly (string | number)[];
  readonly gaps: readonly (readonly [kind: string, count: number])[];
  /** A job and when it started, or null when it is over. */
  readonly jobs: readonly (readonly [key: string, startedAtMs: number | null])[];
}

export type Call =
  | OutboxCall
  | { readonly name: "events"; readonly query: EventQuery }
  | { readonly name: "usage"; readonly query: UsageQuery }
  | { readonly name: "counts" }
  | { readonly name: "deadLetters"; readonly query: DeadLetterQuery }
  | { readonly name: "changeDeadLetters"; readonly change: "replay" | "discard"; readonly ids: readonly string[] | undefined }
  | { readonly name: "prune"; readonly beforeMs: number }
  /** Gives up ownership, closes the database and ends the worker. */
  | { readonly name: "close" };

/** Calls about one sink's part of the outbox. */
export type OutboxCall =
  | { readonly name: "takeBatch"; readonly sink: string; readonly maxEvents: number; readonly maxBytes: number }
  | { readonly name: "readBatch"; readonly batchId: string }
  | { readonly name: "freezeBatch"; readonly batchId: string; readonly requests: string }
  | { readonly name: "delivered"; readonly batchId: string }
  | { readonly name: "refuseBatch"; readonly batchId: string; readonly reason: string }
  | { readonly name: "splitBatch"; readonly batchId: string }
  | { readonly name: "releaseBatch"; readonly batchId: string }
  /** Without a sink: of all sinks of this process. */
  | { readonly name: "pending"; readonly sink: string | undefined };

/** What a call gives: `done` for those that only do something. */
export type Answer =
  | { readonly name: "batch"; readonly batch: OutboxBatch | undefined }
  | { readonly name: "batches"; readonly batches: readonly OutboxBatch[] }
  /** Events that wait for no sink any more; undefined: the batch is not known. */
  | { readonly name: "settled"; readonly left: number | undefined }
  | { readonly name: "pending"; readonly events: number }
  | { readonly name: "events"; readonly records: readonly StoredRecord[] }
  | { readonly name: "usage"; readonly rows: readonly UsageRow[] }
  | { readonly name: "counts"; readonly counts: StoreCounts }
  | { readonly name: "deadLetters"; readonly deadLetters: readonly DeadLetter[] }
  | { readonly name: "changed"; readonly events: number }
  | { readonly name: "pruned"; readonly removed: number }
  | { readonly name: "done" };

export type ToWorker = GroupMessage | { readonly kind: "call"; readonly id: number; readonly call: Call };

export interface ErrorMessage {
  readonly code: StoreErrorCode;
  readonly message: string;
}

export type FromWorker =
  | {
      readonly kind: "ready";
      readonly deploymentId: string;
      readonly ownerId: number | undefined;
      readonly recovered: number;
      readonly jobs: readonly (readonly [key: string, startedAtMs: number])[];
      /** Where a database that was damaged has been moved. */
      readonly damaged: string | undefined;
    }
  | { readonly kind: "failed"; readonly error: ErrorMessage }
  /** Every group up to `seq` is stored. */
  | { readonly kind: "written"; readonly seq: number }
  /** Group `seq` and all that were sent after it are not stored: the client sends them again, in order. */
  | { readonly kind: "refused"; readonly seq: number; readonly error: ErrorMessage }
  | { readonly kind: "answer"; readonly id: number; readonly answer: Answer }
  | { readonly kind: "answerError"; readonly id: number; readonly error: ErrorMessage }
  /** The outbox has changed in another way than by groups: an adoption, or the report of a loss. */
  | { readonly kind: "adopted"; readonly recovered: number }
  | { readonly kind: "heartbeat"; readonly error: ErrorMessage | undefined };

/** What the worker is started with. */
export interface WorkerSetup {
  readonly mode: "owner" | "reader";
  readonly path: string;
  readonly durability: "strict" | "relaxed";
  /** Ids of the sinks that this process delivers to. */
  readonly sinks: readonly string[];
  readonly busyTimeoutMs: number;
  readonly maxBytes: number | undefined;
  /** Set when the worker is started again. */
  readonly ownerId: number | undefined;
  readonly nextSeq: number;
  /** The last worker found the database damaged. */
  readonly isSuspect: boolean;
  /** Batches that were handed out and not settled. */
  readonly takenBatches: readonly string[];
}
