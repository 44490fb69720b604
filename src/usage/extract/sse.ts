/**
 * Server-sent events out of bytes: eventsource-parser behind one streaming TextDecoder, with a bound on what is held
 * and a defined end. Knows nothing of what an event means. (reference/model-usage.md sections 3.2 and 12.)
 */

import { createParser } from "eventsource-parser";

/** One event that has data. Comments, ids, retry times and events without data are not reported. */
export interface SseEvent {
  /** The `event` field; undefined when absent or empty. */
  readonly event: string | undefined;
  /** The `data` lines, joined by "\n". */
  readonly data: string;
}

export interface SseReaderOptions {
  /** Called inside `push` or `end`, in stream order. */
  readonly onEvent: (event: SseEvent) => void;
  /** Most characters held of an event that is not yet whole. Default 16 MiB (terminal events repeat the whole output). */
  readonly maxEventChars?: number;
  /** Called once, when an event is larger than that. Nothing is reported after it. */
  readonly onOverflow?: () => void;
}

/** Reads one stream. Memory is bounded by `maxEventChars`. */
export interface SseReader {
  /**
   * Takes bytes cut anywhere; they are not kept. What `onEvent` throws is thrown from here, the first error of
   * several, after the rest of the chunk was read: the reader stays usable.
   */
  push(chunk: Uint8Array): void;
  /** Reports a last event that lacks its blank line. Idempotent; a `push` after it is ignored. Throws as `push` does. */
  end(): void;
  /** An event was too large; reading stopped there. */
  readonly hasOverflowed: boolean;
  /** True after `end` when the last event lacked its blank line: it was reported, and its data may be cut. */
  readonly endedInsideEvent: boolean;
}

const DEFAULT_MAX_EVENT_CHARS = 16 * 1024 * 1024;

/** Makes a reader for one stream. */
export function createSseReader(options: SseReaderOptions): SseReader {
  return new EventReader(options);
}

class EventReader implements SseReader {
  hasOverflowed = false;
  endedInsideEvent = false;
  private readonly options: SseReaderOptions;
  private readonly decoder = new TextDecoder();
  private readonly parser: { feed(text: string): void };
  private isClosed = false;
  private isEnding = false;
  /** What onEvent threw: held until the parser returned, because a throw through it leaves it half way in an event. */
  private thrown: { readonly error: unknown } | undefined;

  constructor(options: SseReaderOptions) {
    this.options = options;
    this.parser = createParser({
      onEvent: (message) => this.report(message.event, message.data),
      onError: (error) => {
        if (error.type === "max-buffer-size-exceeded") this.overflow();
      },
      maxBufferSize: options.maxEventChars ?? DEFAULT_MAX_EVENT_CHARS,
    });
  }

  push(chunk: Uint8Array): void {
    if (!this.isClosed) this.feed(this.decoder.decode(chunk, { stream: true }));
  }

  end(): void {
    if (this.isClosed) return;
    this.isEnding = true;
    try {
      this.feed(`${this.decoder.decode()}\n\n`);
    } finally {
      this.isClosed = true;
    }
  }

  private feed(text: string): void {
    this.parser.feed(text);
    if (this.thrown === undefined) return;
    const { error } = this.thrown;
    this.thrown = undefined;
    throw error;
  }

  private report(event: string | undefined, data: string): void {
    if (this.isEnding) this.endedInsideEvent = true;
    try {
      this.options.onEvent({ event, data });
    } catch (error) {
      this.thrown ??= { error };
    }
  }

  /** The parser has dropped what it held and would throw on the next feed: it gets none. */
  private overflow(): void {
    this.hasOverflowed = true;
    this.isClosed = true;
    try {
      this.options.onOverflow?.();
    } catch (error) {
      this.thrown ??= { error };
    }
  }
}
