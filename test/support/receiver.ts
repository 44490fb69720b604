/** A real webhook receiver on loopback whose answers a test decides. Verifies signatures when it knows the secret. */

import { createServer } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { Webhook } from "standardwebhooks";

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Set when the receiver has a secret and the signature is not by it. */
  readonly signatureError: string | undefined;
  /** How many requests with this webhook-id came before. */
  readonly attempt: number;
}

export interface ProgrammedAnswer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly delayMs?: number;
}

export interface ReceiverOptions {
  readonly secret?: string;
  /** Called with each whole request. "reset" breaks the connection off. Without it everything is answered 204. */
  readonly answer?: (request: ReceivedRequest) => ProgrammedAnswer | "reset";
  /** Listens with TLS. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

export interface Receiver {
  readonly url: string;
  /** Every request in order of arrival. */
  readonly requests: readonly ReceivedRequest[];
  /** The events of every request that was answered 2xx, in order. */
  events(): Record<string, unknown>[];
  close(): Promise<void>;
}

/** Starts a receiver on a free port of 127.0.0.1. */
export async function startReceiver(options: ReceiverOptions = {}): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  const accepted: string[] = [];
  const webhook = options.secret === undefined ? undefined : new Webhook(options.secret);
  const server = options.tls === undefined ? createServer() : createTlsServer(options.tls);
  server.on("request", (incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on("error", () => undefined);
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const id = incoming.headers["webhook-id"];
      const request: ReceivedRequest = {
        method: incoming.method ?? "",
        path: incoming.url ?? "",
        headers: incoming.headers,
        body,
        signatureError: webhook === undefined ? undefined : signatureErrorOf(webhook, body, incoming.headers),
        attempt: requests.filter((each) => each.headers["webhook-id"] === id).length,
      };
      requests.push(request);
      const answer = options.answer?.(request) ?? { status: 204 };
      if (answer === "reset") {
        incoming.socket.resetAndDestroy();
        return;
      }
      const send = (): void => {
        if (answer.status >= 200 && answer.status < 300) accepted.push(body);
        response.writeHead(answer.status, answer.headers).end(answer.body);
      };
      if (answer.delayMs === undefined) send();
      else setTimeout(send, answer.delayMs).unref();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The receiver listens on no port.");
  return {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${address.port}/usage`,
    requests,
    events: () => accepted.flatMap(parseEvents),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function signatureErrorOf(webhook: Webhook, body: string, headers: IncomingHttpHeaders): string | undefined {
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) if (typeof value === "string") plain[name] = value;
  try {
    webhook.verify(body, plain);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function parseEvents(body: string): Record<string, unknown>[] {
  const events: unknown = JSON.parse(body);
  if (!Array.isArray(events)) throw new TypeError("A webhook body is a JSON array.");
  return events.map((event: unknown) => {
    if (typeof event !== "object" || event === null) throw new TypeError("An event is a JSON object.");
    return { ...event };
  });
}
