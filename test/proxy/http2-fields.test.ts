/** The forms of heads, by themselves and with what node:http2 makes of them on a connection. */

import fc from "fast-check";
import { connect, createServer, sensitiveHeaders, type Http2Server } from "node:http2";
import { connect as netConnect, type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { RawHeaders } from "../../src/flow/headers.ts";
import { fromHttp2Request, fromHttp2Response, fromHttp2Trailers, toHttp2Inform, toHttp2Request, toHttp2Response, toHttp2Trailers } from "../../src/proxy/http2-fields.ts";
import { headersFrames, Http2Wire } from "../support/http2-frames.ts";
import { until } from "../support/until.ts";

const PSEUDO = [":method", "GET", ":scheme", "https", ":path", "/", ":authority", "h"];
const PARTS = { method: "POST", scheme: "https", authority: "target", path: "/p?q" };

describe("a request on its way up", () => {
  it("has its pseudo fields in front, names in lower case, and order and duplicates as they were", () => {
    const list = toHttp2Request({ ...PARTS, headers: ["X-B", "1", "Host", "Example.com:8443", "x-a", "2", "X-b", "3", "Content-Length", "5"] });
    expect(list).toEqual(
      Object.assign([":method", "POST", ":scheme", "https", ":path", "/p?q", ":authority", "Example.com:8443", "x-b", "1", "x-a", "2", "x-b", "3", "content-length", "5"], {
        [sensitiveHeaders]: expect.arrayContaining(["authorization"]),
      }),
    );
  });

  it.each([[[]], [["Host", ""]]])("names the target where Host says nothing: %j", (headers) => {
    expect(toHttp2Request({ ...PARTS, headers })?.slice(6, 8)).toEqual([":authority", "target"]);
  });

  it("holds no field of the connection, and no TE but trailers", () => {
    const headers = ["Connection", "close", "Keep-Alive", "1", "Proxy-Connection", "x", "Transfer-Encoding", "chunked", "Upgrade", "h2c", "HTTP2-Settings", "x", "TE", "gzip", "te", "Trailers", "X", "1"];
    expect([...(toHttp2Request({ ...PARTS, headers }) ?? [])].slice(8)).toEqual(["te", "trailers", "x", "1"]);
  });

  it.each([["x", "1\0y"], ["x", "1\r\ny: 2"], ["x", "1\ny: 2"], ["x y", "1"], ["", "1"], ["x", "\u{100}"]])("is not made of a field %j: %j", (name, value) => {
    expect(toHttp2Request({ ...PARTS, headers: [name, value] })).toBeUndefined();
    expect(toHttp2Response({ status: 200, statusText: "", headers: [name, value] })).toBeUndefined();
    expect(toHttp2Inform({ status: 103, statusText: "", headers: [name, value] })).toBeUndefined();
    expect(toHttp2Trailers([name, value, "kept", "1"])).toEqual(Object.assign(Object.create(null), { kept: ["1"] }));
  });

  it("is not made of a pseudo field that would hold another", () => {
    expect(toHttp2Request({ ...PARTS, path: "/\0x\0y", headers: [] })).toBeUndefined();
    expect(toHttp2Request({ ...PARTS, method: "GET\0", headers: [] })).toBeUndefined();
    expect(toHttp2Request({ ...PARTS, headers: ["host", "a\0b"] })).toBeUndefined();
  });
});

describe("a request as it is received", () => {
  it("is read into HTTP/1.1 form with Host in front and cookie crumbs joined", () => {
    const raw = [":method", "GET", ":path", "/a?b", ":authority", "H:1", ":scheme", "https", "x-a", "1", "cookie", "a=1", "x-b", "2", "cookie", "b=2", "x-a", "3", "cookie", "c=3"];
    expect(fromHttp2Request(raw)).toEqual({
      kind: "request",
      method: "GET",
      scheme: "https",
      authority: "H:1",
      path: "/a?b",
      headers: ["host", "H:1", "x-a", "1", "cookie", "a=1; b=2; c=3", "x-b", "2", "x-a", "3"],
    });
  });

  it("may name its authority in Host, alone or the same again, and its length twice", () => {
    const alone = fromHttp2Request([...PSEUDO.slice(0, 6), "x-a", "1", "host", "h"]);
    expect(alone).toMatchObject({ kind: "request", authority: "h", headers: ["host", "h", "x-a", "1"] });
    expect(fromHttp2Request([...PSEUDO, "host", "H"])).toMatchObject({ headers: ["host", "h"] });
    expect(fromHttp2Request([...PSEUDO, "content-length", "5", "content-length", "5"])).toMatchObject({ headers: ["host", "h", "content-length", "5"] });
  });

  it("may ask OPTIONS of the whole server", () => {
    expect(fromHttp2Request([":method", "OPTIONS", ":scheme", "https", ":path", "*", ":authority", "h"])).toMatchObject({ kind: "request", path: "*" });
  });

  it.each<[string, string[]]>([
    ["an upper-case name", [...PSEUDO, "X-A", "1"]],
    ["a name with a blank", [...PSEUDO, "x a", "1"]],
    ["an empty name", [...PSEUDO, "", "1"]],
    ["a line end in a value", [...PSEUDO, "x", "1\r\ny: 2"]],
    ["a NUL in a value", [...PSEUDO, "x", "1\0"]],
    ["no method", PSEUDO.slice(2)],
    ["no path", [":method", "GET", ":scheme", "https", ":authority", "h"]],
    ["no scheme", [":method", "GET", ":path", "/", ":authority", "h"]],
    ["no authority", PSEUDO.slice(0, 6)],
    ["an empty authority", [...PSEUDO.slice(0, 6), ":authority", ""]],
    ["user info", [...PSEUDO.slice(0, 6), ":authority", "a@h"]],
    ["a blank in the authority", [...PSEUDO.slice(0, 6), ":authority", "h x"]],
    ["two authorities", [...PSEUDO, "host", "other"]],
    ["two hosts", [...PSEUDO, "host", "h", "host", "h"]],
    ["a pseudo field behind a regular one", [...PSEUDO.slice(0, 6), "x", "1", ":authority", "h"]],
    ["a doubled pseudo field", [...PSEUDO, ":path", "/"]],
    ["an unknown pseudo field", [...PSEUDO, ":protocol", "websocket"]],
    ["a response's pseudo field", [...PSEUDO, ":status", "200"]],
    ["a field of the connection", [...PSEUDO, "connection", "close"]],
    ["a transfer coding", [...PSEUDO, "transfer-encoding", "chunked"]],
    ["another TE than trailers", [...PSEUDO, "te", "gzip"]],
    ["an empty path", [":method", "GET", ":scheme", "https", ":path", "", ":authority", "h"]],
    ["a relative path", [":method", "GET", ":scheme", "https", ":path", "a", ":authority", "h"]],
    ["a star for GET", [":method", "GET", ":scheme", "https", ":path", "*", ":authority", "h"]],
    ["an absolute path form", [":method", "GET", ":scheme", "https", ":path", "http://h/", ":authority", "h"]],
    ["a blank in the path", [":method", "GET", ":scheme", "https", ":path", "/ HTTP/1.1", ":authority", "h"]],
    ["a blank in the method", [":method", "GET /", ":scheme", "https", ":path", "/", ":authority", "h"]],
    ["a bad scheme", [":method", "GET", ":scheme", "ht tp", ":path", "/", ":authority", "h"]],
    ["CONNECT", [":method", "CONNECT", ":authority", "h:443"]],
    ["CONNECT with a path", [":method", "CONNECT", ":scheme", "https", ":path", "/", ":authority", "h:443"]],
    ["a signed length", [...PSEUDO, "content-length", "+1"]],
    ["a fragment in its path", PSEUDO.with(PSEUDO.indexOf(":path") + 1, "/x#y")],
    ["a length beyond numbers", [...PSEUDO, "content-length", "9".repeat(16)]],
    ["two lengths", [...PSEUDO, "content-length", "1", "content-length", "2"]],
  ])("is malformed with %s", (_name, raw) => {
    expect(fromHttp2Request(raw)).toMatchObject({ kind: "malformed" });
  });

  it("goes through both forms unchanged", () => {
    const name = fc.stringMatching(/^[a-z0-9-]{1,12}$/).filter((text) => !["host", "cookie", "te", "upgrade", "connection", "keep-alive", "content-length"].includes(text));
    const value = fc.stringMatching(/^[\x21-\x7e\xa0-\xff]{0,20}$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 20 }), fc.stringMatching(/^\/[!"$-~]{0,30}$/), (fields, path) => {
        const headers = ["host", "example.com", ...fields.flat()];
        const list = toHttp2Request({ method: "PUT", scheme: "https", authority: "unused", path, headers });
        expect(fromHttp2Request([...(list ?? [])])).toEqual({ kind: "request", method: "PUT", scheme: "https", authority: "example.com", path, headers });
      }),
    );
  });
});

