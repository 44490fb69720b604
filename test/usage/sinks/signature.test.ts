import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { signatureHeader, signingKey } from "../../../src/usage/sinks/signature.ts";

const OLD = `whsec_${Buffer.from("the old secret of twenty-four bytes").toString("base64")}`;
const NEW = `whsec_${Buffer.from("the new secret of twenty-four bytes").toString("base64")}`;

describe("the webhook signature", () => {
  it("is accepted by the reference library under each secret while they rotate, and under no other", () => {
    const body = '[{"text":"Grüße 😀"}]';
    const seconds = Math.floor(Date.now() / 1000);
    const header = signatureHeader([signingKey(NEW), signingKey(OLD)], "msg_1", seconds, Buffer.from(body));
    const headers = { "webhook-id": "msg_1", "webhook-timestamp": String(seconds), "webhook-signature": header };
    expect(header.split(" ")).toHaveLength(2);
    for (const secret of [NEW, OLD]) expect(new Webhook(secret).verify(body, headers)).toEqual([{ text: "Grüße 😀" }]);
    const other = new Webhook(`whsec_${Buffer.from("somebody else's").toString("base64")}`);
    expect(() => other.verify(body, headers)).toThrow("signature");
    expect(() => new Webhook(NEW).verify(`${body} `, headers)).toThrow("signature");
  });

  it("refuses an empty secret", () => {
    expect(() => signingKey("whsec_")).toThrow(TypeError);
  });
});
