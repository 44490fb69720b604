/** Requests on their way up: what the upstream reads is what the client wrote. */

import { chunks, lastChunk, lines } from "./message.ts";
import type { MessageRow } from "./run-message.ts";

const HOST = "Host: {host}";
const CHUNKED = "Transfer-Encoding: chunked";
const BYTES = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
const WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

export const REQUEST_ROWS: readonly MessageRow[] = [
  { name: "keeps its fields in order, in their case and with their duplicates", request: lines("GET / HTTP/1.1", "X-Zed: 1", "hOsT: {host}", "accept: */*", "X-Zed: 2", "x-ZED: 3", "User-Agent: a/1 (b; c)") },
  { name: "keeps a Host that stands last", request: lines("GET / HTTP/1.1", "A: 1", "B: 2", HOST) },
  { name: "keeps a path of escapes, semicolons, double slashes and dots as it is", request: lines("GET /a%2Fb//c/./../d;v=1;w/%00%zz?x=%20&y=+&z=[1]&&?=/ HTTP/1.1", HOST) },
  { name: "keeps characters in its path that no URL should have", request: lines('GET /{}|^`"<>\\?q="{}" HTTP/1.1', HOST) },
  { name: "keeps a path that looks like an authority", request: lines("GET //evil.example.net/%2e%2e/ HTTP/1.1", HOST) },
  { name: "keeps a question mark without a query", request: lines("GET /? HTTP/1.1", HOST) },
  { name: "keeps a query of 30 KB", request: lines(`GET /?q=${"abcdefghi%20".repeat(2500)} HTTP/1.1`, HOST) },
  { name: "keeps a field value of 30 KB", request: lines("GET / HTTP/1.1", HOST, `Cookie: ${"a=b; ".repeat(6000)}c=d`) },
  { name: "keeps 500 fields", request: lines("GET / HTTP/1.1", HOST, ...Array.from({ length: 500 }, (_, i) => `X-Field-${String(i)}: ${String(i)}`)) },
  { name: "is framed by the last of 990 fields", request: `${lines("POST /x HTTP/1.1", HOST, ...Array.from({ length: 988 }, (_, i) => `X-F-${String(i)}: ${String(i)}`), "Content-Length: 4")}body` },
  { name: "keeps an empty field value", request: lines("GET / HTTP/1.1", HOST, "X-Empty:", "X-End: 1") },
  { name: "keeps latin1 bytes in a field value", request: lines("GET / HTTP/1.1", HOST, "X-Name: caf\xe9 \xff\x80") },
  { name: "keeps tabs and spaces within a field value", request: lines("GET / HTTP/1.1", HOST, "X-Gap: a \t  b") },
  { name: "keeps each character that a field name may have", request: lines("GET / HTTP/1.1", HOST, "!#$%&'*+-.^_`|~09azAZ: 1") },
  ...["PATCH", "PROPFIND", "DELETE", "PURGE", "M-SEARCH", "REPORT"].map((method) => ({ name: `keeps the method ${method}`, request: lines(`${method} /x HTTP/1.1`, HOST) })),
  { name: "keeps OPTIONS *", request: lines("OPTIONS * HTTP/1.1", HOST) },
  { name: "may be a QUERY with a body", request: `${lines("QUERY /x HTTP/1.1", HOST, "Content-Length: 4")}q=ab` },
  { name: "may be a GET with a body", request: `${lines("GET /x HTTP/1.1", HOST, "Content-Length: 4")}body` },
  { name: "may be a DELETE with a body", request: `${lines("DELETE /x HTTP/1.1", HOST, "Content-Length: 4")}body` },
  { name: "keeps every byte of a body of known length", request: `${lines("POST /x HTTP/1.1", HOST, `Content-LENGTH: ${String(BYTES.length)}`, "X-Behind: 1")}${BYTES}` },
  { name: "keeps a body of no bytes that says so", request: lines("POST /x HTTP/1.1", HOST, "Content-Length: 0") },
  { name: "keeps a body of 300 KB", request: `${lines("PUT /x HTTP/1.1", HOST, "Content-Length: 307200")}${BYTES.repeat(1200)}` },
  { name: "keeps every byte of a body in chunks", request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${chunks("a", BYTES, "\r\n0\r\n\r\n")}${lastChunk()}` },
  { name: "keeps a body in chunks that has none", on: ["h1→h1", "h1→h2"], request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${lastChunk()}` },
  { name: "that ends with its head gets no body", request: lines("POST /x HTTP/1.1", HOST) },
  {
    name: "may have chunk extensions, which end at the proxy",
    on: ["h1→h1", "h1→h2"],
    request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}3;a\r\nabc\r\n4;b=c;d="e;f"\r\ndefg\r\n0;last\r\n\r\n`,
    atUpstream: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${chunks("abcdefg")}${lastChunk()}`,
  },
  {
    name: "may write its chunk sizes in upper case and with zeros in front",
    on: ["h1→h1", "h1→h2"],
    request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}0000A\r\n0123456789\r\n00\r\n\r\n`,
    atUpstream: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${chunks("0123456789")}${lastChunk()}`,
  },
  { name: "keeps its trailers", request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED, "Trailer: X-Sum, X-Other", "TE: trailers")}${chunks("abc")}${lastChunk("X-Sum: 7", "X-Sum: 8", "X-Other: a b")}` },
  { name: "keeps its trailers in order", on: ["h1→h1", "h2→h1"], request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7", "X-Other: a b", "X-Sum: 8")}` },
  { name: "keeps the trailers of a body that is empty", request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${lastChunk("X-Sum: 0")}` },
  {
    name: "loses trailers that would route it or speak for its connection, had they stood in its head",
    on: ["h1→h1", "h1→h2"],
    request: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7", "Host: evil.example.net", "Keep-Alive: timeout=5", "TE: gzip", "Proxy-Authorization: Basic eDp5", "X-Tallyman-Agent-Id: a", "X-End: 1")}`,
    atUpstream: `${lines("POST /x HTTP/1.1", HOST, CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7", "X-End: 1")}`,
  },
  { name: "keeps TE: trailers", request: lines("GET / HTTP/1.1", HOST, "TE: trailers") },
  {
    name: "leaves the fields behind that Connection names, and Connection",
    on: ["h1→h1", "h1→h2"],
    request: lines("GET / HTTP/1.1", HOST, "Connection: keep-alive, X-Hop", "X-Hop: 1", "X-Stays: 1", "connection: x-hop2", "x-HOP2: 1", "X-Hop: 2"),
    atUpstream: lines("GET / HTTP/1.1", HOST, "X-Stays: 1"),
  },
  {
    name: "cannot take its own framing or Host out by naming them in Connection",
    on: ["h1→h1", "h1→h2"],
    request: `${lines("POST / HTTP/1.1", HOST, "Connection: content-length, host", "Content-Length: 4")}body`,
    atUpstream: `${lines("POST / HTTP/1.1", HOST, "Content-Length: 4")}body`,
  },
  {
    name: "leaves Keep-Alive, Proxy-Connection, Proxy-Authorization and a TE of codings behind",
    on: ["h1→h1", "h1→h2"],
    request: lines("GET / HTTP/1.1", HOST, "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5", "TE: gzip", "X-End: 1"),
    atUpstream: lines("GET / HTTP/1.1", HOST, "X-End: 1"),
  },
  {
    name: "leaves an offer of h2c behind and is an ordinary request",
    on: ["h1→h1", "h1→h2"],
    request: lines("GET / HTTP/1.1", HOST, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    atUpstream: lines("GET / HTTP/1.1", HOST),
  },
  {
    name: "leaves x-tallyman fields behind",
    request: lines("GET / HTTP/1.1", HOST, "X-Tallyman-Agent-Id: a7", "x-tallyman-meta-team: red", "X-End: 1"),
    atUpstream: lines("GET / HTTP/1.1", HOST, "X-End: 1"),
  },
  {
    // RFC 9113 section 8.2.3 lets them be split and joined for HTTP/2, and wants them joined for HTTP/1.1.
    name: "has its cookie crumbs put together",
    on: ["h2→h1", "h2→h2"],
    request: lines("GET / HTTP/1.1", HOST, "cookie: a=1", "cookie: b=2", "x-between: 1", "cookie: c=3"),
    atUpstream: lines("GET / HTTP/1.1", HOST, "cookie: a=1; b=2; c=3", "x-between: 1"),
  },
  {
    name: "closes its connection when it says so, and keeps that to itself",
    on: ["h1→h1", "h1→h2"],
    request: lines("GET / HTTP/1.1", HOST, "Connection: close"),
    atUpstream: lines("GET / HTTP/1.1", HOST),
    after: "closed",
  },
  {
    name: "may be HTTP/1.0, whose connection closes",
    on: ["h1→h1", "h1→h2"],
    request: lines("GET / HTTP/1.0", HOST),
    atUpstream: lines("GET / HTTP/1.1", HOST),
    atClient: `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`,
    after: "closed",
  },
  {
    name: "may be HTTP/1.0 with a body",
    on: ["h1→h1", "h1→h2"],
    request: `${lines("POST / HTTP/1.0", HOST, "Content-Length: 4")}body`,
    atUpstream: `${lines("POST / HTTP/1.1", HOST, "Content-Length: 4")}body`,
    after: "closed",
  },
  {
    name: "gets a Host when it is HTTP/1.0 without one",
    on: ["h1→h1", "h1→h2"],
    request: lines("GET / HTTP/1.0", "X-A: 1"),
    atUpstream: lines("GET / HTTP/1.1", "Host: {host}", "X-A: 1"),
    after: "closed",
  },
  { name: "may have empty lines in front", on: ["h1→h1", "h1→h2"], request: `\r\n\r\n${lines("GET / HTTP/1.1", HOST)}`, atUpstream: lines("GET / HTTP/1.1", HOST) },
  { name: "may have spaces and tabs around field values", on: ["h1→h1", "h1→h2"], request: lines("GET / HTTP/1.1", HOST, "X-A: \t 1 \t"), atUpstream: lines("GET / HTTP/1.1", HOST, "X-A: 1") },
  // RFC 9112 section 3 lets a server read words; what goes up has single spaces again, so nobody behind us reads it otherwise.
  { name: "has single spaces in its request line, however many the client wrote", on: ["h1→h1", "h1→h2"], request: lines("GET   /x   HTTP/1.1", HOST), atUpstream: lines("GET /x HTTP/1.1", HOST) },
  { name: "may name the port in its Host", request: lines("GET / HTTP/1.1", "Host: {host}:443") },
  { name: "may end its Host with a dot", request: lines("GET / HTTP/1.1", "Host: {host}.") },
  {
    name: "stays a WebSocket request as the client wrote it",
    on: ["h1→h1"],
    request: lines("GET /chat?x=1 HTTP/1.1", HOST, ...WEBSOCKET, "sec-websocket-protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Origin: https://x.example"),
    response: `${lines("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Bearer", "Content-Length: 6")}denied`,
    after: "closed",
  },
];
