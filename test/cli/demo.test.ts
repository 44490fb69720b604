import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "demo-test-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the program in an empty folder that is its temporary folder too. */
function start(env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [MAIN, "demo"], { cwd: folder, env: { ...process.env, TMPDIR: folder, ...env }, stdio: "pipe" });
  let output = "";
  const seen = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      for (const wake of seen) wake();
    });
  }
  const ended = once(child, "close").then(() => ({ code: child.exitCode, output }));
  const shows = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const check = () => output.includes(text) && resolve();
      seen.add(check);
      check();
      void ended.then(() => reject(new Error(`ended without ${text}: ${output}`)));
    });
  return { child, ended, shows };
}

describe("tallyman demo", () => {
  it("meters every call of real SDKs to the token, whatever proxy or key the user has set, and leaves nothing behind", async () => {
    const { ended } = start({
      HTTPS_PROXY: "http://127.0.0.1:1",
      NO_PROXY: "*",
      OPENAI_BASE_URL: "http://127.0.0.1:1",
      ANTHROPIC_BASE_URL: "http://127.0.0.1:1",
    });
    const { code, output } = await ended;
    expect(output).toContain("Each of the 5 events has exactly the numbers that the client was told.");
    expect(code, output).toBe(0);
    expect(output.match(/^ {2}@anthropic-ai\/sdk /gm)).toHaveLength(3);
    expect(output.match(/^ {2}openai /gm)).toHaveLength(3);
    expect(output.match(/^ {2}✓ .* 1,216 in .* out {2}\s*\$0\.0\d+$/gm), output).toHaveLength(5);
    expect(output).toMatch(/^ {2}total +5 /m);
    expect(await readdir(folder)).toEqual([]);
  });

  it("cleans up and ends with 130 when it is interrupted", async () => {
    const { child, ended, shows } = start();
    await shows("providers");
    child.kill("SIGINT");
    expect((await ended).code).toBe(130);
    expect(await readdir(folder)).toEqual([]);
  });
});
