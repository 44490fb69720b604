/** HTTP/2 messages, frames and floods that must not get through, from clients and from upstreams. */

import { encodeInteger } from "../../support/fidelity-hpack.ts";
import { dataFrame, FLAG, FRAME, frame, goawayFrame, H2_CODE, headersFrames, MAX_WINDOW, resetFrame, SETTING, settingsFrame, windowFrame } from "../../support/http2-frames.ts";

export interface HostileFramesRow {
  /** A sentence whose subject is the client or the upstream. */
  readonly name: string;
  /** What is sent; a client's streams are 1, 3 …, an upstream answers on stream `id`. */
  readonly frames: (host: string, id: number) => readonly Uint8Array[];
  /**
   * What becomes of it. A client's request: `refused` (4xx, reset, or the connection ends) and nothing reaches the upstream;
   * `cut`: its head may reach the upstream, which sees it end early. An upstream's response: `refused` is 502 or an end
   * of the stream, `failed` the same with any 502. `dropped`: the message passes without the field: nghttp2 takes a field
   * out that has bytes which none may have, and Node tells nobody. `survives`: others are served.
   */
  readonly outcome?: "refused" | "failed" | "cut" | "dropped" | "survives";
  /** The connection ends, too. */
  readonly endsConnection?: boolean;
}

const PSEUDO = (host: string): string[] => [":method", "POST", ":scheme", "https", ":authority", host, ":path", "/x"];

/** A request of a head alone, its fields made from those of a good one. */
function head(name: string, change: (pseudo: string[], host: string) => readonly string[]): HostileFramesRow {
  return { name, frames: (host) => [headersFrames(1, change(PSEUDO(host), host), true)] };
}

function field(name: string, ...fields: readonly string[]): HostileFramesRow {
  return head(name, (pseudo) => [...pseudo, ...fields]);
}

function pseudoField(name: string, pseudoName: string, value: string | undefined): HostileFramesRow {
  return head(name, (fields) => {
    const at = fields.indexOf(pseudoName);
    return value === undefined ? fields.toSpliced(at, 2) : fields.with(at + 1, value);
  });
}

const SMUGGLED = "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: {host}\r\n\r\n";

/** Fields that would be others in HTTP/1.1. */
const NO_FIELDS: readonly { name: string; fields: readonly string[] }[] = [
  { name: "sends a CR and LF in a value", fields: ["x-a", "1\r\nx-hidden: 1"] },
  { name: "sends an LF in a value", fields: ["x-a", "1\nx-hidden: 1"] },
  { name: "sends a CR in a value", fields: ["x-a", "1\rhidden"] },
  { name: "sends a NUL in a value", fields: ["x-a", "1\x00hidden"] },
  { name: "sends a control character in a value", fields: ["x-a", "1\x08hidden"] },
  { name: "sends a line end in a name", fields: ["x-a: 1\r\nx-hidden", "1"] },
  { name: "sends a colon in a name", fields: ["x-a:hidden", "1"] },
  { name: "sends a space in a name", fields: ["x hidden", "1"] },
  { name: "sends an empty name", fields: ["", "hidden"] },
  { name: "sends a control character in a name", fields: ["x\x01hidden", "1"] },
  { name: "sends a line end in a cookie", fields: ["cookie", "a=1\r\nx-hidden: 1"] },
];

