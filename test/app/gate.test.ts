import { describe, expect, it } from "vitest";
import { buildGate } from "../../src/app/gate.ts";
import { loadSettings } from "../../src/config/load.ts";
import type { FlowHead, Refusal } from "../../src/flow/flow.ts";
import { createHostTable } from "../../src/flow/route.ts";
import type { Handler } from "../../src/usage/handler.ts";
import { createLogger } from "../../src/log.ts";

const METERED: Handler = { id: "m", kind: "model", hosts: ["metered.example"], open: () => ({ api: "m", operation: "other", isBillable: false, reader: undefined }) };

function headTo(host: string): FlowHead {
  return { flowId: "f", startedAtMs: 0, protocol: "http", scheme: "https", host, port: 443, method: "POST", target: "/", headers: [], proxyUser: undefined, attributionHeaders: [] };
}

/** What the gate says to a request, with so many events undelivered and a disk that takes nothing or is well. */
async function admit(env: NodeJS.ProcessEnv, reports: number, isNearlyFull: boolean, host = "metered.example", hasReceiver = true): Promise<Refusal | undefined> {
  const loaded = loadSettings({ TALLYMAN_QUEUE_MAX_EVENTS: "10", ...env }, { cwd: "/", isCheckout: false, homeDir: "/home/ada" });
  if (!loaded.ok) throw new Error("the settings have a fault");
  const logger = createLogger({ level: "fatal", format: "json", stderr: process.stderr, isTerminal: false });
  const hosts = createHostTable([["metered.example", METERED]]);
  const gate = buildGate({ options: { settings: loaded.settings, logger, version: "1" }, hosts, recognize: undefined, store: { isNearlyFull } }, { snapshot: () => ({ flows: 0, buffered: 0, reports }) }, hasReceiver);
  return gate.admit(headTo(host));
}

describe("the gate", () => {
  it("refuses metered requests while the outbox is full or the disk takes nothing, under block", async () => {
    expect(await admit({}, 9, false)).toBeUndefined();
    expect(await admit({}, 10, false)).toMatchObject({ status: 503, code: "queue_full", message: expect.stringContaining("receiver") });
    expect(await admit({}, 0, true)).toMatchObject({ status: 503, code: "queue_full", message: expect.stringContaining("disk") });
    expect(await admit({}, 0, true, "metered.example", false)).toMatchObject({ status: 503, code: "queue_full" });
  });

  it("refuses nothing else: other hosts, drop_newest, a full outbox that nobody empties", async () => {
    expect(await admit({}, 10, true, "other.example")).toBeUndefined();
    expect(await admit({ TALLYMAN_QUEUE_FULL: "drop_newest" }, 10, true)).toBeUndefined();
    expect(await admit({}, 10, false, "metered.example", false)).toBeUndefined();
  });
});
