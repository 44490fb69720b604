/**
 * The composition root: builds the parts, joins them, starts and stops them in order. The only file that knows both
 * the proxy and the usage side.
 */

import { readFile } from "node:fs/promises";

import { createFlowFeed } from "./admin/flow-feed.ts";
import { createMetrics } from "./admin/metrics.ts";
import type { AdminServer } from "./admin/server.ts";
import { buildAdmin } from "./app/admin.ts";
import { followOutbox, sinkIds, startDelivery } from "./app/delivery.ts";
import { createDrain, DRAINING, type DrainReport } from "./app/drain.ts";
import { buildGate } from "./app/gate.ts";
import { loadHandlers } from "./app/handlers.ts";
import { hostTable, interception, recognition } from "./app/hosts.ts";
import { buildMeter } from "./app/metering.ts";
import type { AppOptions, Parts } from "./app/parts.ts";
import { loadPrices } from "./app/prices.ts";
import { rateLimited } from "./app/rate-limit.ts";
import { listenError } from "./app/start-error.ts";
import type { Settings } from "./config/settings.ts";
import { loadOrCreateAuthority, type CertificateAuthority } from "./proxy/certificate-authority.ts";
import { MAX_CONNECTIONS } from "./proxy/front.ts";
import { createLeafCache } from "./proxy/leaf-cache.ts";
import { errorCode } from "./proxy/proxy-error.ts";
import { startProxy, type ProxyServer } from "./proxy/proxy.ts";
import { openStore, type DurableStore } from "./store/client.ts";
import { CANONICAL_ENCODING, createCounters, createIncludeUsage, createTokenizer, createTracker, type Counters, type Deliveries, type Tokenizer, type Tracker } from "./usage/index.ts";

export type { DrainReport } from "./app/drain.ts";
export type { AppOptions, BillingGate } from "./app/parts.ts";
export { StartError } from "./app/start-error.ts";

const NO_SINKS: ReturnType<Deliveries["states"]> = new Map();

const CONNECTIONS_FULL_LOG_MS = 60_000;

export interface App {
  readonly proxyPort: number;
  /** Undefined without an admin server. */
  readonly adminUrl: string | undefined;
  readonly authority: CertificateAuthority;
  readonly store: DurableStore;
  readonly counters: Counters;
  readonly tracker: Tracker;
  /** Stops taking new flows and lets those under way finish, then delivers. Idempotent. */
  drain(timeoutMs?: number): Promise<DrainReport>;
  /** Resolves when a drain that was asked for over the admin server is over. */
  readonly drainRequested: Promise<DrainReport>;
  /** Drains, then closes everything. Idempotent. */
  stop(drainTimeoutMs?: number): Promise<DrainReport>;
}

/** Builds and starts everything. Rejects with a coded error; nothing is left running then. */
export async function startApp(options: AppOptions): Promise<App> {
  const { settings, logger } = options;
  for (const variable of withoutEffect(settings)) logger.warn(`${variable} is set and checked, and has no effect in this version`);
  const handlers = await loadHandlers(settings, options.meters);
  const hosts = hostTable(handlers, settings);
  const recognize = recognition(handlers, settings);
  const prices = await loadPrices(options);
  const authority = await loadOrCreateAuthority(settings.caDir);
  const extraCaPem = settings.upstreamCaFile === undefined ? undefined : await readFile(settings.upstreamCaFile, "utf8");
  const store = await openStore({
    dataDir: settings.dataDir,
    durability: settings.durability,
    sinks: sinkIds(options),
    retentionMs: settings.retentionMs,
    logger,
  });
  const undo: (() => Promise<unknown>)[] = [() => store.close()];
  try {
    return await join({ options, hosts, recognize, prices, authority, extraCaPem, store, undo });
  } catch (error) {
    for (const step of undo.toReversed()) await step().catch(() => undefined);
    throw error;
  }
}

