import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { formatFaults, loadSettings } from "../../src/config/load.ts";
import { SETTING_ROWS, type Settings } from "../../src/config/settings.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "tallyman-load-"));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

type Result = ReturnType<typeof loadSettings>;

function load(env: NodeJS.ProcessEnv): Result {
  return loadSettings(env, { cwd, isCheckout: false, homeDir: "/home/ada" });
}

function settingsOf(result: Result): Settings {
  if (!result.ok) throw new Error(formatFaults(result.faults));
  return result.settings;
}

function faultsOf(result: Result): Record<string, { value: string | undefined; allowed: string }> {
  if (result.ok) throw new Error("the settings were accepted");
  return Object.fromEntries(result.faults.map(({ name, value, allowed }) => [name, { value, allowed }]));
}

describe("loadSettings", () => {
  it("gives every default of the contract when nothing is set", () => {
    const settings = settingsOf(load({}));
    expect(settings).toMatchObject({
      host: "127.0.0.1", port: 8080, adminHost: "127.0.0.1", adminPort: 9090, adminToken: undefined, proxyTokens: [], allowOpenProxy: false,
      caDir: "/home/ada/.local/share/tallyman/certs", dataDir: "/home/ada/.local/share/tallyman/data", leafTtlMs: 259_200_000,
      intercept: "metered", interceptHosts: [], passthroughHosts: [], connectTo: [], upstreamCaFile: undefined, upstreamProxy: undefined,
      denyAddresses: ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "127.0.0.0/8", "::1/128", "0.0.0.0/8"],
      upstreamConnectTimeoutMs: 10_000, upstreamIdleTimeoutMs: 600_000, webhookUrl: undefined, webhookSecrets: [], webhookHeaders: {},
      webhookBatchMaxEvents: 100, webhookBatchMaxBytes: 262_144, webhookBatchMaxWaitMs: 1000, webhookConcurrency: 4, webhookTimeoutMs: 15_000,
      queueMaxEvents: 100_000, queueFull: "block", retentionMs: 7_776_000_000, orgId: undefined, metadata: {}, billable: "all", budgets: [],
      pricesFile: undefined, durability: "strict", estimate: true, canonicalTokens: false, includeUsage: false, pendingFile: undefined,
      drainTimeoutMs: 30_000, logLevel: "info", logFormat: "auto",
    });
  });

  it("reads each variable that is set and says where each value came from", () => {
    writeFileSync(join(cwd, "token"), "from-a-file\n");
    const result = load({ TALLYMAN_PORT: "0", TALLYMAN_LOG_LEVEL: "DEBUG", TALLYMAN_ESTIMATE: "no", TALLYMAN_ADMIN_TOKEN_FILE: "token" });
    expect(settingsOf(result)).toMatchObject({ port: 0, logLevel: "debug", estimate: false, adminToken: "from-a-file" });
    expect(result.ok && result.origins).toMatchObject({
      TALLYMAN_PORT: "environment", TALLYMAN_ESTIMATE: "environment", TALLYMAN_ADMIN_TOKEN: "file", TALLYMAN_HOST: "default",
    });
  });

  it("takes an empty variable for one that is not set", () => {
    const result = load({ TALLYMAN_PORT: "", TALLYMAN_WEBHOOK_URL: "  ", TALLYMAN_ADMIN_TOKEN_FILE: "" });
    expect(settingsOf(result)).toMatchObject({ port: 8080, webhookUrl: undefined, adminToken: undefined });
    expect(result.ok && result.origins["TALLYMAN_PORT"]).toBe("default");
  });

  it("lists every fault at once, with name, value and what is allowed", () => {
    const faults = faultsOf(load({ TALLYMAN_PORT: "70000", TALLYMAN_RETENTION: "90", TALLYMAN_QUEUE_FULL: "drop", TALLYMAN_HOST: "not a host" }));
    expect(Object.keys(faults)).toEqual(["TALLYMAN_HOST", "TALLYMAN_PORT", "TALLYMAN_RETENTION", "TALLYMAN_QUEUE_FULL"]);
    expect(faults["TALLYMAN_PORT"]).toEqual({ value: '"70000"', allowed: "a port from 0 to 65535; 0 means any free port" });
    expect(faults["TALLYMAN_QUEUE_FULL"]?.allowed).toBe("block or drop_newest");
  });

  it("never shows the value of a secret, however wrong it is", () => {
    const env = {
      TALLYMAN_ADMIN_TOKEN: "hunter2 hunter2", TALLYMAN_PROXY_TOKENS: "ok,hunter2 x", TALLYMAN_WEBHOOK_SECRET: "hunter2",
      TALLYMAN_WEBHOOK_HEADERS: '{"hunter2 x":"authorization"}', TALLYMAN_UPSTREAM_PROXY: "socks5://u:hunter2@proxy:1080",
    };
    const result = load(env);
    expect(Object.keys(faultsOf(result)).toSorted()).toEqual(Object.keys(env).toSorted());
    expect(result.ok ? "" : formatFaults(result.faults)).not.toContain("hunter2");
  });

  it("never shows what may be a credential in a URL, or a key where its fingerprint belongs", () => {
    const env = { TALLYMAN_WEBHOOK_URL: "https://u:hunter2@billing.example/?x=hunter2", TALLYMAN_STRIPE_URL: "ftp://billing.example/a?key=hunter2", TALLYMAN_BILLABLE: "openai:sk-proj-hunter2hunter2" };
    const faults = faultsOf(load(env));
    expect(faults["TALLYMAN_WEBHOOK_URL"]?.value).toBe('"https://(redacted)@billing.example/?(redacted)"');
    expect(faults["TALLYMAN_STRIPE_URL"]?.value).toBe('"ftp://billing.example/a?(redacted)"');
    expect(faults["TALLYMAN_BILLABLE"]?.value).toBe('"openai:(redacted)"');
  });

  it("faults a secret that is given in both forms, whose file is empty, or whose file cannot be read", () => {
    writeFileSync(join(cwd, "empty"), " \n");
    const faults = faultsOf(load({
      TALLYMAN_ADMIN_TOKEN: "a", TALLYMAN_ADMIN_TOKEN_FILE: "empty",
      TALLYMAN_PROXY_TOKENS_FILE: "empty", TALLYMAN_WEBHOOK_SECRET_FILE: "missing",
    }));
    expect(faults["TALLYMAN_ADMIN_TOKEN_FILE"]?.allowed).toBe("this or TALLYMAN_ADMIN_TOKEN, not both");
    expect(faults["TALLYMAN_PROXY_TOKENS_FILE"]?.allowed).toContain("the file is empty");
    expect(faults["TALLYMAN_WEBHOOK_SECRET_FILE"]?.allowed).toContain("the file cannot be read: ENOENT: no such file or directory");
  });

  it("has a file form for every secret", () => {
    const secrets = SETTING_ROWS.filter((row) => row.isSecret);
    expect(secrets.map((row) => row.variable)).toEqual(
      expect.arrayContaining(["TALLYMAN_ADMIN_TOKEN", "TALLYMAN_PROXY_TOKENS", "TALLYMAN_WEBHOOK_SECRET", "TALLYMAN_WEBHOOK_HEADERS", "TALLYMAN_UPSTREAM_PROXY"]),
    );
    expect(secrets.every((row) => row.hasFileForm)).toBe(true);
  });

  it("reads proxy tokens one a line from a file, and budgets from a file", () => {
    writeFileSync(join(cwd, "tokens"), "first\r\nsecond\n");
    writeFileSync(join(cwd, "budgets.json"), '[{"name":"d","scope":"all","window":"day","max_tokens":5}]');
    const settings = settingsOf(load({ TALLYMAN_PROXY_TOKENS_FILE: "tokens", TALLYMAN_BUDGETS_FILE: join(cwd, "budgets.json") }));
    expect(settings.proxyTokens).toEqual(["first", "second"]);
    expect(settings.budgets).toEqual([{ name: "d", scope: "all", window: "day", maxUsd: undefined, maxTokens: 5, warnAt: [], match: undefined }]);
  });

  it("faults a CA file that is missing or holds no certificate", () => {
    writeFileSync(join(cwd, "not.pem"), "hello");
    expect(faultsOf(load({ TALLYMAN_UPSTREAM_CA_FILE: "missing.pem" }))["TALLYMAN_UPSTREAM_CA_FILE"]?.allowed).toMatch(/PEM file.*cannot be read: ENOENT/);
    expect(faultsOf(load({ TALLYMAN_UPSTREAM_CA_FILE: "not.pem" }))["TALLYMAN_UPSTREAM_CA_FILE"]?.allowed).toContain("no PEM certificate");
    writeFileSync(join(cwd, "broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect(faultsOf(load({ TALLYMAN_UPSTREAM_CA_FILE: "broken.pem" }))["TALLYMAN_UPSTREAM_CA_FILE"]?.allowed).toContain("certificate 1 in the file cannot be read");
  });

  it("starts relative paths at the working directory", () => {
    writeFileSync(join(cwd, "prices.json"), "[]");
    const settings = settingsOf(load({ TALLYMAN_DATA_DIR: "here", TALLYMAN_PENDING_FILE: "run/pending.json", TALLYMAN_PRICES_FILE: "prices.json" }));
    expect(settings).toMatchObject({ dataDir: join(cwd, "here"), pendingFile: join(cwd, "run/pending.json"), pricesFile: join(cwd, "prices.json") });
  });

  it("warns of an unknown variable and names the nearest", () => {
    const result = load({ TALLYMAN_PROT: "1", TALLYMAN_WEBHOOK_SECRETS: "x", HOME: "/", TALLYMANX: "1" });
    expect(result.ok && result.warnings).toEqual([
      "TALLYMAN_PROT is not a setting and is ignored; the nearest is TALLYMAN_PORT.",
      "TALLYMAN_WEBHOOK_SECRETS is not a setting and is ignored; the nearest is TALLYMAN_WEBHOOK_SECRET.",
    ]);
  });

  it("escapes control characters and cuts long values in its message", () => {
    const { value } = faultsOf(load({ TALLYMAN_PORT: `\u001b[31m${"9".repeat(1000)}` }))["TALLYMAN_PORT"] ?? {};
    expect(value).toMatch(/^"\\x1b\[31m9{1,200}…"$/);
  });

  it("tells the faults in one message", () => {
    const result = load({ TALLYMAN_PORT: "x", TALLYMAN_ADMIN_HOST: "0.0.0.0" });
    expect(result.ok ? "" : formatFaults(result.faults)).toBe(
      "tallyman: 2 settings are wrong.\n" +
        '  TALLYMAN_PORT is "x"; allowed: a port from 0 to 65535; 0 means any free port\n' +
        "  TALLYMAN_ADMIN_TOKEN is not set; allowed: a bearer token, because TALLYMAN_ADMIN_HOST (0.0.0.0) is not loopback\n" +
        "Every setting is explained in docs/configuration.md.\n",
    );
  });
});

describe("the rules that join settings", () => {
  it.each(["0.0.0.0", "::", "10.0.0.5", "proxy.internal", "[2001:db8::1]"])("asks for tokens where the proxy listens on %s", (host) => {
    expect(Object.keys(faultsOf(load({ TALLYMAN_HOST: host })))).toEqual(["TALLYMAN_PROXY_TOKENS"]);
    expect(load({ TALLYMAN_HOST: host, TALLYMAN_PROXY_TOKENS: "s" }).ok).toBe(true);
    expect(load({ TALLYMAN_HOST: host, TALLYMAN_ALLOW_OPEN_PROXY: "true" }).ok).toBe(true);
  });

  it.each(["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"])("asks for nothing where both listen on %s", (host) => {
    expect(load({ TALLYMAN_HOST: host, TALLYMAN_ADMIN_HOST: host }).ok).toBe(true);
  });

  it("asks for an admin token beyond loopback, and does not ask twice when the token is wrong", () => {
    expect(Object.keys(faultsOf(load({ TALLYMAN_ADMIN_HOST: "0.0.0.0" })))).toEqual(["TALLYMAN_ADMIN_TOKEN"]);
    expect(load({ TALLYMAN_ADMIN_HOST: "0.0.0.0", TALLYMAN_ADMIN_TOKEN: "t" }).ok).toBe(true);
    const result = load({ TALLYMAN_ADMIN_HOST: "0.0.0.0", TALLYMAN_ADMIN_TOKEN: "a b" });
    expect(result.ok ? [] : result.faults.map((fault) => fault.name)).toEqual(["TALLYMAN_ADMIN_TOKEN"]);
  });

  it.each([
    [{ TALLYMAN_PORT: "9000", TALLYMAN_ADMIN_PORT: "9000" }, false],
    [{ TALLYMAN_PORT: "9000", TALLYMAN_ADMIN_PORT: "9000", TALLYMAN_HOST: "localhost" }, false],
    [{ TALLYMAN_PORT: "9000", TALLYMAN_ADMIN_PORT: "9000", TALLYMAN_HOST: "0.0.0.0", TALLYMAN_ALLOW_OPEN_PROXY: "1" }, false],
    [{ TALLYMAN_PORT: "9000", TALLYMAN_ADMIN_PORT: "9000", TALLYMAN_HOST: "127.0.0.2" }, true],
    [{ TALLYMAN_PORT: "0", TALLYMAN_ADMIN_PORT: "0" }, true],
  ])("judges ports that meet: %o", (env, isAllowed) => {
    const result = load(env);
    expect(result.ok ? [] : result.faults.map((fault) => fault.name)).toEqual(isAllowed ? [] : ["TALLYMAN_ADMIN_PORT"]);
  });

  it("warns of posts that are not signed and of a short key", () => {
    const unsigned = load({ TALLYMAN_WEBHOOK_URL: "https://billing.example/events" });
    expect(unsigned.ok && unsigned.warnings.join()).toContain("posts are not signed");
    const short = load({ TALLYMAN_WEBHOOK_SECRET: "whsec_c2VjcmV0" });
    expect(short.ok && short.warnings.join()).toContain("fewer than 24 bytes");
    const good = load({ TALLYMAN_WEBHOOK_URL: "https://billing.example/", TALLYMAN_WEBHOOK_SECRET: "whsec_C2FVsBQIhrscChlQIMV+b5sSYob7oGMv" });
    expect(good.ok && good.warnings).toEqual([]);
  });
});
