/** HTTP/2 upstreams against real origins: node:http2 servers, and peers that write their frames by hand. */

import { mkdtemp, rm } from "node:fs/promises";
import { constants, createSecureServer, type Http2SecureServer, type IncomingHttpHeaders, type SecureServerOptions, type ServerHttp2Session, type ServerHttp2Stream, type ServerStreamResponseOptions } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import type { ResponseHead } from "../../src/flow/flow.ts";
import type { RawHeaders } from "../../src/flow/headers.ts";
import { loadOrCreateAuthority, type Leaf } from "../../src/proxy/certificate-authority.ts";
import { StreamReset, type BodySink, type RequestBody, type RequestStream, type UpstreamCall, type UpstreamListener, type UpstreamRequest } from "../../src/proxy/messages.ts";
import { ProxyError } from "../../src/proxy/proxy-error.ts";
import { MAX_INTERIM_HEADS } from "../../src/proxy/http2-call.ts";
import { MAX_STREAMS_PER_SESSION, STREAM_WINDOW_BYTES } from "../../src/proxy/http2-session.ts";
import { createHttp2Upstream, MAX_SESSIONS_PER_ORIGIN, type Http2Upstream, type Http2UpstreamOptions } from "../../src/proxy/upstream-h2.ts";
import { dataFrame, FLAG, FRAME, frame, goawayFrame, H2_CODE, headersFrames, Http2Wire, resetFrame, settingsFrame, type WireStream } from "../support/http2-frames.ts";
import { until } from "../support/until.ts";

const KEY = "https://localhost:443";
const NO_BODY: RequestBody = { kind: "none" };
/** A wire tells of frames of data and resets: a body makes it speak. */
const SMALL_BODY: RequestBody = { kind: "whole", bytes: Buffer.from("x") };

/** Node knows `sendDate`, its types do not. */
const WITHOUT_DATE: ServerStreamResponseOptions & { sendDate: boolean } = { sendDate: false };
const WITHOUT_BODY = { ...WITHOUT_DATE, endStream: true };

let dir: string;
let caPem: string;
let leaf: Leaf;
const cleanups: (() => void | Promise<void>)[] = [];
const warnings: string[] = [];
const onWarning = (warning: Error): void => void warnings.push(`${warning.name}: ${warning.message}`);

beforeAll(async () => {
  process.on("warning", onWarning);
  dir = await mkdtemp(join(tmpdir(), "tallyman-h2-"));
  const ca = await loadOrCreateAuthority(join(dir, "ca"));
  caPem = ca.certificatePem;
  leaf = await ca.issueLeaf("localhost", 3_600_000, Date.now());
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

afterAll(async () => {
  process.off("warning", onWarning);
  await rm(dir, { recursive: true, force: true });
});

/** What a listener heard. */
interface Heard extends UpstreamListener {
  readonly informs: ResponseHead[];
  heads: ResponseHead[];
  readonly bytes: number;
  readonly text: string;
  readonly ends: RawHeaders[];
  readonly errors: unknown[];
  /** "inform", "head", "data", "end", "error" in the order of the calls. */
  readonly order: string[];
  onChunk: ((chunk: Buffer) => void) | undefined;
}

function listen(): Heard {
  const chunks: Buffer[] = [];
  const heard: Heard = {
    informs: [],
    heads: [],
    ends: [],
    errors: [],
    order: [],
    onChunk: undefined,
    get bytes() {
      return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    },
    get text() {
      return Buffer.concat(chunks).toString("latin1");
    },
    onInform: (head) => void (heard.informs.push(head), heard.order.push("inform")),
    onHead: (head) => void (heard.heads.push(head), heard.order.push("head")),
    onData(chunk) {
      chunks.push(chunk);
      heard.order.push("data");
      heard.onChunk?.(chunk);
    },
    onEnd: (trailers) => void (heard.ends.push(trailers), heard.order.push("end")),
    onUpgrade: () => void heard.order.push("upgrade"),
    onError: (error) => void (heard.errors.push(error), heard.order.push("error")),
  };
  return heard;
}

const isOver = (heard: Heard) => (): boolean => heard.ends.length + heard.errors.length > 0;

/** A body whose pieces the test sends. */
interface ScriptedBody {
  readonly body: RequestStream;
  sink: BodySink | undefined;
  resumes: number;
  isDiscarded: boolean;
}

function scriptBody(): ScriptedBody {
  const script: ScriptedBody = {
    body: {
      kind: "stream",
      contentLength: undefined,
      open(sink) {
        script.sink = sink;
        return { resume: () => void (script.resumes += 1) };
      },
      discard: () => void (script.isDiscarded = true),
    },
    sink: undefined,
    resumes: 0,
    isDiscarded: false,
  };
  return script;
}

function request(parts: Partial<UpstreamRequest> = {}): UpstreamRequest {
  return {
    scheme: "https",
    target: { host: "localhost", port: 443 },
    method: "GET",
    path: "/",
    headers: ["Host", "localhost"],
    body: NO_BODY,
    upgrade: undefined,
    prefersHttp2: true,
    ...parts,
  };
}

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw: string[]) => void;

interface Origin {
  readonly port: number;
  readonly sessions: ServerHttp2Session[];
  readonly sockets: Set<TLSSocket>;
}

async function startOrigin(onStream: OnStream, options: SecureServerOptions = {}): Promise<Origin> {
  const server: Http2SecureServer = createSecureServer({ key: leaf.keyPem, cert: leaf.certificatePem, strictSingleValueFields: false, ...options });
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => void sessions.push(session));
  server.on("sessionError", () => undefined);
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw: string[]) => {
    stream.on("error", () => undefined);
    onStream(stream, headers, flags, raw);
  });
  return listenOn(server, sessions);
}

