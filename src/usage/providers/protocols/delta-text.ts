/**
 * Takes the text out of a stream's delta event without parsing it: JSON.parse of every event is what metering a
 * stream costs (reference/model-usage.md section 12). The text only feeds an estimate and is not kept.
 */

import type { RunningEstimate } from "../../estimate/running-estimate.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;

/** A text that is cut from a larger event than this is counted, not held: it would keep the whole event alive. */
const MAX_HELD_EVENT_CHARS = 16_384;

/** Where a string stands between its quotes. */
export interface TextPlace {
  readonly start: number;
  readonly end: number;
}

/**
 * Adds the value of the first of the members that is a non-empty string. `members` are names followed by `":`, such
 * as `content":`; without the opening quote, as a search that starts with a rare character is five times as fast.
 */
export function addDeltaText(estimate: RunningEstimate, data: string, members: readonly string[]): void {
  const place = deltaText(data, members);
  if (place !== undefined) addEventText(estimate, data.slice(place.start, place.end), data.length);
}

/** Adds a text that was cut from an event of so many characters. */
export function addEventText(estimate: RunningEstimate, text: string, eventChars: number): void {
  if (eventChars > MAX_HELD_EVENT_CHARS) estimate.addChars(text.length);
  else estimate.addEscaped(text);
}

/** Where the first of the members stands that is a non-empty string. */
export function deltaText(data: string, members: readonly string[]): TextPlace | undefined {
  for (const member of members) {
    const place = stringPlace(data, member);
    if (place !== undefined && place.end > place.start) return place;
  }
  return undefined;
}

/**
 * The first such member, at any depth, that is a string: what stands between its quotes, escapes as they are. A cut
 * last string is taken as far as it goes.
 */
export function stringMember(data: string, member: string): string | undefined {
  const place = stringPlace(data, member);
  return place === undefined ? undefined : data.slice(place.start, place.end);
}

function stringPlace(data: string, member: string): TextPlace | undefined {
  for (let at = data.indexOf(member); at !== -1; at = data.indexOf(member, at + member.length)) {
    if (data.charCodeAt(at - 1) !== QUOTE) continue;
    const start = valueStart(data, at + member.length) + 1;
    if (data.charCodeAt(start - 1) !== QUOTE) continue;
    const end = endOfString(data, start);
    return { start, end: end === -1 ? data.length : end };
  }
  return undefined;
}

/** Whether any member of that name (`usage":`), at any depth, has a value other than null. */
export function hasMember(data: string, member: string): boolean {
  for (let at = data.indexOf(member); at !== -1; at = data.indexOf(member, at + member.length)) {
    if (!data.startsWith("null", valueStart(data, at + member.length))) return true;
  }
  return false;
}

function valueStart(data: string, from: number): number {
  let at = from;
  while (data.charCodeAt(at) === SPACE) at++;
  return at;
}

/** The index of the quote that ends a string whose text begins at `start`; -1 where none does. */
export function endOfString(data: string, start: number): number {
  let end = data.indexOf('"', start);
  while (end !== -1 && isEscaped(data, start, end)) end = data.indexOf('"', end + 1);
  return end;
}

function isEscaped(data: string, start: number, quote: number): boolean {
  let backslashes = 0;
  while (quote - backslashes > start && data.charCodeAt(quote - backslashes - 1) === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}
