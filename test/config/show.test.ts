import { describe, expect, it } from "vitest";

import { loadSettings } from "../../src/config/load.ts";
import { SETTING_ROWS } from "../../src/config/settings.ts";
import { showSetting } from "../../src/config/show.ts";

function shown(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const result = loadSettings(env, { cwd: "/", isCheckout: false, homeDir: "/home/ada" });
  if (!result.ok) throw new Error("the settings are wrong");
  return Object.fromEntries(SETTING_ROWS.map((row) => [row.variable, showSetting(row, result.settings)]));
}

describe("showSetting", () => {
  it("writes values as they would stand in the environment", () => {
    expect(shown({ TALLYMAN_LEAF_TTL: "3600s", TALLYMAN_INTERCEPT_HOSTS: "A.example = openai", TALLYMAN_METADATA: '{ "a": "b" }' })).toMatchObject({
      TALLYMAN_LEAF_TTL: "1h", TALLYMAN_INTERCEPT_HOSTS: "a.example=openai", TALLYMAN_METADATA: '{"a":"b"}',
      TALLYMAN_WEBHOOK_BATCH_MAX_BYTES: "256KiB", TALLYMAN_ESTIMATE: "on", TALLYMAN_ALLOW_OPEN_PROXY: "false",
    });
  });

  it("shows nothing where nothing is set", () => {
    const all = shown({});
    for (const name of ["TALLYMAN_ADMIN_TOKEN", "TALLYMAN_WEBHOOK_HEADERS", "TALLYMAN_WEBHOOK_SECRET", "TALLYMAN_CONNECT_TO", "TALLYMAN_ORG_ID"]) {
      expect(all[name], name).toBeUndefined();
    }
  });

  it("redacts every secret and the query of the webhook URL", () => {
    const all = shown({
      TALLYMAN_ADMIN_TOKEN: "hunter2", TALLYMAN_PROXY_TOKENS: "hunter2", TALLYMAN_WEBHOOK_SECRET: "whsec_aHVudGVyMg==",
      TALLYMAN_WEBHOOK_HEADERS: '{"authorization":"hunter2"}', TALLYMAN_UPSTREAM_PROXY: "http://u:hunter2@proxy:3128",
      TALLYMAN_WEBHOOK_URL: "https://billing.example/in?key=hunter2",
    });
    expect(JSON.stringify(all)).not.toMatch(/hunter2|aHVudGVyMg/);
    expect(all).toMatchObject({ TALLYMAN_WEBHOOK_SECRET: "set (redacted)", TALLYMAN_WEBHOOK_URL: "https://billing.example/in?(redacted)" });
  });
});
