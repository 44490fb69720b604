/** What the operator is told about delivery: once for each change of its state. */

import type { CircuitState } from "./circuit.ts";

export interface DeliveryLogger {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

export interface DeliveryLog {
  /** Nothing fails any more. */
  allWell(): void;
  failed(reason: string, circuit: CircuitState, failures: number): void;
  deadLetter(eventId: string | undefined, reason: string): void;
  unsettled(batchId: string, error: unknown): void;
}

/** Dead letters may come by the thousand: one line in this time, with the number of those before it. */
const DEAD_LETTER_LOG_MS = 60_000;

export function createDeliveryLog(logger: DeliveryLogger, sink: string, monotonicMs: () => number): DeliveryLog {
  let loggedMs = Number.NEGATIVE_INFINITY;
  let unlogged = 0;
  let isUnsettled = false;
  /** What was said last; undefined while all is well. */
  let told: CircuitState | undefined;
  return {
    allWell() {
      if (told !== undefined) logger.info({ sink }, "delivery works again");
      told = undefined;
      isUnsettled = false;
    },
    failed(reason, circuit, failures) {
      const fields = { sink, reason };
      const before = told;
      told = circuit;
      if (circuit === before) return;
      if (circuit === "paused") {
        logger.error(fields, "the receiver refuses delivery; check its address and credentials. Nothing is dropped; tried again every minute");
      } else if (circuit === "open") {
        logger.warn({ ...fields, failures }, "delivery has failed too often; one attempt every few minutes until it works again. Nothing is dropped");
      } else if (before === undefined) logger.warn(fields, "delivery fails; trying again");
    },
    deadLetter(eventId, reason) {
      unlogged += 1;
      if (monotonicMs() - loggedMs < DEAD_LETTER_LOG_MS) return;
      loggedMs = monotonicMs();
      logger.error({ sink, reason, event: eventId, count: unlogged }, "the receiver refuses an event for good; it is a dead letter now (`tallyman dead-letters list`)");
      unlogged = 0;
    },
    unsettled(batchId, error) {
      if (!isUnsettled) logger.warn({ sink, err: error, batch: batchId }, "the outcome of a delivery cannot be written down; trying again");
      isUnsettled = true;
    },
  };
}
