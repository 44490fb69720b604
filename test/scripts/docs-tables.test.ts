import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { SETTING_ROWS } from "../../src/config/settings.ts";

const SCRIPT = resolve(import.meta.dirname, "..", "..", "scripts", "docs-tables.ts");
const EMPTY = "before\n<!-- settings:start -->\n<!-- settings:end -->\nafter\n";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tallyman-docs-"));
  mkdirSync(join(root, "docs"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function run(mode: string): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, mode, root], { encoding: "utf8" });
  return { status, output: stdout + stderr };
}

function put(path: string, text: string): void {
  writeFileSync(join(root, path), text);
}

function get(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

describe("docs-tables", () => {
  it("writes every setting between the markers and leaves the rest alone", () => {
    put("README.md", EMPTY);
    put("docs/configuration.md", EMPTY);
    expect(run("--write").status).toBe(0);
    for (const path of ["README.md", "docs/configuration.md"]) {
      for (const row of SETTING_ROWS) expect(get(path).split(`\`${row.variable}\``).length - 1, `${row.variable} in ${path}`).toBe(1);
      expect(get(path)).toMatch(/^before\n<!-- settings:start -->\n[\s\S]+<!-- settings:end -->\nafter\n$/);
    }
    expect(run("--check").status).toBe(0);
  });

  it("fails a check, and writes nothing, when a file is out of date", () => {
    put("docs/configuration.md", EMPTY);
    const { status, output } = run("--check");
    expect(status).toBe(1);
    expect(output).toContain("docs/configuration.md is out of date: run `npm run docs`");
    expect(get("docs/configuration.md")).toBe(EMPTY);
  });

  it("leaves a README without markers alone, and asks for them in the configuration page", () => {
    put("README.md", "hello\n");
    put("docs/configuration.md", "no markers\n");
    const { status, output } = run("--write");
    expect(status).toBe(1);
    expect(output).toContain("docs/configuration.md has no");
    expect(get("README.md")).toBe("hello\n");
  });

  it("asks for a mode", () => {
    expect(run("--wirte").status).toBe(2);
  });
});
