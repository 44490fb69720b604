/** docs/operations.md names bounds that exist, with the values that they have. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const SOURCES = join(ROOT, "src");

/** `NAME`, or `NAME`, `file.ts`: a name belongs to the next file that is named. */
interface Named {
  readonly name: string;
  /** The number in front of it, as it is written. */
  readonly value: string;
  readonly file: string;
}

function namedIn(row: string): Named[] {
  const marks = [...row.matchAll(/`([^`]+)`/g)];
  return marks.flatMap(([, mark = ""], i) => {
    if (!/^[A-Z]+_[A-Z_]+$/.test(mark) || mark.startsWith("TALLYMAN_") || mark === "UV_THREADPOOL_SIZE") return [];
    const file = marks.slice(i).find(([, text = ""]) => text.endsWith(".ts"))?.[1] ?? marks.findLast(([, text = ""]) => text.endsWith(".ts"))?.[1] ?? "";
    const before = row.slice(0, marks[i]?.index).replaceAll(/`[^`]*`/g, "");
    return [{ name: mark, value: /([\d.]+ ?(?:[KMG]iB|MB|s|ms|minutes?|hours?)?)[^\d]*$/.exec(before)?.[1]?.trim() ?? "", file }];
  });
}

const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1_048_576, GiB: 1_073_741_824, MB: 1, s: 1000, minutes: 60_000, hour: 3_600_000 };

function asNumber(text: string): number {
  const [amount = "", unit = ""] = text.split(" ");
  return Number(amount) * (UNITS[unit] ?? 1);
}

/** The value of `const NAME = …` in a source: a product of literals. */
function valueOf(file: string, name: string): number {
  const source = readFileSync(join(SOURCES, file), "utf8");
  const product = new RegExp(`const ${name} = ([\\d_* ]+);`).exec(source)?.[1];
  if (product === undefined) return Number.NaN;
  return product.split("*").reduce((value, factor) => value * Number(factor.trim().replaceAll("_", "")), 1);
}

const [, limits = ""] = readFileSync(join(ROOT, "docs", "operations.md"), "utf8").split("\n## Limits\n");
const BOUNDS = limits.split("\n").filter((line) => line.startsWith("| ")).flatMap(namedIn);

describe("the limits in docs/operations.md", () => {
  it("are named by the dozen", () => {
    expect(BOUNDS.length).toBeGreaterThan(40);
  });

  it.each(BOUNDS)("$name of $file is $value", ({ name, value, file }) => {
    expect(existsSync(join(SOURCES, file))).toBe(true);
    expect(valueOf(file, name)).toBe(asNumber(value));
  });

  it("leave no exported bound of the engine out", () => {
    const files = ["front", "h1-server", "last-answer", "http2-server", "http2-session", "http2-call", "name-resolution", "tunnel", "upstream-h1", "upstream-h2", "upstream-proxy"];
    const documented = new Set(BOUNDS.map(({ name }) => name));
    const exported = files.flatMap((file) => [...readFileSync(join(SOURCES, "proxy", `${file}.ts`), "utf8").matchAll(/^export const ([A-Z]+_[A-Z_]+) = \d/gm)].map(([, name = ""]) => name));
    expect(exported.filter((name) => !documented.has(name))).toEqual([]);
  });
});
