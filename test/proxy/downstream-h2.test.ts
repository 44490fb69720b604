import { once } from "node:events";
import { connect as http2Connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { createServer, type AddressInfo } from "node:net";
import { connect as tlsConnect, createSecureContext, TLSSocket, type ConnectionOptions } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls, type SimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { RawHeaders } from "../../src/flow/headers.ts";
import type { H2Downstream } from "../../src/proxy/downstream-h2.ts";
import { createHttp2Server, type Http2Clock, type Http2Limits } from "../../src/proxy/http2-server.ts";
import { StreamReset, type BodySource, type RequestBody } from "../../src/proxy/messages.ts";
import { dataFrame, FLAG, FRAME, H2_CODE, headersFrames, Http2Wire, resetFrame, SETTING, windowFrame, type Frame } from "../support/http2-frames.ts";
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
class Clock implements Http2Clock {
  nowMs = 0;
  sweep = (): void => undefined;
  now(): number {
    return this.nowMs;
  }
  every(_periodMs: number, callback: () => void): () => void {
    this.sweep = callback;
    return () => undefined;
  }
}

interface Stage {
  /** Every request, in order. */
  readonly requests: { readonly downstream: H2Downstream; readonly path: string }[];
  readonly streams: () => number;
  client(): ClientHttp2Session;
  wire(settings?: readonly (readonly [number, number])[]): Promise<Http2Wire>;
  /** Waits for the request of that number. */
  request(index?: number): Promise<H2Downstream>;
}

async function start(handle?: (downstream: H2Downstream) => void, limits: Partial<Http2Limits> = {}, clock?: Http2Clock): Promise<Stage> {
  const requests: { downstream: H2Downstream; path: string }[] = [];
  const http2 = createHttp2Server({
    limits,
    ...(clock === undefined ? {} : { clock }),
    onRequest(downstream, path) {
      requests.push({ downstream, path });
      handle?.(downstream);
    },
  });
  const secureContext = createSecureContext({ key: tls.key, cert: tls.cert });
  // Two sockets for a connection, as the terminator makes them.
  const server = createServer({ allowHalfOpen: true }, (raw) => {
    raw.on("error", () => raw.destroy());
    const secure = new TLSSocket(raw, { isServer: true, secureContext, ALPNProtocols: ["h2"] });
    secure.once("close", () => raw.destroy());
    raw.once("close", () => secure.destroy());
    secure.once("secure", () => http2.accept(secure));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  undo.push(() => new Promise((resolve) => server.close(resolve)));
  undo.push(() => http2.close());
  const address: ConnectionOptions = { port: (server.address() as AddressInfo).port, host: "127.0.0.1", ca: tls.ca, ALPNProtocols: ["h2"] };
  return {
    requests,
    streams: () => http2.streams,
    client() {
      const session = http2Connect("https://localhost", { createConnection: () => tlsConnect(address) });
      session.on("error", () => undefined);
      undo.push(() => session.destroy());
      return session;
    },
    async wire(settings) {
      const socket = tlsConnect(address);
      undo.push(() => socket.destroy());
      await once(socket, "secureConnect");
      return new Http2Wire(socket, "client", settings === undefined ? {} : { settings });
    },
    async request(index = 0) {
      await until(() => requests.length > index, `request ${index}`);
      return (requests[index] as { downstream: H2Downstream }).downstream;
    },
  };
}

/** What a client's stream received. */
interface Reply {
  readonly stream: ClientHttp2Stream;
  status: number | undefined;
  fields: IncomingHttpHeaders;
  body: string;
  trailers: IncomingHttpHeaders | undefined;
  isEnded: boolean;
  isClosed: boolean;
}

function collect(stream: ClientHttp2Stream): Reply {
  const reply: Reply = { stream, status: undefined, fields: {}, body: "", trailers: undefined, isEnded: false, isClosed: false };
  stream.on("response", (fields) => {
    reply.status = fields[":status"];
    reply.fields = fields;
  });
  stream.on("data", (chunk: Buffer) => (reply.body += chunk.toString("latin1")));
  stream.on("trailers", (trailers) => (reply.trailers = trailers));
  stream.on("end", () => (reply.isEnded = true));
  stream.on("close", () => (reply.isClosed = true));
  stream.on("error", () => undefined);
  return reply;
}

async function finished(reply: Reply): Promise<Reply> {
  await until(() => reply.isClosed, "the client's stream to close");
  return reply;
}

function get(client: ClientHttp2Session, fields: OutgoingHttpHeaders = {}): Reply {
  return collect(client.request({ ":path": "/", ...fields }));
}

/** Takes everything that a body gives. */
class Sink {
  received = "";
  trailers: RawHeaders | undefined;
  error: Error | undefined;
  isFull = false;
  source: BodySource | undefined;
  data(chunk: Buffer): boolean {
    this.received += chunk.toString("latin1");
    return !this.isFull;
  }
  end(trailers: RawHeaders): void {
    this.trailers = trailers;
  }
  fail(error: Error): void {
    this.error = error;
  }
}

interface Taken {
  body: RequestBody | undefined;
  watched: string;
  isWatchedToEnd: boolean;
  readonly sink: Sink;
  closes: number;
}

/** Takes the body of a request, and opens it where it is a stream. */
function take(downstream: H2Downstream): Taken {
  const taken: Taken = { body: undefined, watched: "", isWatchedToEnd: false, sink: new Sink(), closes: 0 };
  downstream.onClose(() => (taken.closes += 1));
  const watcher = {
    requestData: (chunk: Uint8Array) => void (taken.watched += Buffer.from(chunk).toString("latin1")),
    requestEnd: () => void (taken.isWatchedToEnd = true),
  };
  downstream.takeBody(watcher, (body) => {
    taken.body = body;
    if (body.kind === "stream") taken.sink.source = body.open(taken.sink);
  });
  return taken;
}

const POST = [":method", "POST", ":scheme", "https", ":path", "/v1", ":authority", "localhost"];
const GET = [":method", "GET", ":scheme", "https", ":path", "/", ":authority", "localhost"];
const OK = { status: 200, statusText: "", headers: ["content-type", "text/plain"] };

const of = (wire: Http2Wire, type: number): Frame[] => wire.frames.filter((frame) => frame.type === type && frame.streamId !== 0);

describe("the request", () => {
  it("shows the head in HTTP/1.1 form", async () => {
    const stage = await start();
    const wire = await stage.wire();
    wire.write(headersFrames(1, [...GET, "x-b", "1", "x-a", "2", "x-b", "3"], true));
    const downstream = await stage.request();
    expect(stage.requests[0]?.path).toBe("/");
    expect(downstream).toMatchObject({ version: "2", method: "GET", isChunked: false });
    expect(downstream.headers).toEqual(["host", "localhost", "x-b", "1", "x-a", "2", "x-b", "3"]);
  });

  it("has no body where the head ends the stream", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    get(stage.client());
    await stage.request();
    expect(taken[0]).toMatchObject({ body: { kind: "none" }, watched: "", isWatchedToEnd: true });
  });

  it("gives a small body whole", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    const text = JSON.stringify({ model: "m", input: "x".repeat(30_000) });
    stage.client().request({ ":method": "POST", ":path": "/", "content-length": text.length }).end(text);
    const downstream = await stage.request();
    expect(downstream.isChunked).toBe(false);
    const body = taken[0]?.body;
    expect(body?.kind === "whole" && body.bytes.toString()).toBe(text);
    expect(taken[0]).toMatchObject({ watched: text, isWatchedToEnd: true });
  });

  it("has no body where one of no bytes ends with its head", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    const wire = await stage.wire();
    wire.write(headersFrames(1, [...POST, "content-length", "0"], false), dataFrame(1, "", true));
    await stage.request();
    expect(taken[0]?.body).toEqual({ kind: "none" });
  });

  it("streams a body whose end is still to come", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    const wire = await stage.wire();
    wire.write(headersFrames(1, [...POST, "content-length", "6"], false), dataFrame(1, "abc", false));
    await until(() => taken[0]?.sink.received === "abc", "the first piece");
    expect(taken[0]?.body).toMatchObject({ kind: "stream", contentLength: 6 });
    expect(taken[0]?.sink.trailers).toBeUndefined();
    wire.write(dataFrame(1, "def", true));
    await until(() => taken[0]?.sink.trailers !== undefined, "the end");
    expect(taken[0]).toMatchObject({ watched: "abcdef", isWatchedToEnd: true, closes: 0, sink: { received: "abcdef", trailers: [] } });
  });

  it("passes trailers of a body on, with and without a length", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    const wire = await stage.wire();
    const trailers = ["x-sum", "1", "x-two", "2", "x-sum", "3"];
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", false), headersFrames(1, trailers, true));
    wire.write(headersFrames(3, [...POST, "content-length", "3"], false), dataFrame(3, "abc", false), headersFrames(3, trailers, true));
    await until(() => taken.length === 2 && taken.every(({ sink }) => sink.trailers !== undefined), "both ends");
    for (const { sink } of taken) expect(sink).toMatchObject({ received: "abc", trailers });
  });

  it("tells a body without a length as chunks", async () => {
    const stage = await start();
    const wire = await stage.wire();
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", true));
    const downstream = await stage.request();
    expect(downstream.isChunked).toBe(true);
    expect(downstream.headers).toEqual(["host", "localhost", "transfer-encoding", "chunked"]);
    expect(take(downstream).body).toMatchObject({ kind: "stream", contentLength: undefined });
  });

  it("takes no more of a body than its window while the sink is full, and all of it then", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => {
      const one = take(downstream);
      one.sink.isFull = true;
      taken.push(one);
    });
    const bytes = 3_000_000;
    const upload = stage.client().request({ ":method": "POST", ":path": "/" });
    upload.end(Buffer.alloc(bytes, "x"));
    upload.on("error", () => undefined);
    await until(() => (taken[0]?.sink.received.length ?? 0) > 0, "the first piece");
    const { sink } = taken[0] as Taken;
    // The rest of what was allowed has come once another request on the same session is through.
    get(stage.client());
    await stage.request(1);
    expect(sink.received.length).toBeLessThan(200_000);
    sink.isFull = false;
    sink.source?.resume();
    await until(() => sink.trailers !== undefined, "the end");
    expect(sink.received.length).toBe(bytes);
  });
});

