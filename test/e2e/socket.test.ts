/** Real WebSocket clients through the real program: one event a response, stored before the client sees it end. */

import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { ResponsesWS } from "openai/resources/responses/ws";
import { ProxyAgent, WebSocket } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import type { Program } from "../support/program.ts";
import { API_KEY } from "../support/sdk-clients.ts";
import { ledgerOf, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { frameOf, startSocketServer, type SocketPeer, type SocketServer } from "../support/websocket-wire.ts";

const MODEL = "gpt-5.4";
const OPENAI = new OpenAI({ apiKey: API_KEY, maxRetries: 0 });
const URL_OF_RESPONSES = "wss://api.openai.com/v1/responses";

let stage: Stage;
let server: SocketServer;
let program: Program;
/** What a test opened, ended after it. */
let opened: (() => void)[] = [];

beforeEach(async () => {
  stage = await openStage();
  server = await startSocketServer(stage.tls);
  program = await startProgram();
});
afterEach(async () => {
  for (const close of opened) close();
  opened = [];
  await server?.close();
  await stage?.close();
});

function startProgram(): Promise<Program> {
  return stage.start({ TALLYMAN_CONNECT_TO: `api.openai.com:443:127.0.0.1:${server.port}` });
}

/** What `ws`, the transport of the SDK, needs to go through the program. Its types are not installed: one option of the SDK's own makes this one of its types. */
function throughProgram(): { agent: Agent; ca: string; maxQueueSize: number } {
  const ca = readFileSync(program.caFile, "utf8");
  const agent = new Agent({ ca, proxyEnv: { HTTPS_PROXY: program.proxyUrl } });
  opened.push(() => agent.destroy());
  return { agent, ca, maxQueueSize: 65_536 };
}

/** A client that offers permessage-deflate, and the texts that it received. */
function plainClient(): { readonly socket: WebSocket; readonly texts: string[]; hasFailed(): boolean } {
  const dispatcher = new ProxyAgent({ uri: program.proxyUrl, requestTls: { ca: readFileSync(program.caFile, "utf8") } });
  const socket = new WebSocket(URL_OF_RESPONSES, { dispatcher, headers: { authorization: `Bearer ${API_KEY}` } });
  const texts: string[] = [];
  let hasFailed = false;
  socket.addEventListener("message", ({ data }) => void texts.push(String(data)));
  socket.addEventListener("error", () => (hasFailed = true));
  opened.push(() => socket.close(), () => void dispatcher.destroy());
  return { socket, texts, hasFailed: () => hasFailed };
}

const usage = (input: number, output: number): object => ({
  input_tokens: input,
  input_tokens_details: { cached_tokens: 64, cache_write_tokens: 0 },
  output_tokens: output,
  output_tokens_details: { reasoning_tokens: 2 },
  total_tokens: input + output,
});

/** A response as the server streams it; `lane` is its stream_id. */
function responseEvents(id: string, input: number, output: number, lane?: string): readonly object[] {
  const own = lane === undefined ? {} : { stream_id: lane };
  const response = { id, object: "response", model: `${MODEL}-2026-03-05`, service_tier: "default", output: [] };
  return [
    { type: "response.created", sequence_number: 0, response: { ...response, status: "in_progress", usage: null }, ...own },
    { type: "response.output_text.delta", sequence_number: 1, item_id: "msg_1", output_index: 0, content_index: 0, delta: "It costs what it uses.", ...own },
    { type: "response.completed", sequence_number: 2, response: { ...response, status: "completed", usage: usage(input, output) }, ...own },
  ];
}

function eventOf(events: readonly ModelUsageEvent[], responseId: string): ModelUsageEvent {
  const own = events.filter(({ data }) => data.response_id === responseId);
  expect(own).toHaveLength(1);
  return own[0]!;
}

describe("the openai SDK's sockets through the program", () => {
  it("have each of their responses counted, in order, under one flow", async () => {
    const socket = new ResponsesWS(OPENAI, throughProgram());
    opened.push(() => socket.close());
    const ended: string[] = [];
    socket.on("response.completed", ({ response }) => void ended.push(response.id));
    const peer = await server.next();
    peer.accept({ headers: ["x-request-id: req_socket"] });
    for (const [id, input, output] of [["resp_1", 100, 10], ["resp_2", 250, 20]] as const) {
      socket.send({ type: "response.create", model: MODEL, input: "What does an agent cost?" });
      expect(await peer.next()).toMatchObject({ type: "response.create", model: MODEL });
      await peer.send(...responseEvents(id, input, output));
      await until(() => ended.includes(id), `${id} to end`);
    }
    const events = await stage.receives(2);
    const [first, second] = [eventOf(events, "resp_1"), eventOf(events, "resp_2")];
    expect(first.data).toMatchObject({
      sequence: 0,
      meter: "openai",
      api: "openai.responses",
      operation: "chat",
      streamed: true,
      status: 101,
      request_model: MODEL,
      response_model: `${MODEL}-2026-03-05`,
      request_id: "req_socket",
      service_tier: "default",
      completeness: "complete",
      usage_source: "provider",
      usage: { input_tokens: 36, cache_read_tokens: 64, output_tokens: 8, output_reasoning_tokens: 2 },
      totals: { input_tokens: 100, output_tokens: 10, total_tokens: 110 },
      cost: { currency: "USD", source: "price_book" },
    });
    expect(second.data).toMatchObject({ flow_id: first.data.flow_id, sequence: 1, totals: { total_tokens: 270 } });
    expect([first.id, second.id]).toEqual([first.data.flow_id, `${first.data.flow_id}-1`]);
    // The socket goes on, and has nothing more to tell.
    expect(peer.isClosed).toBe(false);
    socket.close();
    await settled(program);
    expect(await ledgerOf(program)).toHaveLength(2);
  });

  it("have Realtime's modalities counted apart, and the transcription by its own model", async () => {
    const socket = new OpenAIRealtimeWS({ model: "gpt-realtime", options: throughProgram() }, OPENAI);
    opened.push(() => socket.close());
    const seen: string[] = [];
    socket.on("event", ({ type }) => void seen.push(type));
    const peer = await server.next();
    expect(peer.head).toContain("/v1/realtime?model=gpt-realtime");
    peer.accept();
    const details = { text_tokens: 300, audio_tokens: 1200, image_tokens: 0, cached_tokens: 1024, cached_tokens_details: { text_tokens: 256, audio_tokens: 768, image_tokens: 0 } };
    const spoken = { total_tokens: 2000, input_tokens: 1500, output_tokens: 500, input_token_details: details, output_token_details: { text_tokens: 100, audio_tokens: 400 } };
    const heard = { type: "tokens", total_tokens: 23, input_tokens: 14, output_tokens: 9, input_token_details: { text_tokens: 0, audio_tokens: 14 } };
    await peer.send(
      { event_id: "e1", type: "session.created", session: { type: "realtime", model: "gpt-realtime-2025-08-28", audio: { input: { transcription: { model: "gpt-4o-transcribe" } } } } },
      { event_id: "e2", type: "conversation.item.input_audio_transcription.completed", item_id: "item_1", content_index: 0, transcript: "hello", usage: heard },
      { event_id: "e3", type: "response.created", response: { id: "resp_rt", object: "realtime.response", status: "in_progress" } },
      { event_id: "e4", type: "response.done", response: { id: "resp_rt", object: "realtime.response", status: "completed", output: [], usage: spoken } },
    );
    await until(() => seen.includes("response.done"), "the response to end");
    const events = await stage.receives(2);
    expect(eventOf(events, "item_1").data).toMatchObject({ sequence: 0, response_model: "gpt-4o-transcribe", usage: { input_audio_tokens: 14, output_tokens: 9 } });
    expect(eventOf(events, "resp_rt").data).toMatchObject({
      sequence: 1,
      api: "openai.realtime",
      request_model: "gpt-realtime",
      response_model: "gpt-realtime-2025-08-28",
      usage: { input_tokens: 44, input_audio_tokens: 432, cache_read_tokens: 256, cache_read_audio_tokens: 768, output_tokens: 100, output_audio_tokens: 400 },
    });
  });
});

describe("a socket through the program", () => {
  it("is read when it is compressed, fragmented and shared by several lanes, and passes as it was sent", async () => {
    const client = plainClient();
    const peer = await server.next();
    expect(peer.head).toMatch(/^sec-websocket-extensions: *permessage-deflate/im);
    peer.accept({ deflate: true });
    await until(() => client.socket.readyState === WebSocket.OPEN, "the socket to open");
    for (const lane of ["a", "b"]) client.socket.send(JSON.stringify({ type: "response.create", model: `${MODEL}-${lane}`, input: "x".repeat(3000), stream_id: lane }));
    expect([await peer.next(), await peer.next()]).toMatchObject([{ stream_id: "a" }, { stream_id: "b" }]);
    const [a, b] = [responseEvents("resp_a", 100, 10, "a"), responseEvents("resp_b", 200, 20, "b")];
    const sent = [a[0]!, b[0]!, b[1]!, a[1]!, b[2]!];
    await peer.send(...sent);
    // The last one in pieces, with a ping between them, and not compressed.
    const last = JSON.stringify(a[2]);
    peer.sendBytes(frameOf(last.slice(0, 40), { isFinal: false }));
    peer.sendBytes(frameOf("still there", { opcode: 9 }));
    peer.sendBytes(frameOf(last.slice(40), { opcode: 0 }));
    await until(() => client.texts.length === 6, "every message");
    expect(client.texts).toEqual([...sent.map((message) => JSON.stringify(message)), last]);
    const events = await stage.receives(2);
    expect([eventOf(events, "resp_b"), eventOf(events, "resp_a")].map(({ data }) => [data.sequence, data.request_model, data.totals.total_tokens])).toEqual([
      [0, `${MODEL}-b`, 220],
      [1, `${MODEL}-a`, 110],
    ]);
  });

  it("that the client leaves in the middle of a response gives a partial event", async () => {
    const client = plainClient();
    const peer = await server.next();
    peer.accept();
    await until(() => client.socket.readyState === WebSocket.OPEN, "the socket to open");
    client.socket.send(JSON.stringify({ type: "response.create", model: MODEL, input: "Tell me everything." }));
    await peer.next();
    await peer.send(...responseEvents("resp_1", 100, 10), ...responseEvents("resp_2", 100, 10).slice(0, 2));
    await until(() => client.texts.length === 5, "the beginning of the second response");
    client.socket.close();
    const events = await stage.receives(2);
    expect(eventOf(events, "resp_1").data).toMatchObject({ completeness: "complete", sequence: 0 });
    expect(eventOf(events, "resp_2").data).toMatchObject({ completeness: "partial", usage_source: "estimate", sequence: 1 });
    expect(eventOf(events, "resp_2").data.usage.output_tokens).toBeGreaterThan(0);
    await settled(program);
    expect(await ledgerOf(program)).toHaveLength(2);
  });

  it("that the provider refuses is passed on, and is one free record", async () => {
    const client = plainClient();
    const peer = await server.next();
    // At a 401 undici asks once more, as fetch does for credentials of a URL.
    peer.refuse("HTTP/1.1 403 Forbidden\r\nx-request-id: req_refused\r\ncontent-length: 2\r\n\r\n{}");
    await until(() => client.hasFailed(), "the client to be refused");
    await until(async () => (await ledgerOf(program)).length === 1, "the record");
    expect(await ledgerOf(program)).toMatchObject([{ delivery: "none", event: { data: { status: 403, request_id: "req_refused", api: "openai.responses", usage: {}, completeness: "complete" } } }]);
  });

  it("has a response on disk before the client sees its end: a kill at that moment loses nothing", async () => {
    const ids = ["resp_1", "resp_2", "resp_3"];
    for (const id of ids) {
      const client = plainClient();
      const peer: SocketPeer = await server.next();
      peer.accept();
      await until(() => client.socket.readyState === WebSocket.OPEN, "the socket to open");
      const killed = new Promise<void>((resolve) => {
        client.socket.addEventListener("message", ({ data }) => {
          if (!String(data).includes("response.completed")) return;
          program.signal("SIGKILL");
          resolve();
        });
      });
      await peer.send(...responseEvents(id, 100, 10));
      await killed;
      await program.exited();
      program = await startProgram();
    }
    await settled(program);
    const ledger = await ledgerOf(program);
    for (const id of ids) expect(eventOf(ledger.map(({ event }) => event), id).data).toMatchObject({ completeness: "complete", totals: { total_tokens: 110 } });
    // What came after it on the socket, if its intent was on disk, is unknown and has the next number.
    for (const { event } of ledger) if (event.data.response_id === null) expect(event.data).toMatchObject({ sequence: 1, completeness: "unknown" });
  });
});
