/**
 * Reads one answer of generateContent or streamGenerateContent: a JSON document, SSE, or a JSON array
 * (reference/model-usage.md section 5.9). Code Assist wraps each answer in `response`, which is taken off here.
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { getHeader } from "../../../flow/headers.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import type { BodyEnd } from "./body-reader.ts";
import { createArrayBodyReader } from "./gemini-body.ts";
import type { ArrayProtocol } from "./gemini-body.ts";
import { createGrounding } from "./gemini-grounding.ts";
import { bareModel, createGeminiRequest } from "./gemini-request.ts";
import type { GeminiRequest, GeminiRequestOptions } from "./gemini-request.ts";
import { GEMINI_COUNTS, mapGeminiUsage } from "./gemini-usage.ts";
import { asArray, asObject, countOf, jsonLength, parseObject, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { freeReading, measuredReading, outputTokens } from "./reading.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

/** The reader of one POST to a generating verb. `hints` move the price, as the handler knows them from the path. */
export function createGeminiContentReader(context: ReaderContext, options: GeminiRequestOptions, hints: Readonly<Record<string, string>> = {}): Reader {
  const request = createGeminiRequest(options);
  return createArrayBodyReader(new ContentProtocol(context, request, hints), request);
}

/** Members of an answer that are facts. Types of @google/genai 3.1.0 (GenerateContentResponse). */
const FACT_PATHS: readonly JsonPath[] = [
  ["responseId"],
  ["modelVersion"],
  ["usageMetadata"],
  ["error"],
  ["promptFeedback", "blockReason"],
  ["candidates", "*", "groundingMetadata", "webSearchQueries"],
  ["candidates", "*", "groundingMetadata", "imageSearchQueries"],
  ["candidates", "*", "groundingMetadata", "googleMapsWidgetContextToken"],
  ["candidates", "*", "groundingMetadata", "groundingChunks", "*", "maps", "placeId"],
];

/** Members that hold output, or tell that there is some. */
const OUTPUT_PATHS: readonly JsonPath[] = [
  ["candidates", "*", "finishReason"],
  ["candidates", "*", "content", "parts", "*", "text"],
  ["candidates", "*", "content", "parts", "*", "functionCall"],
  ["candidates", "*", "content", "parts", "*", "executableCode", "code"],
];

/** Code Assist's wrapper. */
const WRAPPER = "response";

const PLAIN_PATHS: readonly JsonPath[] = [...FACT_PATHS, ...OUTPUT_PATHS];
const JSON_PATHS: readonly JsonPath[] = [...PLAIN_PATHS, ...PLAIN_PATHS.map((path) => [WRAPPER, ...path])];

/** A longer text out of an event is counted, not held: it would keep the whole event alive. */
const MAX_HELD_CHARS = 16_384;

