/** One HTTP/2 connection to an origin: its bounds, the streams it has room for, and its end. */

import { connect, type ClientHttp2Session, type ClientHttp2Stream, type ClientSessionOptions, type ServerSessionOptions } from "node:http2";
import type { TLSSocket } from "node:tls";

/** Streams on one session, where the origin allows as many: what one lost connection can take with it. */
export const MAX_STREAMS_PER_SESSION = 100;
/** A session without streams is closed after this long, as an HTTP/1.1 connection is. */
export const IDLE_SESSION_MS = 15_000;
/**
 * What an origin may send on a stream ahead of the client's reading: the most that a paused response holds, and with the
 * round trip its speed. 50 MB at 0, 20 and 50 ms: 256 KiB 908, 12 and 5 MB/s; 1 MiB 863, 46 and 20 MB/s (Node 24.21).
 */
export const STREAM_WINDOW_BYTES = 512 * 1024;
/** The same for all streams of a session. Node gives it back as bytes arrive, read or not: it holds nothing. */
export const SESSION_WINDOW_BYTES = 4 * 1024 * 1024;
/**
 * Response heads and trailers up to this many bytes, counted as RFC 9113 section 6.5.2 has it, and fields. A larger one ends
 * its stream: `upstream_protocol`, or a reset where Node saw it first. One field above 64 KiB, or more than 8 CONTINUATION
 * frames, ends its session (nghttp2's own bounds).
 */
export const MAX_RESPONSE_HEAD_BYTES = 65_536;
const MAX_RESPONSE_FIELDS = 1000;

const SESSION_OPTIONS: ClientSessionOptions & Pick<ServerSessionOptions, "maxSessionInvalidFrames" | "strictSingleValueFields"> = {
  settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: MAX_RESPONSE_HEAD_BYTES },
  maxHeaderListPairs: MAX_RESPONSE_FIELDS,
  // A request's head may be as large as the front lets it be, each field with its 32 bytes of overhead.
  maxSendHeaderBlockLength: 262_144,
  // Entries of one SETTINGS frame; frames of floods are bounded by nghttp2 itself (1000 unsent acknowledgements).
  maxSettings: 32,
  maxOutstandingPings: 4,
  maxSessionInvalidFrames: 100,
  maxReservedRemoteStreams: 0,
  maxOriginSetSize: 128,
  // Megabytes: the heads of all streams at their bound, twice.
  maxSessionMemory: 16,
  // Fields that stand twice go up twice, as the client sent them.
  strictSingleValueFields: false,
};

/** Never used: each request names its authority. */
const NO_AUTHORITY = new URL("https://origin.invalid");

export interface SessionOwner {
  /** No new requests from here on. */
  onRetired(session: Http2Session): void;
  /** The socket is closed. */
  onClosed(session: Http2Session): void;
}

/** A class for its identity: socket, streams and timer call it back until the socket is closed. */
export class Http2Session {
  readonly key: string;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #socket: TLSSocket;
  readonly #http2: ClientHttp2Session;
  readonly #owner: SessionOwner;
  readonly #timer: NodeJS.Timeout;
  #streams = 0;
  #isRetired = false;

  /** Throws where the socket is not connected. */
  constructor(key: string, socket: TLSSocket, idleMs: number, owner: SessionOwner) {
    this.key = key;
    this.#socket = socket;
    this.#owner = owner;
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#onSocketClose();
        resolve();
      });
    });
    // Node listens for errors of the socket from here on and tells the session of them.
    this.#http2 = connect(NO_AUTHORITY, { ...SESSION_OPTIONS, createConnection: () => socket });
    this.#timer = setTimeout(() => this.#onTimer(), idleMs);
    this.#timer.unref();
    // Its streams tell what went wrong, each to its own listener.
    this.#http2.on("error", () => this.retire());
    this.#http2.on("close", () => this.retire());
    // The socket may be half-open (the dialer's are): Node would wait for an answer of an origin that says no more.
    socket.once("end", () => this.#http2.destroy());
    this.#http2.setLocalWindowSize(SESSION_WINDOW_BYTES);
  }

  /** Open streams; those that wait for the origin to allow more are among them. */
  get streams(): number {
    return this.#streams;
  }

  get hasRoom(): boolean {
    if (this.#isRetired || this.#http2.closed || this.#http2.destroyed || this.#socket.destroyed) return false;
    const allowed = this.#http2.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS_PER_SESSION;
    return this.#streams < Math.min(allowed, MAX_STREAMS_PER_SESSION);
  }

  /** The connection is gone or going: streams that close now do so because of it. */
  get isLost(): boolean {
    return this.#http2.destroyed || this.#socket.destroyed;
  }

  /** May throw. The stream is counted until it closes. */
  open(list: readonly string[], isEnd: boolean, hasTrailers: boolean): ClientHttp2Stream {
    const stream = this.#http2.request(list, { endStream: isEnd, waitForTrailers: hasTrailers });
    this.#streams += 1;
    stream.once("close", () => {
      this.#streams -= 1;
      if (this.#streams === 0) this.#timer.refresh();
    });
    return stream;
  }

  /** Takes no new requests; those under way finish, then it closes. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#owner.onRetired(this);
    this.#http2.close();
    this.#timer.refresh();
  }

  destroy(): void {
    this.#isRetired = true;
    this.#http2.destroy();
    this.#socket.destroy();
  }

  /** Without streams for so long. First in good order; the next time for good. */
  #onTimer(): void {
    if (this.#streams > 0) return;
    if (this.#http2.destroyed) {
      this.#socket.destroy();
      return;
    }
    this.#isRetired = true;
    this.#owner.onRetired(this);
    this.#http2.destroy();
    this.#timer.refresh();
  }

  #onSocketClose(): void {
    clearTimeout(this.#timer);
    this.#isRetired = true;
    this.#owner.onClosed(this);
  }
}
