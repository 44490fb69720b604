import { describe, expect, it } from "vitest";

import { isStatusLine, requestFault, responseFault, safeTrailers, type ParsedRequestHead } from "../../src/proxy/message-checks.ts";

function head(fields: readonly string[], rest: Partial<ParsedRequestHead> = {}): ParsedRequestHead {
  return { method: "GET", url: "/x", httpVersionMajor: 1, httpVersionMinor: 1, rawHeaders: ["Host", "a", ...fields], ...rest };
}

describe("a request head", () => {
  it.each([
    ["HTTP/1.1 with a length", head(["Content-Length", "5"])],
    ["HTTP/1.1 with chunks", head(["Transfer-Encoding", "Chunked"])],
    ["HTTP/1.0 without a Host", head([], { httpVersionMinor: 0, rawHeaders: [] })],
    ["OPTIONS *", head([], { method: "OPTIONS", url: "*" })],
  ])("passes as %s", (_name, good) => {
    expect(requestFault(good, false)).toBeUndefined();
  });

  it.each([
    ["HTTP/2.0", head([], { httpVersionMajor: 2, httpVersionMinor: 0 }), /not HTTP/],
    ["HTTP/0.9", head([], { httpVersionMajor: 0, httpVersionMinor: 9 }), /not HTTP/],
    ["HTTP/1.1 without a Host", head([], { rawHeaders: [] }), /one Host/],
    ["two Hosts", head(["host", "a"]), /one Host/],
    ["GET *", head([], { url: "*" }), /OPTIONS/],
    ["a fragment", head([], { url: "/x#y" }), /fragment/],
    ["HTTP/1.0 with chunks", head(["Transfer-Encoding", "chunked"], { httpVersionMinor: 0 }), /HTTP\/1.0/],
    ["gzip under chunked", head(["Transfer-Encoding", "gzip, chunked"]), /only transfer coding/],
    ["chunked in two fields", head(["Transfer-Encoding", "chunked", "transfer-encoding", "chunked"]), /only transfer coding/],
    ["a transfer coding of nothing", head(["Transfer-Encoding", ""]), /only transfer coding/],
    ["a length of 16 digits", head(["Content-Length", "9007199254740993"]), /15 digits/],
  ])("is refused as %s", (_name, bad, reason) => {
    expect(requestFault(bad, false)).toMatch(reason);
  });

  it("of an upgrade has no body", () => {
    expect(requestFault(head(["Content-Length", "0"]), true)).toBeUndefined();
    expect(requestFault(head(["Content-Length", "5"]), true)).toMatch(/no body/);
    expect(requestFault(head(["Transfer-Encoding", "chunked"]), true)).toMatch(/no body/);
  });
});

describe("a response head", () => {
  it("passes with a length, with chunks and with neither", () => {
    for (const fields of [["Content-Length", "5"], ["Transfer-Encoding", "chunked"], []]) expect(responseFault(fields)).toBeUndefined();
  });

  it.each(["gzip, chunked", "gzip", "identity", "", "chunked, chunked"])("is refused with the transfer coding %o", (coding) => {
    expect(responseFault(["Transfer-Encoding", coding])).toMatch(/transfer coding/);
  });

  it.each(["HTTP/1.1 200 OK", "HTTP/1.0 404 ", "HTTP/1.1 599", "HTTP/1.1 200 caf\xe9"])("begins with %o", (line) => {
    expect(isStatusLine(line)).toBe(true);
  });

  it.each(["HTTP/1.1 000 Zero", "HTTP/1.1 99 Low", "HTTP/1.1 1000 High", "HTTP/1.1 200 O\0K", "HTTP/1.1 200 O\rK", "HTTP/2 200 OK", "HTTP/1.1  200 OK"])("does not begin with %o", (line) => {
    expect(isStatusLine(line)).toBe(false);
  });
});

describe("trailers", () => {
  it("keep their order and lose what frames or routes a message", () => {
    expect(safeTrailers(["X-B", "1", "Content-Length", "5", "x-a", "2", "HOST", "evil", "Transfer-Encoding", "chunked", "X-B", "3"])).toEqual(["X-B", "1", "x-a", "2", "X-B", "3"]);
  });

  it("without such fields are passed as they are", () => {
    const trailers = ["grpc-status", "0"];
    expect(safeTrailers(trailers)).toBe(trailers);
  });
});
