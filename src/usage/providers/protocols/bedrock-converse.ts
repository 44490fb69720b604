/**
 * Reads one answer of Bedrock's Converse or ConverseStream, the same for every model (reference/model-usage.md section
 * 5.13.1; `@aws-sdk/client-bedrock-runtime` 3.1163.0 for the fields around the usage).
 */

import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { CONVERSE_COUNTS, mapConverseUsage } from "./bedrock-counts.ts";
import { isOpenAiModel } from "./bedrock-model.ts";
import { createBedrockRequestReader } from "./bedrock-request.ts";
import type { BedrockRequest } from "./bedrock-request.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, addEventText } from "./delta-text.ts";
import { asObject, jsonLength, parseObject, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { createPlainDeltas } from "./plain-delta.ts";
import { freeReading, measuredReading, outputTokens } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of one POST to /converse or /converse-stream, whose frames come as server-sent events. */
export function createConverseReader(context: ReaderContext, asked: BedrockRequest): Reader {
  const request = createBedrockRequestReader(asked);
  return createBodyReader(new ConverseProtocol(context, asked.model, request), request);
}

/** What a whole answer and the `metadata` event of a stream both have. */
const METADATA_PATHS: readonly JsonPath[] = [
  ["usage"],
  ["serviceTier", "type"],
  ["performanceConfig", "latency"],
  ["trace", "promptRouter", "invokedModelId"],
];

const JSON_PATHS: readonly JsonPath[] = [
  ...METADATA_PATHS,
  ["output", "message", "content", "*", "text"],
  ["output", "message", "content", "*", "reasoningContent", "reasoningText", "text"],
  ["output", "message", "content", "*", "toolUse", "input"],
];

/** Members of a contentBlockDelta that hold output. A reasoning signature is none. */
const DELTA_MEMBERS = ['text":', 'input":'] as const;

class ConverseProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly model: string;
  private readonly request: RequestReader;
  private usage: JsonObject | undefined;
  private serviceTier: string | null = null;
  private latency: string | undefined;
  /** Behind a prompt router: the model that it chose. */
  private invokedModel: string | null = null;
  private hasBegun = false;
  private hasMetadata = false;
  private hasError = false;
  private readonly text = createRunningEstimate();
  private readonly plainDeltas = createPlainDeltas();

  constructor(context: ReaderContext, model: string, request: RequestReader) {
    this.context = context;
    this.model = model;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    switch (path.at(-1)) {
      case "usage":
        this.usage = asObject(value) ?? this.usage;
        return;
      case "type":
        this.serviceTier = textOf(value) ?? this.serviceTier;
        return;
      case "latency":
        this.latency = textOf(value) ?? this.latency;
        return;
      case "invokedModelId":
        this.invokedModel = textOf(value) ?? this.invokedModel;
        return;
      default:
        if (typeof value === "string") this.text.add(value);
        else this.text.addChars(jsonLength(value));
    }
  }

  event({ event, data }: SseEvent): void {
    if (event === "error") this.hasError = true;
    else this.hasBegun = true;
    if (event === "contentBlockDelta") return this.delta(data);
    const metadata = event === "metadata" ? parseObject(data) : undefined;
    if (metadata === undefined) return;
    this.hasMetadata = true;
    visitPaths(metadata, METADATA_PATHS, (path, value) => this.jsonValue(path, value));
  }

  private delta(data: string): void {
    const plainText = this.plainDeltas.textOf(data);
    if (plainText !== undefined) return addEventText(this.text, plainText, data.length);
    addDeltaText(this.text, data, DELTA_MEMBERS);
    this.plainDeltas.learn(data, DELTA_MEMBERS);
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const streamed = body.framing === "sse";
    if (this.hasError && !this.hasBegun) return [freeReading("error_in_stream", { requestModel: this.model, streamed })];
    const isWhole = body.transport !== "undecodable" && (streamed ? this.hasMetadata : body.isDocumentWhole);
    const raw = hasCount(this.usage, CONVERSE_COUNTS) ? this.usage : undefined;
    // Measured wrong for one vendor's models, in streams only: the numbers alone cannot tell (section 5.13.1).
    const mapped = raw === undefined ? undefined : mapConverseUsage(raw, streamed && isOpenAiModel(this.model));
    return [
      measuredReading({
        request: this.request.facts(),
        responseModel: this.invokedModel,
        responseId: null,
        serviceTier: this.serviceTier,
        streamed,
        isWhole,
        reported: mapped?.usage,
        estimates: this.context.isEstimateAllowed
          ? { input: () => this.request.inputTokens(), output: () => (raw === undefined ? outputTokens(this.text, body.oversizeBytes) : 0) }
          : undefined,
        ...(this.latency === undefined ? {} : { priceHints: { latency: this.latency } }),
        anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
      }),
    ];
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (isWhole) return [];
    return [this.hasError ? "error_after_200" : "stream_truncated"];
  }
}
