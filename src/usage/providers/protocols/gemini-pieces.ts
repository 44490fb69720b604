/**
 * Answers of Google that are counted by the piece and have no usage (reference/model-usage.md section 5.9.4): images
 * of `:predict`, and the videos of a long-running `:predictLongRunning`, which another exchange shows when they are
 * done. Wire forms from the code of @google/genai 3.1.0 (generatedImageFromVertex, generateVideosOperationFrom…).
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { ModelReading, Reader, ReaderContext, Reading } from "../../handler.ts";
import type { ModelUsage } from "../../categories.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { createGeminiRequest } from "./gemini-request.ts";
import type { GeminiRequest } from "./gemini-request.ts";
import { textOf } from "./json-values.ts";
import { freeReading, measuredReading } from "./reading.ts";
import type { Findings } from "./reading.ts";

/** The reader of one POST to `:predict` of an image model. Images that a filter took out are not counted. */
export function createGeminiImagesReader(model: string | null): Reader {
  const request = createGeminiRequest({ model });
  return createBodyReader(new ImagesProtocol(request), request);
}

/**
 * The reader of a POST to `:predictLongRunning` (`start`), or of the GET or `:fetchPredictOperation` that polls for
 * its end (`fetch`). The first poll that shows videos counts their seconds, for operations that a POST here began.
 */
export function createGeminiVideoReader(context: ReaderContext, model: string | null, role: "start" | "fetch"): Reader {
  const request = createGeminiRequest({ model });
  return createBodyReader(new VideoProtocol(context, request, role), request);
}

const IMAGE_PATHS: readonly JsonPath[] = [
  ["predictions", "*", "mimeType"],
  ["predictions", "*", "gcsUri"],
  ["error"],
];

class ImagesProtocol implements ModelProtocol {
  readonly jsonPaths = IMAGE_PATHS;
  private readonly request: GeminiRequest;
  private images = 0;
  private storedImages = 0;
  private hasOthers = false;
  private hasError = false;

  constructor(request: GeminiRequest) {
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (path[0] === "error") this.hasError ||= value !== null;
    else if (path.at(-1) === "gcsUri") this.storedImages++;
    else if (textOf(value)?.startsWith("image/") === true) this.images++;
    else this.hasOthers = true;
  }

  event(): void {
    // Predictions are not streamed: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const images = Math.max(this.images, this.hasOthers ? 0 : this.storedImages);
    if (this.hasError && images === 0) return [freeReading("error_body", { requestModel: request.model })];
    // Music, for one: its seconds are not told.
    if (this.hasOthers && images === 0) return [{ kind: "unmeasured", reason: "format_not_read", requestModel: request.model }];
    const isWhole = isDocument(body);
    return [pieces({ request, isWhole, reported: { images_out: images } })];
  }
}

const VIDEO_PATHS: readonly JsonPath[] = [
  ["name"],
  ["done"],
  ["response", "generateVideoResponse", "generatedSamples", "*", "video", "uri"],
  ["response", "generateVideoResponse", "generatedSamples", "*", "video", "encoding"],
  ["response", "videos", "*", "gcsUri"],
  ["response", "videos", "*", "mimeType"],
];

/** What Veo makes when the request names no length (Vertex AI "Veo API" reference, parameter durationSeconds, read 2026-11-22). */
const DEFAULT_SECONDS = 8;

/** Veo's clips have 4 to 8 seconds. */
const MAX_SECONDS = 60;

class VideoProtocol implements ModelProtocol {
  readonly jsonPaths = VIDEO_PATHS;
  private readonly context: ReaderContext;
  private readonly request: GeminiRequest;
  private readonly role: "start" | "fetch";
  private operation: string | null = null;
  private isDone = false;
  /** How often each member of a video was seen: not every video has each. */
  private readonly seen = new Map<string, number>();

  constructor(context: ReaderContext, request: GeminiRequest, role: "start" | "fetch") {
    this.context = context;
    this.request = request;
    this.role = role;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    const name = path.at(-1) ?? "";
    if (name === "name") this.operation = textOf(value) ?? this.operation;
    else if (name === "done") this.isDone ||= value === true;
    else this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
  }

  event(): void {
    // An operation is one JSON document: there is nothing to read in an event.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const request = this.request.facts();
    const id = this.operation?.slice(this.operation.lastIndexOf("/") + 1) ?? null;
    const isWhole = isDocument(body);
    const free = { requestModel: request.model, responseId: this.operation, streamed: false };
    if (this.role === "start" && id !== null && isWhole) this.context.jobs.start(jobId(id, clipSeconds(this.request.videoSeconds())));
    if (this.role === "start" && !this.isDone) return [freeReading("response_pending", free)];
    const seconds = id !== null && this.isDone && isWhole ? this.finish(id) : undefined;
    if (seconds === undefined) return [freeReading("response_fetched", free)];
    const videos = Math.max(0, ...this.seen.values());
    // It failed, or a filter took everything out.
    if (videos === 0) return [freeReading("operation_failed", free)];
    // The length is the request's: the answer does not tell it.
    const reported = { video_seconds_out: videos * seconds };
    return [{ ...pieces({ request, isWhole, reported, responseId: this.operation }), source: "estimate" }];
  }

  /** The seconds of each clip, for the one caller that may count them. */
  private finish(id: string): number | undefined {
    for (let seconds = 1; seconds <= MAX_SECONDS; seconds++) {
      if (this.context.jobs.finish(jobId(id, seconds))) return seconds;
    }
    return undefined;
  }
}

/** Of a pending job nothing but its id is kept: the length of its clips, which no answer repeats, is a part of it. */
function jobId(operation: string, seconds: number): string {
  return `${operation};${seconds}s`;
}

function clipSeconds(asked: number | undefined): number {
  const seconds = Math.round(asked ?? 0);
  return seconds >= 1 && seconds <= MAX_SECONDS ? seconds : DEFAULT_SECONDS;
}

function isDocument(body: BodyEnd): boolean {
  return body.isDocumentWhole && body.transport !== "undecodable";
}

/** Pieces that were seen are counted as they are: there is nothing to estimate beside them. */
function pieces(found: Pick<Findings, "request" | "isWhole"> & { readonly reported: ModelUsage; readonly responseId?: string | null }): ModelReading {
  return measuredReading({
    responseModel: null,
    responseId: null,
    serviceTier: null,
    streamed: false,
    estimates: undefined,
    anomalies: found.isWhole ? [] : ["stream_truncated"],
    ...found,
  });
}
