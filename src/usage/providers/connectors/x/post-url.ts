/**
 * Whether the text of a post holds what X takes for a link: it is then wrapped by t.co, and the post costs more. Follows
 * twitter-text 3.1.0 (reference/connectors.md section 2.6) with IANA's list of top-level domains. Does not say where
 * the link is, and keeps nothing of the text. Work grows with the length of the text.
 */

import { TOP_LEVEL_DOMAINS } from "./tlds.ts";

/** "bare-domain": without a scheme, such as a file name that ends like a domain. */
export type UrlKind = "explicit" | "bare-domain";

/** A longer run of labels is no host name. */
const MAX_HOST_LENGTH = 253;
const MAX_LABEL_LENGTH = 63;
/** The longest post has 25,000 characters: what comes later was never posted. */
const MAX_CHARACTERS = 32_768;

const ASCII = /^[\0-\u007f]*$/;

/** Names that are not ASCII, by their first character. */
const OTHER_TLDS: ReadonlyMap<string, readonly string[]> = Map.groupBy(
  [...TOP_LEVEL_DOMAINS].filter((name) => !ASCII.test(name)),
  (name) => name.slice(0, 1),
);

/** After a scheme: whatever is no space, control or ASCII punctuation; "_" only before the last two labels. */
const HOST_CHARACTER = /[^\s\p{Cc}\p{Zs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\uffff!"'#%&()*+,\\./:;<=>?@[\]^`{|}~$]/u;
/** Of a name without a scheme: ASCII letters, digits and hyphens, and letters with Latin accents. "_" likewise. */
const BARE_CHARACTER = /[a-z0-9_\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff-]/i;
const SCHEME_BEFORE = /(?:^|[^a-z0-9@\uff20$#\uff03\ufffe\ufeff\uffff])https?:\/\/$/i;
const NOT_BEFORE_BARE = /[a-z0-9@$#._/-]/i;
const NOT_AFTER = /[a-z0-9@+-]/i;
const ASCII_TLD = /[a-z0-9-]{2,64}/iy;

/** The first kind found from the start; undefined: no link. */
export function urlKindOf(post: string): UrlKind | undefined {
  const text = post.slice(0, MAX_CHARACTERS);
  const hostStart = hostFinder(text, HOST_CHARACTER);
  const bareStart = hostFinder(text, BARE_CHARACTER);
  for (let dot = text.indexOf("."); dot !== -1; dot = text.indexOf(".", dot + 1)) {
    if (!hasTldAt(text, dot + 1)) continue;
    if (isExplicit(text, hostStart(dot))) return "explicit";
    if (isBare(text, bareStart(dot))) return "bare-domain";
  }
  return undefined;
}

/** Whether a top-level domain begins here, with nothing after it that would make it another word. */
function hasTldAt(text: string, at: number): boolean {
  const first = text[at];
  if (first === undefined) return false;
  ASCII_TLD.lastIndex = at;
  const name = ASCII_TLD.exec(text)?.[0].toLowerCase();
  if (name !== undefined && TOP_LEVEL_DOMAINS.has(name) && !isBarred(text[at + name.length], NOT_AFTER)) return true;
  // Text in such a script goes on without a space: a name is one wherever it begins so.
  return (OTHER_TLDS.get(first.toLowerCase()) ?? []).some((other) => text.slice(at, at + other.length).toLowerCase() === other && !isBarred(text[at + other.length], NOT_AFTER));
}

function isExplicit(text: string, start: number | undefined): boolean {
  return start !== undefined && SCHEME_BEFORE.test(text.slice(Math.max(0, start - "https://".length - 1), start));
}

function isBare(text: string, start: number | undefined): boolean {
  return start !== undefined && !isBarred(text[start - 1], NOT_BEFORE_BARE);
}

/**
 * Finds where the labels before a dot begin; undefined: the label before it is none, or the name is too long. Dots must
 * be asked for from left to right: what was found for one is used for the next, so that no label is read twice.
 */
function hostFinder(text: string, character: RegExp): (dot: number) => number | undefined {
  let lastDot = -1;
  let lastStart: number | undefined;
  const startOf = (dot: number): number | undefined => {
    let start: number | undefined;
    for (let end = dot; end >= 0; ) {
      if (end === lastDot) return lastStart ?? start;
      const from = labelStart(text, end, character);
      if (from === undefined) return start;
      start = from;
      if (text[from - 1] !== ".") return start;
      end = from - 1;
    }
    return start;
  };
  return (dot) => {
    lastStart = startOf(dot);
    lastDot = dot;
    if (lastStart === undefined || dot - lastStart > MAX_HOST_LENGTH) return undefined;
    const label = text.slice(Math.max(lastStart, text.lastIndexOf(".", dot - 1) + 1), dot);
    return label.includes("_") ? undefined : lastStart;
  };
}

function labelStart(text: string, end: number, character: RegExp): number | undefined {
  let from = end;
  while (from > 0 && end - from <= MAX_LABEL_LENGTH && character.test(text[from - 1] ?? "")) from--;
  while (text[from] === "-" && from < end) from++;
  if (from === end || end - from > MAX_LABEL_LENGTH || text[end - 1] === "-" || text[end - 1] === "_") return undefined;
  return from;
}

function isBarred(character: string | undefined, barred: RegExp): boolean {
  return character !== undefined && barred.test(character);
}
