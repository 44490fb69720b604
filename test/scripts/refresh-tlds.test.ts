import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { formatTldModule, parseTldList } from "../../scripts/refresh-tlds.ts";
import { TLD_DATE, TLD_VERSION, TOP_LEVEL_DOMAINS } from "../../src/usage/providers/connectors/x/tlds.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
const DATA = join(ROOT, "src/usage/providers/connectors/x/tlds.ts");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallyman-tlds-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** IANA's file as it must have been. */
function ianaFile(): string {
  const ascii = [...TOP_LEVEL_DOMAINS].filter((name) => /^[\0-\u007f]+$/.test(name));
  const day = new Date(`${TLD_DATE}T07:07:02Z`).toUTCString().replace(/^(\w+), (\d+) (\w+) (\d+) (.*) GMT$/, "$1 $3 $2 $5 $4");
  return `# Version ${TLD_VERSION}, Last Updated ${day} UTC\n${ascii.map((name) => name.toUpperCase()).join("\n")}\n`;
}

describe("the list of top-level domains", () => {
  it("has both forms of names in other scripts", () => {
    for (const name of ["com", "zip", "xn--p1ai", "рф", "中国"]) expect(TOP_LEVEL_DOMAINS).toContain(name);
    for (const name of ["js", "g", "localhost", ""]) expect(TOP_LEVEL_DOMAINS).not.toContain(name);
  });

  it("is what the script writes from the same file of IANA's", () => {
    const [file, output] = [join(folder, "iana.txt"), join(folder, "tlds.ts")];
    writeFileSync(file, ianaFile());
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts/refresh-tlds.ts"), file, output], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
    expect(readFileSync(output, "utf8")).toBe(readFileSync(DATA, "utf8"));
  });

  it("is refused when it was cut off, or is something else", () => {
    const file = ianaFile();
    expect(() => parseTldList(file.slice(0, 200))).toThrow("the list was cut off");
    expect(() => parseTldList("<html>")).toThrow("not IANA's list");
    expect(() => parseTldList(file.replace("\nCOM\n", "\nCOM`;\n"))).toThrow("not a top-level domain");
    expect(formatTldModule(parseTldList(file))).toContain(`TLD_VERSION = "${TLD_VERSION}"`);
  });
});
