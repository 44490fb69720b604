/** One sink's part of the outbox as its delivery sees it: each method is a call of the store's worker. */

import type { Answer, OutboxCall } from "./protocol.ts";
import { unexpectedAnswer } from "./reader.ts";
import type { OutboxBatch, SinkOutbox } from "./store.ts";

export interface SinkOutboxOptions {
  call(call: OutboxCall): Promise<Answer>;
  /** Batches that were handed out and not settled: a worker that is started again has to know them. */
  readonly taken: Set<string>;
  /** A batch that was ours is not known any more: another process has settled it. */
  readonly onUnknown: () => void;
}

export function sinkOutbox(sink: string, { call, taken, onUnknown }: SinkOutboxOptions): SinkOutbox {
  const end = async (outcome: Extract<OutboxCall, { name: "delivered" | "refuseBatch" }>): Promise<number> => {
    const answer = await call(outcome);
    if (answer.name !== "settled") throw unexpectedAnswer(answer);
    taken.delete(outcome.batchId);
    if (answer.left === undefined) onUnknown();
    return answer.left ?? 0;
  };
  return {
    async take(maxEvents, maxBytes) {
      const batch = batchOf(await call({ name: "takeBatch", sink, maxEvents, maxBytes }));
      if (batch !== undefined) taken.add(batch.id);
      return batch;
    },
    read: async (batchId) => batchOf(await call({ name: "readBatch", batchId })),
    async freeze(batchId, requests) {
      await call({ name: "freezeBatch", batchId, requests });
    },
    delivered: (batchId) => end({ name: "delivered", batchId }),
    refuse: (batchId, reason) => end({ name: "refuseBatch", batchId, reason }),
    async split(batchId) {
      const answer = await call({ name: "splitBatch", batchId });
      if (answer.name !== "batches") throw unexpectedAnswer(answer);
      if (answer.batches.length > 0) taken.delete(batchId);
      for (const batch of answer.batches) taken.add(batch.id);
      if (answer.batches.length === 0) onUnknown();
      return answer.batches;
    },
    async release(batchId) {
      taken.delete(batchId);
      await call({ name: "releaseBatch", batchId });
    },
    pending: async () => pendingOf(await call({ name: "pending", sink })),
  };
}

/** The number in an answer of `pending`. */
export function pendingOf(answer: Answer): number {
  if (answer.name !== "pending") throw unexpectedAnswer(answer);
  return answer.events;
}

function batchOf(answer: Answer): OutboxBatch | undefined {
  if (answer.name !== "batch") throw unexpectedAnswer(answer);
  return answer.batch;
}
