/** HTTP/1.1 requests that no proxy may pass on: they are answered, the connection ends, and the upstream gets nothing. */

import { chunks, lastChunk, lines } from "./message.ts";

export interface HostileRequestRow {
  /** A sentence whose subject is the request. */
  readonly name: string;
  /** What the client sends, byte for byte. */
  readonly request: string;
  /** Sent when the upstream has the head: then the request is cut at the upstream instead of kept from it. */
  readonly later?: string;
  /** The statuses that may answer it. Default: 400. */
  readonly statuses?: readonly number[];
  /** The client's connection may stay open: the message itself is framed beyond doubt. */
  readonly mayStayOpen?: boolean;
}

const HOST = "Host: {host}";
const CHUNKED = "Transfer-Encoding: chunked";
/** What a smuggler hides in a body. */
const HIDDEN = lines("GET /hidden HTTP/1.1", HOST);

const post = (...fields: readonly string[]): string => lines("POST /x HTTP/1.1", HOST, ...fields);
const get = (...fields: readonly string[]): string => lines("GET /x HTTP/1.1", HOST, ...fields);

const FRAMING: readonly HostileRequestRow[] = [
  { name: "has a length and a transfer coding", request: `${post("Content-Length: 6", CHUNKED)}${lastChunk()}${HIDDEN}` },
  { name: "has a transfer coding and a length", request: `${post(CHUNKED, "Content-Length: 6")}${lastChunk()}${HIDDEN}` },
  { name: "has a length of 0 and a transfer coding", request: `${post("Content-Length: 0", CHUNKED)}${chunks(HIDDEN)}${lastChunk()}` },
  { name: "has two lengths that differ", request: `${post("Content-Length: 0", "Content-Length: 5")}hello` },
  { name: "has two lengths that are the same", request: `${post("Content-Length: 5", "content-length: 5")}hello` },
  ...["5, 5", "5, 6", "5,", "+5", "-1", "-0", "5x", "x5", "0x5", "5 5", "5.0", "5e0", "1_0", "", "\x0b5", "5\x0c", "\xa05", "18446744073709551616", "99999999999999999999999999", "9007199254740993"].map((length) => ({
    name: `has the length ${JSON.stringify(length)}`,
    request: `${post(`Content-Length: ${length}`)}hello`,
  })),
  ...["gzip, chunked", "chunked, identity", "xchunked", "chunkedx", "chunked, chunked", "identity", "gzip", "chunked, gzip", "x, chunked, y", "", ",chunked,,x", "\x0bchunked", "chunked\x0c", "\xa0chunked", "chunked;x=y", '"chunked"', "chunked chunked"].map((coding) => ({
    name: `has the transfer coding ${JSON.stringify(coding)}`,
    request: `${post(`Transfer-Encoding: ${coding}`)}${chunks("hello")}${lastChunk()}`,
    statuses: [400, 501],
  })),
  { name: "has two transfer codings in fields of their own", request: `${post(CHUNKED, "Transfer-Encoding: identity")}${lastChunk()}`, statuses: [400, 501] },
  { name: "has chunked in two fields", request: `${post(CHUNKED, CHUNKED)}${lastChunk()}`, statuses: [400, 501] },
  { name: "has a transfer coding of two lines", request: `${post("Transfer-Encoding:", " chunked")}${lastChunk()}` },
  { name: "is HTTP/1.0 with a transfer coding", request: `${lines("POST /x HTTP/1.0", HOST, CHUNKED)}${chunks("hello")}${lastChunk()}` },
];

const WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

/** Bytes that one end could take for a body, and the other for what comes after the upgrade. */
const UPGRADES: readonly HostileRequestRow[] = [
  { name: "asks for a WebSocket and has a length", request: `${get(...WEBSOCKET, "Content-Length: 5")}hello` },
  { name: "asks for a WebSocket and has a length, and no body", request: get(...WEBSOCKET, "Content-Length: 50") },
  { name: "asks for a WebSocket and has chunks", request: `${get(...WEBSOCKET, CHUNKED)}${chunks(HIDDEN)}${lastChunk()}` },
];

