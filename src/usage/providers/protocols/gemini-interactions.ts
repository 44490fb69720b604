/**
 * Reads one exchange of the Gemini Interactions API, whole or streamed: the POST that generates, and the GET or cancel
 * that shows an interaction (reference/model-usage.md section 5.10; types of @google/genai 3.1.0). As in the Responses
 * API, one that finishes in another exchange is kept by the context's jobs and counted once. A long decode is made of
 * hops, each an interaction of its own.
 */

import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { FreeReading, ModelReading, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { addDeltaText, hasMember, stringMember } from "./delta-text.ts";
import { createGeminiRequest } from "./gemini-request.ts";
import { InteractionFacts, INTERACTION_PATHS } from "./gemini-interaction-facts.ts";
import { mapInteractionUsage } from "./gemini-usage.ts";
import { asObject, jsonLength, parseObject, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { freeReading, measuredReading, outputTokens } from "./reading.ts";
import type { RequestReader } from "./request-facts.ts";

/** `generate`: the exchange makes an interaction. `fetch`: it shows one, which another exchange may have made. */
export type InteractionsRole = "generate" | "fetch";

/** The reader of one exchange with `interactions`. */
export function createInteractionsReader(context: ReaderContext, role: InteractionsRole): Reader {
  const request = createGeminiRequest({ model: null });
  return createBodyReader(new InteractionsProtocol(context, role, request), request);
}

/** Steps that the model made. A step of the user has `content` as well: estimates of a whole answer count it too. */
const TEXT_PATHS: readonly JsonPath[] = [
  ["steps", "*", "content", "*", "text"],
  ["steps", "*", "summary", "*", "text"],
  ["steps", "*", "arguments"],
];

const JSON_PATHS: readonly JsonPath[] = [...INTERACTION_PATHS, ...TEXT_PATHS];

const DELTA_MEMBERS = ['text":', 'arguments":', 'code":'] as const;

/** Interactions of one stream that have ended. More hops than this are no long decode. */
const MAX_HOPS = 256;

class InteractionsProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private readonly context: ReaderContext;
  private readonly role: InteractionsRole;
  private readonly request: RequestReader;

  /** The interaction under way, or the one that ended last. */
  private facts = new InteractionFacts();
  /** Hops that ended before it. */
  private readonly ended: InteractionFacts[] = [];
  private isTerminal = false;
  private hasBegun = false;
  private hasError = false;
  /** Output since the last report of it. */
  private readonly text = createRunningEstimate();

  constructor(context: ReaderContext, role: InteractionsRole, request: RequestReader) {
    this.context = context;
    this.role = role;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (INTERACTION_PATHS.includes(path)) return this.facts.value(path, value);
    this.hasBegun = true;
    if (typeof value === "string") this.text.add(value);
    else this.text.addChars(jsonLength(value));
  }

  event({ event, data }: SseEvent): void {
    const type = stringMember(data, 'event_type":') ?? event ?? "";
    switch (type) {
      case "step.start":
        this.hasBegun = true;
        return;
      case "step.delta":
        return this.delta(data);
      case "interaction.created":
        return this.created(asObject(parseObject(data)?.["interaction"]));
      case "interaction.completed":
        return this.completed(asObject(parseObject(data)?.["interaction"]));
      case "interaction.status_update":
      case "step.stop":
        return this.progress(parseObject(data));
      default:
        this.hasError ||= asObject(parseObject(data)?.["error"]) !== undefined || type === "error";
    }
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const isEnded = body.framing === "json" ? body.isDocumentWhole : this.isTerminal || (body.transport === "complete" && this.facts.isStatedOver);
    const isWhole = isEnded && !this.hasError && body.transport !== "undecodable";
    const hops = this.ended.map((facts) => this.measured(facts, body, true));
    return [...hops, ...(this.role === "fetch" ? this.concludeFetch(body, isWhole) : this.concludeGenerate(body, isWhole))];
  }

  private delta(data: string): void {
    this.hasBegun = true;
    // Audio, images and video come as base64 in `data`, which is no member of these.
    addDeltaText(this.text, data, DELTA_MEMBERS);
    if (!hasMember(data, 'total_usage":')) return;
    this.report(asObject(asObject(parseObject(data)?.["metadata"])?.["total_usage"]));
  }

  /** Another interaction in the same stream is the next hop of a long decode. */
  private created(interaction: JsonObject | undefined): void {
    if (interaction === undefined) return;
    const id = textOf(interaction["id"]) ?? null;
    if (this.isTerminal && id !== null && id !== this.facts.id && this.ended.length < MAX_HOPS) {
      this.ended.push(this.facts);
      this.facts = new InteractionFacts();
      this.isTerminal = false;
    }
    this.facts.document(interaction);
  }

  private completed(interaction: JsonObject | undefined): void {
    // Cut inside the event: its usage is not known.
    if (interaction === undefined) return;
    this.created(interaction);
    this.isTerminal = true;
    if (this.facts.usage !== undefined) this.text.reset();
  }

  private progress(event: JsonObject | undefined): void {
    this.facts.status = textOf(event?.["status"]) ?? this.facts.status;
    this.facts.id ??= textOf(event?.["interaction_id"]) ?? null;
    this.report(asObject(event?.["usage"]));
  }

  private report(usage: JsonObject | undefined): void {
    if (usage !== undefined && this.facts.merge(usage)) this.text.reset();
  }

  /** Section 5.3.4: a fetch counts only when it is the first to show the end of what a POST here began. */
  private concludeFetch(body: BodyEnd, isWhole: boolean): readonly Reading[] {
    const { id, usage, isOver } = this.facts;
    const isOurs = id !== null && usage !== undefined && isWhole && isOver && this.context.jobs.finish(id);
    return isOurs ? [this.measured(this.facts, body, isWhole)] : [this.free("response_fetched", body)];
  }

  private concludeGenerate(body: BodyEnd, isWhole: boolean): readonly Reading[] {
    const { id, usage, isOver } = this.facts;
    const isBackground = this.request.facts().isBackground;
    const isPending = body.framing === "sse" ? !isWhole && isBackground && !this.hasError : !isOver;
    if (isPending && id !== null) {
      this.context.jobs.start(id);
      return [this.free("response_pending", body)];
    }
    const hasError = this.hasError || (this.facts.hasError && this.facts.status === null);
    if (usage === undefined && !this.hasBegun && hasError) return [this.free(body.framing === "sse" ? "error_in_stream" : "error_body", body)];
    return [this.measured(this.facts, body, isWhole)];
  }

  private measured(facts: InteractionFacts, body: BodyEnd, isWhole: boolean): ModelReading {
    const { usage } = facts;
    const mapped = usage === undefined ? undefined : mapInteractionUsage(usage);
    const isFailed = FAILED.has(facts.status ?? "");
    const isRestKnown = facts !== this.facts || (usage !== undefined && body.framing === "json") || (isFailed && !this.hasBegun);
    return measuredReading({
      request: this.request.facts(),
      responseModel: facts.model,
      responseId: facts.id,
      serviceTier: facts.serviceTier,
      streamed: body.framing === "sse",
      isWhole,
      reported: mapped?.usage,
      estimates:
        this.context.isEstimateAllowed && !(isFailed && usage === undefined && !this.hasBegun)
          ? { input: () => this.request.inputTokens(), output: () => (isRestKnown ? 0 : outputTokens(this.text, body.oversizeBytes)) }
          : undefined,
      anomalies: [...(mapped?.anomalies ?? []), ...this.endAnomalies(isWhole, isFailed)],
    });
  }

  private endAnomalies(isWhole: boolean, isFailed: boolean): readonly string[] {
    if (this.hasError || isFailed) return ["error_after_200"];
    return isWhole ? [] : ["stream_truncated"];
  }

  private free(reason: string, body: BodyEnd): FreeReading {
    const { model, id } = this.facts;
    return freeReading(reason, { requestModel: this.request.facts().model, responseModel: model, responseId: id, streamed: body.framing === "sse" });
  }
}

const FAILED = new Set(["failed", "cancelled"]);
