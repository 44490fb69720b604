/**
 * Reads one answer of InvokeModel or InvokeModelWithResponseStream in the format of a vendor other than Anthropic:
 * Amazon Titan and Nova, Meta, Mistral, Cohere, AI21, and those of OpenAI's shape (reference/model-usage.md section
 * 5.13.2; field names: AWS user guide, "Inference request parameters and response fields"). The shapes have no member
 * in common with another meaning, so that one reader knows all: the model of an ARN is often unknown.
 */

import type { ModelUsage } from "../../categories.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBedrockRequestReader, createRerankRequestReader } from "./bedrock-request.ts";
import type { BedrockRequest } from "./bedrock-request.ts";
import { METRICS_MEMBER } from "./bedrock-stream.ts";
import { NativeUsage, NATIVE_COUNT_PATHS } from "./bedrock-native-usage.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, hasMember } from "./delta-text.ts";
import { jsonLength, parseObject, textOf, visitPaths } from "./json-values.ts";
import { freeReading, measuredReading, outputTokens } from "./reading.ts";
import type { Estimates } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";

/** Answers with text, or with anything whose usage is told in headers. */
export function createNativeReader(context: ReaderContext, asked: BedrockRequest): Reader {
  const request = createBedrockRequestReader(asked);
  return createBodyReader(new NativeProtocol(context, request, { hasText: true }), request);
}

/** Answers with vectors: no output, and the body may be large. */
export function createVectorReader(context: ReaderContext, asked: BedrockRequest): Reader {
  const request = createBedrockRequestReader(asked);
  return createBodyReader(new NativeProtocol(context, request, { hasText: false }), request);
}

/** Most documents that one search unit covers (AWS and Cohere price lists of Rerank). */
const DOCUMENTS_PER_UNIT = 100;

/** Answers with ranks, charged by search units, which only the request tells. */
export function createRerankReader(context: ReaderContext, asked: BedrockRequest): Reader {
  const request = createRerankRequestReader(asked);
  const count = (): ModelUsage => ({ search_units: Math.max(1, Math.ceil(request.documents / DOCUMENTS_PER_UNIT)) });
  return createBodyReader(new NativeProtocol(context, request, { hasText: false, pieces: { count, isHint: true } }), request);
}

const IMAGE_PATHS: readonly JsonPath[] = [
  ["images", "*"],
  ["artifacts", "*", "base64"],
];

/** An image is megabytes; that it is a string which is not empty shows in less. */
const MAX_IMAGE_BYTES = 64;

/** Answers with images, charged by the piece. One that was filtered out is null. */
export function createImageReader(context: ReaderContext, asked: BedrockRequest): Reader {
  let images = 0;
  const scan = createJsonScan({
    paths: IMAGE_PATHS,
    maxValueBytes: MAX_IMAGE_BYTES,
    onValue: (_path, value) => {
      if (textOf(value) !== undefined) images++;
    },
    onOversize: () => {
      images++;
    },
  });
  const request = createBedrockRequestReader(asked);
  const pieces = { count: () => ({ images_out: images }), isHint: false };
  const body = createBodyReader(new NativeProtocol(context, request, { hasText: false, pieces }), request);
  return {
    requestData: (chunk) => body.requestData?.(chunk),
    response: (head) => body.response(head),
    push(chunk) {
      scan.push(chunk);
      body.push(chunk);
    },
    end: (end) => body.end(end),
  };
}

interface NativeTraits {
  /** False: an answer has no output to estimate. */
  readonly hasText: boolean;
  /** What is charged by the piece. `isHint`: the request tells it, not the answer, so that it is an estimate. */
  readonly pieces?: { readonly count: () => ModelUsage; readonly isHint: boolean };
}

const JSON_PATHS: readonly JsonPath[] = [
  ...NATIVE_COUNT_PATHS,
  ["id"],
  ["model"],
  ["error"],
  // Amazon Titan and Nova.
  ["results", "*", "outputText"],
  ["output", "message", "content", "*", "text"],
  ["output", "message", "content", "*", "toolUse", "input"],
  // Meta, Mistral, Cohere, AI21, and OpenAI's shape.
  ["generation"],
  ["outputs", "*", "text"],
  ["generations", "*", "text"],
  ["text"],
  ["choices", "*", "text"],
  ["choices", "*", "message", "content"],
  ["choices", "*", "message", "reasoning_content"],
  ["choices", "*", "message", "tool_calls", "*", "function", "arguments"],
];

