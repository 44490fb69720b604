/** The real program as a child process: `node src/main.ts serve` on free ports, as a user starts it. */

import { spawn, type ChildProcess } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

import { until } from "./until.ts";

export const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

export interface Program {
  readonly pid: number;
  /** `http://127.0.0.1:PORT`, as the banner has it. */
  readonly proxyUrl: string;
  readonly proxyPort: number;
  /** Without the slash at the end. */
  readonly adminUrl: string;
  readonly caFile: string;
  /** All that was written so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined while it runs. */
  readonly exitCode: number | undefined;
  /** JSON of a path of the admin server. */
  get(path: string): Promise<unknown>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves to the exit code; 128 and the signal's number where a signal ended it. */
  exited(): Promise<number>;
  /** Signals and waits. */
  stop(signal?: NodeJS.Signals): Promise<number>;
  kill9(): Promise<void>;
}

/** A program that ends by itself or by a signal: its output and exit code. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Runs as this user and group. */
  readonly uid?: number;
}

/** A running command of the program. */
export interface Command {
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | undefined;
  /** Resolves when it is over and its output is complete. */
  ended(): Promise<Ended>;
}

/** What a child needs of this machine, and nothing of the settings, proxies and keys of whoever runs the tests. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR, LANG } = process.env;
  return { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...(LANG === undefined ? {} : { LANG }) };
}

/** Starts `tallyman ARGS`. */
export function startCommand(args: readonly string[], options: CommandOptions = {}): Command {
  const { env = {}, cwd, uid } = options;
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...plainEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const seen = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (seen.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (seen.stderr += text));
  const codeOf = (): number | undefined => child.exitCode ?? (child.signalCode === null ? undefined : 128 + constants.signals[child.signalCode]);
  const closed = new Promise<void>((resolve, reject) => {
    child.once("close", () => resolve());
    child.once("error", reject);
  });
  // Whoever waits hears of it; nobody has to.
  closed.catch(() => undefined);
  return {
    child,
    get stdout() {
      return seen.stdout;
    },
    get stderr() {
      return seen.stderr;
    },
    get exitCode() {
      return codeOf();
    },
    async ended() {
      await closed;
      return { code: codeOf() ?? -1, ...seen };
    },
  };
}

/** Runs `tallyman ARGS` to its end. */
export function runCommand(args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  return startCommand(args, options).ended();
}

const BANNER = /proxy +(http:\/\/\S+:(\d+))\s+CA file +(\S+)\s+dashboard +(\S+)\/\n[^]*? eval [^\n]*\n\n/;

/** Starts `tallyman serve` on free ports and waits for its banner. Rejects with its output when it ends instead. */
export async function startProgram(env: NodeJS.ProcessEnv): Promise<Program> {
  const command = startCommand(["serve"], { env: { TALLYMAN_PORT: "0", TALLYMAN_ADMIN_PORT: "0", ...env } });
  // On standard error where standard output is the events' own.
  const banner = (): RegExpExecArray | null => BANNER.exec(command.stdout) ?? BANNER.exec(command.stderr);
  await until(() => banner() !== null || command.exitCode !== undefined, "the banner of tallyman serve", 30_000);
  const [, proxyUrl = "", port = "", caFile = "", adminUrl = ""] = banner() ?? [];
  const { pid } = command.child;
  if (proxyUrl === "" || pid === undefined) throw new Error(`tallyman serve did not start (${command.exitCode}): ${command.stdout}${command.stderr}`);
  const exited = async (): Promise<number> => (await command.ended()).code;
  return {
    pid,
    proxyUrl,
    proxyPort: Number(port),
    adminUrl,
    caFile,
    get stdout() {
      return command.stdout;
    },
    get stderr() {
      return command.stderr;
    },
    get exitCode() {
      return command.exitCode;
    },
    async get(path) {
      const response = await fetch(adminUrl + path);
      return response.json();
    },
    signal: (signal) => void command.child.kill(signal),
    exited,
    stop(signal = "SIGTERM") {
      command.child.kill(signal);
      return exited();
    },
    async kill9() {
      command.child.kill("SIGKILL");
      await exited();
    },
  };
}
