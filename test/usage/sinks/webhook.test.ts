import { createWebhook } from "../../../src/usage/sinks/webhook.ts";
import { startReceiver } from "../../support/receiver.ts";
import { sinkContract } from "../../support/sink-contract.ts";

sinkContract("the webhook", async () => {
  let status: number | "hang" = 200;
  const receiver = await startReceiver({ answer: () => (status === "hang" ? { status: 200, delayMs: 60_000 } : { status }) });
  const sink = createWebhook({
    url: receiver.url,
    secrets: [],
    headers: {},
    timeoutMs: 10_000,
    version: "1.2.3",
    limits: { maxEvents: 100, maxBytes: 256 * 1024, maxWaitMs: 1000, concurrency: 2 },
  });
  return {
    sink,
    received: () => receiver.requests.map((request) => request.body),
    answer: (next) => (status = next),
    breakDown: () => receiver.close(),
    close: () => receiver.close(),
  };
});
