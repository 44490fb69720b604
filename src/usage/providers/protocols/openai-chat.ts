/**
 * Reads one response of OpenAI Chat Completions or legacy completions, whole or streamed, from any server of the
 * family (reference/model-usage.md sections 5.2 and 5.14).
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ExchangeInfo, ModelReading, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, addEventText, hasMember } from "./delta-text.ts";
import { asArray, asObject, countOf, jsonLength, parseObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { breakdownReadings } from "./openai-breakdown.ts";
import { chatTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapChatUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import type { MappedUsage } from "./openai-usage.ts";
import { createPlainDeltas } from "./plain-delta.ts";
import { freeReading, measuredReading, outputTokens, sizesOf } from "./reading.ts";
import { CHAT_REQUEST_PATHS, createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";
import { copilotCost } from "./stated-cost.ts";

/** The reader of one POST to a completions endpoint. */
export function createOpenAiChatReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): Reader {
  const request = createRequestReader(CHAT_REQUEST_PATHS);
  return createBodyReader(new ChatProtocol(exchange, context, dialect, request), request);
}

const JSON_PATHS: readonly JsonPath[] = [
  ["id"],
  ["model"],
  ["service_tier"],
  ["usage"],
  ["error"],
  ["usage_breakdown"],
  ["copilot_usage"],
  ["choices", "*", "usage"],
  ["choices", "*", "text"],
  ["choices", "*", "message", "content"],
  ["choices", "*", "message", "refusal"],
  ["choices", "*", "message", "reasoning"],
  ["choices", "*", "message", "reasoning_content"],
  ["choices", "*", "message", "function_call", "arguments"],
  ["choices", "*", "message", "tool_calls", "*", "function", "arguments"],
];

/** Members of a chunk that hold output, most frequent first. `obfuscation` is padding. */
const DELTA_MEMBERS = ['content":', 'reasoning_content":', 'reasoning":', 'arguments":', 'text":', 'refusal":'] as const;

/** Chunks that are parsed in any case, until one tells id and model. Azure's first has both empty. */
const MAX_IDENTITY_CHUNKS = 8;

class ChatProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly request: RequestReader;

  private usage: JsonObject | undefined;
  /** Usage in choices[] or x_groq: the top level wins over it (section 6.1 no. 5). */
  private nestedUsage: JsonObject | undefined;
  private breakdown: JsonObject | undefined;
  private copilotUsage: JsonObject | undefined;
  private id: string | null = null;
  private model: string | null = null;
  private serviceTier: string | null = null;
  private identityChunks = 0;
  private readonly finishedChoices = new Set<number>();
  private isDone = false;
  private hasBegun = false;
  private hasError = false;
  /** Output since the last report of it. */
  private readonly text = createRunningEstimate();
  private readonly plainDeltas = createPlainDeltas();

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, request: RequestReader) {
    this.exchange = exchange;
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const [name = ""] = path;
    if (path.length === 1) return this.topLevel(name, value);
    if (path.at(-1) === "usage") this.nestedUsage = merged(this.nestedUsage, value);
    else if (typeof value === "string") this.text.add(value);
    else if (value !== null) this.text.addChars(jsonLength(value));
  }

  event({ data }: SseEvent): void {
    if (this.isDone) return;
    if (data === "[DONE]") {
      this.isDone = true;
      return;
    }
    const plainText = this.plainDeltas.textOf(data);
    if (plainText !== undefined) return addEventText(this.text, plainText, data.length);
    addDeltaText(this.text, data, DELTA_MEMBERS);
    const isIdentityWanted = (this.id === null || this.model === null) && this.identityChunks < MAX_IDENTITY_CHUNKS;
    if (!isIdentityWanted && !hasFacts(data)) return this.plainDeltas.learn(data, DELTA_MEMBERS);
    this.identityChunks++;
    const chunk = parseObject(data);
    if (chunk !== undefined) this.chunk(chunk);
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const streamed = body.framing === "sse";
    const raw = this.reportedUsage();
    const requestFacts = this.request.facts();
    if (this.hasError && raw === undefined && !this.hasBegun) {
      const facts = { requestModel: requestFacts.model, responseModel: this.model, responseId: this.id, streamed };
      return [freeReading(streamed ? "error_in_stream" : "error_body", facts)];
    }
    const isWhole = this.isWhole(body, raw !== undefined, requestFacts.choiceCount);
    const mapped = raw === undefined ? undefined : this.map(raw);
    const isRestKnown = raw !== undefined && !streamed;
    const reading = measuredReading({
      request: requestFacts,
      responseModel: this.model,
      responseId: this.id,
      serviceTier: this.serviceTier ?? textOf(raw?.["service_tier"]) ?? null,
      streamed,
      isWhole,
      reported: mapped?.usage,
      estimates: this.context.isEstimateAllowed
        ? { input: () => this.request.inputTokens(), output: () => (isRestKnown ? 0 : outputTokens(this.text, body.oversizeBytes)) }
        : undefined,
      sizes: sizesOf(this.request, this.text, body.oversizeBytes),
      statedCost: raw === undefined ? undefined : (this.dialect.statedCost?.(raw) ?? copilotCost(this.copilotUsage)),
      priceHints: this.priceHints(raw, body.response),
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
    });
    return this.withBreakdown(reading, raw);
  }

  private chunk(chunk: JsonObject): void {
    for (const value of asArray(chunk["choices"])) this.choice(asObject(value) ?? {});
    const groq = asObject(chunk["x_groq"]);
    if (groq !== undefined) {
      this.nestedUsage = merged(this.nestedUsage, groq["usage"]);
      this.hasError ||= isErrorValue(groq["error"]);
      this.forgetReported(groq["usage"]);
      this.topLevel("usage_breakdown", groq["usage_breakdown"]);
    }
    for (const name of ["id", "model", "service_tier", "usage", "error", "usage_breakdown", "copilot_usage"]) {
      this.topLevel(name, chunk[name]);
    }
    this.forgetReported(chunk["usage"]);
  }

  private choice(choice: JsonObject): void {
    this.hasBegun = true;
    this.nestedUsage = merged(this.nestedUsage, choice["usage"]);
    this.forgetReported(choice["usage"]);
    const reason = textOf(choice["finish_reason"]);
    // OpenRouter ends a choice so when its upstream broke off.
    if (reason === "error") this.hasError = true;
    else if (reason !== undefined) this.finishedChoices.add(countOf(choice["index"]) ?? 0);
  }

  private topLevel(name: string, value: unknown): void {
    switch (name) {
      case "id":
        this.id = textOf(value) ?? this.id;
        return;
      case "model":
        this.model = textOf(value) ?? this.model;
        return;
      case "service_tier":
        this.serviceTier = textOf(value) ?? this.serviceTier;
        return;
      case "usage":
        this.usage = merged(this.usage, value);
        return;
      case "error":
        this.hasError ||= isErrorValue(value);
        return;
      case "usage_breakdown":
        this.breakdown = asObject(value) ?? this.breakdown;
        return;
      default:
        this.copilotUsage = asObject(value) ?? this.copilotUsage;
    }
  }

  /** What a snapshot reports of the output needs no estimate any more. */
  private forgetReported(usage: unknown): void {
    const counts = asObject(usage);
    if ((countOf(counts?.["completion_tokens"]) ?? 0) > 0) this.text.reset();
  }

  private reportedUsage(): JsonObject | undefined {
    const top = hasCount(this.usage, OPENAI_COUNTS) ? this.usage : undefined;
    const nested = hasCount(this.nestedUsage, OPENAI_COUNTS) ? this.nestedUsage : undefined;
    return top === undefined ? nested : mergeSnapshot(nested, top);
  }

  /** finish_reason is not the end: usage comes after it, and [DONE] after that (section 5.2.2). */
  private isWhole(body: BodyEnd, hasUsage: boolean, choiceCount: number): boolean {
    if (this.hasError || body.transport === "undecodable") return false;
    if (body.framing === "json") return body.isDocumentWhole;
    if (this.isDone) return true;
    const isFinished = this.finishedChoices.size >= choiceCount;
    // Some compatible servers close without [DONE].
    return isFinished && (hasUsage || (body.transport === "complete" && !this.dialect.isOpenAi));
  }

  private map(raw: JsonObject): MappedUsage {
    return mapChatUsage(raw, chatTraits(this.dialect, this.model ?? this.request.facts().model));
  }

  private priceHints(raw: JsonObject | undefined, response: ResponseHead | undefined): Readonly<Record<string, string>> {
    return {
      ...this.dialect.exchangeHints?.(this.exchange, response),
      ...(raw === undefined ? {} : this.dialect.usageHints?.(raw)),
    };
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }

  private withBreakdown(reading: ModelReading, raw: JsonObject | undefined): readonly ModelReading[] {
    if (this.breakdown === undefined || raw === undefined) return [reading];
    return breakdownReadings(reading, this.breakdown, (usage, model) => mapChatUsage(usage, chatTraits(this.dialect, model)));
  }
}

/** Whether a chunk can hold more than text, told without parsing it. */
function hasFacts(data: string): boolean {
  return hasMember(data, 'usage":') || hasMember(data, 'finish_reason":') || hasMember(data, 'error":');
}

function merged(earlier: JsonObject | undefined, value: unknown): JsonObject | undefined {
  const later = asObject(value);
  return later === undefined ? earlier : mergeSnapshot(earlier, later);
}

function isErrorValue(value: unknown): boolean {
  return asObject(value) !== undefined || textOf(value) !== undefined;
}
