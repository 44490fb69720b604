/** Kinds of settings values that are one plain thing: numbers, durations, sizes, switches, choices, text, paths. */

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { type Parsed, type ValueKind, invalid, kindOf, valid } from "./value-kind.ts";

/** A whole number within bounds, both inclusive. */
export function integer(min: number, max: number, allowed = `a whole number from ${min} to ${max}`): ValueKind<number> {
  return kindOf(allowed, (text) => (/^\d{1,15}$/.test(text) ? within(Number(text), min, max) : undefined), String);
}

export const port: ValueKind<number> = integer(0, 65535, "a port from 0 to 65535; 0 means any free port");

const MILLISECONDS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/** Milliseconds, written `250ms`, `15s`, `5m`, `24h`, `90d`. The bounds are given in the same form and are inclusive. */
export function duration(minText: string, maxText: string): ValueKind<number> {
  const min = parseDuration(minText) ?? 0;
  const max = parseDuration(maxText) ?? Number.MAX_SAFE_INTEGER;
  const allowed = `a duration from ${minText} to ${maxText}, such as 250ms, 15s, 5m, 24h or 90d`;
  return kindOf(allowed, (text) => within(parseDuration(text), min, max), formatDuration);
}

/** Milliseconds of `250ms`, `15s`, `5m`, `24h` or `90d`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return undefined;
  const unit = Object.entries(MILLISECONDS).find(([name]) => name === match[2]);
  return unit === undefined ? undefined : Number(match[1]) * unit[1];
}

/** In the largest unit that divides it, save that up to three days are told in hours: `24h`, `72h`, `90d`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return "0ms";
  for (const [unit, length] of Object.entries(MILLISECONDS)) {
    if (milliseconds % length === 0 && (unit !== "d" || milliseconds > 3 * length)) return `${milliseconds / length}${unit}`;
  }
  return `${milliseconds}ms`;
}

const BYTES = { gib: 2 ** 30, gb: 1e9, mib: 2 ** 20, mb: 1e6, kib: 2 ** 10, kb: 1000, b: 1 } as const;
const BINARY_UNITS = [["GiB", BYTES.gib], ["MiB", BYTES.mib], ["KiB", BYTES.kib], ["B", 1]] as const;

/** Bytes, written `512B`, `64KiB`, `10MB`, `1GiB` in any case. The bounds are given in the same form and are inclusive. */
export function size(minText: string, maxText: string): ValueKind<number> {
  const min = parseSize(minText) ?? 0;
  const max = parseSize(maxText) ?? Number.MAX_SAFE_INTEGER;
  return kindOf(`a size from ${minText} to ${maxText}, such as 512B, 64KiB, 10MB or 1GiB`, (text) => within(parseSize(text), min, max), formatSize);
}

/** Bytes of `512B`, `64KiB`, `10MB`, `1GiB`; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15})(b|ki?b|mi?b|gi?b)$/.exec(text.toLowerCase());
  if (match === null) return undefined;
  const unit = Object.entries(BYTES).find(([name]) => name === match[2]);
  const bytes = unit === undefined ? Number.NaN : Number(match[1]) * unit[1];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

export function formatSize(bytes: number): string {
  const [unit, length] = BINARY_UNITS.find(([, bytesOfUnit]) => bytes !== 0 && bytes % bytesOfUnit === 0) ?? ["B", 1];
  return `${bytes / length}${unit}`;
}

const SWITCH = new Map([
  ["true", true], ["1", true], ["yes", true], ["on", true],
  ["false", false], ["0", false], ["no", false], ["off", false],
]);

/** A switch, written back as `on` and `off` or as `true` and `false`. */
export function boolean(names: { readonly on: string; readonly off: string }): ValueKind<boolean> {
  return kindOf("on, true, yes or 1; off, false, no or 0", (text) => SWITCH.get(text.toLowerCase()), (value) => (value ? names.on : names.off));
}

/** One of some words, in any case. */
export function choice<const Choice extends string>(...choices: readonly Choice[]): ValueKind<Choice> {
  const allowed = choices.length === 1 ? `${choices[0]}` : `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
  return kindOf(allowed, (text) => choices.find((word) => word === text.toLowerCase()), String);
}

/** Text of one line, without control characters. */
export function line(maxLength: number): ValueKind<string> {
  return kindOf(`one line of at most ${maxLength} characters`, (text) => (text.length <= maxLength && !hasControl(text) ? text : undefined), String);
}

/** An id of digits; longer than a number may be, so it stays a text. */
export function digits(maxLength: number): ValueKind<string> {
  return kindOf(`1 to ${maxLength} digits`, (text) => (/^\d+$/.test(text) && text.length <= maxLength ? text : undefined), String);
}

/** A secret that travels in a header: visible ASCII without spaces. */
export const token: ValueKind<string> = kindOf(
  "visible ASCII characters without spaces",
  (text) => (/^[\x21-\x7e]{1,4096}$/.test(text) ? text : undefined),
  String,
);

/** A path, made absolute against the working directory. The file or directory need not exist. */
export const path: ValueKind<string> = {
  allowed: "a path",
  parse: (text, { cwd }) => (text.includes("\0") ? invalid() : valid(resolve(cwd, text))),
  format: String,
};

/** A path as above, or `-`. */
export const pathOrDash: ValueKind<string> = { ...path, allowed: "a path, or -", parse: (text, context) => (text === "-" ? valid(text) : path.parse(text, context)) };

/** The absolute path of a file that can be read now and whose text `check` accepts (it returns what is wrong, or undefined). */
export function readableFile(what: string, check: (text: string) => string | undefined = () => undefined): ValueKind<string> {
  return {
    allowed: `the path of ${what}`,
    parse: (text, { cwd }): Parsed<string> => {
      const file = resolve(cwd, text);
      const content = readText(file);
      if ("failure" in content) return invalid(`the path of ${what}; the file cannot be read: ${content.failure}`);
      const problem = check(content.text);
      return problem === undefined ? valid(file) : invalid(`the path of ${what}; ${problem}`);
    },
    format: String,
  };
}

/** Reads a small file whole; a failure is told as the system told it (`ENOENT: no such file or directory`). */
export function readText(file: string): { readonly text: string } | { readonly failure: string } {
  try {
    return { text: readFileSync(file, "utf8") };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { failure: message.replace(/, \w+ '.*'$/, "").replace(/, \w+$/, "") };
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** What keeps a text from being a list of PEM certificates, or undefined. */
export function pemProblem(text: string): string | undefined {
  const blocks = text.match(PEM_CERTIFICATE) ?? [];
  if (blocks.length === 0) return "the file holds no PEM certificate (-----BEGIN CERTIFICATE-----)";
  const broken = blocks.findIndex((block) => !isCertificate(block));
  return broken === -1 ? undefined : `certificate ${broken + 1} in the file cannot be read`;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== "";
  } catch {
    // OpenSSL's reason ("asn1 encoding routines …") says nothing to the person who set the path.
    return false;
  }
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

function hasControl(text: string): boolean {
  return /[\p{Cc}\u2028\u2029]/u.test(text);
}
