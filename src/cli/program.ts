/** Command line → command → exit code. Commands are imported when they run, so that `--help` loads no engine. */

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";

import type { ExportFormat } from "./ca.ts";
import { type Action, type ProgramIo, perform } from "./perform.ts";
import { EXIT } from "./context.ts";
import type { DeadLetterChoice } from "./dead-letters.ts";
import type { EnvOptions } from "./env.ts";
import type { EventsOptions } from "./events.ts";
import type { ReplayOptions } from "./replay.ts";
import { SHELLS } from "./shell-syntax.ts";
import { TIME_FORMS, parseTime } from "./since.ts";
import { explainError } from "./usage-error.ts";
import type { UsageOptions } from "./usage.ts";
import { USAGE_DIMENSIONS } from "./usage-table.ts";
import { packageVersion } from "../version.ts";

/** Runs one command line (without node and script) and resolves to its exit code. Never rejects for what a user did. */
export async function runProgram(argv: readonly string[], io: ProgramIo): Promise<number> {
  const wrapped = wrappedCommand(argv);
  if (wrapped !== undefined) return perform(io, "run", runAction(wrapped));
  let code: number = EXIT.done;
  const program = buildProgram(io, async (name, action) => {
    code = await perform(io, name, action);
  });
  try {
    await program.parseAsync(argv.length === 0 ? ["serve"] : [...argv], { from: "user" });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
}

/**
 * The command that `tallyman run` wraps, taken out before commander looks at the line: nothing in it is ours, not even
 * a `--`. Undefined for other commands and where options or nothing follow `run`.
 */
export function wrappedCommand(argv: readonly string[]): readonly string[] | undefined {
  if (argv[0] !== "run") return undefined;
  const command = argv[1] === "--" ? argv.slice(2) : argv.slice(1);
  const isOption = argv[1] !== "--" && command[0]?.startsWith("-") === true;
  return command.length === 0 || isOption ? undefined : command;
}

type Perform = (name: string, action: Action) => Promise<void>;

function buildProgram(io: ProgramIo, performAction: Perform): Command {
  const version = packageVersion();
  const program = new Command("tallyman");
  const prepare = (command: Command): Command =>
    command
      .version(version, "-V, --version", "print the version")
      .helpOption("-h, --help", "print this")
      .exitOverride()
      .configureOutput({
        writeOut: (text) => void io.stdout.write(text),
        writeErr: (text) => void io.stderr.write(text),
        outputError: (text, write) => write(explainError(text, command)),
      });
  const add = (parent: Command, name: string, description: string): Command => prepare(parent.command(name).description(description));
  prepare(program)
    .description("A forward proxy that meters what AI agents use.")
    .usage("[command] [options]")
    .enablePositionalOptions()
    .addHelpText("after", "\nWithout a command it serves. Settings are environment variables; `tallyman config` shows them.");
  addRunningCommands((name, description) => add(program, name, description), performAction);
  addClientCommands((name, description) => add(program, name, description), performAction);
  addCaCommands(add(program, "ca", "the certificate authority that clients have to trust"), add, performAction);
  addLedgerCommands((name, description) => add(program, name, description), performAction, io);
  addDeadLetterCommands(add(program, "dead-letters", "events that a receiver refused for good"), add, performAction);
  return program;
}

type AddCommand = (name: string, description: string) => Command;

function addRunningCommands(add: AddCommand, performAction: Perform): void {
  add("serve", "run the proxy, the admin server and delivery (the default)").action(() =>
    performAction("serve", async (context) => (await import("./serve.ts")).serve(context)),
  );
  add("run", "run a command behind a private proxy and print what it used")
    .usage("[--] CMD [ARG…]")
    .argument("<cmd...>", "the command and its arguments, passed on untouched")
    .passThroughOptions()
    .action((command: string[]) => performAction("run", runAction(command)));
  add("demo", "see it work without keys or internet: simulated providers, real calls, the usage table").action(() =>
    performAction("demo", async (context) => (await import("./demo.ts")).demo(context)),
  );
}

function runAction(command: readonly string[]): Action {
  return async (context) => (await import("./run.ts")).run(context, [...command]);
}

function addClientCommands(add: AddCommand, performAction: Perform): void {
  add("env", "print the variables that point a program at a running proxy")
    .addOption(new Option("--shell <shell>", "the syntax to print in; docker is the form of --env-file").choices(SHELLS).default("sh"))
    .option("--proxy-url <url>", "the proxy's address (default: from the settings)")
    .addHelpText("after", '\nExamples:\n  eval "$(tallyman env)"\n  tallyman env --shell fish | source\n  tallyman env --shell powershell | Out-String | Invoke-Expression')
    .action((options: EnvOptions) => performAction("env", async (context) => (await import("./env.ts")).env(context, options)));
  add("config", "show the effective settings and where each came from, secrets redacted")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => performAction("config", async (context) => (await import("./config.ts")).config(context, options)));
}

