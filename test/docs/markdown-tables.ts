/** Reads the tables of the docs, so that tests can hold them to the code. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

const DOCS = join(import.meta.dirname, "..", "..", "docs");

/** The rows of every table under a heading, up to the next heading: cells trimmed, code marks taken off the first. */
export function tableRows(file: string, heading: string): readonly (readonly string[])[] {
  const lines = readFileSync(join(DOCS, file), "utf8").split("\n");
  const start = lines.findIndex((line) => line.replace(/^#+ /, "") === heading && line.startsWith("#"));
  if (start === -1) throw new Error(`docs/${file} has no heading "${heading}"`);
  const length = lines.slice(start + 1).findIndex((line) => line.startsWith("#"));
  const section = lines.slice(start + 1, length === -1 ? undefined : start + 1 + length);
  return section.filter((line) => line.startsWith("| `")).map(cellsOf);
}

/** The first cell of each row. */
export function firstCells(file: string, heading: string): readonly string[] {
  return tableRows(file, heading).map(([first = ""]) => first);
}

function cellsOf(line: string): readonly string[] {
  const [first = "", ...rest] = line.slice(1, line.lastIndexOf("|")).split("|").map((cell) => cell.trim());
  return [first.replaceAll("`", ""), ...rest];
}