describe("a response", () => {
  it("goes through both forms, without the fields of the connection and with no reason phrase", () => {
    const headers = ["Set-Cookie", "a", "X-A", "1", "Connection", "close", "set-cookie", "b", "Transfer-Encoding", "chunked", "TE", "gzip"];
    const list = toHttp2Response({ status: 299, statusText: "Fine", headers });
    expect(list).toEqual([":status", "299", "set-cookie", "a", "x-a", "1", "set-cookie", "b"]);
    expect(fromHttp2Response(list ?? [])).toEqual({ status: 299, statusText: "", headers: ["set-cookie", "a", "x-a", "1", "set-cookie", "b"] });
  });

  it.each<[string, string[]]>([
    ["no status", ["x", "1"]],
    ["a bad status", [":status", "20"]],
    ["a status of 101", [":status", "101"]],
    ["two statuses", [":status", "200", ":status", "200"]],
    ["a request's pseudo field", [":status", "200", ":path", "/"]],
    ["the status behind a field", ["x", "1", ":status", "200"]],
    ["a field of the connection", [":status", "200", "connection", "close"]],
    ["a line end in a value", [":status", "200", "x", "1\n"]],
    ["an upper-case name", [":status", "200", "X", "1"]],
  ])("is none with %s", (_name, raw) => {
    expect(fromHttp2Response(raw)).toBeUndefined();
  });

  it("has no framing, routing or connection fields in its trailers, either way", () => {
    const trailers = ["Grpc-Status", "0", "content-length", "1", "Host", "x", "TE", "trailers", "trailer", "x", "connection", "x", ":status", "200", "x-a", "1", "X-A", "2"];
    expect(fromHttp2Trailers(trailers)).toEqual(["grpc-status", "0", "x-a", "1", "x-a", "2"]);
    expect(toHttp2Trailers([...trailers, "__proto__", "p"])).toEqual(Object.assign(Object.create(null), { "grpc-status": ["0"], "x-a": ["1", "2"], ["__proto__"]: ["p"] }));
  });
});

