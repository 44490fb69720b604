/**
 * permessage-deflate (RFC 7692): reading what was negotiated, and inflating one message after the other, at once, on
 * this thread, so that a message is known at the moment when its last byte passes.
 *
 * Context takeover without a lasting zlib stream: what a message may refer back to is the output before it, so each one
 * is inflated by itself with the last output of its predecessors as dictionary (32 KiB at most). 8–15 µs a small message.
 */

import { constants, inflateRawSync } from "node:zlib";

/** How one direction is compressed. */
export interface DeflateParameters {
  /** Messages may refer back to those before them. */
  readonly contextTakeover: boolean;
  /** Base-2 logarithm of the sender's window: 8 to 15. */
  readonly maxWindowBits: number;
}

/** The extensions in force. undefined: the direction is not compressed. */
export interface NegotiatedExtensions {
  readonly client: DeflateParameters | undefined;
  readonly server: DeflateParameters | undefined;
}

const UNCOMPRESSED: NegotiatedExtensions = { client: undefined, server: undefined };
const DEFAULT_WINDOW_BITS = 15;

/**
 * Reads the `Sec-WebSocket-Extensions` of the 101 response (several fields joined by commas). `unknown_extension`: one
 * is not permessage-deflate, or that one is repeated or has parameters that RFC 7692 section 7.1 does not know: nobody
 * can tell what the payload is.
 */
export function readExtensions(value: string | undefined): NegotiatedExtensions | "unknown_extension" {
  const elements = (value ?? "").split(",").map((element) => element.trim()).filter((element) => element !== "");
  const [element, ...others] = elements;
  if (element === undefined) return UNCOMPRESSED;
  const [name, ...parameters] = element.split(";").map((part) => part.trim());
  if (others.length > 0 || name !== "permessage-deflate") return "unknown_extension";
  return readDeflate(parameters) ?? "unknown_extension";
}

function readDeflate(texts: readonly string[]): NegotiatedExtensions | undefined {
  const parameters = new Map<string, string | undefined>();
  for (const text of texts) {
    const [name = "", ...value] = text.split("=").map((part) => part.trim());
    if (parameters.has(name) || !isParameter(name, value)) return undefined;
    parameters.set(name, value[0]);
  }
  const of = (sender: "client" | "server"): DeflateParameters => ({
    contextTakeover: !parameters.has(`${sender}_no_context_takeover`),
    maxWindowBits: Number(parameters.get(`${sender}_max_window_bits`)?.replaceAll('"', "") ?? DEFAULT_WINDOW_BITS),
  });
  return { client: of("client"), server: of("server") };
}

const FLAG = /^(?:client|server)_no_context_takeover$/;
const WINDOW_BITS = /^(?:client|server)_max_window_bits$/;
/** RFC 6455 section 9.1: a value is a token, and may be quoted. */
const WINDOW_BITS_VALUE = /^(?:[89]|1[0-5]|"(?:[89]|1[0-5])")$/;

function isParameter(name: string, value: readonly string[]): boolean {
  if (FLAG.test(name)) return value.length === 0;
  return WINDOW_BITS.test(name) && value.length === 1 && WINDOW_BITS_VALUE.test(value[0] as string);
}

/**
 * `window_lost`: the message refers back to output of a message that was too large to inflate. `inflate_failed`: it is
 * no DEFLATE data, or refers back further than there ever was output.
 */
export type InflateFault = "inflate_failed" | "window_lost";

export type Inflated =
  | { readonly kind: "inflated"; readonly bytes: Uint8Array }
  /** It has more output than allowed. Work stopped at the bound. */
  | { readonly kind: "oversized" }
  | { readonly kind: "fault"; readonly reason: InflateFault };

/** Inflates the messages of one direction. */
export interface MessageInflater {
  /** `payload`: the compressed message's whole payload as sent, without a mask. Never throws. */
  inflate(payload: Uint8Array): Inflated;
  /** A compressed message passed that was not held: its output is missing from the window. */
  skip(): void;
  /** At most the sender's window, 32 KiB. */
  readonly heldBytes: number;
}

/** Makes an inflater that gives out at most `maxMessageBytes` a message. While it works it takes twice that. */
export function createMessageInflater(parameters: DeflateParameters, maxMessageBytes: number): MessageInflater {
  return new Inflater(parameters, maxMessageBytes);
}

/**
 * A final block ends the stream for zlib, but not the message (RFC 7692 section 7.2.3.5). Senders put one at its end, if
 * any; each takes an engine of its own, so that a message of final blocks only would be slow to read.
 */
const MAX_STREAMS_PER_MESSAGE = 4;

class Inflater implements MessageInflater {
  private readonly contextTakeover: boolean;
  private readonly windowBits: number;
  private readonly maxMessageBytes: number;
  private readonly window: Window;
  /** The window lacks output that came before what is in it. */
  private isWindowLost = false;

