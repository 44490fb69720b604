/**
 * The simulated providers' arithmetic. Token numbers follow from the request alone, so that a test can state what it
 * expects: a text of n characters (UTF-16 units) has ceil(n / 4) tokens.
 *
 * The answer is `events` pieces of eight characters ("piece00 ", two tokens each), the last one longer where more
 * characters were asked for (`bytes=N`).
 */

import type { Behaviour } from "./simulated-behaviour.ts";

const CHARACTERS_PER_TOKEN = 4;

/** Tokens of hidden reasoning whenever a request asks for thinking or reasoning. */
export const REASONING_TOKENS = 64;

export function countTokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

/** The pieces of the answer text. Endless behaviour gives pieces without end. */
export function* answerPieces(behaviour: Behaviour): Generator<string> {
  const { textBytes } = behaviour;
  const events = behaviour.isEndless ? Number.POSITIVE_INFINITY : behaviour.events;
  let written = 0;
  for (let i = 0; i < events; i++) {
    const piece = `piece${String(i % 100).padStart(2, "0")} `;
    const missing = i === events - 1 ? textBytes - written - piece.length : 0;
    written += piece.length;
    yield missing > 0 ? piece + "x".repeat(missing) : piece;
  }
}

/** The whole answer text of a behaviour that ends. */
export function answerText(behaviour: Behaviour): string {
  return [...answerPieces({ ...behaviour, isEndless: false })].join("");
}

/** Numbers what a server makes: with "msg_sim_" it is "msg_sim_0001", "msg_sim_0002" … */
export function createIdSequence(prefix: string): () => string {
  let last = 0;
  return () => `${prefix}${String(++last).padStart(4, "0")}`;
}