const HEADS: readonly HostileRequestRow[] = [
  { name: "has a space in front of a colon", request: get("X-A : 1") },
  { name: "has a space in front of the colon of its length", request: `${post("Content-Length : 5")}hello` },
  { name: "has a tab in front of the colon of its transfer coding", request: `${post("Transfer-Encoding\t: chunked")}${lastChunk()}` },
  { name: "folds a field over two lines", request: get("X-A: 1", " 2") },
  { name: "folds its first field", request: lines("GET /x HTTP/1.1", " X-A: 1", HOST) },
  { name: "hides a length in a folded line", request: `${post("X-A: 1", "\tContent-Length: 5")}hello` },
  { name: "ends its lines by LF alone", request: "GET /x HTTP/1.1\nHost: {host}\n\n" },
  { name: "ends its request line by LF alone", request: `GET /x HTTP/1.1\n${lines(HOST)}` },
  { name: "ends one field by LF alone", request: lines("GET /x HTTP/1.1", HOST, "X-A: 1\nX-B: 2") },
  { name: "ends its head by LF alone", request: "GET /x HTTP/1.1\r\nHost: {host}\r\n\n" },
  { name: "has a CR in a field value", request: get("X-A: 1\r2") },
  { name: "ends a field by CR alone", request: get("X-A: 1\rX-B: 2") },
  { name: "has a NUL in a field value", request: get("X-A: 1\x002") },
  { name: "has a NUL in a field name", request: get("X-\x00A: 1") },
  ...["\x01", "\x08", "\x0b", "\x1f", "\x7f"].map((character) => ({ name: `has the character ${JSON.stringify(character)} in a field value`, request: get(`X-A: 1${character}2`) })),
  ...["X\x01A", "X A", "X\tA", "X\x7fA", "X(A)", "X\xe9", "X/A", "X@A", 'X"A', "X,A", "X{A}", ""].map((name) => ({ name: `has the field name ${JSON.stringify(name)}`, request: get(`${name}: 1`) })),
  { name: "has a field without a colon", request: get("X-A") },
  { name: "names the fields of HTTP/2", request: get(":path: /y") },
  { name: "has a head of 64 KiB and more", request: get(`X-Long: ${"a".repeat(65_537)}`), statuses: [431] },
  { name: "has 10,000 fields", request: get(...Array.from({ length: 10_000 }, (_, i) => `X-${String(i)}: 1`)), statuses: [431] },
  { name: "has a transfer coding behind 1,500 fields", request: `${post(...Array.from({ length: 1500 }, (_, i) => `X-${String(i)}: 1`), CHUNKED)}${chunks(HIDDEN)}${lastChunk()}`, statuses: [431] },
  { name: "has a second Host behind 1,500 fields", request: get(...Array.from({ length: 1500 }, (_, i) => `X-${String(i)}: 1`), "Host: evil.example.net"), statuses: [431] },
  { name: "has 10,000 fields of two characters", request: get(...Array.from({ length: 10_000 }, () => "a:")), statuses: [400, 431] },
  { name: "has a field that never ends", request: `GET /x HTTP/1.1\r\n${"a".repeat(200_000)}`, statuses: [400, 431] },
  { name: "has a request line of 100 KB", request: lines(`GET /${"a".repeat(100_000)} HTTP/1.1`, HOST), statuses: [414, 431] },
  { name: "has a method of 100 KB", request: lines(`${"A".repeat(100_000)} / HTTP/1.1`, HOST), statuses: [400, 414, 431, 501] },
];