/** An origin that writes its frames by hand. */
async function startWire(onStream: (stream: WireStream, wire: Http2Wire) => void, onWire?: (wire: Http2Wire) => void): Promise<Origin & { wires: Http2Wire[] }> {
  const wires: Http2Wire[] = [];
  const server = createTlsServer({ key: leaf.keyPem, cert: leaf.certificatePem, ALPNProtocols: ["h2"], allowHalfOpen: true }, (socket) => {
    const wire: Http2Wire = new Http2Wire(socket, "server", { onStream: (stream) => onStream(stream, wire) });
    wires.push(wire);
    onWire?.(wire);
  });
  return { ...(await listenOn(server, [])), wires };
}

async function listenOn(server: ReturnType<typeof createTlsServer> | Http2SecureServer, sessions: ServerHttp2Session[]): Promise<Origin> {
  const sockets = new Set<TLSSocket>();
  server.on("secureConnection", (socket: TLSSocket) => void sockets.add(socket));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, sessions, sockets };
}

function dial(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: "127.0.0.1", port, servername: "localhost", ca: caPem, ALPNProtocols: ["h2"] });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      socket.off("error", reject);
      expect(socket.alpnProtocol).toBe("h2");
      resolve(socket);
    });
  });
}

/** So many sessions are there and their settings with their client: they take effect when it has acknowledged them. */
async function settled(origin: Origin, count: number): Promise<void> {
  await until(() => origin.sessions.length === count && (origin.sessions[count - 1]?.localSettings.maxConcurrentStreams ?? Infinity) < 2 ** 31, "the settings");
}

function create(options: Partial<Http2UpstreamOptions> = {}): Http2Upstream {
  const upstream = createHttp2Upstream({ idleTimeoutMs: 60_000, ...options });
  cleanups.push(() => upstream.close());
  return upstream;
}

/** An upstream with one session to the origin. */
async function joinOrigin(origin: Origin, options: Partial<Http2UpstreamOptions> = {}): Promise<Http2Upstream> {
  const upstream = create(options);
  expect(upstream.adopt(KEY, await dial(origin.port))).toBe(true);
  return upstream;
}

function send(upstream: Http2Upstream, parts: Partial<UpstreamRequest> = {}): { call: UpstreamCall; heard: Heard } {
  const heard = listen();
  return { heard, call: upstream.request(KEY, request(parts), heard) };
}

function expectCode(heard: Heard, code: string): void {
  expect(heard.errors).toHaveLength(1);
  expect(heard.errors[0]).toBeInstanceOf(ProxyError);
  expect((heard.errors[0] as ProxyError).code).toBe(code);
  expect(heard.ends).toHaveLength(0);
}

function expectReset(heard: Heard, code: number): void {
  expect(heard.errors).toHaveLength(1);
  expect(heard.errors[0]).toBeInstanceOf(StreamReset);
  expect((heard.errors[0] as StreamReset).http2Code).toBe(code);
  expect(heard.ends).toHaveLength(0);
}

function manyFields(count: number, bytes: number): string[] {
  return Array.from({ length: count }, (_, i) => [`x-${i}`, "1".repeat(bytes)]).flat();
}

/** What becomes of a response with this head and no body. */
async function answerWith(fields: string[]): Promise<{ upstream: Http2Upstream; heard: Heard }> {
  const origin = await startWire((stream, wire) => {
    if (stream.data !== "" && stream.resetCode === undefined) wire.write(headersFrames(stream.id, fields, true));
  });
  const upstream = await joinOrigin(origin);
  const { heard } = send(upstream, { method: "POST", body: SMALL_BODY });
  await until(isOver(heard), "the end");
  return { upstream, heard };
}

