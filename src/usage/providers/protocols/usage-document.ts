/**
 * Reads answers that are one JSON document with a `usage` object and nothing else to meter: OpenAI embeddings
 * (reference/model-usage.md section 5.6.1; the usage stands at the end of a body of any size), and Perplexity's
 * async chat, whose answer carries the finished response inside (section 5.14).
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { asObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { chatTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapChatUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { createRequestReader, OPENAI_REQUEST_PATHS } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

/** The reader of one POST for embeddings. There is no output: without a report the input alone is estimated. */
export function createEmbeddingsReader(context: ReaderContext, dialect: OpenAiDialect): Reader {
  const request = createRequestReader(OPENAI_REQUEST_PATHS);
  return createBodyReader(new EmbeddingsProtocol(context, dialect, request), request);
}

/** The reader of a POST that starts an async chat, or of a GET that polls for it: counted where it first shows usage. */
export function createAsyncChatReader(context: ReaderContext, dialect: OpenAiDialect, role: "generate" | "fetch"): Reader {
  const request = createRequestReader(ASYNC_REQUEST_PATHS);
  return createBodyReader(new AsyncChatProtocol(context, dialect, role, request), request);
}

/** `id`, `model`, `usage` and `error` of a document, as far as they were seen. */
class DocumentFacts {
  id: string | null = null;
  model: string | null = null;
  serviceTier: string | null = null;
  hasError = false;
  private merged: JsonObject | undefined;

  /** `name` is the member's own name, without the path to it. */
  value(name: string | undefined, value: unknown): void {
    const usage = asObject(value);
    if (name === "id") this.id = textOf(value) ?? this.id;
    else if (name === "model") this.model = textOf(value) ?? this.model;
    else if (name === "service_tier") this.serviceTier = textOf(value) ?? this.serviceTier;
    else if (name === "error") this.hasError ||= value !== null;
    else if (name === "usage" && usage !== undefined) this.merged = mergeSnapshot(this.merged, usage);
  }

  get usage(): JsonObject | undefined {
    return hasCount(this.merged, OPENAI_COUNTS) ? this.merged : undefined;
  }
}

const EMBEDDINGS_PATHS: readonly JsonPath[] = [["id"], ["model"], ["usage"], ["error"]];

class EmbeddingsProtocol implements ModelProtocol {
  readonly jsonPaths = EMBEDDINGS_PATHS;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly request: RequestReader;
  private readonly facts = new DocumentFacts();

  constructor(context: ReaderContext, dialect: OpenAiDialect, request: RequestReader) {
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    this.facts.value(path[0], value);
  }

  event(): void {
    // Embeddings are never streamed.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const { facts } = this;
    const request = this.request.facts();
    if (facts.hasError && facts.usage === undefined) return [freeReading("error_body", { requestModel: request.model })];
    const mapped = facts.usage === undefined ? undefined : mapChatUsage(facts.usage, chatTraits(this.dialect, facts.model));
    return [
      measuredReading({
        request,
        responseModel: facts.model,
        responseId: facts.id,
        serviceTier: null,
        streamed: false,
        isWhole: body.isDocumentWhole && body.transport !== "undecodable",
        reported: mapped?.usage ?? this.estimatedInput(),
        isEstimated: mapped === undefined,
        estimates: undefined,
        statedCost: facts.usage === undefined ? undefined : this.dialect.statedCost?.(facts.usage),
        ...(mapped === undefined ? {} : { anomalies: mapped.anomalies }),
      }),
    ];
  }
}

const ASYNC_REQUEST_PATHS: readonly JsonPath[] = [["request", "model"]];

const ASYNC_PATHS: readonly JsonPath[] = [
  ["id"],
  ["model"],
  ["error"],
  ["response", "id"],
  ["response", "model"],
  ["response", "usage"],
];