class ContentProtocol implements ArrayProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly request: GeminiRequest;
  private readonly hints: Readonly<Record<string, string>>;

  private id: string | null = null;
  private model: string | null = null;
  private usage: JsonObject | undefined;
  private readonly grounding = createGrounding();
  private readonly finishedCandidates = new Set<number>();
  private readonly seenCandidates = new Set<number>();
  private isArray = false;
  private isBlocked = false;
  private hasBegun = false;
  private hasError = false;
  /** The element or event being read has reported output: what came before it is covered. */
  private isOutputReported = false;
  /** The last event that ended a candidate had counts in it. */
  private isFinishReported = false;
  /** Output since the last report of it. */
  private readonly text = createRunningEstimate();

  constructor(context: ReaderContext, request: GeminiRequest, hints: Readonly<Record<string, string>>) {
    this.context = context;
    this.request = request;
    this.hints = hints;
  }

  beginArray(): void {
    this.isArray = true;
  }

  endElement(): void {
    if (this.isOutputReported) this.text.reset();
    this.isOutputReported = false;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const name = path.at(-1) ?? "";
    if (name === "finishReason") this.hasBegun = true;
    else if (name === "text" || name === "code" || name === "functionCall") this.addText(value);
    else this.fact(name, value);
  }

  event({ data }: SseEvent): void {
    const event = parseObject(data);
    if (event === undefined) return;
    const chunk = asObject(event[WRAPPER]) ?? event;
    visitPaths(chunk, FACT_PATHS, (path, value) => this.fact(path.at(-1) ?? "", value));
    const usage = asObject(chunk["usageMetadata"]);
    const areThoughtsReported = (countOf(usage?.["thoughtsTokenCount"]) ?? 0) > 0;
    for (const candidate of asArray(chunk["candidates"])) this.candidate(asObject(candidate) ?? {}, hasCount(usage, GEMINI_COUNTS), areThoughtsReported);
    this.endElement();
  }

  conclude(body: BodyEnd): readonly Reading[] {
    // An element that was cut off behind its usage.
    this.endElement();
    const streamed = body.framing === "sse" || this.isArray;
    const reported = hasCount(this.usage, GEMINI_COUNTS) ? this.usage : undefined;
    const request = this.request.facts();
    const isWhole = this.isWhole(body, request.choiceCount);
    if (reported === undefined && !this.hasBegun && (this.hasError || (this.isBlocked && isWhole))) {
      const error = streamed ? "error_in_stream" : "error_body";
      const facts = { requestModel: request.model, responseModel: this.model, responseId: this.id, streamed };
      return [freeReading(this.hasError ? error : "prompt_blocked", facts)];
    }
    const mapped = reported === undefined ? undefined : mapGeminiUsage(reported);
    const reading = measuredReading({
      request,
      responseModel: this.model,
      responseId: this.id,
      serviceTier: this.serviceTier(body.response),
      streamed,
      isWhole,
      reported: mapped?.usage,
      estimates: this.context.isEstimateAllowed
        ? { input: () => this.request.inputTokens(), output: () => this.unreported(body, streamed, reported !== undefined) }
        : undefined,
      priceHints: this.priceHints(),
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
    });
    return [{ ...reading, usage: { ...reading.usage, ...this.grounding.units() } }];
  }

  private fact(name: string, value: unknown): void {
    switch (name) {
      case "responseId":
        this.id = textOf(value) ?? this.id;
        return;
      case "modelVersion":
        this.model = bareModel(value) ?? this.model;
        return;
      case "usageMetadata":
        return this.merge(asObject(value));
      case "error":
        this.hasError ||= value !== null;
        return;
      case "blockReason":
        this.isBlocked ||= textOf(value) !== undefined;
        return;
      default:
        this.grounding.value(name, value);
    }
  }

  /** Snapshots are cumulative, and an early one may have a part of the fields only (section 5.9.2). */
  private merge(usage: JsonObject | undefined): void {
    if (usage === undefined) return;
    this.usage = mergeSnapshot(this.usage, usage);
    this.isOutputReported ||= (countOf(usage["candidatesTokenCount"]) ?? 0) > 0;
  }

  private candidate(candidate: JsonObject, isReported: boolean, areThoughtsReported: boolean): void {
    const index = countOf(candidate["index"]) ?? 0;
    this.hasBegun = true;
    this.seenCandidates.add(index);
    if (textOf(candidate["finishReason"]) !== undefined) {
      this.finishedCandidates.add(index);
      this.isFinishReported = isReported;
    }
    for (const value of asArray(asObject(candidate["content"])?.["parts"])) {
      const part = asObject(value) ?? {};
      if (part["thought"] === true && areThoughtsReported) continue;
      this.addText(part["text"] ?? part["functionCall"] ?? asObject(part["executableCode"])?.["code"]);
    }
  }

  private addText(value: unknown): void {
    if (value === undefined || value === null) return;
    this.hasBegun = true;
    if (typeof value !== "string") this.text.addChars(jsonLength(value));
    else if (value.length > MAX_HELD_CHARS) this.text.addChars(value.length);
    else this.text.add(value);
  }

  /**
   * The end of a stream is a finish reason for each candidate, or a blocked prompt (section 7.2). Some servers send
   * the last counts behind it: of a stream that broke off there they are not known.
   */
  private isWhole(body: BodyEnd, choiceCount: number): boolean {
    if (this.hasError || body.transport === "undecodable") return false;
    if (body.framing === "json") return body.isDocumentWhole;
    const isFinished = this.finishedCandidates.size >= choiceCount;
    if (body.transport !== "complete") return isFinished && this.isFinishReported;
    const haveAllFinished = this.finishedCandidates.size > 0 && this.finishedCandidates.size === this.seenCandidates.size;
    return this.isBlocked || isFinished || haveAllFinished;
  }

  /** Output that no report covers. A report in a whole document covers all of it. */
  private unreported(body: BodyEnd, streamed: boolean, isReported: boolean): number {
    if (!isReported) return outputTokens(this.text, body.oversizeBytes);
    return streamed ? this.text.tokens() : 0;
  }

  /** As the answer states it: the Gemini API in its usage or a header, Vertex by the kind of traffic (section 5.9.1). */
  private serviceTier(response: ResponseHead | undefined): string | null {
    const header = response === undefined ? undefined : getHeader(response.headers, "x-gemini-service-tier");
    const traffic = textOf(this.usage?.["trafficType"]);
    const tier = textOf(this.usage?.["serviceTier"]) ?? textOf(header) ?? (traffic === "TRAFFIC_TYPE_UNSPECIFIED" ? undefined : traffic);
    return tier ?? null;
  }

  /** Provisioned throughput has no price per token (section 5.12). */
  private priceHints(): Readonly<Record<string, string>> {
    const isProvisioned = this.usage?.["trafficType"] === "PROVISIONED_THROUGHPUT";
    return { ...this.hints, ...(isProvisioned ? { billing_mode: "provisioned" } : {}), ...this.grounding.hints() };
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }
}
