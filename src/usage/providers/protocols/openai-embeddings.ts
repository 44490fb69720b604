/**
 * Reads one answer of OpenAI embeddings (reference/model-usage.md section 5.6.1): one JSON document whose usage stands
 * at the end of a body of any size.
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
import { hasCount } from "./snapshot.ts";

/** The reader of one POST for embeddings. There is no output: without a report the input alone is estimated. */
export function createEmbeddingsReader(context: ReaderContext, dialect: OpenAiDialect): Reader {
  const request = createRequestReader(OPENAI_REQUEST_PATHS);
  return createBodyReader(new EmbeddingsProtocol(context, dialect, request), request);
}

const JSON_PATHS: readonly JsonPath[] = [["id"], ["model"], ["usage"], ["error"]];

class EmbeddingsProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly request: RequestReader;
  private id: string | null = null;
  private model: string | null = null;
  private usage: JsonObject | undefined;
  private hasError = false;

  constructor(context: ReaderContext, dialect: OpenAiDialect, request: RequestReader) {
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const usage = asObject(value);
    if (path[0] === "id") this.id = textOf(value) ?? this.id;
    else if (path[0] === "model") this.model = textOf(value) ?? this.model;
    else if (path[0] === "error") this.hasError ||= value !== null;
    else if (hasCount(usage, OPENAI_COUNTS)) this.usage = usage;
  }

  event(): void {
    // Embeddings are not streamed: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const { usage } = this;
    const request = this.request.facts();
    if (this.hasError && usage === undefined) return [freeReading("error_body", { requestModel: request.model })];
    const mapped = usage === undefined ? undefined : mapChatUsage(usage, chatTraits(this.dialect, this.model ?? request.model));
    const isWhole = body.isDocumentWhole && body.transport !== "undecodable";
    const reading = measuredReading({
      request,
      responseModel: this.model,
      responseId: this.id,
      serviceTier: null,
      streamed: false,
      isWhole,
      reported: mapped?.usage,
      estimates: this.context.isEstimateAllowed ? { input: () => this.request.inputTokens(), output: () => 0 } : undefined,
      sizes: { input: () => this.request.inputTokens(), text: undefined },
      statedCost: usage === undefined ? undefined : this.dialect.statedCost?.(usage),
      anomalies: [...(mapped?.anomalies ?? []), ...(isWhole ? [] : ["stream_truncated"])],
    });
    return [reading];
  }
}
