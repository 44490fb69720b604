/**
 * Reads one response of Anthropic Messages, whole or streamed (reference/model-usage.md section 5.1). Shared by
 * Anthropic itself and by servers that speak its protocol.
 */

import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ModelReading, ReaderContext, Reader, Reading, StatedCost } from "../../handler.ts";
import type { ResponseHead } from "../../../flow/flow.ts";
import { ANTHROPIC_COUNTS, mapAnthropicUsage } from "./anthropic-usage.ts";
import type { AnthropicUsage } from "./anthropic-usage.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, addEventText, stringMember } from "./delta-text.ts";
import { asArray, asObject, countOf, jsonLength, parseObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { createPlainDeltas } from "./plain-delta.ts";
import { freeReading, measuredReading, outputTokens, sizesOf } from "./reading.ts";
import { ANTHROPIC_REQUEST_PATHS, createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

export interface AnthropicDialect {
  /** Facts that move the price, from the heads of the exchange. */
  readonly priceHints?: (response: ResponseHead | undefined) => Readonly<Record<string, string>>;
  /** Facts that move the price, from the merged usage object. */
  readonly usageHints?: (usage: JsonObject) => Readonly<Record<string, string>>;
  /** A cost that the server states in its usage object. */
  readonly statedCost?: (usage: JsonObject) => StatedCost | undefined;
}

/** The reader of one POST to a messages endpoint. */
export function createAnthropicMessagesReader(context: ReaderContext, dialect: AnthropicDialect = {}): Reader {
  const request = createRequestReader(ANTHROPIC_REQUEST_PATHS);
  return createBodyReader(new MessagesProtocol(context, dialect, request), request);
}

const JSON_PATHS: readonly JsonPath[] = [
  ["id"],
  ["model"],
  ["usage"],
  ["error"],
  ["content", "*", "text"],
  ["content", "*", "thinking"],
  ["content", "*", "input"],
];

/** Members of a content_block_delta that hold output. Signatures and citations are none. */
const DELTA_MEMBERS = ['text":', 'thinking":', 'partial_json":'] as const;

const CONTENT_DELTA = "content_block_delta";

class MessagesProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly dialect: AnthropicDialect;
  private readonly request: RequestReader;

  private usage: JsonObject | undefined;
  private hasStaleIterations = false;
  private id: string | null = null;
  private model: string | null = null;
  /** A message_start was seen, or content: the model had begun. */
  private hasBegun = false;
  /** Only message_start has reported output so far. */
  private isOutputSeed = false;
  private hasStopped = false;
  private hasError = false;
  /** Output since the last report of it. */
  private readonly text = createRunningEstimate();
  private readonly plainDeltas = createPlainDeltas();

  constructor(context: ReaderContext, dialect: AnthropicDialect, request: RequestReader) {
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    switch (path[0]) {
      case "id":
        this.id = textOf(value) ?? this.id;
        return;
      case "model":
        this.model = textOf(value) ?? this.model;
        return;
      case "usage":
        return this.merge(asObject(value));
      case "error":
        this.hasError ||= value !== null;
        return;
      default:
        if (typeof value === "string") this.text.add(value);
        else this.text.addChars(jsonLength(value));
    }
  }

  event({ event, data }: SseEvent): void {
    if (this.hasStopped) return;
    const plainText = event === CONTENT_DELTA ? this.plainDeltas.textOf(data) : undefined;
    if (plainText !== undefined) return addEventText(this.text, plainText, data.length);
    const type = eventType(event, data);
    if (type === CONTENT_DELTA) {
      this.hasBegun = true;
      addDeltaText(this.text, data, DELTA_MEMBERS);
      if (event === CONTENT_DELTA) this.plainDeltas.learn(data, DELTA_MEMBERS);
    } else if (type === "message_stop") this.hasStopped = true;
    else if (type !== "ping" && type !== "content_block_start" && type !== "content_block_stop") this.parsedEvent(data);
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const requestFacts = this.request.facts();
    const streamed = body.framing === "sse";
    const reported = hasCount(this.usage, ANTHROPIC_COUNTS) ? this.usage : undefined;
    if (this.hasError && reported === undefined && !this.hasBegun) {
      const facts = { requestModel: requestFacts.model, responseModel: this.model, responseId: this.id, streamed };
      return [freeReading(streamed ? "error_in_stream" : "error_body", facts)];
    }
    const isWhole = body.transport !== "undecodable" && !this.hasError && (streamed ? this.hasStopped : body.isDocumentWhole);
    const mapped = reported === undefined ? undefined : mapAnthropicUsage(reported, this.hasStaleIterations);
    const isRestKnown = reported !== undefined && !streamed;
    const own = measuredReading({
      request: requestFacts,
      responseModel: this.model,
      responseId: this.id,
      serviceTier: textOf(this.usage?.["service_tier"]) ?? null,
      streamed,
      isWhole,
      reported: mapped?.usage,
      isOutputSeed: streamed && this.isOutputSeed,
      estimates: this.context.isEstimateAllowed
        ? { input: () => this.request.inputTokens(), output: () => (isRestKnown ? 0 : outputTokens(this.text, body.oversizeBytes)) }
        : undefined,
      sizes: sizesOf(this.request, this.text, body.oversizeBytes),
      statedCost: this.usage === undefined ? undefined : this.dialect.statedCost?.(this.usage),
      priceHints: this.priceHints(body.response, mapped),
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
    });
    return [own, ...advisorReadings(own, mapped)];
  }

  private parsedEvent(data: string): void {
    const event = parseObject(data);
    if (event === undefined) return;
    switch (event["type"]) {
      case "message_start":
        return this.messageStart(asObject(event["message"]) ?? {});
      case "message_delta":
        return this.messageDelta(asObject(event["usage"]));
      case "message_stop":
        this.hasStopped = true;
        return;
      case "error":
        this.hasError = true;
        return;
      default:
        // Some gateways send a bare {"error": …}.
        this.hasError ||= asObject(event["error"]) !== undefined;
    }
  }

  private messageStart(message: JsonObject): void {
    this.hasBegun = true;
    this.id = textOf(message["id"]) ?? this.id;
    this.model = textOf(message["model"]) ?? this.model;
    this.isOutputSeed = true;
    this.merge(asObject(message["usage"]));
  }

  private messageDelta(usage: JsonObject | undefined): void {
    this.hasBegun = true;
    this.merge(usage);
    if ((countOf(usage?.["output_tokens"]) ?? 0) === 0) return;
    this.isOutputSeed = false;
    this.text.reset();
  }

  private merge(usage: JsonObject | undefined): void {
    if (usage === undefined) return;
    if (asArray(usage["iterations"]).length > 0) this.hasStaleIterations = false;
    else if (hasCount(usage, ANTHROPIC_COUNTS)) this.hasStaleIterations = asArray(this.usage?.["iterations"]).length > 0;
    this.usage = mergeSnapshot(this.usage, usage);
  }

  /** Sections 5.1.1, 5.1.3 (the lifetime of an excess) and 8. */
  private priceHints(response: ResponseHead | undefined, mapped: AnthropicUsage | undefined): Readonly<Record<string, string>> {
    const hints: Record<string, string> = {
      ...this.dialect.priceHints?.(response),
      ...(this.usage === undefined ? {} : this.dialect.usageHints?.(this.usage)),
    };
    for (const name of ["speed", "inference_geo"]) {
      const value = textOf(this.usage?.[name]);
      if (value !== undefined) hints[name] = value;
    }
    const credit = textOf(asObject(asObject(this.usage?.["fallback_credit"])?.["status"])?.["type"]);
    if (credit !== undefined) hints["fallback_credit"] = credit;
    const { hasOnlyHourCaches, billTo } = this.request.facts();
    if (billTo !== null) hints["bill_to"] = billTo;
    if (hasOnlyHourCaches && (mapped?.usage.cache_write_tokens ?? 0) > 0) hints["cache_write_ttl"] = "1h";
    return hints;
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }
}

/** Usage of other models in the same response: events of their own. */
function advisorReadings(own: ModelReading, mapped: AnthropicUsage | undefined): readonly ModelReading[] {
  const { priceHints = {}, statedCost: _cost, anomalies: _anomalies, basis: _basis, ...shared } = own;
  // Speed is a property of the message's own model.
  const { speed: _speed, cache_write_ttl: _ttl, ...hints } = priceHints;
  return (mapped?.advisors ?? []).map(({ model, usage }) => ({
    ...shared,
    source: "provider",
    usage,
    requestModel: null,
    responseModel: model,
    ...(Object.keys(hints).length > 0 ? { priceHints: hints } : {}),
    ...(model === null ? { anomalies: ["model_missing"] } : {}),
  }));
}

/** The `event:` line, or the type in the data: some compatible servers send no event names. */
function eventType(event: string | undefined, data: string): string {
  if (event !== undefined && event !== "message") return event;
  return stringMember(data, 'type":') ?? "";
}
