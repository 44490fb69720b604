import { describe, expect, it } from "vitest";

import { SECTIONS, SETTING_ROWS } from "../../src/config/settings.ts";
import { loadSettings } from "../../src/config/load.ts";

const CONTRACT = `HOST PORT ADMIN_HOST ADMIN_PORT ADMIN_TOKEN PROXY_TOKENS ALLOW_OPEN_PROXY CA_DIR LEAF_TTL DATA_DIR INTERCEPT INTERCEPT_HOSTS
  PASSTHROUGH_HOSTS DENY_ADDRESSES CONNECT_TO UPSTREAM_CA_FILE UPSTREAM_PROXY UPSTREAM_CONNECT_TIMEOUT UPSTREAM_IDLE_TIMEOUT WEBHOOK_URL
  WEBHOOK_SECRET WEBHOOK_HEADERS WEBHOOK_BATCH_MAX_EVENTS WEBHOOK_BATCH_MAX_BYTES WEBHOOK_BATCH_MAX_WAIT WEBHOOK_CONCURRENCY WEBHOOK_TIMEOUT
  QUEUE_MAX_EVENTS QUEUE_FULL RETENTION ORG_ID USER_ID AGENT_ID THREAD_ID CALLER_TYPE METADATA BILLABLE BUDGETS PRICES_FILE
  DURABILITY ESTIMATE CANONICAL_TOKENS INCLUDE_USAGE PENDING_FILE DRAIN_TIMEOUT LOG_LEVEL LOG_FORMAT`;

/** Choices of single connectors and sinks, which the contract leaves open. */
const CONNECTORS = "CONNECTORS_FILE CONNECTOR_PRICES GMAIL_QUOTA_TABLE X_OWNER_USER_ID X_URL_RULE X_INCLUDES X_DEDUPLICATE";
const SINKS = "EVENTS_FILE OPENMETER_URL OPENMETER_TOKEN STRIPE_API_KEY STRIPE_URL STRIPE_CUSTOMERS STRIPE_METERS LAGO_API_KEY LAGO_URL LAGO_SUBSCRIPTIONS LAGO_METRICS";

describe("the table of settings", () => {
  it("has exactly the variables of the contract and those of connectors and sinks, each once", () => {
    const expected = `${CONTRACT} ${CONNECTORS} ${SINKS}`.split(/\s+/).map((name) => `TALLYMAN_${name}`);
    expect(SETTING_ROWS.map((row) => row.variable).toSorted()).toEqual(expected.toSorted());
  });

  it("names what is measured in the names of settings with a unit", () => {
    for (const row of SETTING_ROWS) {
      if (row.kind.allowed.startsWith("a duration")) expect(row.name).toMatch(/Ms$/);
      if (row.kind.allowed.startsWith("a size")) expect(row.name).toMatch(/Bytes$/);
    }
  });

  it("explains every setting in a known section", () => {
    for (const row of SETTING_ROWS) {
      expect(SECTIONS).toContain(row.section);
      expect(row.docs, row.variable).toMatch(/^\S.{10,}\.$/);
    }
  });

  it.each(SETTING_ROWS.flatMap((row) => (row.default.kind === "text" ? [[row.variable, row] as const] : [])))(
    "writes the default of %s as it is read",
    (_, row) => {
      const text = row.default.kind === "text" ? row.default.text : "";
      const parsed = row.kind.parse(text, { cwd: "/" });
      expect(parsed.isValid && row.kind.format(parsed.value)).toBe(text);
    },
  );

  it("is loaded whole: a name in the settings for each row", () => {
    const result = loadSettings({}, { cwd: "/", isCheckout: false, homeDir: "/home/ada" });
    expect(result.ok && Object.keys(result.settings)).toEqual(SETTING_ROWS.map((row) => row.name));
  });
});
