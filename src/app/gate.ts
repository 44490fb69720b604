/** What may keep a metered request from going upstream: a full outbox, a disk that takes nothing, and the embedder's gate. */

import type { Logger } from "pino";

import type { Settings } from "../config/settings.ts";
import type { FlowGate, FlowHead, Refusal } from "../flow/flow.ts";
import type { Counters } from "../usage/index.ts";
import type { BillingGate, Parts } from "./parts.ts";

type GateParts = Pick<Parts, "options" | "hosts" | "recognize"> & { readonly store: Pick<Parts["store"], "isNearlyFull"> };

export function buildGate({ options, hosts, recognize, store }: GateParts, counters: Pick<Counters, "snapshot">, hasReceiver: boolean): FlowGate {
  const { billingGate } = options;
  const full = fullness(options.settings, store, counters, hasReceiver);
  return {
    admit(head) {
      if (hosts.lookup(head.host, head.port) === undefined && recognize?.(head) === undefined) return undefined;
      return full() ?? (billingGate === undefined ? undefined : askBillingGate(billingGate, head, options.logger));
    },
  };
}

/** Under `block`: what every new metered request is answered at the moment, if anything. */
export function fullness(
  { queueFull, queueMaxEvents }: Pick<Settings, "queueFull" | "queueMaxEvents">,
  store: GateParts["store"],
  counters: Pick<Counters, "snapshot">,
  hasReceiver: boolean,
): () => Refusal | undefined {
  if (queueFull !== "block") return () => undefined;
  return () => {
    if (hasReceiver && counters.snapshot().reports >= queueMaxEvents) return QUEUE_FULL;
    return store.isNearlyFull ? DISK_FULL : undefined;
  };
}

const QUEUE_FULL: Refusal = {
  status: 503,
  code: "queue_full",
  message: "usage events are waiting for their receiver and TALLYMAN_QUEUE_MAX_EVENTS is reached; mend the receiver (see /readyz) or set TALLYMAN_QUEUE_FULL=drop_newest",
};

const DISK_FULL: Refusal = {
  status: 503,
  code: "queue_full",
  message: "usage cannot be written to TALLYMAN_DATA_DIR and the memory for it is nearly full; make room on the disk (see /readyz) or set TALLYMAN_QUEUE_FULL=drop_newest",
};

async function askBillingGate(gate: BillingGate, head: FlowHead, logger: Logger): Promise<Refusal | undefined> {
  try {
    const reason = await gate(head);
    return reason === undefined ? undefined : { status: 403, code: "request_denied", message: reason };
  } catch (error) {
    logger.error({ err: error }, "billingGate failed; the request passes");
    return undefined;
  }
}
