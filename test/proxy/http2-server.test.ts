import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { connect as http2Connect, constants, type ClientHttp2Session } from "node:http2";
import { createServer, type AddressInfo } from "node:net";
import { connect as tlsConnect, createSecureContext, TLSSocket, type ConnectionOptions } from "node:tls";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterEach, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls, type SimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { H2Downstream } from "../../src/proxy/downstream-h2.ts";
import {
  createHttp2Server,
  MAX_CONCURRENT_STREAMS,
  MAX_HEADER_FIELDS,
  MAX_HEADER_LIST_BYTES,
  RESET_BURST,
  RESETS_PER_SECOND,
  STREAM_WINDOW_BYTES,
  type Http2Limits,
  type Http2Server,
} from "../../src/proxy/http2-server.ts";
import { dataFrame, FLAG, FRAME, frame, H2_CODE, headersFrames, Http2Wire, PREFACE, resetFrame, SETTING, settingsFrame, windowFrame } from "../support/http2-frames.ts";
import { until } from "../support/until.ts";

let tls: SimulatedTls;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  tls = await createSimulatedTls();
});

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** Time that the test moves. */
class Clock {
  nowMs = 0;
  #sweep: () => void = () => undefined;
  now(): number {
    return this.nowMs;
  }
  every(_periodMs: number, callback: () => void): () => void {
    this.#sweep = callback;
    return () => (this.#sweep = () => undefined);
  }
  pass(ms: number): void {
    this.nowMs += ms;
    this.#sweep();
  }
}

interface Stage {
  readonly http2: Http2Server;
  readonly port: number;
  readonly clock: Clock;
  readonly requests: H2Downstream[];
  readonly errors: Error[];
  readonly sockets: TLSSocket[];
  address(): ConnectionOptions;
  client(): ClientHttp2Session;
  wire(settings?: readonly (readonly [number, number])[]): Promise<Http2Wire>;
  /** A client of another session gets its answer. */
  serves(): Promise<void>;
}

function respond(downstream: H2Downstream): void {
  downstream.answer(200, ["content-length", "2"], "ok");
}

async function start(handle: (downstream: H2Downstream, path: string) => void = respond, limits: Partial<Http2Limits> = {}): Promise<Stage> {
  const clock = new Clock();
  const requests: H2Downstream[] = [];
  const errors: Error[] = [];
  const sockets: TLSSocket[] = [];
  const http2 = createHttp2Server({
    limits,
    clock,
    onRequest(downstream, path) {
      requests.push(downstream);
      handle(downstream, path);
    },
    onSessionError: (error) => errors.push(error),
  });
  const secureContext = createSecureContext({ key: tls.key, cert: tls.cert });
  const server = createServer({ allowHalfOpen: true }, (raw) => {
    raw.on("error", () => raw.destroy());
    const secure = new TLSSocket(raw, { isServer: true, secureContext, ALPNProtocols: ["h2"] });
    secure.once("close", () => raw.destroy());
    raw.once("close", () => secure.destroy());
    secure.once("secure", () => {
      sockets.push(secure);
      http2.accept(secure);
    });
    secure.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  undo.push(() => new Promise((resolve) => server.close(resolve)));
  undo.push(() => http2.close());
  const { port } = server.address() as AddressInfo;
  const stage: Stage = {
    http2,
    port,
    clock,
    requests,
    errors,
    sockets,
    address: () => ({ port, host: "127.0.0.1", ca: tls.ca, ALPNProtocols: ["h2"] }),
    client() {
      const session = http2Connect("https://localhost", { createConnection: () => tlsConnect(stage.address()) });
      session.on("error", () => undefined);
      undo.push(() => session.destroy());
      return session;
    },
    async wire(settings) {
      const socket = tlsConnect(stage.address());
      undo.push(() => socket.destroy());
      await once(socket, "secureConnect");
      return new Http2Wire(socket, "client", settings === undefined ? {} : { settings });
    },
    async serves() {
      const client = stage.client();
      expect(await status(client, "/other")).toBe(200);
      client.close();
    },
  };
  return stage;
}

async function status(client: ClientHttp2Session, path = "/"): Promise<number | undefined> {
  const stream = client.request({ ":path": path });
  stream.on("error", () => undefined);
  stream.resume();
  let seen: number | undefined;
  stream.on("response", (fields) => (seen = fields[":status"]));
  await new Promise((resolve) => stream.once("close", resolve));
  return seen;
}

const POST = [":method", "POST", ":scheme", "https", ":path", "/", ":authority", "localhost"];
const GET = [":method", "GET", ":scheme", "https", ":path", "/", ":authority", "localhost"];

/** Until the client has said that it knows the settings, bounds are not the client's fault. */
async function settled(wire: Http2Wire): Promise<void> {
  wire.write(frame(FRAME.ping, 0, 0, Buffer.from("settled.")));
  await until(() => wire.frames.some(({ type, flags, payload }) => type === FRAME.ping && (flags & FLAG.ack) !== 0 && payload.toString() === "settled."), "the ping behind the settings");
  wire.write(frame(FRAME.ping, 0, 0, Buffer.from("settled!")));
  await until(() => wire.frames.some(({ type, flags, payload }) => type === FRAME.ping && (flags & FLAG.ack) !== 0 && payload.toString() === "settled!"), "the ping behind their answer");
}

const isOver = (wire: Http2Wire): boolean => wire.isEnded || wire.isClosed;

describe("sessions", () => {
  it("serves many requests on one connection", async () => {
    const stage = await start((downstream, path) => downstream.answer(200, ["x-path", path], "ok"));
    const client = stage.client();
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => status(client, `/${i}`)));
    expect(all).toEqual(Array.from({ length: 100 }, () => 200));
    expect([stage.http2.sessions, stage.errors]).toEqual([1, []]);
    await until(() => stage.http2.streams === 0, "the streams to end");
    client.close();
    await until(() => stage.http2.sessions === 0, "the session to end");
  });

  it("tells its bounds and offers no extended CONNECT", async () => {
    const stage = await start();
    const wire = await stage.wire();
    await until(() => wire.frames.length > 0, "the settings");
    const first = wire.frames[0];
    expect(first?.type).toBe(FRAME.settings);
    const settings = new Map<number, number>();
    const payload = first?.payload ?? Buffer.alloc(0);
    for (let i = 0; i < payload.length; i += 6) settings.set(payload.readUInt16BE(i), payload.readUInt32BE(i + 2));
    expect(settings.get(SETTING.maxStreams)).toBe(MAX_CONCURRENT_STREAMS);
    expect(settings.get(SETTING.maxHeaderListBytes)).toBe(MAX_HEADER_LIST_BYTES);
    expect(settings.get(SETTING.initialWindow)).toBe(STREAM_WINDOW_BYTES);
    expect(settings.get(SETTING.connectProtocol) ?? 0).toBe(0);
  });

  it("reads what came in one flight with the end of the handshake", async () => {
    const stage = await start();
    const socket = tlsConnect(stage.address());
    undo.push(() => socket.destroy());
    // Before the handshake: it leaves with the client's last message of it. The second one is cut inside a frame.
    const request = headersFrames(1, GET, true);
    socket.write(Buffer.concat([Buffer.from(PREFACE), settingsFrame([]), request, request.subarray(0, 5)]));
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    await until(() => Buffer.concat(chunks).includes("ok"), "the answer");
    expect(stage.requests.length).toBe(1);
  });

  it("ends a connection that does not speak HTTP/2", async () => {
    const stage = await start();
    const socket = tlsConnect(stage.address());
    undo.push(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50));
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
    await until(() => stage.http2.sessions === 0, "the session to end");
    expect(stage.errors.length).toBe(1);
    await stage.serves();
  });

  it("takes no socket that is gone or has a session, without a throw", async () => {
    const stage = await start();
    const wire = await stage.wire();
    await settled(wire);
    const [socket] = stage.sockets as [TLSSocket];
    stage.http2.accept(socket);
    await until(() => isOver(wire), "the doubled session to end");
    expect(stage.errors.length).toBe(1);
    stage.http2.accept(socket);
    await until(() => stage.http2.sessions === 0, "the session to end");
    await stage.serves();
  });

  it("finishes what is open in a drain and begins nothing", async () => {
    const stage = await start((downstream) => downstream.start({ status: 200, statusText: "", headers: [] }, { kind: "open" }));
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).blocks.length > 0, "the head");
    stage.http2.drain();
    await until(() => wire.goawayCode !== undefined, "the GOAWAY");
    expect(wire.goawayCode).toBe(H2_CODE.noError);
    wire.write(headersFrames(3, GET, true));
    const late = await stage.wire();
    await until(() => late.goawayCode !== undefined, "the GOAWAY of a late session");
    stage.requests[0]?.write(Buffer.from("abc"));
    stage.requests[0]?.end(undefined, []);
    await until(() => wire.stream(1).isEnded && isOver(wire), "the end");
    expect(wire.stream(1).data).toBe("abc");
    expect(stage.requests.length).toBe(1);
  });

  it("ends everything at once, and no response as if it were whole", async () => {
    let closes = 0;
    const stage = await start((downstream) => {
      downstream.onClose(() => (closes += 1));
      downstream.start({ status: 200, statusText: "", headers: [] }, { kind: "open" });
      downstream.write(Buffer.from("abc"));
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).data === "abc", "the body");
    stage.http2.close();
    expect(closes).toBe(1);
    await until(() => isOver(wire), "the connection to end");
    expect(wire.stream(1)).toMatchObject({ isEnded: false, resetCode: H2_CODE.cancel });
    await until(() => stage.http2.sessions === 0, "the session to end");
    expect(stage.errors).toEqual([]);
  });
});

