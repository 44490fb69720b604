/** Runs the calls about the outbox in the worker: each is one transaction. */

import type { Database } from "./database.ts";
import type { Outbox } from "./outbox.ts";
import type { Answer, OutboxCall } from "./protocol.ts";

const DONE: Answer = { name: "done" };

/** Batches need no fsync of their own: a batch lost with the power is frozen anew, with the same event ids. */
export function runOutboxCall(call: OutboxCall, db: Database, outbox: Outbox): Answer {
  const inTransaction = <T>(work: () => T): T => db.transaction(work, "normal");
  switch (call.name) {
    case "takeBatch": {
      const batch = inTransaction(() => outbox.take(call.sink, call.maxEvents, call.maxBytes, Date.now()));
      if (batch !== undefined) outbox.hold(batch.id);
      return { name: "batch", batch };
    }
    case "readBatch":
      return { name: "batch", batch: db.read(() => outbox.read(call.batchId)) };
    case "freezeBatch":
      inTransaction(() => outbox.freeze(call.batchId, call.requests));
      return DONE;
    case "delivered":
      return settled(outbox, call.batchId, inTransaction(() => outbox.settle(call.batchId)));
    case "refuseBatch":
      return settled(outbox, call.batchId, inTransaction(() => outbox.refuse(call.batchId, call.reason, Date.now())));
    case "splitBatch": {
      const batches = inTransaction(() => outbox.split(call.batchId));
      if (batches.length > 0) outbox.letGo(call.batchId);
      for (const batch of batches) outbox.hold(batch.id);
      return { name: "batches", batches };
    }
    case "releaseBatch":
      outbox.letGo(call.batchId);
      return DONE;
    case "pending":
      return { name: "pending", events: outbox.pending(call.sink) };
    default:
      return call satisfies never;
  }
}

function settled(outbox: Outbox, batchId: string, left: number | undefined): Answer {
  outbox.letGo(batchId);
  return { name: "settled", left };
}