/** Members of a chunk that hold output. */
const DELTA_MEMBERS = ['generation":', 'outputText":', 'text":', 'content":', 'reasoning_content":', 'arguments":', 'input":', 'completion":'] as const;

/** A chunk with one of these ends the text of an answer. After Nova's `stopReason` its counts are still to come. */
const STOP_MEMBERS = ['stop_reason":', 'finish_reason":', 'completionReason":'] as const;

const COUNT_MEMBERS = ['usage":', '_token_count":', 'TokenCount":', `${METRICS_MEMBER}":`] as const;

class NativeProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly request: RequestReader;
  private readonly traits: NativeTraits;
  private readonly counts = new NativeUsage();
  private id: string | null = null;
  private model: string | null = null;
  private hasBegun = false;
  private hasStopped = false;
  /** The metrics came, or Nova's metadata, which they come with. */
  private hasEnded = false;
  private hasError = false;
  /** Output since the last report of it. */
  private readonly text = createRunningEstimate();

  constructor(context: ReaderContext, request: RequestReader, traits: NativeTraits) {
    this.context = context;
    this.request = request;
    this.traits = traits;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (this.counts.value(path, value)) return;
    const name = path.length === 1 ? path[0] : undefined;
    if (name === "id") this.id = textOf(value) ?? this.id;
    else if (name === "model") this.model = textOf(value) ?? this.model;
    else if (name === "error") this.hasError ||= value !== null;
    else if (typeof value === "string") this.text.add(value);
    else if (value !== null) this.text.addChars(jsonLength(value));
  }

  event({ event, data }: SseEvent): void {
    if (event === "error") {
      this.hasError = true;
      return;
    }
    this.hasBegun = true;
    this.hasStopped ||= STOP_MEMBERS.some((member) => hasMember(data, member));
    addDeltaText(this.text, data, DELTA_MEMBERS);
    if (COUNT_MEMBERS.some((member) => hasMember(data, member))) this.countChunk(data);
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const streamed = body.framing === "sse";
    const request = this.request.facts();
    const mapped = this.counts.map();
    const pieces = this.pieces();
    const hasCharge = mapped !== undefined || this.hasBegun || Object.values(pieces ?? {}).some((count) => count > 0);
    if (this.hasError && !hasCharge) {
      return [freeReading(streamed ? "error_in_stream" : "error_body", { requestModel: request.model, responseId: this.id, streamed })];
    }
    const isWhole = this.isWhole(body);
    const reading = measuredReading({
      request,
      responseModel: this.model,
      responseId: this.id,
      serviceTier: null,
      streamed,
      isWhole,
      reported: mapped === undefined && pieces === undefined ? undefined : { ...mapped?.usage, ...pieces },
      estimates: this.context.isEstimateAllowed && this.traits.pieces === undefined ? this.estimates(body, mapped !== undefined) : undefined,
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
    });
    return [pieces !== undefined && this.traits.pieces?.isHint === true ? { ...reading, source: "estimate" } : reading];
  }

  /** Undefined: nothing is charged by the piece, or only an estimate could tell and none is allowed. */
  private pieces(): ModelUsage | undefined {
    const { pieces } = this.traits;
    return pieces?.isHint === true && !this.context.isEstimateAllowed ? undefined : pieces?.count();
  }

  private estimates(body: BodyEnd, isReported: boolean): Estimates {
    const isOutputKnown = !this.traits.hasText || (isReported && body.framing === "json");
    return { input: () => this.request.inputTokens(), output: () => (isOutputKnown ? 0 : outputTokens(this.text, body.oversizeBytes)) };
  }

  private countChunk(data: string): void {
    const chunk = parseObject(data);
    if (chunk === undefined) return;
    this.hasEnded ||= chunk[METRICS_MEMBER] !== undefined || chunk["metadata"] !== undefined;
    visitPaths(chunk, NATIVE_COUNT_PATHS, (path, value) => this.counts.value(path, value));
    if (this.counts.takeOutputReport()) this.text.reset();
  }

  /** The metrics come last; a vendor's own end is enough where the stream ended as it should. */
  private isWhole(body: BodyEnd): boolean {
    if (body.transport === "undecodable") return false;
    if (body.framing === "json") return body.isDocumentWhole;
    if (this.hasError) return false;
    return this.hasEnded || (this.hasStopped && body.transport === "complete");
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (isWhole) return [];
    return [this.hasError ? "error_after_200" : "stream_truncated"];
  }
}
