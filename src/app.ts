/**
 * The composition root: builds the parts, joins them, starts and stops them in order. The only file that knows both
 * the proxy and the usage side.
 */

import { readFile } from "node:fs/promises";
import type { Logger } from "pino";

import { createFlowFeed, type FlowFeed, type FlowSummary } from "./admin/flow-feed.ts";
import { createMetrics, type Metrics } from "./admin/metrics.ts";
import { createAdminServer, type AdminServer } from "./admin/server.ts";
import { nearest } from "./config/nearest.ts";
import type { Settings } from "./config/settings.ts";
import type { FlowGate, FlowHead, Refusal } from "./flow/flow.ts";
import { createHostTable, type HostTable } from "./flow/route.ts";
import { flowFields } from "./log.ts";
import { loadOrCreateAuthority, type CertificateAuthority } from "./proxy/certificate-authority.ts";
import { createLeafCache } from "./proxy/leaf-cache.ts";
import { errorCode } from "./proxy/proxy-error.ts";
import { startProxy, type ProxyServer } from "./proxy/proxy.ts";
import { openStore, type DurableStore } from "./store/client.ts";
import {
  attribute,
  cleanValue,
  createBillable,
  createCounters,
  createDelivery,
  createEventBuilder,
  createMeter,
  createPendingJobs,
  createPriceBook,
  createTracker,
  handlers as standardHandlers,
  keyFingerprint,
  type ActiveFlow,
  type Attribution,
  type Counters,
  type CounterSnapshot,
  type Delivery,
  type Handler,
  type PriceBook,
  type Tracker,
  type UsageEvent,
} from "./usage/index.ts";

/** A gate of the embedder: undefined lets the request pass; a text refuses it (403 request_denied). */
export type BillingGate = (head: FlowHead) => string | undefined | Promise<string | undefined>;

export interface AppOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly version: string;
  /** False: no admin server (the private proxy of `tallyman run`). Default true. */
  readonly hasAdmin?: boolean;
  /** Handlers before the standard ones. */
  readonly meters?: readonly Handler[];
  /** Price overrides in the format of TALLYMAN_PRICES_FILE. */
  readonly prices?: unknown;
  readonly billingGate?: BillingGate;
  /** The caller type of a flow, where neither the operator nor the client names one. */
  readonly callerType?: (head: FlowHead) => string | undefined;
  /** Receives each usage event after it is stored. */
  readonly sinks?: readonly ((event: UsageEvent) => unknown)[];
  /** Epoch milliseconds. */
  readonly clock?: () => number;
}

export interface DrainReport {
  /** False when the time was up before everything was done. What is left is on disk. */
  readonly drained: boolean;
  readonly counters: CounterSnapshot;
}

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

