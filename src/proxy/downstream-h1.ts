/**
 * One request of an HTTP/1.x client on node:http, and the way back to it. The head goes out as the upstream sent it;
 * the framing of a body is ours: one write for a piece, where node makes three.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

import type { ResponseHead } from "../flow/flow.ts";
import { getHeader, without, type RawHeaders } from "../flow/headers.ts";
import { formatChunk, formatLastChunk, formatResponseHead } from "./h1-syntax.ts";
import { lingerAtEnd } from "./last-answer.ts";
import { safeTrailers } from "./message-checks.ts";
import type { BodyWatcher, Downstream, RequestBody, ResponseBodyKind } from "./messages.ts";
import { streamBody } from "./request-body.ts";

/** A larger piece is not copied to leave with its head. */
const MAX_JOINED_BYTES = 16_384;

/** A class for its identity: node calls it back through the whole life of the exchange. */
export class H1Downstream implements Downstream {
  readonly version: "1.0" | "1.1";
  readonly method: string;
  readonly headers: RawHeaders;
  readonly isChunked: boolean;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #contentLength: number | undefined;
  #isChunkedDown = false;
  #isFramed = true;
  #hasHeadLeft = false;
  /** True until the client has been told that it may send the body that it holds back. */
  #isContinueAwaited: boolean;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    this.version = request.httpVersionMinor === 0 ? "1.0" : "1.1";
    this.method = request.method ?? "GET";
    this.headers = request.rawHeaders;
    // Node's parser has validated the framing: at most one of the two, a length of digits only.
    const length = request.headers["content-length"];
    this.#contentLength = length === undefined ? undefined : Number(length);
    this.isChunked = request.headers["transfer-encoding"] !== undefined;
    this.#isContinueAwaited = request.headers.expect !== undefined;
  }

  takeBody(watcher: BodyWatcher | undefined, use: (body: RequestBody) => void): void {
    if (!this.isChunked && (this.#contentLength ?? 0) === 0) {
      watcher?.requestEnd();
      use({ kind: "none" });
    } else if (this.#request.complete) this.#takeRest(watcher, use);
    // Node drains its ticks inside of the parsing of chunks: only in the next turn is it known that none of a read is malformed.
    else if (this.isChunked) setImmediate(() => this.#takeRest(watcher, use));
    // A small body is in the same read as its head: it is there when the parser has returned.
    else process.nextTick(() => this.#takeRest(watcher, use));
  }

  #takeRest(watcher: BodyWatcher | undefined, use: (body: RequestBody) => void): void {
    const request = this.#request;
    const bytes: unknown = !this.isChunked && request.readableLength === this.#contentLength ? request.read() : undefined;
    if (Buffer.isBuffer(bytes) && bytes.length === this.#contentLength) {
      watcher?.requestData(bytes);
      watcher?.requestEnd();
      use({ kind: "whole", bytes });
      return;
    }
    const contentLength = this.isChunked ? undefined : this.#contentLength;
    use(streamBody({ readable: request, contentLength, trailers: () => safeTrailers(request.rawTrailers), isWhole: () => request.complete }, watcher));
  }

  onClose(listener: () => void): void {
    this.#response.once("close", listener);
  }

  inform(head: ResponseHead): void {
    if (head.status === 100) this.#isContinueAwaited = false;
    // Behind another response on a pipelined connection there is no socket yet: an interim response may be left out.
    if (this.version !== "1.0") this.#response.socket?.write(formatResponseHead(head), "latin1");
  }

  start(head: ResponseHead, body: ResponseBodyKind): void {
    const response = this.#response;
    const fields = [...head.headers];
    this.#isChunkedDown = body.kind === "open" && this.version !== "1.0";
    this.#isFramed = body.kind !== "open" || this.#isChunkedDown;
    if (this.#isChunkedDown) fields.push("Transfer-Encoding", "chunked");
    // Whether the client sends its body after a final answer is its choice: nothing can follow on the connection.
    if (this.#isContinueAwaited && !this.#request.complete) fields.push("Connection", "close");
    response.sendDate = false;
    // Node throws at a Trailer field beside a framing that can have none.
    const isTrailerLegal = this.#isChunkedDown || getHeader(fields, "trailer") === undefined;
    response.writeHead(head.status, head.statusText, isTrailerLegal ? fields : without(fields, "trailer"));
    // Node keeps a head until end(): one without a body is the last byte of its response.
    if (body.kind === "none") return;
    if (this.#isChunkedDown) response.chunkedEncoding = false;
    // A head whose body is in the same read leaves with it; any other at the end of this turn.
    process.nextTick(H1Downstream.#flushHead, this);
  }

  write(chunk: Buffer): boolean {
    const response = this.#response;
    if (this.#leavesWithHead(chunk)) {
      const text = chunk.toString("latin1");
      return response.write(this.#isChunkedDown ? `${chunk.length.toString(16)}\r\n${text}\r\n` : text, "latin1");
    }
    return response.write(this.#isChunkedDown ? formatChunk(chunk) : chunk);
  }

  onDrain(listener: () => void): void {
    this.#response.once("drain", listener);
  }

  end(last: Buffer | undefined, trailers: RawHeaders): void {
    const response = this.#response;
    if (response.destroyed) return;
    this.#lingerUnlessRead();
    try {
      if (this.#isChunkedDown) response.end(formatLastChunk(trailers), "latin1");
      else if (last === undefined) response.end();
      else if (this.#leavesWithHead(last)) response.end(last.toString("latin1"), "latin1");
      else response.end(last);
      this.#hasHeadLeft = true;
    } catch {
      // Called from a promise: a throw would end the process. A response that cannot be ended is broken off.
      response.destroy();
    }
  }

  /** Whether a piece is to be written as a text: node writes a head and a text at once, a head and bytes apart. After it the head has left. */
  #leavesWithHead(chunk: Buffer): boolean {
    const isFirst = !this.#hasHeadLeft;
    this.#hasHeadLeft = true;
    return isFirst && chunk.length <= MAX_JOINED_BYTES;
  }

  static #flushHead(downstream: H1Downstream): void {
    const response = downstream.#response;
    if (downstream.#hasHeadLeft || response.destroyed || response.writableEnded) return;
    downstream.#hasHeadLeft = true;
    // flushHeaders() would write the head in UTF-8.
    response.write("", "latin1");
  }

  /**
   * Where the response says how long it is, what was written leaves first. Where only the close tells its end (HTTP/1.0),
   * an orderly one would tell that it is whole: the connection is cut.
   */
  breakOff(): void {
    const socket = this.#response.socket;
    if (socket === null) this.#response.destroy();
    else if (this.#isFramed) socket.end(() => socket.destroy());
    else if (socket instanceof TLSSocket) socket.destroy();
    else socket.resetAndDestroy();
  }

  answer(status: number, headers: RawHeaders, body: string): void {
    const response = this.#response;
    if (response.destroyed) return;
    // A request body that nobody reads would block the connection: it is not used again.
    const closing = this.#request.complete || getHeader(headers, "connection") !== undefined ? [] : ["connection", "close"];
    this.#request.resume();
    response.sendDate = false;
    response.writeHead(status, [...headers, ...closing]);
    this.#lingerUnlessRead();
    response.end(body);
  }

  /** A client that is still sending its body must be able to read an answer, should that end its connection. */
  #lingerUnlessRead(): void {
    const { socket } = this.#response;
    if (socket !== null && !this.#request.complete) lingerAtEnd(socket);
  }

  reset(): boolean {
    return false;
  }

  switchProtocols(head: ResponseHead): Duplex {
    const socket = this.#request.socket;
    this.#response.detachSocket(socket);
    socket.write(formatResponseHead(head), "latin1");
    return socket;
  }
}