describe("a client that goes away", () => {
  const ends: readonly [name: string, end: (wire: Http2Wire) => void][] = [
    ["resets the stream", (wire) => wire.write(resetFrame(1, H2_CODE.cancel))],
    ["resets the stream without an error", (wire) => wire.write(resetFrame(1, H2_CODE.noError))],
    ["resets the stream with an error", (wire) => wire.write(resetFrame(1, H2_CODE.internal))],
    ["ends the stream and resets it", (wire) => wire.write(dataFrame(1, "", true), resetFrame(1, H2_CODE.cancel))],
    ["ends its connection", (wire) => void wire.socket.end()],
    ["cuts its connection", (wire) => void wire.socket.destroy()],
    ["breaks the protocol", (wire) => wire.write(dataFrame(0, "", false))],
  ];
  it.each(ends)("inside a body: %s", async (_name, end) => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    const wire = await stage.wire();
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", false));
    await until(() => taken[0]?.sink.received === "abc", "the piece");
    end(wire);
    await until(() => stage.streams() === 0, "the stream to end");
    expect(taken[0]).toMatchObject({ closes: 1, isWatchedToEnd: false, sink: { received: "abc", trailers: undefined } });
    expect(taken[0]?.sink.error).toBeInstanceOf(Error);
    expect(stage.requests[0]?.downstream.isGone).toBe(true);
  });

  it("inside a body that goes on behind the response", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => {
      taken.push(take(downstream));
      downstream.start(OK, { kind: "open" });
      downstream.end(undefined, []);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", false));
    await until(() => wire.stream(1).isEnded, "the response");
    wire.write(resetFrame(1, H2_CODE.cancel));
    await until(() => stage.streams() === 0, "the stream to end");
    await until(() => taken[0]?.sink.error !== undefined, "the taker to be told");
    expect(taken[0]).toMatchObject({ closes: 1, isWatchedToEnd: false, sink: { trailers: undefined } });
    expect(stage.requests[0]?.downstream.isGone).toBe(false);
  });

  it("leaves nothing behind with a body that nobody reads", async () => {
    const stage = await start();
    const wire = await stage.wire();
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", false));
    const downstream = await stage.request();
    wire.write(resetFrame(1, H2_CODE.noError));
    await until(() => stage.streams() === 0, "the stream to end");
    const late = take(downstream);
    await until(() => late.closes === 1 && late.sink.error !== undefined, "the late taker to be told");
  });

  it.each(["GET", "HEAD"])("before the response to a %s", async (method) => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => taken.push(take(downstream)));
    const wire = await stage.wire();
    wire.write(headersFrames(1, [":method", method, ...GET.slice(2)], true));
    await stage.request();
    wire.write(resetFrame(1, H2_CODE.cancel));
    await until(() => stage.streams() === 0, "the stream to end");
    expect(taken[0]?.closes).toBe(1);
    expect(stage.requests[0]?.downstream.isGone).toBe(true);
  });

  it.each([H2_CODE.noError, H2_CODE.cancel])("before it has taken what was written, by code %s", async (code) => {
    let closes = 0;
    const stage = await start((downstream) => {
      downstream.onClose(() => (closes += 1));
      downstream.start(OK, { kind: "open" });
      while (downstream.write(Buffer.alloc(10_000)));
    });
    const wire = await stage.wire([[SETTING.initialWindow, 0]]);
    wire.write(headersFrames(1, POST, false));
    await until(() => wire.stream(1).blocks.length > 0, "the head");
    wire.write(resetFrame(1, code));
    await until(() => stage.streams() === 0, "the stream to end");
    expect(closes).toBe(1);
  });

  it("before a head that waits for its commit", async () => {
    let closes = 0;
    const stage = await start((downstream) => {
      downstream.onClose(() => (closes += 1));
      downstream.start({ ...OK, status: 204 }, { kind: "none" });
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    const downstream = await stage.request();
    wire.write(resetFrame(1, H2_CODE.cancel));
    await until(() => closes === 1, "the close");
    downstream.end(undefined, []);
    await until(() => stage.streams() === 0, "the stream to end");
    expect(downstream.isGone).toBe(true);
    expect(wire.stream(1).blocks).toEqual([]);
  });

  it("is no one who has only finished sending", async () => {
    let closes = 0;
    const stage = await start((downstream) => {
      downstream.onClose(() => (closes += 1));
      downstream.start(OK, { kind: "open" });
    });
    const reply = get(stage.client());
    await until(() => reply.status === 200, "the head");
    const downstream = await stage.request();
    expect([closes, downstream.isGone]).toEqual([0, false]);
    downstream.end(undefined, []);
    await finished(reply);
    await until(() => closes === 1, "the close behind the end");
    expect([reply.isEnded, downstream.isGone]).toEqual([true, false]);
  });

  it("makes no call throw that comes late", async () => {
    const stage = await start();
    const wire = await stage.wire();
    const calls: readonly ((downstream: H2Downstream) => void)[] = [
      (late) => late.inform({ status: 103, statusText: "", headers: [] }),
      (late) => {
        late.start(OK, { kind: "open" });
        expect(late.write(Buffer.from("x"))).toBe(true);
        late.onDrain(() => undefined);
        late.end(Buffer.from("y"), ["x-t", "1"]);
      },
      (late) => {
        late.start(OK, { kind: "none" });
        late.breakOff(new Error("late"));
      },
      (late) => late.answer(503, [], "late"),
      (late) => expect(late.reset(H2_CODE.refused)).toBe(true),
    ];
    for (const [i, call] of calls.entries()) {
      const id = 1 + 2 * i;
      wire.write(headersFrames(id, POST, false));
      const downstream = await stage.request(i);
      wire.write(resetFrame(id, H2_CODE.cancel));
      await until(() => downstream.isGone, "the reset");
      call(downstream);
    }
    await until(() => stage.streams() === 0, "the streams to end");
    expect([...wire.streams.values()].flatMap((stream) => stream.blocks)).toEqual([]);
  });
});

