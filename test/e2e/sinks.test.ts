/** The real program with several sinks at once: each has its own outbox, and none waits for another. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { apiClient, CALLS } from "../support/api-client.ts";
import { startHttpTarget, type HttpTarget } from "../support/http-target.ts";
import { asModelEvent, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

let stage: Stage;
let targets: HttpTarget[];
beforeEach(async () => {
  stage = await openStage();
  let posts = 0;
  const stumbling = startHttpTarget(() => ({ status: posts++ === 0 ? 503 : 200 }));
  targets = await Promise.all([startHttpTarget(), startHttpTarget(), stumbling]);
});
afterEach(async () => {
  await stage?.close();
  await Promise.all(targets.map((target) => target.close()));
});

const CALLED = 5;

/** The events of whole lines: the last may still be written. */
function linesOf(text: string): { readonly id: string }[] {
  return text.split("\n").slice(0, -1).filter((line) => line.startsWith("{")).map((line) => asModelEvent(JSON.parse(line)));
}

describe("several sinks", () => {
  it("each get every event, also one that stumbled", async () => {
    const [openmeter, stripe, lago] = targets as [HttpTarget, HttpTarget, HttpTarget];
    const file = join(stage.dir, "events.ndjson");
    const program = await stage.start({
      TALLYMAN_ORG_ID: "acme",
      TALLYMAN_EVENTS_FILE: file,
      TALLYMAN_OPENMETER_URL: openmeter.url,
      TALLYMAN_STRIPE_API_KEY: "sk_test_secret",
      TALLYMAN_STRIPE_URL: stripe.url,
      TALLYMAN_STRIPE_CUSTOMERS: '{"acme":"cus_Acme1"}',
      TALLYMAN_STRIPE_METERS: '{"output_tokens":"llm_output"}',
      TALLYMAN_LAGO_API_KEY: "lago_secret",
      TALLYMAN_LAGO_URL: lago.url,
    });
    const api = apiClient(program);
    for (let n = 0; n < CALLED; n++) await api.call(CALLS.message, { thread: `t-${n}` });
    await api.close();
    const webhook = await stage.receives(CALLED);
    const ids = new Set(webhook.map(({ id }) => id));
    await until(() => existsSync(file) && linesOf(readFileSync(file, "utf8")).length >= CALLED, "the file's lines");
    expect(new Set(linesOf(readFileSync(file, "utf8")).map(({ id }) => id))).toEqual(ids);
    await until(() => openmeter.received().flatMap((body) => JSON.parse(body)).length >= CALLED, "OpenMeter's events");
    await until(() => stripe.received().length >= CALLED, "Stripe's meter events");
    expect(new Set(stripe.received().map((body) => new URLSearchParams(body).get("identifier")))).toEqual(new Set([...ids].map((id) => `${id}:output_tokens`)));

    await settled(program);
    for (const id of ids) expect(lago.received().join()).toContain(`${id}:output_tokens`);
    expect(program.stdout + program.stderr).not.toMatch(/sk_test_secret|lago_secret/);
    expect(await program.stop()).toBe(0);
  });

  it("may be standard output alone: it has the events, and the banner goes elsewhere", async () => {
    const program = await stage.start({ TALLYMAN_EVENTS_FILE: "-", TALLYMAN_WEBHOOK_URL: "", TALLYMAN_WEBHOOK_SECRET: "" });
    const api = apiClient(program);
    await api.call(CALLS.message, { thread: "t" });
    await api.close();
    await until(() => linesOf(program.stdout).length === 1, "the line");
    expect(program.stdout).not.toContain("is metering");
    expect(await program.stop()).toBe(0);
  });
});