describe("heads that go no further", () => {
  const heads: readonly [name: string, fields: readonly string[]][] = [
    ["CONNECT", [":method", "CONNECT", ":authority", "other:443"]],
    ["extended CONNECT", [":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "localhost"]],
    ["no path", [":method", "GET", ":scheme", "https", ":authority", "localhost"]],
    ["two paths", [...GET, ":path", "/b"]],
    ["a path with a line end", [":method", "GET", ":scheme", "https", ":path", "/ HTTP/1.1\r\nx: y", ":authority", "localhost"]],
    ["a name in upper case", [...GET, "X-A", "1"]],
    ["a connection field", [...GET, "connection", "close"]],
    ["a transfer coding", [...POST, "transfer-encoding", "chunked"]],
    ["two lengths", [...POST, "content-length", "1", "content-length", "2"]],
    ["two authorities", [...GET, "host", "other"]],
  ];
  it.each(heads)("%s resets its stream alone", async (_name, fields) => {
    const stage = await start();
    const wire = await stage.wire();
    wire.write(headersFrames(1, fields, true), headersFrames(3, GET, true));
    await until(() => wire.stream(1).resetCode !== undefined && wire.stream(3).isEnded, "both ends");
    expect(wire.stream(1)).toMatchObject({ resetCode: H2_CODE.protocol, blocks: [] });
    expect(stage.requests.length).toBe(1);
  });

  const LARGE = [...GET, ...Array.from({ length: 70 }, (_, i) => [`x-${i}`, "v".repeat(1000)]).flat()];

  it("answers 431 to a head that is too large before the client knows the bound", async () => {
    const stage = await start();
    const wire = await stage.wire();
    wire.write(headersFrames(1, LARGE, true));
    await until(() => wire.stream(1).isEnded, "the answer");
    expect(wire.stream(1).blocks[0]?.slice(0, 2)).toEqual([":status", "431"]);
    expect(JSON.parse(wire.stream(1).data)).toMatchObject({ error: { code: "head_too_large" } });
    expect(stage.requests).toEqual([]);
  });

  it("resets a stream whose head is too large", async () => {
    const stage = await start();
    const wire = await stage.wire();
    await settled(wire);
    const many = [...GET, ...Array.from({ length: MAX_HEADER_FIELDS }, (_, i) => [`x-${i}`, "v"]).flat()];
    wire.write(headersFrames(1, LARGE, true), headersFrames(3, many, true), headersFrames(5, GET, true));
    await until(() => wire.stream(5).isEnded, "the answer behind them");
    expect([wire.stream(1).resetCode, wire.stream(3).resetCode]).toEqual([H2_CODE.enhanceYourCalm, H2_CODE.enhanceYourCalm]);
    expect(stage.requests.length).toBe(1);
  });

  it("resets a stream whose small head unfolds to a large one", async () => {
    const stage = await start();
    const wire = await stage.wire();
    await settled(wire);
    const plain = headersFrames(1, GET, true).subarray(9);
    // A field of 4000 bytes that goes into the table (RFC 7541 section 6.2.1), then a byte for each time it is meant again.
    const stored = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, "b")]);
    wire.write(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.concat([plain, stored, Buffer.alloc(10_000, 0x80 | 62)])));
    await until(() => wire.stream(1).resetCode !== undefined, "the reset");
    expect(stage.requests).toEqual([]);
    await stage.serves();
  });
});

