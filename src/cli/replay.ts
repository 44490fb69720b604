/** `tallyman replay`: the events that the meters make of recorded exchanges. Nothing is stored and nothing is sent. */

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";

import { createReplayer, type Replayer } from "../app/replay.ts";
import { RecordError, type UsageEvent } from "../usage/index.ts";
import { type CommandContext, EXIT } from "./context.ts";
import { eventLine } from "./event-line.ts";
import { printable } from "./table.ts";

export interface ReplayOptions {
  readonly json?: boolean;
}

/** A file that cannot be replayed is named on stderr, the others are printed all the same; the exit code is then 1. */
export async function replay(context: CommandContext, files: readonly string[], options: ReplayOptions): Promise<number> {
  const { settings, now, stderr } = context;
  const replayer = await createReplayer({ settings, now, logger: quietLogger(stderr) });
  let code: number = EXIT.done;
  try {
    for (const file of files) {
      const fault = await replayFile(context, replayer, file, files.length > 1, options);
      if (fault === undefined) continue;
      stderr.write(`tallyman: ${printable(`${file}: ${fault}`)}\n`);
      code = EXIT.failed;
    }
    return code;
  } finally {
    await replayer.close();
  }
}

/** Undefined, or why there are no events of the file. */
async function replayFile({ cwd, stdout }: CommandContext, replayer: Replayer, file: string, isNamed: boolean, { json }: ReplayOptions): Promise<string | undefined> {
  try {
    const record = await readFile(file === "-" ? "/dev/stdin" : resolve(cwd, file), "utf8");
    const events = await replayer.replay(record);
    if (json === true) for (const event of events) stdout.write(`${JSON.stringify(event)}\n`);
    else stdout.write(`${isNamed ? `${printable(file)}\n` : ""}${events.map(describe).join("")}`);
    return undefined;
  } catch (error) {
    if (error instanceof RecordError) return `${error.message} (docs/adding-a-provider.md has the format)`;
    if (error instanceof Error && "code" in error) return READ_FAULTS[String(error.code)] ?? error.message;
    throw error;
  }
}

const READ_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder, not a file",
  EACCES: "it may not be read",
};

/** The line of `tallyman events`, and below it what the line leaves out. */
function describe(event: UsageEvent): string {
  const body = JSON.stringify(event);
  const line = eventLine({ position: 0, id: event.id, timeMs: Date.parse(event.time), delivery: "none", body });
  const details = detailsOf(event).map(([name, value]) => `    ${name.padEnd(26)} ${printable(String(value))}\n`);
  return `${line}\n${details.join("")}`;
}

function detailsOf({ data }: UsageEvent): readonly (readonly [name: string, value: string | number])[] {
  const { usage, usage_source, cost } = data;
  return [
    ...("api" in data ? [["api", data.api] as const] : []),
    ...Object.entries(usage).map(([name, count]) => [name, count] as const),
    ["usage_source", usage_source] as const,
    ...(cost === null ? [] : [["cost", `${cost.amount} ${cost.currency} (${cost.source})`] as const]),
  ];
}

/** Faults of a meter are what this command is for: they are told. */
function quietLogger(stderr: CommandContext["stderr"]): { readonly error: (fields: unknown, text?: string) => void; readonly debug: () => void } {
  return {
    error(fields, text) {
      const error = typeof fields === "object" && fields !== null && "err" in fields ? fields.err : fields;
      stderr.write(`tallyman: ${printable(text ?? "a meter failed")}: ${printable(error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error))}\n`);
    },
    debug: () => undefined,
  };
}
