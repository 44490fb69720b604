/**
 * How many tokens a text that streams by may have, without keeping the text: a bounded window of its beginning and
 * the number of characters in all. The heuristic runs only when it is asked, so a response that reports its usage
 * costs no estimate. tokenx, not a BPE vocabulary: those are super-linear on runs without spaces
 * (reference/model-usage.md section 11), and run in a thread of their own (tokenizer.ts).
 */

import { estimateTokenCount } from "tokenx";

export interface RunningEstimateOptions {
  /** Most characters of text that are held. Default 65536. */
  readonly windowChars?: number;
}

/** What is held of a text, and how much larger the text is. */
export interface TextSample {
  /** Not empty. */
  readonly text: string;
  /** Tokens of the sample times this are those of the text: 1 when the sample is all of it. */
  readonly scale: number;
}

/** Counts the text of one response. Memory is bounded by the window. No member shows the text to a logger or to JSON. */
export interface RunningEstimate {
  /** More text, in order. */
  add(text: string): void;
  /** More text as it stands between the quotes of a JSON string. It is decoded only when an estimate is asked for. */
  addEscaped(text: string): void;
  /** More text that is not worth holding: only its length in characters. */
  addChars(chars: number): void;
  /** The text so far was reported by the provider: what `tokens` and `rest` tell begins here. */
  reset(): void;
  /** The heuristic's tokens of the text since `reset`: an integer, 0 without text. The window's estimate, scaled to the whole length. */
  tokens(): number;
  /** The same of all text, what was reported too, from its beginning alone: to be set against a report. */
  tokensOfAll(): number;
  /** The text since `reset`, for an exact count; undefined when none of it is held. */
  rest(): TextSample | undefined;
}

const DEFAULT_WINDOW_CHARS = 65_536;

/** The heuristic looks at no more than this: 10 ms of the event loop for the window is more than it is worth. */
const HEURISTIC_CHARS = 16_384;

/** The same, of a text that is only learnt from. */
const LEARNT_CHARS = 4096;

/** Characters a token where no text is held. Section 11: bytes/4 is within a third of the truth. */
const CHARS_PER_TOKEN = 4;

/** Pieces held before they are copied into one string: a piece cut from a larger string keeps all of that alive. */
const MAX_PIECES = 64;

export function createRunningEstimate(options: RunningEstimateOptions = {}): RunningEstimate {
  return new Estimate(options.windowChars ?? DEFAULT_WINDOW_CHARS);
}

/** A class, so that what it holds is private to everything that prints or compares objects. */
class Estimate implements RunningEstimate {
  readonly #windowChars: number;
  #window = "";
  #pieces: string[] = [];
  #heldChars = 0;
  #totalChars = 0;
  /** Of `heldChars` and `totalChars`: what the provider has reported. */
  #reportedHeldChars = 0;
  #reportedChars = 0;
  #isEscaped = false;

  constructor(windowChars: number) {
    this.#windowChars = windowChars;
  }

  add(text: string): void {
    this.#totalChars += text.length;
    const room = this.#windowChars - this.#heldChars;
    if (room <= 0 || text === "") return;
    const piece = text.length <= room ? text : text.slice(0, room);
    this.#pieces.push(piece);
    this.#heldChars += piece.length;
    if (this.#pieces.length === MAX_PIECES || this.#heldChars === this.#windowChars) this.#joinPieces();
  }

  addEscaped(text: string): void {
    this.#isEscaped = true;
    this.add(text);
  }

  addChars(chars: number): void {
    if (chars > 0) this.#totalChars += chars;
  }

  reset(): void {
    this.#reportedHeldChars = this.#heldChars;
    this.#reportedChars = this.#totalChars;
  }

  tokens(): number {
    return this.#heuristic(this.#reportedHeldChars, this.#totalChars - this.#reportedChars, HEURISTIC_CHARS);
  }

  tokensOfAll(): number {
    return this.#heuristic(0, this.#totalChars, LEARNT_CHARS);
  }

  rest(): TextSample | undefined {
    const heldChars = this.#heldChars - this.#reportedHeldChars;
    if (heldChars === 0) return undefined;
    return { text: this.#textFrom(this.#reportedHeldChars, this.#heldChars), scale: (this.#totalChars - this.#reportedChars) / heldChars };
  }

  /** Of `chars` characters, of which the window has those from a place on; where it has none, by what it has of the text before them. */
  #heuristic(from: number, chars: number, maxChars: number): number {
    if (chars === 0) return 0;
    if (this.#heldChars === 0) return Math.ceil(chars / CHARS_PER_TOKEN);
    const start = from < this.#heldChars ? from : 0;
    const end = Math.min(this.#heldChars, start + maxChars);
    return Math.ceil((estimateTokenCount(this.#textFrom(start, end)) * chars) / (end - start));
  }

  #textFrom(start: number, end: number): string {
    this.#joinPieces();
    const raw = this.#window.slice(start, end);
    return this.#isEscaped ? unescape(raw) : raw;
  }

  #joinPieces(): void {
    if (this.#pieces.length === 0) return;
    this.#window += this.#pieces.join("");
    this.#pieces = [];
  }
}

/** An escape that the end of the window, or of a cut stream, has cut. */
const CUT_ESCAPE = /\\(?:u[0-9a-f]{0,3})?$/i;

function unescape(raw: string): string {
  if (!raw.includes("\\")) return raw;
  for (const candidate of [raw, raw.replace(CUT_ESCAPE, "")]) {
    try {
      const text: unknown = JSON.parse(`"${candidate}"`);
      if (typeof text === "string") return text;
    } catch {
      // Cut in an escape, or no JSON: the next candidate, or the raw form, is near enough for an estimate.
    }
  }
  return raw;
}
