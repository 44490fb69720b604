/**
 * Reads OpenAI's Realtime over one WebSocket (reference/model-usage.md section 5.5.1; types of the `openai` package
 * 7.57). A response is counted at its `response.done`, whatever its status: each has the whole conversation in its
 * prompt again. The transcription of what the user said is made by another model and is an event of its own. Azure
 * names the model's deployment in the query where OpenAI names the model.
 */

import { createInputEstimate } from "../../estimate/input-estimate.ts";
import type { InputEstimate } from "../../estimate/input-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { ExchangeInfo, ReaderContext, Reading, SocketReader } from "../../handler.ts";
import { stringMember } from "./delta-text.ts";
import { asObject, textOf } from "./json-values.ts";
import { responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapRealtimeUsage, mapTranscriptionUsage } from "./openai-realtime-usage.ts";
import { measuredReading } from "./reading.ts";
import { readLifecycle } from "./responses-lifecycle.ts";
import { eventTypeOf, valuesOf } from "./socket-event.ts";
import { addDelta, SocketResponses, unreadRequest } from "./socket-responses.ts";

/** The reader of one socket. Its audio passes unread. */
export function createRealtimeReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): SocketReader {
  const session = new RealtimeSession(exchange, context, dialect);
  return {
    clientMessage(message) {
      if (message.kind === "text") session.sent(eventTypeOf(message.text), message.text);
    },
    // A response that is done repeats no audio, so nothing that matters is too large to be read.
    serverMessage: (message) => (message.kind === "text" ? session.received(eventTypeOf(message.text), message.text) : []),
    end: () => session.end(),
  };
}

const SESSION_EVENTS = new Set(["session.created", "session.updated", "transcription_session.created", "transcription_session.updated"]);
const SESSION_UPDATES = new Set(["session.update", "transcription_session.update"]);
const TRANSCRIBED = "conversation.item.input_audio_transcription.completed";

/** The transcription's model stands where the session is of the beta in another place. */
const SESSION_PATHS: readonly JsonPath[] = [
  ["session", "model"],
  ["session", "audio", "input", "transcription", "model"],
  ["session", "input_audio_transcription", "model"],
];

const TRANSCRIPTION_PATHS: readonly JsonPath[] = [["item_id"], ["content_index"], ["usage"]];

const MAX_TRANSCRIBED = 1024;

class RealtimeSession {
  readonly #dialect: OpenAiDialect;
  readonly #responses: SocketResponses;
  /** As the client asked for them, and as the server states them. */
  readonly #asked: { model: string | null; transcriber: string | null };
  readonly #stated: { model: string | null; transcriber: string | null } = { model: null, transcriber: null };
  /** Tokens of the conversation as the last response reported it, and what the client said since. */
  #contextTokens = 0;
  #said: InputEstimate = createInputEstimate();
  readonly #transcribed = new Set<string>();

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect) {
    const query = new URLSearchParams(exchange.query);
    this.#dialect = dialect;
    this.#asked = { model: textOf(query.get("model")) ?? textOf(query.get("deployment")) ?? null, transcriber: null };
    this.#responses = new SocketResponses({
      isEstimateAllowed: context.isEstimateAllowed,
      mapUsage: (usage) => mapRealtimeUsage(usage, responsesTraits(dialect)),
      priceHints: () => ({ ...dialect.exchangeHints?.(exchange, undefined) }),
      model: () => this.#stated.model,
    });
  }

  sent(type: string | undefined, text: string): void {
    if (type === undefined || type === "input_audio_buffer.append") return;
    this.#said.push(Buffer.from(text));
    if (SESSION_UPDATES.has(type)) readModels(text, this.#asked);
  }

  received(type: string | undefined, text: string): readonly Reading[] {
    if (type === undefined) return [];
    if (type === "response.created") return this.#create(text);
    if (type === "response.done") return this.#finish(text);
    if (type === TRANSCRIBED) return this.#transcription(text);
    if (SESSION_EVENTS.has(type)) readModels(text, this.#stated);
    else if (type.startsWith("response.")) this.#output(type, text);
    return [];
  }

  end(): readonly Reading[] {
    return this.#responses.concludeAll();
  }

  #create(text: string): readonly Reading[] {
    const { facts } = readLifecycle(text, "message");
    if (facts.id === null || this.#responses.isOver(facts.id) || this.#responses.get(facts.id) !== undefined) return [];
    this.#responses.begin(unreadRequest(this.#asked.model, this.#inputTokens()), facts);
    return this.#responses.evict();
  }

  #finish(text: string): readonly Reading[] {
    const { facts } = readLifecycle(text, "message");
    const response = this.#responses.get(facts.id) ?? this.#responses.begin(unreadRequest(this.#asked.model, this.#inputTokens()), facts);
    response.facts = facts;
    const readings = this.#responses.conclude(response, true);
    const tokens = this.#responses.contextTokens(facts.id);
    if (tokens > 0) {
      this.#contextTokens = tokens;
      this.#said = createInputEstimate();
    }
    return readings;
  }

  #output(type: string, text: string): void {
    const id = stringMember(text, 'response_id":');
    const response = this.#responses.get(id ?? null);
    if (response === undefined) return;
    if (type.endsWith(".delta")) addDelta(response, type, text);
    else response.hasBegun = true;
  }

  #inputTokens(): number {
    return this.#contextTokens + this.#said.tokens();
  }

  /** Billed by the transcribing model's prices (section 5.5.1), once for each part of an item. */
  #transcription(text: string): readonly Reading[] {
    const values = valuesOf(text, TRANSCRIPTION_PATHS);
    const itemId = textOf(values.get("item_id")) ?? null;
    const key = `${itemId} ${String(values.get("content_index"))}`;
    if (itemId !== null && this.#transcribed.has(key)) return [];
    this.#remember(key);
    const usage = asObject(values.get("usage"));
    const mapped = usage === undefined ? undefined : mapTranscriptionUsage(usage, responsesTraits(this.#dialect));
    return [
      measuredReading({
        request: unreadRequest(this.#asked.transcriber).facts,
        responseModel: this.#stated.transcriber,
        responseId: itemId,
        serviceTier: null,
        streamed: true,
        isWhole: true,
        reported: mapped?.usage,
        // Nothing that is seen tells how long the audio was.
        estimates: undefined,
        anomalies: mapped?.anomalies ?? [],
      }),
    ];
  }

  #remember(key: string): void {
    this.#transcribed.add(key);
    const [oldest] = this.#transcribed;
    if (this.#transcribed.size > MAX_TRANSCRIBED && oldest !== undefined) this.#transcribed.delete(oldest);
  }
}

/** What a session's configuration does not name stays as it was. */
function readModels(text: string, models: { model: string | null; transcriber: string | null }): void {
  const values = valuesOf(text, SESSION_PATHS);
  models.model = textOf(values.get("session.model")) ?? models.model;
  models.transcriber = textOf(values.get("session.audio.input.transcription.model")) ?? textOf(values.get("session.input_audio_transcription.model")) ?? models.transcriber;
}
