/**
 * One attempt at one batch: its events as they stand in the outbox, the bytes that the sink made of them, and the sink's
 * verdict. What a sink throws is a verdict too.
 */

import type { OutboxBatch, SinkOutbox } from "../../store/store.ts";
import type { HeldBatch } from "./held-batches.ts";
import type { Sink, SinkRequest, Verdict } from "./sink.ts";

/**
 * - `aborted`: the signal ended the attempt; nothing is known about it.
 * - `gone`: another process has settled the batch or works on it (this one stood still for long).
 * - `unreadable`: the store could not be asked.
 */
export type SendResult = Verdict | "aborted" | "gone" | "unreadable";

export interface Sender {
  /** Never rejects. */
  send(batch: HeldBatch): Promise<SendResult>;
  /** Resolves when no attempt is under way. */
  idle(): Promise<void>;
}

export interface SenderOptions {
  readonly sink: Sink;
  readonly outbox: SinkOutbox;
  readonly monotonicMs: () => number;
  readonly signal: AbortSignal;
}

/** Events read longer ago are read anew: a process that stood still may have lost the batch to another. */
const FRESH_MS = 10_000;

export function createSender({ sink, outbox, monotonicMs, signal }: SenderOptions): Sender {
  const underWay = new Set<Promise<SendResult>>();

  const load = async (held: HeldBatch): Promise<OutboxBatch | undefined> => {
    if (held.batch === undefined || monotonicMs() - held.readAtMs > FRESH_MS) {
      held.batch = await outbox.read(held.id);
      held.readAtMs = monotonicMs();
    }
    return held.batch;
  };

  /** The bytes that were kept, else the sink's, which are kept before they are sent. */
  const requestsOf = async (prepare: NonNullable<Sink["prepare"]>, batch: OutboxBatch): Promise<readonly SinkRequest[]> => {
    if (batch.requests !== undefined) return readRequests(batch.requests);
    const requests = prepare(batch.events);
    await outbox.freeze(batch.id, JSON.stringify(requests));
    return requests;
  };

  const attempt = async (held: HeldBatch): Promise<SendResult> => {
    let batch: OutboxBatch | undefined;
    let requests: readonly SinkRequest[] = [];
    try {
      batch = await load(held);
      if (batch === undefined) return "gone";
      if (sink.prepare !== undefined) requests = await requestsOf(guarded(sink.prepare), batch);
    } catch (error) {
      return error instanceof PrepareFault ? { kind: "refused", reason: "unpreparable" } : "unreadable";
    }
    if (sink.prepare !== undefined && requests.length === 0) return { kind: "delivered" };
    const { id, createdAtMs, events } = batch;
    try {
      const verdict = await sink.send({ id, createdAtMs, events, requests }, signal);
      return signal.aborted && verdict.kind === "retry" ? "aborted" : verdict;
    } catch {
      return signal.aborted ? "aborted" : { kind: "retry", reason: "sink_fault" };
    }
  };

  return {
    async send(held) {
      const result = attempt(held);
      underWay.add(result);
      try {
        return await result;
      } finally {
        underWay.delete(result);
      }
    },
    async idle() {
      await Promise.all(underWay);
    },
  };
}

class PrepareFault extends Error {}

/** A sink that cannot make anything of an event refuses it. */
function guarded(prepare: NonNullable<Sink["prepare"]>): NonNullable<Sink["prepare"]> {
  return (events) => {
    try {
      return prepare(events);
    } catch (error) {
      throw new PrepareFault("prepare", { cause: error });
    }
  };
}

function readRequests(text: string): SinkRequest[] {
  const found: unknown = JSON.parse(text);
  if (!Array.isArray(found)) return [];
  return found.flatMap((each: unknown) => (isRequest(each) ? [{ key: each.key, body: each.body }] : []));
}

function isRequest(value: unknown): value is SinkRequest {
  return typeof value === "object" && value !== null && "key" in value && typeof value.key === "string" && "body" in value && typeof value.body === "string";
}
