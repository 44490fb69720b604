/**
 * Reads sessions of Anthropic's Managed Agents (reference/model-usage.md section 5.1.8; types of `@anthropic-ai/sdk`
 * 1.12.0). The model is called on Anthropic's side; a session's event stream shows each call's usage in a span. Spans are
 * counted, the running totals (`session.usage`, the session object, the list of events) repeat them and are not. Of two
 * streams that show one session at the same time the first counts. No span names a model.
 */

import type { ModelUsage } from "../../categories.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { ANTHROPIC_COUNTS, mapAnthropicUsage } from "./anthropic-usage.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { asObject, parseObject, textOf } from "./json-values.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of the POST that makes a session. */
export function createSessionReader(context: ReaderContext): Reader {
  return createBodyReader(new SessionProtocol(context), undefined);
}

/** The reader of one stream of a session's events, of a session that a POST here made. */
export function createSessionStreamReader(context: ReaderContext, sessionId: string): Reader {
  return createBodyReader(new SessionStreamProtocol(context, sessionId), undefined);
}

const JSON_PATHS: readonly JsonPath[] = [["id"]];

class SessionProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private id: string | null = null;

  constructor(context: ReaderContext) {
    this.context = context;
  }

  jsonValue(_path: JsonPath, value: unknown): void {
    this.id = textOf(value) ?? this.id;
  }

  event(): void {
    // A session is one JSON document: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    if (this.id !== null && body.isDocumentWhole) this.context.jobs.start(this.id);
    return [freeReading("response_pending", { responseId: this.id, streamed: false })];
  }
}

/** A call of the model. */
interface Span {
  readonly id: string | null;
  readonly usage: ModelUsage;
  readonly speed: string | undefined;
}

/** Spans of one stream that have an event of their own. Longer streams are counted as far as that. */
const MAX_SPANS = 10_000;

const NO_PATHS: readonly JsonPath[] = [];
const NO_REQUEST = createRequestReader([["model"]]).facts();

class SessionStreamProtocol implements ModelProtocol {
  readonly jsonPaths = NO_PATHS;
  private readonly context: ReaderContext;
  private readonly sessionId: string;
  private readonly isOwner: boolean;
  private readonly spans: Span[] = [];

  constructor(context: ReaderContext, sessionId: string) {
    this.context = context;
    this.sessionId = sessionId;
    this.isOwner = context.jobs.finish(sessionId);
  }

  jsonValue(): void {
    // An error that came in place of the stream: it has cost nothing.
  }

  event({ data }: SseEvent): void {
    if (!this.isOwner || this.spans.length >= MAX_SPANS || !data.includes('"span.model_request_end"')) return;
    const event = parseObject(data);
    const raw = asObject(event?.["model_usage"]);
    if (raw === undefined || !hasCount(raw, ANTHROPIC_COUNTS)) return;
    this.spans.push({ id: textOf(event?.["id"]) ?? null, usage: mapAnthropicUsage(raw, false).usage, speed: textOf(raw["speed"]) });
  }

  /** The next stream goes on where this one ended. */
  conclude(body: BodyEnd): readonly Reading[] {
    if (this.isOwner) this.context.jobs.start(this.sessionId);
    if (this.spans.length === 0) return [freeReading("response_fetched", { responseId: this.sessionId, streamed: body.framing === "sse" })];
    return this.spans.map(({ id, usage, speed }) =>
      measuredReading({
        request: NO_REQUEST,
        responseModel: null,
        responseId: id,
        serviceTier: null,
        streamed: true,
        isWhole: true,
        reported: usage,
        estimates: undefined,
        ...(speed === undefined ? {} : { priceHints: { speed } }),
      }),
    );
  }
}
