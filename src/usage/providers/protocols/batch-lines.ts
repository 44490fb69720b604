/**
 * Reads the file of a batch's answers, one JSON document to a line, from any provider that has such (reference/
 * model-usage.md section 6.1 nos. 10 and 11). Lines are scanned as they pass: a file may have gigabytes. The answers are
 * counted once, at the first whole download, whoever began the batch: no other exchange shows what it used.
 */

import type { ModelCategory, ModelUsage } from "../../categories.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath, JsonScan } from "../../extract/json-scan.ts";
import type { ModelReading, ReadEnd, Reader, ReaderContext, Reading } from "../../handler.ts";
import type { ResponseHead } from "../../../flow/flow.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";

/** What one answer of a batch used. */
export interface BatchAnswer {
  readonly model: string | null;
  readonly responseId: string | null;
  readonly serviceTier: string | null;
  readonly usage: ModelUsage;
  readonly anomalies: readonly string[];
}

export interface BatchFormat {
  /** Members of a line. A constant array. */
  readonly paths: readonly JsonPath[];
  /** The answers that a line's values tell, by their path joined with dots: of several models, or none. */
  answers(values: ReadonlyMap<string, unknown>): readonly BatchAnswer[];
}

/** The reader of a download. `jobId` names what is downloaded. */
export function createBatchLinesReader(context: ReaderContext, jobId: string, format: BatchFormat): Reader {
  return new BatchLinesReader(context, jobId, format);
}

/** Answers with an event of their own. What comes after them is summed up by model: a file may have 100,000. */
const MAX_ROWS = 1000;
const MAX_SUMS = 64;

const NEWLINE = 0x0a;

/** A class for its identity: fed piece by piece, then asked once. */
class BatchLinesReader implements Reader {
  readonly #context: ReaderContext;
  readonly #jobId: string;
  readonly #format: BatchFormat;
  readonly #rows: BatchAnswer[] = [];
  readonly #sums = new Map<string, BatchAnswer>();
  #values = new Map<string, unknown>();
  #status = 0;
  #scan: JsonScan | undefined;

  constructor(context: ReaderContext, jobId: string, format: BatchFormat) {
    this.#context = context;
    this.#jobId = jobId;
    this.#format = format;
  }

  response(head: ResponseHead): void {
    this.#status = head.status;
  }

  push(chunk: Uint8Array): void {
    if (this.#status !== 200) return;
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      this.#line().push(chunk.subarray(from, at));
      this.#endLine();
      from = at + 1;
    }
    if (from < chunk.length) this.#line().push(chunk.subarray(from));
  }

  /** A download that was cut off is made again: the whole one counts. */
  end(end: ReadEnd): readonly Reading[] {
    this.#endLine();
    const isWhole = this.#status === 200 && end.kind === "complete";
    const answers = [...this.#rows, ...this.#sums.values()];
    const isCounted = isWhole && answers.length > 0 && this.#context.jobs.claim(this.#jobId);
    return isCounted ? answers.map(readingOf) : [freeReading("file_downloaded", {})];
  }

  #line(): JsonScan {
    this.#scan ??= createJsonScan({ paths: this.#format.paths, onValue: (path, value) => void this.#values.set(path.join("."), value) });
    return this.#scan;
  }

  #endLine(): void {
    if (this.#scan === undefined) return;
    this.#scan = undefined;
    const values = this.#values;
    this.#values = new Map();
    for (const answer of this.#format.answers(values)) this.#add(answer);
  }

  #add(answer: BatchAnswer): void {
    if (this.#rows.length < MAX_ROWS) {
      this.#rows.push(answer);
      return;
    }
    const key = this.#sums.size < MAX_SUMS || this.#sums.has(answer.model ?? "") ? (answer.model ?? "") : "";
    const sum = this.#sums.get(key);
    const model = key === "" ? null : answer.model;
    this.#sums.set(key, { ...answer, model, responseId: null, usage: sum === undefined ? answer.usage : sumOf(sum.usage, answer.usage) });
  }
}

const NO_REQUEST = createRequestReader([["model"]]).facts();

function readingOf({ model, responseId, serviceTier, usage, anomalies }: BatchAnswer): ModelReading {
  return measuredReading({
    request: NO_REQUEST,
    responseModel: model,
    responseId,
    serviceTier,
    streamed: false,
    isWhole: true,
    reported: usage,
    estimates: undefined,
    priceHints: { billing_mode: "batch" },
    anomalies,
  });
}

function sumOf(left: ModelUsage, right: ModelUsage): ModelUsage {
  const sum: ModelUsage = { ...left };
  for (const category of Object.keys(right) as ModelCategory[]) sum[category] = (left[category] ?? 0) + (right[category] ?? 0);
  return sum;
}