describe("the response", () => {
  it("leaves as it is, in order and with duplicates", async () => {
    const stage = await start((downstream) => {
      downstream.start({ status: 203, statusText: "Odd", headers: ["X-B", "1", "set-cookie", "a", "x-a", "\xe9", "x-b", "2", "content-type", "a/b", "content-type", "c/d"] }, { kind: "open" });
      downstream.end(undefined, []);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).isEnded, "the end");
    expect(wire.stream(1).blocks).toEqual([
      [":status", "203", "x-b", "1", "set-cookie", "a", "x-a", "\xe9", "x-b", "2", "content-type", "a/b", "content-type", "c/d"],
    ]);
  });

  it("leaves at its head, before there is a body", async () => {
    const stage = await start((downstream) => downstream.start(OK, { kind: "open" }));
    const reply = get(stage.client());
    await until(() => reply.status === 200, "the head");
    const downstream = await stage.request();
    downstream.write(Buffer.from("data: 1\n\n"));
    await until(() => reply.body === "data: 1\n\n", "the first event");
    downstream.write(Buffer.from("data: 2\n\n"));
    await until(() => reply.body === "data: 1\n\ndata: 2\n\n", "the second event");
    downstream.end(undefined, []);
    expect((await finished(reply)).isEnded).toBe(true);
  });

  it("comes behind its interim heads", async () => {
    const stage = await start((downstream) => {
      downstream.inform({ status: 100, statusText: "Continue", headers: [] });
      downstream.inform({ status: 103, statusText: "Early Hints", headers: ["link", "</a>", "x-1", "y", "link", "</b>"] });
      downstream.inform({ status: 101, statusText: "Switching Protocols", headers: [] });
      downstream.start(OK, { kind: "none" });
      downstream.end(undefined, []);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).isEnded, "the end");
    expect(wire.stream(1).blocks).toEqual([[":status", "100"], [":status", "103", "link", "</a>", "link", "</b>", "x-1", "y"], [":status", "200", "content-type", "text/plain"]]);
  });

  it.each(["GET", "HEAD"])("without a body is its head, which waits for the end: %s", async (method) => {
    const stage = await start((downstream) => {
      if (stage.requests.length === 1) downstream.start({ ...OK, headers: ["content-length", "10"] }, { kind: "none" });
      else downstream.answer(200, [], "");
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, [":method", method, ...GET.slice(2)], true));
    const downstream = await stage.request();
    wire.write(headersFrames(3, GET, true));
    await until(() => wire.stream(3).isEnded, "the other answer");
    expect(wire.stream(1).blocks).toEqual([]);
    downstream.end(undefined, []);
    await until(() => wire.stream(1).isEnded, "the end");
    expect(wire.stream(1).blocks).toEqual([[":status", "200", "content-length", "10"]]);
    expect(of(wire, FRAME.data)).toEqual([]);
  });

  it("ends with the frame that completes a body of known length", async () => {
    const stage = await start((downstream) => {
      downstream.start({ ...OK, headers: ["content-length", "6"] }, { kind: "fixed", bytes: 6 });
      downstream.write(Buffer.from("abc"));
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).data === "abc", "the first piece");
    (await stage.request()).end(Buffer.from("def"), []);
    await until(() => wire.stream(1).isEnded, "the end");
    expect(of(wire, FRAME.data).map(({ payload, flags }) => [payload.toString(), flags & FLAG.endStream])).toEqual([["abc", 0], ["def", 1]]);
  });

  it("has its trailers, whether they were announced or not", async () => {
    const trailers = ["x-sum", "1", "grpc-message", "", "x-sum", "2"];
    const stage = await start((downstream) => {
      const isFixed = stage.requests.length === 2;
      const isEmpty = stage.requests.length === 3;
      if (isFixed) downstream.start({ ...OK, headers: ["content-length", "3", "trailer", "x-sum"] }, { kind: "fixed", bytes: 3 });
      else downstream.start({ ...OK, headers: [] }, { kind: isEmpty ? "none" : "open" });
      if (!isFixed && !isEmpty) downstream.write(Buffer.from("abc"));
      downstream.end(isFixed ? Buffer.from("abc") : undefined, trailers);
    });
    const wire = await stage.wire();
    for (const id of [1, 3, 5]) wire.write(headersFrames(id, GET, true));
    for (const id of [1, 3, 5]) {
      await until(() => wire.stream(id).isEnded, "the end");
      expect(wire.stream(id).blocks[1]).toEqual(["x-sum", "1", "x-sum", "2", "grpc-message", ""]);
      expect([wire.stream(id).data, wire.stream(id).resetCode]).toEqual([id === 5 ? "" : "abc", undefined]);
    }
  });

  it("flows both ways at once, as gRPC does", async () => {
    const stage = await start((downstream) => {
      downstream.start({ ...OK, headers: ["content-type", "application/grpc"] }, { kind: "open" });
      downstream.takeBody(undefined, (body) => {
        if (body.kind !== "stream") throw new Error(body.kind);
        body.open({
          data: (chunk) => downstream.write(Buffer.from(chunk.toString().toUpperCase())),
          end: (trailers) => downstream.end(undefined, ["grpc-status", "0", ...trailers]),
          fail: () => undefined,
        });
      });
    });
    const call = stage.client().request({ ":method": "POST", ":path": "/s/m", "content-type": "application/grpc", te: "trailers" }, { waitForTrailers: true });
    call.on("wantTrailers", () => call.sendTrailers({ "x-client": "1" }));
    const reply = collect(call);
    for (const message of ["one", "two", "three"]) {
      const before = reply.body;
      call.write(message);
      await until(() => reply.body === before + message.toUpperCase(), `the echo of ${message}`);
    }
    call.end();
    await finished(reply);
    expect(reply.trailers).toMatchObject({ "grpc-status": "0", "x-client": "1" });
    expect(stage.requests[0]?.downstream.headers).toEqual(["host", "localhost:443", "content-type", "application/grpc", "te", "trailers", "transfer-encoding", "chunked"]);
  });

  it("is one head where gRPC has nothing but trailers", async () => {
    const stage = await start((downstream) => {
      downstream.start({ status: 200, statusText: "", headers: ["content-type", "application/grpc", "grpc-status", "12"] }, { kind: "none" });
      downstream.end(undefined, []);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).isEnded, "the end");
    expect(of(wire, FRAME.headers).map(({ flags }) => flags & FLAG.endStream)).toEqual([FLAG.endStream]);
    expect(of(wire, FRAME.data)).toEqual([]);
  });

  it("resets the stream where HTTP/2 cannot say the head", async () => {
    const heads = [{ ...OK, status: 999 }, { ...OK, headers: ["x-a", "a\nb"] }];
    const stage = await start((downstream) => {
      downstream.start(heads[stage.requests.length - 1] ?? OK, { kind: "open" });
      expect(downstream.write(Buffer.from("x"))).toBe(true);
      downstream.end(undefined, []);
    });
    const client = stage.client();
    for (let i = 0; i < heads.length; i += 1) {
      const reply = await finished(get(client));
      expect([reply.status, reply.stream.rstCode]).toEqual([undefined, constants.NGHTTP2_INTERNAL_ERROR]);
    }
    await until(() => stage.streams() === 0, "the streams to end");
  });

  it("passes a head of 100 KiB on", async () => {
    const headers = Array.from({ length: 100 }, (_, i) => [`x-${i}`, "v".repeat(1024)]).flat();
    const stage = await start((downstream) => {
      downstream.start({ ...OK, headers }, { kind: "none" });
      downstream.end(undefined, []);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).isEnded, "the end");
    expect(wire.stream(1).blocks[0]).toEqual([":status", "200", ...headers]);
  });
});

