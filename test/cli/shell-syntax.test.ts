import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { formatVariables } from "../../src/cli/shell-syntax.ts";

const AWKWARD = `it's "a" $HOME \`id\` \\n \\ !x & | ; * # é`;

describe("formatVariables", () => {
  it("is read back by sh as it was, whatever the value", () => {
    const dir = mkdtempSync(join(tmpdir(), "tallyman-sh-"));
    try {
      const values = [AWKWARD, "", "line\nbreak", "'''", ...fc.sample(fc.string({ maxLength: 30 }).filter((text) => !text.includes("\0")), { numRuns: 50, seed: 7 })];
      const variables = Object.fromEntries(values.map((value, index) => [`V${index}`, value]));
      const file = join(dir, "variables.sh");
      writeFileSync(file, formatVariables(variables, "sh"));
      const script = `. "$1"; exec "$2" -e 'process.stdout.write(JSON.stringify(process.env))'`;
      const seen: unknown = JSON.parse(execFileSync("sh", ["-c", script, "sh", file, process.execPath], { encoding: "utf8" }));
      expect(seen).toMatchObject(variables);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it.each(["/plain/path", "http://127.0.0.1:8080", "with space", 'say "hi" # not a comment', "$HOME"])("is read back by a dotenv parser: %s", (value) => {
    expect(parseEnv(formatVariables({ NAME: value }, "dotenv"))).toEqual({ NAME: value });
  });

  it("escapes quotes as each shell has it", () => {
    expect(formatVariables({ A: "it's \\ $x" }, "fish")).toBe("set -gx A 'it\\'s \\\\ $x'\n");
    expect(formatVariables({ A: "it's ‘x’ $y" }, "powershell")).toBe("$env:A = 'it''s ‘‘x’’ $y'\n");
    expect(formatVariables({ A: "it's $x" }, "dotenv")).toBe('A="it\'s \\$x"\n');
  });

  it("writes no quotes for docker, which would keep them", () => {
    expect(formatVariables({ A: "a b", B: "c" }, "docker")).toBe("A=a b\nB=c\n");
  });
});
