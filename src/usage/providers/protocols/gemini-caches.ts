/**
 * Reads the answer to the creation of an explicit cache: its content is billed as input once (reference/model-usage.md
 * section 5.9.4, there marked as unverified). What it costs to keep is billed by the hour and is in no answer.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { bareModel, createGeminiRequest } from "./gemini-request.ts";
import { countOf, textOf } from "./json-values.ts";
import { freeReading, measuredReading } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";

/** The reader of one POST to `cachedContents`. */
export function createGeminiCacheReader(context: ReaderContext): Reader {
  const request = createGeminiRequest({ model: null });
  return createBodyReader(new CacheProtocol(context, request), request);
}

const JSON_PATHS: readonly JsonPath[] = [["name"], ["model"], ["usageMetadata", "totalTokenCount"], ["error"]];

class CacheProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly request: RequestReader;
  private name: string | null = null;
  private model: string | null = null;
  private tokens: number | undefined;
  private hasError = false;

  constructor(context: ReaderContext, request: RequestReader) {
    this.context = context;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (path[0] === "name") this.name = textOf(value) ?? this.name;
    else if (path[0] === "model") this.model = bareModel(value) ?? this.model;
    else if (path[0] === "error") this.hasError ||= value !== null;
    else this.tokens = countOf(value) ?? this.tokens;
  }

  event(): void {
    // A cache is one JSON document: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    if (this.hasError && this.tokens === undefined) return [freeReading("error_body", { requestModel: request.model })];
    const isWhole = body.isDocumentWhole && body.transport !== "undecodable";
    const reading = measuredReading({
      request,
      responseModel: this.model,
      responseId: this.name,
      serviceTier: null,
      streamed: false,
      isWhole,
      reported: this.tokens === undefined ? undefined : { input_tokens: this.tokens },
      estimates: this.context.isEstimateAllowed ? { input: () => this.request.inputTokens(), output: () => 0 } : undefined,
      anomalies: isWhole ? [] : ["stream_truncated"],
    });
    return [reading];
  }
}
