import { describe, expect, it } from "vitest";

import * as json from "../../src/config/json-values.ts";
import type { ValueKind } from "../../src/config/value-kind.ts";

function read<T>(kind: ValueKind<T>, text: string): T | string {
  const parsed = kind.parse(text, { cwd: "/" });
  return parsed.isValid ? parsed.value : `refused: ${parsed.problem ?? kind.allowed}`;
}

describe("metadata", () => {
  it("takes an object of strings", () => {
    expect(read(json.metadata, '{"team":"search","tier":""}')).toEqual({ team: "search", tier: "" });
  });

  it.each([["[]"], ['{"a":1}'], ['{"a":null}'], ['"a"'], ["{"], ['{"":"x"}'], ["team=search"]])("refuses %s", (text) => {
    expect(read(json.metadata, text)).toMatch(/^refused: a JSON object of strings/);
  });
});

describe("webhook headers", () => {
  it("takes names and values", () => {
    expect(read(json.requestHeaders, '{"Authorization":"Bearer x"}')).toEqual({ Authorization: "Bearer x" });
  });

  it.each([
    ['{"a b":"secret"}', "no valid header name"],
    ['{"a":"sec\\r\\nret: 1"}', "no valid header value"],
    ['{"Webhook-Signature":"secret"}', "Tallyman sets itself"],
    ['{"content-length":"secret"}', "Tallyman sets itself"],
    ["secret", "it is not JSON"],
  ])("refuses %s and does not quote it", (text, reason) => {
    const answer = read(json.requestHeaders, text);
    expect(answer).toContain(reason);
    expect(String(answer).split(";").slice(1).join()).not.toMatch(/secret|a b/);
  });
});

describe("budgets", () => {
  const daily = '{"name":"daily","scope":"agent","window":"day","max_usd":"25.00","max_tokens":2000000,"warn_at":[0.9,0.75],"match":"agent-*"}';

  it("reads the contract's example", () => {
    expect(read(json.budgets, `[${daily}]`)).toEqual([
      { name: "daily", scope: "agent", window: "day", maxUsd: "25.00", maxTokens: 2_000_000, warnAt: [0.75, 0.9], match: "agent-*" },
    ]);
  });

  it("reads what it writes", () => {
    const first = json.budgets.parse(`[${daily}]`, { cwd: "/" });
    const text = first.isValid ? json.budgets.format(first.value) : "";
    expect(read(json.budgets, text)).toEqual(first.isValid && first.value);
  });

  it.each([
    ['{"name":"x","scope":"all","window":"day","max_tokens":1}', "expected array"],
    ['[{"scope":"all","window":"day","max_tokens":1}]', "item 1, name"],
    ['[{"name":"x","scope":"team","window":"day","max_tokens":1}]', "item 1, scope"],
    ['[{"name":"x","scope":"all","window":"week","max_tokens":1}]', "item 1, window"],
    ['[{"name":"x","scope":"all","window":"day"}]', "item 1: needs max_usd or max_tokens"],
    ['[{"name":"x","scope":"all","window":"day","max_usd":25}]', "item 1, max_usd"],
    ['[{"name":"x","scope":"all","window":"day","max_usd":"-1"}]', "item 1, max_usd"],
    ['[{"name":"x","scope":"all","window":"day","max_usd":"0.00"}]', "item 1, max_usd"],
    ['[{"name":"x","scope":"all","window":"day","max_tokens":0}]', "item 1, max_tokens"],
    ['[{"name":"x","scope":"all","window":"day","max_tokens":1.5}]', "item 1, max_tokens"],
    ['[{"name":"x","scope":"all","window":"day","max_tokens":1,"warn_at":[75]}]', "item 1, warn_at, item 1"],
    ['[{"name":"x","scope":"all","window":"day","max_tokens":1,"limit":2}]', "limit"],
    [`[${daily},${daily}]`, "names must differ"],
    ["[", "it is not JSON"],
  ])("refuses %s", (text, reason) => {
    const answer = read(json.budgets, text);
    expect(answer).toMatch(/^refused/);
    expect(answer).toContain(reason);
  });
});

describe("webhook secrets", () => {
  it("takes one, or two separated by a space", () => {
    expect(read(json.webhookSecrets, "whsec_c2VjcmV0")).toEqual(["whsec_c2VjcmV0"]);
    expect(read(json.webhookSecrets, "whsec_c2VjcmV0  whsec_b3RoZXI=")).toEqual(["whsec_c2VjcmV0", "whsec_b3RoZXI="]);
  });

  it.each(["c2VjcmV0", "whsec_", "whsec_c2VjcmV", "whsec_c2Vj-mV0", "whsec_====", "whsec_c2VjcmV0,whsec_c2VjcmV0", "whsec_YQ== whsec_YQ== whsec_YQ=="])("refuses %s", (text) => {
    expect(read(json.webhookSecrets, text)).toMatch(/^refused/);
  });
});

describe("what is billable", () => {
  it("takes all, none, meters and credentials of meters", () => {
    expect(read(json.billable, "all")).toBe("all");
    expect(read(json.billable, "none")).toBe("none");
    expect(read(json.billable, "openai, anthropic:3f9a")).toEqual([
      { meter: "openai", keyFingerprint: undefined },
      { meter: "anthropic", keyFingerprint: "3f9a" },
    ]);
  });

  it.each([",", "openai,all", "none,openai", "Open AI", "openai:", ":abcd", "openai:sk-proj-a", "openai:3F9A"])("refuses %j", (text) => {
    expect(read(json.billable, text)).toMatch(/^refused/);
  });
});
