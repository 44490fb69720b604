/** The body of a downstream request on its way up: back-pressured, watched, and never able to destroy the client's connection. */

import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

/** How a request's body is framed. */
export interface BodyFraming {
  readonly contentLength: number | undefined;
  readonly isChunked: boolean;
}

/** Node's parser has validated the framing: at most one of the two, a length of digits only. */
export function bodyFraming(request: IncomingMessage): BodyFraming {
  const length = request.headers["content-length"];
  return {
    contentLength: length === undefined ? undefined : Number(length),
    isChunked: request.headers["transfer-encoding"] !== undefined,
  };
}

export function hasBody(framing: BodyFraming): boolean {
  return framing.isChunked || (framing.contentLength ?? 0) > 0;
}

/** Called with each piece of the body before it goes up, and at its end. */
export interface BodyWatcher {
  requestData(chunk: Uint8Array): void;
  requestEnd(): void;
}

/** The whole body, when all of a fixed-length one has arrived already; else undefined and nothing is consumed. */
export function takeWholeBody(request: IncomingMessage, framing: BodyFraming): Buffer | undefined {
  if (framing.isChunked || request.readableLength !== framing.contentLength) return undefined;
  const whole: unknown = request.read();
  return Buffer.isBuffer(whole) && whole.length === framing.contentLength ? whole : undefined;
}

/** Streams the body. Destroying the stream (undici does, when the upstream fails) leaves the client's connection alone. */
export function streamBody(request: IncomingMessage, watcher: BodyWatcher | undefined): Readable {
  const body = new Readable({
    read: () => void request.resume(),
    destroy(error, callback) {
      request.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
      // What is left of the body is read and thrown away, so that the client can finish sending and read our answer.
      request.on("error", ignoreLate).resume();
      callback(error);
    },
  });
  const onData = (chunk: Buffer): void => {
    watcher?.requestData(chunk);
    if (!body.push(chunk)) request.pause();
  };
  const onEnd = (): void => {
    watcher?.requestEnd();
    body.push(null);
  };
  const onError = (error: Error): void => void body.destroy(error);
  const onClose = (): void => {
    if (!request.complete) body.destroy(new Error("the client went away inside the request body"));
  };
  // undici listens for as long as it works on the request only; who waits for the outcome has heard of it otherwise.
  body.on("error", ignoreLate);
  request.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose);
  request.pause();
  return body;
}

function ignoreLate(): void {
  // The exchange has ended; the connection's own close handler does what is left to do.
}
