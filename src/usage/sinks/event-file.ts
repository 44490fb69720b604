/**
 * Usage events as lines of JSON (NDJSON), appended to a file or written to a stream: for whoever collects logs. A line may
 * come twice after a crash, with the same id. The file is opened for each batch, so that it can be moved away at any time.
 */

import { open } from "node:fs/promises";
import type { Writable } from "node:stream";

import type { Sink, SinkBatch, SinkLimits, Verdict } from "../delivery/sink.ts";

const LIMITS: SinkLimits = { maxEvents: 1000, maxBytes: 1024 * 1024, maxWaitMs: 200, concurrency: 1 };

const LINE_END = 0x0a;

/** Appends to the file, and syncs it, before a batch counts as delivered. The file is made (0600) where it is missing. */
export function createEventFile(path: string): Sink {
  return {
    id: "file",
    limits: LIMITS,
    async send(batch) {
      try {
        await append(path, lines(batch));
        return { kind: "delivered" };
      } catch (error) {
        return retry(error);
      }
    },
    close: () => Promise.resolve(),
  };
}

/** Writes to a stream such as standard output. A batch counts as delivered when the stream has handed it on. */
export function createEventStream(stream: Writable): Sink {
  // A reader that goes away is told to each write by its callback; without a listener it would be a defect of the process.
  stream.on("error", ignore);
  return {
    id: "stdout",
    limits: LIMITS,
    send: (batch, signal) =>
      new Promise<Verdict>((resolve) => {
        const abort = (): void => resolve({ kind: "retry", reason: "aborted" });
        signal.addEventListener("abort", abort, { once: true });
        stream.write(lines(batch), (error) => {
          // The signal outlives the batch.
          signal.removeEventListener("abort", abort);
          resolve(error === null || error === undefined ? { kind: "delivered" } : retry(error));
        });
      }),
    close: () => {
      stream.off("error", ignore);
      return Promise.resolve();
    },
  };
}

function ignore(): void {
  // The write's own callback has it.
}

function lines({ events }: SinkBatch): string {
  return events.map(({ body }) => `${body}\n`).join("");
}

async function append(path: string, text: string): Promise<void> {
  const file = await open(path, "a+", 0o600);
  try {
    const { size } = await file.stat();
    // A disk that was full may have left the beginning of a line: the next begins one of its own.
    const last = Buffer.alloc(1);
    const { bytesRead } = size === 0 ? { bytesRead: 0 } : await file.read(last, 0, 1, size - 1);
    await file.appendFile(bytesRead === 1 && last[0] !== LINE_END ? `\n${text}` : text);
    await file.datasync();
  } finally {
    await file.close();
  }
}

function retry(error: unknown): Verdict {
  return { kind: "retry", reason: error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown" };
}
