/**
 * Makes the estimates in readings better, between the reading of a flow and its events: exact counts where the model
 * has one of OpenAI's encodings, else the heuristic times what was learnt of the model. Adds the canonical count of the
 * request's text. Readers stay pure and know nothing of it: a reading carries what its estimate was made of (basis.ts).
 */

import type { Logger } from "pino";

import type { Reading, RequestOutline } from "../handler.ts";
import { betterReading, isEstimated, learnFrom, modelsOf, NO_COUNTS, type ExactCounts } from "./better-usage.ts";
import { createCalibration, type Calibration } from "./calibration.ts";
import { encodingOfModel, type EncodingName } from "./encoding-of-model.ts";
import { createBodyHolder, type HeldBody } from "./held-body.ts";
import { allWithin, knownCount, pendingCount, type PendingCount } from "./pending-count.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface EstimatorOptions {
  readonly tokenizer: Tokenizer;
  /** TALLYMAN_ESTIMATE. */
  readonly isEstimateAllowed: boolean;
  /** TALLYMAN_CANONICAL_TOKENS. */
  readonly hasCanonicalTokens: boolean;
  readonly logger: Pick<Logger, "debug">;
}

export interface Estimator {
  /** For one exchange with a model. */
  open(): FlowEstimate;
  /** Without counts: what was learnt is applied, and more is learnt. At once. */
  calibrate(readings: readonly Reading[]): readonly Reading[];
  /** Every prompt is counted. It is worth being read as soon as it is whole: then it is counted while the answer is made. */
  readonly hasCanonicalTokens: boolean;
}

/** The estimates of one exchange. Called: requestData*, requestEnd?, conclude (once, always last); hold at any time before it. */
export interface FlowEstimate {
  /** Decoded bytes of the request's body: by reference until `hold` or `conclude`. Most answers come with their usage. */
  requestData(chunk: Uint8Array): void;
  /** The body is whole. `outline`: what the reader says of it. */
  requestEnd(outline: RequestOutline | undefined): void;
  /** The exchange goes on: what was given is copied, as what it was cut from may be much larger. */
  hold(): void;
  /** Takes no longer than `waitMs`; a promise only where something is still being counted. Does not reject. */
  conclude(readings: readonly Reading[], waitMs: number): Conclusion | Promise<Conclusion>;
}

export interface Conclusion {
  /** In the order of those given, without their basis. */
  readonly readings: readonly Reading[];
  /** Tokens of the request's text in CANONICAL_ENCODING; undefined: not counted. */
  readonly canonicalInputTokens: number | undefined;
}

export const CANONICAL_ENCODING: EncodingName = "cl100k_base";

/** Of the tokenizer it only uses `count` and `warm`: who made it closes it. */
export function createEstimator(options: EstimatorOptions): Estimator {
  const shared: Shared = { options, calibration: createCalibration() };
  const bodies = createBodyHolder();
  // So that the first event has its count too.
  if (options.hasCanonicalTokens) void options.tokenizer.warm(CANONICAL_ENCODING);
  return {
    open: () => new ExchangeEstimate(shared, bodies.open()),
    calibrate: (readings) => better(readings, NO_COUNTS, shared.calibration),
    hasCanonicalTokens: options.hasCanonicalTokens,
  };
}

interface Shared {
  readonly options: EstimatorOptions;
  readonly calibration: Calibration;
}

/**
 * What OpenAI's chat format puts around the text: three tokens a message and one for its role, and three that the answer begins with
 * (https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, 2024-07).
 */
const TOKENS_PER_MESSAGE = 4;
const TOKENS_PER_ANSWER = 3;

/** More of a body is held as the bounds of bodies say. */
const MAX_LENT_BYTES = 64 * 1024;

/** What is counted, for the log. */
type Part = "prompt" | "answer" | "canonical";

/** A class for its identity: one exchange from its request to its readings. */
class ExchangeEstimate implements FlowEstimate {
  readonly #shared: Shared;
  readonly #body: HeldBody;
  /** What is to be added to the body before that is used. */
  #lent: Uint8Array[] = [];
  #lentBytes = 0;
  #isWhole = false;
  /** The count of the prompt with its model's encoding, where it was begun before the answer came. */
  #prompt: PendingCount | undefined;
  #canonical: PendingCount | undefined;

  constructor(shared: Shared, body: HeldBody) {
    this.#shared = shared;
    this.#body = body;
  }