describe("floods", () => {
  const block = headersFrames(1, GET, true).subarray(9);
  const times = (count: number, make: (i: number) => Buffer): Buffer[] => Array.from({ length: count }, (_, i) => make(i));
  const idOf = (i: number): number => 1 + 2 * i;

  const floods: readonly [name: string, frames: () => readonly Buffer[], code: number | undefined][] = [
    ["10,000 streams that are reset at once", () => times(10_000, (i) => Buffer.concat([headersFrames(idOf(i), GET, true), resetFrame(idOf(i), H2_CODE.cancel)])), H2_CODE.enhanceYourCalm],
    ["10,000 streams that make us reset them", () => times(10_000, (i) => Buffer.concat([headersFrames(idOf(i), POST, false), windowFrame(idOf(i), 0)])), undefined],
    ["10,000 malformed heads", () => times(10_000, (i) => headersFrames(idOf(i), [...GET, "host", "other"], true)), undefined],
    ["20,000 CONTINUATION frames", () => [frame(FRAME.headers, 0, 1, block), ...times(20_000, () => frame(FRAME.continuation, 0, 1, Buffer.from([0, 1, 0x61, 1, 0x62])))], undefined],
    ["20,000 empty CONTINUATION frames", () => [frame(FRAME.headers, 0, 1, block), ...times(20_000, () => frame(FRAME.continuation, 0, 1))], undefined],
    ["a head of 300 KiB", () => [headersFrames(1, [...GET, ...times(300, () => Buffer.alloc(1024, "v")).flatMap((v, i) => [`x-${i}`, v.toString()])], true)], undefined],
    ["a field of 100 KiB", () => [headersFrames(1, [...GET, "x-a", "v".repeat(100_000)], true)], undefined],
    ["20,000 SETTINGS frames", () => times(20_000, () => settingsFrame([[SETTING.initialWindow, 65_535]])), undefined],
    ["a SETTINGS frame of 1000 entries", () => [settingsFrame(Array.from({ length: 1000 }, () => [SETTING.initialWindow, 65_535] as const))], undefined],
    ["50,000 PING frames", () => times(50_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))), undefined],
    ["50,000 empty DATA frames", () => [headersFrames(1, POST, false), ...times(50_000, () => dataFrame(1, "", false))], undefined],
    ["100,000 PRIORITY frames", () => times(100_000, () => frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 0, 1]))), undefined],
    ["window updates beyond the largest window", () => [headersFrames(1, POST, false), windowFrame(0, 2 ** 31 - 1), windowFrame(0, 2 ** 31 - 1)], H2_CODE.flowControl],
    ["more data than the window", () => [headersFrames(1, POST, false), ...times(100, () => dataFrame(1, Buffer.alloc(16_384), false))], undefined],
  ];
  it.each(floods)("%s end their session and no other", async (_name, frames, code) => {
    const stage = await start((downstream, path) => (path === "/other" ? respond(downstream) : undefined));
    const wire = await stage.wire();
    await settled(wire);
    const before = process.memoryUsage().rss;
    wire.write(...frames());
    await until(() => isOver(wire), "the session to end");
    // A client that is still sending may not get to read it.
    if (code !== undefined) expect(wire.goawayCode ?? code).toBe(code);
    await until(() => stage.http2.sessions === 0 && stage.http2.streams === 0, "nothing to be left");
    expect(stage.errors.length).toBe(1);
    // What the client itself has made is in it as well.
    expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
    await stage.serves();
  });

  it("starts no request for a stream that came with its reset", async () => {
    const stage = await start();
    const wire = await stage.wire();
    for (let i = 0; i < RESET_BURST / 2; i += 1) wire.write(headersFrames(idOf(i), GET, true), resetFrame(idOf(i), H2_CODE.cancel));
    const last = idOf(RESET_BURST);
    wire.write(headersFrames(last, GET, true));
    await until(() => wire.stream(last).isEnded, "the answer behind them");
    expect(stage.requests.length).toBe(1);
    expect(wire.goawayCode).toBeUndefined();
  });

  it("starts no more requests than the burst for a client that resets each later, and forgets it with time", async () => {
    const stage = await start(() => undefined);
    const wire = await stage.wire();
    let i = 0;
    /** Requests that have begun, and are reset then. */
    const resetSome = async (count: number): Promise<void> => {
      const before = stage.requests.length;
      const ids = Array.from({ length: count }, (_, k) => idOf(i + k));
      i += count;
      wire.write(...ids.map((id) => headersFrames(id, GET, true)));
      await until(() => stage.requests.length === before + count || isOver(wire), "the requests");
      wire.write(...ids.map((id) => resetFrame(id, H2_CODE.cancel)));
      await until(() => stage.http2.streams === 0 || isOver(wire), "the resets");
    };
    for (let k = 0; k < RESET_BURST; k += 50) await resetSome(50);
    expect(wire.goawayCode).toBeUndefined();
    stage.clock.pass(1000);
    await resetSome(RESETS_PER_SECOND);
    expect(wire.goawayCode).toBeUndefined();
    await resetSome(50);
    await until(() => isOver(wire), "the session to end");
    expect(wire.goawayCode).toBe(H2_CODE.enhanceYourCalm);
    expect(stage.requests.length).toBe(RESET_BURST + RESETS_PER_SECOND + 50);
  });

  it("refuses more streams at once than it offers", async () => {
    const stage = await start(() => undefined);
    const wire = await stage.wire();
    for (let k = 0; k <= MAX_CONCURRENT_STREAMS; k += 1) wire.write(headersFrames(idOf(k), GET, true));
    const last = wire.stream(idOf(MAX_CONCURRENT_STREAMS));
    await until(() => last.resetCode !== undefined || isOver(wire), "the refusal");
    expect(stage.requests.length).toBe(MAX_CONCURRENT_STREAMS);
    expect(last.resetCode ?? H2_CODE.refused).toBe(H2_CODE.refused);
  });

  it("outlives whatever bytes come", async () => {
    const stage = await start((downstream) => {
      downstream.takeBody(undefined, (body) => (body.kind === "stream" ? body.discard() : undefined));
      respond(downstream);
    });
    const anyFrame = fc
      .tuple(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 3, 4, 2 ** 31 - 1), fc.uint8Array({ maxLength: 64 }))
      .map(([type, flags, id, payload]) => frame(type, flags, id, payload));
    const anyPiece = fc.oneof(anyFrame, fc.constantFrom(headersFrames(1, POST, false), headersFrames(3, GET, true), dataFrame(1, "abc", true)), fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)));
    await fc.assert(
      fc.asyncProperty(fc.array(anyPiece, { minLength: 1, maxLength: 20 }), async (pieces) => {
        const wire = await stage.wire();
        wire.write(...pieces);
        wire.socket.end();
        await until(() => isOver(wire), "the connection to end");
        wire.socket.destroy();
      }),
      { numRuns: 60, seed: 20261122 },
    );
    await until(() => stage.http2.sessions === 0 && stage.http2.streams === 0, "nothing to be left");
    await stage.serves();
  });
});

