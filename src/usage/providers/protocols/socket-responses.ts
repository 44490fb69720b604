/**
 * The responses under way on one socket of the Responses family, by id, and those that are over: each is counted once,
 * whatever is said of it later (reference/model-usage.md sections 3.5 and 6.2). Bounded: of responses that were begun
 * and not ended the oldest is concluded when they are too many, of those that are over the oldest is forgotten.
 */

import { totalsOf } from "../../categories.ts";
import { createRunningEstimate } from "../../estimate/running-estimate.ts";
import type { RunningEstimate } from "../../estimate/running-estimate.ts";
import type { Reading, StatedCost } from "../../handler.ts";
import { addDeltaText } from "./delta-text.ts";
import type { JsonObject } from "./json-values.ts";
import type { MappedUsage } from "./openai-usage.ts";
import { freeReading } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestFacts } from "./request-facts.ts";
import type { ResponseFacts } from "./responses-facts.ts";
import { responseReadings } from "./responses-reading.ts";

/** What a response was asked for with. */
export interface SocketRequest {
  readonly facts: RequestFacts;
  /** Estimate of the prompt, context that the server keeps included. */
  readonly inputTokens: number;
  /** `generate: false`: prepares a cache and makes no output. */
  readonly isWarmUp: boolean;
}

export interface OpenResponse {
  readonly request: SocketRequest;
  facts: ResponseFacts;
  readonly text: RunningEstimate;
  /** Output items or text were seen. */
  hasBegun: boolean;
  /** An error event was seen. The response's own end may still follow it. */
  hasError: boolean;
}

export interface SocketResponsesOptions {
  readonly isEstimateAllowed: boolean;
  readonly mapUsage: (usage: JsonObject) => MappedUsage;
  readonly statedCost?: ((usage: JsonObject) => StatedCost | undefined) | undefined;
  /** Undefined usage: none was reported. */
  readonly priceHints: (usage: JsonObject | undefined) => Readonly<Record<string, string>>;
  /** The model of responses that name none. */
  readonly model?: () => string | null;
}

const MAX_OPEN = 64;
const MAX_OVER = 1024;

const NOTHING_ASKED: RequestFacts = createRequestReader([["model"]]).facts();

/** A request that was not read, or that says nothing but its model. */
export function unreadRequest(model: string | null = null, inputTokens = 0): SocketRequest {
  return { facts: { ...NOTHING_ASKED, model }, inputTokens, isWarmUp: false };
}

/** A class for its identity: one socket's responses. */
export class SocketResponses {
  readonly #options: SocketResponsesOptions;
  readonly #open = new Map<string, OpenResponse>();
  /** Ids of those that are over, with the tokens of their prompt and output: a continuation has them in its prompt. */
  readonly #over = new Map<string, number>();

  constructor(options: SocketResponsesOptions) {
    this.#options = options;
  }

  get(id: string | null): OpenResponse | undefined {
    return id === null ? undefined : this.#open.get(id);
  }

  isOver(id: string | null): boolean {
    return id !== null && this.#over.has(id);
  }

  /** Tokens that a continuation of this response begins with; 0 where it is not known. */
  contextTokens(id: string | null): number {
    return id === null ? 0 : (this.#over.get(id) ?? 0);
  }

  /** A response was created. One whose facts have no id is known to the caller alone. */
  begin(request: SocketRequest, facts: ResponseFacts): OpenResponse {
    const response: OpenResponse = { request, facts, text: createRunningEstimate(), hasBegun: false, hasError: false };
    if (facts.id !== null) this.#open.set(facts.id, response);
    return response;
  }

  /** The readings of a response that is too many. */
  evict(): readonly Reading[] {
    const [oldest] = this.#open.values();
    return this.#open.size <= MAX_OPEN || oldest === undefined ? [] : this.conclude(oldest, false);
  }

  /** A response is over; `isWhole`: its terminal event was seen. Nothing, when it was over before. */
  conclude(response: OpenResponse, isWhole: boolean): readonly Reading[] {
    const { id } = response.facts;
    if (this.isOver(id)) return [];
    const readings = this.#readingsOf(response, isWhole);
    if (id !== null) this.#end(id, readings);
    return readings;
  }

  /** The socket is over. */
  concludeAll(): readonly Reading[] {
    return [...this.#open.values()].flatMap((response) => this.conclude(response, false));
  }

  #end(id: string, [own]: readonly Reading[]): void {
    this.#open.delete(id);
    this.#over.set(id, own !== undefined && "usage" in own ? totalsOf(own.usage).total_tokens : 0);
    const [oldest] = this.#over.keys();
    if (this.#over.size > MAX_OVER && oldest !== undefined) this.#over.delete(oldest);
  }

  #readingsOf(response: OpenResponse, isWhole: boolean): readonly Reading[] {
    const { facts, request, text, hasBegun, hasError } = response;
    const { usage } = facts;
    const { isEstimateAllowed, mapUsage, statedCost, priceHints, model } = this.#options;
    if (usage === undefined && !hasBegun) {
      // What a warm-up costs is told by its report alone (section 5.3.3).
      if (request.isWarmUp) return [this.#free(response, "warm_up")];
      if (hasError && !isWhole) return [this.#free(response, "error_in_stream")];
    }
    return responseReadings({
      facts,
      request: request.facts,
      model: model?.() ?? null,
      streamed: true,
      isWhole,
      hasBegun,
      hasError,
      estimates: isEstimateAllowed ? { input: () => request.inputTokens, output: () => text.tokens() } : undefined,
      mapUsage,
      statedCost,
      priceHints: priceHints(usage),
    });
  }

  #free({ request, facts }: OpenResponse, reason: string): Reading {
    const responseModel = facts.model ?? this.#options.model?.() ?? null;
    return freeReading(reason, { requestModel: request.facts.model, responseModel, responseId: facts.id, streamed: true });
  }
}

const DELTA_MEMBERS = ['delta":'] as const;

/** A delta event of a response. Audio and images come as base64, which says nothing of tokens. */
export function addDelta(response: OpenResponse, type: string, text: string): void {
  response.hasBegun = true;
  if (!type.includes("audio") || type.includes("transcript")) addDeltaText(response.text, text, DELTA_MEMBERS);
}
