/**
 * Recognizes the events of a stream that differ from one that was read in nothing but their text: nearly all of them do,
 * and four comparisons cost a fraction of the searches for what else an event may hold. Bounded: holds the bytes around
 * one text.
 */

import { deltaText, endOfString, type TextPlace } from "./delta-text.ts";

export interface PlainDeltas {
  /**
   * The text of an event, as it stands between its quotes; undefined: the event has to be read. An event has a text here when it
   * is the learnt one with other strings in two places: its text and, at its very end, its padding.
   */
  textOf(data: string): string | undefined;
  /** The event was read, and holds nothing of worth but the text that `deltaText` finds by these members. */
  learn(data: string, members: readonly string[]): void;
}

/** Streams whose events differ in more (numbers, times) are not tried for ever: each event of them would be learnt in vain. */
const MAX_MISSES = 8;

/** A larger event is not worth being held. */
const MAX_LEARNT_CHARS = 4096;

/** The padding (OpenAI `obfuscation`, Bedrock `p`) is the last member of the event. */
const PADDING_END = '"}';

export function createPlainDeltas(): PlainDeltas {
  let head = "";
  /** Between text and padding; without padding all that follows the text. */
  let middle = "";
  /** Behind the padding; empty without one. */
  let tail = "";
  let misses = 0;

  const find = (data: string): string | undefined => {
    if (data.slice(0, head.length) !== head) return undefined;
    const end = endOfString(data, head.length);
    const middleEnd = end + middle.length;
    if (end <= head.length || data.slice(end, middleEnd) !== middle) return undefined;
    if (data.slice(tail === "" ? middleEnd : endOfString(data, middleEnd)) !== tail) return undefined;
    return data.slice(head.length, end);
  };

  return {
    textOf(data) {
      if (head === "" || misses > MAX_MISSES) return undefined;
      const text = find(data);
      misses = text === undefined ? misses + 1 : 0;
      return text;
    },
    learn(data, members) {
      if (misses > MAX_MISSES || data.length > MAX_LEARNT_CHARS) return;
      const place = deltaText(data, members);
      if (place === undefined) return;
      const padding = paddingOf(data, place);
      head = detached(data.slice(0, place.start));
      middle = detached(data.slice(place.end, padding?.start));
      tail = padding === undefined ? "" : detached(data.slice(padding.end));
    },
  };
}

/** The string that ends the event, where that is not its text. */
function paddingOf(data: string, text: TextPlace): TextPlace | undefined {
  if (!data.endsWith(PADDING_END)) return undefined;
  const end = data.length - PADDING_END.length;
  const start = data.lastIndexOf('"', end - 1) + 1;
  return start > text.end + 1 ? { start, end } : undefined;
}

/** A copy: a slice keeps all that it was cut from in memory. */
function detached(text: string): string {
  return ` ${text}`.slice(1);
}
