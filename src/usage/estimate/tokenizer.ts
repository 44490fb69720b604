/**
 * Exact token counts, made in a thread of their own: js-tiktoken takes half a second to load, seconds for some texts,
 * and a few hundred megabytes. The thread is started by the first job, ended when it had none for a while, ended by
 * force when a job takes too long, and started again after it died. Jobs wait in a bounded queue. Every job gets an
 * outcome, and none of them rejects: who asks has an estimate to fall back to.
 */

import { Worker } from "node:worker_threads";
import type { EncodingName } from "./encoding-of-model.ts";
import type { CountAnswer, CountFailure, CountJob, CountSubject } from "./tokenizer-protocol.ts";

export type { CountSubject } from "./tokenizer-protocol.ts";

/**
 * Why something has no count. `too_large`: more than is held of it. `late`: nobody could wait for it any longer.
 * `worker_failed`: the thread died over it, or dies all the time.
 */
export type UncountedReason = CountFailure | "too_large" | "late" | "queue_full" | "worker_failed" | "closed";

export type CountOutcome =
  /** `messages`: entries of a chat request, 0 of other subjects. */
  | { readonly kind: "counted"; readonly tokens: number; readonly messages: number }
  | { readonly kind: "uncounted"; readonly reason: UncountedReason };

/** A job under way. */
export interface Count {
  /** Never rejects. */
  readonly outcome: Promise<CountOutcome>;
  /** Nobody wants it any more: it is not begun, and what was begun is not waited for. Idempotent. */
  cancel(): void;
}

export interface Tokenizer {
  /** Counts in turn. The body of a prompt is transferred: it is empty afterwards. An empty text takes no job. */
  count(encoding: EncodingName, subject: CountSubject): Count;
  /** Loads an encoding that will be wanted soon. Resolves when it is loaded, or cannot be; never rejects. */
  warm(encoding: EncodingName): Promise<void>;
  /** Ends the thread. What waits, and what is asked for later, has the outcome `closed`. Idempotent. */
  close(): Promise<void>;
}

export interface TokenizerOptions {
  /** The thread is ended when it had no job for this long. Default 60 s. */
  readonly idleMs?: number;
  /** The thread is not ended while it is idle: loading again would be too late for what is counted next. Default false. */
  readonly isKept?: boolean;
  /** A job that takes longer ends the thread. Default 20 s, loading an encoding included. */
  readonly maxJobMs?: number;
  /** Bounds of the queue. Default 64 jobs and 32 MiB. */
  readonly maxWaiting?: number;
  readonly maxWaitingBytes?: number;
  /** After MAX_DEATHS in a row no thread is started for this long. Default 60 s. */
  readonly restMs?: number;
  /** The thread's file, for tests. */
  readonly workerUrl?: URL;
  readonly monotonicMs?: () => number;
}

const IDLE_MS = 60_000;
const MAX_JOB_MS = 20_000;
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
const REST_MS = 60_000;

/** Threads that died without an answer between them. */
const MAX_DEATHS = 3;

/** Both encodings take about half of it; past it the thread dies alone. */
const MAX_HEAP_MB = 768;

const WORKER_URL = new URL("./tokenizer-worker.ts", import.meta.url);

/** Starts nothing yet. Neither the thread nor a timer of it keeps the process alive. */
export function createTokenizer(options: TokenizerOptions = {}): Tokenizer {
  return new WorkerTokenizer(options);
}

interface Job extends CountJob {
  readonly bytes: number;
  readonly settle: (outcome: CountOutcome) => void;
}

