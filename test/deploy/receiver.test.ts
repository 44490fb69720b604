import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Webhook } from "standardwebhooks";
import { until } from "../support/until.ts";

const RECEIVER = resolve(import.meta.dirname, "../../deploy/receiver.mjs");
const SECRET = `whsec_${Buffer.alloc(24, 7).toString("base64")}`;
const EVENT = {
  specversion: "1.0",
  type: "llm.usage.v1",
  id: "0193f0a2-0000-7000-8000-000000000001",
  source: "/tallyman/test",
  subject: "acme",
  time: "2026-11-21T10:00:03.120Z",
  data: { meter: "anthropic", response_model: "claude-x", usage: { input_tokens: 3 }, completeness: "complete", cost: { amount: "0.01", currency: "USD" } },
};

let receiver: ChildProcess;
let output = "";
let port = 0;

beforeEach(async () => {
  output = "";
  const child = spawn(process.execPath, [RECEIVER], { env: { TALLYMAN_WEBHOOK_SECRET: SECRET, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  receiver = child;
  // What the receiver of the last test said before it was killed may arrive in this one.
  child.stdout.on("data", (data: Buffer) => {
    if (child === receiver) output += data.toString();
  });
  await until(() => output.includes("\n"), "the receiver's port");
  port = Number(/port (\d+)/.exec(output)?.[1]);
});

afterEach(() => {
  receiver.kill("SIGKILL");
});

/** Posts a batch signed at `at`, its body changed after signing where `sent` is given. */
async function post(events: readonly unknown[], { at = new Date(), sent = JSON.stringify(events) } = {}): Promise<number> {
  const id = "msg_1";
  const signature = new Webhook(SECRET).sign(id, at, JSON.stringify(events));
  const headers = { "webhook-id": id, "webhook-timestamp": String(Math.floor(at.getTime() / 1000)), "webhook-signature": `v1,AAAA ${signature}` };
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", headers, body: sent });
  return response.status;
}

describe("the sample receiver", () => {
  it("prints each event of a signed batch once, however often it comes", async () => {
    expect(await post([EVENT])).toBe(204);
    expect(await post([EVENT, { ...EVENT, id: "2" }])).toBe(204);
    await until(() => output.split("\n").length >= 4, "two events");
    expect(output.split("\n").slice(1)).toEqual([...Array.from({ length: 2 }, () => '2026-11-21T10:00:03.120Z acme anthropic claude-x {"input_tokens":3} complete 0.01 USD'), ""]);
  });

  it("refuses a body that was changed after it was signed", async () => {
    expect(await post([EVENT], { sent: JSON.stringify([{ ...EVENT, id: "forged" }]) })).toBe(401);
  });

  it("refuses a post of another hour", async () => {
    expect(await post([EVENT], { at: new Date(Date.now() - 3_600_000) })).toBe(401);
  });

  it("refuses what is no batch, and goes on", async () => {
    const signedText = "not json";
    const at = new Date();
    const headers = {
      "webhook-id": "m",
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": new Webhook(SECRET).sign("m", at, signedText),
    };
    const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", headers, body: signedText });
    expect(answer.status).toBe(400);
    expect(await post([EVENT])).toBe(204);
  });

  it("ends at SIGTERM", async () => {
    await post([EVENT]);
    receiver.kill("SIGTERM");
    expect(await once(receiver, "exit")).toEqual([0, null]);
  });
});
