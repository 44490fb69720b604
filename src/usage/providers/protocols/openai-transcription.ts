/**
 * Reads one transcription or translation of OpenAI's Audio API (reference/model-usage.md section 5.6.3): usage by the
 * token or by the second, in a document or at the end of a stream. Plain text and subtitles have none: then the length
 * of the upload is counted where its header tells it.
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { getHeader } from "../../../flow/headers.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { ModelUsage } from "../../categories.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import { createWaveClock } from "../../extract/wave.ts";
import type { WaveClock } from "../../extract/wave.ts";
import type { ExchangeInfo, ReadEnd, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText } from "./delta-text.ts";
import { createFormRequest } from "./form-request.ts";
import type { FormRequest } from "./form-request.ts";
import { asObject, countOf, parseObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { chatTraits, responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapTranscriptionUsage } from "./openai-realtime-usage.ts";
import { mapChatUsage } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";

/** The reader of one POST to an endpoint that makes text of audio. */
export function createTranscriptionReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): Reader {
  const clock = createWaveClock();
  const request = createFormRequest(exchange, { onFile: (name, bytes) => name === "file" && clock.push(bytes) });
  const protocol = new TranscriptionProtocol(exchange, context, dialect, request, clock);
  return withPlainText(createBodyReader(protocol, request), protocol);
}

/** Text and subtitles (`response_format` text, srt, vtt) are no document that could hold a usage. */
function withPlainText(body: Reader, protocol: TranscriptionProtocol): Reader {
  let isPlain = false;
  return {
    requestData: (chunk) => body.requestData?.(chunk),
    response(head) {
      isPlain = head.status >= 200 && head.status < 300 && PLAIN_TEXT.test(getHeader(head.headers, "content-type") ?? "");
      body.response(head);
    },
    push: (chunk) => (isPlain ? protocol.plainText(chunk) : body.push(chunk)),
    end: (end) => (isPlain ? protocol.concludePlain(end) : body.end(end)),
  };
}

const PLAIN_TEXT = /^\s*(?:text\/(?!event-stream)|application\/x-subrip)/i;

const JSON_PATHS: readonly JsonPath[] = [["usage"], ["duration"], ["text"], ["model"], ["error"]];

/** The reading of a recording: of its report, of the length that the answer tells, or of the upload's. */
class TranscriptionProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly request: FormRequest;
  private readonly clock: WaveClock;
  private usage: JsonObject | undefined;
  private duration: number | undefined;
  private model: string | null = null;
  private isDone = false;
  private hasBegun = false;
  private hasError = false;
  private readonly text = createRunningEstimate();

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, request: FormRequest, clock: WaveClock) {
    this.exchange = exchange;
    this.context = context;
    this.dialect = dialect;
    this.request = request;
    this.clock = clock;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    switch (path[0]) {
      case "usage":
        this.usage = asObject(value) ?? this.usage;
        return;
      case "duration":
        // whisper-1 tells it as text in some versions of the API.
        this.duration = countOf(typeof value === "string" ? Number(value) : value) ?? this.duration;
        return;
      case "model":
        this.model = textOf(value) ?? this.model;
        return;
      case "error":
        this.hasError ||= value !== null;
        return;
      default:
        if (typeof value === "string") this.text.add(value);
    }
  }

  event({ data }: SseEvent): void {
    if (this.isDone) return;
    addDeltaText(this.text, data, DELTA_MEMBERS);
    if (data.includes(".text.delta")) this.hasBegun = true;
    if (!LAST_EVENTS.some((type) => data.includes(`"${type}"`)) && !data.includes('"error"')) return;
    const event = parseObject(data);
    this.isDone = LAST_EVENTS.some((type) => event?.["type"] === type);
    this.hasError ||= event?.["type"] === "error" || asObject(event?.["error"]) !== undefined;
    this.usage = asObject(event?.["usage"]) ?? this.usage;
    this.model = textOf(event?.["model"]) ?? this.model;
  }

  plainText(chunk: Uint8Array): void {
    this.text.addChars(chunk.length);
  }

  concludePlain(end: ReadEnd): readonly Reading[] {
    return [this.measured(false, end.kind === "complete", undefined)];
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const streamed = body.framing === "sse";
    if (this.hasError && this.usage === undefined && !this.hasBegun) {
      return [freeReading(streamed ? "error_in_stream" : "error_body", { requestModel: this.request.facts().model, streamed })];
    }
    const isWhole = body.transport !== "undecodable" && !this.hasError && (streamed ? this.isDone : body.isDocumentWhole);
    return [this.measured(streamed, isWhole, body.response)];
  }

  private measured(streamed: boolean, isWhole: boolean, response: ResponseHead | undefined): Reading {
    const { usage, context } = this;
    const reported = usage === undefined ? undefined : this.map(usage);
    const told = reported ?? (this.duration === undefined ? undefined : { audio_seconds_in: this.duration });
    const uploaded = told === undefined && context.isEstimateAllowed ? this.uploaded() : undefined;
    const reading = measuredReading({
      request: this.request.facts(),
      responseModel: this.model,
      responseId: null,
      serviceTier: textOf(usage?.["service_tier"]) ?? null,
      streamed,
      isWhole,
      reported: told ?? uploaded,
      estimates: undefined,
      priceHints: { ...this.dialect.exchangeHints?.(this.exchange, response) },
      anomalies: [...(told === undefined && uploaded !== undefined ? ["usage_missing"] : []), ...(isWhole ? [] : [this.hasError ? "error_after_200" : "stream_truncated"])],
    });
    return uploaded === undefined ? reading : { ...reading, source: "estimate" };
  }

  /** Mistral's usage is that of its chat, the seconds of the recording in it (types of @mistralai/mistralai 2.7.0). */
  private map(usage: JsonObject): ModelUsage | undefined {
    const isChat = countOf(usage["prompt_tokens"]) !== undefined;
    return isChat ? mapChatUsage(usage, chatTraits(this.dialect, this.model)).usage : mapTranscriptionUsage(usage, responsesTraits(this.dialect))?.usage;
  }

  /** Without any report: the recording's length, and what was written of it where the model is paid by the token. */
  private uploaded(): ModelUsage | undefined {
    const seconds = this.clock.seconds();
    const isByToken = !/whisper/i.test(this.request.facts().model ?? "");
    const output = isByToken ? this.text.tokens() : 0;
    if (seconds === undefined && output === 0) return undefined;
    return { ...(seconds === undefined ? {} : { audio_seconds_in: seconds }), ...(output === 0 ? {} : { output_tokens: output }) };
  }
}

const DELTA_MEMBERS = ['delta":'] as const;

/** OpenAI's and Mistral's. */
const LAST_EVENTS = ["transcript.text.done", "transcription.done"] as const;
