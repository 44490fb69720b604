/** What the worker does by itself every second, and how it ends when its database is damaged. */

import { toStoreError } from "./database.ts";
import type { GapReports } from "./gap-reports.ts";
import type { Owners } from "./owners.ts";
import type { ErrorMessage, FromWorker } from "./protocol.ts";
import { StoreError } from "./store-error.ts";

const HEARTBEAT_MS = 1000;

/** After a longer silence the machine was asleep: the others get one more beat before their own silence counts. */
const ASLEEP_MS = 5000;

export interface HeartbeatParts {
  readonly owners: Owners;
  readonly gapReports: GapReports;
  readonly isReplaced: () => boolean;
  readonly send: (message: FromWorker) => void;
}

/** Beats every second, adopts whoever is gone and reports losses. Returns a function that ends it. */
export function startHeartbeat({ owners, gapReports, isReplaced, send }: HeartbeatParts): () => void {
  let lastMs = performance.now();
  const timer = setInterval(() => {
    // Another process has set this file aside, or somebody has removed it: what is written here nobody will read.
    if (isReplaced()) throw new StoreError("database_replaced", "The database is another file now.");
    const monotonicMs = performance.now();
    const wasAsleep = monotonicMs - lastMs > ASLEEP_MS;
    lastMs = monotonicMs;
    try {
      owners.beat(Date.now());
      if (!wasAsleep) {
        const adoption = owners.adopt(Date.now(), monotonicMs);
        if (adoption.owners > 0) send({ kind: "adopted", recovered: adoption.recovered });
      }
      if (gapReports.report(Date.now(), monotonicMs) > 0) send({ kind: "adopted", recovered: 0 });
      send({ kind: "heartbeat", error: undefined });
    } catch (error) {
      endIfDamaged(error);
      send({ kind: "heartbeat", error: errorMessage(error) });
    }
  }, HEARTBEAT_MS);
  return () => clearInterval(timer);
}

/** A worker whose database is damaged ends; the next one sets that aside. Its message comes first. */
export function endIfDamaged(error: unknown): void {
  const found = toStoreError(error);
  if (found.code !== "not_a_database") return;
  setImmediate(() => {
    throw found;
  });
}

/** An error as a message of the protocol. */
export function errorMessage(error: unknown): ErrorMessage {
  const { code, message } = toStoreError(error);
  return { code, message };
}