describe("a request", () => {
  it("goes up with its fields in order and doubled, and brings head, body and end back", async () => {
    let raw: string[] = [];
    const origin = await startOrigin((stream, _headers, _flags, received) => {
      raw = received;
      stream.respond([":status", "201", "x-b", "1", "set-cookie", "a", "x-a", "2", "set-cookie", "b", "x-b", "3"], WITHOUT_DATE);
      stream.end("hello");
    });
    const upstream = await joinOrigin(origin);
    const { heard } = send(upstream, { path: "/p?q=1", headers: ["X-B", "1", "Host", "localhost", "x-a", "2", "X-b", "3", "Content-Type", "a", "content-type", "b", "TE", "trailers"] });
    await until(isOver(heard), "the response");
    expect(raw).toEqual([":method", "GET", ":scheme", "https", ":path", "/p?q=1", ":authority", "localhost", "x-b", "1", "x-a", "2", "x-b", "3", "content-type", "a", "content-type", "b", "te", "trailers"]);
    expect(heard.heads).toEqual([{ status: 201, statusText: "", headers: ["x-b", "1", "set-cookie", "a", "x-a", "2", "set-cookie", "b", "x-b", "3"] }]);
    expect(heard.text).toBe("hello");
    expect(heard.ends).toEqual([[]]);
    expect(heard.errors).toEqual([]);
  });

  it("names the target where it has no Host, with the port that is not the scheme's own", async () => {
    const seen: unknown[] = [];
    const origin = await startOrigin((stream, headers) => {
      seen.push(headers[":authority"]);
      stream.respond({ ":status": 204 }, { endStream: true });
    });
    const upstream = await joinOrigin(origin);
    const calls = [
      send(upstream, { headers: [] }),
      send(upstream, { headers: [], target: { host: "localhost", port: 8443 } }),
      send(upstream, { headers: [], target: { host: "::1", port: 443 } }),
    ];
    for (const { heard } of calls) await until(isOver(heard), "the response");
    expect(seen).toEqual(["localhost", "localhost:8443", "[::1]"]);
  });

  it("sends a whole body, and ends the stream with the head when there is none", async () => {
    const flags: number[] = [];
    const origin = await startOrigin((stream, _headers, flag) => {
      flags.push(flag & constants.NGHTTP2_FLAG_END_STREAM);
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    const upstream = await joinOrigin(origin);
    const bytes = Buffer.alloc(200_000, "x");
    const whole = send(upstream, { method: "POST", body: { kind: "whole", bytes } });
    const empty = send(upstream, { method: "POST", body: { kind: "whole", bytes: Buffer.alloc(0) } });
    const none = send(upstream, { method: "DELETE" });
    for (const { heard } of [whole, empty, none]) await until(isOver(heard), "the echo");
    expect(whole.heard.bytes).toBe(bytes.length);
    expect(empty.heard.ends).toHaveLength(1);
    expect(none.heard.ends).toHaveLength(1);
    expect(flags).toEqual([0, 1, 1]);
  });

  it("calls no listener before it returns, and fails later without a session or with what HTTP/2 cannot say", async () => {
    const upstream = await joinOrigin(await startOrigin(() => undefined));
    const other = listen();
    const script = scriptBody();
    upstream.request("https://other:443", request({ body: script.body }), other);
    const { heard } = send(upstream, { headers: ["x-a", "1\0x-b\x002"] });
    expect([...other.order, ...heard.order]).toEqual([]);
    await until(() => isOver(other)() && isOver(heard)(), "the errors");
    expectCode(other, "upstream_unreachable");
    expectCode(heard, "bad_request");
    expect(script.isDiscarded).toBe(true);
    expect(script.sink).toBeUndefined();
  });

  it("streams its body with back-pressure: the sink says stop and calls for more when the origin has read", async () => {
    let stream: ServerHttp2Stream | undefined;
    const origin = await startOrigin((opened) => void (stream = opened));
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const { heard } = send(upstream, { method: "POST", body: script.body });
    const chunk = Buffer.alloc(16_384, "x");
    let sent = 0;
    const fill = (): void => {
      do sent += chunk.length;
      while (script.sink?.data(chunk) === true && sent < 50_000_000);
    };
    fill();
    await until(() => stream !== undefined, "the stream");
    expect(sent).toBeLessThan(1_000_000);
    const resumed = script.resumes;
    let received = 0;
    stream?.on("data", (piece: Buffer) => void (received += piece.length)).on("end", () => {
      stream?.respond({ ":status": 200 }, { endStream: true });
    });
    await until(() => script.resumes > resumed, "the drain");
    for (let round = 0; round < 50; round += 1) {
      const before = script.resumes;
      fill();
      await until(() => script.resumes > before, "the next drain");
    }
    script.sink?.end([]);
    await until(isOver(heard), "the response");
    expect(heard.ends).toHaveLength(1);
    expect(received).toBe(sent);
    expect(script.isDiscarded).toBe(false);
  });

  it("leaves at once and echoes both ways before its body has ended, with trailers both ways", async () => {
    const seen: { trailers: string[]; isTrailersOnly: boolean } = { trailers: [], isTrailersOnly: false };
    const origin = await startOrigin((stream, headers) => {
      expect(headers["content-type"]).toBe("application/grpc");
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-t": ["1", "2"] }));
      stream.on("trailers", (_fields, _flags, raw) => void (seen.trailers = raw));
      stream.pipe(stream);
    });
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const { heard } = send(upstream, { method: "POST", headers: ["host", "localhost", "content-type", "application/grpc", "te", "trailers"], body: script.body });
    await until(() => heard.heads.length === 1, "the head");
    for (const word of ["one", "two", "three"]) {
      script.sink?.data(Buffer.from(word));
      await until(() => heard.text.endsWith(word), `the echo of ${word}`);
    }
    expect(heard.ends).toEqual([]);
    script.sink?.end(["X-Sum", "3", "Connection", "close", "x-sum", "4"]);
    await until(isOver(heard), "the end");
    expect(heard.text).toBe("onetwothree");
    expect(heard.ends).toEqual([["grpc-status", "0", "x-t", "1", "x-t", "2"]]);
    await until(() => seen.trailers.length > 0, "the request's trailers");
    expect(seen.trailers).toEqual(["x-sum", "3", "x-sum", "4"]);
  });

  it("ends an empty streamed body", async () => {
    const origin = await startOrigin((stream) => {
      stream.resume().on("end", () => stream.respond({ ":status": 200 }, { endStream: true }));
    });
    const script = scriptBody();
    const { heard } = send(await joinOrigin(origin), { method: "POST", body: script.body });
    script.sink?.end([]);
    await until(isOver(heard), "the response");
    expect(heard.ends).toHaveLength(1);
  });

  it("is cancelled when the client goes away inside its body, and its listener hears that once", async () => {
    let code = -1;
    const origin = await startOrigin((stream) => void stream.resume().on("close", () => (code = stream.rstCode)));
    const script = scriptBody();
    const { heard } = send(await joinOrigin(origin), { method: "POST", body: script.body });
    script.sink?.data(Buffer.from("part"));
    script.sink?.fail(new Error("gone"));
    expect(heard.order).toEqual([]);
    await until(() => code !== -1 && isOver(heard)(), "the reset");
    expect(code).toBe(H2_CODE.cancel);
    expectCode(heard, "upstream_unreachable");
  });
});

describe("a response", () => {
  it("is preceded by its interim heads", async () => {
    const origin = await startOrigin((stream) => {
      stream.additionalHeaders({ ":status": 100 });
      stream.additionalHeaders({ ":status": 103, link: ["<a>", "<b>"] });
      stream.respond({ ":status": 200 }, WITHOUT_DATE);
      stream.end("x");
    });
    const { heard } = send(await joinOrigin(origin));
    await until(isOver(heard), "the response");
    expect(heard.informs).toEqual([
      { status: 100, statusText: "", headers: [] },
      { status: 103, statusText: "", headers: ["link", "<a>", "link", "<b>"] },
    ]);
    expect(heard.order).toEqual(["inform", "inform", "head", "data", "end"]);
  });

  it.each([
    ["HEAD", 200, ["content-length", "5"]],
    ["GET", 204, []],
    ["GET", 304, ["content-length", "5", "etag", "e"]],
  ] as const)("to %s with status %i ends without a body", async (method, status, fields) => {
    const origin = await startOrigin((stream) => stream.respond([":status", String(status), ...fields], WITHOUT_BODY));
    const { heard } = send(await joinOrigin(origin), { method });
    await until(isOver(heard), "the response");
    expect(heard.heads).toEqual([{ status, statusText: "", headers: fields }]);
    expect(heard.order).toEqual(["head", "end"]);
  });

  it("of trailers alone tells head and end in one turn", async () => {
    const origin = await startOrigin((stream) => stream.respond([":status", "200", "grpc-status", "5"], WITHOUT_BODY));
    const upstream = await joinOrigin(origin);
    const heard = listen();
    let isEndedInTurn = false;
    const onHead = heard.onHead;
    upstream.request(KEY, request({ method: "POST", body: SMALL_BODY }), {
      ...heard,
      onHead(head, isAll) {
        onHead(head, isAll);
        process.nextTick(() => (isEndedInTurn = heard.ends.length === 1));
      },
    });
    await until(isOver(heard), "the response");
    expect(heard.heads[0]?.headers).toEqual(["grpc-status", "5"]);
    expect(heard.order).toEqual(["head", "end"]);
    expect(isEndedInTurn).toBe(true);
  });

  it("that is paused holds the origin back, and comes whole when it is resumed", async () => {
    const total = 20_000_000;
    let taken = 0;
    const chunk = Buffer.alloc(16_384, "x");
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 });
      const write = (): void => {
        while (taken < total) {
          taken += chunk.length;
          if (!stream.write(chunk)) return;
        }
        stream.end();
      };
      stream.on("drain", write);
      write();
    });
    const upstream = await joinOrigin(origin);
    const { heard, call } = send(upstream);
    heard.onChunk = () => {
      heard.onChunk = undefined;
      call.pause();
    };
    const other = send(upstream);
    // Another response passes by on the same session in the meantime.
    await until(isOver(other.heard), "the other response");
    const held = heard.bytes;
    expect(heard.ends).toEqual([]);
    expect(held).toBeLessThan(STREAM_WINDOW_BYTES);
    call.resume();
    await until(isOver(heard), "the rest");
    expect(heard.ends).toHaveLength(1);
    expect(heard.bytes + other.heard.bytes).toBe(taken);
  });

  it("that is paused lets the origin send no more than its window and buffers", async () => {
    let taken = 0;
    const chunk = Buffer.alloc(16_384, "x");
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 });
      const write = (): void => {
        do taken += chunk.length;
        while (stream.write(chunk));
      };
      stream.on("drain", write);
      write();
    });
    const upstream = await joinOrigin(origin);
    const { heard, call } = send(upstream);
    await until(() => heard.heads.length === 1, "the head");
    call.pause();
    let before = -1;
    await until(async () => {
      const isStill = taken === before;
      before = taken;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return isStill && taken === before;
    }, "the origin to stop");
    expect(taken - heard.bytes).toBeLessThan(2 * STREAM_WINDOW_BYTES);
    call.abort();
  });

  it("comes whole when the call was paused and resumed before its head", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.data !== "") wire.write(headersFrames(stream.id, [":status", "200"], false), dataFrame(stream.id, "whole", true));
    });
    const { heard, call } = send(await joinOrigin(origin), { method: "POST", body: SMALL_BODY });
    call.pause();
    call.resume();
    await until(isOver(heard), "the response");
    expect(heard.text).toBe("whole");
  });

  it("goes on before the request's body has ended", async () => {
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("early");
      let body = "";
      stream.on("data", (chunk: Buffer) => (body += chunk.toString())).on("end", () => stream.end(`;${body}`));
    });
    const script = scriptBody();
    const { heard } = send(await joinOrigin(origin), { method: "POST", body: script.body });
    await until(() => heard.text === "early", "the early answer");
    script.sink?.data(Buffer.from("late"));
    script.sink?.end([]);
    await until(isOver(heard), "the end");
    expect(heard.text).toBe("early;late");
  });

  it("that ends with a reset without error before the body is whole is complete, and the body is thrown away", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.data === "") return;
      wire.write(headersFrames(stream.id, [":status", "413"], false), dataFrame(stream.id, "too long", true), resetFrame(stream.id, H2_CODE.noError));
    });
    const script = scriptBody();
    const { heard } = send(await joinOrigin(origin), { method: "POST", body: script.body });
    script.sink?.data(Buffer.from("part"));
    await until(isOver(heard), "the response");
    expect(heard.errors).toEqual([]);
    expect(heard.text).toBe("too long");
    await until(() => script.isDiscarded, "the body to be let go");
    expect(script.sink?.data(Buffer.from("more"))).toBe(true);
    script.sink?.end([]);
    expect(heard.order).toEqual(["head", "data", "end"]);
  });

  it("that ends so while the client does not read yet lets it send the rest of its body", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.data !== "") wire.write(headersFrames(stream.id, [":status", "413"], false), dataFrame(stream.id, "too long", true), resetFrame(stream.id, H2_CODE.noError));
    });
    const script = scriptBody();
    const { call, heard } = send(await joinOrigin(origin), { method: "POST", body: script.body });
    call.pause();
    script.sink?.data(Buffer.from("part"));
    await until(() => heard.heads.length === 1, "the head");
    await until(() => {
      script.sink?.data(Buffer.from("more"));
      return script.isDiscarded;
    }, "the body to be let go");
    expect(heard.order).toEqual(["head"]);
    call.resume();
    await until(isOver(heard), "the response");
    expect(heard.text).toBe("too long");
    expect(heard.errors).toEqual([]);
  });

  it("that ends before the body is whole lets the body go on where the origin still reads", async () => {
    let received = "";
    let isEnded = false;
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 });
      stream.end("done");
      stream.on("data", (chunk: Buffer) => (received += chunk.toString())).on("end", () => (isEnded = true));
    });
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const { heard } = send(upstream, { method: "POST", body: script.body });
    await until(isOver(heard), "the response");
    script.sink?.data(Buffer.from("late"));
    script.sink?.end([]);
    await until(() => isEnded, "the body");
    expect(received).toBe("late");
    expect(heard.order).toEqual(["head", "data", "end"]);
  });

  it.each([
    ["shorter", "abc", true],
    ["longer", "abcdefgh", false],
  ])("that is %s than its head says is a protocol error", async (_name, text, isSessionKept) => {
    const origin = await startWire((stream, wire) => {
      if (stream.data === "" || stream.resetCode !== undefined) return;
      wire.write(headersFrames(stream.id, [":status", "200", "content-length", "5"], false), dataFrame(stream.id, text, true));
    });
    const upstream = await joinOrigin(origin);
    const { heard } = send(upstream, { method: "POST", body: SMALL_BODY });
    await until(isOver(heard), "the error");
    expectCode(heard, "upstream_protocol");
    // Node ends the whole session where a body is too long.
    expect(upstream.hasRoom(KEY)).toBe(isSessionKept);
  });
});

