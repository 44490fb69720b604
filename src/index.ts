/** The library's public surface, nothing else. */

import type { Logger } from "pino";

import { startApp, StartError, type App, type AppOptions, type DrainReport } from "./app.ts";
import { packageVersion } from "./version.ts";
import { formatFaults } from "./config/load.ts";
import { readOptions, type SettingOptions } from "./config/options.ts";
import { processContext } from "./config/paths.ts";
import type { Settings } from "./config/settings.ts";
import { createLogger } from "./log.ts";
import type { CounterSnapshot, TrackerDimension, UsageSubscriber, UsageTally } from "./usage/index.ts";

export type { BillingGate, DrainReport } from "./app.ts";
export { StartError } from "./app.ts";
export type { Settings } from "./config/settings.ts";
export type { FlowHead } from "./flow/flow.ts";
export type { ConnectorUsage, ModelUsage } from "./usage/categories.ts";
export type { Handler, Reader, Reading } from "./usage/handler.ts";
export type { Sink, SinkBatch, SinkEvent, SinkLimits, SinkRequest, Verdict } from "./usage/delivery/sink.ts";
export type { CounterSnapshot, TrackerDimension, UsageEvent, UsageSubscriber, UsageTally } from "./usage/index.ts";

/** Every setting of the program (docs/configuration.md explains them), and what only an embedder can give. */
export interface TallymanOptions
  extends Omit<SettingOptions, "callerType">,
    Partial<Pick<AppOptions, "meters" | "prices" | "billingGate" | "sinks" | "clock" | "hasAdmin">> {
  /** Fixed for every flow, or decided for each from its head where the client names none. */
  readonly callerType?: string | NonNullable<AppOptions["callerType"]>;
  /** Default: JSON lines on stderr at `logLevel`. */
  readonly logger?: Logger;
}

export interface Tallyman {
  /** Resolves when the proxy listens; calls while it starts or runs are one start. Rejects with a coded error whose message says what to do. */
  start(): Promise<void>;
  /** Drains (TALLYMAN_DRAIN_TIMEOUT, or the time given in ms) and closes everything. Idempotent; it may be started again. */
  stop(drainTimeoutMs?: number): Promise<void>;
  /** Refuses new flows, lets those under way finish and delivers; does not close. */
  drain(timeoutMs?: number): Promise<DrainReport>;
  /** Receives each usage event after it is stored. What it throws is logged and changes nothing. May be called before start. */
  subscribe(subscriber: UsageSubscriber): () => void;
  unsubscribe(subscriber: UsageSubscriber): void;
  /** Since the last start; also after its end. */
  totals(): UsageTally;
  totalsBy(dimension: TrackerDimension): ReadonlyMap<string, UsageTally>;
  counters(): CounterSnapshot;
  /** `http://host:port`. Throws before start. */
  readonly proxyUrl: string;
  /** Undefined without an admin server. Throws before start. */
  readonly adminUrl: string | undefined;
  /** The public CA certificate that clients have to trust. Throws before start. */
  readonly caFile: string;
}

/** Makes a Tallyman; nothing is opened before `start`. Throws StartError for settings that are wrong. */
export function createTallyman(options: TallymanOptions = {}): Tallyman {
  const settings = settle(options);
  const { meters, prices, billingGate, callerType, sinks, clock, hasAdmin } = options;
  const subscribers = new Set<UsageSubscriber>();
  const logger = options.logger ?? createLogger({ level: settings.logLevel, format: "json", stderr: process.stderr, isTerminal: false });
  let starting: Promise<App> | undefined;
  let app: App | undefined;
  /** The last that was started: what it counted can be asked for after its end. */
  let counted: App | undefined;
  const launch = async (): Promise<App> => {
    const given = { meters, prices, billingGate, clock, hasAdmin, callerType: typeof callerType === "function" ? callerType : undefined };
    const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const running = await startApp({ settings, logger, version: packageVersion(), ...present, ...(sinks === undefined ? {} : { sinks }) });
    for (const subscriber of subscribers) running.tracker.subscribe(subscriber);
    return running;
  };
  const started = (): App => {
    if (app === undefined) throw new StartError("not_started", "Call start() first.");
    return app;
  };
  const lastStarted = (): App => counted ?? started();
  return {
    async start() {
      starting ??= launch();
      try {
        app = await starting;
        counted = app;
      } catch (error) {
        starting = undefined;
        throw error;
      }
    },
    async stop(drainTimeoutMs) {
      // A start under way is waited for; one that failed has nothing to stop.
      const running = await starting?.catch(() => undefined);
      starting = undefined;
      app = undefined;
      await running?.stop(drainTimeoutMs);
    },
    drain: (timeoutMs) => started().drain(timeoutMs),
    subscribe(subscriber) {
      subscribers.add(subscriber);
      app?.tracker.subscribe(subscriber);
      return () => {
        subscribers.delete(subscriber);
        app?.tracker.unsubscribe(subscriber);
      };
    },
    unsubscribe(subscriber) {
      subscribers.delete(subscriber);
      app?.tracker.unsubscribe(subscriber);
    },
    totals: () => lastStarted().tracker.totals(),
    totalsBy: (dimension) => lastStarted().tracker.totalsBy(dimension),
    counters: () => lastStarted().counters.snapshot(),
    get proxyUrl() {
      return `http://${reachable(settings.host)}:${started().proxyPort}`;
    },
    get adminUrl() {
      return started().adminUrl;
    },
    get caFile() {
      return started().authority.certificatePath;
    },
  };
}

/** The environment is not read. */
function settle(options: TallymanOptions): Settings {
  const read = readOptions({ ...options }, processContext());
  if (!read.ok) throw new StartError("wrong_settings", formatFaults(read.faults), { isWrongSetting: true });
  return read.settings;
}

/** A listener on every address is reached on loopback. */
function reachable(host: string): string {
  const address = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return address.includes(":") ? `[${address}]` : address;
}
