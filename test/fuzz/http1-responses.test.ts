/**
 * Random and broken HTTP/1.1 responses through the engine, to clients of HTTP/1.1. The oracle is Node's own client: what
 * arrives whole is the message that it reads from the upstream's bytes; what it cannot read is never passed on as whole.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { stripResponseHeaders, type RawHeaders } from "../../src/flow/headers.ts";
import { nodeReadsResponse, type NodeMessage } from "../e2e/fidelity/node-reading.ts";
import { startEngine, type Engine } from "../support/engine.ts";
import { tunnelClient } from "../support/raw-peers.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const SEED = 20_261_128;
const RUNS = 250;

let engine: Engine;
let response: string;

beforeAll(async () => {
  engine = await startEngine(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.end(response, "latin1");
  });
});
afterAll(() => engine.close());

/** Without what belongs to a connection. */
function endToEnd(message: NodeMessage): NodeMessage {
  const lowered = (fields: RawHeaders): string[] => fields.map((part, i) => (i % 2 === 0 ? part.toLowerCase() : part));
  return { ...message, fields: lowered(stripResponseHeaders(message.fields)), trailers: lowered(message.trailers) };
}

interface Reading {
  readonly message: NodeMessage | undefined;
  readonly isWhole: boolean;
}

async function throughProxy(): Promise<Reading> {
  const client = await tunnelClient(engine.proxy.port, `${HOST}:443`, { ca: engine.ca.certificatePem });
  client.send(`GET /x HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
  await until(() => client.isClosed || client.isEnded, "the end of the client's connection");
  client.destroy();
  return await nodeReadsResponse("GET", client.received);
}

const token = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,8}$/).filter((name) => !/^(content-length|transfer-encoding|connection|upgrade|te|trailer|host|keep-alive|proxy-.*|x-tallyman.*)$/i.test(name));
const value = fc.stringMatching(/^[!-~\xa1-\xff]([ -~\xa1-\xff]{0,20}[!-~\xa1-\xff])?$/);
const fieldLines = fc.array(fc.tuple(token, value), { maxLength: 6 }).map((list) => list.map(([name, text]) => `${name}: ${text}\r\n`).join(""));
const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("latin1"));

const framed = fc.oneof(
  fc.constant({ fields: "Content-Length: 0\r\n", body: "" }),
  body.map((bytes) => ({ fields: `Content-Length: ${bytes.length}\r\n`, body: bytes })),
  // Ended by the close.
  body.map((bytes) => ({ fields: "", body: bytes })),
  fc.tuple(fc.array(body, { maxLength: 4 }), fc.boolean(), fieldLines).map(([chunks, hasExtension, trailers]) => ({
    fields: "Transfer-Encoding: chunked\r\n",
    body: `${chunks.filter((chunk) => chunk !== "").map((chunk) => `${chunk.length.toString(16)}${hasExtension ? ";a=b" : ""}\r\n${chunk}\r\n`).join("")}0\r\n${trailers}\r\n`,
  })),
);

const good = fc
  .tuple(fc.array(fieldLines, { maxLength: 2 }), fc.constantFrom(200, 201, 206, 301, 404, 429, 500, 529), fc.stringMatching(/^[ -~\xa1-\xff]{0,12}$/), fieldLines, framed, fieldLines)
  .map(([informs, status, reason, before, framing, after]) =>
    `${informs.map((fields) => `HTTP/1.1 103 Early Hints\r\n${fields}\r\n`).join("")}HTTP/1.1 ${status} ${reason}\r\n${before}${framing.fields}${after}\r\n${framing.body}`);

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.integer({ min: 0, max: 2 }),
  put: fc.constantFrom("", "\r", "\n", "\r\n", "\0", " ", "\t", "\x0b", ":", ",", ";", "0", "-", "+", "x", "\x7f", "\x80", "Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n", "\r\n "),
});

const broken = fc.tuple(good, fc.array(edit, { minLength: 1, maxLength: 3 })).map(([text, edits]) =>
  edits.reduce((from, { at, cut, put }) => {
    const place = Math.floor(at * from.length);
    return from.slice(0, place) + put + from.slice(place + cut);
  }, text),
);

describe("responses over HTTP/1.1", () => {
  it("reach the client as the upstream sent them", async () => {
    await fc.assert(
      fc.asyncProperty(good, async (text) => {
        response = text;
        const direct = await nodeReadsResponse("GET", text);
        const passed = await throughProxy();
        expect([passed.isWhole, direct.isWhole]).toEqual([true, true]);
        expect(endToEnd(passed.message as NodeMessage)).toEqual(endToEnd(direct.message as NodeMessage));
      }),
      { seed: SEED, numRuns: RUNS },
    );
  }, 240_000);

  it("that are broken are passed on as Node reads them, broken off, or 502", async () => {
    await fc.assert(
      fc.asyncProperty(broken, async (text) => {
        response = text;
        const direct = await nodeReadsResponse("GET", text);
        const { message, isWhole } = await throughProxy();
        expect(message !== undefined || !isWhole).toBe(true);
        if (message === undefined || !isWhole || message.fields.includes("x-tallyman-error")) return;
        expect(direct.isWhole).toBe(true);
        expect(endToEnd(message)).toEqual(endToEnd(direct.message as NodeMessage));
      }),
      { seed: SEED, numRuns: RUNS },
    );
  }, 240_000);
});