describe("back-pressure of the response", () => {
  it("says when the client takes no more and calls when it does", async () => {
    const stage = await start((downstream) => downstream.start(OK, { kind: "open" }));
    const wire = await stage.wire([[SETTING.initialWindow, 0]]);
    wire.write(headersFrames(1, GET, true));
    const downstream = await stage.request();
    const piece = Buffer.alloc(16_384, "x");
    let written = piece.length;
    while (downstream.write(piece)) written += piece.length;
    expect(written).toBeLessThan(300_000);
    let drains = 0;
    downstream.onDrain(() => (drains += 1));
    wire.write(windowFrame(1, 1000));
    await until(() => wire.stream(1).data.length === 1000, "what the window lets through");
    expect(drains).toBe(0);
    wire.write(windowFrame(1, 1_000_000));
    await until(() => drains === 1, "the drain");
    downstream.end(undefined, []);
    await until(() => wire.stream(1).isEnded, "the end");
    expect(wire.stream(1).data.length).toBe(written);
  });

  it("adds no listener with any of 100,000 writes", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    undo.push(() => process.off("warning", onWarning));
    const stage = await start((downstream) => {
      const piece = Buffer.from("0123456789");
      let left = 100_000;
      const pump = (): void => {
        while (left > 0) {
          left -= 1;
          if (downstream.write(piece)) continue;
          downstream.onDrain(pump);
          return;
        }
        downstream.end(undefined, []);
      };
      downstream.start(OK, { kind: "open" });
      pump();
    });
    const reply = await finished(get(stage.client()));
    expect(reply.body.length).toBe(1_000_000);
    expect(warnings).toEqual([]);
  });

  it("cuts a stream whose client takes nothing for the bound, and no other", async () => {
    const clock = new Clock();
    const stage = await start((downstream) => downstream.start(OK, { kind: "open" }), { stalledStreamMs: 1000 }, clock);
    const wire = await stage.wire([[SETTING.initialWindow, 0]]);
    wire.write(headersFrames(1, GET, true), headersFrames(3, GET, true), headersFrames(5, GET, true), windowFrame(3, 1_000_000), windowFrame(5, 100));
    const [stalled, waiting, slow] = [await stage.request(0), await stage.request(1), await stage.request(2)];
    stalled.write(Buffer.alloc(100, "x"));
    waiting.write(Buffer.alloc(100, "x"));
    slow.write(Buffer.alloc(100, "x"));
    let closes = 0;
    stalled.onClose(() => (closes += 1));
    await until(() => wire.stream(3).data.length === 100 && wire.stream(5).data.length === 100, "the others");
    slow.write(Buffer.alloc(100, "y"));
    clock.sweep();
    clock.nowMs = 900;
    wire.write(windowFrame(5, 100));
    await until(() => wire.stream(5).data.length === 200, "the slow one");
    slow.write(Buffer.alloc(100, "z"));
    clock.sweep();
    expect(closes).toBe(0);
    clock.nowMs = 1100;
    clock.sweep();
    expect([closes, stalled.isGone, waiting.isGone, slow.isGone]).toEqual([1, true, false, false]);
    await until(() => wire.stream(1).resetCode !== undefined, "the reset");
    expect(wire.stream(1).resetCode).toBe(H2_CODE.cancel);
    waiting.end(undefined, []);
    await until(() => wire.stream(3).isEnded, "the other's end");
  });

  it("ends a stream that its client has ended without an error behind the response", async () => {
    const clock = new Clock();
    const stage = await start(
      (downstream) => {
        downstream.start(OK, { kind: "open" });
        downstream.end(Buffer.from("abcdef"), []);
      },
      {},
      clock,
    );
    const wire = await stage.wire([[SETTING.initialWindow, 0]]);
    wire.write(headersFrames(1, GET, true), windowFrame(1, 3));
    await until(() => wire.stream(1).data === "abc", "what the window lets through");
    wire.write(resetFrame(1, H2_CODE.noError), headersFrames(3, GET, true));
    await until(() => wire.stream(3).blocks.length > 0, "the head behind it");
    clock.sweep();
    clock.sweep();
    await until(() => stage.streams() === 1, "the stream to end");
    expect(stage.requests[1]?.downstream.isGone).toBe(false);
  });
});