describe("a reset", () => {
  it.each([H2_CODE.cancel, H2_CODE.internal, H2_CODE.refused, H2_CODE.enhanceYourCalm])("of the origin with code %i is told before and after the head", async (code) => {
    const origin = await startWire((stream, wire) => {
      if (stream.data === "") return;
      if (stream.data === "head") wire.write(headersFrames(stream.id, [":status", "200"], false), dataFrame(stream.id, "part", false));
      wire.write(resetFrame(stream.id, code));
    });
    const upstream = await joinOrigin(origin);
    const before = send(upstream, { method: "POST", body: SMALL_BODY });
    const after = send(upstream, { method: "POST", body: { kind: "whole", bytes: Buffer.from("head") } });
    await until(() => isOver(before.heard)() && isOver(after.heard)(), "the resets");
    expectReset(before.heard, code);
    expectReset(after.heard, code);
    expect(after.heard.heads).toHaveLength(1);
    expect(upstream.hasRoom(KEY)).toBe(true);
  });

  it("without error inside a response does not make it whole", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.data !== "") wire.write(headersFrames(stream.id, [":status", "200"], false), dataFrame(stream.id, "part", false), resetFrame(stream.id, H2_CODE.noError));
    });
    const { heard } = send(await joinOrigin(origin), { method: "POST", body: SMALL_BODY });
    await until(isOver(heard), "the reset");
    expectCode(heard, "upstream_protocol");
  });

  it.each([
    ["a field of the connection", [":status", "200", "connection", "close"], H2_CODE.protocol],
    ["a status that is none", [":status", "2x0"], H2_CODE.protocol],
    ["no status", ["x-a", "1"], H2_CODE.protocol],
    ["status 101", [":status", "101"], H2_CODE.protocol],
    ["two lengths", [":status", "200", "content-length", "1", "content-length", "1"], H2_CODE.protocol],
    ["a length that is no number", [":status", "200", "content-length", "+1"], H2_CODE.protocol],
    ["a request's pseudo field", [":status", "200", ":path", "/"], H2_CODE.protocol],
    ["too many fields", [":status", "200", ...manyFields(1100, 1)], H2_CODE.enhanceYourCalm],
  ])("is what a head with %s becomes, and the session goes on", async (_name, fields, code) => {
    const { upstream, heard } = await answerWith(fields);
    expectReset(heard, code);
    expect(heard.heads).toEqual([]);
    expect(upstream.hasRoom(KEY)).toBe(true);
  });

  it.each([
    ["a field that no table holds", ["x-a", "a".repeat(70_000)]],
    ["more frames than any head needs", manyFields(70, 10_000)],
  ])("is not enough for a head with %s: its session ends", async (_name, fields) => {
    const { upstream, heard } = await answerWith([":status", "200", ...fields]);
    expectCode(heard, "upstream_protocol");
    expect(upstream.hasRoom(KEY)).toBe(false);
  });

  it("is what a head or trailers above the bound become, and the session goes on, from the first response on", async () => {
    const { upstream, heard } = await answerWith([":status", "200", ...manyFields(7, 10_000)]);
    expectCode(heard, "upstream_protocol");
    expect(heard.heads).toEqual([]);
    expect(upstream.hasRoom(KEY)).toBe(true);
    const origin = await startWire((stream, wire) => {
      if (stream.data !== "") wire.write(headersFrames(stream.id, [":status", "200"], false), headersFrames(stream.id, manyFields(7, 10_000), true));
    });
    const trailing = send(await joinOrigin(origin), { method: "POST", body: SMALL_BODY });
    await until(isOver(trailing.heard), "the error");
    expectCode(trailing.heard, "upstream_protocol");
  });

  it("is what more interim heads than any response needs become", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.data === "" || stream.resetCode !== undefined) return;
      for (let i = 0; i < 1000; i += 1) wire.write(headersFrames(stream.id, [":status", "103"], false));
    });
    const { heard } = send(await joinOrigin(origin), { method: "POST", body: SMALL_BODY });
    await until(isOver(heard), "the error");
    expectCode(heard, "upstream_protocol");
    expect(heard.informs).toHaveLength(MAX_INTERIM_HEADS);
  });

  it("is no matter of a large head within the bound", async () => {
    const { heard } = await answerWith([":status", "200", ...manyFields(6, 10_000)]);
    expect(heard.order).toEqual(["head", "end"]);
    expect(heard.heads[0]?.headers).toEqual(manyFields(6, 10_000));
  });

  it("goes up at once when the client aborts, and the listener hears nothing more", async () => {
    const codes: number[] = [];
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("x");
      stream.on("close", () => codes.push(stream.rstCode));
    });
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const early = send(upstream, { method: "POST", body: script.body });
    early.call.abort();
    const late = send(upstream);
    const inside = send(upstream);
    inside.heard.onChunk = () => inside.call.abort();
    await until(() => late.heard.text === "x", "the response");
    late.call.abort();
    late.call.abort();
    late.call.resume();
    await until(() => codes.length === 3, "the resets");
    expect(codes).toEqual([H2_CODE.cancel, H2_CODE.cancel, H2_CODE.cancel]);
    expect(early.heard.order).toEqual([]);
    expect(late.heard.order).toEqual(["head", "data"]);
    expect(inside.heard.order).toEqual(["head", "data"]);
    expect(script.isDiscarded).toBe(true);
  });

  it("stops the data of a piece that was already received", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.data !== "" && stream.resetCode === undefined) wire.write(headersFrames(stream.id, [":status", "200"], false), dataFrame(stream.id, "a", false), dataFrame(stream.id, "b", true));
    });
    const upstream = await joinOrigin(origin);
    const { call, heard } = send(upstream, { method: "POST", body: SMALL_BODY });
    heard.onChunk = () => call.abort();
    await until(() => heard.text !== "", "the data");
    const next = send(upstream, { method: "POST", body: SMALL_BODY });
    await until(isOver(next.heard), "the next response");
    expect(heard.order).toEqual(["head", "data"]);
  });

  it("goes up while the body waits for the origin to read", async () => {
    let code = -1;
    let isOpen = false;
    const origin = await startOrigin((stream) => {
      isOpen = true;
      stream.on("close", () => (code = stream.rstCode));
    });
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const { call, heard } = send(upstream, { method: "POST", body: script.body });
    for (let i = 0; script.sink?.data(Buffer.alloc(65_536)) === true && i < 100; i += 1);
    await until(() => isOpen, "the stream");
    call.abort();
    await until(() => code !== -1, "the reset");
    expect(code).toBe(H2_CODE.cancel);
    expect(heard.order).toEqual([]);
    expect(script.isDiscarded).toBe(true);
  });
});

