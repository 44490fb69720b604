import { describe, expect, it, onTestFinished } from "vitest";
import type { Sink } from "../../../src/usage/delivery/sink.ts";
import { createLago, type LagoOptions } from "../../../src/usage/sinks/lago.ts";
import { startHttpTarget, type HttpTarget } from "../../support/http-target.ts";
import { sinkBatch, sinkContract } from "../../support/sink-contract.ts";

/** The contract's events name no subject. */
const SUBSCRIPTIONS = { undefined: "sub_acme" };
const never = new AbortController().signal;

function optionsFor(url: string): LagoOptions {
  return { url, apiKey: "lago_key", subscriptions: SUBSCRIPTIONS, metrics: undefined, timeoutMs: 10_000, version: "1.2.3" };
}

sinkContract("Lago", async () => {
  const target = await startHttpTarget();
  return { ...target, sink: createLago(optionsFor(target.url)) };
});

async function start(options: Partial<LagoOptions> = {}, respond?: Parameters<typeof startHttpTarget>[0]): Promise<{ sink: Sink; target: HttpTarget }> {
  const target = await startHttpTarget(respond);
  const sink = createLago({ ...optionsFor(target.url), ...options });
  onTestFinished(async () => {
    await sink.close();
    await target.close();
  });
  return { sink, target };
}

/** The transaction ids of a request, in order. */
function idsIn(body: string): unknown[] {
  const { events }: { events: { transaction_id: string }[] } = JSON.parse(body);
  return events.map((event) => event.transaction_id);
}

const taken = (...places: number[]): string =>
  JSON.stringify({ status: 422, code: "validation_errors", error_details: Object.fromEntries(places.map((place) => [place, { transaction_id: ["value_already_exist"] }])) });

describe("Lago", () => {
  it("gets an event for each category, under event:category", async () => {
    const { sink, target } = await start();
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "delivered" });
    expect(target.requests).toMatchObject([{ method: "POST", path: "/api/v1/events/batch", headers: { authorization: "Bearer lago_key", "content-type": "application/json" } }]);
    const common = { external_subscription_id: "sub_acme", timestamp: Date.parse("2026-11-21T10:00:00Z") / 1000 };
    expect(JSON.parse(target.received()[0] ?? "")).toEqual({
      events: [
        { ...common, transaction_id: "e1:input_tokens", code: "input_tokens", properties: { value: "3" } },
        { ...common, transaction_id: "e1:output_tokens", code: "output_tokens", properties: { value: "5" } },
      ],
    });
  });

  it("gets at most 100 events a request, and only the metrics that a table names", async () => {
    const ids = Array.from({ length: 60 }, (_, n) => `e${n}`);
    const all = await start();
    await all.sink.send(sinkBatch(all.sink, ids), never);
    expect(all.target.received().map((body) => idsIn(body).length)).toEqual([100, 20]);
    const some = await start({ metrics: { output_tokens: "llm_out" } });
    await some.sink.send(sinkBatch(some.sink, ids), never);
    expect(some.target.received().map((body) => idsIn(body).length)).toEqual([60]);
  });

  it("sends the others of a request again when Lago has some of it already", async () => {
    let posts = 0;
    const { sink, target } = await start({}, () => (posts++ === 0 ? { status: 422, body: taken(0, 2) } : { status: 200 }));
    expect(await sink.send(sinkBatch(sink, ["e1", "e2"]), never)).toEqual({ kind: "delivered" });
    expect(target.received().map(idsIn)).toEqual([
      ["e1:input_tokens", "e1:output_tokens", "e2:input_tokens", "e2:output_tokens"],
      ["e1:output_tokens", "e2:output_tokens"],
    ]);
  });

  it("counts a request as delivered when Lago has all of it already", async () => {
    const { sink } = await start({}, () => ({ status: 422, body: taken(0, 1) }));
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "delivered" });
  });

  it("refuses what Lago refuses for another reason", async () => {
    const body = JSON.stringify({ status: 422, error_details: { 0: { transaction_id: ["value_already_exist"], code: ["metric_not_found"] } } });
    const { sink } = await start({}, () => ({ status: 422, body }));
    expect(await sink.send(sinkBatch(sink, ["e1"]), never)).toEqual({ kind: "refused", reason: "HTTP 422" });
  });

  it("refuses an event whose subject has no subscription", () => {
    const sink = createLago({ ...optionsFor("http://127.0.0.1:1"), subscriptions: { other: "sub_1" } });
    onTestFinished(() => sink.close());
    expect(() => sinkBatch(sink, ["e1"])).toThrow(/no Lago subscription/);
  });
});
