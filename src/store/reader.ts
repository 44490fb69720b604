/** Asking the ledger: the calls that the store and a reader beside it have in common, and the reader. */

import { join } from "node:path";
import type { Answer } from "./protocol.ts";
import type { DeadLetter, DeadLetterQuery, EventQuery, StoreCounts, StoredRecord, UsageQuery, UsageRow } from "./store.ts";
import { StoreError } from "./store-error.ts";
import { WorkerLink } from "./worker-link.ts";

/** The database's name in the data directory. */
export const DATABASE_FILE = "tallyman.db";

const BUSY_TIMEOUT_MS = 2000;

export interface LedgerQueries {
  events(query: EventQuery): Promise<readonly StoredRecord[]>;
  usage(query: UsageQuery): Promise<readonly UsageRow[]>;
  counts(): Promise<StoreCounts>;
  deadLetters(query: DeadLetterQuery): Promise<readonly DeadLetter[]>;
}

/** A ledger that other processes may be writing. It owns no flows: `ownOnly` means nothing, and `pending` is everybody's. */
export interface LedgerReader extends LedgerQueries {
  readonly deploymentId: string;
  close(): Promise<void>;
}

/** Opens the ledger of a data directory for reading only. Rejects with `ledger_missing` when there is none yet. */
export async function openLedgerReader(dataDir: string): Promise<LedgerReader> {
  const ignore = (): void => undefined;
  const link = new WorkerLink({
    setup: () => ({
      mode: "reader",
      path: join(dataDir, DATABASE_FILE),
      durability: "relaxed",
      sinks: [],
      busyTimeoutMs: BUSY_TIMEOUT_MS,
      maxBytes: undefined,
      ownerId: undefined,
      nextSeq: 1,
      isSuspect: false,
      takenBatches: [],
    }),
    onNotice: ignore,
    onDown: ignore,
    onUp: ignore,
  });
  const { deploymentId } = await link.start();
  return { deploymentId, ...queriesOver(link), close: () => link.close() };
}

/** The queries as calls of the worker. */
export function queriesOver(link: WorkerLink): LedgerQueries {
  return {
    async events(query) {
      const answer = await link.call({ name: "events", query });
      if (answer.name !== "events") throw unexpectedAnswer(answer);
      return answer.records;
    },
    async usage(query) {
      const answer = await link.call({ name: "usage", query });
      if (answer.name !== "usage") throw unexpectedAnswer(answer);
      return answer.rows;
    },
    async counts() {
      const answer = await link.call({ name: "counts" });
      if (answer.name !== "counts") throw unexpectedAnswer(answer);
      return answer.counts;
    },
    async deadLetters(query) {
      const answer = await link.call({ name: "deadLetters", query });
      if (answer.name !== "deadLetters") throw unexpectedAnswer(answer);
      return answer.deadLetters;
    },
  };
}

/** The two ends of the protocol disagree: a defect of ours. */
export function unexpectedAnswer(answer: Answer): StoreError {
  return new StoreError("database_failed", `The store's worker answered with "${answer.name}".`);
}
