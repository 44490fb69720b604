import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDemoReceiver } from "../../src/cli/demo-receiver.ts";
import type { DemoReceiver } from "../../src/cli/demo-receiver.ts";

const SECRET = `whsec_${Buffer.alloc(24, 7).toString("base64")}`;
const EVENT = {
  id: "e-1",
  data: {
    meter: "anthropic",
    response_id: "msg_1",
    response_model: "claude-opus-5-5",
    usage: { input_tokens: 2, output_tokens: 3 },
    totals: { input_tokens: 2, output_tokens: 3, total_tokens: 5 },
    completeness: "complete",
    cost: { amount: "0.000068" },
  },
};

let receiver: DemoReceiver;
beforeEach(async () => {
  receiver = await startDemoReceiver(SECRET);
});
afterEach(() => receiver.close());

async function post(body: string, { secret = SECRET, at = new Date(), sent = body } = {}): Promise<number> {
  const signature = new Webhook(secret).sign("batch-1", at, body);
  const timestamp = String(Math.floor(at.getTime() / 1000));
  const headers = { "webhook-id": "batch-1", "webhook-timestamp": timestamp, "webhook-signature": `v1,AAAA ${signature}` };
  return (await fetch(receiver.url, { method: "POST", headers, body: sent })).status;
}

describe("the demo's receiver", () => {
  it("takes a batch that an independent library signed, each event once", async () => {
    expect(await post(JSON.stringify([EVENT, { ...EVENT, id: "e-2" }]))).toBe(204);
    expect(await post(JSON.stringify([EVENT]))).toBe(204);
    expect(receiver).toMatchObject({ posts: 2, refused: 0 });
    expect(receiver.events.map(({ id }) => id)).toEqual(["e-1", "e-2"]);
    expect(receiver.events[0]).toEqual({
      id: "e-1",
      responseId: "msg_1",
      meter: "anthropic",
      model: "claude-opus-5-5",
      usage: { input_tokens: 2, output_tokens: 3 },
      inputTokens: 2,
      outputTokens: 3,
      completeness: "complete",
      cost: "0.000068",
    });
  });

  it("refuses another secret, a changed body, an old timestamp and a post without signature", async () => {
    const body = JSON.stringify([EVENT]);
    expect(await post(body, { secret: `whsec_${Buffer.alloc(24, 8).toString("base64")}` })).toBe(400);
    expect(await post(body, { sent: body.replace("0.000068", "0.000001") })).toBe(400);
    expect(await post(body, { at: new Date(Date.now() - 600_000) })).toBe(400);
    expect((await fetch(receiver.url, { method: "POST", body })).status).toBe(400);
    expect(receiver).toMatchObject({ posts: 0, refused: 4, events: [] });
  });

  it("refuses what is signed and no batch of events", async () => {
    for (const body of ["", "{}", "[1]", '[{"data":{}}]']) expect(await post(body)).toBe(400);
    expect(receiver.events).toEqual([]);
  });
});
