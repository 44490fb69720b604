/** A billing system on loopback, for sinks that post: says 200 until it is told otherwise. */

import { startReceiver, type ProgrammedAnswer, type ReceivedRequest } from "./receiver.ts";

export interface HttpTarget {
  /** Without a path. */
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
  /** The bodies of all requests. */
  received(): readonly string[];
  /** Every request gets this status from now on, or no answer. */
  answer(status: number | "hang"): void;
  breakDown(): Promise<void>;
  close(): Promise<void>;
}

const LONG_MS = 60_000;

/** `respond` decides where no status was set; without it, 200. */
export async function startHttpTarget(respond: (request: ReceivedRequest) => ProgrammedAnswer = () => ({ status: 200, body: "{}" })): Promise<HttpTarget> {
  let fixed: number | "hang" | undefined;
  const receiver = await startReceiver({
    answer: (request) => {
      if (fixed === undefined) return respond(request);
      return fixed === "hang" ? { status: 200, delayMs: LONG_MS } : { status: fixed };
    },
  });
  return {
    url: new URL(receiver.url).origin,
    requests: receiver.requests,
    received: () => receiver.requests.map(({ body }) => body),
    answer: (status) => void (fixed = status),
    breakDown: () => receiver.close(),
    close: () => receiver.close(),
  };
}
