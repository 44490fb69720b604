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

/**
 * Adds the value of the first of the members that is a non-empty string. `members` are names followed by `":`, such
 * as `content":`; without the opening quote, as a search that starts with a rare character is five times as fast.
 */
export function addDeltaText(estimate: RunningEstimate, data: string, members: readonly string[]): void {
  for (const member of members) {
    const text = stringMember(data, member);
    if (text === undefined || text === "") continue;
    if (data.length > MAX_HELD_EVENT_CHARS) estimate.addChars(text.length);
    else estimate.addEscaped(text);
    return;
  }
}

/**
 * The first such member, at any depth, that is a string: what stands between its quotes, escapes as they are. A cut
 * last string is taken as far as it goes.
 */
export function stringMember(data: string, member: string): string | undefined {
  for (let at = data.indexOf(member); at !== -1; at = data.indexOf(member, at + member.length)) {
    if (data.charCodeAt(at - 1) !== QUOTE) continue;
    const start = valueStart(data, at + member.length);
    if (data.charCodeAt(start) === QUOTE) return readString(data, start + 1);
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

function readString(data: string, start: number): string {
  let end = data.indexOf('"', start);
  while (end !== -1 && isEscaped(data, start, end)) end = data.indexOf('"', end + 1);
  return end === -1 ? data.slice(start) : data.slice(start, end);
}

function isEscaped(data: string, start: number, quote: number): boolean {
  let backslashes = 0;
  while (quote - backslashes > start && data.charCodeAt(quote - backslashes - 1) === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}
