import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBodyHolder, LEFT_OUT, type HeldBody } from "../../../src/usage/estimate/held-body.ts";

const textOf = (body: HeldBody): string | undefined => {
  const copy = body.copy();
  return copy === undefined ? undefined : Buffer.from(copy).toString();
};

function held(text: string, size = 64 * 1024): string | undefined {
  const body = createBodyHolder().open();
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) body.push(bytes.subarray(at, at + size));
  const result = textOf(body);
  body.release();
  return result;
}

describe("a held body", () => {
  it("is what came, however it was cut", () => {
    const text = JSON.stringify({ messages: Array.from({ length: 200 }, (_, index) => ({ content: `words ${index} 漢字 `.repeat(index) })) });
    for (const size of [1, 7, 1000, 1024, 65_536]) expect(held(text, size)).toBe(text);
  });

  it("does not change when the chunk is used again", () => {
    const body = createBodyHolder().open();
    const chunk = Buffer.from("first");
    body.push(chunk);
    chunk.fill(0);
    expect(textOf(body)).toBe("first");
  });

  it("leaves out long base64, says so, and stays JSON", () => {
    const image = randomBytes(300_000).toString("base64");
    const text = JSON.stringify({ messages: [{ content: "look: " }, { image }, { content: "and that" }] });
    for (const size of [1, 1000, 65_536]) {
      const kept = held(text, size) ?? "";
      expect(kept.length).toBeLessThan(20_000);
      const document: unknown = JSON.parse(kept);
      expect(document).toEqual({ messages: [{ content: "look: " }, { image: expect.stringContaining(LEFT_OUT) }, { content: "and that" }] });
    }
  });

  it("keeps base64 of the length of a text", () => {
    const text = JSON.stringify({ content: "a".repeat(16_000) });
    expect(held(text)).toBe(text);
  });

  it("is never longer than what came, nor longer than its bound", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ maxLength: 50 }), fc.nat(3000).map((length) => "Q".repeat(length))), { maxLength: 30 }), (parts) => {
        const body = createBodyHolder({ maxBodyBytes: 8000 }).open();
        for (const part of parts) body.push(Buffer.from(part));
        const kept = body.copy();
        expect(kept?.length ?? 0).toBeLessThanOrEqual(Math.min(8000 + 1024, Buffer.byteLength(parts.join(""))));
      }),
    );
  });

  it("is given up when it is too large, and its room is free again", () => {
    const holder = createBodyHolder({ maxBodyBytes: 10_000 });
    const body = holder.open();
    for (let index = 0; index < 30; index++) body.push(Buffer.from("some words. ".repeat(50)));
    expect(body.copy()).toBeUndefined();
    expect(holder.heldBytes).toBe(0);
    body.release();
    expect(holder.heldBytes).toBe(0);
  });

  it("is given up when all together are too large", () => {
    const holder = createBodyHolder({ maxBytesOfAll: 20_000 });
    const [first, second] = [holder.open(), holder.open()];
    first.push(Buffer.alloc(15_000, " "));
    second.push(Buffer.alloc(15_000, " "));
    expect(first.copy()).toHaveLength(15_000);
    expect(second.copy()).toBeUndefined();
    first.release();
    expect(holder.heldBytes).toBe(0);
    const third = holder.open();
    third.push(Buffer.alloc(15_000, " "));
    expect(third.copy()).toHaveLength(15_000);
  });

  it("knows whether anything came", () => {
    const body = createBodyHolder().open();
    body.push(Buffer.alloc(0));
    expect(body.isEmpty).toBe(true);
    body.push(Buffer.from("x"));
    expect(body.isEmpty).toBe(false);
  });
});