describe("breaking off", () => {
  const causes: readonly [name: string, cause: unknown, code: number][] = [
    ["with the upstream's own code", new StreamReset(H2_CODE.enhanceYourCalm), H2_CODE.enhanceYourCalm],
    ["with an error for any other cause", new Error("broken"), H2_CODE.internal],
    ["with an error where the upstream gave none", new StreamReset(H2_CODE.noError), H2_CODE.internal],
    ["with a code that Node refuses", new StreamReset(0xffff_ffff), 0x7fff_ffff],
  ];
  it.each(causes)("resets the stream behind what was written, %s", async (_name, cause, code) => {
    const bytes = 200_000;
    const stage = await start((downstream) => {
      downstream.start({ ...OK, headers: ["content-length", "300000"] }, { kind: "fixed", bytes: 300_000 });
      for (let i = 0; i < bytes; i += 1000) downstream.write(Buffer.alloc(1000, "x"));
      downstream.breakOff(cause);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true));
    await until(() => wire.stream(1).resetCode !== undefined, "the reset");
    expect(wire.stream(1)).toMatchObject({ resetCode: code, isEnded: false });
    expect(wire.stream(1).data.length).toBe(bytes);
    await until(() => stage.streams() === 0, "the stream to end");
    expect(stage.requests[0]?.downstream.isGone).toBe(false);
  });

  it("never looks whole where all of it has been written", async () => {
    const stage = await start((downstream) => {
      const isFixed = stage.requests.length === 1;
      downstream.start(OK, isFixed ? { kind: "fixed", bytes: 10 } : { kind: "open" });
      downstream.write(Buffer.from("abc"));
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true), headersFrames(3, GET, true));
    await until(() => wire.stream(1).data === "abc" && wire.stream(3).data === "abc", "both bodies");
    for (const [i, id] of [1, 3].entries()) {
      (await stage.request(i)).breakOff(new Error("broken"));
      await until(() => wire.stream(id).resetCode !== undefined, "the reset");
      expect(wire.stream(id)).toMatchObject({ resetCode: H2_CODE.internal, isEnded: false });
    }
  });

  it("waits for the client's window, and fails the request's body at once", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => {
      taken.push(take(downstream));
      downstream.start(OK, { kind: "open" });
      downstream.write(Buffer.from("abcdef"));
      downstream.breakOff(new Error("broken"));
      downstream.end(undefined, []);
    });
    const wire = await stage.wire([[SETTING.initialWindow, 0]]);
    wire.write(headersFrames(1, POST, false), windowFrame(1, 3));
    await until(() => wire.stream(1).data === "abc", "what the window lets through");
    expect(taken[0]?.sink.error).toBeInstanceOf(Error);
    expect(wire.stream(1).resetCode).toBeUndefined();
    wire.write(windowFrame(1, 3));
    await until(() => wire.stream(1).resetCode !== undefined, "the reset");
    expect(wire.stream(1)).toMatchObject({ data: "abcdef", resetCode: H2_CODE.internal, isEnded: false });
  });

  it("sends no head that was held back", async () => {
    const stage = await start((downstream) => {
      downstream.start(OK, { kind: "none" });
      downstream.breakOff(new Error("broken"));
    });
    const reply = await finished(get(stage.client()));
    expect([reply.status, reply.stream.rstCode]).toEqual([undefined, constants.NGHTTP2_INTERNAL_ERROR]);
  });

  it("passes a reset before the head on", async () => {
    const stage = await start((downstream) => expect(downstream.reset(H2_CODE.refused)).toBe(true));
    const client = stage.client();
    const reply = await finished(get(client));
    expect([reply.status, reply.stream.rstCode]).toEqual([undefined, H2_CODE.refused]);
    const upload = client.request({ ":method": "POST", ":path": "/" });
    upload.write("abc");
    expect((await finished(collect(upload))).stream.rstCode).toBe(H2_CODE.refused);
    await until(() => stage.streams() === 0, "the streams to end");
    expect(stage.requests.map(({ downstream }) => downstream.isGone)).toEqual([false, false]);
  });
});

