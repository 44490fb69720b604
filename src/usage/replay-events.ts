/**
 * The events of recorded exchanges, as the meter would have made them of the same bytes: the handler by host, the
 * reading, estimates, prices. Nothing is stored and nothing is sent. Times and ids are those of the replay.
 */

import type { FlowHead } from "../flow/flow.ts";
import { newFlowId } from "../flow/flow-id.ts";
import type { HostTable } from "../flow/route.ts";
import type { Estimator } from "./estimate/estimator.ts";
import { requestIdOf, type EventBuilder, type FlowEnding } from "./event.ts";
import type { UsageEvent } from "./event-types.ts";
import { openFlow, type FlowOpeningOptions, type OpenedFlow } from "./flow-opening.ts";
import type { Handler, PendingJobs, Reading } from "./handler.ts";
import type { Recognition } from "./recognition.ts";
import { createReplayJobs, exchangeInfo, parseRecord, RecordError, replayOpened, responseBytes, type RecordedExchange } from "./replay.ts";
import { isSocketRecord, parseMessages, replayMessages } from "./replay-socket.ts";
import { ownerOf } from "./shared-host.ts";

export interface ReplayEventsOptions extends Omit<FlowOpeningOptions, "jobsFor"> {
  readonly handlers: readonly Handler[];
  readonly hosts: HostTable<Handler>;
  readonly recognize?: Recognition | undefined;
  readonly events: EventBuilder;
  readonly estimator: Estimator;
  /** Epoch milliseconds: what prices are taken of. */
  readonly now: () => number;
}

/** How long the tokens of one answer may be counted. */
const COUNTING_MS = 30_000;

/** The events of a record, in order. Rejects with RecordError when it cannot be parsed, or no meter knows its host. */
export async function replayEvents(text: string, options: ReplayEventsOptions): Promise<readonly UsageEvent[]> {
  const jobs = createReplayJobs();
  const events: UsageEvent[] = [];
  // In order: one exchange may begin what another ends.
  for (const exchange of parseRecord(text)) events.push(...(await eventsOf(exchange, jobs, options)));
  return events;
}

async function eventsOf(exchange: RecordedExchange, jobs: PendingJobs, options: ReplayEventsOptions): Promise<readonly UsageEvent[]> {
  const head = headOf(exchange, options.now());
  const handler = handlerOf(exchange, head, options);
  const isEstimateAllowed = exchange.options.estimate ?? options.isEstimateAllowed;
  const flow = openFlow(handler, head, { ...options, isEstimateAllowed, jobsFor: () => jobs });
  const { readings, canonicalInputTokens } = isSocketRecord(exchange) ? ofSocket(exchange, flow, options) : await ofExchange(exchange, flow, options);
  const ending = endingOf(exchange, options.now());
  return readings.map((reading, place) => options.events.build(flow.facts, place === 0 ? { ...ending, canonicalInputTokens } : ending, reading, place));
}

interface Replayed {
  readonly readings: readonly Reading[];
  readonly canonicalInputTokens: number | undefined;
}

function ofSocket(exchange: RecordedExchange, { opened }: OpenedFlow, { estimator }: ReplayEventsOptions): Replayed {
  const told = replayMessages(opened, parseMessages(exchange), exchange.options.end ?? "complete");
  return { readings: estimator.calibrate(told.map(({ reading }) => reading)), canonicalInputTokens: undefined };
}

function ofExchange(exchange: RecordedExchange, { opened, facts }: OpenedFlow, { estimator }: ReplayEventsOptions): Replayed | Promise<Replayed> {
  const readings = replayOpened(exchange, opened);
  const { reader } = opened;
  if (facts.kind !== "model" || reader?.requestData === undefined) return { readings, canonicalInputTokens: undefined };
  const estimate = estimator.open();
  estimate.requestData(Buffer.from(exchange.requestBody));
  estimate.requestEnd(reader.requestOutline?.());
  return estimate.conclude(readings, COUNTING_MS);
}

function handlerOf(exchange: RecordedExchange, head: FlowHead, { handlers, hosts, recognize }: ReplayEventsOptions): Handler {
  const named = exchange.options.handler;
  if (named !== undefined) {
    const found = handlers.find(({ id }) => id === named);
    if (found === undefined) throw new RecordError(`there is no meter "${named}" (option "handler"); the meters are ${handlers.map(({ id }) => id).join(", ")}`);
    return found;
  }
  const known = hosts.lookup(head.host, head.port) ?? recognize?.(head);
  if (known === undefined) {
    throw new RecordError(`no meter knows the host ${head.host}; name one in the record (### options, then {"handler":"openai"}) or in TALLYMAN_INTERCEPT_HOSTS (${head.host}=openai)`);
  }
  return ownerOf(known, head);
}

function headOf(exchange: RecordedExchange, startedAtMs: number): FlowHead {
  const { host, port, protocol, method, headers } = exchangeInfo(exchange);
  return {
    flowId: newFlowId(startedAtMs),
    startedAtMs,
    protocol,
    scheme: "https",
    host,
    port,
    method,
    target: exchange.target,
    headers,
    proxyUser: undefined,
    attributionHeaders: attributionOf(exchange.requestHeaders),
  };
}

/** A record may have the x-tallyman headers that the proxy takes out. */
function attributionOf(headers: FlowHead["headers"]): FlowHead["attributionHeaders"] {
  return headers.filter((_text, index) => headers[index - (index % 2)]?.toLowerCase().startsWith("x-tallyman-") === true);
}

function endingOf(exchange: RecordedExchange, endedAtMs: number): FlowEnding {
  const { response, options, requestBody } = exchange;
  return {
    endedAtMs,
    status: response?.status ?? null,
    requestId: response === undefined ? null : requestIdOf(response.headers),
    latencyMs: 0,
    timeToFirstByteMs: response === undefined ? null : 0,
    bytesUp: Buffer.byteLength(requestBody),
    bytesDown: response === undefined || response.status === 101 ? 0 : responseBytes(response, options).length,
  };
}
