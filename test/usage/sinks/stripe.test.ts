import { describe, expect, it, onTestFinished } from "vitest";
import type { Sink } from "../../../src/usage/delivery/sink.ts";
import { createStripe, type StripeOptions } from "../../../src/usage/sinks/stripe.ts";
import { startHttpTarget, type HttpTarget } from "../../support/http-target.ts";
import type { ReceivedRequest } from "../../support/receiver.ts";
import { sinkBatch, sinkContract, type sinkEvent } from "../../support/sink-contract.ts";

const HOUR_MS = 3_600_000;
const CREATED_MS = Date.parse("2026-11-21T10:00:00Z");
/** The contract's events name no subject. */
const CUSTOMERS = { undefined: "cus_Acme1" };
const never = new AbortController().signal;

function optionsFor(url: string): StripeOptions {
  return { url, apiKey: "sk_test_1", customers: CUSTOMERS, meters: undefined, timeoutMs: 10_000, version: "1.2.3", clock: () => CREATED_MS + 1000 };
}

sinkContract("Stripe", async () => {
  const target = await startHttpTarget();
  return { ...target, sink: createStripe(optionsFor(target.url)) };
});

async function start(options: Partial<StripeOptions> = {}, respond?: Parameters<typeof startHttpTarget>[0]): Promise<{ sink: Sink; target: HttpTarget }> {
  const target = await startHttpTarget(respond);
  const sink = createStripe({ ...optionsFor(target.url), ...options });
  onTestFinished(async () => {
    await sink.close();
    await target.close();
  });
  return { sink, target };
}

function formOf({ body }: ReceivedRequest): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(body));
}

describe("Stripe", () => {
  it("gets one meter event for each category, by form, under event:category", async () => {
    const { sink, target } = await start();
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "delivered" });
    expect(target.requests[0]).toMatchObject({ path: "/v1/billing/meter_events", headers: { authorization: "Bearer sk_test_1", "content-type": "application/x-www-form-urlencoded" } });
    const common = { timestamp: String(CREATED_MS / 1000), "payload[stripe_customer_id]": "cus_Acme1" };
    expect(target.requests.map(formOf)).toEqual([
      { ...common, event_name: "input_tokens", identifier: "e1:input_tokens", "payload[value]": "3" },
      { ...common, event_name: "output_tokens", identifier: "e1:output_tokens", "payload[value]": "5" },
    ]);
  });

  it("gets only the categories that a table of meters names", async () => {
    const { sink, target } = await start({ meters: { output_tokens: "llm_out" } });
    await sink.send(sinkBatch(sink, ["e1"]), never);
    expect(target.requests.map((request) => formOf(request)["event_name"])).toEqual(["llm_out"]);
  });

  it("counts an identifier that it has already as delivered, and sends the rest", async () => {
    const { sink, target } = await start({}, ({ body }) =>
      body.includes("input_tokens")
        ? { status: 400, body: '{"error":{"type":"invalid_request_error","message":"An event already exists with identifier e1:input_tokens."}}' }
        : { status: 200, body: "{}" },
    );
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "delivered" });
    expect(target.requests).toHaveLength(2);
  });

  it("refuses what Stripe refuses for another reason", async () => {
    const { sink } = await start({}, () => ({ status: 400, body: '{"error":{"message":"No such customer: cus_Acme1"}}' }));
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "refused", reason: "HTTP 400" });
  });

  it("sends nothing by itself that may be older than the 24 hours in which identifiers are known", async () => {
    const { sink, target } = await start({ clock: () => CREATED_MS + 23.5 * HOUR_MS });
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "refused", reason: "older than 24 hours" });
    expect(target.requests).toEqual([]);
  });

  it.each<[string, StripeOptions["customers"]]>([
    ["is not in the table of customers", { other: "cus_1" }],
    ["is no customer id, without a table", undefined],
    ["stands for no customer id", { undefined: "acme" }],
  ])("refuses an event whose subject %s, naming nobody", (_, customers) => {
    const sink = createStripe({ ...optionsFor("http://127.0.0.1:1"), customers });
    onTestFinished(() => sink.close());
    const prepare = (): unknown => sinkBatch(sink, ["e1"] satisfies Parameters<typeof sinkEvent>[0][]);
    expect(prepare).toThrow(/no Stripe customer/);
  });
});
