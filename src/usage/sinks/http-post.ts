/**
 * One post, for every sink that speaks HTTP. Owns the HTTP client and the whole-request deadline (name resolution,
 * connection, answer); decides nothing about retries.
 */

import type { LookupFunction } from "node:net";
import { rootCertificates } from "node:tls";
import { Agent, request, type Dispatcher } from "undici";

export interface PosterOptions {
  /** http or https. A user name and password in it become a Basic Authorization header. */
  readonly url: string;
  /** Request headers of every post; an Authorization header among them is used in place of the address's. */
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Connections at once. */
  readonly concurrency: number;
  /** The program's version, for the user agent. */
  readonly version: string;
  /** PEM roots trusted beside the public ones. */
  readonly ca?: string | undefined;
  /** Name resolution; the system's unless given. */
  readonly lookup?: LookupFunction;
}

/** What an attempt came to. */
export type PostResult =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly retryAfter: string | undefined;
      /** The body of an answer that is no success, as far as it came and is kept: to be looked at, never logged or stored. */
      readonly problem: string;
    }
  /** No whole answer. `reason` is a code such as ECONNREFUSED, never an address. */
  | { readonly kind: "failed"; readonly reason: string };

export interface Poster {
  /** Posts once. Never rejects; `signal` cuts it short. `headers` go before those of the options. */
  post(body: string | Uint8Array, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<PostResult>;
  close(): Promise<void>;
}

/** How much of an answer is read before the connection is given up. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Opens the HTTP client. Redirects are not followed. */
export function createPoster(options: PosterOptions): Poster {
  const { url, authorization } = withoutCredentials(options.url);
  const agent = new Agent({
    connections: options.concurrency,
    pipelining: 1,
    connect: {
      timeout: options.timeoutMs,
      ...(options.ca === undefined ? {} : { ca: [...rootCertificates, options.ca] }),
      ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
    },
  });
  const fixed = { "user-agent": `tallyman/${options.version}`, ...authorization, ...lowerCased(options.headers) };
  return {
    async post(body, headers, signal) {
      const deadline = new AbortController();
      const timer = setTimeout(() => deadline.abort(new DOMException("deadline", "TimeoutError")), options.timeoutMs);
      // Listened to here rather than combined: what is derived from a signal alone may be collected before it fires.
      const cut = (): void => deadline.abort(signal.reason);
      if (signal.aborted) cut();
      else signal.addEventListener("abort", cut, { once: true });
      try {
        const answering = request(url, {
          dispatcher: agent,
          method: "POST",
          headers: { ...fixed, ...lowerCased(headers) },
          body,
          signal: deadline.signal,
          headersTimeout: 0,
          bodyTimeout: 0,
        });
        const answer = await untilAborted(answering, deadline.signal);
        const retryAfter = answer.headers["retry-after"];
        return {
          kind: "answered",
          status: answer.statusCode,
          retryAfter: typeof retryAfter === "string" ? retryAfter : undefined,
          problem: await readAnswer(answer),
        };
      } catch (error) {
        return { kind: "failed", reason: reasonOf(error) };
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", cut);
      }
    },
    close: () => agent.destroy(),
  };
}

/**
 * The client hears a signal only once a request has its connection (undici 8.12, lib/api/api-request.js): one that waits for a
 * name or for a connection would outlive its deadline. One that is given up here is never sent.
 */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
    // Its own end comes later and matters to nobody.
    work.catch(() => undefined);
  }
}

/** The status is the answer: a body that is long, slow or broken off changes nothing about it. */
async function readAnswer({ statusCode, body }: Dispatcher.ResponseData): Promise<string> {
  if (statusCode >= 200 && statusCode < 300) {
    await body.dump({ limit: MAX_ANSWER_BYTES }).catch(() => undefined);
    return "";
  }
  const kept: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      const piece: unknown = chunk;
      if (!Buffer.isBuffer(piece)) break;
      kept.push(piece);
      bytes += piece.length;
      if (bytes >= MAX_ANSWER_BYTES) break;
    }
  } catch {
    // What came is as good as what did not.
  }
  return Buffer.concat(kept).toString();
}

function withoutCredentials(address: string): { url: URL; authorization: Record<string, string> } {
  const url = new URL(address);
  const { username, password } = url;
  if (username === "" && password === "") return { url, authorization: {} };
  url.username = "";
  url.password = "";
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { url, authorization: { authorization: `Basic ${Buffer.from(pair).toString("base64")}` } };
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** A code, because messages of network errors hold addresses. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError") return "timeout";
  if (error.name === "AbortError") return "aborted";
  if ("code" in error && typeof error.code === "string") return error.code;
  return error.name;
}
