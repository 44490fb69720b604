/**
 * Reads OpenAI's Live over one WebSocket (reference/model-usage.md section 5.5.2; types of the `openai` package 7.57).
 * The session's audio is one event: its seconds are cumulative, and the last count stands. Responses and decisions that
 * the session delegates come wrapped, and are events of their own.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { ExchangeInfo, ReaderContext, Reading, SocketReader } from "../../handler.ts";
import { asObject, countOf, textOf } from "./json-values.ts";
import { responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { ResponsesEvents } from "./openai-responses-socket.ts";
import { mapResponsesUsage } from "./openai-usage.ts";
import { measuredReading } from "./reading.ts";
import { eventTypeOf, valuesOf } from "./socket-event.ts";
import { unreadRequest } from "./socket-responses.ts";

/** The reader of one socket. Its audio passes unread. */
export function createLiveReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): SocketReader {
  const session = new LiveSession(exchange, context, dialect);
  return {
    clientMessage(message) {
      if (message.kind === "text" && eventTypeOf(message.text) === "session.start") session.start(message.text);
    },
    serverMessage: (message) => (message.kind === "text" ? session.received(eventTypeOf(message.text), message.text) : []),
    end: (end) => [...session.delegated.end(end), ...session.audio(false)],
  };
}

const SESSION_PATHS: readonly JsonPath[] = [["session", "id"], ["session", "model"], ["usage", "seconds"]];
const INNER_TYPE_PATHS: readonly JsonPath[] = [["event", "type"]];
const DECISION_PATHS: readonly JsonPath[] = [["event", "decision", "model"], ["event", "decision", "usage"]];

const SESSION_EVENTS = new Set(["session.started", "session.updated", "session.usage.updated"]);

class LiveSession {
  readonly delegated: ResponsesEvents;
  readonly #dialect: OpenAiDialect;
  #requestModel: string | null = null;
  #id: string | null = null;
  #model: string | null = null;
  /** Undefined: not reported, or told already. */
  #seconds: number | undefined;

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect) {
    this.#dialect = dialect;
    this.delegated = new ResponsesEvents(exchange, context, dialect, "wrapped");
  }

  start(text: string): void {
    this.#requestModel = textOf(valuesOf(text, SESSION_PATHS).get("session.model")) ?? this.#requestModel;
  }

  received(type: string | undefined, text: string): readonly Reading[] {
    if (type === "response.event") return this.delegated.read(textOf(valuesOf(text, INNER_TYPE_PATHS).get("event.type")), text);
    if (type === "decision.event") return this.#decision(text);
    if (type !== "session.closed" && !SESSION_EVENTS.has(type ?? "")) return [];
    this.#learn(text);
    return type === "session.closed" ? this.audio(true) : [];
  }

  /** The session's own usage, once: nothing where none was reported. */
  audio(isWhole: boolean): readonly Reading[] {
    const seconds = this.#seconds;
    if (seconds === undefined) return [];
    this.#seconds = undefined;
    return [this.#measured(this.#requestModel, this.#model, this.#id, isWhole, { audio_seconds_in: seconds })];
  }

  #learn(text: string): void {
    const values = valuesOf(text, SESSION_PATHS);
    this.#id = textOf(values.get("session.id")) ?? this.#id;
    this.#model = textOf(values.get("session.model")) ?? this.#model;
    const seconds = countOf(values.get("usage.seconds"));
    if (seconds !== undefined) this.#seconds = seconds;
  }

  /** A decision has its usage and no id. */
  #decision(text: string): readonly Reading[] {
    const values = valuesOf(text, DECISION_PATHS);
    const usage = asObject(values.get("event.decision.usage"));
    if (usage === undefined) return [];
    const model = textOf(values.get("event.decision.model")) ?? null;
    return [this.#measured(null, model, null, true, mapResponsesUsage(usage, responsesTraits(this.#dialect)).usage)];
  }

  #measured(
    requestModel: string | null,
    responseModel: string | null,
    responseId: string | null,
    isWhole: boolean,
    reported: Parameters<typeof measuredReading>[0]["reported"],
  ): Reading {
    return measuredReading({
      request: unreadRequest(requestModel).facts,
      responseModel,
      responseId,
      serviceTier: null,
      streamed: true,
      isWhole,
      reported,
      estimates: undefined,
      anomalies: isWhole ? [] : ["stream_truncated"],
    });
  }
}
