/**
 * Reads one answer of Cohere's own API (reference/model-usage.md section 5.15; `cohere-ai` 8.1.0): v2/chat as one
 * document or as SSE, v1/chat and v1/generate as one document, in lines or as SSE, and the documents of embed, rerank,
 * classify, parse and summarize. The places of what is wanted do not clash, so one table of paths reads all of them.
 * No answer names its model.
 */

import type { ModelUsage } from "../../categories.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ModelReading, Reader, ReaderContext, Reading } from "../../handler.ts";
import { hasCohereCount, mapCohereUsage } from "./cohere-usage.ts";
import { addDeltaText, stringMember } from "./delta-text.ts";
import { asObject, jsonLength, parseObject, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { createLineBodyReader } from "./line-body.ts";
import type { LineBodyEnd, LineProtocol } from "./line-body.ts";
import { freeReading, measuredReading, outputTokens } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { mergeSnapshot } from "./snapshot.ts";

/** What stands for the usage of an answer that reports none: an estimate of its tokens, or the least it can be ({}: nothing). */
export type CohereFallback = "tokens" | ModelUsage;

/** The reader of one POST to an endpoint that costs something. */
export function createCohereReader(context: ReaderContext, fallback: CohereFallback): Reader {
  const request = createRequestReader(REQUEST_PATHS);
  return createLineBodyReader(new CohereProtocol(context, fallback, request), request);
}

const REQUEST_PATHS: readonly JsonPath[] = [["model"], ["stream"], ["max_tokens"]];

const JSON_PATHS: readonly JsonPath[] = [
  ["event_type"],
  ["id"],
  ["generation_id"],
  // v2/chat, whole and in `message-end`.
  ["usage"],
  ["delta", "usage"],
  ["delta", "error"],
  ["delta", "finish_reason"],
  // Everything else, whole and in `stream-end`, whose response repeats the text.
  ["meta"],
  ["response", "meta"],
  ["response", "id"],
  ["finish_reason"],
  ["error"],
  ["message", "content", "*", "text"],
  ["message", "content", "*", "thinking"],
  ["message", "tool_plan"],
  ["message", "tool_calls", "*", "function", "arguments"],
  ["text"],
  ["tool_calls", "*", "parameters"],
  ["tool_call_delta", "parameters"],
  ["generations", "*", "text"],
  ["summary"],
  ["is_finished"],
];

/** Events of v2/chat that have output and nothing else that is wanted. */
const TEXT_EVENTS = new Set(["content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"]);
const DELTA_MEMBERS = ['text":', 'thinking":', 'tool_plan":', 'arguments":'] as const;

/** Events of v2/chat that have nothing that is wanted: ends of blocks, and citations, which quote the answer. */
const EMPTY_EVENTS = new Set(["content-end", "tool-call-end", "citation-start", "citation-end"]);

/** The event of v1/chat that repeats what the chunks of tool calls told. */
const REPEATING_EVENT = "tool-calls-generation";

/** The last event of v1/chat. Cohere itself also says `is_finished`; the types of its SDK have the event alone. */
const LAST_EVENT = "stream-end";

class CohereProtocol implements LineProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly fallback: CohereFallback;
  private readonly request: RequestReader;

  private id: string | null = null;
  private report: JsonObject | undefined;
  private eventType = "";
  private isDone = false;
  private hasBegun = false;
  private hasError = false;
  private readonly text = createRunningEstimate();

  constructor(context: ReaderContext, fallback: CohereFallback, request: RequestReader) {
    this.context = context;
    this.fallback = fallback;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    switch (path.at(-1)) {
      case "event_type":
        this.eventType = textOf(value) ?? "";
        this.isDone ||= this.eventType === LAST_EVENT;
        return;
      case "id":
      case "generation_id":
        this.id ??= textOf(value) ?? null;
        return;
      case "usage":
      case "meta":
        return this.merge(asObject(value));
      case "error":
        this.hasError ||= textOf(value) !== undefined || asObject(value) !== undefined;
        return;
      case "finish_reason":
        this.hasError ||= value === "ERROR";
        return;
      case "is_finished":
        this.isDone ||= value === true;
        return;
      default:
        return this.output(value);
    }
  }

  event({ event, data }: SseEvent): void {
    if (this.isDone || data === "[DONE]") return;
    const type = event ?? stringMember(data, 'type":') ?? "";
    if (TEXT_EVENTS.has(type)) {
      this.hasBegun = true;
      addDeltaText(this.text, data, DELTA_MEMBERS);
    } else if (!EMPTY_EVENTS.has(type)) {
      const value = parseObject(data);
      if (value === undefined) return;
      visitPaths(value, JSON_PATHS, (path, found) => this.jsonValue(path, found));
      if (type === "message-end") this.isDone = true;
    }
  }

  conclude(body: LineBodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const streamed = body.framing !== "json";
    const isReported = hasCohereCount(this.report);
    if (this.hasError && !isReported && !this.hasBegun) {
      return [freeReading(streamed ? "error_in_stream" : "error_body", { requestModel: request.model, responseId: this.id, streamed })];
    }
    const mapped = isReported && this.report !== undefined ? mapCohereUsage(this.report) : undefined;
    const isWhole = this.isWhole(body);
    const reading = measuredReading({
      request,
      responseModel: null,
      responseId: this.id,
      serviceTier: null,
      streamed,
      isWhole,
      reported: mapped?.usage,
      estimates:
        this.context.isEstimateAllowed && this.fallback === "tokens"
          ? { input: () => this.request.inputTokens(), output: () => (isReported ? 0 : outputTokens(this.text, body.oversizeBytes)) }
          : undefined,
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
    });
    return [mapped === undefined ? this.withLeastUnits(reading) : reading];
  }

  /** What is priced by the piece is at least one piece (contract section 4). */
  private withLeastUnits(reading: ModelReading): ModelReading {
    if (this.fallback === "tokens" || !this.context.isEstimateAllowed || Object.keys(this.fallback).length === 0) return reading;
    return { ...reading, usage: this.fallback, source: "estimate" };
  }

  private merge(report: JsonObject | undefined): void {
    if (report !== undefined) this.report = mergeSnapshot(this.report, report);
  }

  private output(value: unknown): void {
    if (value === "" || value === null || this.eventType === REPEATING_EVENT) return;
    this.hasBegun = true;
    if (typeof value === "string") this.text.add(value);
    else this.text.addChars(jsonLength(value));
  }

  private isWhole(body: LineBodyEnd): boolean {
    if (this.hasError || body.transport === "undecodable") return false;
    return body.framing === "json" ? body.isDocumentWhole : this.isDone;
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }
}
