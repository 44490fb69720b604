/**
 * HTTP/1.1 to upstreams: undici's pool holds the connections and parses the responses; the requests are written here,
 * head and body, exactly as the client sent them (undici alone would lower-case and move fields, keep a head back until
 * its body comes, and fail on an unasked 100). To undici every request is one without a body.
 */

import type { Socket } from "node:net";
import { Pool, type Dispatcher } from "undici";

import type { ResponseHead } from "../flow/flow.ts";
import type { RawHeaders } from "../flow/headers.ts";
import { formatAuthority, type Target } from "./connect-target.ts";
import { createHeadWriter, type HeadWriter, type Line, type LineUser } from "./h1-line.ts";
import type { IdleTicket, IdleWatch } from "./idle-watch.ts";
import { responseFault, safeTrailers } from "./message-checks.ts";
import type { BodySource, UpstreamCall, UpstreamListener, UpstreamRequest } from "./messages.ts";
import { LostAnswer } from "./proxy-error.ts";

/** Opens a connection to an origin; called by its pool when it wants one more. */
export type Connect = (callback: (error: Error | null, socket?: Socket) => void) => void;

/** The connections to one origin. */
export interface H1Origin {
  request(request: UpstreamRequest, listener: UpstreamListener): UpstreamCall;
  readonly isIdle: boolean;
  /** Lets running requests finish. */
  retire(): void;
  /** Ends everything at once. */
  destroy(): Promise<void>;
}

/** Connections to one origin; requests beyond wait. */
const MAX_CONNECTIONS_PER_ORIGIN = 1024;
/** An unused connection is closed after this long, or when the origin's Keep-Alive field says so earlier. */
export const IDLE_CONNECTION_MS = 15_000;
/** Response heads up to this many bytes; a larger one is 502 `upstream_protocol`. */
const MAX_RESPONSE_HEAD_BYTES = 65_536;

export function createH1Origin(scheme: "https" | "http", target: Target, connect: Connect, idle: IdleWatch): H1Origin {
  const heads = createHeadWriter();
  const pool = new Pool(`${scheme}://${formatAuthority(target)}`, {
    connections: MAX_CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: IDLE_CONNECTION_MS,
    // The idle watch does this for all versions and both directions.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: MAX_RESPONSE_HEAD_BYTES,
    connect: (_options: unknown, callback: (error: Error | null, socket: Socket | null) => void) => {
      connect((error, socket) => {
        if (error !== null || socket === undefined) callback(error ?? new Error("no socket"), null);
        else callback(null, heads.attach(socket));
      });
    },
  } as Pool.Options);
  return {
    request(request, listener) {
      const call = new H1Call(request, listener, heads, idle);
      call.dispatch(pool);
      return call;
    },
    get isIdle() {
      const { running, pending, queued } = pool.stats;
      return running + pending + queued === 0;
    },
    // What fails then was told to its own listener.
    retire: () => void pool.close().catch(() => undefined),
    destroy: () => pool.destroy(),
  };
}

type Controller = Dispatcher.DispatchController & { rawHeaders?: unknown; rawTrailers?: unknown };

/** A class for its identity: undici and the line call it back through the whole life of a request. */
class H1Call implements Dispatcher.DispatchHandler, UpstreamCall, LineUser {
  readonly request: UpstreamRequest;
  readonly #listener: UpstreamListener;
  readonly #heads: HeadWriter;
  readonly #ticket: string;
  readonly #idle: IdleTicket;
  #controller: Controller | undefined;
  #line: Line | undefined;
  #source: BodySource | undefined;
  #isBodySent: boolean;
  #isOver = false;
  /** The reason phrase of a 101, which undici does not hand over. */
  #reason = "";

  constructor(request: UpstreamRequest, listener: UpstreamListener, heads: HeadWriter, idle: IdleWatch) {
    this.request = request;
    this.#listener = listener;
    this.#heads = heads;
    this.#ticket = heads.expect(this);
    this.#idle = idle.watch(this);
    this.#isBodySent = request.body.kind !== "stream";
  }

