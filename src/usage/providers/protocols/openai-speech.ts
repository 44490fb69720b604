/**
 * Reads one answer of OpenAI's speech endpoint (reference/model-usage.md section 5.6.4): audio, which reports nothing, so
 * that the characters of the request's `input` are counted, or a stream whose last event has the tokens.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ResponseHead } from "../../../flow/flow.ts";
import { getHeader } from "../../../flow/headers.ts";
import type { ExchangeInfo, ReadEnd, Reader, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { createFormRequest } from "./form-request.ts";
import type { FormRequest } from "./form-request.ts";
import { asObject, parseObject } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapResponsesUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of one POST to the speech endpoint. */
export function createSpeechReader(exchange: ExchangeInfo, dialect: OpenAiDialect): Reader {
  const request = createFormRequest(exchange, { names: ["input"] });
  const protocol = new SpeechProtocol(exchange, dialect, request);
  const body = createBodyReader(protocol, request);
  let isAudio = false;
  return {
    requestData: (chunk) => body.requestData?.(chunk),
    response(head) {
      isAudio = head.status >= 200 && head.status < 300 && !READABLE.test(getHeader(head.headers, "content-type") ?? "");
      body.response(head);
    },
    push: (chunk) => (isAudio ? undefined : body.push(chunk)),
    end: (end) => (isAudio ? [protocol.audio(end)] : body.end(end)),
  };
}

const READABLE = /^\s*(?:text\/event-stream|application\/(?:[^;\s]+\+)?json)/i;

const JSON_PATHS: readonly JsonPath[] = [["usage"], ["error"]];

class SpeechProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly dialect: OpenAiDialect;
  private readonly request: FormRequest;
  private usage: JsonObject | undefined;
  private hasBegun = false;
  private hasError = false;
  private isDone = false;

  constructor(exchange: ExchangeInfo, dialect: OpenAiDialect, request: FormRequest) {
    this.exchange = exchange;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (path[0] === "error") this.hasError ||= value !== null;
    else this.usage = asObject(value) ?? this.usage;
  }

  event({ data }: SseEvent): void {
    if (this.isDone) return;
    if (data.includes("speech.audio.delta")) {
      this.hasBegun = true;
      return;
    }
    const event = parseObject(data);
    this.hasError ||= event?.["type"] === "error" || asObject(event?.["error"]) !== undefined;
    if (event?.["type"] !== "speech.audio.done") return;
    this.isDone = true;
    this.usage = asObject(event["usage"]) ?? this.usage;
  }

  /** An answer that is the sound itself. */
  audio(end: ReadEnd): Reading {
    return this.measured(false, end.kind === "complete", undefined);
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
    const { usage } = this;
    const isReported = usage !== undefined && hasCount(usage, OPENAI_COUNTS);
    const mapped = isReported ? mapResponsesUsage(usage, responsesTraits(this.dialect)) : undefined;
    const input = this.request.field("input");
    const characters = typeof input === "string" ? { characters_in: [...input].length } : undefined;
    const reading = measuredReading({
      request: this.request.facts(),
      responseModel: null,
      responseId: null,
      serviceTier: null,
      streamed,
      isWhole,
      reported: mapped?.usage ?? characters,
      estimates: undefined,
      priceHints: { ...this.dialect.exchangeHints?.(this.exchange, response) },
      anomalies: [...(mapped?.anomalies ?? []), ...(isWhole ? [] : [this.hasError ? "error_after_200" : "stream_truncated"])],
    });
    // The characters are the request's: the answer does not tell them (contract section 4).
    return mapped === undefined && characters !== undefined ? { ...reading, source: "estimate" } : reading;
  }
}
