/**
 * The metered flows under way, and who wants to hear of them (the dashboard's stream). Fed by app.ts from the meter's
 * onFlowStart and onFlowEnd. Holds no path, query, header or body.
 */

/** A flow under way, in the form of the API. */
export interface FlowSummary {
  readonly flow_id: string;
  /** RFC 3339, UTC. */
  readonly started_at: string;
  readonly meter: string;
  readonly api: string;
  readonly operation: string;
  readonly host: string;
  readonly method: string;
  readonly org_id: string | null;
  readonly user_id: string | null;
  readonly agent_id: string | null;
  readonly thread_id: string | null;
}

/** How a flow ended. */
export interface FlowEnd {
  readonly flow_id: string;
  /** Kind of the FlowOutcome. */
  readonly outcome: string;
  /** Null when there was no response. */
  readonly status: number | null;
  readonly latency_ms: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
}

export type FlowChange = { readonly phase: "started"; readonly flow: FlowSummary } | { readonly phase: "ended"; readonly flow: FlowEnd };

export interface FlowFeed {
  /** The summary is only made when somebody looks. */
  started(flowId: string, describe: () => FlowSummary): void;
  ended(flow: FlowEnd): void;
  /** Oldest first. */
  active(): readonly FlowSummary[];
  /** Listeners must not throw. Returns what ends the subscription. */
  subscribe(listener: (change: FlowChange) => void): () => void;
}

/** Makes an empty feed. */
export function createFlowFeed(): FlowFeed {
  const flows = new Map<string, () => FlowSummary>();
  const listeners = new Set<(change: FlowChange) => void>();
  const tell = (change: FlowChange): void => {
    for (const listener of listeners) listener(change);
  };
  return {
    started(flowId, describe) {
      flows.set(flowId, describe);
      if (listeners.size > 0) tell({ phase: "started", flow: describe() });
    },
    ended(flow) {
      flows.delete(flow.flow_id);
      tell({ phase: "ended", flow });
    },
    active: () => Array.from(flows.values(), (describe) => describe()),
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