function addCaCommands(ca: Command, addTo: (parent: Command, name: string, description: string) => Command, performAction: Perform): void {
  addTo(ca, "path", "print the path of the certificate").action(() =>
    performAction("ca", async (context) => (await import("./ca.ts")).caPath(context)),
  );
  addTo(ca, "show", "print what the certificate says and how a system is made to trust it").action(() =>
    performAction("ca", async (context) => (await import("./ca.ts")).caShow(context)),
  );
  addTo(ca, "fingerprint", "print the certificate's SHA-256 fingerprint").action(() =>
    performAction("ca", async (context) => (await import("./ca.ts")).caFingerprint(context)),
  );
  addTo(ca, "export", "write the certificate to a file, or to stdout")
    .argument("[file]")
    .addOption(new Option("--format <format>", "the encoding").choices(["pem", "der"]).default("pem"))
    .action((file: string | undefined, options: { format: ExportFormat }) =>
      performAction("ca", async (context) => (await import("./ca.ts")).caExport(context, file, options.format)),
    );
  addTo(ca, "rotate", "replace the authority by a new one").action(() =>
    performAction("ca", async (context) => (await import("./ca.ts")).caRotate(context)),
  );
}

function addLedgerCommands(add: AddCommand, performAction: Perform, io: ProgramIo): void {
  const time = (text: string): number => {
    const parsed = parseTime(text, io.now());
    if (parsed === undefined) throw new InvalidArgumentError(`Allowed is ${TIME_FORMS}.`);
    return parsed;
  };
  add("usage", "print totals from the ledger")
    .addOption(new Option("--by <dimension>", "what a row stands for").choices(USAGE_DIMENSIONS).default("model"))
    .option("--since <time>", "from this time on: 24h, 7d, 2026-11-21 (default: everything)", time)
    .option("--until <time>", "up to this time", time)
    .option("--json", "as JSON")
    .addOption(new Option("--csv", "as CSV").conflicts("json"))
    .action((options: UsageOptions) => performAction("usage", async (context) => (await import("./usage.ts")).usage(context, options)));
  add("events", "print the ledger's events, newest last")
    .option("--since <time>", "from this time on: 24h, 7d, 2026-11-21 (default: everything)", time)
    .option("--limit <count>", "at most this many, the newest", countOption, 50)
    .option("--follow", "go on printing events as they are stored")
    .option("--json", "one JSON object a line: {\"event\":…,\"delivery\":…}")
    .action((options: EventsOptions) => performAction("events", async (context) => (await import("./events.ts")).events(context, options)));
  add("replay", "run recorded exchanges through the meters and print their events")
    .argument("<file...>", "records as in test/fixtures (.http, .ws); - is stdin")
    .option("--json", "one event a line")
    .addHelpText("after", "\nNothing is stored and nothing is sent. The format of a record, and how to make one: docs/adding-a-provider.md.")
    .action((files: string[], options: ReplayOptions) => performAction("replay", async (context) => (await import("./replay.ts")).replay(context, files, options)));
}

function addDeadLetterCommands(group: Command, addTo: (parent: Command, name: string, description: string) => Command, performAction: Perform): void {
  const load = () => import("./dead-letters.ts");
  addTo(group, "list", "list them, oldest first")
    .option("--json", "one JSON object a line, with the event")
    .action((options: { json?: boolean }) => performAction("dead-letters", async (context) => (await load()).listDeadLetters(context, options)));
  addTo(group, "show", "print the events with why they were refused, as JSON")
    .argument("<id...>", "event ids")
    .action((ids: string[]) => performAction("dead-letters", async (context) => (await load()).showDeadLetters(context, ids)));
  addTo(group, "replay", "have events delivered again, under the same ids")
    .argument("[id...]", "event ids")
    .option("--all", "all there are")
    .action((ids: string[], options: DeadLetterChoice) => performAction("dead-letters", async (context) => (await load()).replayDeadLetters(context, ids, options)));
  addTo(group, "discard", "give events up; the ledger keeps them as dead")
    .argument("[id...]", "event ids")
    .option("--all", "all there are")
    .action((ids: string[], options: DeadLetterChoice) => performAction("dead-letters", async (context) => (await load()).discardDeadLetters(context, ids, options)));
}

const MAX_LIMIT = 100_000;

function countOption(text: string): number {
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_LIMIT) throw new InvalidArgumentError(`Allowed is a whole number from 1 to ${MAX_LIMIT}.`);
  return count;
}
