/**
 * How many tokens a text that streams by may have, without keeping the text: a bounded window of its beginning and
 * the number of characters in all. The heuristic runs only when it is asked, so a response that reports its usage
 * costs no estimate. tokenx, not a BPE vocabulary: those are super-linear on runs without spaces
 * (reference/model-usage.md section 11).
 */

import { estimateTokenCount } from "tokenx";

export interface RunningEstimateOptions {
  /** Most characters of text that are held. Default 16384. */
  readonly windowChars?: number;
}

/** Counts the text of one response. Memory is bounded by the window. */
export interface RunningEstimate {
  /** More text, in order. */
  add(text: string): void;
  /** More text as it stands between the quotes of a JSON string. It is decoded only when an estimate is asked for. */
  addEscaped(text: string): void;
  /** More text that is not worth holding: only its length in characters. */
  addChars(chars: number): void;
  /** Tokens of all text so far: an integer, 0 without text. The window's estimate, scaled to the whole length. */
  tokens(): number;
  /** Forgets everything: the text so far was reported by the provider. */
  reset(): void;
}

const DEFAULT_WINDOW_CHARS = 16_384;

/** Characters a token where no text is held. Section 11: bytes/4 is within a third of the truth. */
const CHARS_PER_TOKEN = 4;

/** Pieces held before they are copied into one string: a piece cut from a larger string keeps all of that alive. */
const MAX_PIECES = 64;

export function createRunningEstimate(options: RunningEstimateOptions = {}): RunningEstimate {
  const windowChars = options.windowChars ?? DEFAULT_WINDOW_CHARS;
  let window = "";
  let pieces: string[] = [];
  let heldChars = 0;
  let totalChars = 0;
  let isEscaped = false;

  function hold(text: string): void {
    totalChars += text.length;
    const room = windowChars - heldChars;
    if (room <= 0 || text === "") return;
    const piece = text.length <= room ? text : text.slice(0, room);
    pieces.push(piece);
    heldChars += piece.length;
    if (pieces.length === MAX_PIECES || heldChars === windowChars) joinPieces();
  }

  function joinPieces(): void {
    window += pieces.join("");
    pieces = [];
  }

  return {
    add: hold,
    addEscaped(text) {
      isEscaped = true;
      hold(text);
    },
    addChars(chars) {
      if (chars > 0) totalChars += chars;
    },
    tokens() {
      if (totalChars === 0) return 0;
      if (heldChars === 0) return Math.ceil(totalChars / CHARS_PER_TOKEN);
      joinPieces();
      const text = isEscaped ? unescape(window) : window;
      return Math.ceil((estimateTokenCount(text) * totalChars) / heldChars);
    },
    reset() {
      window = "";
      pieces = [];
      heldChars = 0;
      totalChars = 0;
      isEscaped = false;
    },
  };
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
