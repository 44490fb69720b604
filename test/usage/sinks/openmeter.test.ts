import { describe, expect, it, onTestFinished } from "vitest";
import { createOpenMeter } from "../../../src/usage/sinks/openmeter.ts";
import { startHttpTarget } from "../../support/http-target.ts";
import { sinkBatch, sinkContract, sinkEvent } from "../../support/sink-contract.ts";

const COMMON = { timeoutMs: 10_000, version: "1.2.3" };

sinkContract("OpenMeter", async () => {
  const target = await startHttpTarget();
  return { ...target, sink: createOpenMeter({ ...COMMON, url: target.url, token: "om_token" }) };
});

describe("OpenMeter", () => {
  it("gets the frozen events as one batch of CloudEvents, with the token", async () => {
    const target = await startHttpTarget();
    const sink = createOpenMeter({ ...COMMON, url: `${target.url}/`, token: "om_token" });
    onTestFinished(async () => {
      await sink.close();
      await target.close();
    });
    await sink.send(sinkBatch(sink, ["a", "b"]), new AbortController().signal);
    expect(target.requests).toMatchObject([
      {
        method: "POST",
        path: "/api/v1/events",
        headers: { "content-type": "application/cloudevents-batch+json", authorization: "Bearer om_token", "user-agent": "tallyman/1.2.3" },
        body: `[${sinkEvent("a").body},${sinkEvent("b").body}]`,
      },
    ]);
  });
});
