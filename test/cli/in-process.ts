/** Runs command lines in this process, with streams and surroundings of the test. */

import { Writable } from "node:stream";

import { runProgram } from "../../src/cli/program.ts";

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  /** Stdout as it was written. */
  readonly bytes: Buffer;
  readonly stderr: string;
}

/** It is 2026-11-21 10:00 UTC in there. `env` is the whole environment. */
export async function runInProcess(args: readonly string[], { cwd, env }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Promise<Outcome> {
  const out = collector();
  const err = collector();
  const code = await runProgram(args, {
    env,
    cwd,
    homeDir: cwd,
    stdout: out.stream,
    stderr: err.stream,
    isTerminal: false,
    now: () => Date.parse("2026-11-21T10:00:00Z"),
  });
  const bytes = Buffer.concat(out.chunks);
  return { code, bytes, stdout: bytes.toString(), stderr: Buffer.concat(err.chunks).toString() };
}

function collector(): { readonly stream: Writable; readonly chunks: Buffer[] } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, chunks };
}
