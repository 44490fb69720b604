/** Opens a flow at its handler, and gathers the facts that every event of it repeats. Isolates the handler. */

import type { Logger } from "pino";

import type { FlowHead } from "../flow/flow.ts";
import type { Attribution } from "./attribution.ts";
import type { FlowFacts } from "./event.ts";
import { reportFault } from "./fault.ts";
import type { Handler, OpenedExchange, PendingJobs, Reader } from "./handler.ts";

export interface FlowOpeningOptions {
  readonly attribute: (head: FlowHead) => Attribution;
  readonly isBillable: (meter: string, head: FlowHead) => boolean;
  readonly jobsFor: (handler: Handler, head: FlowHead) => PendingJobs;
  readonly isEstimateAllowed: boolean;
  readonly logger: Pick<Logger, "error">;
}

export interface OpenedFlow {
  readonly facts: FlowFacts;
  readonly opened: OpenedExchange;
}

/** Never throws: a handler that cannot open a flow leaves it unmeasured. */
export function openFlow(handler: Handler, head: FlowHead, options: FlowOpeningOptions): OpenedFlow {
  const opened = openExchange(handler, head, options);
  return {
    opened,
    facts: {
      flowId: head.flowId,
      startedAtMs: head.startedAtMs,
      host: head.host,
      meter: handler.id,
      kind: handler.kind,
      api: opened.api,
      operation: opened.operation,
      attribution: attributionOf(head, options),
      billable: options.isBillable(handler.id, head),
    },
  };
}

function openExchange(handler: Handler, head: FlowHead, options: FlowOpeningOptions): OpenedExchange {
  const { host, port, protocol, method, target, headers } = head;
  const question = target.indexOf("?");
  const path = question === -1 ? target : target.slice(0, question);
  const query = question === -1 ? "" : target.slice(question + 1);
  const { isEstimateAllowed, jobsFor, logger } = options;
  const onFault = (error: unknown): void => reportFault(logger, handler.id, error);
  try {
    return handler.open({ host, port, protocol, method, path, query, headers }, { isEstimateAllowed, jobs: jobsFor(handler, head), onFault });
  } catch (error) {
    reportFault(options.logger, handler.id, error);
    return { api: `${handler.id}.other`, operation: "other", isBillable: true, reader: brokenReader };
  }
}

function attributionOf(head: FlowHead, options: FlowOpeningOptions): Attribution {
  try {
    return options.attribute(head);
  } catch (error) {
    reportFault(options.logger, "attribution", error);
    return NOBODY;
  }
}

/** Stands in for a reader that could not be made. */
const brokenReader: Reader = {
  response: () => undefined,
  push: () => undefined,
  end: () => [{ kind: "unmeasured", reason: "meter_fault" }],
};

const NOBODY: Attribution = { orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} };