const REQUEST_HEADS: readonly HostileFramesRow[] = [
  field("sends a field name in upper case", "X-Upper", "1"),
  field("sends Connection", "connection", "keep-alive"),
  field("sends Keep-Alive", "keep-alive", "timeout=5"),
  field("sends Proxy-Connection", "proxy-connection", "keep-alive"),
  field("sends Upgrade", "upgrade", "websocket"),
  field("sends TE with a coding", "te", "gzip"),
  { name: "sends Transfer-Encoding to smuggle a request in its body", frames: (host) => [headersFrames(1, [...PSEUDO(host), "transfer-encoding", "chunked"], false), dataFrame(1, SMUGGLED.replace("{host}", host), true)] },
  pseudoField("sends no :path", ":path", undefined),
  pseudoField("sends no :method", ":method", undefined),
  pseudoField("sends no :scheme", ":scheme", undefined),
  pseudoField("sends no :authority and no Host", ":authority", undefined),
  pseudoField("sends an empty :path", ":path", ""),
  pseudoField("sends a :path without a slash", ":path", "x"),
  pseudoField("sends a :path in absolute form", ":path", "https://evil.example.net/"),
  pseudoField("sends * for the :path of a POST", ":path", "*"),
  pseudoField("sends an empty :method", ":method", ""),
  pseudoField("sends CONNECT", ":method", "CONNECT"),
  pseudoField("sends a :method with a line end", ":method", "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\nGET"),
  pseudoField("sends a :method with a space", ":method", "GET /hidden"),
  pseudoField("sends a :path with a line end", ":path", "/x HTTP/1.1\r\nhost: x\r\n\r\nGET /hidden"),
  pseudoField("sends a :path with a space", ":path", "/x HTTP/1.1 y"),
  pseudoField("sends a :path with a fragment", ":path", "/x#hidden"),
  pseudoField("sends a :path with a NUL", ":path", "/x\x00y"),
  pseudoField("sends an :authority with a line end", ":authority", "{host}\r\nx-hidden: 1"),
  pseudoField("sends the :authority of another", ":authority", "evil.example.net"),
  head("sends the :authority of another port", (fields, host) => fields.with(5, `${host}:8443`)),
  head("sends an :authority with user info", (fields, host) => fields.with(5, `user@${host}`)),
  head("sends an empty :authority", (fields) => fields.with(5, "")),
  field("sends a Host beside :authority that differs", "host", "evil.example.net"),
  head("sends two Hosts", (fields, host) => [...fields, "host", host, "host", "evil.example.net"]),
  field("sends a second :path", ":path", "/y"),
  field("sends a second :authority", ":authority", "evil.example.net"),
  head("sends a second :path in front of its fields", (fields) => [...fields.slice(0, 8), ":path", "/hidden"]),
  head("sends a pseudo field behind a field", (fields) => [...fields.slice(0, 6), "x-a", "1", ":path", "/x"]),
  head("sends a pseudo field that nobody knows", (fields) => [":unknown", "1", ...fields]),
  head("sends a pseudo field of responses", (fields) => [":status", "200", ...fields]),
  head("asks for an extended CONNECT that was not offered", (fields) => [...fields.with(1, "CONNECT"), ":protocol", "websocket"]),
  ...NO_FIELDS.map(({ name, fields }) => ({ ...field(name, ...fields), outcome: "dropped" as const })),
  field("sends two lengths that differ", "content-length", "0", "content-length", "5"),
  ...["-1", "+5", "5x", "0x5", "5, 5", "18446744073709551616"].map((length) => ({ name: `sends the length ${JSON.stringify(length)}`, frames: (host: string) => [headersFrames(1, [...PSEUDO(host), "content-length", length], false), dataFrame(1, "hello", true)] })),
  { name: "sends a length and ends the stream with its head", frames: (host) => [headersFrames(1, [...PSEUDO(host), "content-length", "5"], true)] },
  { name: "sends 100 KB of fields", frames: (host) => [headersFrames(1, [...PSEUDO(host), "x-long", "a".repeat(100_000)], true)] },
  { name: "sends 10,000 fields", frames: (host) => [headersFrames(1, [...PSEUDO(host), ...Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? `x-${String(i)}` : "1"))], true)] },
  { name: "sends a field that is small on the wire and 10,000 times large", frames: (host) => [bomb(host)], endsConnection: false },
];

