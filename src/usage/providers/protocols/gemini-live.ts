/**
 * Reads Gemini Live over one WebSocket (reference/model-usage.md section 5.11; types of @google/genai 3.1.0): one
 * event a turn. Counts are of the turn, whose prompt has the history again; several reports inside a turn are snapshots
 * of it. Messages are JSON, in text or in binary frames.
 */

import { totalsOf } from "../../categories.ts";
import { createInputEstimate } from "../../estimate/input-estimate.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { RunningEstimate } from "../../estimate/running-estimate.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { ExchangeInfo, OpenedExchange, ReaderContext, Reading, SocketMessage, SocketReader } from "../../handler.ts";
import { createGrounding } from "./gemini-grounding.ts";
import type { Grounding } from "./gemini-grounding.ts";
import { bareModel } from "./gemini-request.ts";
import { GEMINI_COUNTS, mapGeminiUsage } from "./gemini-usage.ts";
import { asObject, countOf, jsonLength, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { measuredReading } from "./reading.ts";
import { trimTrailingSlashes } from "./request-path.ts";
import { unreadRequest } from "./socket-responses.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

/**
 * Opens a socket of the Gemini API or of Vertex AI; undefined for what is none of Live. `meter` is the first part of
 * the event's `api`, `hints` move the price, as the handler knows them from the path.
 */
export function openGeminiLive(
  exchange: ExchangeInfo,
  context: ReaderContext,
  meter = "gemini",
  hints: Readonly<Record<string, string>> = {},
): OpenedExchange | undefined {
  if (exchange.protocol !== "websocket") return undefined;
  const method = SERVICE.exec(trimTrailingSlashes(exchange.path))?.[1];
  if (method === undefined) return undefined;
  const common = { operation: "realtime", isBillable: true, reader: undefined };
  // Music reports no usage.
  if (method === "BidiGenerateMusic") return { ...common, api: `${meter}.live_music` };
  return { ...common, api: `${meter}.live`, socket: createGeminiLiveReader(context, hints) };
}

/** `/ws/google.ai.generativelanguage.V.GenerativeService.METHOD`, and on Vertex `/ws/google.cloud.aiplatform.V.LlmBidiService/METHOD`. */
const SERVICE = /\/ws\/google\.[a-z0-9.]+\.(?:GenerativeService\.|LlmBidiService\/)(BidiGenerateContent|BidiGenerateContentConstrained|BidiGenerateMusic)$/;

export function createGeminiLiveReader(context: ReaderContext, hints: Readonly<Record<string, string>> = {}): SocketReader {
  const session = new LiveSession(context, hints);
  return {
    clientMessage(message) {
      const bytes = bytesOf(message);
      if (bytes !== undefined) session.sent(bytes);
    },
    serverMessage(message) {
      const bytes = bytesOf(message);
      return bytes === undefined ? [] : session.received(bytes);
    },
    end: () => session.end(),
  };
}

function bytesOf(message: SocketMessage): Uint8Array | undefined {
  if (message.kind === "oversized") return undefined;
  return message.kind === "text" ? Buffer.from(message.text) : message.bytes;
}

/** A class for its identity: one socket and the turn that is under way on it. */
class LiveSession {
  readonly #isEstimateAllowed: boolean;
  readonly #hints: Readonly<Record<string, string>>;
  #model: string | null = null;
  #turn = createTurn();
  /** A turn that was complete before a report of it came. */
  #unreported: Turn | undefined;
  /** Tokens of the conversation as the last report has it, and what the client sent since. */
  #contextTokens = 0;
  #said = createInputEstimate();

  constructor(context: ReaderContext, hints: Readonly<Record<string, string>>) {
    this.#isEstimateAllowed = context.isEstimateAllowed;
    this.#hints = hints;
  }

  sent(bytes: Uint8Array): void {
    if (isRealtimeInput(bytes)) return;
    this.#said.push(bytes);
    this.#model ??= readModel(bytes);
  }

  received(bytes: Uint8Array): readonly Reading[] {
    const content = readContent(bytes);
    if (!content.isOfTurn) return [];
    const former = this.#settleFormer(content);
    addContent(this.#turn, content);
    return content.isTurnComplete ? [...former, ...this.#complete()] : former;
  }

  end(): readonly Reading[] {
    const former = this.#unreported === undefined ? [] : this.#readingsOf(this.#unreported, true);
    return [...former, ...this.#readingsOf(this.#turn, false)];
  }

  /** Ends what came before a message: a turn that waits for its report, one that was interrupted and has a successor. */
  #settleFormer(content: Content): readonly Reading[] {
    const { usage } = content;
    const waiting = this.#unreported;
    if (waiting !== undefined) {
      this.#unreported = undefined;
      if (!content.hasOutput && usage !== undefined) {
        report(waiting, usage);
        content.usage = undefined;
      }
      return this.#readingsOf(waiting, true);
    }
    if (!this.#turn.isInterrupted || !content.hasOutput) return [];
    return this.#readingsOf(this.#next(), true);
  }

  #complete(): readonly Reading[] {
    const turn = this.#next();
    if (turn.usage !== undefined) return this.#readingsOf(turn, true);
    this.#unreported = turn;
    return [];
  }

  /** The turn under way, which is over. */
  #next(): Turn {
    const turn = this.#turn;
    this.#turn = createTurn();
    return turn;
  }

  #readingsOf(turn: Turn, isWhole: boolean): readonly Reading[] {
    const { usage, grounding, text } = turn;
    if (usage === undefined && !turn.hasOutput) return [];
    const mapped = hasCount(usage, GEMINI_COUNTS) && usage !== undefined ? mapGeminiUsage(usage) : undefined;
    const input = this.#contextTokens + this.#said.tokens();
    const isProvisioned = usage?.["trafficType"] === "PROVISIONED_THROUGHPUT";
    const reading = measuredReading({
      request: unreadRequest(this.#model).facts,
      responseModel: null,
      responseId: null,
      serviceTier: serviceTierOf(usage),
      streamed: true,
      isWhole,
      reported: mapped === undefined ? undefined : { ...mapped.usage, ...grounding.units() },
      estimates: this.#isEstimateAllowed ? { input: () => input, output: () => text.tokens() } : undefined,
      priceHints: { ...this.#hints, ...(isProvisioned ? { billing_mode: "provisioned" } : {}), ...grounding.hints() },
      anomalies: [...(mapped?.anomalies ?? []), ...(isWhole ? [] : ["stream_truncated"])],
    });
    this.#contextTokens = totalsOf(reading.usage).total_tokens;
    this.#said = createInputEstimate();
    return [reading];
  }
}

/** One turn of the model, from its first output or report to `turnComplete`. */
interface Turn {
  usage: JsonObject | undefined;
  hasOutput: boolean;
  /** No more output of it comes: `turnComplete` follows, or the next turn. */
  isInterrupted: boolean;
  /** Output since the last report of it. */
  readonly text: RunningEstimate;
  readonly grounding: Grounding;
}

function createTurn(): Turn {
  return { usage: undefined, hasOutput: false, isInterrupted: false, text: createRunningEstimate(), grounding: createGrounding() };
}

function addContent(turn: Turn, content: Content): void {
  turn.hasOutput ||= content.hasOutput;
  turn.isInterrupted ||= content.isInterrupted;
  for (const text of content.texts) turn.text.add(text);
  turn.text.addChars(content.otherChars);
  for (const [name, value] of content.grounding) turn.grounding.value(name, value);
  if (content.usage !== undefined) report(turn, content.usage);
}

function report(turn: Turn, usage: JsonObject): void {
  turn.usage = mergeSnapshot(turn.usage, usage);
  if ((countOf(usage["responseTokenCount"]) ?? 0) > 0) turn.text.reset();
}

/** The Gemini API names a tier, Vertex the kind of traffic. */
function serviceTierOf(usage: JsonObject | undefined): string | null {
  const traffic = textOf(usage?.["trafficType"]);
  return textOf(usage?.["serviceTier"]) ?? (traffic === "TRAFFIC_TYPE_UNSPECIFIED" ? null : (traffic ?? null));
}

/** What one message of the server says. */
interface Content {
  usage: JsonObject | undefined;
  /** Anything of a turn: other messages are of the session. */
  isOfTurn: boolean;
  isTurnComplete: boolean;
  isInterrupted: boolean;
  hasOutput: boolean;
  readonly texts: string[];
  /** Characters of output that is not text. */
  otherChars: number;
  readonly grounding: [name: string, value: unknown][];
}

const PARTS: JsonPath = ["serverContent", "modelTurn", "parts", "*"];

const CONTENT_PATHS: readonly JsonPath[] = [
  ["usageMetadata"],
  ["serverContent", "turnComplete"],
  ["serverContent", "interrupted"],
  ["toolCall", "functionCalls"],
  [...PARTS, "text"],
  [...PARTS, "executableCode", "code"],
  [...PARTS, "inlineData", "mimeType"],
  ["serverContent", "outputTranscription", "text"],
  ["serverContent", "groundingMetadata", "webSearchQueries"],
  ["serverContent", "groundingMetadata", "imageSearchQueries"],
  ["serverContent", "groundingMetadata", "googleMapsWidgetContextToken"],
  ["serverContent", "groundingMetadata", "groundingChunks", "*", "maps", "placeId"],
];

/** Audio is stepped over. */
function readContent(bytes: Uint8Array): Content {
  const content: Content = { usage: undefined, isOfTurn: false, isTurnComplete: false, isInterrupted: false, hasOutput: false, texts: [], otherChars: 0, grounding: [] };
  const scan = createJsonScan({ paths: CONTENT_PATHS, onValue: (path, value) => addValue(content, path.at(-1) ?? "", value) });
  scan.push(bytes);
  scan.end();
  return content;
}

function addValue(content: Content, name: string, value: unknown): void {
  content.isOfTurn = true;
  switch (name) {
    case "usageMetadata":
      content.usage = asObject(value);
      return;
    case "turnComplete":
      content.isTurnComplete = value === true;
      return;
    case "interrupted":
      content.isInterrupted = value === true;
      return;
    case "text":
    case "code":
    case "mimeType":
    case "functionCalls":
      content.hasOutput = true;
      if (name === "functionCalls") content.otherChars += jsonLength(value);
      else if (name !== "mimeType" && typeof value === "string") content.texts.push(value);
      return;
    default:
      content.grounding.push([name, value]);
  }
}

const MODEL_PATHS: readonly JsonPath[] = [["setup", "model"]];

/** The model of the client's first message. */
function readModel(bytes: Uint8Array): string | null {
  let model: string | null = null;
  const scan = createJsonScan({ paths: MODEL_PATHS, onValue: (_path, value) => void (model = bareModel(value) ?? null) });
  scan.push(bytes);
  return model;
}

const PREFIX_BYTES = 48;
const REALTIME_INPUT = /^\s*\{\s*"realtime(?:Input|_input)"/;

/** Audio and video of the user, many times a second: what its JSON weighs says nothing of tokens. */
function isRealtimeInput(bytes: Uint8Array): boolean {
  return REALTIME_INPUT.test(Buffer.from(bytes.subarray(0, PREFIX_BYTES)).toString("latin1"));
}