  dispatch(pool: Pool): void {
    const { method, target, upgrade } = this.request;
    try {
      pool.dispatch(
        {
          method: method as Dispatcher.HttpMethod,
          // What stands here is never written.
          path: "/",
          headers: this.#heads.headersFor(this.#ticket, target.host),
          body: null,
          reset: false,
          ...(upgrade === undefined ? {} : { upgrade }),
        },
        this,
      );
    } catch (error) {
      queueMicrotask(() => this.#fail(error));
    }
  }

  pause(): void {
    this.#idle.pause();
    this.#controller?.pause();
  }

  resume(): void {
    this.#idle.resume();
    this.#controller?.resume();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#over();
    this.#controller?.abort(new Error("the client went away"));
  }

  onIdle(): void {
    const error = new LostAnswer("upstream_timeout", "the upstream sent nothing for TALLYMAN_UPSTREAM_IDLE_TIMEOUT");
    const controller = this.#controller;
    this.#fail(error);
    controller?.abort(error);
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    this.#idle.touch();
    if (this.#isOver) controller.abort(new Error("the client went away"));
  }

  /** The request is being written: what it is to look like is known to the line; a streamed body follows from here. */
  onLine(line: Line): void {
    this.#line = line;
    const { body } = this.request;
    if (body.kind !== "stream") return;
    const isChunked = body.contentLength === undefined;
    // After the write of the head, which is under way.
    queueMicrotask(() => {
      if (this.#isOver) return;
      this.#source = body.open({
        data: (chunk) => {
          if (this.#isOver) return true;
          this.#idle.touch();
          return isChunked ? line.writeChunk(chunk) : line.write(chunk);
        },
        end: (trailers) => {
          if (this.#isOver) return;
          this.#isBodySent = true;
          this.#idle.touch();
          if (isChunked) line.writeLastChunk(trailers);
        },
        fail: (error) => {
          if (!this.#isOver) this.#controller?.abort(error);
        },
      });
    });
  }

  onLineDrain(): void {
    this.#idle.touch();
    this.#source?.resume();
  }

  onLineInterim(head: ResponseHead): void {
    this.#idle.touch();
    if (!this.#isOver) this.#listener.onInform(head);
  }

  onLineReason(reason: string): void {
    this.#reason = reason;
  }

  onResponseStart(controller: Controller, status: number): void {
    if (this.#isOver || status < 200) return;
    this.#idle.touch();
    const headers = rawFields(controller.rawHeaders);
    const fault = responseFault(headers);
    if (fault === undefined) {
      this.#listener.onHead({ status, statusText: this.#reason, headers }, false);
      return;
    }
    const error = new LostAnswer("upstream_protocol", fault);
    this.#fail(error);
    controller.abort(error);
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    // undici hands over empty pieces after a pause.
    if (this.#isOver || chunk.length === 0) return;
    this.#idle.touch();
    this.#listener.onData(chunk);
  }

  onResponseEnd(controller: Controller): void {
    if (this.#isOver) return;
    const isUnfinished = !this.#isBodySent;
    const line = this.#line;
    this.#over();
    // The response came before all of the request had gone up: the connection cannot carry another one.
    if (isUnfinished) line?.destroy();
    this.#listener.onEnd(safeTrailers(rawFields(controller.rawTrailers)));
  }

  onRequestUpgrade(controller: Controller, status: number, _headers: unknown, socket: Socket): void {
    if (this.#isOver) {
      socket.destroy();
      return;
    }
    const head = { status, statusText: this.#reason, headers: rawFields(controller.rawHeaders) };
    this.#over();
    this.#heads.detach(socket);
    this.#listener.onUpgrade(head, socket);
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#over();
    this.#listener.onError(error);
  }

  #over(): void {
    this.#isOver = true;
    this.#idle.stop();
    this.#heads.forget(this.#ticket);
    const { body } = this.request;
    // A body that was opened goes on into a sink that ignores it.
    if (this.#source !== undefined) this.#source.resume();
    else if (body.kind === "stream") body.discard();
  }
}

/** undici's raw field list: Buffers (latin1 on the wire) or strings, name and value alternating. */
function rawFields(raw: unknown): RawHeaders {
  if (!Array.isArray(raw)) return [];
  return raw.map((part: unknown) => (Buffer.isBuffer(part) ? part.toString("latin1") : String(part)));
}