describe("silence", () => {
  it("on a stream for the idle bound is a timeout, and its session takes nothing more", async () => {
    let code = -1;
    const origin = await startOrigin((stream) => void stream.on("close", () => (code = stream.rstCode)));
    const upstream = await joinOrigin(origin, { idleTimeoutMs: 100 });
    const { heard } = send(upstream);
    await until(() => isOver(heard)() && code !== -1, "the timeout");
    expectCode(heard, "upstream_timeout");
    expect(code).toBe(H2_CODE.cancel);
    expect(upstream.hasRoom(KEY)).toBe(false);
    await until(() => upstream.size === 0, "the session to close");
  });

  it("is broken by data either way, and is not the upstream's while the client has paused", async () => {
    const streams: ServerHttp2Stream[] = [];
    const origin = await startOrigin((stream, headers) => {
      streams.push(stream);
      if (headers[":path"] !== "/upload") stream.respond({ ":status": 200 });
      stream.write("x");
      if (headers[":path"] === "/upload") stream.resume();
    });
    const upstream = await joinOrigin(origin, { idleTimeoutMs: 300 });
    const script = scriptBody();
    const up = send(upstream, { method: "POST", path: "/upload", body: script.body });
    const down = send(upstream);
    const paused = send(upstream);
    const silent = send(upstream, { path: "/silent" });
    await until(() => paused.heard.text === "x", "the data");
    paused.call.pause();
    const timer = setInterval(() => {
      script.sink?.data(Buffer.from("x"));
      streams[1]?.write("x");
    }, 20);
    // The silent one sets the pace: it goes when the bound has passed; the others have been alive for longer.
    await until(isOver(silent.heard), "the timeout");
    const again = down.heard.bytes;
    await until(() => down.heard.bytes > again + 30, "more of the stream");
    clearInterval(timer);
    expectCode(silent.heard, "upstream_timeout");
    expect([...up.heard.errors, ...down.heard.errors, ...paused.heard.errors]).toEqual([]);
    paused.call.resume();
    await until(isOver(paused.heard), "the timeout after the pause");
    expectCode(paused.heard, "upstream_timeout");
  });
});