  constructor(parameters: DeflateParameters, maxMessageBytes: number) {
    this.contextTakeover = parameters.contextTakeover;
    this.windowBits = parameters.maxWindowBits;
    this.maxMessageBytes = maxMessageBytes;
    this.window = new Window(2 ** this.windowBits);
  }

  get heldBytes(): number {
    return this.window.heldBytes;
  }

  inflate(payload: Uint8Array): Inflated {
    if (isEmptyBlock(payload)) return { kind: "inflated", bytes: NOTHING };
    try {
      const bytes = this.inflateStreams(payload);
      if (!this.contextTakeover) this.window.clear();
      return { kind: "inflated", bytes };
    } catch (error) {
      if (!isTooLarge(error)) return { kind: "fault", reason: this.isWindowLost ? "window_lost" : "inflate_failed" };
      this.skip();
      return { kind: "oversized" };
    }
  }

  skip(): void {
    this.window.clear();
    this.isWindowLost = this.contextTakeover;
  }

  /** Throws as zlib does. */
  private inflateStreams(payload: Uint8Array): Uint8Array {
    const parts: Uint8Array[] = [];
    let rest = payload;
    let room = this.maxMessageBytes;
    for (let count = 0; count < MAX_STREAMS_PER_MESSAGE; count++) {
      const { output, inputBytes } = inflateStream(rest, this.windowBits, this.window.view(), room);
      rest = rest.subarray(inputBytes);
      room -= output.length;
      parts.push(output);
      if (this.contextTakeover || rest.length > 0) this.remember(output);
      if (rest.length === 0) return parts.length === 1 ? output : Buffer.concat(parts);
    }
    throw new Error("too many final blocks");
  }

  private remember(output: Uint8Array): void {
    this.window.push(output);
    if (this.window.isFull) this.isWindowLost = false;
  }
}

const NOTHING = new Uint8Array(0);

/** What senders make of an empty message (section 7.2.3.6), or nothing at all: not worth an engine. */
function isEmptyBlock(payload: Uint8Array): boolean {
  return payload.length === 0 || (payload.length === 1 && payload[0] === 0);
}

interface InflatedStream {
  readonly output: Uint8Array;
  /** Input taken: less than all of it when a final block was met. */
  readonly inputBytes: number;
}

/**
 * The tail that the sender took off (section 7.2.1) is not put back: it is the rest of an empty block, and Z_SYNC_FLUSH
 * gives out everything before it. Throws what zlib throws.
 */
function inflateStream(input: Uint8Array, windowBits: number, dictionary: Uint8Array | undefined, maxOutputBytes: number): InflatedStream {
  const result: unknown = inflateRawSync(input, {
    windowBits,
    finishFlush: constants.Z_SYNC_FLUSH,
    // zlib wants room for one byte at least.
    maxOutputLength: Math.max(1, maxOutputBytes),
    info: true,
    ...(dictionary === undefined ? {} : { dictionary }),
  });
  if (!isInfo(result)) throw new TypeError("zlib gave no info");
  if (result.buffer.length > maxOutputBytes) throw Object.assign(new RangeError("no room"), { code: TOO_LARGE });
  return { output: result.buffer, inputBytes: result.engine.bytesWritten };
}

/** What `info: true` makes of a result (Node's zlib documentation); the types of Node do not know it. */
interface InflateInfo {
  readonly buffer: Uint8Array;
  readonly engine: { readonly bytesWritten: number };
}

function isInfo(value: unknown): value is InflateInfo {
  if (typeof value !== "object" || value === null || !("buffer" in value) || !("engine" in value)) return false;
  const { buffer, engine } = value;
  return buffer instanceof Uint8Array && typeof engine === "object" && engine !== null && "bytesWritten" in engine;
}

const TOO_LARGE = "ERR_BUFFER_TOO_LARGE";

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === TOO_LARGE;
}

/** The last output, as much as the sender can refer to. Grows with what there is. */
class Window {
  private readonly maxBytes: number;
  private bytes = new Uint8Array(0);
  private length = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.length === this.maxBytes;
  }

  get heldBytes(): number {
    return this.bytes.length;
  }

  /** Only valid until the next push. undefined: there is nothing to refer to. */
  view(): Uint8Array | undefined {
    return this.length === 0 ? undefined : this.bytes.subarray(0, this.length);
  }

  push(output: Uint8Array): void {
    const added = output.length > this.maxBytes ? output.subarray(output.length - this.maxBytes) : output;
    const dropped = Math.max(0, this.length + added.length - this.maxBytes);
    this.reserve(this.length - dropped + added.length);
    this.bytes.copyWithin(0, dropped, this.length);
    this.bytes.set(added, this.length - dropped);
    this.length += added.length - dropped;
  }

  clear(): void {
    this.bytes = new Uint8Array(0);
    this.length = 0;
  }

  private reserve(neededBytes: number): void {
    if (neededBytes <= this.bytes.length) return;
    const grown = new Uint8Array(Math.min(this.maxBytes, Math.max(neededBytes, 2 * this.bytes.length)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
