/**
 * The reading of one flow: opens the handler's reader, decodes the bodies and feeds it, and reads it out at the end.
 * Nothing in here is needed while the flow passes, so all of it may be done later. Isolates the handler: whatever it
 * throws becomes an `unmeasured` reading.
 */

import type { Logger } from "pino";

import { createDecoder, parseContentEncoding, type Decoder } from "../flow/content-coding.ts";
import type { FlowHead, FlowOutcome, ResponseHead } from "../flow/flow.ts";
import { getHeader } from "../flow/headers.ts";
import type { Conclusion, Estimator, FlowEstimate } from "./estimate/estimator.ts";
import { requestIdOf, type FlowFacts } from "./event.ts";
import { reportFault } from "./fault.ts";
import { openFlow, type FlowOpeningOptions } from "./flow-opening.ts";
import type { Handler, Reader, ReadEnd, Reading } from "./handler.ts";
import { forEachJoined } from "./joined-run.ts";

export interface FlowReadingOptions extends FlowOpeningOptions {
  /** Without one, estimates stay as the readers made them. */
  readonly estimator?: Estimator | undefined;
  readonly logger: Pick<Logger, "error">;
}

/** A class for its identity: fed piece by piece, then finished, once. */
export class FlowReading {
  readonly #handler: Handler;
  readonly #head: FlowHead;
  readonly #options: FlowReadingOptions;
  #facts: FlowFacts | undefined;
  #reader: Reader | undefined;
  #estimate: FlowEstimate | undefined;
  #requestDecoder: Decoder | undefined;
  #responseDecoder: Decoder | undefined;
  /** Settled when a decoded request is read to its end; undefined while its body still comes, or where nothing is decoded. */
  #requestDecoded: Promise<void> | undefined;
  #onRequestDecoded: (() => void) | undefined;
  #onResponseDecoded: (() => void) | undefined;
  #isRequestReadable = true;
  #isUndecodable = false;
  #isCut = false;
  #hasFault = false;
  #requestId: string | null = null;

  constructor(handler: Handler, head: FlowHead, options: FlowReadingOptions) {
    this.#handler = handler;
    this.#head = head;
    this.#options = options;
  }

  get kind(): Handler["kind"] {
    return this.#handler.kind;
  }

  /** What is known from the request's head. Opens the reader when first asked. Does not throw. */
  get facts(): FlowFacts {
    this.#facts ??= this.#open();
    return this.#facts;
  }

  /** The provider's own id of the request; null before the response's head. */
  get requestId(): string | null {
    return this.#requestId;
  }

  requestData(chunk: Uint8Array): void {
    this.#facts ??= this.#open();
    if (!this.#isRequestReadable) return;
    if (this.#requestDecoder !== undefined) this.#requestDecoder.push(chunk);
    else this.#readRequest(chunk);
  }

  requestEnd(): void {
    this.#facts ??= this.#open();
    const decoder = this.#requestDecoder;
    if (decoder !== undefined) {
      this.#requestDecoded = new Promise((resolve) => {
        this.#onRequestDecoded = resolve;
      });
      decoder.end();
    } else this.#endRequest();
  }

