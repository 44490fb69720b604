/** HTTP/1.1 responses that no client may get to see as they are: 502, or a response that is broken off; never one that is misread. */

import { chunks, lastChunk, lines } from "./message.ts";

export interface HostileResponseRow {
  /** A sentence whose subject is the response. */
  readonly name: string;
  /** What the upstream sends, byte for byte. */
  readonly response: string;
  /** `refused`: 502 upstream_protocol. `failed`: any 502. `either`: 502, or the head passes and the body breaks off. Default: `refused`. */
  readonly outcome?: "refused" | "failed" | "either";
  /** The upstream closes its connection behind it. */
  readonly isClosed?: boolean;
}

const CHUNKED = "Transfer-Encoding: chunked";
const ok = (...fields: readonly string[]): string => lines("HTTP/1.1 200 OK", ...fields);

const HEADS: readonly HostileResponseRow[] = [
  { name: "has a length and a transfer coding", response: `${ok("Content-Length: 5", CHUNKED)}${chunks("hello")}${lastChunk()}` },
  { name: "has a transfer coding and a length", response: `${ok(CHUNKED, "Content-Length: 5")}${chunks("hello")}${lastChunk()}` },
  { name: "has two lengths that differ", response: `${ok("Content-Length: 5", "Content-Length: 2")}hello` },
  ...["-1", "+5", "5x", "0x5", "5, 5", "5, 2", "5 5", "", "18446744073709551616"].map((length) => ({ name: `has the length ${JSON.stringify(length)}`, response: `${ok(`Content-Length: ${length}`)}hello` })),
  ...["gzip, chunked", "gzip", "identity", "xchunked", "chunked, gzip", "chunked, chunked", "\x0bchunked"].map((coding) => ({ name: `has the transfer coding ${JSON.stringify(coding)}`, response: `${ok(`Transfer-Encoding: ${coding}`)}${chunks("hello")}${lastChunk()}`, isClosed: true })),
  { name: "has a space in front of a colon", response: `${ok("X-A : 1", "Content-Length: 2")}ok` },
  { name: "folds a field over two lines", response: `${ok("X-A: 1", " 2", "Content-Length: 2")}ok` },
  { name: "ends its lines by LF alone", response: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok" },
  { name: "ends one field by LF alone", response: `${ok("X-A: 1\nX-B: 2", "Content-Length: 2")}ok` },
  { name: "has a CR in a field value", response: `${ok("X-A: 1\r2", "Content-Length: 2")}ok` },
  { name: "has a NUL in a field value", response: `${ok("X-A: 1\x002", "Content-Length: 2")}ok` },
  { name: "has a control character in a field value", response: `${ok("X-A: 1\x082", "Content-Length: 2")}ok` },
  { name: "has a control character in a field name", response: `${ok("X\x01A: 1", "Content-Length: 2")}ok` },
  { name: "has a field without a name", response: `${ok(": 1", "Content-Length: 2")}ok` },
  { name: "has a field without a colon", response: `${ok("X-A", "Content-Length: 2")}ok` },
  { name: "has a head of 64 KiB and more", response: `${ok(`X-Long: ${"a".repeat(65_537)}`, "Content-Length: 2")}ok` },
  { name: "has a field that never ends", response: `HTTP/1.1 200 OK\r\nX-Long: ${"a".repeat(300_000)}` },
  { name: "has a reason phrase that never ends", response: `HTTP/1.1 200 ${"a".repeat(300_000)}` },
  ...["HTTP/1.1 99 Low", "HTTP/1.1 1000 High", "HTTP/1.1 abc Letters", "HTTP/1.1 20 Short", "HTTP/1.1 -200 Sign", "HTTP/1.1 000 Zero", "HTTP/1.1", "HTTP/2 200 OK", "HTTP/3.0 200 OK", "http/1.1 200 OK", "HTTPS/1.1 200 OK", "ICY 200 OK", "HTTP/1.1  200 OK", " HTTP/1.1 200 OK", "HTTP/1.1 200OK", "HTTP/1.1\t200\tOK", "200 OK"].map((line) => ({
    name: `has the status line ${JSON.stringify(line)}`,
    response: `${lines(line, "Content-Length: 2")}ok`,
    isClosed: true,
  })),
  { name: "has a NUL in its reason phrase", response: `${lines("HTTP/1.1 200 O\x00K", "Content-Length: 2")}ok` },
  { name: "has a CR in its reason phrase", response: `${lines("HTTP/1.1 200 O\rK", "Content-Length: 2")}ok` },
  { name: "is HTTP/0.9: a body alone", response: "<html>\n<p>hello\n</html>", isClosed: true },
  { name: "is HTTP/0.9 of one line", response: "<html>hello</html>", isClosed: true, outcome: "failed" },
  { name: "is garbage", response: "\x00\x01\x02\x03\x04garbage\r\n\r\n", isClosed: true },
  { name: "is nothing", response: "", isClosed: true, outcome: "failed" },
  { name: "goes over to another protocol, which nobody asked for", response: lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket") },
  { name: "goes over to h2c, which nobody asked for", response: lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c") },
  { name: "comes behind a 103 with a malformed field", response: `${lines("HTTP/1.1 103 Early Hints", "X A: 1")}${ok("Content-Length: 2")}ok` },
  { name: "comes behind a 103 with a line end in a value", response: `${lines("HTTP/1.1 103 Early Hints", "X-A: 1\nX-B: 2")}${ok("Content-Length: 2")}ok` },
  { name: "comes behind a 103 of 100 KB", response: `${lines("HTTP/1.1 103 Early Hints", `X-Long: ${"a".repeat(100_000)}`)}${ok("Content-Length: 2")}ok` },
  { name: "comes behind 1,000 interim ones", response: `${lines("HTTP/1.1 103 Early Hints").repeat(1000)}${ok("Content-Length: 2")}ok` },
];

const BODIES: readonly HostileResponseRow[] = [
  ["has a chunk size in C form", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["has a negative chunk size", "-1\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n"],
  ["has no chunk size", "\r\nhello\r\n0\r\n\r\n"],
  ["has a chunk that is longer than its size", "3\r\nhello\r\n0\r\n\r\n"],
  ["has no line end behind a chunk", "5\r\nhello0\r\n\r\n"],
  ["has an LF behind a chunk size", "5\nhello\r\n0\r\n\r\n"],
  ["has a NUL in a chunk extension", "5;a\x00b\r\nhello\r\n0\r\n\r\n"],
  ["has a trailer without a colon", "5\r\nhello\r\n0\r\nX-A\r\n\r\n"],
  ["has a trailer with a line end in it", "5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n"],
  ["has a trailer with a NUL", "5\r\nhello\r\n0\r\nX-A: 1\x00\r\n\r\n"],
  ["has a length in its trailers", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"],
  ["has trailers of 100 KB", `5\r\nhello\r\n0\r\nX-A: ${"a".repeat(100_000)}\r\n\r\n`],
].map(([name = "", body = ""]) => ({ name, response: `${ok(CHUNKED)}${body}`, outcome: "either" as const }));

export const HOSTILE_RESPONSE_ROWS: readonly HostileResponseRow[] = [...HEADS, ...BODIES];
