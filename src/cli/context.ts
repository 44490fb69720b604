/** What every command is given, and the error that means "you asked for something that does not exist". */

import type { Origin } from "../config/load.ts";
import type { Settings } from "../config/settings.ts";

export interface CommandContext {
  readonly settings: Settings;
  /** Where each setting came from, by variable name. */
  readonly origins: Readonly<Record<string, Origin>>;
  /** Of the settings. program.ts has printed them already, save for `serve`, which logs them. */
  readonly warnings: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Absolute. */
  readonly cwd: string;
  /** The answer of a command. */
  readonly stdout: NodeJS.WritableStream;
  /** Logs, notes, errors. */
  readonly stderr: NodeJS.WritableStream;
  /** Whether stderr is a terminal. */
  readonly isTerminal: boolean;
  /** Of the package. */
  readonly version: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Exit codes of the contract. On a signal it is 128 plus the signal's number. */
export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143 } as const;

/** Wrong usage that only a command can see: exit code 2. */
export class UsageError extends Error {
  readonly code = "wrong_usage";
}
