/** `tallyman serve`: runs the proxy, the admin server and delivery until a signal or a drain ends it. */

import { constants } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";

import { startApp, type App, type DrainReport } from "../app.ts";
import { isCheckout } from "../config/paths.ts";
import { bracketed } from "../config/network-values.ts";
import { createLogger } from "../log.ts";
import { EXIT, type CommandContext } from "./context.ts";
import { releaseStartupMemory } from "./idle-memory.ts";

export async function serve(context: CommandContext): Promise<number> {
  const { settings, stderr, isTerminal } = context;
  const logger = createLogger({ level: settings.logLevel, format: settings.logFormat, stderr, isTerminal });
  for (const warning of context.warnings) logger.warn(warning);
  const stop = stopSignal();
  surviveDefects(logger);
  const app = await startApp({ settings, logger, version: context.version });
  releaseStartupMemory();
  // Standard output may be the events' own.
  (context.settings.eventsFile === "-" ? context.stderr : context.stdout).write(banner(context, app));
  if (app.store.recovered > 0) logger.warn({ flows: app.store.recovered }, "flows that a crash cut off are in the ledger as unknown");
  const cause = await Promise.race([stop.signalled, app.drainRequested.then(() => "drain" as const)]);
  if (cause !== "drain") logger.info({ signal: cause }, "stopping: new flows are refused, those under way may finish");
  const ended = app.stop();
  const report = await Promise.race([ended, stop.signalledAgain]);
  if (typeof report === "string") {
    // What is under way is left as it is; the pending file has the last word on it.
    app.counters.close();
    return 128 + constants.signals[report];
  }
  report satisfies DrainReport;
  if (report.drained) logger.info("stopped; nothing is pending");
  else logger.warn({ ...report.counters }, "stopped with work left; it is on disk and goes on at the next start");
  return EXIT.done;
}

/**
 * The last line of defence: a fault that escaped every other one is a defect of ours, and no reason to break the traffic
 * of all. Its message may quote a body, so only its kind and place are logged.
 */
function surviveDefects(logger: Logger): void {
  const report = (error: unknown): void => {
    const frames = error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)).slice(0, 6) : [];
    logger.fatal({ error: error instanceof Error ? error.name : typeof error, frames: frames.map((line) => line.trim()) }, "a defect in tallyman; it goes on serving. Please report this line");
  };
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
}

interface StopSignal {
  /** The first SIGINT or SIGTERM. */
  readonly signalled: Promise<NodeJS.Signals>;
  /** A second one: the user does not want to wait. */
  readonly signalledAgain: Promise<NodeJS.Signals>;
}

function stopSignal(): StopSignal {
  const first = Promise.withResolvers<NodeJS.Signals>();
  const second = Promise.withResolvers<NodeJS.Signals>();
  let count = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      count += 1;
      (count === 1 ? first : second).resolve(signal);
    });
  }
  return { signalled: first.promise, signalledAgain: second.promise };
}

function banner(context: CommandContext, app: App): string {
  const { settings, version } = context;
  const host = settings.host === "0.0.0.0" || settings.host === "::" ? "127.0.0.1" : settings.host;
  const proxyUrl = `http://${bracketed(host)}:${app.proxyPort}`;
  const command = isCheckout() ? "node src/main.ts" : "tallyman";
  // Another shell does not have this one's variables.
  const proxyOption = app.proxyPort === STANDARD_PORT && host === STANDARD_HOST ? "" : ` --proxy-url ${proxyUrl}`;
  const caVariable = context.origins["TALLYMAN_CA_DIR"] === "environment" ? `TALLYMAN_CA_DIR=${shellWord(settings.caDir)} ` : "";
  const ledger = join(settings.dataDir, "tallyman.db");
  const targets = targetsOf(settings);
  const events = targets.length === 0 ? `kept in ${ledger} (TALLYMAN_WEBHOOK_URL delivers them)` : `delivered to ${targets.join(", ")}`;
  return [
    `Tallyman ${version} is metering.`,
    "",
    `  proxy      ${proxyUrl}`,
    `  CA file    ${app.authority.certificatePath}`,
    `  dashboard  ${app.adminUrl ?? "-"}/`,
    `  events     ${events}`,
    "",
    "Next, in the shell of your agent:",
    "",
    `  eval "$(${caVariable}${command} env${proxyOption})"`,
    "",
    "",
  ].join("\n");
}

/** Where events go, in a person's words. */
function targetsOf({ webhookUrl, eventsFile, openmeterUrl, stripeApiKey, stripeUrl, lagoApiKey, lagoUrl }: CommandContext["settings"]): string[] {
  const urls = [webhookUrl, openmeterUrl, stripeApiKey === undefined ? undefined : stripeUrl, lagoApiKey === undefined ? undefined : lagoUrl];
  const hosts = urls.flatMap((url) => (url === undefined ? [] : [new URL(url).host]));
  return eventsFile === undefined ? hosts : [...hosts, eventsFile === "-" ? "standard output" : eventsFile];
}

/** The defaults of TALLYMAN_HOST and TALLYMAN_PORT, by which `tallyman env` finds the proxy without being told. */
const STANDARD_HOST = "127.0.0.1";
const STANDARD_PORT = 8080;

/** Quoted for sh where it has to be. */
function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
