/**
 * The contract of a sink: a place that usage events are delivered to. One file under sinks/ makes one; delivery takes
 * batches out of the sink's own outbox, has each sent until the sink takes it, and does with its verdicts what the
 * contract's section 5 says. test/support/sink-contract.ts holds every sink to it.
 */

/** A frozen event: `body` is the serialized CloudEvent, the same bytes for every sink and at every attempt. */
export interface SinkEvent {
  readonly id: string;
  readonly body: string;
}

/** What a sink makes of a batch's events, where it does not send them as they are. */
export interface SinkRequest {
  /** Names the request for the target's de-duplication, `event:category` say. */
  readonly key: string;
  /** The bytes to send, as text. */
  readonly body: string;
}

export interface SinkBatch {
  /** Stable over attempts, restarts and adoptions; new for each half when a batch is split. */
  readonly id: string;
  /** When its events were put together (never before their storing), epoch milliseconds. The halves of a batch keep it. */
  readonly createdAtMs: number;
  /** In order of storing; at least one. */
  readonly events: readonly SinkEvent[];
  /** What `prepare` gave for these events; empty for a sink without it. */
  readonly requests: readonly SinkRequest[];
}

export type Verdict =
  /** The target has every event of the batch. */
  | { readonly kind: "delivered" }
  /** Tried again, with backoff; not before `retryAfterMs`, which holds for the whole sink. */
  | { readonly kind: "retry"; readonly reason: string; readonly retryAfterMs?: number }
  /** Too much at once: halved. A single event becomes a dead letter. */
  | { readonly kind: "too_large"; readonly reason: string }
  /** Some event of the batch is not acceptable: split until it stands alone, which then becomes a dead letter. */
  | { readonly kind: "refused"; readonly reason: string }
  /** The target takes nothing as things are (address, credentials): the sink pauses, and is tried every minute. */
  | { readonly kind: "pause"; readonly reason: string };

/** When a batch closes, at the first of the first three, and how many are sent at once. */
export interface SinkLimits {
  readonly maxEvents: number;
  /** Of the events as a JSON array; a single larger event is a batch all the same. */
  readonly maxBytes: number;
  readonly maxWaitMs: number;
  readonly concurrency: number;
}

export interface Sink {
  /** Lower-case letters, digits and hyphens. Names the sink's outbox on disk: a sink of another id begins with the events stored from then on. */
  readonly id: string;
  readonly limits: SinkLimits;
  /**
   * Pure. Called once for a batch and kept on disk before the first `send`, so that every attempt has the same bytes. Events
   * that the target has no use for give no request; a batch without any counts as delivered, unsent. What it throws refuses
   * the batch.
   */
  readonly prepare?: (events: readonly SinkEvent[]) => readonly SinkRequest[];
  /**
   * One attempt. Has a deadline of its own over everything it waits for, and ends at once when `signal` aborts. Never
   * rejects (a rejection is tried again). `reason` is a code such as "HTTP 503" or ECONNREFUSED, never an address or a body.
   */
  send(batch: SinkBatch, signal: AbortSignal): Promise<Verdict>;
  /** Frees what the sink holds. No `send` follows or is under way. */
  close(): Promise<void>;
}
