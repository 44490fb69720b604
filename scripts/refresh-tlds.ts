/**
 * Writes src/usage/providers/connectors/x/tlds.ts from IANA's list of top-level domains:
 *
 *     node scripts/refresh-tlds.ts                    # fetches it
 *     node scripts/refresh-tlds.ts FILE [OUTPUT]      # from a copy
 *
 * The list is data of the URL rule for posts on X. Run it when a domain is new, look at the diff, commit it.
 */

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath, domainToUnicode } from "node:url";

const SOURCE = "https://data.iana.org/TLD/tlds-alpha-by-domain.txt";
const TARGET = fileURLToPath(new URL("../src/usage/providers/connectors/x/tlds.ts", import.meta.url));

/** "# Version 2026051600, Last Updated Sat May 16 07:07:02 2026 UTC" */
const HEAD = /^# Version (\d{10}), Last Updated (.+ UTC)$/;
const NAME = /^(?=.{2,63}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])$/;
/** A list that is much shorter than it has been since 2016 was cut off. */
const LEAST_NAMES = 1200;
const LINE_LENGTH = 140;

export interface TldList {
  readonly version: string;
  /** Day of the last update: "2026-05-16". */
  readonly updated: string;
  /** Lower case, in ASCII ("xn--p1ai"). */
  readonly names: readonly string[];
}

/** Reads IANA's file. Throws when it is not of its form or too short. */
export function parseTldList(text: string): TldList {
  const [head = "", ...lines] = text.trim().split(/\r?\n/);
  const [, version, updated] = HEAD.exec(head) ?? [];
  if (version === undefined || updated === undefined) throw new Error(`not IANA's list of top-level domains: it begins with "${head.slice(0, 80)}"`);
  const names = lines.map((line) => line.trim().toLowerCase());
  const wrong = names.find((name) => !NAME.test(name));
  if (wrong !== undefined) throw new Error(`not a top-level domain: "${wrong.slice(0, 80)}"`);
  if (names.length < LEAST_NAMES) throw new Error(`${names.length} top-level domains are fewer than ${LEAST_NAMES}: the list was cut off`);
  return { version, updated: new Date(updated).toISOString().slice(0, 10), names };
}

/** The source of tlds.ts. */
export function formatTldModule({ version, updated, names }: TldList): string {
  const unicode = names.filter((name) => name.startsWith("xn--")).map(domainToUnicode);
  return `/**
 * Top-level domains as IANA lists them, in ASCII and, where they have one, in their Unicode form.
 * Written by scripts/refresh-tlds.ts from ${SOURCE}.
 */

/** IANA's version of the list. */
export const TLD_VERSION = "${version}";
/** When IANA last changed it. */
export const TLD_DATE = "${updated}";

const IN_ASCII = \`
${wrap(names)}
\`;

const IN_UNICODE = \`
${wrap(unicode)}
\`;

/** Lower case. */
export const TOP_LEVEL_DOMAINS: ReadonlySet<string> = new Set([IN_ASCII, IN_UNICODE].flatMap((names) => names.trim().split(/\\s+/)));
`;
}

function wrap(words: readonly string[]): string {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > LINE_LENGTH) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}

async function fetchList(): Promise<string> {
  const response = await fetch(SOURCE);
  if (!response.ok) throw new Error(`${SOURCE} answered ${response.status}`);
  return response.text();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , file, output = TARGET] = process.argv;
  const list = parseTldList(file === undefined ? await fetchList() : await readFile(file, "utf8"));
  await writeFile(output, formatTldModule(list));
  console.log(`${list.names.length} top-level domains of ${list.updated} (version ${list.version})`);
}
