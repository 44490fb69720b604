/**
 * Random sequences of HTTP/2 frames, most of them nearly right, through the engine to an upstream of HTTP/1.1. Whatever
 * gets through is a request that a strict reader and the frames agree on, others are served, and nothing stays behind.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { readRequests } from "../e2e/fidelity/message.ts";
import { connectClient } from "../e2e/fidelity/clients.ts";
import { startEngine, type Engine } from "../support/engine.ts";
import { dataFrame, FLAG, FRAME, frame, headersFrames, resetFrame, settingsFrame, windowFrame } from "../support/http2-frames.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const SEED = 20_261_129;
const RUNS = 200;

let engine: Engine;

beforeAll(async () => {
  const answered = new WeakMap<object, number>();
  engine = await startEngine((connection) => {
    const whole = readRequests(connection.received).messages.filter(({ isWhole }) => isWhole).length;
    for (let i = answered.get(connection) ?? 0; i < whole; i++) connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    answered.set(connection, whole);
  });
});
afterAll(() => engine.close());

const streamId = fc.constantFrom(0, 1, 1, 3, 3, 5, 7, 2, 2 ** 31 - 1);
const bytes = fc.uint8Array({ maxLength: 40 });
const path = fc.constantFrom("/a", "/b?c=d", "*", "/x y", "/x\r\ny", "", "http://evil.example/");
const fields = fc.array(fc.constantFrom(["x-a", "1"], ["content-length", "3"], ["content-length", "0"], ["te", "trailers"], ["transfer-encoding", "chunked"], ["host", HOST], ["host", "evil.example"], ["x-b", "1\r\nx-hidden: 1"], ["X-C", "1"], ["cookie", "a=1"], ["expect", "100-continue"]), { maxLength: 4 });

const head = fc.tuple(streamId, fc.constantFrom("GET", "POST", "HEAD", "OPTIONS", "CONNECT"), path, fields, fc.boolean()).map(([id, method, target, list, isEnd]) =>
  headersFrames(id, [":method", method, ":scheme", "https", ":authority", HOST, ":path", target, ...list.flat()], isEnd));

/** One that is right by itself; what comes behind it on its stream may not be. */
const goodHead = fc.tuple(fc.constantFrom("/a", "/b?c=d"), fc.boolean()).map(([target, isEnd]) =>
  headersFrames(1, [":method", "POST", ":scheme", "https", ":authority", HOST, ":path", target], isEnd));

const piece = fc.oneof(
  { weight: 5, arbitrary: head },
  { weight: 4, arbitrary: fc.tuple(streamId, bytes, fc.boolean()).map(([id, content, isEnd]) => dataFrame(id, content, isEnd)) },
  { weight: 1, arbitrary: fc.tuple(streamId, fc.boolean()).map(([id, isEnd]) => headersFrames(id, ["x-trailer", "1"], isEnd)) },
  { weight: 1, arbitrary: fc.tuple(streamId, fc.nat(13)).map(([id, code]) => resetFrame(id, code)) },
  { weight: 1, arbitrary: fc.tuple(streamId, fc.integer({ min: 0, max: 2 ** 31 - 1 })).map(([id, increment]) => windowFrame(id, increment)) },
  { weight: 1, arbitrary: fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 2 ** 32 - 1 })), { maxLength: 4 }).map(settingsFrame) },
  { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 0, max: 12 }), fc.nat(255), streamId, bytes).map(([type, flags, id, content]) => frame(type, flags, id, content)) },
  { weight: 1, arbitrary: fc.constant(frame(FRAME.ping, FLAG.ack, 0, Buffer.alloc(8))) },
);

/** Writes; the last one may be cut. */
const sequence = fc.tuple(goodHead, fc.array(piece, { minLength: 1, maxLength: 8 }), fc.option(fc.nat(8), { nil: undefined })).map(([first, frames, cutAt]) => {
  const last = frames.at(-1) ?? first;
  return [first, ...frames.slice(0, -1), cutAt === undefined ? last : last.subarray(0, cutAt)];
});

const open = () => connectClient("h2", { proxyPort: engine.proxy.port, authority: `${HOST}:443`, caPem: engine.ca.certificatePem });

describe("frames of an HTTP/2 client", () => {
  it("never become another request, stop nobody else, and leave nothing behind", async () => {
    await fc.assert(
      fc.asyncProperty(sequence, async (writes) => {
        const client = await open();
        for (const write of writes) {
          client.raw(write);
          await new Promise(setImmediate);
        }
        const good = (await open()).ask(`GET /good HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
        await until(() => good.answer.state !== "open", "another client to be answered");
        expect([good.answer.state, good.answer.body]).toEqual(["whole", "ok"]);
        good.destroy();
        client.destroy();
      }),
      { seed: SEED, numRuns: RUNS },
    );
    let passed = 0;
    for (const { received } of engine.upstream.connections) {
      const { messages, fault } = readRequests(received);
      expect(fault).toBeUndefined();
      for (const { start, fields: own } of messages) {
        passed += start.includes("/good") ? 0 : 1;
        expect(start).toMatch(/^(GET|POST|HEAD|OPTIONS) (\/a|\/b\?c=d|\/good|\*) HTTP\/1\.1$/);
        expect([own[1], own.includes("x-hidden"), own.filter((name) => name.toLowerCase() === "host").length]).toEqual([HOST, false, 1]);
      }
    }
    expect(passed).toBeGreaterThan(RUNS / 10);
    await until(() => engine.proxy.connections === 0, "every connection to end");
    await until(() => engine.flows.every(({ outcome }) => outcome !== undefined), "every flow to end");
  }, 240_000);
});
