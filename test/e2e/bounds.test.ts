/**
 * Answers made to exhaust whoever reads them, through the real program: its memory stays flat, other flows pass at the same
 * time, the client gets every byte, and the event says what is known.
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { Server } from "node:https";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { fetch, ProxyAgent, request, type Response } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { peakDuring, residentBytes } from "../support/memory.ts";
import type { Program } from "../support/program.ts";
import { openStage, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const HOST = "hostile.example";
const MIB = 1024 * 1024;

/** What metering may hold of all that is under way, the garbage of 50 MB passing by included. */
const MAX_GROWTH_BYTES = 192 * MIB;

interface Answer {
  readonly headers: Readonly<Record<string, string>>;
  readonly pieces: () => Iterable<string | Uint8Array>;
  /** Never ended by the server. */
  readonly isEndless?: boolean;
}

const SSE = { "content-type": "text/event-stream" };
const JSON_TYPE = { "content-type": "application/json" };

const start = (id: string): string =>
  `event: message_start\ndata: ${JSON.stringify({ type: "message_start", message: { id, type: "message", role: "assistant", model: "claude-opus-5-5", content: [], usage: { input_tokens: 12, output_tokens: 3 } } })}\n\n`;
const END = `event: message_delta\ndata: ${JSON.stringify({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 40 } })}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n`;
const PING = 'event: ping\ndata: {"type":"ping"}\n\n';
const DEEP = 200_000;
const deepJson = (): string => "[".repeat(DEEP) + "]".repeat(DEEP);
const usage = (id: string, more: string): string => `{"id":"${id}","type":"message","model":"claude-opus-5-5","content":[${more}],"usage":{"input_tokens":7,"output_tokens":5}}`;

function* repeated(piece: string, count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield piece;
}

/** Made once: it takes seconds, in which nothing else goes on here. */
const BOMB_BYTES = 400 * MIB;
const GZIP_BOMB = gzipSync(Buffer.alloc(BOMB_BYTES, " "));
const ZSTD_BOMB = zstdCompressSync(Buffer.alloc(BOMB_BYTES, "a"));

const ANSWERS: Readonly<Record<string, Answer>> = {
  line: {
    headers: SSE,
    *pieces() {
      yield `${start("line")}event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`;
      yield* repeated("a".repeat(64 * 1024), 800);
      yield `"}}\n\n${END}`;
    },
  },
  endless: {
    headers: SSE,
    isEndless: true,
    *pieces() {
      yield `${start("endless")}data: `;
      yield* repeated("a".repeat(64 * 1024), 800);
    },
  },
  pings: {
    headers: SSE,
    *pieces() {
      yield start("pings");
      yield* repeated(PING.repeat(1000), 1000);
      yield END;
    },
  },
  deep: { headers: JSON_TYPE, pieces: () => [usage("deep", deepJson())] },
  "deep-event": { headers: SSE, pieces: () => [start("deep-event"), `event: message_delta\ndata: {"type":"message_delta","x":${deepJson()},"usage":{"output_tokens":9}}\n\n`, END] },
  "gzip-bomb": { headers: { ...JSON_TYPE, "content-encoding": "gzip" }, pieces: () => [GZIP_BOMB] },
  "zstd-bomb": { headers: { ...SSE, "content-encoding": "zstd" }, pieces: () => [ZSTD_BOMB] },
  plain: { headers: JSON_TYPE, pieces: () => [usage("plain", "")] },
};

let stage: Stage;
let server: Server;
let program: Program;
let agent: ProxyAgent;
/** Another client, on connections of its own. */
let otherAgent: ProxyAgent;

beforeAll(async () => {
  stage = await openStage();
  const tls = await createSimulatedTls([HOST]);
  const roots = join(stage.dir, "roots.pem");
  writeFileSync(roots, tls.ca);
  server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (incoming, response) => {
    incoming.resume();
    incoming.on("end", () => void give(response, ANSWERS[String(incoming.headers["x-answer"])]!));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  program = await stage.start({
    TALLYMAN_UPSTREAM_CA_FILE: roots,
    TALLYMAN_INTERCEPT_HOSTS: `${HOST}=anthropic`,
    TALLYMAN_CONNECT_TO: `${HOST}:443:127.0.0.1:${address.port}`,
  });
  const newAgent = (): ProxyAgent => new ProxyAgent({ uri: program.proxyUrl, requestTls: { ca: readFileSync(program.caFile, "utf8") } });
  agent = newAgent();
  otherAgent = newAgent();
}, 60_000);
afterAll(async () => {
  await Promise.all([agent?.destroy(), otherAgent?.destroy()]);
  server?.closeAllConnections();
  server?.close();
  await stage?.close();
});

async function give(response: ServerResponse, { headers, pieces, isEndless }: Answer): Promise<void> {
  response.writeHead(200, headers);
  for (const piece of pieces()) {
    if (response.destroyed) return;
    if (!response.write(piece)) await roomIn(response);
  }
  if (isEndless !== true) response.end();
}

/** Until more can be written, or nothing ever will. */
function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      response.off("drain", go).off("close", go);
      resolve();
    };
    response.on("drain", go).on("close", go);
  });
}

