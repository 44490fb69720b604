/**
 * Reads one answer of embedContent, batchEmbedContents, or predict of a text embedding model (reference/model-usage.md
 * section 5.9.4). Newer answers have `usageMetadata`; Vertex's predict has the tokens of each instance
 * (`predictions[].embeddings.statistics.token_count`, from the code of @google/genai 3.1.0) and characters.
 */

import type { ModelUsage } from "../../categories.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { createGeminiRequest } from "./gemini-request.ts";
import { GEMINI_COUNTS, mapGeminiUsage } from "./gemini-usage.ts";
import type { MappedGeminiUsage } from "./gemini-usage.ts";
import { asObject, countOf, firstCount } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { freeReading, measuredReading } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of one POST for embeddings. There is no output: without a report the input alone is estimated. */
export function createGeminiEmbeddingsReader(context: ReaderContext, model: string | null): Reader {
  const request = createGeminiRequest({ model });
  return createBodyReader(new EmbeddingsProtocol(context, request), request);
}

const JSON_PATHS: readonly JsonPath[] = [
  ["usageMetadata"],
  ["error"],
  ["metadata", "billableCharacterCount"],
  ["embeddings", "*", "statistics"],
  ["predictions", "*", "embeddings", "statistics"],
];

class EmbeddingsProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly request: RequestReader;
  private usage: JsonObject | undefined;
  /** The sum over the instances; undefined: none was reported. */
  private instanceTokens: number | undefined;
  private characters: number | undefined;
  private hasError = false;

  constructor(context: ReaderContext, request: RequestReader) {
    this.context = context;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    switch (path.at(-1)) {
      case "usageMetadata":
        this.usage = asObject(value) ?? this.usage;
        return;
      case "error":
        this.hasError ||= value !== null;
        return;
      case "billableCharacterCount":
        this.characters = countOf(value) ?? this.characters;
        return;
      default: {
        const statistics = asObject(value);
        const tokens = firstCount(statistics?.["token_count"], statistics?.["tokenCount"]);
        if (tokens !== undefined) this.instanceTokens = (this.instanceTokens ?? 0) + tokens;
      }
    }
  }

  event(): void {
    // Embeddings are not streamed: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const mapped = this.report();
    if (this.hasError && mapped === undefined) return [freeReading("error_body", { requestModel: request.model })];
    const isWhole = body.isDocumentWhole && body.transport !== "undecodable";
    const reading = measuredReading({
      request,
      responseModel: null,
      responseId: null,
      serviceTier: null,
      streamed: false,
      isWhole,
      reported: mapped?.usage,
      estimates: this.context.isEstimateAllowed ? { input: () => this.request.inputTokens(), output: () => 0 } : undefined,
      anomalies: [...(mapped?.anomalies ?? []), ...(isWhole ? [] : ["stream_truncated"])],
    });
    return [reading];
  }

  /** Tokens where they are known. Characters are the same input once more: they count where tokens do not. */
  private report(): MappedGeminiUsage | undefined {
    if (this.usage !== undefined && hasCount(this.usage, GEMINI_COUNTS)) return mapGeminiUsage(this.usage);
    const total = countOf(this.usage?.["totalTokenCount"]) ?? this.instanceTokens;
    const usage: ModelUsage = {};
    if (total !== undefined) usage.input_tokens = total;
    else if (this.characters !== undefined) usage.characters_in = this.characters;
    else return undefined;
    return { usage, anomalies: [] };
  }
}
