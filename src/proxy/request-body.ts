/** The body of a client's request on its way up: back-pressured, watched, and never able to end the client's connection. */

import type { Readable } from "node:stream";

import type { RawHeaders } from "../flow/headers.ts";
import type { BodySink, BodySource, BodyWatcher, RequestBody, RequestStream } from "./messages.ts";

/** What a streamed body is read from: a request of node:http or a stream of node:http2. */
export interface BodyOrigin {
  readonly readable: Readable;
  readonly contentLength: number | undefined;
  /** Asked when the body has ended. */
  trailers(): RawHeaders;
  /** Whether all of the body arrived; false when the connection broke inside it. Asked when the readable has closed. */
  isWhole(): boolean;
}

/** The body as a stream of pieces. Nothing is read before it is opened or discarded. */
export function streamBody(origin: BodyOrigin, watcher: BodyWatcher | undefined): RequestStream {
  const { readable, contentLength } = origin;
  let isTaken = false;
  return {
    kind: "stream",
    contentLength,
    open(sink) {
      isTaken = true;
      return pump(origin, watcher, sink);
    },
    discard() {
      if (isTaken) return;
      isTaken = true;
      readable.on("error", ignoreLate).resume();
    },
  };
}

/**
 * All of a body in one piece, where Content-Length says that it has at most so many bytes; any other is handed on as it is.
 * Calls nothing when the client goes away inside it: the exchange hears of that by itself.
 */
export function collectBody(body: RequestBody, maxBytes: number, use: (body: RequestBody) => void): void {
  if (body.kind !== "stream" || body.contentLength === undefined || body.contentLength > maxBytes) {
    use(body);
    return;
  }
  const pieces: Buffer[] = [];
  body.open({
    data(chunk) {
      pieces.push(chunk);
      return true;
    },
    end: () => use({ kind: "whole", bytes: Buffer.concat(pieces) }),
    fail: ignoreLate,
  });
}

function pump(origin: BodyOrigin, watcher: BodyWatcher | undefined, sink: BodySink): BodySource {
  const { readable } = origin;
  const onData = (chunk: Buffer): void => {
    watcher?.requestData(chunk);
    if (!sink.data(chunk)) readable.pause();
  };
  const over = (): void => void readable.off("data", onData).off("end", onEnd).off("close", onClose);
  const onEnd = (): void => {
    over();
    watcher?.requestEnd();
    sink.end(origin.trailers());
  };
  const onClose = (): void => {
    over();
    if (!origin.isWhole()) sink.fail(new Error("the client went away inside the request body"));
  };
  // The connection's own handlers do what a fault of it asks for; the pump hears of it as a close.
  readable.on("error", ignoreLate).on("data", onData).on("end", onEnd).on("close", onClose);
  return { resume: () => void readable.resume() };
}

function ignoreLate(): void {
  // Told by "close".
}