describe("a session", () => {
  it("that is told to go away takes nothing new and finishes what it has", async () => {
    const streams: ServerHttp2Stream[] = [];
    const origin = await startOrigin((stream) => {
      streams.push(stream);
      stream.respond({ ":status": 200 });
      stream.write("a");
    });
    const upstream = await joinOrigin(origin);
    const calls = [send(upstream), send(upstream), send(upstream)];
    for (const { heard } of calls) await until(() => heard.text === "a", "the data");
    origin.sessions[0]?.goaway(constants.NGHTTP2_NO_ERROR);
    await until(() => !upstream.hasRoom(KEY), "the session to be full");
    expect(upstream.adopt(KEY, await dial(origin.port))).toBe(true);
    const next = send(upstream);
    await until(() => next.heard.text === "a", "the next session");
    expect(origin.sessions).toHaveLength(2);
    for (const stream of streams) stream.end("b");
    for (const { heard } of [...calls, next]) {
      await until(isOver(heard), "the end");
      expect(heard.text).toBe("ab");
      expect(heard.errors).toEqual([]);
    }
    await until(() => upstream.size === 1, "the old session to close");
  });

  it("that is told to go away before a stream was looked at resets it as refused", async () => {
    const origin = await startWire((stream, wire) => {
      if (wire.streams.size < 2 || stream.id === 1) return;
      wire.write(goawayFrame(1, H2_CODE.noError), headersFrames(1, [":status", "200"], false), dataFrame(1, "first", true));
    });
    const upstream = await joinOrigin(origin);
    const first = send(upstream, { method: "POST", body: SMALL_BODY });
    const second = send(upstream, { method: "POST", body: SMALL_BODY });
    await until(() => isOver(first.heard)() && isOver(second.heard)(), "the ends");
    expect(first.heard.text).toBe("first");
    expect(first.heard.ends).toHaveLength(1);
    expectReset(second.heard, H2_CODE.refused);
  });

  it("that is told to go away for an error tells every stream once", async () => {
    const origin = await startOrigin(() => undefined);
    const upstream = await joinOrigin(origin);
    const calls = [send(upstream), send(upstream)];
    await until(() => origin.sessions.length === 1, "the session");
    origin.sessions[0]?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    for (const { heard } of calls) await until(isOver(heard), "the error");
    for (const { heard } of calls) expectCode(heard, "upstream_unreachable");
    await until(() => upstream.size === 0, "the session to close");
  });

  it.each(["destroy", "end"] as const)("whose connection is lost by %s tells every stream once, before and after the head", async (how) => {
    const origin = await startOrigin((stream, headers) => {
      if (headers[":path"] === "/head") {
        stream.respond({ ":status": 200 });
        stream.write("part");
      }
    });
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const calls = [send(upstream), send(upstream, { path: "/head" }), send(upstream, { method: "POST", body: script.body })];
    await until(() => calls[1]?.heard.text === "part", "the data");
    for (const socket of origin.sockets) socket[how]();
    for (const { heard } of calls) await until(isOver(heard), "the error");
    for (const { heard } of calls) expectCode(heard, "upstream_unreachable");
    expect(script.isDiscarded).toBe(true);
    expect(upstream.hasRoom(KEY)).toBe(false);
    await until(() => upstream.size === 0, "the session to be gone");
    for (const { heard } of calls) expect(heard.errors).toHaveLength(1);
  });

  it("whose connection is lost behind a whole response still brings it to a client that had paused", async () => {
    const text = "x".repeat(100_000);
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "1" }));
      stream.end(text);
      stream.on("close", () => void setImmediate(() => stream.session?.destroy()));
    });
    const upstream = await joinOrigin(origin);
    const heard = listen();
    const call: UpstreamCall = upstream.request(KEY, request(), { ...heard, onHead: (head, isAll) => void (heard.onHead(head, isAll), call.pause()) });
    await until(() => origin.sessions[0] !== undefined, "the session");
    await until(() => heard.heads.length === 1, "the head");
    origin.sessions[0]?.close();
    await until(() => upstream.size === 0, "the session to be gone");
    expect(heard.order).toEqual(["head"]);
    call.resume();
    await until(isOver(heard), "the rest");
    expect(heard.errors).toEqual([]);
    expect(heard.text).toBe(text);
    expect(heard.ends).toEqual([["x-sum", "1"]]);
  });

  it("holds as many streams as the origin allows, and hundreds go over few", async () => {
    const open: ServerHttp2Stream[] = [];
    const origin = await startOrigin((stream) => void open.push(stream), { settings: { maxConcurrentStreams: 60 } });
    const upstream = create();
    const calls: ReturnType<typeof send>[] = [];
    while (calls.length < 200) {
      if (!upstream.hasRoom(KEY)) {
        upstream.adopt(KEY, await dial(origin.port));
        await settled(origin, upstream.size);
      }
      calls.push(send(upstream));
    }
    await until(() => open.length === 200, "all streams");
    expect(upstream.size).toBe(4);
    expect(origin.sessions).toHaveLength(4);
    for (const stream of open) {
      stream.respond({ ":status": 200 });
      stream.end("x".repeat(1000));
    }
    for (const { heard } of calls) await until(isOver(heard), "a response");
    for (const { heard } of calls) expect([heard.bytes, heard.ends.length, heard.errors.length]).toEqual([1000, 1, 0]);
    expect(upstream.hasRoom(KEY)).toBe(true);
  });

  it("holds no more streams than its own bound", async () => {
    let open = 0;
    const origin = await startOrigin(() => void (open += 1), { settings: { maxConcurrentStreams: 1000 } });
    const upstream = await joinOrigin(origin);
    await settled(origin, 1);
    const calls: ReturnType<typeof send>[] = [];
    while (upstream.hasRoom(KEY)) calls.push(send(upstream));
    expect(calls).toHaveLength(MAX_STREAMS_PER_SESSION);
    await until(() => open === MAX_STREAMS_PER_SESSION, "the streams");
    for (const { call } of calls) call.abort();
    await until(() => upstream.hasRoom(KEY), "room");
  });

  it("without streams closes after its bound, also when the origin keeps its side open", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.resetCode === undefined) wire.write(headersFrames(stream.id, [":status", "200"], true));
    });
    const upstream = await joinOrigin(origin, { idleSessionMs: 50 });
    const { heard } = send(upstream, { method: "POST", body: SMALL_BODY });
    await until(isOver(heard), "the response");
    expect(heard.ends).toHaveLength(1);
    await until(() => upstream.size === 0, "the session to close");
    expect(origin.wires[0]?.goawayCode).toBe(H2_CODE.noError);
    expect(upstream.hasRoom(KEY)).toBe(false);
  });

  it("is closed after the abort of a request that the origin never took, though nothing can be written on it", async () => {
    const origin = await startWire(
      () => undefined,
      (wire) => void setImmediate(() => wire.socket.pause()),
    );
    const upstream = await joinOrigin(origin, { idleSessionMs: 50 });
    await until(() => origin.wires.length === 1, "the connection");
    const script = scriptBody();
    const { call, heard } = send(upstream, { method: "POST", body: script.body });
    let resumed = -1;
    await until(async () => {
      while (script.sink?.data(Buffer.alloc(262_144)) === true);
      resumed = script.resumes;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return script.resumes === resumed;
    }, "the connection to be full");
    call.abort();
    await until(() => upstream.size === 0, "the session to close");
    expect(heard.order).toEqual([]);
  });

  it("that was told to go away is cut off when the origin keeps its side open", async () => {
    const origin = await startWire((stream, wire) => {
      if (stream.resetCode === undefined) wire.write(goawayFrame(stream.id, H2_CODE.noError), headersFrames(stream.id, [":status", "200"], true));
    });
    const upstream = await joinOrigin(origin, { idleSessionMs: 50 });
    const { heard } = send(upstream, { method: "POST", body: SMALL_BODY });
    await until(isOver(heard), "the response");
    expect(heard.ends).toHaveLength(1);
    await until(() => upstream.size === 0, "the session to close");
  });

  it.each([
    ["too many settings in a frame", () => settingsFrame(Array.from({ length: 100 }, (_, i) => [0x100 + i, 1] as const))],
    ["a flood of settings", () => Buffer.concat(Array.from({ length: 20_000 }, () => settingsFrame([])))],
    ["a flood of pings", () => Buffer.concat(Array.from({ length: 20_000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))))],
    ["a pushed stream", () => frame(FRAME.pushPromise, FLAG.endHeaders, 1, Buffer.from([0, 0, 0, 2, 0x82]))],
    ["a frame of nonsense", () => frame(FRAME.settings, 0, 0, Buffer.alloc(5))],
    ["a head without end", () => Buffer.concat([frame(FRAME.headers, 0, 1, Buffer.from([0x88])), ...Array.from({ length: 200 }, () => frame(FRAME.continuation, 0, 1))])],
  ])("ends on %s, and its streams hear of it", async (_name, attack) => {
    const origin = await startWire((stream, wire) => {
      if (stream.resetCode !== undefined || stream.data === "") return;
      // Nothing that comes is read: acknowledgements pile up on the other side.
      wire.socket.pause();
      wire.write(attack());
    });
    const upstream = await joinOrigin(origin);
    const { heard } = send(upstream, { method: "POST", body: SMALL_BODY });
    await until(isOver(heard), "the error");
    expectCode(heard, "upstream_protocol");
    expect(upstream.hasRoom(KEY)).toBe(false);
  });
});