describe("windows", () => {
  it("bounds what waits for a client that takes nothing, and ends it", async () => {
    let written = 0;
    const stage = await start(
      (downstream, path) => {
        if (path === "/other") {
          respond(downstream);
          return;
        }
        downstream.start({ status: 200, statusText: "", headers: [] }, { kind: "open" });
        let isTaken = true;
        while (isTaken) {
          isTaken = downstream.write(Buffer.alloc(16_384, "x"));
          written += 16_384;
        }
      },
      { stalledStreamMs: 1000, idleSessionMs: 60_000 },
    );
    const wire = await stage.wire([[SETTING.initialWindow, 0]]);
    for (let i = 0; i < MAX_CONCURRENT_STREAMS; i += 1) wire.write(headersFrames(1 + 2 * i, GET, true));
    await until(() => stage.requests.length === MAX_CONCURRENT_STREAMS, "all streams");
    expect(written).toBeLessThan(MAX_CONCURRENT_STREAMS * 150_000);
    await stage.serves();
    stage.clock.pass(0);
    stage.clock.pass(1000);
    await until(() => stage.http2.streams === 0 && wire.stream(1).resetCode !== undefined, "the streams to end");
    expect(wire.stream(1).resetCode).toBe(H2_CODE.cancel);
    await stage.serves();
  });

  it("ends a client that does not read its connection", async () => {
    const stage = await start(
      (downstream) => {
        downstream.start({ status: 200, statusText: "", headers: [] }, { kind: "open" });
        const pump = (): void => {
          while (downstream.write(Buffer.alloc(65_536, "x")));
          downstream.onDrain(pump);
        };
        pump();
      },
      { stalledStreamMs: 1000, idleSessionMs: 5000, closingSessionMs: 500 },
    );
    const wire = await stage.wire();
    wire.socket.pause();
    for (let i = 0; i < 4; i += 1) wire.write(headersFrames(1 + 2 * i, GET, true));
    await until(() => stage.requests.length === 4, "the requests");
    // What the kernel's buffers take is taken.
    const socket = stage.sockets[0] as TLSSocket;
    let sent = -1;
    await until(() => {
      const isFull = socket.bytesWritten === sent;
      sent = socket.bytesWritten;
      return isFull;
    }, "the connection to fill up");
    stage.clock.pass(0);
    stage.clock.pass(1000);
    await until(() => stage.http2.streams === 0, "the streams to end");
    expect(stage.http2.sessions).toBe(1);
    await until(() => {
      stage.clock.pass(100);
      return stage.http2.sessions === 0 && socket.destroyed;
    }, "the connection to end");
  });

  it("is not blocked by uploads that nobody reads", async () => {
    const stage = await start((downstream, path) => (path === "/other" ? respond(downstream) : undefined));
    const client = stage.client();
    const uploads = Array.from({ length: 20 }, () => client.request({ ":method": "POST", ":path": "/" }));
    for (const upload of uploads) upload.on("error", () => undefined).end(Buffer.alloc(400_000));
    await until(() => stage.requests.length === 20, "the uploads");
    const small = client.request({ ":method": "POST", ":path": "/other" });
    small.end(Buffer.alloc(50_000));
    let answer = "";
    small.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    await until(() => answer === "ok", "the answer on the same session");
  });
});

