/**
 * Reads one exchange of OpenAI Responses over HTTP, whole or streamed: the POST that generates, and the GET or cancel
 * that shows a response made elsewhere or earlier (reference/model-usage.md section 5.3). Which POST made a response
 * that finishes in another exchange is kept by the context's jobs, so that it is counted once.
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ExchangeInfo, FreeReading, ModelReading, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, stringMember } from "./delta-text.ts";
import { asObject, parseObject } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapResponsesUsage } from "./openai-usage.ts";
import { freeReading, measuredReading, outputTokens, sizesOf } from "./reading.ts";
import type { Findings } from "./reading.ts";
import { createRequestReader, OPENAI_REQUEST_PATHS } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { RESPONSE_PATHS, ResponseFacts } from "./responses-facts.ts";
import { copilotCost } from "./stated-cost.ts";

/** `generate`: the exchange makes a response. `fetch`: it shows one, which another exchange may have made. */
export type ResponsesRole = "generate" | "fetch";

/** The reader of one exchange with a Responses endpoint. */
export function createOpenAiResponsesReader(
  exchange: ExchangeInfo,
  context: ReaderContext,
  dialect: OpenAiDialect,
  role: ResponsesRole,
): Reader {
  const request = createRequestReader(OPENAI_REQUEST_PATHS);
  return createBodyReader(new ResponsesProtocol(exchange, context, dialect, role, request), request);
}

const TEXT_PATHS: readonly JsonPath[] = [
  ["output", "*", "content", "*", "text"],
  ["output", "*", "content", "*", "refusal"],
  ["output", "*", "summary", "*", "text"],
  ["output", "*", "arguments"],
  ["output", "*", "input"],
];

const JSON_PATHS: readonly JsonPath[] = [...RESPONSE_PATHS, ["copilot_usage"], ...TEXT_PATHS];

const TERMINAL_EVENTS = new Set(["response.completed", "response.incomplete", "response.failed", "response.cancelled"]);
const EARLY_EVENTS = new Set(["response.created", "response.queued", "response.in_progress"]);

const DELTA_MEMBERS = ['delta":'] as const;

class ResponsesProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly role: ResponsesRole;
  private readonly request: RequestReader;

  private readonly facts = new ResponseFacts();
  private copilotUsage: JsonObject | undefined;
  private isTerminal = false;
  /** Output items or text were seen. */
  private hasBegun = false;
  /** An error outside of a response. */
  private hasErrorEvent = false;
  private readonly text = createRunningEstimate();

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, role: ResponsesRole, request: RequestReader) {
    this.exchange = exchange;
    this.context = context;
    this.dialect = dialect;
    this.role = role;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (path[0] === "copilot_usage") this.copilotUsage = asObject(value);
    else if (RESPONSE_PATHS.includes(path)) this.facts.value(path, value);
    else if (typeof value === "string") this.text.add(value);
  }

  event({ event, data }: SseEvent): void {
    if (this.isTerminal || data === "[DONE]") return;
    const type = event !== undefined && event !== "message" ? event : (stringMember(data, 'type":') ?? "");
    if (type.endsWith(".delta")) return this.delta(type, data);
    if (EARLY_EVENTS.has(type)) return this.early(data);
    if (TERMINAL_EVENTS.has(type)) return this.terminal(data);
    if (type === "error" || type === "") this.errorEvent(data);
    else if (type.startsWith("response.")) this.hasBegun = true;
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const isWhole = body.transport !== "undecodable" && (body.framing === "sse" ? this.isTerminal : body.isDocumentWhole);
    return this.role === "fetch" ? this.concludeFetch(body, isWhole) : this.concludeGenerate(body, isWhole);
  }

  private delta(type: string, data: string): void {
    this.hasBegun = true;
    // Audio and images come as base64, which says nothing of tokens.
    if (!type.includes("audio") || type.includes("transcript")) addDeltaText(this.text, data, DELTA_MEMBERS);
  }

  /** These repeat the request's tools and instructions: one is enough. */
  private early(data: string): void {
    if (this.facts.id !== null) return;
    const response = asObject(parseObject(data)?.["response"]);
    if (response !== undefined) this.facts.document(response);
  }

  private terminal(data: string): void {
    const event = parseObject(data);
    const response = asObject(event?.["response"]);
    // Cut inside the event: its usage is not known.
    if (event === undefined || response === undefined) return;
    this.isTerminal = true;
    this.copilotUsage = asObject(event["copilot_usage"]) ?? asObject(response["copilot_usage"]);
    this.facts.document(response);
  }

  private errorEvent(data: string): void {
    const event = parseObject(data);
    if (event === undefined) return;
    this.hasErrorEvent ||= event["type"] === "error" || asObject(event["error"]) !== undefined;
  }

  /** Section 5.3.4: a fetch counts only when it is the first to show the end of a response that a POST here began. */
  private concludeFetch(body: BodyEnd, isWhole: boolean): readonly Reading[] {
    const { id, usage, isOver } = this.facts;
    const isOurs = id !== null && usage !== undefined && isOver && this.context.jobs.finish(id);
    return isOurs ? this.measured(body, isWhole) : [this.free("response_fetched", body)];
  }

  private concludeGenerate(body: BodyEnd, isWhole: boolean): readonly Reading[] {
    const { id, usage, isOver, status } = this.facts;
    const isBackground = this.facts.isBackground || this.request.facts().isBackground;
    const isPending = body.framing === "sse" ? !this.isTerminal && isBackground : !isOver || (isBackground && status === null && !isWhole);
    if (isPending && id !== null) {
      this.context.jobs.start(id);
      return [this.free("response_pending", body)];
    }
    if (isBackground && id !== null) this.context.jobs.finish(id);
    if (usage === undefined && this.isFreeError(body)) return [this.free(body.framing === "sse" ? "error_in_stream" : "error_body", body)];
    return this.measured(body, isWhole);
  }

  /** An error that is no response, before anything was produced. */
  private isFreeError(body: BodyEnd): boolean {
    if (body.framing === "sse") return this.hasErrorEvent && !this.isTerminal && !this.hasBegun;
    return this.facts.hasError && this.facts.status === null;
  }

  private measured(body: BodyEnd, isWhole: boolean): readonly Reading[] {
    const { facts } = this;
    const { usage } = facts;
    const mapped = usage === undefined ? undefined : mapResponsesUsage(usage, responsesTraits(this.dialect));
    const isFailed = facts.status === "failed" || facts.status === "cancelled";
    const isBrokenOff = usage === undefined && isFailed && this.hasBegun;
    const requestFacts = this.request.facts();
    const reading = measuredReading({
      request: requestFacts,
      responseModel: facts.model,
      responseId: facts.id,
      serviceTier: facts.serviceTier,
      streamed: body.framing === "sse",
      isWhole: isWhole && !isBrokenOff,
      reported: mapped === undefined ? undefined : { ...mapped.usage, ...facts.units() },
      estimates: this.estimates(usage !== undefined || (isFailed && !this.hasBegun), body.oversizeBytes),
      sizes: sizesOf(this.request, this.text, body.oversizeBytes),
      statedCost: usage === undefined ? undefined : (this.dialect.statedCost?.(usage) ?? copilotCost(this.copilotUsage)),
      priceHints: this.priceHints(body.response),
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole, isFailed)],
    });
    return [reading, ...this.subReadings(reading, requestFacts.imageModel)];
  }

  /** A report is final here; a failure without output and without a report cost nothing that we know (section 5.3.2). */
  private estimates(isKnown: boolean, oversizeBytes: number | undefined): Findings["estimates"] {
    if (isKnown || !this.context.isEstimateAllowed) return undefined;
    return { input: () => this.request.inputTokens(), output: () => outputTokens(this.text, oversizeBytes) };
  }

  private priceHints(response: ResponseHead | undefined): Readonly<Record<string, string>> {
    const { usage } = this.facts;
    return {
      ...this.dialect.exchangeHints?.(this.exchange, response),
      ...(usage === undefined ? {} : this.dialect.usageHints?.(usage)),
    };
  }

  private endAnomalies(isWhole: boolean, isFailed: boolean): readonly string[] {
    if (this.hasErrorEvent || isFailed) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }

  /** Usage that the response reports for other models: events of their own. */
  private subReadings(own: ModelReading, requestImageModel: string | null): readonly ModelReading[] {
    const { statedCost: _cost, anomalies: _anomalies, basis: _basis, ...shared } = own;
    return this.facts.subUsages(requestImageModel).map(({ model, usage }) => ({
      ...shared,
      source: "provider",
      usage,
      requestModel: null,
      responseModel: model,
      ...(model === null ? { anomalies: ["model_missing"] } : {}),
    }));
  }

  private free(reason: string, body: BodyEnd): FreeReading {
    return freeReading(reason, {
      requestModel: this.request.facts().model,
      responseModel: this.facts.model,
      responseId: this.facts.id,
      streamed: body.framing === "sse",
    });
  }
}
