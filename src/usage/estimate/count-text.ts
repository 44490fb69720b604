/**
 * Counts tokens exactly with one of OpenAI's encodings, by js-tiktoken. Slow to load, large, and slow on long words:
 * for the tokenizer's own thread only (tokenizer-worker.ts).
 *
 * An encoding splits a text into pieces (words, numbers, runs of punctuation or of white space) and merges the bytes
 * of each. js-tiktoken's merging takes the square of a piece's length, and more, so the pieces are given to it one by one: each
 * different one once, those of unnatural length in parts, and of the whole no more than a fixed amount of work. Special
 * tokens are plain text: a piece never holds a whole one.
 */

import { Tiktoken } from "js-tiktoken/lite";
import type { EncodingName } from "./encoding-of-model.ts";

/** What a count may cost, shared by the texts of one job. Starts at MAX_WORK. */
export interface WorkBudget {
  left: number;
}

export interface TextCounter {
  /** Tokens of a text, 0 of an empty one. Throws TooCostly when the budget is used up. */
  count(text: string, work: WorkBudget): number;
}

/** The text is not worth its count: it is all long words. */
export class TooCostly extends Error {
  override readonly name = "TooCostly";
}

/**
 * Longest piece that is counted whole, in UTF-16 units: no word of a language and no line of code has one. A longer one is cut, which
 * makes at most a token a cut.
 */
const MAX_PIECE_CHARS = 128;

/** Squared bytes of the pieces that a job has merged: two to three seconds. 4 MiB of English and 1 MiB of Chinese stay below it. */
export const MAX_WORK = 40_000_000;

/** Loads an encoding: a quarter of a second (cl100k_base) to half a second, and 80 to 150 MB. */
export async function loadTextCounter(name: EncodingName): Promise<TextCounter> {
  const ranks = await RANKS[name]();
  const encoding = new Tiktoken(ranks);
  return new PieceCounter(encoding, new RegExp(ranks.pat_str, "gu"));
}

const RANKS = {
  cl100k_base: async () => (await import("js-tiktoken/ranks/cl100k_base")).default,
  o200k_base: async () => (await import("js-tiktoken/ranks/o200k_base")).default,
};

/** A class for its encoding, which all counts share. */
class PieceCounter implements TextCounter {
  readonly #encoding: Tiktoken;
  readonly #pieces: RegExp;

  constructor(encoding: Tiktoken, pieces: RegExp) {
    this.#encoding = encoding;
    this.#pieces = pieces;
  }

  count(text: string, work: WorkBudget): number {
    // Of this text only: what users write is not kept from one count to the next.
    const known = new Map<string, number>();
    let tokens = 0;
    for (const [piece] of text.matchAll(this.#pieces)) {
      if (piece.length <= MAX_PIECE_CHARS) tokens += this.#countPiece(piece, known, work);
      else for (const part of partsOf(piece)) tokens += this.#countPiece(part, known, work);
    }
    return tokens;
  }

  #countPiece(piece: string, known: Map<string, number>, work: WorkBudget): number {
    const before = known.get(piece);
    if (before !== undefined) return before;
    work.left -= Buffer.byteLength(piece) ** 2;
    if (work.left < 0) throw new TooCostly();
    const tokens = this.#encoding.encode(piece, [], []).length;
    known.set(piece, tokens);
    return tokens;
  }
}

/** A long piece in parts, none of which ends inside a character. */
function* partsOf(piece: string): Generator<string> {
  let from = 0;
  while (from < piece.length) {
    const end = from + MAX_PIECE_CHARS;
    const isInPair = end < piece.length && isHighSurrogate(piece.charCodeAt(end - 1));
    yield piece.slice(from, isInPair ? end - 1 : end);
    from = isInPair ? end - 1 : end;
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
