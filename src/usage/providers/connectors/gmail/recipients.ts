/**
 * How many people a message goes to, from its header fields: RFC 5322 sections 2.2.3, 3.4 and 4.4 as far as counting
 * needs them (reference/connectors.md section 4.4). Addresses live as long as the call and leave it as a number only.
 */

/** A message's header section is looked at up to here. */
export const MAX_MESSAGE_HEAD_BYTES = 256 * 1024;

/**
 * Number of different addresses in all To, Cc and Bcc fields, case aside. `message`: its first bytes; the rest of it
 * is not looked at. Undefined: a list cannot be read, or the header section did not end within what is there.
 */
export function countRecipients(message: Uint8Array, isWhole: boolean): number | undefined {
  const head = headOf(message, isWhole);
  if (head === undefined) return undefined;
  const addresses = new Set<string>();
  for (const [, name = "", value = ""] of head.replaceAll(/\r?\n(?=[ \t])/g, "").matchAll(FIELD)) {
    if (RECIPIENT_FIELDS.has(name.toLowerCase()) && !addAddresses(value, addresses)) return undefined;
  }
  return addresses.size;
}

/** Whether the header section of a message ends within these bytes. */
export function hasWholeHead(message: Uint8Array): boolean {
  return headOf(message, false) !== undefined;
}

const RECIPIENT_FIELDS = new Set(["to", "cc", "bcc"]);

/** A field on one line. The name may have white space behind it (RFC 5322 section 4.5). */
const FIELD = /^([!-9;-~]+)[ \t]*:([^\n]*)$/gm;

const LF = 0x0a;
const CR = 0x0d;

/** The text before the first empty line. */
function headOf(message: Uint8Array, isWhole: boolean): string | undefined {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  for (let lineStart = 0, from = 0; ; lineStart = from) {
    if (isEmptyLine(bytes, lineStart)) return bytes.toString("utf8", 0, lineStart);
    const lineFeed = bytes.indexOf(LF, from);
    if (lineFeed === -1 || lineFeed >= MAX_MESSAGE_HEAD_BYTES) break;
    from = lineFeed + 1;
  }
  // A message may be its header section alone.
  return isWhole && bytes.length <= MAX_MESSAGE_HEAD_BYTES ? bytes.toString("utf8") : undefined;
}

function isEmptyLine(bytes: Buffer, at: number): boolean {
  return bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] === LF);
}

/** Where a scan of an address list stands. */
interface ListScan {
  readonly text: string;
  at: number;
  /** Words outside of angle brackets: a display name, a group's name or a bare address. " " between them. */
  words: string[];
  /** What the angle brackets of this mailbox hold. */
  angle: string | undefined;
}

/** Adds the addresses of one list. False: it is none. */
function addAddresses(text: string, addresses: Set<string>): boolean {
  const scan: ListScan = { text, at: 0, words: [], angle: undefined };
  while (scan.at < text.length) {
    const char = text[scan.at];
    // ";" ends a group; some clients write it between mailboxes.
    if (char === "," || char === ";") {
      if (!endMailbox(scan, addresses)) return false;
      scan.at++;
    } else if (char === ":") {
      // What stands before is the name of a group.
      scan.words = [];
      scan.at++;
    } else if (char === "<") {
      if (!readAngle(scan)) return false;
    } else if (!readWord(scan)) return false;
  }
  return endMailbox(scan, addresses);
}

/** The rest of the text from `at` begins with one of these: a word as it is to be stepped over whole. */
const QUOTED = /"(?:[^"\\]|\\.)*"/y;
const LITERAL = /\[[^\]]*\]/y;
const ENCODED_WORD = /=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=/y;
const PLAIN = /[^\s",;:<>()[\]]+/y;
const SPACE = /\s+/y;

/** One word, literal, comment or run of white space. False: something is open at the end, or stands where it must not. */
function readWord(scan: ListScan): boolean {
  if (scan.text[scan.at] === "(") return skipComment(scan);
  if (take(scan, SPACE) !== undefined) {
    if (scan.words.at(-1) !== " ") scan.words.push(" ");
    return true;
  }
  if (take(scan, ENCODED_WORD) !== undefined) {
    scan.words.push("?");
    return true;
  }
  const word = take(scan, QUOTED) ?? take(scan, LITERAL) ?? take(scan, PLAIN);
  if (word === undefined) return false;
  scan.words.push(word.replaceAll(/\s/g, "_"));
  return true;
}

/** `<address>`, or `<@route,@route:address>` (RFC 5322 section 4.4). */
function readAngle(scan: ListScan): boolean {
  if (scan.angle !== undefined) return false;
  const inside: ListScan = { text: scan.text, at: scan.at + 1, words: [], angle: undefined };
  for (let char = inside.text[inside.at]; char !== ">"; char = inside.text[inside.at]) {
    if (char === ":") inside.words = [];
    if (char === ":" || (char === "," && inside.words[0]?.startsWith("@") === true)) inside.at++;
    else if (!readWord(inside)) return false;
  }
  scan.angle = inside.words.join("");
  scan.at = inside.at + 1;
  return true;
}

/** Comments nest, and a backslash takes the meaning of the next character. */
function skipComment(scan: ListScan): boolean {
  let depth = 0;
  for (; scan.at < scan.text.length; scan.at++) {
    const char = scan.text[scan.at];
    if (char === "\\") scan.at++;
    else if (char === "(") depth++;
    else if (char === ")" && --depth === 0) {
      scan.at++;
      return true;
    }
  }
  return false;
}

function take(scan: ListScan, pattern: RegExp): string | undefined {
  pattern.lastIndex = scan.at;
  const text = pattern.exec(scan.text)?.[0];
  if (text !== undefined) scan.at += text.length;
  return text;
}

/** White space is allowed around the dots and the "@" of an address (RFC 5322 section 4.4). */
const AROUND_DOTS = /\s*([.@])\s*/g;

const ADDRESS = /^(.+)@([^@]+)$/;
const PLAIN_QUOTED = /^"([^"\\(),:;<>@[\]\s]+)"$/;

function endMailbox(scan: ListScan, addresses: Set<string>): boolean {
  const text = (scan.angle ?? scan.words.join("")).trim();
  const isEmpty = scan.angle === undefined && text === "";
  scan.words = [];
  scan.angle = undefined;
  // Empty members are allowed (RFC 5322 section 4.4), and an empty group is one.
  if (isEmpty) return true;
  const [, local, domain] = ADDRESS.exec(text.replaceAll(AROUND_DOTS, "$1")) ?? [];
  if (local === undefined || domain === undefined || /\s/.test(local + domain)) return false;
  addresses.add(`${local.replace(PLAIN_QUOTED, "$1")}@${domain}`.toLowerCase());
  return true;
}
