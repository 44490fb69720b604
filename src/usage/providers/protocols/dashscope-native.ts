/**
 * Reads one answer of DashScope's own API, /api/v1/services/… and the tasks it begins (reference/model-usage.md section
 * 5.14; names of the `dashscope` SDKs for Python and Java, GenerationUsage and MultiModalConversationUsage). Every event
 * of a stream has the usage so far: the last one counts. No answer names its model.
 */

import type { ModelUsage } from "../../categories.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ExchangeInfo, OpenedExchange, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { asObject, countOf, firstCount, jsonLength, parseObject, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { chatTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapChatUsage } from "./openai-usage.ts";
import type { MappedUsage } from "./openai-usage.ts";
import { freeReading, measuredReading, outputTokens, put } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

const SERVICE = /\/api\/v1\/services\/([a-z0-9-]+)\//;
const TASK = /\/api\/v1\/tasks\/[^/]+$/;

/** What the services of a group do. */
const OPERATIONS: ReadonlyMap<string, string> = new Map([
  ["aigc", "chat"],
  ["embeddings", "embeddings"],
  ["rerank", "rerank"],
  ["audio", "audio"],
]);

/**
 * Opens a POST to `/api/v1/services/<group>/<task>/<function>`, or a GET of a task that one of them began; undefined:
 * it is neither.
 */
export function openDashScopeExchange(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): OpenedExchange | undefined {
  if (exchange.protocol !== "http") return undefined;
  const group = SERVICE.exec(exchange.path)?.[1];
  if (exchange.method === "POST" && group !== undefined) {
    return { api: "dashscope.services", operation: OPERATIONS.get(group) ?? "other", isBillable: true, reader: createReader(exchange, context, dialect) };
  }
  if (exchange.method !== "GET" || !TASK.test(exchange.path)) return undefined;
  return { api: "dashscope.tasks", operation: "fetch", isBillable: false, reader: createReader(exchange, context, dialect) };
}

function createReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): Reader {
  const request = createRequestReader(REQUEST_PATHS);
  return createBodyReader(new DashScopeProtocol(exchange, context, dialect, request), request);
}

const REQUEST_PATHS: readonly JsonPath[] = [["model"]];

const JSON_PATHS: readonly JsonPath[] = [
  ["request_id"],
  ["code"],
  ["usage"],
  ["output", "task_id"],
  ["output", "finish_reason"],
  ["output", "choices", "*", "finish_reason"],
  ["output", "text"],
  ["output", "choices", "*", "message", "content"],
  ["output", "choices", "*", "message", "reasoning_content"],
];

const COUNTS = ["input_tokens", "output_tokens", "total_tokens", "image_count", "characters"] as const;

class DashScopeProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly request: RequestReader;

  private requestId: string | null = null;
  private taskId: string | null = null;
  private usage: JsonObject | undefined;
  private hasBegun = false;
  private isFinished = false;
  private hasError = false;
  /** Text of a whole answer: events repeat what came before, and report it. */
  private readonly text = createRunningEstimate();

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, request: RequestReader) {
    this.exchange = exchange;
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    switch (path.at(-1)) {
      case "request_id":
        this.requestId = textOf(value) ?? this.requestId;
        return;
      case "code":
        this.hasError ||= textOf(value) !== undefined;
        return;
      case "usage":
        return this.merge(asObject(value));
      case "task_id":
        this.taskId = textOf(value) ?? this.taskId;
        return;
      case "finish_reason":
        // An answer that goes on has the text "null".
        this.isFinished ||= (textOf(value) ?? "null") !== "null";
        return;
      default:
        return this.output(value);
    }
  }

  event({ event, data }: SseEvent): void {
    if (event === "error") this.hasError = true;
    const value = parseObject(data);
    if (value === undefined) return;
    this.text.reset();
    visitPaths(value, JSON_PATHS, (path, found) => this.jsonValue(path, found));
    this.hasError ||= asObject(value["error"]) !== undefined;
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const streamed = body.framing === "sse";
    const isReported = hasCount(this.usage, COUNTS);
    const facts = { requestModel: request.model, responseId: this.requestId, streamed };
    if (this.hasError && !isReported && !this.hasBegun) return [freeReading(streamed ? "error_in_stream" : "error_body", facts)];
    const waiting = this.taskReason(isReported);
    if (waiting !== undefined) return [freeReading(waiting, facts)];
    const mapped = isReported && this.usage !== undefined ? mapDashScopeUsage(this.usage, this.dialect, request.model) : undefined;
    const isWhole = this.isWhole(body);
    return [
      measuredReading({
        request,
        responseModel: null,
        responseId: this.requestId,
        serviceTier: null,
        streamed,
        isWhole,
        reported: mapped?.usage,
        estimates: this.context.isEstimateAllowed
          ? { input: () => this.request.inputTokens(), output: () => (isReported ? 0 : outputTokens(this.text, body.oversizeBytes)) }
          : undefined,
        priceHints: { ...this.dialect.exchangeHints?.(this.exchange, body.response), ...(this.usage === undefined ? {} : this.dialect.usageHints?.(this.usage)) },
        anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole)],
      }),
    ];
  }

  /** A task is counted once, by the GET that first shows its usage; undefined: this answer is counted. */
  private taskReason(isReported: boolean): string | undefined {
    const { taskId } = this;
    if (this.exchange.method === "GET") {
      return isReported && taskId !== null && this.context.jobs.finish(taskId) ? undefined : "response_fetched";
    }
    if (taskId === null || isReported) return undefined;
    this.context.jobs.start(taskId);
    return "response_pending";
  }

  private merge(usage: JsonObject | undefined): void {
    if (usage !== undefined) this.usage = mergeSnapshot(this.usage, usage);
  }

  private output(value: unknown): void {
    if (value === "" || value === null) return;
    this.hasBegun = true;
    if (typeof value === "string") this.text.add(value);
    else this.text.addChars(jsonLength(value));
  }

  private isWhole(body: BodyEnd): boolean {
    if (this.hasError || body.transport === "undecodable") return false;
    return body.framing === "json" ? body.isDocumentWhole : this.isFinished;
  }

  private endAnomalies(isWhole: boolean): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }
}

/**
 * Modalities stand beside the totals or in details, cached tokens in details of another name. Services without output
 * (embeddings, ranking) report a total alone, which is their input. Pictures and read-out characters are pieces.
 */
function mapDashScopeUsage(raw: JsonObject, dialect: OpenAiDialect, model: string | null): MappedUsage {
  const input = asObject(raw["input_tokens_details"]) ?? {};
  const prompt = asObject(raw["prompt_tokens_details"]) ?? {};
  const total = raw["output_tokens"] === undefined ? raw["total_tokens"] : undefined;
  const { anomalies, usage } = mapChatUsage(
    {
      ...raw,
      input_tokens: firstCount(raw["input_tokens"], total),
      prompt_tokens_details: {
        ...input,
        ...prompt,
        image_tokens: firstCount(input["image_tokens"], prompt["image_tokens"], raw["image_tokens"]),
        audio_tokens: firstCount(input["audio_tokens"], prompt["audio_tokens"], raw["audio_tokens"]),
        video_tokens: firstCount(input["video_tokens"], prompt["video_tokens"], raw["video_tokens"]),
      },
    },
    chatTraits(dialect, model),
  );
  const pieces: ModelUsage = {};
  put(pieces, "images_out", countOf(raw["image_count"]));
  put(pieces, "characters_in", countOf(raw["characters"]));
  return { anomalies, usage: { ...usage, ...pieces } };
}