  responseHead(head: ResponseHead): void {
    this.#facts ??= this.#open();
    this.#guard(() => {
      this.#requestId = requestIdOf(head.headers);
      this.#reader?.response(head);
      this.#openResponseDecoder(head);
    });
  }

  /** Pieces that came one after the other. */
  responseData(run: readonly Uint8Array[]): void {
    if (this.#reader === undefined || this.#isUndecodable) return;
    const decoder = this.#responseDecoder;
    if (decoder !== undefined) for (const chunk of run) decoder.push(chunk);
    else this.#guard(() => forEachJoined(run, (bytes) => this.#reader?.push(bytes)));
  }

  /** The flow goes on: what was given by reference is kept no longer. */
  hold(): void {
    this.#guardEstimate((estimate) => estimate.hold());
  }

  /** Of a response of records: whether so much has come that it is worth an event; undefined: it is no such response. */
  get isDeltaDue(): boolean | undefined {
    return this.#reader?.deltas?.isDue;
  }

  /** What came since the last call. Never throws. */
  takeDelta(): readonly Reading[] {
    let readings: readonly Reading[] = [];
    this.#guard(() => {
      readings = this.#reader?.deltas?.take() ?? [];
    });
    return readings;
  }

  /** The readings, at least one; a promise where something still has to be decoded. Never throws or rejects. */
  finish(outcome: FlowOutcome): readonly Reading[] | Promise<readonly Reading[]> {
    this.#facts ??= this.#open();
    // A request whose body has not ended is read no further; one that has is read to its end.
    if (this.#requestDecoded === undefined) this.#requestDecoder?.destroy();
    const decoded = [this.#requestDecoded, this.#endResponseDecoder()].filter((each) => each !== undefined);
    return decoded.length === 0 ? this.#readOut(outcome) : Promise.all(decoded).then(() => this.#readOut(outcome));
  }

  /**
   * The readings with better estimates, after `finish` and once: a promise where tokens are still being counted, which resolves
   * within `waitMs`. Never throws or rejects: what fails leaves the readings as they are.
   */
  conclude(readings: readonly Reading[], waitMs: number): Conclusion | Promise<Conclusion> {
    const asRead: Conclusion = { readings, canonicalInputTokens: undefined };
    const estimate = this.#estimate;
    this.#estimate = undefined;
    if (estimate === undefined) return asRead;
    const fault = (error: unknown): Conclusion => {
      reportFault(this.#options.logger, "estimate", error);
      return asRead;
    };
    try {
      const conclusion = estimate.conclude(readings, waitMs);
      return conclusion instanceof Promise ? conclusion.catch(fault) : conclusion;
    } catch (error) {
      return fault(error);
    }
  }

  #open(): FlowFacts {
    const { facts, opened } = openFlow(this.#handler, this.#head, this.#options);
    this.#reader = opened.reader;
    this.#openRequestDecoder();
    const isTextRead = this.#reader?.requestData !== undefined && this.#isRequestReadable;
    if (this.#handler.kind === "model" && isTextRead) this.#estimate = this.#options.estimator?.open();
    return facts;
  }

  #openRequestDecoder(): void {
    const coding = getHeader(this.#head.headers, "content-encoding");
    if (this.#reader?.requestData === undefined || coding === undefined) return;
    const codings = parseContentEncoding(coding);
    if (codings === undefined) this.#isRequestReadable = false;
    else if (codings.some((name) => name !== "identity")) {
      this.#requestDecoder = createDecoder({
        codings,
        onData: (chunk) => this.#readRequest(chunk),
        onEnd: () => {
          this.#endRequest();
          this.#onRequestDecoded?.();
        },
      });
    }
  }

  #openResponseDecoder(head: ResponseHead): void {
    const coding = getHeader(head.headers, "content-encoding");
    if (coding === undefined || this.#reader === undefined) return;
    const codings = parseContentEncoding(coding);
    if (codings === undefined) this.#isUndecodable = true;
    else if (codings.some((name) => name !== "identity")) {
      this.#responseDecoder = createDecoder({
        codings,
        onData: (chunk) => this.#guard(() => this.#reader?.push(chunk)),
        onEnd: (result) => {
          if (result === "corrupt" || result === "overflow") this.#isUndecodable = true;
          if (result === "truncated") this.#isCut = true;
          this.#onResponseDecoded?.();
        },
      });
    }
  }

  #readRequest(chunk: Uint8Array): void {
    this.#guard(() => this.#reader?.requestData?.(chunk));
    this.#guardEstimate((estimate) => estimate.requestData(chunk));
  }

  #endRequest(): void {
    this.#guard(() => this.#reader?.requestEnd?.());
    this.#guardEstimate((estimate) => estimate.requestEnd(this.#reader?.requestOutline?.()));
  }

  /** Undefined where nothing is decoded. */
  #endResponseDecoder(): Promise<void> | undefined {
    const decoder = this.#responseDecoder;
    if (decoder === undefined) return undefined;
    return new Promise((resolve) => {
      this.#onResponseDecoded = resolve;
      decoder.end();
    });
  }

  #readOut(outcome: FlowOutcome): readonly Reading[] {
    const reader = this.#reader;
    this.#reader = undefined;
    if (this.#hasFault) return [{ kind: "unmeasured", reason: "meter_fault" }];
    // Of a connector, a write may have had its effect though its answer was lost.
    const isLost = outcome.kind === "refused" && outcome.isAnswerLost === true && this.#handler.kind === "connector";
    if (outcome.kind === "refused" && !isLost) return [{ kind: "free", reason: outcome.code }];
    if (reader === undefined) return [{ kind: "free", reason: "nothing_billable" }];
    try {
      const readings = reader.end({ kind: outcome.kind === "refused" ? "upstream_aborted" : this.#endKind(outcome.kind) });
      return readings.length > 0 ? readings : [{ kind: "free", reason: "nothing_billable" }];
    } catch (error) {
      reportFault(this.#options.logger, this.#handler.id, error);
      return [{ kind: "unmeasured", reason: "meter_fault" }];
    }
  }

  #endKind(outcome: "complete" | "client_aborted" | "upstream_aborted"): ReadEnd["kind"] {
    if (this.#isUndecodable) return "undecodable";
    return outcome === "complete" && this.#isCut ? "upstream_aborted" : outcome;
  }

  /** Runs reader code; after a throw the reader is not called again. */
  #guard(work: () => void): void {
    if (this.#hasFault) return;
    try {
      work();
    } catch (error) {
      this.#hasFault = true;
      this.#reader = undefined;
      reportFault(this.#options.logger, this.#handler.id, error);
    }
  }

  /** After a throw the estimates stay as the reader makes them. */
  #guardEstimate(work: (estimate: FlowEstimate) => void): void {
    if (this.#estimate === undefined) return;
    try {
      work(this.#estimate);
    } catch (error) {
      this.#estimate = undefined;
      reportFault(this.#options.logger, "estimate", error);
    }
  }
}