/** A start that failed for a reason the operator can mend. `isWrongSetting` asks for exit code 2. */
export class StartError extends Error {
  readonly code: string;
  readonly isWrongSetting: boolean;
  constructor(code: string, message: string, options: { readonly cause?: unknown; readonly isWrongSetting?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.name = "StartError";
    this.code = code;
    this.isWrongSetting = options.isWrongSetting ?? false;
  }
}

/** The bound of the wait for a commit (contract section 6). */
const COMMIT_WAIT_MS = 250;
const DRAIN_POLL_MS = 10;

/** Builds and starts everything. Rejects with a coded error; nothing is left running then. */
export async function startApp(options: AppOptions): Promise<App> {
  const { settings, logger } = options;
  for (const variable of withoutEffect(settings)) logger.warn(`${variable} is set and checked, and has no effect in this version`);
  const handlers = [...(options.meters ?? []), ...standardHandlers];
  const hosts = hostTable(handlers, settings);
  const prices = await loadPrices(options);
  const authority = await loadOrCreateAuthority(settings.caDir);
  const extraCaPem = settings.upstreamCaFile === undefined ? undefined : await readFile(settings.upstreamCaFile, "utf8");
  const store = await openStore({
    dataDir: settings.dataDir,
    durability: settings.durability,
    delivers: settings.webhookUrl !== undefined,
    retentionMs: settings.retentionMs,
    logger,
  });
  const undo: (() => Promise<unknown>)[] = [() => store.close()];
  try {
    return await join({ options, hosts, prices, authority, extraCaPem, store, undo });
  } catch (error) {
    for (const step of undo.toReversed()) await step().catch(() => undefined);
    throw error;
  }
}

/** Settings whose feature is not built yet: silence would be taken for a working one. */
function withoutEffect(settings: Settings): string[] {
  const set: Readonly<Record<string, boolean>> = {
    TALLYMAN_UPSTREAM_PROXY: settings.upstreamProxy !== undefined,
    TALLYMAN_BUDGETS: settings.budgets.length > 0,
    TALLYMAN_CANONICAL_TOKENS: settings.canonicalTokens,
    TALLYMAN_INCLUDE_USAGE: settings.includeUsage,
  };
  return Object.entries(set).flatMap(([variable, isSet]) => (isSet ? [variable] : []));
}

interface Parts {
  readonly options: AppOptions;
  readonly hosts: HostTable<Handler>;
  readonly prices: PriceBook;
  readonly authority: CertificateAuthority;
  readonly extraCaPem: string | undefined;
  readonly store: DurableStore;
  /** What a failed start has to take back, in order of making. */
  readonly undo: (() => Promise<unknown>)[];
}

async function join(parts: Parts): Promise<App> {
  const { options, hosts, store, authority, undo } = parts;
  const { settings, logger } = options;
  const now = options.clock ?? Date.now;
  const state = { isDraining: false };
  const counters = createCounters({
    pendingFile: settings.pendingFile,
    now,
    onFileError: (error) => logger.error({ code: errorCode(error) }, "TALLYMAN_PENDING_FILE cannot be written"),
  });
  const metrics = createMetrics({ counters: () => counters.snapshot() });
  const tracker = createTracker({ logger });
  for (const sink of options.sinks ?? []) tracker.subscribe(sink);
  const feed = createFlowFeed();
  const delivery = startDelivery(parts, counters, metrics);
  if (delivery !== undefined) undo.push(() => delivery.stop(0));
  await followOutbox(store, counters, delivery !== undefined);

  const ports = { admin: 0 };
  const leaves = createLeafCache({ authority, leafTtlMs: settings.leafTtlMs, onMint: () => metrics.leafMinted() });
  const meter = buildMeter(parts, { counters, metrics, tracker, feed, hasReceiver: delivery !== undefined, now });
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
    connectTimeoutMs: settings.upstreamConnectTimeoutMs,
    idleTimeoutMs: settings.upstreamIdleTimeoutMs,
    observer: meter,
    gate: buildGate(options, hosts, counters, delivery !== undefined),
    closedFor: () => (state.isDraining ? DRAINING : undefined),
    now,
    onProxyAnswer: (code) => metrics.proxyError(code),
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
  const admin = options.hasAdmin === false ? undefined : buildAdmin(parts, { counters, metrics, tracker, feed, delivery, drain, drainRequested, now });
  if (admin !== undefined) undo.push(() => admin.close());
  const listening = await admin?.listen();
  ports.admin = listening?.port ?? 0;

  let stopped: Promise<DrainReport> | undefined;
  const stop = async (drainTimeoutMs?: number): Promise<DrainReport> => {
    const report = await drain(drainTimeoutMs);
    await closeAll({ proxy, admin, delivery, store, counters });
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

const DRAINING: Refusal = { status: 503, code: "draining", message: "this proxy is shutting down; try again with its successor" };

function startDelivery(parts: Parts, counters: Counters, metrics: Metrics): Delivery | undefined {
  const { options, store, extraCaPem } = parts;
  const { settings } = options;
  if (settings.webhookUrl === undefined) return undefined;
  const sizes = new Map<string, number>();
  const delivery = createDelivery({
    // Counts what leaves the outbox.
    store: {
      onPending: (listener) => store.onPending(listener),
      counts: () => store.counts(),
      async takeBatch(maxEvents, maxBytes) {
        const batch = await store.takeBatch(maxEvents, maxBytes);
        if (batch !== undefined) sizes.set(batch.id, batch.events.length);
        return batch;
      },
      async delivered(batchId) {
        await store.delivered(batchId);
        const count = sizes.get(batchId) ?? 0;
        sizes.delete(batchId);
        counters.reportsDone(count);
        metrics.deliveryAttempted("delivered", count);
      },
      async releaseBatch(batchId) {
        sizes.delete(batchId);
        await store.releaseBatch(batchId);
      },
    },
    url: settings.webhookUrl,
    secrets: settings.webhookSecrets,
    headers: settings.webhookHeaders,
    maxEvents: settings.webhookBatchMaxEvents,
    maxBytes: settings.webhookBatchMaxBytes,
    maxWaitMs: settings.webhookBatchMaxWaitMs,
    concurrency: settings.webhookConcurrency,
    timeoutMs: settings.webhookTimeoutMs,
    version: options.version,
    logger: options.logger,
    ...(extraCaPem === undefined ? {} : { ca: extraCaPem }),
  });
  delivery.start();
  return delivery;
}

/** Counts events that no flow of this process made: those of an earlier run, and later adoptions. */
async function followOutbox(store: DurableStore, counters: Counters, hasReceiver: boolean): Promise<void> {
  if (!hasReceiver) return;
  const catchUp = async (): Promise<void> => {
    const { pending } = await store.counts();
    const missing = pending - counters.snapshot().reports;
    if (missing > 0) counters.reportsFound(missing);
  };
  await catchUp();
  store.onPending((events) => {
    // Undefined after an adoption. A failed look-up is made good by the next one.
    if (events === undefined) catchUp().catch(() => undefined);
  });
}

interface MeterParts {
  readonly counters: Counters;
  readonly metrics: Metrics;
  readonly tracker: Tracker;
  readonly feed: FlowFeed;
  readonly hasReceiver: boolean;
  readonly now: () => number;
}

function buildMeter(parts: Parts, { counters, metrics, tracker, feed, hasReceiver, now }: MeterParts): ReturnType<typeof createMeter> {
  const { options, store, hosts, prices } = parts;
  const { settings, logger } = options;
  const operator: Attribution = {
    orgId: settings.orgId ?? null,
    userId: settings.userId ?? null,
    agentId: settings.agentId ?? null,
    threadId: settings.threadId ?? null,
    callerType: settings.callerType ?? null,
    metadata: settings.metadata,
  };
  const isBillable = createBillable(settings.billable);
  const jobsFor = createPendingJobs(store, now);
  return createMeter({
    hosts,
    attribute: (head) => withCallerType(attribute(operator, head), head, options),
    isBillable: (meter, head) => isBillable(meter, head.headers),
    events: createEventBuilder({
      deploymentId: store.deploymentId,
      price: (facts, reading, usage) => priceReading(prices, facts, reading, usage),
    }),
    store,
    counters,
    jobsFor: (handler, head) => jobsFor(() => `${handler.id}|${keyFingerprint(head.headers) ?? "-"}`),
    isEstimateAllowed: settings.estimate,
    hasReceiver,
    isQueueFull: () => settings.queueFull === "drop_newest" && counters.snapshot().reports >= settings.queueMaxEvents,
    isStrict: settings.durability === "strict",
    commitWaitMs: COMMIT_WAIT_MS,
    monotonicMs: () => performance.now(),
    logger,
    onStored(events) {
      for (const { event, isDelivered } of events) {
        metrics.eventStored(event);
        if (isDelivered) tracker.record(event);
        logger.info(flowFields(event), "flow");
      }
    },
    onFlowStart: (flow) => feed.started(flow.flowId, () => flowSummary(flow)),
    onFlowEnd({ facts }, ending, readings, outcome) {
      metrics.flowEnded({ meter: facts.meter, ...ending });
      for (const reading of readings) {
        if (reading.kind === "measured") for (const anomaly of reading.anomalies ?? []) metrics.anomaly(anomaly);
      }
      feed.ended({
        flow_id: facts.flowId,
        outcome: outcome.kind,
        status: ending.status,
        latency_ms: ending.latencyMs,
        bytes_up: ending.bytesUp,
        bytes_down: ending.bytesDown,
      });
    },
    onCommitWait(waitedMs, isTimeout) {
      metrics.commitWaited(waitedMs / 1000);
      if (isTimeout) metrics.gap("commit_timeout", 1);
    },
  });
}

function flowSummary({ facts, method }: ActiveFlow): FlowSummary {
  return {
    flow_id: facts.flowId,
    started_at: new Date(facts.startedAtMs).toISOString(),
    meter: facts.meter,
    api: facts.api,
    operation: facts.operation,
    host: facts.host,
    method,
    org_id: facts.attribution.orgId,
    user_id: facts.attribution.userId,
    agent_id: facts.attribution.agentId,
    thread_id: facts.attribution.threadId,
  };
}

/** The embedder's function is asked where nobody else said; what it throws is logged and changes nothing. */
function withCallerType(attribution: Attribution, head: FlowHead, { callerType, logger }: AppOptions): Attribution {
  if (attribution.callerType !== null || callerType === undefined) return attribution;
  try {
    return { ...attribution, callerType: cleanValue(callerType(head) ?? "") ?? null };
  } catch (error) {
    logger.error({ err: error }, "callerType failed; the flow has none");
    return attribution;
  }
}

/** Provider-stated cost above all; our own number stands beside it. */
function priceReading(prices: PriceBook, ...[facts, reading, usage]: Parameters<Parameters<typeof createEventBuilder>[0]["price"]>): UsageEvent["data"]["cost"] {
  if (reading.kind !== "measured" || !("usage" in reading)) return null;
  const own = prices.price({
    meter: facts.meter,
    host: facts.host,
    model: reading.responseModel ?? reading.requestModel,
    serviceTier: reading.serviceTier,
    hints: reading.priceHints ?? {},
    usage,
    atMs: facts.startedAtMs,
  });
  if (reading.statedCost === undefined) return own;
  const { amount, currency } = reading.statedCost;
  return { amount, currency, source: "provider", price_version: prices.version, ...(own === null ? {} : { list_amount: own.amount }) };
}

function buildGate(options: AppOptions, hosts: HostTable<Handler>, counters: Counters, hasReceiver: boolean): FlowGate {
  const { queueFull, queueMaxEvents } = options.settings;
  const { billingGate } = options;
  return {
    admit(head) {
      if (hosts.lookup(head.host, head.port) === undefined) return undefined;
      if (hasReceiver && queueFull === "block" && counters.snapshot().reports >= queueMaxEvents) return QUEUE_FULL;
      return billingGate === undefined ? undefined : askBillingGate(billingGate, head, options.logger);
    },
  };
}

const QUEUE_FULL: Refusal = {
  status: 503,
  code: "queue_full",
  message: "usage events are waiting for their receiver and TALLYMAN_QUEUE_MAX_EVENTS is reached; mend the receiver (see /readyz) or set TALLYMAN_QUEUE_FULL=drop_newest",
};

async function askBillingGate(gate: BillingGate, head: FlowHead, logger: Logger): Promise<Refusal | undefined> {
  try {
    const reason = await gate(head);
    return reason === undefined ? undefined : { status: 403, code: "request_denied", message: reason };
  } catch (error) {
    logger.error({ err: error }, "billingGate failed; the request passes");
    return undefined;
  }
}

/** Which hosts have their TLS terminated. */
function interception(settings: Settings, hosts: HostTable<Handler>): (host: string, port: number) => boolean {
  const further = createHostTable(settings.interceptHosts.map((rule) => [pattern(rule), true] as const));
  const passed = createHostTable(settings.passthroughHosts.map((rule) => [pattern(rule), true] as const));
  return (host, port) => {
    if (passed.lookup(host, port) === true) return false;
    if (settings.intercept === "all" || further.lookup(host, port) === true) return true;
    return settings.intercept === "metered" && hosts.lookup(host, port) !== undefined;
  };
}

/** The handlers by host: what the operator bound goes before the handlers' own hosts, and of those the embedder's come first. */
function hostTable(handlers: readonly Handler[], settings: Settings): HostTable<Handler> {
  const byId = new Map(handlers.toReversed().map((handler) => [handler.id, handler]));
  const bound = settings.interceptHosts.flatMap((rule): [string, Handler][] => {
    if (rule.meter === undefined) return [];
    const handler = byId.get(rule.meter);
    if (handler !== undefined) return [[pattern(rule), handler]];
    const known = nearest(rule.meter, [...byId.keys()]);
    throw new StartError("unknown_meter", `TALLYMAN_INTERCEPT_HOSTS binds ${rule.host} to the meter ${rule.meter}, which does not exist; the nearest is ${known}.`, {
      isWrongSetting: true,
    });
  });
  const own = handlers.flatMap((handler) => handler.hosts.map((host): [string, Handler] => [host, handler]));
  // Of equal patterns the first wins.
  return createHostTable([...bound, ...own]);
}

function pattern(rule: { readonly host: string; readonly port: number | undefined }): string {
  if (rule.port === undefined) return rule.host;
  return rule.host.includes(":") ? `[${rule.host}]:${rule.port}` : `${rule.host}:${rule.port}`;
}

async function loadPrices(options: AppOptions): Promise<PriceBook> {
  const { pricesFile } = options.settings;
  const onFault = (error: unknown): void => options.logger.error({ code: errorCode(error) }, "prices cannot be looked up; events are unpriced");
  const where = pricesFile === undefined ? "the option prices" : `TALLYMAN_PRICES_FILE (${pricesFile})`;
  try {
    const overridesJson: unknown = pricesFile === undefined ? options.prices : JSON.parse(await readFile(pricesFile, "utf8"));
    return createPriceBook({ overridesJson, onFault });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError("prices_invalid", `${where} is not valid: ${reason}`, { cause: error, isWrongSetting: true });
  }
}

interface AdminParts extends Omit<MeterParts, "hasReceiver"> {
  readonly delivery: Delivery | undefined;
  readonly drain: (timeoutMs?: number) => Promise<DrainReport>;
  readonly drainRequested: PromiseWithResolvers<DrainReport>;
}

function buildAdmin(parts: Parts, { counters, metrics, tracker, feed, delivery, drain, drainRequested }: AdminParts): AdminServer {
  const { options, store, authority } = parts;
  const { settings, logger } = options;
  return createAdminServer({
    host: settings.adminHost,
    port: settings.adminPort,
    token: settings.adminToken,
    logger,
    sources: {
      health: () => ({ live: true }),
      readiness: () => Promise.resolve(readiness(store, delivery)),
      counters: () => counters.snapshot(),
      caPem: authority.certificatePem,
      store,
      flows: feed,
      tracker,
      metrics,
      async drain() {
        const report = await drain();
        // The answer leaves before the process does.
        setImmediate(() => drainRequested.resolve(report));
        return report;
      },
    },
  });
}

/** Not ready: usage cannot be stored. Degraded but ready: the receiver fails, and events wait on disk. */
function readiness(store: DurableStore, delivery: Delivery | undefined): { ready: boolean; reasons: readonly string[] } {
  const reasons: string[] = [];
  const state = delivery?.state();
  if (store.failure !== undefined) reasons.push(`usage cannot be written to TALLYMAN_DATA_DIR (${store.failure}); see the log`);
  const isStoring = reasons.length === 0;
  const isPaused = state?.status === "paused";
  if (state !== undefined && (isPaused || state.status === "retrying")) {
    reasons.push(`the webhook receiver ${isPaused ? "refuses events" : "does not take events"}: ${state.lastError ?? "unknown"}`);
  }
  return { ready: isStoring && !isPaused, reasons };
}

interface DrainParts {
  readonly state: { isDraining: boolean };
  readonly counters: Counters;
  readonly delivery: Delivery | undefined;
  readonly timeoutMs: number;
}

/** Refuses what is new, waits for the flows under way and their usage, then sends what waits in the outbox. */
function createDrain({ state, counters, delivery, timeoutMs }: DrainParts): (timeoutMs?: number) => Promise<DrainReport> {
  let running: Promise<DrainReport> | undefined;
  const drain = async (boundMs: number): Promise<DrainReport> => {
    state.isDraining = true;
    const deadline = performance.now() + boundMs;
    const isBusy = (): boolean => {
      const { flows, buffered } = counters.snapshot();
      return flows + buffered > 0;
    };
    while (isBusy() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    const isSent = (await delivery?.flush(Math.max(0, deadline - performance.now()))) ?? true;
    return { drained: isSent && !isBusy(), counters: counters.snapshot() };
  };
  return (boundMs = timeoutMs) => (running ??= drain(boundMs));
}

interface Running {
  readonly proxy: ProxyServer;
  readonly admin: AdminServer | undefined;
  readonly delivery: Delivery | undefined;
  readonly store: DurableStore;
  readonly counters: Counters;
}

async function closeAll({ proxy, admin, delivery, store, counters }: Running): Promise<void> {
  await proxy.close();
  await admin?.close();
  await delivery?.stop(0);
  await store.close();
  counters.close();
}

function listenError(error: unknown, settings: Settings): unknown {
  const code = errorCode(error);
  const where = `${settings.host}:${settings.port}`;
  if (code === "EADDRINUSE") {
    return new StartError("port_in_use", `${where} is in use. Set TALLYMAN_PORT to another port (0 takes any free one), or stop what listens there.`, { cause: error });
  }
  if (code === "EACCES") return new StartError("port_denied", `${where} may not be listened on. Set TALLYMAN_PORT to a port above 1023.`, { cause: error });
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new StartError("host_unavailable", `${settings.host} is no address of this machine. Set TALLYMAN_HOST to one that is.`, { cause: error });
  }
  return error;
}