describe("the bounds and the end", () => {
  it("makes room for one more connection to an origin by closing its oldest idle one", async () => {
    const origin = await startOrigin(() => undefined);
    const upstream = create();
    for (let i = 0; i < MAX_SESSIONS_PER_ORIGIN; i += 1) upstream.adopt(KEY, await dial(origin.port));
    expect(upstream.size).toBe(MAX_SESSIONS_PER_ORIGIN);
    expect(upstream.adopt(KEY, await dial(origin.port))).toBe(true);
    expect(upstream.size).toBe(MAX_SESSIONS_PER_ORIGIN);
    await until(() => origin.sessions[0]?.destroyed === true, "the oldest to close");
  });

  it("takes no connection that has ended, or is not there yet, or is taken", async () => {
    const origin = await startOrigin(() => undefined);
    const upstream = create({ idleSessionMs: 10 });
    const early = tlsConnect({ host: "127.0.0.1", port: origin.port, servername: "localhost", ca: caPem, ALPNProtocols: ["h2"] });
    expect(upstream.adopt(KEY, early)).toBe(false);
    const taken = await dial(origin.port);
    expect(upstream.adopt(KEY, taken)).toBe(true);
    expect(upstream.adopt(KEY, taken)).toBe(false);
    await until(() => upstream.size === 0 && early.closed && taken.closed, "the connections to close");
    const ended = await dial(origin.port);
    ended.destroy();
    expect(upstream.adopt(KEY, ended)).toBe(false);
    expect(upstream.size).toBe(0);
  });

  it("ends every call and connection when it is closed, and takes no more", async () => {
    const origin = await startOrigin((stream) => void stream.respond({ ":status": 200 }));
    const upstream = await joinOrigin(origin);
    const { heard } = send(upstream);
    await until(() => heard.heads.length === 1, "the head");
    await upstream.close();
    expect(upstream.size).toBe(0);
    await until(isOver(heard), "the error");
    expectCode(heard, "upstream_unreachable");
    const late = await dial(origin.port);
    expect(upstream.adopt(KEY, late)).toBe(false);
    expect(late.destroyed).toBe(true);
  });

  it("leaves no warning of listeners that pile up, over a long stream and many pauses", async () => {
    const origin = await startOrigin((stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    const upstream = await joinOrigin(origin);
    const script = scriptBody();
    const { heard, call } = send(upstream, { method: "POST", body: script.body });
    for (let round = 0; round < 100; round += 1) {
      const resumed = script.resumes;
      while (script.sink?.data(Buffer.alloc(65_536)) === true);
      call.pause();
      call.resume();
      await until(() => script.resumes > resumed, "the drain");
    }
    script.sink?.end([]);
    await until(isOver(heard), "the end");
    expect(heard.ends).toHaveLength(1);
    // Of all tests of this file.
    expect(warnings).toEqual([]);
  });
});