/** A class for its lifecycle. */
class WorkerTokenizer implements Tokenizer {
  readonly #options: Required<TokenizerOptions>;
  #waiting: Job[] = [];
  #waitingBytes = 0;
  #current: Job | undefined;
  #worker: Worker | undefined;
  #nextId = 1;
  /** Ends the thread when it is idle, or too long at one job. */
  #timer: NodeJS.Timeout | undefined;
  #deaths = 0;
  #restsUntil = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(options: TokenizerOptions) {
    this.#options = {
      idleMs: IDLE_MS,
      isKept: false,
      maxJobMs: MAX_JOB_MS,
      maxWaiting: MAX_WAITING,
      maxWaitingBytes: MAX_WAITING_BYTES,
      restMs: REST_MS,
      workerUrl: WORKER_URL,
      monotonicMs: () => performance.now(),
      ...options,
    };
  }

  count(encoding: EncodingName, subject: CountSubject): Count {
    if (subject.kind === "text" && subject.text === "") return settled({ kind: "counted", tokens: 0, messages: 0 });
    const bytes = sizeOf(subject);
    const refusal = this.#refusal(bytes);
    if (refusal !== undefined) return settled({ kind: "uncounted", reason: refusal });
    const { promise, resolve } = Promise.withResolvers<CountOutcome>();
    const job: Job = { id: this.#nextId++, encoding, subject, bytes, settle: resolve };
    this.#waiting.push(job);
    this.#waitingBytes += bytes;
    this.#proceed();
    return { outcome: promise, cancel: () => this.#cancel(job) };
  }

  async warm(encoding: EncodingName): Promise<void> {
    // A text that is not empty.
    await this.count(encoding, { kind: "text", text: "." }).outcome;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const job of this.#waiting) job.settle({ kind: "uncounted", reason: "closed" });
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#settleCurrent({ kind: "uncounted", reason: "closed" });
    await this.#end();
  }

  #refusal(bytes: number): UncountedReason | undefined {
    if (this.#isClosed) return "closed";
    if (this.#options.monotonicMs() < this.#restsUntil) return "worker_failed";
    const isFull = this.#waiting.length >= this.#options.maxWaiting || this.#waitingBytes + bytes > this.#options.maxWaitingBytes;
    return isFull ? "queue_full" : undefined;
  }

  #cancel(job: Job): void {
    job.settle({ kind: "uncounted", reason: "late" });
    const place = this.#waiting.indexOf(job);
    if (place === -1) return;
    this.#waiting.splice(place, 1);
    this.#waitingBytes -= job.bytes;
  }

  /** Gives the thread its next job, when it has none. */
  #proceed(): void {
    if (this.#current !== undefined) return;
    const job = this.#waiting.shift();
    if (job === undefined) {
      if (this.#options.isKept) clearTimeout(this.#timer);
      else this.#endAfter(this.#options.idleMs);
      return;
    }
    this.#waitingBytes -= job.bytes;
    this.#current = job;
    this.#endAfter(this.#options.maxJobMs);
    try {
      this.#worker ??= this.#start();
      const { id, encoding, subject } = job;
      this.#worker.postMessage({ id, encoding, subject } satisfies CountJob, subject.kind === "prompt" ? [subject.body.buffer] : []);
    } catch {
      // No thread can be made (memory, a limit of the system), or the body was transferred before: the estimate has to do.
      this.#settleCurrent({ kind: "uncounted", reason: "worker_failed" });
      this.#proceed();
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#options.workerUrl, {
      name: "tallyman-tokenizer",
      // A worker inherits flags that are meant for the main thread.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    worker.on("message", (answer: CountAnswer) => this.#receive(answer));
    worker.on("error", () => {
      // "exit" follows, and says all that matters here. The error may quote a text.
    });
    worker.on("exit", () => this.#onExit(worker));
    worker.unref();
    return worker;
  }

  #receive(answer: CountAnswer): void {
    if (answer.id !== this.#current?.id) return;
    this.#deaths = 0;
    const { id: _id, ...outcome } = answer;
    this.#settleCurrent(outcome.kind === "counted" ? outcome : { kind: "uncounted", reason: outcome.reason });
    this.#proceed();
  }

  #onExit(worker: Worker): void {
    // One that was ended on purpose has been forgotten before.
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#deaths += 1;
    if (this.#deaths >= MAX_DEATHS) this.#rest();
    this.#settleCurrent({ kind: "uncounted", reason: "worker_failed" });
    this.#proceed();
  }

  /** A thread that dies over every job would cost a start for each. */
  #rest(): void {
    this.#deaths = 0;
    this.#restsUntil = this.#options.monotonicMs() + this.#options.restMs;
    for (const job of this.#waiting) job.settle({ kind: "uncounted", reason: "worker_failed" });
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #settleCurrent(outcome: CountOutcome): void {
    this.#current?.settle(outcome);
    this.#current = undefined;
  }

  #endAfter(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const worker = this.#worker;
      // With a job: it is stuck, and the exit is a death.
      if (this.#current !== undefined) void worker?.terminate();
      else void this.#end();
    }, delayMs).unref();
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function settled(outcome: CountOutcome): Count {
  return { outcome: Promise.resolve(outcome), cancel: () => undefined };
}

/** In memory, at most. */
function sizeOf(subject: CountSubject): number {
  return subject.kind === "text" ? subject.text.length * 2 : subject.body.byteLength;
}
