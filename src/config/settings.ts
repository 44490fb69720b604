/**
 * The one table of every setting: variable, kind, default, meaning. The type `Settings`, the loader, `tallyman config`
 * and the tables in the docs all come from it. A new setting is a row here and nothing else.
 */

import * as json from "./json-values.ts";
import * as network from "./network-values.ts";
import * as scalar from "./scalar-values.ts";
import { type ValueKind, listOf } from "./value-kind.ts";

export const SECTIONS = ["Listening", "Certificates and interception", "Upstream", "Ledger", "Delivery", "Further sinks", "Attribution and billing", "Metering", "Connectors", "Running"] as const;
export type Section = (typeof SECTIONS)[number];

/** The value where the variable is not set: a text that the kind reads, a standard directory (paths.ts), or a value that stands for "none". */
export type Default<T> =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "directory"; readonly text: "certs" | "data" }
  | { readonly kind: "none"; readonly value: T };

export interface Setting<T> {
  readonly variable: `TALLYMAN_${string}`;
  readonly section: Section;
  readonly kind: ValueKind<T>;
  readonly default: Default<T>;
  /** One or two sentences. */
  readonly docs: string;
  /** Never shown, not even where it is wrong. */
  readonly isSecret: boolean;
  /** Whether `VARIABLE_FILE` may name a file that holds the value. */
  readonly hasFileForm: boolean;
}

type Row = readonly [variable: Setting<unknown>["variable"], section: Section, docs: string];

function setting<T>([variable, section, docs]: Row, kind: ValueKind<T>, text: string): Setting<T> {
  return { variable, section, kind, default: { kind: "text", text }, docs, isSecret: false, hasFileForm: false };
}

function directory([variable, section, docs]: Row, text: "certs" | "data"): Setting<string> {
  return { variable, section, kind: scalar.path, default: { kind: "directory", text }, docs, isSecret: false, hasFileForm: false };
}

function optional<T>([variable, section, docs]: Row, kind: ValueKind<T>): Setting<T | undefined> {
  const orUndefined: ValueKind<T | undefined> = { ...kind, format: (value) => (value === undefined ? "" : kind.format(value)) };
  return { variable, section, kind: orUndefined, default: { kind: "none", value: undefined }, docs, isSecret: false, hasFileForm: false };
}

function list<T>([variable, section, docs]: Row, kind: ValueKind<readonly T[]>): Setting<readonly T[]> {
  return { variable, section, kind, default: { kind: "none", value: [] }, docs, isSecret: false, hasFileForm: false };
}

function secret<T>(row: Setting<T>): Setting<T> {
  return { ...row, isSecret: true, hasFileForm: true };
}

function orFromFile<T>(row: Setting<T>): Setting<T> {
  return { ...row, hasFileForm: true };
}

const ON_OFF = scalar.boolean({ on: "on", off: "off" });
const TRUE_FALSE = scalar.boolean({ on: "true", off: "false" });
const IDENTIFIER = scalar.line(256);