describe("time", () => {
  it("ends a session that has no streams, and not before", async () => {
    const stage = await start(() => undefined, { idleSessionMs: 1000, closingSessionMs: 500 });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => stage.requests.length === 1, "the request");
    stage.clock.pass(5000);
    respond(stage.requests[0] as H2Downstream);
    await until(() => stage.http2.streams === 0, "the stream to end");
    stage.clock.pass(900);
    await settled(wire);
    expect(wire.goawayCode).toBeUndefined();
    stage.clock.pass(100);
    await until(() => wire.goawayCode !== undefined, "the GOAWAY");
    expect(wire.goawayCode).toBe(H2_CODE.noError);
    await until(() => wire.isEnded, "the end of the connection");
    await until(() => stage.http2.sessions === 0, "the session to end");
  });

  it("ends a client that never says a word, even one that never closes its side", async () => {
    const stage = await start(respond, { idleSessionMs: 1000, closingSessionMs: 500 });
    const socket = tlsConnect({ ...stage.address(), allowHalfOpen: true } as ConnectionOptions);
    undo.push(() => socket.destroy());
    socket.on("error", () => undefined);
    await until(() => stage.http2.sessions === 1, "the session");
    stage.clock.pass(999);
    expect(socket.readableEnded).toBe(false);
    await until(() => {
      stage.clock.pass(100);
      return stage.http2.sessions === 0 && stage.sockets[0]?.destroyed === true;
    }, "the connection to end");
  });
});

