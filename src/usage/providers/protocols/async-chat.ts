/**
 * Reads Perplexity's async chat (reference/model-usage.md section 5.14): a POST answers with a job, and each GET of it
 * shows the same finished response again. Counted once, where its usage is first seen, for jobs that a POST here began.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { ExchangeInfo, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { asObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { chatTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapChatUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { ASYNC_CHAT_REQUEST_PATHS, createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of a POST that begins an async chat (any method but GET) or of a GET that polls for it. */
export function createAsyncChatReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect): Reader {
  const request = createRequestReader(ASYNC_CHAT_REQUEST_PATHS);
  return createBodyReader(new AsyncChatProtocol(exchange, context, dialect, request), request);
}

const JSON_PATHS: readonly JsonPath[] = [["id"], ["model"], ["response", "id"], ["response", "model"], ["response", "usage"]];

class AsyncChatProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly request: RequestReader;
  private jobId: string | null = null;
  private responseId: string | null = null;
  private model: string | null = null;
  private usage: JsonObject | undefined;

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, request: RequestReader) {
    this.exchange = exchange;
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const usage = asObject(value);
    if (path[0] === "id") this.jobId = textOf(value) ?? this.jobId;
    else if (path.at(-1) === "id") this.responseId = textOf(value) ?? this.responseId;
    else if (path.at(-1) === "model") this.model = textOf(value) ?? this.model;
    else if (hasCount(usage, OPENAI_COUNTS)) this.usage = usage;
  }

  event(): void {
    // The job is one JSON document: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const { jobId, usage, model, responseId } = this;
    const request = this.request.facts();
    const isFetch = this.exchange.method === "GET";
    const free = { requestModel: request.model, responseModel: model, responseId: responseId ?? jobId, streamed: false };
    if (usage === undefined && !isFetch && jobId !== null) this.context.jobs.start(jobId);
    if (usage === undefined) return [freeReading(isFetch ? "response_fetched" : "response_pending", free)];
    if (isFetch && (jobId === null || !this.context.jobs.finish(jobId))) return [freeReading("response_fetched", free)];
    const mapped = mapChatUsage(usage, chatTraits(this.dialect, model));
    return [
      measuredReading({
        request,
        responseModel: model,
        responseId: responseId ?? jobId,
        serviceTier: null,
        streamed: false,
        isWhole: body.isDocumentWhole && body.transport !== "undecodable",
        reported: mapped.usage,
        estimates: undefined,
        statedCost: this.dialect.statedCost?.(usage),
        anomalies: mapped.anomalies,
      }),
    ];
  }
}