async function join(parts: Parts): Promise<App> {
  const { options, hosts, store, authority, undo } = parts;
  const { settings, logger } = options;
  const now = options.clock ?? Date.now;
  const state = { isDraining: false };
  const counters = createCounters({
    reports: await store.pending(),
    pendingFile: settings.pendingFile,
    now,
    onFileError: (error) => logger.error({ code: errorCode(error) }, "TALLYMAN_PENDING_FILE cannot be written"),
  });
  const metrics = createMetrics({ counters: () => counters.snapshot(), sinks: () => delivery?.states() ?? NO_SINKS });
  store.onGap((kind, count) => metrics.gap(kind, count));
  const tracker = createTracker({ logger });
  for (const sink of options.sinks ?? []) if (typeof sink === "function") tracker.subscribe(sink);
  const feed = createFlowFeed();
  const delivery = startDelivery(parts, counters, metrics);
  if (delivery !== undefined) undo.push(() => delivery.stop(0));
  const unfollow = delivery === undefined ? undefined : await followOutbox(parts, counters);
  undo.push(() => Promise.resolve(unfollow?.()));

  const ports = { admin: 0 };
  const leaves = createLeafCache({ authority, leafTtlMs: settings.leafTtlMs, onMint: () => metrics.leafMinted() });
  const tokenizer = createTokenizer({ isKept: settings.canonicalTokens });
  undo.push(() => tokenizer.close());
  // Loading takes longer than the last byte of the first flow may wait.
  if (settings.canonicalTokens) await tokenizer.warm(CANONICAL_ENCODING);
  const meter = buildMeter(parts, { counters, metrics, tracker, feed, tokenizer, hasReceiver: delivery !== undefined, now });
  const proxy = await startProxy({
    host: settings.host,
    port: settings.port,
    proxyTokens: settings.proxyTokens,
    isIntercepted: interception(settings, hosts),
    contextFor: (host) => leaves.contextFor(host),
    denyAddresses: settings.denyAddresses,
    otherOwnPorts: () => [ports.admin],
    connectTo: settings.connectTo,
    extraCaPem: parts.extraCaPem,
    upstreamProxy: settings.upstreamProxy,
    connectTimeoutMs: settings.upstreamConnectTimeoutMs,
    idleTimeoutMs: settings.upstreamIdleTimeoutMs,
    observer: meter,
    editor: settings.includeUsage ? createIncludeUsage(hosts) : undefined,
    gate: buildGate(parts, counters, delivery !== undefined),
    closedFor: () => (state.isDraining ? DRAINING : undefined),
    now,
    onProxyAnswer: (code) => metrics.proxyError(code),
    onConnectionsFull: rateLimited(CONNECTIONS_FULL_LOG_MS, () => {
      logger.warn({ connections: MAX_CONNECTIONS }, "client connections are turned away: too many are open at once; start more processes (docs/operations.md)");
    }),
    onTunnelEnd: (report) => {
      metrics.tunnelEnded(report);
      logger.debug({ host: report.host, bytes_up: report.bytesUp, bytes_down: report.bytesDown, ms: Math.round(report.durationMs) }, "tunnel closed");
    },
    onHandshakeError: (host, error) => {
      metrics.handshakeFailed();
      logger.warn({ host, code: errorCode(error) }, "a client refused our certificate or broke off; does it trust the CA? (`tallyman ca show`)");
    },
  }).catch((error: unknown) => {
    throw listenError(error, settings);
  });
  undo.push(() => proxy.close());

  const drainRequested = Promise.withResolvers<DrainReport>();
  const drain = createDrain({ state, counters, delivery, timeoutMs: settings.drainTimeoutMs });
  const admin = options.hasAdmin === false ? undefined : buildAdmin(parts, { counters, metrics, tracker, feed, delivery, state, drain, drainRequested, now });
  if (admin !== undefined) undo.push(() => admin.close());
  const listening = await admin?.listen();
  ports.admin = listening?.port ?? 0;

  let stopped: Promise<DrainReport> | undefined;
  const stop = async (drainTimeoutMs?: number): Promise<DrainReport> => {
    const report = await drain(drainTimeoutMs);
    unfollow?.();
    await closeAll({ proxy, admin, tokenizer, delivery, store, counters });
    return report;
  };
  return {
    proxyPort: proxy.port,
    adminUrl: listening?.url,
    authority,
    store,
    counters,
    tracker,
    drain,
    drainRequested: drainRequested.promise,
    stop: (drainTimeoutMs) => (stopped ??= stop(drainTimeoutMs)),
  };
}

/** Settings whose feature is not built yet: silence would be taken for a working one. */
function withoutEffect(settings: Settings): string[] {
  const set: Readonly<Record<string, boolean>> = {
    TALLYMAN_BUDGETS: settings.budgets.length > 0,
  };
  return Object.entries(set).flatMap(([variable, isSet]) => (isSet ? [variable] : []));
}

interface Running {
  readonly proxy: ProxyServer;
  readonly admin: AdminServer | undefined;
  readonly tokenizer: Tokenizer;
  readonly delivery: Deliveries | undefined;
  readonly store: DurableStore;
  readonly counters: Counters;
}

async function closeAll({ proxy, admin, tokenizer, delivery, store, counters }: Running): Promise<void> {
  await proxy.close();
  await admin?.close();
  await tokenizer.close();
  await delivery?.stop(0);
  await store.close();
  counters.close();
}