const REQUEST_BODIES: readonly HostileFramesRow[] = [
  { name: "sends more data than its length says", frames: (host) => [headersFrames(1, [...PSEUDO(host), "content-length", "3"], false), dataFrame(1, "hello", true)], outcome: "cut" },
  { name: "sends less data than its length says", frames: (host) => [headersFrames(1, [...PSEUDO(host), "content-length", "10"], false), dataFrame(1, "hello", true)], outcome: "cut" },
  { name: "sends trailers with a pseudo field", frames: (host) => [headersFrames(1, PSEUDO(host), false), dataFrame(1, "hello", false), headersFrames(1, [":path", "/hidden"], true)], outcome: "cut" },
  { name: "sends trailers in upper case", frames: (host) => [headersFrames(1, PSEUDO(host), false), dataFrame(1, "hello", false), headersFrames(1, ["X-Sum", "1"], true)], outcome: "cut" },
  { name: "sends trailers that do not end the stream", frames: (host) => [headersFrames(1, PSEUDO(host), false), dataFrame(1, "hello", false), headersFrames(1, ["x-sum", "1"], false), dataFrame(1, "more", true)], outcome: "cut" },
];

const REQUEST_FRAMES: readonly HostileFramesRow[] = [
  { name: "speaks HTTP/1.1 where HTTP/2 was agreed on", frames: (host) => [Buffer.from(`GET /x HTTP/1.1\r\nHost: ${host}\r\n\r\n`.padEnd(200, "x"))], endsConnection: true },
  { name: "begins a stream with an even number", frames: (host) => [headersFrames(2, PSEUDO(host), true)], endsConnection: true },
  { name: "sends a head on stream 0", frames: (host) => [headersFrames(0, PSEUDO(host), true)], endsConnection: true },
  { name: "sends data on stream 0", frames: () => [dataFrame(0, "hello", false)], endsConnection: true },
  { name: "sends data on a stream that it did not open", frames: () => [dataFrame(1, "hello", true)], endsConnection: true },
  { name: "sends a frame that is larger than allowed", frames: (host) => [headersFrames(1, PSEUDO(host), false), dataFrame(1, "a".repeat(20_000), true)], endsConnection: true, outcome: "cut" },
  { name: "sends a header block that is no HPACK", frames: () => [frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))], endsConnection: true },
  { name: "sends a header block that ends inside a string", frames: () => [frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.from([0, 10, 0x61]))], endsConnection: true },
  { name: "sends an index that is in no table", frames: () => [frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.from([0xc8]))], endsConnection: true },
  { name: "asks for a larger dynamic table than allowed", frames: () => [frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, encodeInteger(1 << 24, 5, 0x20))], endsConnection: true },
  { name: "sends padding that is longer than its frame", frames: (host) => [headersFrames(1, PSEUDO(host), false), frame(FRAME.data, FLAG.padded | FLAG.endStream, 1, Buffer.from([200, 0x61]))], endsConnection: true, outcome: "cut" },
  { name: "sends another frame between a head and its continuation", frames: () => [frame(FRAME.headers, 0, 1, Buffer.from([0x82])), dataFrame(1, "x", false)], endsConnection: true },
  { name: "sends a continuation of nothing", frames: () => [frame(FRAME.continuation, FLAG.endHeaders, 1, Buffer.from([0x82]))], endsConnection: true },
  { name: "sends a continuation without end", frames: (host) => [headersWithoutEnd(host), ...Array.from({ length: 2000 }, () => frame(FRAME.continuation, 0, 1, Buffer.alloc(1000, 0x82)))], endsConnection: true },
  { name: "sends empty continuations without end", frames: (host) => [headersWithoutEnd(host), ...Array.from({ length: 20_000 }, () => frame(FRAME.continuation, 0, 1))], endsConnection: true },
  { name: "pushes a stream", frames: () => [frame(FRAME.pushPromise, FLAG.endHeaders, 1, Buffer.from([0, 0, 0, 2, 0x82]))], endsConnection: true },
  { name: "opens a window by nothing", frames: () => [windowFrame(0, 0)], endsConnection: true },
  { name: "opens the window of the connection beyond its bound", frames: () => [windowFrame(0, MAX_WINDOW), windowFrame(0, MAX_WINDOW)], endsConnection: true },
  { name: "opens the window of a stream beyond its bound", frames: (host) => [headersFrames(1, PSEUDO(host), false), windowFrame(1, MAX_WINDOW), windowFrame(1, MAX_WINDOW)], outcome: "cut" },
  { name: "sets a window beyond its bound", frames: () => [settingsFrame([[SETTING.initialWindow, 2 ** 31]])], endsConnection: true },
  { name: "sets a frame size below its bound", frames: () => [settingsFrame([[SETTING.maxFrameBytes, 100]])], endsConnection: true },
  { name: "sends settings of a broken length", frames: () => [frame(FRAME.settings, 0, 0, Buffer.alloc(5))], endsConnection: true },
  { name: "sends a ping of a broken length", frames: () => [frame(FRAME.ping, 0, 0, Buffer.alloc(7))], endsConnection: true },
  { name: "makes a stream depend on itself", frames: (host) => [headersFrames(1, PSEUDO(host), false), frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 1, 0]))], outcome: "survives" },
  { name: "sends a frame type that nobody knows", frames: () => [frame(0xfa, 0xff, 1, Buffer.from("whatever"))], outcome: "survives" },
];

