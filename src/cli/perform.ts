/** Gives a command its context, and turns what goes wrong into a message and an exit code. */

import { formatFaults, loadSettings } from "../config/load.ts";
import { isCheckout } from "../config/paths.ts";
import { type CommandContext, EXIT, UsageError } from "./context.ts";
import { packageVersion } from "../version.ts";

/** The parts of a process that commands may use. */
export type ProgramIo = Pick<CommandContext, "env" | "cwd" | "stdout" | "stderr" | "isTerminal" | "now"> & { readonly homeDir: string };

/** A command, ready to run. Resolves to the exit code. */
export type Action = (context: CommandContext) => number | Promise<number>;

/** Runs an action. Prints the settings' warnings, save for a `serve` that starts, which logs them. */
export async function perform(io: ProgramIo, name: string, action: Action): Promise<number> {
  try {
    const loaded = loadSettings(io.env, { cwd: io.cwd, homeDir: io.homeDir, isCheckout: isCheckout() });
    const { warnings } = loaded;
    if (!loaded.ok || name !== "serve") for (const warning of warnings) io.stderr.write(`tallyman: warning: ${warning}\n`);
    if (!loaded.ok) {
      io.stderr.write(formatFaults(loaded.faults));
      return EXIT.usage;
    }
    const { settings, origins } = loaded;
    const { env, cwd, stdout, stderr, isTerminal, now } = io;
    return await action({ settings, origins, warnings, env, cwd, stdout, stderr, isTerminal, now, version: packageVersion() });
  } catch (error) {
    io.stderr.write(`tallyman: ${describe(error)}\n`);
    return isUsersMistake(error) ? EXIT.usage : EXIT.failed;
  }
}

/** Wrong usage, or a setting that only the start could judge. */
function isUsersMistake(error: unknown): boolean {
  return error instanceof UsageError || (error instanceof Error && "isWrongSetting" in error && error.isWrongSetting === true);
}

/** Errors with a code say what to do in their message. One without is a defect, and its stack helps to find it. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error ? error.message : (error.stack ?? error.message);
}
