/**
 * Reads one answer of Ollama's native API: /api/chat and /api/generate, in lines or whole, and /api/embed and
 * /api/embeddings (reference/model-usage.md section 5.16; names of `ollama` 0.6.4). Only the line with `done: true` has
 * counts. There are no ids.
 */

import type { ModelUsage } from "../../categories.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { ReaderContext, Reader, Reading } from "../../handler.ts";
import { asObject, countOf, jsonLength, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { createLineBodyReader } from "./line-body.ts";
import type { LineBodyEnd, LineProtocol } from "./line-body.ts";
import { createOllamaRequestReader } from "./ollama-request.ts";
import { freeReading, measuredReading, outputTokens, put } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

export interface OllamaDialect {
  /** Embeddings have no output, and no marker but the end of the document. */
  readonly kind: "generation" | "embeddings";
  /** Facts that move the price. `isRemote`: a local server says that another one did the work. */
  readonly priceHints: (isRemote: boolean) => Readonly<Record<string, string>>;
}

/** The reader of one POST to a native endpoint. */
export function createOllamaReader(context: ReaderContext, dialect: OllamaDialect): Reader {
  const request = createOllamaRequestReader();
  return createLineBodyReader(new OllamaProtocol(context, dialect, request), request);
}

const COUNTS = ["prompt_eval_count", "prompt_eval_cached_count", "eval_count"] as const;

const JSON_PATHS: readonly JsonPath[] = [
  ["model"],
  ["remote_host"],
  ["error"],
  ["done_reason"],
  ...COUNTS.map((name) => [name]),
  ["total"],
  ["response"],
  ["thinking"],
  ["message", "content"],
  ["message", "thinking"],
  ["message", "tool_calls", "*", "function", "arguments"],
  ["done"],
];

/** Reasons of an answer that only loaded a model into memory, or dropped it (no source was opened; without counts). */
const LOADING = new Set(["load", "unload"]);

class OllamaProtocol implements LineProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly dialect: OllamaDialect;
  private readonly request: RequestReader;

  private model: string | null = null;
  private counts: JsonObject = {};
  private doneReason: string | undefined;
  private isDone = false;
  private isRemote = false;
  private hasError = false;
  /** Something was generated. */
  private hasBegun = false;
  /** Lines told the progress of an image. */
  private isImage = false;
  private readonly text = createRunningEstimate();

  constructor(context: ReaderContext, dialect: OllamaDialect, request: RequestReader) {
    this.context = context;
    this.dialect = dialect;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const [name = ""] = path;
    switch (name) {
      case "model":
        this.model = textOf(value) ?? this.model;
        return;
      case "remote_host":
        this.isRemote ||= textOf(value) !== undefined;
        return;
      case "error":
        this.hasError ||= textOf(value) !== undefined || asObject(value) !== undefined;
        return;
      case "done_reason":
        this.doneReason = textOf(value) ?? this.doneReason;
        return;
      case "done":
        this.isDone ||= value === true;
        return;
      case "total":
        this.isImage ||= (countOf(value) ?? 0) > 0;
        return;
      case "response":
      case "thinking":
      case "message":
        return this.output(value);
      default:
        this.counts = mergeSnapshot(this.counts, { [name]: value });
    }
  }

  event(): void {
    // Nothing native is sent as events.
  }

  conclude(body: LineBodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const streamed = body.framing !== "json" || (body.response === undefined && request.isStream && this.dialect.kind === "generation");
    const reported = this.usage();
    const facts = { requestModel: request.model, responseModel: this.model, streamed };
    if (this.hasError && reported === undefined && !this.hasBegun) return [freeReading(streamed ? "error_in_stream" : "error_body", facts)];
    if (this.isDone && reported === undefined && LOADING.has(this.doneReason ?? "")) return [freeReading("model_loaded", facts)];
    const isWhole = this.isWhole(body);
    const hasOutput = this.dialect.kind === "generation" && reported?.output_tokens === undefined;
    return [
      measuredReading({
        request,
        responseModel: this.model,
        responseId: null,
        serviceTier: null,
        streamed,
        isWhole,
        reported,
        estimates: this.context.isEstimateAllowed
          ? { input: () => this.request.inputTokens(), output: () => (hasOutput ? outputTokens(this.text, body.oversizeBytes) : 0) }
          : undefined,
        priceHints: this.dialect.priceHints(this.isRemote),
        anomalies: this.anomalies(isWhole, reported),
      }),
    ];
  }

  private output(value: unknown): void {
    if (value === "" || value === null) return;
    this.hasBegun = true;
    if (typeof value === "string") this.text.add(value);
    else this.text.addChars(jsonLength(value));
  }

  /**
   * `prompt_eval_count` includes what was read from the cache (ollama/ollama#16428). Servers before
   * ollama/ollama#5371 leave it out when the prompt was cached: the input is then not reported.
   */
  private usage(): ModelUsage | undefined {
    const { counts } = this;
    const isImage = this.isImage && this.isDone;
    if (!hasCount(counts, COUNTS)) return isImage ? { images_out: 1 } : undefined;
    const prompt = countOf(counts["prompt_eval_count"]);
    const cached = countOf(counts["prompt_eval_cached_count"]);
    const usage: ModelUsage = {};
    put(usage, "input_tokens", prompt === undefined ? undefined : Math.max(0, prompt - (cached ?? 0)));
    put(usage, "cache_read_tokens", cached);
    put(usage, "output_tokens", countOf(counts["eval_count"]));
    put(usage, "images_out", isImage ? 1 : undefined);
    return usage;
  }

  private isWhole(body: LineBodyEnd): boolean {
    if (this.hasError || body.transport === "undecodable") return false;
    return body.framing === "json" ? body.isDocumentWhole : this.isDone;
  }

  private anomalies(isWhole: boolean, reported: ModelUsage | undefined): readonly string[] {
    if (this.hasError) return ["error_after_200"];
    if (!isWhole) return ["stream_truncated"];
    const cached = reported?.cache_read_tokens ?? 0;
    return cached > (countOf(this.counts["prompt_eval_count"]) ?? 0) ? ["cached_gt_prompt"] : [];
  }
}