const LINES: readonly HostileRequestRow[] = [
  ...["G\x00T", "GE(T", "g@t", "GÉT", "G:T", "<GET>"].map((method) => ({ name: `has the method ${JSON.stringify(method)}`, request: lines(`${method} /x HTTP/1.1`, HOST), statuses: [400, 405, 501] })),
  { name: "has no method", request: lines(" /x HTTP/1.1", HOST) },
  { name: "has a space behind its version", request: lines("GET /x HTTP/1.1 ", HOST) },
  { name: "has a tab in its request line", request: lines("GET\t/x\tHTTP/1.1", HOST) },
  { name: "has a space within its path", request: lines("GET /x y HTTP/1.1", HOST) },
  { name: "has a NUL in its path", request: lines("GET /x\x00y HTTP/1.1", HOST) },
  { name: "has a control character in its path", request: lines("GET /x\x01y HTTP/1.1", HOST) },
  { name: "has DEL in its path", request: lines("GET /x\x7fy HTTP/1.1", HOST) },
  { name: "has a fragment in its path", request: lines("GET /x#y HTTP/1.1", HOST) },
  { name: "has no path", request: lines("GET HTTP/1.1", HOST) },
  { name: "is HTTP/0.9", request: "GET /x\r\n\r\n", statuses: [400, 505] },
  ...["HTTP/1.2", "HTTP/2.0", "HTTP/9", "HTTP/9.9", "HTTP/0.9", "http/1.1", "HTTP/1.1x", "HTTP/1", "HTTP/11.1", "HTTP/1.10", "HTTPS/1.1", "ICE/1.0"].map((version) => ({ name: `has the version ${version}`, request: lines(`GET /x ${version}`, HOST), statuses: [400, 505] })),
  { name: "begins HTTP/2 with prior knowledge where HTTP/1.1 was agreed on", request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", statuses: [400, 405, 501, 505] },
  { name: "is garbage", request: "\x00\x01\x02\x03garbage\r\n\r\n" },
];

const TARGETS: readonly HostileRequestRow[] = [
  { name: "has no Host", request: lines("GET /x HTTP/1.1", "X-A: 1") },
  { name: "has two Hosts that are the same", request: get(HOST) , statuses: [400, 421] },
  { name: "has two Hosts, the second of another", request: get("Host: evil.example.net"), statuses: [400, 421] },
  { name: "has the Host of another", request: lines("GET /x HTTP/1.1", "Host: evil.example.net"), statuses: [421], mayStayOpen: true },
  { name: "has the Host of another port", request: lines("GET /x HTTP/1.1", "Host: {host}:8443"), statuses: [421], mayStayOpen: true },
  ...["", "{host}, {host}", "{host}@evil.example.net", "evil.example.net@{host}", "{host}/evil", "{host}#", "{host} evil", "{host}:", "{host}:x", "{host}:99999", "{host}..", "[{host}]", "user:pw@{host}"].map((host) => ({
    name: `has the Host ${JSON.stringify(host)}`,
    request: lines("GET /x HTTP/1.1", `Host: ${host}`),
    statuses: [400, 421],
    mayStayOpen: true,
  })),
  { name: "has the absolute form over TLS", request: lines("GET https://{host}/x HTTP/1.1", HOST), mayStayOpen: true },
  { name: "has the absolute form of another host over TLS", request: lines("GET http://evil.example.net/x HTTP/1.1", HOST), statuses: [400, 421], mayStayOpen: true },
  { name: "has a path without a slash", request: lines("GET x HTTP/1.1", HOST), mayStayOpen: true },
  { name: "has * for a path and is no OPTIONS", request: lines("GET * HTTP/1.1", HOST), mayStayOpen: true },
  { name: "is a CONNECT inside the tunnel", request: lines("CONNECT evil.example.net:443 HTTP/1.1", "Host: evil.example.net:443"), statuses: [400, 405, 421, 501] },
  { name: "is a CONNECT inside the tunnel to the same host", request: lines("CONNECT {host}:443 HTTP/1.1", "Host: {host}:443"), statuses: [400, 405, 421, 501] },
];

/** A first chunk or last chunk that is wrong, in the same write as the head and in a later one. */
const CHUNKS: readonly HostileRequestRow[] = [
  ["has a chunk size in C form", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["has a negative chunk size", "-1\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk size with a sign", "+5\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk size that overflows 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"],
  ["has no chunk size", "\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk size that is no number", "z\r\nhello\r\n0\r\n\r\n"],
  ["has spaces in front of a chunk size", "  5\r\nhello\r\n0\r\n\r\n"],
  ["has a space behind a chunk size", "5 \r\nhello\r\n0\r\n\r\n"],
  ["has an extension of a space", "5 ;\r\nhello\r\n0\r\n\r\n"],
  ["has an underscore in a chunk size", "0_5\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk that is longer than its size", "3\r\nhello\r\n0\r\n\r\n"],
  ["has no line end behind a chunk", "5\r\nhello0\r\n\r\n"],
  ["has an LF behind a chunk", "5\r\nhello\n0\r\n\r\n"],
  ["has an LF behind a chunk size", "5\nhello\r\n0\r\n\r\n"],
  ["has a CR in a chunk extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"],
  ["has an LF in a chunk extension", "5;a\nhello\r\n0\r\n\r\n"],
  ["has a NUL in a chunk extension", "5;a\x00b\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk extension of 100 KB", `5;${"a".repeat(100_000)}\r\nhello\r\n0\r\n\r\n`],
  ["has a trailer without a colon", "5\r\nhello\r\n0\r\nX-A\r\n\r\n"],
  ["has a trailer with a NUL", "5\r\nhello\r\n0\r\nX-A: 1\x00\r\n\r\n"],
  ["has a trailer that ends by LF alone", "5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n"],
  ["folds a trailer", "5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"],
  ["has a length in its trailers", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"],
  ["has a transfer coding in its trailers", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["has trailers of 100 KB", `5\r\nhello\r\n0\r\nX-A: ${"a".repeat(100_000)}\r\n\r\n`],
].flatMap(([name = "", body = ""]) => [
  { name, request: `${post(CHUNKED)}${body}`, statuses: [400, 413, 431] },
  { name: `${name}, which comes later`, request: post(CHUNKED), later: body, statuses: [400, 413, 431] },
]);

export const HOSTILE_REQUEST_ROWS: readonly HostileRequestRow[] = [...FRAMING, ...UPGRADES, ...HEADS, ...LINES, ...TARGETS, ...CHUNKS];