interface Asked {
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly dispatcher?: ProxyAgent;
}

function ask(name: string, { body = '{"model":"claude-opus-5-5","messages":[]}', headers = {}, signal, dispatcher = agent }: Asked = {}): Promise<Response> {
  const wanted = { "x-answer": name, "x-tallyman-thread-id": name, "content-type": "application/json", ...headers };
  return fetch(`https://${HOST}/v1/messages`, { method: "POST", body, headers: wanted, dispatcher, ...(signal === undefined ? {} : { signal }) });
}

/** The one event of a thread. */
async function eventOf(thread: string): Promise<ModelUsageEvent["data"]> {
  const own = (): ModelUsageEvent[] => stage.received().filter(({ data }) => data.thread_id === thread);
  await until(() => own().length > 0, `the event of ${thread}`, 60_000);
  expect(own()).toHaveLength(1);
  return own()[0]!.data;
}

function digest(pieces: Iterable<string | Uint8Array>): string {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}

async function digestOf(response: Response): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of response.body!) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** Runs a hostile flow, others beside it all the time. The growth of the program's memory over what it was. */
async function beside(work: () => Promise<void>): Promise<number> {
  const before = residentBytes(program.pid);
  const state = { isOver: false };
  const others = (async () => {
    let count = 0;
    while (!state.isOver || count === 0) {
      expect(JSON.parse(await (await ask("plain", { dispatcher: otherAgent, headers: { "x-tallyman-thread-id": "others" } })).text())).toMatchObject({ id: "plain" });
      count++;
    }
  })();
  const peak = await peakDuring(program.pid, async () => {
    await work().finally(() => {
      state.isOver = true;
    });
    await others;
  });
  return peak - before;
}

describe("an answer made to exhaust its reader", () => {
  it.each([
    ["a line of 50 MB", "line", { completeness: "partial" }, { input_tokens: 12 }],
    ["a million pings", "pings", { completeness: "complete", usage_source: "provider" }, { input_tokens: 12, output_tokens: 40 }],
    ["JSON nested 200,000 deep", "deep", { completeness: "complete", usage_source: "provider" }, { input_tokens: 7, output_tokens: 5 }],
    ["an event nested 200,000 deep", "deep-event", { completeness: "complete", usage_source: "provider" }, { input_tokens: 12, output_tokens: 40 }],
  ] as const)("%s passes whole, beside others, in flat memory", async (_, name, facts, counted) => {
    const growth = await beside(async () => expect(await digestOf(await ask(name))).toBe(digest(ANSWERS[name]!.pieces())));
    const event = await eventOf(name);
    expect(event).toMatchObject({ response_id: name, ...facts });
    expect(event.usage).toMatchObject(counted);
    expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
  }, 120_000);

  it("a line that never ends passes as long as the client wants it, and is then partial", async () => {
    const growth = await beside(async () => {
      const abort = new AbortController();
      const response = await ask("endless", { signal: abort.signal });
      let bytes = 0;
      for await (const chunk of response.body!) {
        bytes += (chunk as Uint8Array).length;
        if (bytes > 50 * MIB) break;
      }
      abort.abort();
    });
    expect(await eventOf("endless")).toMatchObject({ completeness: "partial", response_id: "endless", usage: { input_tokens: 12 } });
    expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
  }, 120_000);

  it.each(["gzip-bomb", "zstd-bomb"])("a %s of 400 MB is passed on as it is and decoded no further than is sane", async (name) => {
    const growth = await beside(async () => {
      // Not fetch, which would decode it.
      const { body } = await request(`https://${HOST}/v1/messages`, {
        method: "POST",
        body: '{"model":"claude-opus-5-5","messages":[]}',
        headers: { "x-answer": name, "x-tallyman-thread-id": name },
        dispatcher: agent,
      });
      expect(digest([Buffer.from(await body.arrayBuffer())])).toBe(digest(ANSWERS[name]!.pieces()));
    });
    expect(await eventOf(name)).toMatchObject({ completeness: expect.stringMatching(/^(?:partial|unknown)$/) });
    expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
  }, 120_000);
});

describe("a request made to exhaust its reader", () => {
  it.each([
    ["a bomb", GZIP_BOMB, { "content-encoding": "gzip" }],
    ["nested 200,000 deep", `{"model":"claude-opus-5-5","messages":${deepJson()}}`, {}],
    ["50 MB long", `{"model":"claude-opus-5-5","messages":"${"a".repeat(50 * MIB)}"}`, {}],
  ] as const)("%s reaches the provider, and its answer is counted", async (name, body, headers) => {
    const growth = await beside(async () => {
      expect(await (await ask("plain", { body, headers: { ...headers, "x-tallyman-thread-id": name } })).text()).toBe(usage("plain", ""));
    });
    expect(await eventOf(name)).toMatchObject({ completeness: "complete", usage_source: "provider", usage: { input_tokens: 7, output_tokens: 5 } });
    expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
  }, 120_000);
});