describe("an answer of the proxy's own", () => {
  it("is a whole response", async () => {
    const stage = await start((downstream) => downstream.answer(429, ["content-type", "application/json", "content-length", "2", "retry-after", "1"], "{}"));
    const wire = await stage.wire();
    wire.write(headersFrames(1, GET, true), headersFrames(3, [":method", "HEAD", ...GET.slice(2)], true));
    await until(() => wire.stream(1).isEnded && wire.stream(3).isEnded, "both answers");
    const head = [":status", "429", "content-type", "application/json", "content-length", "2", "retry-after", "1"];
    expect(wire.stream(1)).toMatchObject({ blocks: [head], data: "{}", resetCode: undefined });
    expect(wire.stream(3)).toMatchObject({ blocks: [head], data: "", resetCode: undefined });
  });

  it("lets the client finish its body, which is thrown away", async () => {
    const stage = await start((downstream) => downstream.answer(503, [], "no"));
    const client = stage.client();
    const upload = client.request({ ":method": "POST", ":path": "/" });
    const reply = collect(upload);
    await until(() => reply.isEnded, "the answer");
    expect([reply.status, reply.body]).toEqual([503, "no"]);
    // Far more than any window.
    upload.end(Buffer.alloc(3_000_000));
    await finished(reply);
    expect(reply.stream.rstCode).toBe(H2_CODE.noError);
    expect((await finished(get(client))).status).toBe(503);
    await until(() => stage.streams() === 0, "the streams to end");
  });

  it("ends the stream of a client that does not finish", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => {
      taken.push(take(downstream));
      downstream.answer(503, [], "no");
    }, { lingerMs: 20 });
    const wire = await stage.wire();
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", false));
    await until(() => wire.stream(1).resetCode !== undefined, "the reset");
    expect(wire.stream(1)).toMatchObject({ data: "no", isEnded: true, resetCode: H2_CODE.noError });
    await until(() => stage.streams() === 0, "the stream to end");
    expect(taken[0]?.sink.trailers).toBeUndefined();
    expect(taken[0]?.sink.error).toBeInstanceOf(Error);
    expect(stage.requests[0]?.downstream.isGone).toBe(false);
  });

  it("does not end the request's body for who still takes it", async () => {
    const taken: Taken[] = [];
    const stage = await start((downstream) => {
      taken.push(take(downstream));
      downstream.start(OK, { kind: "none" });
      downstream.end(undefined, []);
    });
    const wire = await stage.wire();
    wire.write(headersFrames(1, POST, false), dataFrame(1, "abc", false));
    await until(() => wire.stream(1).isEnded, "the response");
    wire.write(dataFrame(1, "def", true));
    await until(() => taken[0]?.sink.trailers !== undefined, "the end of the body");
    expect(taken[0]?.sink).toMatchObject({ received: "abcdef", error: undefined });
    await until(() => stage.streams() === 0, "the stream to end");
    expect(wire.stream(1).resetCode).toBeUndefined();
  });
});
