/**
 * Reads batches of the Gemini API (reference/model-usage.md sections 5.9.4 and 6.1 nos. 10 and 11): the POST names a
 * batch, each GET of it shows its state, and in the end its answers, or the file that they are in, one to a line. The
 * answers of a batch are counted once, where they are first seen, whoever began it. Wire form from the types of
 * @google/genai 3.1.0 (BatchJobDestination); the file's lines are `{"key","response"}`.
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath, JsonScan } from "../../extract/json-scan.ts";
import type { ModelReading, ReadEnd, Reader, ReaderContext, Reading } from "../../handler.ts";
import type { ModelCategory, ModelUsage } from "../../categories.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { bareModel, createGeminiRequest } from "./gemini-request.ts";
import { GEMINI_COUNTS, mapGeminiUsage } from "./gemini-usage.ts";
import type { MappedGeminiUsage } from "./gemini-usage.ts";
import { asObject, textOf } from "./json-values.ts";
import { freeReading, measuredReading } from "./reading.ts";
import type { RequestFacts } from "./request-facts.ts";
import { hasCount } from "./snapshot.ts";

/** The reader of a POST that begins a batch (`start`) or of a GET of one (`fetch`). */
export function createGeminiBatchReader(context: ReaderContext, model: string | null, role: "start" | "fetch"): Reader {
  const request = createGeminiRequest({ model });
  return createBodyReader(new BatchProtocol(context, request.facts(), role), request);
}

/** The reader of a download of a file, which may be a batch's answers. `file`: "files/id". */
export function createGeminiBatchFileReader(context: ReaderContext, file: string): Reader {
  return new BatchFileReader(context, file);
}

/** Answers with a row of their own. What comes after them is summed up in one: a file may have millions. */
const MAX_ROWS = 1000;

/** The answers of one batch. */
class BatchRows {
  /** A batch has one: the last answer that names it tells. */
  model: string | null = null;
  private readonly rows: MappedGeminiUsage[] = [];
  private rest: ModelUsage | undefined;

  /** One answer's `usageMetadata`. */
  add(value: unknown): void {
    const usage = asObject(value);
    if (usage === undefined || !hasCount(usage, GEMINI_COUNTS)) return;
    const mapped = mapGeminiUsage(usage);
    if (this.rows.length < MAX_ROWS) this.rows.push(mapped);
    else this.rest = sumOf(this.rest ?? {}, mapped.usage);
  }

  readings(request: RequestFacts, responseId: string | null): readonly ModelReading[] {
    const rest = this.rest === undefined ? [] : [{ usage: this.rest, anomalies: [] }];
    return [...this.rows, ...rest].map(({ usage, anomalies }) =>
      measuredReading({
        request,
        responseModel: this.model,
        responseId,
        serviceTier: null,
        streamed: false,
        isWhole: true,
        reported: usage,
        estimates: undefined,
        priceHints: { billing_mode: "batch" },
        anomalies,
      }),
    );
  }
}

const ANSWER_USAGE = ["inlinedResponses", "inlinedResponses", "*", "response", "usageMetadata"] as const;
const ANSWER_MODEL = ["inlinedResponses", "inlinedResponses", "*", "response", "modelVersion"] as const;

/** An operation shows its result twice: in `metadata.output`, which the SDK reads, and in `response`. */
const JSON_PATHS: readonly JsonPath[] = [
  ["name"],
  ["done"],
  ["metadata", "model"],
  ["metadata", "output", "responsesFile"],
  ["metadata", "output", ...ANSWER_USAGE],
  ["metadata", "output", ...ANSWER_MODEL],
  ["response", "responsesFile"],
  ["response", ...ANSWER_USAGE],
  ["response", ...ANSWER_MODEL],
];

class BatchProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly request: RequestFacts;
  private readonly role: "start" | "fetch";
  private name: string | null = null;
  private model: string | null = null;
  private file: string | null = null;
  private isDone = false;
  private readonly inMetadata = new BatchRows();
  private readonly inResponse = new BatchRows();

  constructor(context: ReaderContext, request: RequestFacts, role: "start" | "fetch") {
    this.context = context;
    this.request = request;
    this.role = role;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const rows = path[0] === "metadata" ? this.inMetadata : this.inResponse;
    switch (path.at(-1)) {
      case "name":
        this.name = textOf(value) ?? this.name;
        return;
      case "done":
        this.isDone ||= value === true;
        return;
      case "model":
        this.model = bareModel(value) ?? this.model;
        return;
      case "responsesFile":
        this.file = textOf(value) ?? this.file;
        return;
      case "modelVersion":
        rows.model = bareModel(value) ?? rows.model;
        return;
      default:
        rows.add(value);
    }
  }

  event(): void {
    // An operation is one JSON document: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const { name, context } = this;
    const isWhole = body.isDocumentWhole && body.transport !== "undecodable";
    const request = { ...this.request, model: this.request.model ?? this.model };
    const free = { requestModel: request.model, responseId: name, streamed: false };
    if (this.role === "start") return [freeReading("response_pending", free)];
    if (name === null || !this.isDone || !isWhole) return [freeReading("response_fetched", free)];
    const inResponse = this.inResponse.readings(request, name);
    const readings = inResponse.length > 0 ? inResponse : this.inMetadata.readings(request, name);
    if (readings.length === 0) return [freeReading(this.file === null ? "operation_failed" : "response_pending", free)];
    return context.jobs.claim(name) ? readings : [freeReading("response_fetched", free)];
  }
}

const LINE_PATHS: readonly JsonPath[] = [
  ["response", "modelVersion"],
  ["response", "usageMetadata"],
];

const NEWLINE = 0x0a;

/** A class for its identity: fed piece by piece, then asked once. Each line is a document of its own. */
class BatchFileReader implements Reader {
  private readonly context: ReaderContext;
  private readonly file: string;
  private readonly rows = new BatchRows();
  private status = 0;
  private scan: JsonScan | undefined;

  constructor(context: ReaderContext, file: string) {
    this.context = context;
    this.file = file;
  }

  response(head: ResponseHead): void {
    this.status = head.status;
  }

  push(chunk: Uint8Array): void {
    if (this.status !== 200) return;
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      this.line().push(chunk.subarray(from, at));
      this.scan = undefined;
      from = at + 1;
    }
    this.line().push(chunk.subarray(from));
  }

  /** A download that was cut off is made again: the whole one counts. */
  end(end: ReadEnd): readonly Reading[] {
    const readings = this.rows.readings(NO_REQUEST, this.file);
    const isCounted = this.status === 200 && end.kind === "complete" && readings.length > 0 && this.context.jobs.claim(this.file);
    return isCounted ? readings : [freeReading("file_downloaded", {})];
  }

  private line(): JsonScan {
    this.scan ??= createJsonScan({
      paths: LINE_PATHS,
      onValue: (path, value) => {
        if (path.at(-1) === "usageMetadata") this.rows.add(value);
        else this.rows.model = bareModel(value) ?? this.rows.model;
      },
    });
    return this.scan;
  }
}

const NO_REQUEST = createGeminiRequest({ model: null }).facts();

function sumOf(left: ModelUsage, right: ModelUsage): ModelUsage {
  const sum: ModelUsage = { ...left };
  for (const category of Object.keys(right) as ModelCategory[]) sum[category] = (left[category] ?? 0) + (right[category] ?? 0);
  return sum;
}