/** Every setting by its name in `Settings`, in the order of the docs. */
export const SETTINGS = {
  host: setting(["TALLYMAN_HOST", "Listening", "Address that the proxy listens on."], network.listenHost, "127.0.0.1"),
  port: setting(["TALLYMAN_PORT", "Listening", "Port of the proxy."], scalar.port, "8080"),
  adminHost: setting(["TALLYMAN_ADMIN_HOST", "Listening", "Address of the admin server: health, metrics, dashboard, API."], network.listenHost, "127.0.0.1"),
  adminPort: setting(["TALLYMAN_ADMIN_PORT", "Listening", "Port of the admin server."], scalar.port, "9090"),
  adminToken: secret(optional(
    ["TALLYMAN_ADMIN_TOKEN", "Listening", "Bearer token that the admin server asks for. Required when its host is not loopback."],
    scalar.token,
  )),
  proxyTokens: secret(list(
    ["TALLYMAN_PROXY_TOKENS", "Listening", "Secrets of which a client must send one, as `Proxy-Authorization: Basic agent_id:secret`. Required when TALLYMAN_HOST is not loopback, unless TALLYMAN_ALLOW_OPEN_PROXY is true."],
    listOf(scalar.token, { allowed: "comma-separated secrets of visible ASCII characters", hasSecretItems: true }),
  )),
  allowOpenProxy: setting(["TALLYMAN_ALLOW_OPEN_PROXY", "Listening", "Lets the proxy listen beyond loopback without tokens: whoever reaches the port can use it."], TRUE_FALSE, "false"),

  caDir: directory(["TALLYMAN_CA_DIR", "Certificates and interception", "Holds `ca.pem` (public) and `ca.key`. Made at the first start; an existing pair is used."], "certs"),
  leafTtlMs: setting(["TALLYMAN_LEAF_TTL", "Certificates and interception", "Lifetime of the certificates made for intercepted hosts."], scalar.duration("1m", "825d"), "72h"),
  intercept: setting(
    ["TALLYMAN_INTERCEPT", "Certificates and interception", "Hosts whose TLS is terminated: those that a meter knows, all, or none. The others are tunnelled untouched. Under `all` an unknown host that speaks a known protocol on a known path is metered too."],
    scalar.choice("metered", "all", "none"), "metered",
  ),
  interceptHosts: list(
    ["TALLYMAN_INTERCEPT_HOSTS", "Certificates and interception", "Further hosts to terminate. `host=openai` binds a self-hosted gateway to a meter."],
    listOf(network.interceptRule),
  ),
  passthroughHosts: list(["TALLYMAN_PASSTHROUGH_HOSTS", "Certificates and interception", "Hosts that are never terminated (clients that pin certificates)."], listOf(network.hostRule)),

  denyAddresses: setting(
    ["TALLYMAN_DENY_ADDRESSES", "Upstream", "Addresses that are refused after name resolution. The proxy's own ports always are."],
    listOf(network.addressBlock),
    "169.254.0.0/16,fe80::/10,fd00:ec2::254/128,127.0.0.0/8,::1/128,0.0.0.0/8",
  ),
  connectTo: list(
    ["TALLYMAN_CONNECT_TO", "Upstream", "Connects elsewhere than asked, as curl's `--connect-to` does; TLS name and Host header stay. Exempt from TALLYMAN_DENY_ADDRESSES."],
    listOf(network.connectToRule),
  ),
  upstreamCaFile: optional(
    ["TALLYMAN_UPSTREAM_CA_FILE", "Upstream", "Further trusted roots for TLS to the upstream. Verification cannot be turned off."],
    scalar.readableFile("a PEM file of certificates", scalar.pemProblem),
  ),
  upstreamProxy: secret(optional(["TALLYMAN_UPSTREAM_PROXY", "Upstream", "Proxy to chain through."], network.upstreamProxy)),
  upstreamConnectTimeoutMs: setting(["TALLYMAN_UPSTREAM_CONNECT_TIMEOUT", "Upstream", "Time to connect to the upstream; 504 past it."], scalar.duration("1ms", "10m"), "10s"),
  upstreamIdleTimeoutMs: setting(
    ["TALLYMAN_UPSTREAM_IDLE_TIMEOUT", "Upstream", "Time without a byte from the upstream; 504 or a broken-off response past it."],
    scalar.duration("1ms", "24h"), "10m",
  ),

  dataDir: directory(["TALLYMAN_DATA_DIR", "Ledger", "Holds the ledger and the outbox (SQLite). Several processes may share it."], "data"),
  retentionMs: setting(["TALLYMAN_RETENTION", "Ledger", "How long delivered events stay in the ledger."], scalar.duration("1s", "3650d"), "90d"),
  durability: setting(
    ["TALLYMAN_DURABILITY", "Ledger", "`strict`: the last byte of a metered response waits (at most 250 ms) until its usage is on disk. `relaxed`: it does not wait."],
    scalar.choice("strict", "relaxed"), "strict",
  ),
  pendingFile: optional(["TALLYMAN_PENDING_FILE", "Ledger", "Where a snapshot of the counters `flows`, `buffered` and `reports` is kept current."], scalar.path),

  webhookUrl: optional(["TALLYMAN_WEBHOOK_URL", "Delivery", "Where usage events are posted. Without it they stay in the ledger."], network.webhookUrl),
  webhookSecrets: secret(list(["TALLYMAN_WEBHOOK_SECRET", "Delivery", "Signs each post (Standard Webhooks). Two while rotating."], json.webhookSecrets)),
  webhookHeaders: secret(setting(["TALLYMAN_WEBHOOK_HEADERS", "Delivery", "Extra headers of each post, an Authorization header say."], json.requestHeaders, "{}")),
  webhookBatchMaxEvents: setting(["TALLYMAN_WEBHOOK_BATCH_MAX_EVENTS", "Delivery", "A batch closes at this many events, at TALLYMAN_WEBHOOK_BATCH_MAX_BYTES or at TALLYMAN_WEBHOOK_BATCH_MAX_WAIT: whichever it reaches first."], scalar.integer(1, 10_000), "100"),
  webhookBatchMaxBytes: setting(["TALLYMAN_WEBHOOK_BATCH_MAX_BYTES", "Delivery", "A batch closes at this size."], scalar.size("1KiB", "16MiB"), "256KiB"),
  webhookBatchMaxWaitMs: setting(["TALLYMAN_WEBHOOK_BATCH_MAX_WAIT", "Delivery", "A batch closes when its oldest event has waited this long."], scalar.duration("0ms", "1h"), "1s"),
  webhookConcurrency: setting(["TALLYMAN_WEBHOOK_CONCURRENCY", "Delivery", "Posts under way at once."], scalar.integer(1, 64), "4"),
  webhookTimeoutMs: setting(["TALLYMAN_WEBHOOK_TIMEOUT", "Delivery", "Deadline of a whole post, name resolution included."], scalar.duration("1ms", "10m"), "15s"),
  queueMaxEvents: setting(["TALLYMAN_QUEUE_MAX_EVENTS", "Delivery", "Bound of the outbox."], scalar.integer(1, 100_000_000), "100000"),
  queueFull: setting(
    ["TALLYMAN_QUEUE_FULL", "Delivery", "What happens at the bound. `block`: new metered requests get 503 `queue_full`. `drop_newest`: events are dropped and counted in a durable gap record."],
    scalar.choice("block", "drop_newest"), "block",
  ),

  eventsFile: optional(["TALLYMAN_EVENTS_FILE", "Further sinks", "File that usage events are appended to, one line of JSON each; `-` is standard output."], scalar.pathOrDash),
  openmeterUrl: optional(["TALLYMAN_OPENMETER_URL", "Further sinks", "OpenMeter that takes the events, `https://openmeter.cloud` say."], network.apiUrl),
  openmeterToken: secret(optional(["TALLYMAN_OPENMETER_TOKEN", "Further sinks", "Its API token."], scalar.token)),
  stripeApiKey: secret(optional(["TALLYMAN_STRIPE_API_KEY", "Further sinks", "Key of the Stripe account that gets a meter event for each category of a billable event."], scalar.token)),
  stripeUrl: setting(["TALLYMAN_STRIPE_URL", "Further sinks", "Where Stripe's API is."], network.apiUrl, "https://api.stripe.com/"),
  stripeCustomers: orFromFile(optional(["TALLYMAN_STRIPE_CUSTOMERS", "Further sinks", "Customer ids by the events' subjects. Without it subjects are customer ids. Events of other subjects become dead letters."], json.names)),
  stripeMeters: orFromFile(optional(["TALLYMAN_STRIPE_METERS", "Further sinks", "Event names of Stripe's meters by category; others are not sent. Without it each category is sent under its own name."], json.names)),
  lagoApiKey: secret(optional(["TALLYMAN_LAGO_API_KEY", "Further sinks", "Key of the Lago organization that gets an event for each category of a billable event."], scalar.token)),
  lagoUrl: setting(["TALLYMAN_LAGO_URL", "Further sinks", "Where Lago's API is."], network.apiUrl, "https://api.getlago.com/"),
  lagoSubscriptions: orFromFile(optional(["TALLYMAN_LAGO_SUBSCRIPTIONS", "Further sinks", "External subscription ids by the events' subjects. Without it subjects are those ids. Events of other subjects become dead letters."], json.names)),
  lagoMetrics: orFromFile(optional(["TALLYMAN_LAGO_METRICS", "Further sinks", "Codes of Lago's billable metrics by category; others are not sent. Without it each category is sent under its own name."], json.names)),

  orgId: optional(["TALLYMAN_ORG_ID", "Attribution and billing", "Organization of every event; clients cannot change it."], IDENTIFIER),
  userId: optional(["TALLYMAN_USER_ID", "Attribution and billing", "User of every event."], IDENTIFIER),
  agentId: optional(["TALLYMAN_AGENT_ID", "Attribution and billing", "Agent of every event."], IDENTIFIER),
  threadId: optional(["TALLYMAN_THREAD_ID", "Attribution and billing", "Thread of every event."], IDENTIFIER),
  callerType: optional(["TALLYMAN_CALLER_TYPE", "Attribution and billing", "Caller type of every event."], IDENTIFIER),
  metadata: setting(["TALLYMAN_METADATA", "Attribution and billing", "Strings added to every event."], json.metadata, "{}"),
  billable: setting(["TALLYMAN_BILLABLE", "Attribution and billing", "Which flows are billable. The others are metered too, with `billable: false`. `printf %s \"$KEY\" | sha256sum | cut -c1-16` prints a key's fingerprint; for AWS, KEY is the access key's id."], json.billable, "all"),
  budgets: orFromFile(list(["TALLYMAN_BUDGETS", "Attribution and billing", "Limits on use; beyond one, requests get 429 `budget_exhausted`."], json.budgets)),
  pricesFile: optional(["TALLYMAN_PRICES_FILE", "Attribution and billing", "Prices that are added to the built-in table or replace its own."], scalar.readableFile("a file of prices")),

  estimate: setting(["TALLYMAN_ESTIMATE", "Metering", "Estimates usage with a tokenizer where the provider sent none (an aborted stream, say)."], ON_OFF, "on"),
  canonicalTokens: setting(["TALLYMAN_CANONICAL_TOKENS", "Metering", "Adds `canonical_input_tokens`, the cl100k_base count of the request's text, to model events."], ON_OFF, "off"),
  includeUsage: setting(
    ["TALLYMAN_INCLUDE_USAGE", "Metering", "Adds `stream_options.include_usage` to OpenAI-style streams that lack it, and takes the extra chunk out again."],
    ON_OFF, "off",
  ),

  connectorsFile: optional(
    ["TALLYMAN_CONNECTORS_FILE", "Connectors", "Connectors of your own, as JSON: a definition, or a list of them. Their hosts are metered."],
    scalar.readableFile("a file of connector definitions"),
  ),
  connectorPrices: setting(
    ["TALLYMAN_CONNECTOR_PRICES", "Connectors", "Where sources disagree about what a connector charges: `list` takes the likeliest price, `strict` the dearest. Counts do not depend on it."],
    scalar.choice("list", "strict"), "list",
  ),
  gmailQuotaTable: setting(
    ["TALLYMAN_GMAIL_QUOTA_TABLE", "Connectors", "Which of Google's tables the quota units of Gmail calls are taken from: the one since 2026-05-01 (`2026-05`) or the one before (`legacy`)."],
    scalar.choice("2026-05", "legacy"), "2026-05",
  ),
  xOwnerUserId: optional(
    ["TALLYMAN_X_OWNER_USER_ID", "Connectors", "Id of the X user who owns the developer app: reads of that user's own lists count as `owned_reads`. Only where the app serves that one user."],
    scalar.digits(20),
  ),
  xUrlRule: setting(
    ["TALLYMAN_X_URL_RULE", "Connectors", "What makes a post on X one with a URL. `text`: a link in its text. `conservative`: also a quote, media, a card or a link into direct messages."],
    scalar.choice("text", "conservative"), "text",
  ),
  xIncludes: setting(
    ["TALLYMAN_X_INCLUDES", "Connectors", "Which expanded objects of X's answers count: `all`, those of the route's own kind (`same-type`), or `none`."],
    scalar.choice("all", "same-type", "none"), "all",
  ),
  xDeduplicate: setting(
    ["TALLYMAN_X_DEDUPLICATE", "Connectors", "Tells reads of X apart by UTC day and credential: `posts.read.unique` beside `posts.read` is what was not read before, and is what is priced."],
    ON_OFF, "off",
  ),

  drainTimeoutMs: setting(["TALLYMAN_DRAIN_TIMEOUT", "Running", "How long a stop (SIGTERM, `POST /drain`) waits for flows and deliveries."], scalar.duration("0ms", "24h"), "30s"),
  logLevel: setting(["TALLYMAN_LOG_LEVEL", "Running", "Least severe log line that is written."], scalar.choice("trace", "debug", "info", "warn", "error", "fatal", "silent"), "info"),
  logFormat: setting(
    ["TALLYMAN_LOG_FORMAT", "Running", "`text`: one readable line a flow. `json`: pino. `auto`: text on a terminal, JSON elsewhere."],
    scalar.choice("auto", "text", "json"), "auto",
  ),
} as const;

export type SettingName = keyof typeof SETTINGS;

/** Every setting, read: durations in milliseconds (`…Ms`), sizes in bytes (`…Bytes`), paths absolute, "none" as undefined or an empty list. */
export type Settings = { readonly [Name in SettingName]: (typeof SETTINGS)[Name] extends Setting<infer T> ? T : never };

/** A row with its name, for code that treats all rows alike. */
export interface NamedSetting extends Setting<unknown> {
  readonly name: string;
}

/** The rows in the order of the docs. */
export const SETTING_ROWS: readonly NamedSetting[] = Object.entries(SETTINGS).map(([name, row]) => ({ name, ...row }));
