/**
 * Reads OpenAI Responses over one WebSocket (reference/model-usage.md section 5.4; ResponsesClientEvent and
 * ResponsesServerEvent of the `openai` package 7.57). A response is counted when its terminal event passes, by its id:
 * a steered response has a successor that no request asked for. `background` is not served there.
 */

import type { ExchangeInfo, ReadEnd, ReaderContext, Reading, SocketReader } from "../../handler.ts";
import { stringMember } from "./delta-text.ts";
import { responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapResponsesUsage } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";
import type { ResponseFacts } from "./responses-facts.ts";
import { Lanes, readResponseCreate, takeRequest, UNREAD_REQUEST } from "./responses-lanes.ts";
import type { Lane, LaneRequest } from "./responses-lanes.ts";
import { readLifecycle } from "./responses-lifecycle.ts";
import type { EventPlace } from "./responses-lifecycle.ts";
import { eventTypeOf } from "./socket-event.ts";
import { addDelta, SocketResponses } from "./socket-responses.ts";
import type { OpenResponse } from "./socket-responses.ts";

/** The reader of one socket. */
export function createResponsesSocketReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): SocketReader {
  const events = new ResponsesEvents(exchange, context, dialect, "message");
  return {
    clientMessage(message) {
      if (message.kind === "text" && eventTypeOf(message.text) === "response.create") events.ask(readResponseCreate(message.text));
      // What is too large to be read can only be a request.
      else if (message.kind === "oversized") events.ask(UNREAD_REQUEST);
    },
    serverMessage(message) {
      if (message.kind === "text") return events.read(eventTypeOf(message.text), message.text);
      return message.kind === "oversized" ? events.oversized() : [];
    },
    end: (end) => events.end(end),
  };
}

const TERMINAL_EVENTS = new Set(["response.completed", "response.incomplete", "response.failed", "response.cancelled"]);
const EARLY_EVENTS = new Set(["response.created", "response.queued", "response.in_progress"]);

/** The Responses events of one socket, or those that came wrapped in the events of another protocol. */
export class ResponsesEvents {
  readonly #place: EventPlace;
  readonly #isEstimateAllowed: boolean;
  readonly #lanes = new Lanes();
  readonly #responses: SocketResponses;

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, place: EventPlace) {
    this.#place = place;
    this.#isEstimateAllowed = context.isEstimateAllowed;
    this.#responses = new SocketResponses({
      isEstimateAllowed: context.isEstimateAllowed,
      mapUsage: (usage) => mapResponsesUsage(usage, responsesTraits(dialect)),
      statedCost: dialect.statedCost,
      priceHints: (usage) => ({
        ...dialect.exchangeHints?.(exchange, undefined),
        ...(usage === undefined ? {} : dialect.usageHints?.(usage)),
      }),
    });
  }

  ask(request: LaneRequest): void {
    this.#lanes.ask(request);
  }

  /** The readings of the responses that an event of the server finished. `text`: the message that it came in. */
  read(type: string | undefined, text: string): readonly Reading[] {
    if (type === undefined) return [];
    if (TERMINAL_EVENTS.has(type)) return this.#finish(text);
    if (type === "error") return this.#fail(text);
    const { current } = this.#laneOf(text);
    // The early events repeat the request's tools and instructions: one is enough.
    if (type === "response.created" || (EARLY_EVENTS.has(type) && current === undefined)) return this.#create(text);
    if (current === undefined || EARLY_EVENTS.has(type) || type.startsWith("response.steer.")) return [];
    if (type.endsWith(".delta")) addDelta(current, type, text);
    else if (type.startsWith("response.")) current.hasBegun = true;
    return [];
  }

  /** An event that was too large to be read. The response that it was the end of, if any, is concluded with the socket. */
  oversized(): readonly Reading[] {
    return this.#lanes.isAnyBusy ? [] : [{ kind: "unmeasured", reason: "message_oversized" }];
  }

  end(end: ReadEnd): readonly Reading[] {
    return [...this.#responses.concludeAll(), ...this.#lanes.unanswered().map((request) => this.#unanswered(request, end))];
  }

  #create(text: string): readonly Reading[] {
    const { facts, laneId } = readLifecycle(text, this.#place);
    if (facts.id === null || this.#responses.isOver(facts.id) || this.#responses.get(facts.id) !== undefined) return [];
    const lane = this.#lanes.lane(laneId);
    // Behind an error nothing more came of the one before it.
    const failed = lane.current?.hasError === true ? this.#conclude(lane, lane.current, false) : [];
    lane.current = this.#begin(lane, facts);
    return [...failed, ...this.#responses.evict()];
  }

  #begin(lane: Lane, facts: ResponseFacts): OpenResponse {
    const request = takeRequest(lane);
    return this.#responses.begin({ ...request, inputTokens: this.#inputTokens(request) }, facts);
  }

  #finish(text: string): readonly Reading[] {
    const { facts, laneId, isSteered } = readLifecycle(text, this.#place);
    const lane = this.#lanes.lane(laneId);
    facts.id ??= lane.current?.facts.id ?? null;
    if (this.#responses.isOver(facts.id)) return [];
    const response = this.#responses.get(facts.id) ?? this.#begin(lane, facts);
    facts.model ??= response.facts.model;
    // A response object repeats all of its output.
    response.facts = facts;
    lane.isSteered = isSteered;
    return this.#conclude(lane, response, true);
  }

  #conclude(lane: Lane, response: OpenResponse, isWhole: boolean): readonly Reading[] {
    if (lane.current === undefined || lane.current === response) lane.formerId = response.facts.id;
    if (lane.current === response) lane.current = undefined;
    return this.#responses.conclude(response, isWhole);
  }

  /** An error of a response may still be followed by the response's own end. One of the protocol refuses a request. */
  #fail(text: string): readonly Reading[] {
    const { laneId, isNumbered } = readLifecycle(text, this.#place);
    const lane = this.#lanes.lane(laneId);
    if (lane.current !== undefined && (isNumbered || lane.waiting.length === 0)) {
      lane.current.hasError = true;
      return [];
    }
    const refused = lane.waiting.shift();
    return refused === undefined ? [] : [freeReading("error_event", { requestModel: refused.facts.model, streamed: true })];
  }

  #laneOf(text: string): Lane {
    return this.#lanes.lane(this.#lanes.areNamed ? (stringMember(text, 'stream_id":') ?? "") : "");
  }

  #inputTokens(request: LaneRequest): number {
    return request.inputTokens + this.#responses.contextTokens(request.previousId);
  }

  /** A request that no response was created for: as an exchange without an answer (section 7.1). */
  #unanswered(request: LaneRequest, end: ReadEnd): Reading {
    if (request.isWarmUp || end.kind !== "client_aborted") return freeReading("no_response", { requestModel: request.facts.model });
    return measuredReading({
      request: request.facts,
      responseModel: null,
      responseId: null,
      serviceTier: null,
      streamed: true,
      isWhole: false,
      reported: undefined,
      estimates: this.#isEstimateAllowed ? { input: () => this.#inputTokens(request), output: () => 0 } : undefined,
      anomalies: ["stream_truncated"],
    });
  }
}
