/**
 * `tallyman run -- CMD`: a private proxy on a free port, the command with its proxy and CA variables, and a usage table
 * on stderr when it ends. Signals go to the command; its exit code is ours.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { constants } from "node:os";

import { startApp, type App } from "../app.ts";
import type { Settings } from "../config/settings.ts";
import { createLogger } from "../log.ts";
import { prepareTrust } from "./ca-bundle.ts";
import { EXIT, type CommandContext } from "./context.ts";
import { trustInput } from "./env.ts";
import { proxyEnvironment } from "./proxy-environment.ts";
import { totalRow, usageNotes, usageTable } from "./usage-table.ts";

/** As shells have it: not found, and found but not executable. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** How long the end of a run waits for flows that the command left behind and for the receiver. The rest is on disk. */
const MAX_DRAIN_MS = 5_000;

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const satisfies readonly NodeJS.Signals[];

export async function run(context: CommandContext, command: string[]): Promise<number> {
  const [file, ...argv] = command;
  if (file === undefined) return EXIT.usage;
  const settings: Settings = { ...context.settings, host: "127.0.0.1", port: 0 };
  // The command owns the terminal: only what is wrong is said, and as text.
  const level = settings.logLevel === "info" ? "warn" : settings.logLevel;
  const logger = createLogger({ level, format: settings.logFormat === "json" ? "json" : "text", stderr: context.stderr, isTerminal: context.isTerminal });
  const app = await startApp({ settings, logger, version: context.version, hasAdmin: false });
  try {
    const child = spawn(file, argv, { stdio: "inherit", env: { ...context.env, ...childVariables(context, app) } });
    const stopForwarding = forwardSignals(child);
    const code = await exitCode(child, file, context);
    stopForwarding();
    await app.drain(Math.min(MAX_DRAIN_MS, settings.drainTimeoutMs));
    await printSummary(context, app);
    return code;
  } finally {
    await app.stop();
  }
}

function childVariables(context: CommandContext, app: App): Record<string, string> {
  const trust = prepareTrust(trustInput(context, app.authority));
  const token = context.settings.proxyTokens[0];
  const credentials = token === undefined ? "" : `${encodeURIComponent(context.settings.agentId ?? "run")}:${encodeURIComponent(token)}@`;
  return proxyEnvironment({ proxyUrl: `http://${credentials}127.0.0.1:${app.proxyPort}`, ...trust, existing: context.env });
}

/**
 * A signal from the terminal reaches the command by itself (one process group); one that is sent to us alone is passed
 * on. Either way we live on until the command has ended.
 */
function forwardSignals(child: ChildProcess): () => void {
  const listeners = FORWARDED.map((signal) => {
    const isFromTerminal = signal === "SIGINT" || signal === "SIGQUIT" || signal === "SIGWINCH" || signal === "SIGHUP";
    const listener = (): void => {
      if (!(isFromTerminal && process.stdin.isTTY)) child.kill(signal);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
}

function exitCode(child: ChildProcess, file: string, context: CommandContext): Promise<number> {
  return new Promise((resolve) => {
    child.on("error", (error: NodeJS.ErrnoException) => {
      // It runs: a signal could not be passed on (sudo and the like). That ends nothing.
      if (child.pid !== undefined) return;
      const isMissing = error.code === "ENOENT";
      context.stderr.write(`tallyman: ${file}: ${isMissing ? "command not found" : `cannot be run (${error.code ?? error.message})`}\n`);
      resolve(isMissing ? NOT_FOUND : NOT_EXECUTABLE);
    });
    child.once("exit", (code, signal) => resolve(signal === null ? (code ?? EXIT.failed) : 128 + constants.signals[signal]));
  });
}

async function printSummary(context: CommandContext, app: App): Promise<void> {
  const models = await app.store.usage({ by: "model", ownOnly: true });
  const connectors = await app.store.usage({ by: "connector", ownOnly: true });
  if (models.length + connectors.length === 0) {
    context.stderr.write("\ntallyman: no usage was seen in this run.\n");
    return;
  }
  if (models.length > 0) context.stderr.write(`\n${usageTable(models, "model")}`);
  if (connectors.length > 0) context.stderr.write(`\n${usageTable(connectors, "connector")}`);
  for (const note of usageNotes(totalRow([...models, ...connectors]))) context.stderr.write(`tallyman: ${note}\n`);
  const { reports } = app.counters.snapshot();
  if (reports > 0) context.stderr.write(`tallyman: ${reports} event(s) wait for the receiver; the next tallyman on this data directory delivers them.\n`);
}
