/** The sinks that the settings ask for, and those that the embedder gives. */

import type { Settings } from "../config/settings.ts";
import { createEventFile, createEventStream, createLago, createOpenMeter, createStripe, createWebhook, type Sink } from "../usage/index.ts";
import type { AppOptions, Parts } from "./parts.ts";

/** What a sink is made of, once its setting is there. */
type Maker = (settings: Settings, parts: Parts) => Sink;

/** The ids of the sinks that these settings make, without making them. */
export function settingsOfSinks(settings: Settings): string[] {
  return makersFor(settings).map(([id]) => id);
}

export function configuredSinks(parts: Parts): Sink[] {
  const { settings } = parts.options;
  return makersFor(settings).map(([, make]) => make(settings, parts));
}

export function givenSinks(options: AppOptions): Sink[] {
  return (options.sinks ?? []).flatMap((sink) => (typeof sink === "function" ? [] : [sink]));
}

function makersFor({ webhookUrl, eventsFile, openmeterUrl, stripeApiKey, lagoApiKey }: Settings): [id: string, make: Maker][] {
  const makers: [string, Maker][] = [];
  if (webhookUrl !== undefined) makers.push(["webhook", (settings, parts) => webhook(webhookUrl, settings, parts)]);
  if (eventsFile === "-") makers.push(["stdout", () => createEventStream(process.stdout)]);
  else if (eventsFile !== undefined) makers.push(["file", () => createEventFile(eventsFile)]);
  if (openmeterUrl !== undefined) {
    makers.push(["openmeter", (settings, parts) => createOpenMeter({ ...httpOptions(settings, parts), url: openmeterUrl, token: settings.openmeterToken })]);
  }
  if (stripeApiKey !== undefined) {
    makers.push(["stripe", (settings, parts) => createStripe({ ...httpOptions(settings, parts), url: settings.stripeUrl, apiKey: stripeApiKey, customers: settings.stripeCustomers, meters: settings.stripeMeters })]);
  }
  if (lagoApiKey !== undefined) {
    makers.push(["lago", (settings, parts) => createLago({ ...httpOptions(settings, parts), url: settings.lagoUrl, apiKey: lagoApiKey, subscriptions: settings.lagoSubscriptions, metrics: settings.lagoMetrics })]);
  }
  return makers;
}

/** Every post has the webhook's deadline. */
function httpOptions({ webhookTimeoutMs }: Settings, { options, extraCaPem }: Parts): { timeoutMs: number; version: string; ca: string | undefined } {
  return { timeoutMs: webhookTimeoutMs, version: options.version, ca: extraCaPem };
}

function webhook(url: string, settings: Settings, parts: Parts): Sink {
  return createWebhook({
    ...httpOptions(settings, parts),
    url,
    secrets: settings.webhookSecrets,
    headers: settings.webhookHeaders,
    limits: {
      maxEvents: settings.webhookBatchMaxEvents,
      maxBytes: settings.webhookBatchMaxBytes,
      maxWaitMs: settings.webhookBatchMaxWaitMs,
      concurrency: settings.webhookConcurrency,
    },
  });
}
