/**
 * Reads OpenAI's batches (reference/model-usage.md section 5.6.7): the POST that begins one, the GETs that show its
 * state, and in the end its file of answers, which have the model and the usage of each. The sum on the batch object
 * repeats them and is not read.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBatchLinesReader } from "./batch-lines.ts";
import type { BatchAnswer, BatchFormat } from "./batch-lines.ts";
import { createBodyReader } from "./body-reader.ts";
import type { ModelProtocol } from "./body-reader.ts";
import { asObject, textOf } from "./json-values.ts";
import { chatTraits, responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapChatUsage, mapResponsesUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import { freeReading } from "./reading.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of a POST that begins a batch (`start`), or of an exchange that shows one (`fetch`). */
export function createOpenAiBatchReader(role: "start" | "fetch"): Reader {
  return createBodyReader(new BatchProtocol(role), undefined);
}

/** The reader of a file's content, which may be a batch's answers. */
export function createOpenAiBatchFileReader(context: ReaderContext, fileId: string, dialect: OpenAiDialect): Reader {
  return createBatchLinesReader(context, fileId, formatOf(dialect));
}

const JSON_PATHS: readonly JsonPath[] = [["id"]];

class BatchProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly role: "start" | "fetch";
  private id: string | null = null;

  constructor(role: "start" | "fetch") {
    this.role = role;
  }

  jsonValue(_path: JsonPath, value: unknown): void {
    this.id = textOf(value) ?? this.id;
  }

  event(): void {
    // A batch is one JSON document: there is nothing to read in an event.
  }

  conclude(): readonly Reading[] {
    return [freeReading(this.role === "start" ? "response_pending" : "response_fetched", { responseId: this.id, streamed: false })];
  }
}

const LINE_PATHS: readonly JsonPath[] = [
  ["id"],
  ["response", "body", "id"],
  ["response", "body", "model"],
  ["response", "body", "service_tier"],
  ["response", "body", "usage"],
];

function formatOf(dialect: OpenAiDialect): BatchFormat {
  return {
    paths: LINE_PATHS,
    answers(values): readonly BatchAnswer[] {
      const usage = asObject(values.get("response.body.usage"));
      if (usage === undefined || !hasCount(usage, OPENAI_COUNTS)) return [];
      const model = textOf(values.get("response.body.model")) ?? null;
      // Chat, completions and embeddings count a prompt; responses count an input.
      const isResponse = usage["prompt_tokens"] === undefined;
      const mapped = isResponse ? mapResponsesUsage(usage, responsesTraits(dialect)) : mapChatUsage(usage, chatTraits(dialect, model));
      const responseId = textOf(values.get("response.body.id")) ?? textOf(values.get("id")) ?? null;
      return [{ ...mapped, model, responseId, serviceTier: textOf(values.get("response.body.service_tier")) ?? null }];
    },
  };
}
