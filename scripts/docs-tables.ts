/**
 * Writes the tables of settings into the docs, from the table in src/config/settings.ts.
 * `node scripts/docs-tables.ts --write|--check [ROOT]`: README.md gets one short table, docs/configuration.md one for each
 * section, each between the markers `<!-- settings:start -->` and `<!-- settings:end -->`. `--check` writes nothing and
 * exits 1 where a file is out of date. A README without markers is left alone; docs/configuration.md must have them.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { type NamedSetting, SECTIONS, SETTING_ROWS } from "../src/config/settings.ts";

const START = "<!-- settings:start -->";
const END = "<!-- settings:end -->";

interface Document {
  readonly path: string;
  readonly isRequired: boolean;
  readonly render: () => string;
}

const DOCUMENTS: readonly Document[] = [
  { path: "README.md", isRequired: false, render: shortTable },
  { path: "docs/configuration.md", isRequired: true, render: sectionTables },
];

/** `undefined`: up to date, or not there and not required. */
type Finding = { readonly path: string; readonly problem: string; readonly corrected?: string } | undefined;

function inspect(root: string, { path, isRequired, render }: Document): Finding {
  const file = join(root, path);
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const start = text.indexOf(START);
  const end = text.indexOf(END);
  if (start === -1 || end < start) return isRequired ? { path, problem: `has no ${START} … ${END}` } : undefined;
  const corrected = `${text.slice(0, start + START.length)}\n${render()}${text.slice(end)}`;
  return corrected === text ? undefined : { path, problem: "is out of date: run `npm run docs`", corrected };
}

function shortTable(): string {
  return table(["variable", "default", "meaning"], SETTING_ROWS.map((row) => [variable(row), defaultText(row), row.docs]));
}

function sectionTables(): string {
  return SECTIONS.map((section) => {
    const rows = SETTING_ROWS.filter((row) => row.section === section);
    const cells = rows.map((row) => [variable(row), defaultText(row), row.kind.allowed, row.docs]);
    return `\n### ${section}\n\n${table(["variable", "default", "allowed", "meaning"], cells)}`;
  }).join("");
}

function variable({ variable: name, hasFileForm }: NamedSetting): string {
  return hasFileForm ? `\`${name}\` (or \`…_FILE\`)` : `\`${name}\``;
}

function defaultText({ default: standard }: NamedSetting): string {
  return standard.kind === "none" ? "none" : `\`${standard.text}\``;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, header.map(() => "---"), ...rows.map((row) => row.map((cell) => cell.replaceAll("|", "\\|").replaceAll("*", "\\*")))];
  return `${lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}\n`;
}

function main(args: readonly string[]): number {
  const [mode, root] = args;
  if (mode !== "--check" && mode !== "--write") {
    console.error("usage: node scripts/docs-tables.ts --write|--check [ROOT]");
    return 2;
  }
  const base = resolve(root ?? join(import.meta.dirname, ".."));
  let isFailed = false;
  for (const document of DOCUMENTS) {
    const finding = inspect(base, document);
    if (finding === undefined) continue;
    if (mode === "--write" && finding.corrected !== undefined) {
      writeFileSync(join(base, finding.path), finding.corrected);
      console.log(`wrote ${finding.path}`);
    } else {
      console.error(`${finding.path} ${finding.problem}`);
      isFailed = true;
    }
  }
  return isFailed ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
