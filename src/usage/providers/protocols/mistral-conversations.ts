/**
 * Reads what Mistral serves beside OpenAI's formats (reference/model-usage.md section 5.14; `@mistralai/mistralai`
 * 2.7.0): conversations, whole or streamed, whose tools feed tokens back, and OCR, which is paid by the page.
 */

import { pathEndsWith } from "../../../flow/route.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ExchangeInfo, OpenedExchange, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, stringMember } from "./delta-text.ts";
import { asObject, countOf, jsonLength, parseObject, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { chatTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapChatUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import type { MappedUsage } from "./openai-usage.ts";
import { freeReading, measuredReading, outputTokens } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { trimTrailingSlashes } from "./request-path.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

const CONVERSATION = /\/v1\/conversations(?:\/[^/]+(?:\/restart)?)?$/;

/** Opens a POST to a conversation or for OCR; undefined: it is neither. */
export function openMistralExchange(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): OpenedExchange | undefined {
  if (exchange.protocol !== "http" || exchange.method !== "POST") return undefined;
  const path = trimTrailingSlashes(exchange.path);
  if (CONVERSATION.test(path)) return { api: "mistral.conversations", operation: "chat", isBillable: true, reader: createReader(context, dialect, "conversation") };
  if (pathEndsWith(path, "/v1/ocr")) return { api: "mistral.ocr", operation: "ocr", isBillable: true, reader: createReader(context, dialect, "ocr") };
  return undefined;
}

function createReader(context: ReaderContext, dialect: OpenAiDialect, kind: "conversation" | "ocr"): Reader {
  const request = createRequestReader(REQUEST_PATHS);
  return createBodyReader(new MistralProtocol(context, dialect, kind, request), request);
}

const REQUEST_PATHS: readonly JsonPath[] = [["model"], ["stream"]];

const JSON_PATHS: readonly JsonPath[] = [
  ["model"],
  ["usage"],
  ["usage_info"],
  ["error"],
  ["outputs", "*", "model"],
  ["outputs", "*", "content"],
  ["outputs", "*", "arguments"],
];

const DONE_EVENT = "conversation.response.done";
const ERROR_EVENT = "conversation.response.error";
const DELTA_EVENTS = new Set(["message.output.delta", "function.call.delta"]);
const DELTA_MEMBERS = ['content":', 'text":', 'arguments":'] as const;

const PAGES = "pages_processed";

class MistralProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly kind: "conversation" | "ocr";
  private readonly request: RequestReader;

  private model: string | null = null;
  private usage: JsonObject | undefined;
  private isDone = false;
  private hasBegun = false;
  private hasError = false;
  private readonly text = createRunningEstimate();

  constructor(context: ReaderContext, dialect: OpenAiDialect, kind: "conversation" | "ocr", request: RequestReader) {
    this.context = context;
    this.dialect = dialect;
    this.kind = kind;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const usage = asObject(value);
    switch (path.at(-1)) {
      case "model":
        this.model = textOf(value) ?? this.model;
        return;
      case "usage":
      case "usage_info":
        if (usage !== undefined) this.usage = mergeSnapshot(this.usage, usage);
        return;
      case "error":
        this.hasError ||= value !== null;
        return;
      default:
        this.hasBegun = true;
        if (typeof value === "string") this.text.add(value);
        else this.text.addChars(jsonLength(value));
    }
  }

  event({ event, data }: SseEvent): void {
    if (this.isDone) return;
    const type = event ?? stringMember(data, 'type":') ?? "";
    if (DELTA_EVENTS.has(type)) {
      this.hasBegun = true;
      addDeltaText(this.text, data, DELTA_MEMBERS);
      this.model ??= textOf(stringMember(data, 'model":')) ?? null;
      return;
    }
    this.hasError ||= type === ERROR_EVENT;
    const value = parseObject(data);
    if (value !== undefined) visitPaths(value, JSON_PATHS, (path, found) => this.jsonValue(path, found));
    this.isDone = type === DONE_EVENT;
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const streamed = body.framing === "sse";
    const reported = this.reported(request.model);
    if (this.hasError && reported === undefined && !this.hasBegun) {
      return [freeReading(streamed ? "error_in_stream" : "error_body", { requestModel: request.model, responseModel: this.model, streamed })];
    }
    const isRestKnown = reported !== undefined || this.kind === "ocr";
    const isWhole = !this.hasError && body.transport !== "undecodable" && (streamed ? this.isDone : body.isDocumentWhole);
    return [
      measuredReading({
        request,
        responseModel: this.model,
        // A conversation has many responses under its id, which are not told apart.
        responseId: null,
        serviceTier: null,
        streamed,
        isWhole,
        reported: reported?.usage,
        estimates: this.context.isEstimateAllowed && this.kind === "conversation"
          ? { input: () => this.request.inputTokens(), output: () => (isRestKnown ? 0 : outputTokens(this.text, body.oversizeBytes)) }
          : undefined,
        anomalies: [...(reported?.anomalies ?? []), ...this.endAnomalies(isWhole)],
      }),
    ];
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }

  private reported(requestModel: string | null): MappedUsage | undefined {
    const { usage } = this;
    const pages = countOf(usage?.[PAGES]);
    if (pages !== undefined) return { usage: { pages }, anomalies: [] };
    if (usage === undefined || !hasCount(usage, OPENAI_COUNTS)) return undefined;
    return mapConversationUsage(usage, this.dialect, this.model ?? requestModel);
  }
}

/** Whether tokens that tools fed back stand beside the prompt no source says: the total tells (the test of section 2.4). */
function mapConversationUsage(raw: JsonObject, dialect: OpenAiDialect, model: string | null): MappedUsage {
  const fedBack = countOf(raw["connector_tokens"]) ?? 0;
  const total = countOf(raw["total_tokens"]);
  const { usage, anomalies } = mapChatUsage(raw, chatTraits(dialect, model));
  const sum = (countOf(raw["prompt_tokens"]) ?? 0) + (countOf(raw["completion_tokens"]) ?? 0);
  const searches = countOf(asObject(raw["connectors"])?.["web_search"]);
  const isBeside = fedBack > 0 && (total === undefined || total >= sum + fedBack);
  return {
    usage: { ...usage, ...(isBeside ? { input_tool_tokens: fedBack } : {}), ...(searches === undefined ? {} : { web_search_requests: searches }) },
    anomalies,
  };
}