const FLOODS: readonly HostileFramesRow[] = [
  { name: "opens and resets 5,000 streams", frames: (host) => Array.from({ length: 5000 }, (_, i) => Buffer.concat([headersFrames(2 * i + 1, PSEUDO(host), true), resetFrame(2 * i + 1, H2_CODE.cancel)])), endsConnection: true, outcome: "survives" },
  { name: "provokes 5,000 resets of its streams", frames: (host) => Array.from({ length: 5000 }, (_, i) => Buffer.concat([headersFrames(2 * i + 1, PSEUDO(host), false), windowFrame(2 * i + 1, 0)])), endsConnection: true, outcome: "survives" },
  { name: "opens 10,000 streams that stay open", frames: (host) => Array.from({ length: 10_000 }, (_, i) => headersFrames(2 * i + 1, [...PSEUDO(host), "content-length", "5"], false)), outcome: "survives" },
  { name: "sends 20,000 pings", frames: () => Array.from({ length: 20_000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))), outcome: "survives" },
  { name: "sends 20,000 settings", frames: () => Array.from({ length: 20_000 }, () => settingsFrame([[SETTING.maxStreams, 100]])), outcome: "survives" },
  { name: "sends 20,000 empty data frames", frames: (host) => [headersFrames(1, PSEUDO(host), false), ...Array.from({ length: 20_000 }, () => dataFrame(1, "", false))], outcome: "survives" },
  { name: "sends 20,000 priorities", frames: () => Array.from({ length: 20_000 }, (_, i) => frame(FRAME.priority, 0, 2 * i + 1, Buffer.from([0, 0, 0, 0, 10]))), outcome: "survives" },
];

export const HOSTILE_CLIENT_ROWS: readonly HostileFramesRow[] = [...REQUEST_HEADS, ...REQUEST_BODIES, ...REQUEST_FRAMES, ...FLOODS];

function headersWithoutEnd(host: string): Buffer {
  const whole = headersFrames(1, PSEUDO(host), true);
  // Without END_HEADERS.
  whole[4] = FLAG.endStream;
  return whole;
}

/** One large entry of the dynamic table, and 10,000 times its index: 40 MB of fields in 14 KB. */
function bomb(host: string): Buffer {
  const good = headersFrames(1, PSEUDO(host), true).subarray(9);
  const value = Buffer.alloc(4000, 0x61);
  const entry = Buffer.concat([Buffer.from([0x40]), encodeInteger(1, 7), Buffer.from("x"), encodeInteger(value.length, 7), value]);
  return frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.concat([good, entry, Buffer.alloc(10_000, 0xbe)]));
}

function response(name: string, fields: readonly string[], body = "ok"): HostileFramesRow {
  return { name, frames: (_host, id) => [headersFrames(id, fields, false), dataFrame(id, body, true)] };
}