  requestData(chunk: Uint8Array): void {
    this.#lent.push(chunk);
    this.#lentBytes += chunk.length;
    if (this.#lentBytes > MAX_LENT_BYTES) this.hold();
  }

  hold(): void {
    for (const chunk of this.#lent) this.#body.push(chunk);
    this.#lent = [];
    this.#lentBytes = 0;
  }

  requestEnd(outline: RequestOutline | undefined): void {
    const { isEstimateAllowed, hasCanonicalTokens } = this.#shared.options;
    this.#isWhole = true;
    if (hasCanonicalTokens) this.#canonical = this.#countBody(CANONICAL_ENCODING);
    const encoding = isEstimateAllowed ? encodingOf([outline?.model ?? ""]) : undefined;
    if (encoding === undefined) this.#release();
    else if (outline?.isUsageUnlikely === true) this.#prompt = this.#countBody(encoding);
  }

  conclude(readings: readonly Reading[], waitMs: number): Conclusion | Promise<Conclusion> {
    const estimated = readings.find(isEstimated);
    const encoding = estimated === undefined ? undefined : encodingOf(modelsOf(estimated));
    const basis = encoding === undefined ? undefined : estimated?.basis;
    const prompt = basis?.isInputEstimated === true && encoding !== undefined ? this.#countPrompt(encoding) : undefined;
    const sample = basis?.output === undefined ? undefined : basis.text?.rest();
    const answer = sample === undefined || encoding === undefined ? undefined : this.#count(encoding, sample.text);
    this.#release();
    if (prompt === undefined) this.#prompt?.cancel();

    const finish = (): Conclusion => {
      const output = this.#tokensOf("answer", answer);
      const exact = { input: this.#tokensOf("prompt", prompt), output: output === undefined ? undefined : Math.ceil(output * (sample?.scale ?? 1)) };
      return {
        readings: better(readings, exact, this.#shared.calibration),
        canonicalInputTokens: this.#tokensOf("canonical", this.#canonical),
      };
    };
    // An event that nobody is sent is not worth a wait.
    const canonical = readings.every(({ kind }) => kind === "free") ? undefined : this.#canonical;
    const late = [prompt, answer, canonical].filter((count) => count !== undefined).filter(({ outcome }) => outcome === undefined);
    return late.length === 0 ? finish() : allWithin(late, waitMs).then(finish);
  }

  #countPrompt(encoding: EncodingName): PendingCount | undefined {
    if (this.#prompt !== undefined) return this.#prompt;
    return this.#isWhole ? this.#countBody(encoding) : undefined;
  }

  #release(): void {
    this.#lent = [];
    this.#body.release();
  }

  #countBody(encoding: EncodingName): PendingCount {
    this.hold();
    if (this.#body.isEmpty) return knownCount({ kind: "counted", tokens: 0, messages: 0 });
    const body = this.#body.copy();
    if (body === undefined) return knownCount({ kind: "uncounted", reason: "too_large" });
    return pendingCount(this.#shared.options.tokenizer.count(encoding, { kind: "prompt", body }));
  }

  #count(encoding: EncodingName, text: string): PendingCount {
    return pendingCount(this.#shared.options.tokenizer.count(encoding, { kind: "text", text }));
  }

  /** Undefined where there is no count; then the log says why. */
  #tokensOf(part: Part, count: PendingCount | undefined): number | undefined {
    if (count === undefined) return undefined;
    const outcome = count.outcome ?? { kind: "uncounted", reason: "late" };
    if (outcome.kind === "uncounted") {
      this.#shared.options.logger.debug({ part, reason: outcome.reason }, "tokens were not counted; an estimate has to do");
      return undefined;
    }
    const { tokens, messages } = outcome;
    return part === "prompt" && messages > 0 ? tokens + messages * TOKENS_PER_MESSAGE + TOKENS_PER_ANSWER : tokens;
  }
}

/** Learns from the exchange's own response, the first, and makes the first estimated one exact as far as it was counted. */
function better(readings: readonly Reading[], exact: ExactCounts, calibration: Calibration): readonly Reading[] {
  learnFrom(readings[0], calibration);
  const counted = readings.find(isEstimated);
  return readings.map((reading) => betterReading(reading, reading === counted ? exact : NO_COUNTS, calibration));
}

/** Of the first name that has one. */
function encodingOf(models: readonly string[]): EncodingName | undefined {
  return models.map(encodingOfModel).find((encoding) => encoding !== undefined);
}
