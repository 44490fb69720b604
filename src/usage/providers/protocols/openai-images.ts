/**
 * Reads one answer of OpenAI's Images API, whole or streamed (reference/model-usage.md section 5.6.2; types of the
 * `openai` package 7.57). Images are megabytes of base64 and are stepped over. Models of the DALL·E kind report no usage:
 * their price is by the piece, and the pieces are counted.
 */

import type { ModelUsage } from "../../categories.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ExchangeInfo, ModelReading, Reader, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { createFormRequest } from "./form-request.ts";
import type { FormRequest } from "./form-request.ts";
import { asObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapImageUsage, mapSvgUsage } from "./openai-image-usage.ts";
import { OPENAI_COUNTS } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";
import { scanText } from "./socket-event.ts";

/** The reader of one POST to an images endpoint. */
export function createImagesReader(exchange: ExchangeInfo, dialect: OpenAiDialect): Reader {
  const request = createFormRequest(exchange, { names: ["n", "size", "quality"] });
  const protocol = new ImagesProtocol(exchange, dialect, request);
  const body = createBodyReader(protocol, request);
  // Beside the values that are wanted whole: an image shows in its first bytes that it is one.
  const pieces = createJsonScan({
    paths: PIECE_PATHS,
    maxValueBytes: MAX_PIECE_BYTES,
    onValue: (path, value) => textOf(value) !== undefined && protocol.piece(path),
    onOversize: (path) => protocol.piece(path),
  });
  return {
    requestData: (chunk) => body.requestData?.(chunk),
    response: (head) => body.response(head),
    push(chunk) {
      pieces.push(chunk);
      body.push(chunk);
    },
    end: (end) => body.end(end),
  };
}

const PIECE_PATHS: readonly JsonPath[] = [
  ["data", "*", "b64_json"],
  ["data", "*", "url"],
];

const MAX_PIECE_BYTES = 64;

const JSON_PATHS: readonly JsonPath[] = [["usage"], ["svg_usage"], ["error"], ["model"], ["size"], ["quality"]];

const EVENT_PATHS: readonly JsonPath[] = [["type"], ["usage"], ["svg_usage"], ["error"], ["size"], ["quality"]];

class ImagesProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly exchange: ExchangeInfo;
  private readonly dialect: OpenAiDialect;
  private readonly request: FormRequest;
  private readonly members = new Map<string, unknown>();
  private readonly pieces = new Map<string, number>();
  private usage: JsonObject | undefined;
  private svgUsage: JsonObject | undefined;
  private hasError = false;
  /** Of a stream: an image, or a part of one, came. */
  private hasBegun = false;
  private isCompleted = false;

  constructor(exchange: ExchangeInfo, dialect: OpenAiDialect, request: FormRequest) {
    this.exchange = exchange;
    this.dialect = dialect;
    this.request = request;
  }

  piece(path: JsonPath): void {
    const kind = path.at(-1) ?? "";
    this.pieces.set(kind, (this.pieces.get(kind) ?? 0) + 1);
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const [name = ""] = path;
    if (name === "error") this.hasError ||= value !== null;
    else if (name === "usage") this.usage = merged(this.usage, value);
    else if (name === "svg_usage") this.svgUsage = merged(this.svgUsage, value);
    else this.members.set(name, value);
  }

  event({ event, data }: SseEvent): void {
    if (this.isCompleted || data === "[DONE]") return;
    let type = event;
    const usage: [JsonPath, unknown][] = [];
    scanText(data, EVENT_PATHS, (path, value) => {
      if (path[0] === "type") type = textOf(value) ?? type;
      else usage.push([path, value]);
    });
    for (const [path, value] of usage) this.jsonValue(path, value);
    this.hasBegun ||= type?.startsWith("image_") === true;
    this.hasError ||= type === "error";
    this.isCompleted = type?.endsWith(".completed") === true;
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const streamed = body.framing === "sse";
    const usage = this.reported(streamed);
    if (this.hasError && usage === undefined && !this.hasBegun) {
      return [freeReading(streamed ? "error_in_stream" : "error_body", { requestModel: request.model, streamed })];
    }
    const isWhole = body.transport !== "undecodable" && !this.hasError && (streamed ? this.isCompleted : body.isDocumentWhole);
    const own = measuredReading({
      request,
      responseModel: textOf(this.members.get("model")) ?? null,
      responseId: null,
      serviceTier: null,
      streamed,
      isWhole,
      reported: usage ?? (isWhole ? { images_out: 0 } : undefined),
      // Nothing in a prompt tells what its images will have cost.
      estimates: undefined,
      priceHints: { ...this.dialect.exchangeHints?.(this.exchange, body.response), ...this.pieceHints() },
      anomalies: isWhole ? [] : [this.hasError ? "error_after_200" : "stream_truncated"],
    });
    return [own, ...this.drawings(own)];
  }

  /** Tokens, or where there are none the pieces; undefined: neither was seen. */
  private reported(streamed: boolean): ModelUsage | undefined {
    if (this.usage !== undefined && hasCount(this.usage, OPENAI_COUNTS)) {
      const usage = mapImageUsage(this.usage);
      return streamed ? asImageTokens(usage) : usage;
    }
    const images = streamed && this.isCompleted ? 1 : Math.max(0, ...this.pieces.values());
    return images > 0 ? { images_out: images } : undefined;
  }

  /** What the price of a piece depends on (section 5.6.2): as the answer says, else as the request asked. */
  private pieceHints(): Readonly<Record<string, string>> {
    const hints: Record<string, string> = {};
    for (const name of ["size", "quality"]) {
      const value = textOf(this.members.get(name)) ?? textOf(this.request.field(name));
      if (value !== undefined && value !== "auto") hints[`image_${name}`] = value;
    }
    return hints;
  }

  private drawings(own: ModelReading): readonly ModelReading[] {
    if (this.svgUsage === undefined) return [];
    const { anomalies: _anomalies, priceHints: _hints, ...shared } = own;
    return [{ ...shared, source: "provider", usage: mapSvgUsage(this.svgUsage), requestModel: null, responseModel: textOf(this.svgUsage["model"]) ?? null }];
  }
}

/** "The number of image tokens in the output image" (ImageGenCompletedEvent.Usage). */
function asImageTokens(usage: ModelUsage): ModelUsage {
  if (usage.output_image_tokens !== undefined) return usage;
  const { output_tokens = 0, ...rest } = usage;
  return { ...rest, output_image_tokens: output_tokens };
}

function merged(earlier: JsonObject | undefined, value: unknown): JsonObject | undefined {
  const later = asObject(value);
  return later === undefined ? earlier : mergeSnapshot(earlier, later);
}