export const HOSTILE_UPSTREAM_ROWS: readonly HostileFramesRow[] = [
  response("sends a field name in upper case", [":status", "200", "X-Upper", "1"]),
  response("sends Connection", [":status", "200", "connection", "close"]),
  response("sends Transfer-Encoding", [":status", "200", "transfer-encoding", "chunked"], "5\r\nhello\r\n0\r\n\r\n"),
  response("sends Upgrade", [":status", "200", "upgrade", "h2c"]),
  response("sends no :status", ["x-a", "1"]),
  response("sends two :status", [":status", "200", ":status", "404"]),
  response("sends a :status behind a field", ["x-a", "1", ":status", "200"]),
  response("sends a pseudo field of requests", [":status", "200", ":path", "/"]),
  ...["99", "1000", "abc", "", "+200", "20", "2000", "000", " 200"].map((status) => response(`sends the :status ${JSON.stringify(status)}`, [":status", status])),
  response("goes over to another protocol, which HTTP/2 does not have", [":status", "101"]),
  ...NO_FIELDS.map(({ name, fields }) => ({ ...response(name, [":status", "200", ...fields]), outcome: "dropped" as const })),
  response("sends more data than its length says", [":status", "200", "content-length", "1"]),
  response("sends less data than its length says", [":status", "200", "content-length", "10"]),
  response("sends two lengths that differ", [":status", "200", "content-length", "2", "content-length", "5"]),
  ...["-1", "+2", "2x", "2, 2", "18446744073709551616"].map((length) => response(`sends the length ${JSON.stringify(length)}`, [":status", "200", "content-length", length])),
  response("sends 100 KB of fields", [":status", "200", "x-long", "a".repeat(100_000)]),
  { ...response("sends 10,000 fields", [":status", "200", ...Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? `x-${String(i)}` : "1"))]), outcome: "failed" },
  { name: "sends data without a head", frames: (_host, id) => [dataFrame(id, "hello", true)] },
  { name: "ends the stream with an interim head", frames: (_host, id) => [headersFrames(id, [":status", "103"], true)] },
  { name: "sends 1,000 interim heads", frames: (_host, id) => [...Array.from({ length: 1000 }, () => headersFrames(id, [":status", "103", "x-a", "1"], false)), headersFrames(id, [":status", "200"], false), dataFrame(id, "ok", true)] },
  { name: "sends trailers with a pseudo field", frames: (_host, id) => [headersFrames(id, [":status", "200"], false), dataFrame(id, "ok", false), headersFrames(id, [":status", "404"], true)] },
  { name: "sends trailers that do not end the stream", frames: (_host, id) => [headersFrames(id, [":status", "200"], false), dataFrame(id, "ok", false), headersFrames(id, ["x-sum", "1"], false), dataFrame(id, "more", true)] },
  { name: "sends a frame that is larger than allowed", frames: (_host, id) => [headersFrames(id, [":status", "200"], false), dataFrame(id, "a".repeat(20_000), true)] },
  { name: "sends a header block that is no HPACK", frames: (_host, id) => [frame(FRAME.headers, FLAG.endHeaders, id, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))] },
  { name: "pushes a stream, which was switched off", frames: (_host, id) => [frame(FRAME.pushPromise, FLAG.endHeaders, id, Buffer.from([0, 0, 0, 2, 0x82])), headersFrames(id, [":status", "200"], false), dataFrame(id, "ok", true)] },
  { name: "sends a continuation without end", frames: (_host, id) => [frame(FRAME.headers, 0, id, Buffer.from([0x88])), ...Array.from({ length: 2000 }, () => frame(FRAME.continuation, 0, id, Buffer.alloc(1000, 0x88)))] },
  { name: "says that it is going away before it answers", frames: () => [goawayFrame(0, H2_CODE.enhanceYourCalm)], outcome: "failed" },
  { name: "answers and then sends a broken frame", frames: (_host, id) => [headersFrames(id, [":status", "200"], false), dataFrame(id, "o", false), frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(3))] },
  { name: "sends 20,000 settings before it answers", frames: () => Array.from({ length: 20_000 }, () => settingsFrame([[SETTING.maxStreams, 100]])), outcome: "survives" },
  { name: "sends 20,000 pings before it answers", frames: () => Array.from({ length: 20_000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))), outcome: "survives" },
];
