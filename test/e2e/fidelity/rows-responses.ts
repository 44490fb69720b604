/** Responses on their way down: what the client reads is what the upstream wrote. */

import { chunks, lastChunk, lines } from "./message.ts";
import type { MessageRow } from "./run-message.ts";

const HOST = "Host: {host}";
const CHUNKED = "Transfer-Encoding: chunked";
const BYTES = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
const HEAD = lines("HEAD / HTTP/1.1", HOST);
const GET_1_0 = lines("GET / HTTP/1.0", HOST);
const EARLY_HINTS = lines("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload", "X-A: 1");
const OK = `${lines("HTTP/1.1 200 OK", "X-End: 1", "Content-Length: 2")}ok`;

export const RESPONSE_ROWS: readonly MessageRow[] = [
  { name: "keeps its fields in order, in their case and with their duplicates", response: `${lines("HTTP/1.1 200 OK", "X-B: 1", "x-a: 2", "Content-Length: 2", "X-B: 3", "ETag: \"x\"", "x-b: 4")}ok` },
  { name: "keeps its reason phrase", response: `${lines("HTTP/1.1 200 Fine And Dandy; really", "Content-Length: 2")}ok` },
  { name: "keeps an empty reason phrase", response: `${lines("HTTP/1.1 200 ", "Content-Length: 2")}ok` },
  ...[201, 206, 207, 299, 301, 307, 401, 404, 418, 429, 451, 500, 503, 529, 599].map((status) => ({ name: `keeps the status ${String(status)}`, response: `${lines(`HTTP/1.1 ${String(status)} Some Reason`, "Content-Length: 2")}ok` })),
  { name: "keeps a status that no class has", on: ["h1→h1", "h1→h2"], response: `${lines("HTTP/1.1 799 Some Reason", "Content-Length: 2")}ok` },
  { name: "keeps each Set-Cookie in a field of its own", response: `${lines("HTTP/1.1 200 OK", "Set-Cookie: a=1, still a", "X-Between: 1", "set-cookie: b=2", "Set-Cookie: a=3", "Content-Length: 2")}ok` },
  { name: "keeps latin1 bytes and an empty value", response: `${lines("HTTP/1.1 200 OK", "X-Name: caf\xe9 \xff", "X-Empty:", "Content-Length: 2")}ok` },
  { name: "keeps fields of 40 KB", response: `${lines("HTTP/1.1 200 OK", `X-Long: ${"a".repeat(40_000)}`, "Content-Length: 2")}ok` },
  { name: "gets no Date and no Server that the upstream did not send", response: `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok` },
  { name: "keeps every byte of a body of known length", response: `${lines("HTTP/1.1 200 OK", "content-LENGTH: 256")}${BYTES}` },
  { name: "keeps a body of 300 KB", response: `${lines("HTTP/1.1 200 OK", "Content-Length: 307200")}${BYTES.repeat(1200)}` },
  { name: "keeps a body of no bytes that says so", response: lines("HTTP/1.1 200 OK", "Content-Length: 0") },
  { name: "keeps every byte of a body in chunks", response: `${lines("HTTP/1.1 200 OK", CHUNKED, "X-End: 1")}${chunks("a", BYTES, "\r\n0\r\n\r\n")}${lastChunk()}` },
  { name: "keeps a body in chunks that has none", response: `${lines("HTTP/1.1 200 OK", CHUNKED)}${lastChunk()}` },
  {
    name: "may have chunk extensions, which end at the proxy",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.1 200 OK", CHUNKED)}3;a\r\nabc\r\n4;b=c;d="e;f"\r\ndefg\r\n0;last\r\n\r\n`,
    atClient: `${lines("HTTP/1.1 200 OK", CHUNKED)}${chunks("abcdefg")}${lastChunk()}`,
  },
  { name: "keeps its trailers", response: `${lines("HTTP/1.1 200 OK", CHUNKED, "Trailer: X-Sum, X-Other")}${chunks("abc")}${lastChunk("X-Sum: 7", "X-Sum: 8", "X-Other: a b")}` },
  { name: "keeps its trailers in order", on: ["h1→h1", "h1→h2"], response: `${lines("HTTP/1.1 200 OK", CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7", "X-Other: a b", "X-Sum: 8")}` },
  { name: "keeps trailers that it did not announce", response: `${lines("HTTP/1.1 200 OK", CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7")}` },
  { name: "keeps the trailers of a body that is empty", response: `${lines("HTTP/1.1 200 OK", CHUNKED)}${lastChunk("X-Sum: 0")}` },
  {
    name: "loses trailers that would frame it or speak for its connection, had they stood in its head",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.1 200 OK", CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7", "Connection: close", "Transfer-Encoding: chunked", "Keep-Alive: timeout=5", "X-End: 1")}`,
    atClient: `${lines("HTTP/1.1 200 OK", CHUNKED)}${chunks("abc")}${lastChunk("X-Sum: 7", "X-End: 1")}`,
  },
  { name: "keeps its content coding and its bytes", response: `${lines("HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 5", "Vary: Accept-Encoding")}\x1f\x8b\x00\xff\x01` },
  { name: "keeps the length of a body that HEAD does not get", request: HEAD, response: lines("HTTP/1.1 200 OK", "Content-Length: 1234", "X-End: 1") },
  { name: "to HEAD without a length ends at its head", request: HEAD, response: lines("HTTP/1.1 200 OK", "Content-Type: text/plain") },
  { name: "to HEAD of a body in chunks ends at its head", on: ["h1→h1", "h2→h1"], request: HEAD, response: lines("HTTP/1.1 200 OK", CHUNKED, "X-End: 1") },
  { name: "ends at its head when it is 204", response: lines("HTTP/1.1 204 No Content", "X-End: 1") },
  { name: "ends at its head when it is 304, whatever its length says", response: lines("HTTP/1.1 304 Not Modified", "ETag: \"x\"", "Content-Length: 1234") },
  { name: "may be 205 with an empty body", response: lines("HTTP/1.1 205 Reset Content", "Content-Length: 0") },
  { name: "to a POST ends at its head when it is 204", request: `${lines("POST / HTTP/1.1", HOST, "Content-Length: 4")}body`, response: lines("HTTP/1.1 204 No Content") },
  {
    name: "that the close ends is in chunks for HTTP/1.1",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.1 200 OK", "X-A: 1")}all of it`,
    atClient: `${lines("HTTP/1.1 200 OK", "X-A: 1", CHUNKED)}${chunks("all of it")}${lastChunk()}`,
  },
  {
    name: "that the close ends may be empty",
    on: ["h1→h1", "h2→h1"],
    response: lines("HTTP/1.1 200 OK", "X-A: 1"),
    atClient: `${lines("HTTP/1.1 200 OK", "X-A: 1", CHUNKED)}${lastChunk()}`,
  },
  {
    name: "that the close ends is ended by the close for HTTP/1.0",
    on: ["h1→h1"],
    request: GET_1_0,
    atUpstream: lines("GET / HTTP/1.1", HOST),
    response: `${lines("HTTP/1.1 200 OK", "X-A: 1")}all of it`,
    after: "closed",
  },
  {
    name: "in chunks is ended by the close for HTTP/1.0",
    on: ["h1→h1", "h1→h2"],
    request: GET_1_0,
    atUpstream: lines("GET / HTTP/1.1", HOST),
    response: `${lines("HTTP/1.1 200 OK", CHUNKED, "X-A: 1")}${chunks("all ", "of it")}${lastChunk()}`,
    atClient: `${lines("HTTP/1.1 200 OK", "X-A: 1")}all of it`,
    after: "closed",
  },
  {
    name: "of an HTTP/1.0 upstream is one of HTTP/1.1 at the client",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.0 200 Old", "X-A: 1")}all of it`,
    atClient: `${lines("HTTP/1.1 200 Old", "X-A: 1", CHUNKED)}${chunks("all of it")}${lastChunk()}`,
  },
  {
    name: "of an HTTP/1.0 upstream keeps its length",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.0 200 OK", "Content-Length: 2")}ok`,
    atClient: `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`,
  },
  {
    name: "leaves Connection, the fields it names and Keep-Alive behind",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.1 200 OK", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5, max=9", "Proxy-Connection: keep-alive", "X-Stays: 1", "Content-Length: 2")}ok`,
    atClient: `${lines("HTTP/1.1 200 OK", "X-Stays: 1", "Content-Length: 2")}ok`,
  },
  {
    name: "that closes the upstream's connection leaves the client's open",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 2")}ok`,
    atClient: `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`,
  },
  {
    name: "leaves an offer to upgrade behind",
    on: ["h1→h1", "h2→h1"],
    response: `${lines("HTTP/1.1 200 OK", "Upgrade: h2,h2c", "Connection: Upgrade", "Content-Length: 2")}ok`,
    atClient: `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`,
  },
  { name: "comes behind a 103", response: `${EARLY_HINTS}${OK}` },
  { name: "comes behind two 103 and a 102", response: `${EARLY_HINTS}${lines("HTTP/1.1 102 Processing")}${lines("HTTP/1.1 103 More Hints", "Link: </b.js>", "Link: </c.js>")}${OK}` },
  { name: "comes behind an interim status that nobody knows", response: `${lines("HTTP/1.1 142 What", "X-A: 1")}${OK}` },
  { name: "comes behind a 100 that nobody asked for", response: `${lines("HTTP/1.1 100 Continue")}${OK}` },
  { name: "to a POST comes behind a 100 that nobody asked for", request: `${lines("POST / HTTP/1.1", HOST, "Content-Length: 4")}body`, response: `${lines("HTTP/1.1 100 Continue")}${OK}` },
  { name: "to HEAD comes behind a 103", request: HEAD, response: `${EARLY_HINTS}${lines("HTTP/1.1 200 OK", "Content-Length: 1234")}` },
  { name: "without a body comes behind a 103", response: `${EARLY_HINTS}${lines("HTTP/1.1 304 Not Modified", "X-End: 1")}` },
  {
    name: "loses its interim responses on the way to HTTP/1.0",
    on: ["h1→h1", "h1→h2"],
    request: GET_1_0,
    atUpstream: lines("GET / HTTP/1.1", HOST),
    response: `${EARLY_HINTS}${OK}`,
    atClient: OK,
    after: "closed",
  },
  {
    name: "to a WebSocket request that is refused keeps its body",
    on: ["h1→h1"],
    request: lines("GET /chat HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    response: `${lines("HTTP/1.1 403 Not You", "Content-Type: text/plain", CHUNKED)}${chunks("go ", "away")}${lastChunk()}`,
    after: "closed",
  },
];
