/**
 * The thread side of the client: starts the worker, starts it again when it dies (bounded rate), and pairs calls with
 * their answers. Knows no SQL and no groups.
 */

import { Worker } from "node:worker_threads";
import type { Answer, Call, FromWorker, GroupMessage, ToWorker, WorkerSetup } from "./protocol.ts";
import { StoreError } from "./store-error.ts";

type Ready = Extract<FromWorker, { kind: "ready" }>;
type Notice = Extract<FromWorker, { kind: "written" | "refused" | "adopted" | "heartbeat" }>;

export interface LinkOptions {
  /** Called at every start of the worker. */
  readonly setup: () => WorkerSetup;
  /** Something the worker says by itself. */
  readonly onNotice: (notice: Notice) => void;
  /** The worker is gone; calls under way have been rejected, and a new one is on its way. */
  readonly onDown: (error: StoreError) => void;
  /** A new worker works. Not called for the first. */
  readonly onUp: (ready: Ready) => void;
}

/** Waits between two starts: doubled each time, up to the second, until a worker has lived for a minute. */
const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 10_000;
const STABLE_MS = 60_000;

/** How long the worker may take to close before it is ended by force: a crash is what the database is made for. */
const CLOSE_LIMIT_MS = 5000;

/** Sources run as they are (.ts) and as a build (.js). */
const WORKER_URL = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);

export class WorkerLink {
  readonly #options: LinkOptions;
  readonly #calls = new Map<number, PromiseWithResolvers<Answer>>();
  /** The last worker started, from then until its end. */
  #thread: Worker | undefined;
  /** The same once it is ready. */
  #worker: Worker | undefined;
  #isClosing = false;
  #nextCall = 1;
  #restarts = 0;
  #restartTimer: NodeJS.Timeout | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#worker !== undefined;
  }

  /** Starts the first worker. Rejects with the StoreError of its opening. */
  start(): Promise<Ready> {
    const { promise, resolve, reject } = Promise.withResolvers<Ready>();
    this.#spawn(resolve, reject);
    return promise;
  }

  /** Sends a group; while the worker is down it is not sent, and `onUp` is the time to send it again. */
  post(group: GroupMessage): void {
    this.#send(group);
  }

  call(call: Call): Promise<Answer> {
    if (this.#isClosing) return Promise.reject(new StoreError("store_closed", "The store is closed."));
    if (this.#worker === undefined) return Promise.reject(restarting());
    const id = this.#nextCall++;
    const answer = Promise.withResolvers<Answer>();
    this.#calls.set(id, answer);
    this.#send({ kind: "call", id, call });
    return answer.promise;
  }

  /** Ends the worker, by force if it does not end by itself. */
  async close(): Promise<void> {
    const closed = this.call({ name: "close" }).catch(() => undefined);
    this.#isClosing = true;
    clearTimeout(this.#restartTimer);
    const thread = this.#thread;
    if (thread === undefined) return;
    const exited = new Promise((resolve) => thread.once("exit", resolve));
    // One that is still starting has stored nothing and hears no calls yet.
    const limit = setTimeout(() => void thread.terminate(), this.isUp ? CLOSE_LIMIT_MS : 0);
    await closed;
    await exited;
    clearTimeout(limit);
  }

  #send(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  #spawn(onReady: (ready: Ready) => void, onFailed: (error: StoreError) => void): void {
    // SQLite in Node warns that it is experimental, and a worker inherits flags meant for the main thread.
    const worker = new Worker(WORKER_URL, {
      name: "tallyman-store",
      workerData: this.#options.setup(),
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    this.#thread = worker;
    let failure: StoreError | undefined;
    let startedAtMs: number | undefined;
    worker.on("message", (message: FromWorker) => {
      if (message.kind === "ready") {
        this.#worker = worker;
        startedAtMs = Date.now();
        onReady(message);
      } else if (message.kind === "failed") {
        failure = new StoreError(message.error.code, message.error.message);
      } else this.#receive(message);
    });
    worker.on("error", (error) => {
      const isDamage = error instanceof Error && "code" in error && error.code === "not_a_database";
      failure = new StoreError(isDamage ? "not_a_database" : "store_restarting", `The store's worker failed: ${error instanceof Error ? error.message : "no reason given"}`, error);
    });
    worker.on("exit", () => {
      this.#thread = undefined;
      if (startedAtMs === undefined) {
        onFailed(failure ?? restarting());
        return;
      }
      if (Date.now() - startedAtMs > STABLE_MS) this.#restarts = 0;
      this.#lost(failure ?? restarting());
    });
  }

  #receive(message: Exclude<FromWorker, Ready | { kind: "failed" }>): void {
    if (message.kind !== "answer" && message.kind !== "answerError") {
      this.#options.onNotice(message);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (message.kind === "answer") call?.resolve(message.answer);
    else call?.reject(new StoreError(message.error.code, message.error.message));
  }

  #lost(error: StoreError): void {
    this.#worker = undefined;
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    if (this.#isClosing) return;
    this.#options.onDown(error);
    this.#restartLater();
  }

  #restartLater(): void {
    const delayMs = Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** this.#restarts++);
    this.#restartTimer = setTimeout(() => {
      this.#spawn(
        (ready) => this.#options.onUp(ready),
        () => {
          if (!this.#isClosing) this.#restartLater();
        },
      );
    }, delayMs);
  }
}

function restarting(): StoreError {
  return new StoreError("store_restarting", "The store's worker is being started again.");
}