describe("on a connection", () => {
  let server: Http2Server;
  let port: number;
  let received: { raw: RawHeaders; sensitive: unknown }[] = [];

  beforeAll(async () => {
    server = createServer({ strictSingleValueFields: false });
    server.on("stream", (stream, headers, _flags, raw) => {
      received.push({ raw, sensitive: Reflect.get(headers, sensitiveHeaders) });
      stream.on("error", () => undefined);
      const inform = toHttp2Inform({ status: 103, statusText: "", headers: ["Link", "<a>", "link", "<b>"] });
      stream.additionalHeaders(inform ?? {});
      stream.respond(toHttp2Response({ status: 200, statusText: "OK", headers: ["Content-Type", "a", "X", "caf\xe9", "content-type", "b"] }) ?? [], Object.assign({ waitForTrailers: true }, { sendDate: false }));
      stream.on("wantTrailers", () => stream.sendTrailers(toHttp2Trailers(["B", "1", "a", "2", "b", "3"])));
      stream.end();
    });
    server.on("sessionError", () => undefined);
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });

  afterAll(() => new Promise((resolve) => void server.close(resolve)));

  it("every form survives node:http2 with order, duplicates and bytes, and credentials are never indexed", async () => {
    received = [];
    const session = connect(`http://127.0.0.1:${port}`, { strictSingleValueFields: false } as Parameters<typeof connect>[1]);
    const list = toHttp2Request({ ...PARTS, headers: ["Content-Type", "a", "X-A", "caf\xe9", "content-type", "b", "Authorization", "Bearer t"] }) ?? [];
    const stream = session.request(list);
    const seen: RawHeaders[] = [];
    stream.on("headers", (_fields, _flags, raw) => seen.push(raw));
    stream.on("response", (_fields, _flags, raw) => seen.push(raw));
    stream.on("trailers", (_fields, _flags, raw) => seen.push(raw));
    let isEnded = false;
    stream.resume().on("end", () => (isEnded = true));
    stream.end();
    await until(() => isEnded, "the response");
    session.destroy();
    expect(received[0]?.raw).toEqual([...list]);
    expect(received[0]?.sensitive).toEqual(["authorization"]);
    expect(seen.map((raw) => [...raw])).toEqual([
      [":status", "103", "link", "<a>", "link", "<b>"],
      [":status", "200", "content-type", "a", "x", "caf\xe9", "content-type", "b"],
      ["b", "1", "b", "3", "a", "2"],
    ]);
  });

  /** What a server of node:http2 is shown of a head: the list, or the code of the reset. */
  const show = async (fields: string[]): Promise<RawHeaders | number> => {
    received = [];
    let code: number | undefined;
    const wire = new Http2Wire(netConnect(port, "127.0.0.1"), "client", { onStream: (stream) => (code ??= stream.resetCode) });
    wire.write(headersFrames(1, fields, true));
    await until(() => code !== undefined || received.length > 0, "the server's answer");
    wire.socket.destroy();
    return received[0]?.raw ?? code ?? -1;
  };

  it.each<[string, string[]]>([
    ["an upper-case name", [...PSEUDO, "X-A", "1"]],
    ["no path", [":method", "GET", ":scheme", "https", ":authority", "h"]],
    ["a line end in the path", [":method", "GET", ":scheme", "https", ":path", "/ HTTP/1.1\r\nx: y", ":authority", "h"]],
    ["two hosts", [...PSEUDO, "host", "h", "host", "h"]],
    ["a transfer coding", [...PSEUDO, "transfer-encoding", "chunked"]],
    ["two lengths", [...PSEUDO, "content-length", "0", "content-length", "0"]],
    ["extended CONNECT", [":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "h"]],
  ])("Node resets a stream with %s by itself", async (_name, fields) => {
    expect(await show(fields)).toBe(1);
  });

  it.each<[string, string, string]>([
    ["a line end in a value", "x-a", "1\r\ny: 2"],
    ["a NUL in a value", "x-a", "1\0"],
    ["a blank in front of a value", "x-a", " 1"],
    ["a blank in a name", "x a", "1"],
  ])("Node leaves a field out that has %s", async (_name, name, value) => {
    expect(await show([...PSEUDO, name, value])).toEqual(PSEUDO);
  });

  it.each<[string, string[]]>([
    ["another Host beside the authority", [...PSEUDO, "host", "other"]],
    ["CONNECT", [":method", "CONNECT", ":authority", "h:443"]],
  ])("Node lets %s pass, which is malformed here", async (_name, fields) => {
    const raw = await show(fields);
    expect(raw).toEqual(fields);
    expect(fromHttp2Request(fields)).toMatchObject({ kind: "malformed" });
  });
});
