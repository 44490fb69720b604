/**
 * Reads Anthropic's message batches (reference/model-usage.md section 5.1.7): the POST that begins one, and the download
 * of its results, one to a line in any order. Errors, cancelled and expired requests have no usage.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { Reader, ReaderContext, Reading } from "../../handler.ts";
import { ANTHROPIC_COUNTS, mapAnthropicUsage } from "./anthropic-usage.ts";
import { createBatchLinesReader } from "./batch-lines.ts";
import type { BatchAnswer, BatchFormat } from "./batch-lines.ts";
import { createBodyReader } from "./body-reader.ts";
import type { ModelProtocol } from "./body-reader.ts";
import { asObject, textOf } from "./json-values.ts";
import { freeReading } from "./reading.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of the POST that begins a batch. */
export function createAnthropicBatchReader(): Reader {
  return createBodyReader(new BatchProtocol(), undefined);
}

/** The reader of a download of a batch's results. */
export function createAnthropicBatchResultsReader(context: ReaderContext, batchId: string): Reader {
  return createBatchLinesReader(context, batchId, RESULTS);
}

const JSON_PATHS: readonly JsonPath[] = [["id"]];

class BatchProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private id: string | null = null;

  jsonValue(_path: JsonPath, value: unknown): void {
    this.id = textOf(value) ?? this.id;
  }

  event(): void {
    // A batch is one JSON document: there is nothing to read in an event.
  }

  conclude(): readonly Reading[] {
    return [freeReading("response_pending", { responseId: this.id, streamed: false })];
  }
}

const RESULTS: BatchFormat = {
  paths: [
    ["result", "message", "id"],
    ["result", "message", "model"],
    ["result", "message", "usage"],
  ],
  answers(values): readonly BatchAnswer[] {
    const raw = asObject(values.get("result.message.usage"));
    if (raw === undefined || !hasCount(raw, ANTHROPIC_COUNTS)) return [];
    const { usage, advisors, anomalies } = mapAnthropicUsage(raw, false);
    const common = { responseId: textOf(values.get("result.message.id")) ?? null, serviceTier: textOf(raw["service_tier"]) ?? null };
    return [
      { ...common, model: textOf(values.get("result.message.model")) ?? null, usage, anomalies },
      ...advisors.map((advisor) => ({ ...common, ...advisor, anomalies: [] })),
    ];
  },
};