const run = promisify(execFile);

describe.skipIf(!existsSync("/usr/bin/nghttp"))("nghttp2's own clients", () => {
  it("get whole answers from nghttp", async () => {
    const stage = await start((downstream) => {
      downstream.takeBody(undefined, (body) => (body.kind === "stream" ? body.discard() : undefined));
      respond(downstream);
    });
    const { stdout } = await run("/usr/bin/nghttp", ["-nv", "--no-verify-peer", `https://127.0.0.1:${stage.port}/a?b=c`]).catch(() => run("/usr/bin/nghttp", ["-nv", `https://127.0.0.1:${stage.port}/a?b=c`]));
    expect(stdout).toContain(":status: 200");
    expect(stdout).not.toContain("RST_STREAM");
  });

  it("get 2000 answers from h2load on 100 streams at once", async () => {
    const stage = await start();
    const { stdout } = await run("/usr/bin/h2load", ["-n", "2000", "-c", "2", "-m", "100", `https://127.0.0.1:${stage.port}/`]);
    expect(stdout).toContain("2000 succeeded, 0 failed, 0 errored, 0 timeout");
    expect(stage.errors).toEqual([]);
  });
});

it("uses the codes of RFC 9113", () => {
  expect([constants.NGHTTP2_CANCEL, constants.NGHTTP2_ENHANCE_YOUR_CALM, constants.NGHTTP2_PROTOCOL_ERROR]).toEqual([H2_CODE.cancel, H2_CODE.enhanceYourCalm, H2_CODE.protocol]);
});
