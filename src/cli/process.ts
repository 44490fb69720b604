/** The program as a process: its streams, its broken pipes and its exit. */

import { homedir } from "node:os";

import { runProgram } from "./program.ts";

/** Runs the command line of this process and ends the process with its exit code. */
export async function runProcess(): Promise<void> {
  const argv = process.argv.slice(2);
  endQuietlyOnBrokenPipe(argv[0]);
  const code = await runProgram(argv, {
    env: process.env,
    cwd: process.cwd(),
    homeDir: homedir(),
    stdout: process.stdout,
    stderr: process.stderr,
    isTerminal: process.stderr.isTTY === true,
    now: Date.now,
  });
  process.stdout.write("", () => process.exit(code));
}

/** Commands that work for others than the reader of their output: `tallyman serve | head -1` must go on serving. */
const LASTING = new Set<string | undefined>([undefined, "serve", "run"]);

function endQuietlyOnBrokenPipe(command: string | undefined): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    if (!LASTING.has(command)) process.exit(0);
  });
  // Without a reader of stderr there is nobody left to tell.
  process.stderr.on("error", () => undefined);
}
