import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { getHeader, getHeaderValues, splitRequestHeaders, stripResponseHeaders } from "../../src/flow/headers.ts";

describe("getHeader", () => {
  const headers = ["X-A", "1", "x-a", "2", "Host", "h", "__proto__", "p", "odd"];

  it("gives the first value, whatever the case of its name", () => {
    expect(getHeader(headers, "x-a")).toBe("1");
    expect(getHeader(headers, "host")).toBe("h");
    expect(getHeader(headers, "__proto__")).toBe("p");
    expect(getHeader(headers, "constructor")).toBeUndefined();
    expect(getHeader(headers, "odd")).toBeUndefined();
    expect(getHeader([], "host")).toBeUndefined();
  });

  it("gives every value in order", () => {
    expect(getHeaderValues(headers, "x-a")).toEqual(["1", "2"]);
    expect(getHeaderValues(headers, "none")).toEqual([]);
  });

  it("does not take a value for a name", () => {
    expect(getHeader(["a", "host", "host", "h"], "host")).toBe("h");
  });
});

describe("splitRequestHeaders", () => {
  it("keeps order, case and duplicates of what is end to end", () => {
    const headers = ["X-Zed", "1", "hOsT", "h", "X-Zed", "2", "x-ZED", "3", "Content-LENGTH", "5", "Cookie", "", "Trailer", "X-Sum"];
    expect(splitRequestHeaders(headers)).toEqual({ forward: headers, attribution: [] });
  });

  it.each([
    ["Connection", "keep-alive"], ["Connection", "close"], ["Keep-Alive", "timeout=5"], ["Proxy-Connection", "keep-alive"], ["Transfer-Encoding", "chunked"], ["Upgrade", "h2c"],
  ])("leaves %s: %s behind in any case", (name, value) => {
    for (const spelled of [name, name.toLowerCase(), name.toUpperCase()]) {
      expect(splitRequestHeaders(["a", "1", spelled, value, "b", "2"]).forward).toEqual(["a", "1", "b", "2"]);
    }
  });

  it("keeps the fields of the framing and of an upgrade in their place where they are wanted", () => {
    const headers = ["A", "1", "transfer-ENCODING", "chunked", "Connection", "keep-alive, Upgrade, x-hop", "X-Hop", "1", "Upgrade", "websocket", "B", "2"];
    const forward = ["A", "1", "transfer-ENCODING", "chunked", "Connection", "Upgrade", "Upgrade", "websocket", "B", "2"];
    expect(splitRequestHeaders(headers, { framing: true, upgrade: true }).forward).toEqual(forward);
  });

  it("leaves an expectation to the upstream, also when Connection names it", () => {
    expect(splitRequestHeaders(["Connection", "expect", "Expect", "100-continue"]).forward).toEqual(["Expect", "100-continue"]);
  });

  it("forwards TE: trailers, also when Connection names it", () => {
    expect(splitRequestHeaders(["TE", "Trailers", "Connection", "te"]).forward).toEqual(["TE", "Trailers"]);
  });

  it("leaves what Connection names behind, from several fields and in any case", () => {
    const { forward } = splitRequestHeaders(["Connection", "X-One , x-TWO", "x-one", "1", "X-Two", "2", "connection", "X-Three,,", "x-three", "3", "x-four", "4"]);
    expect(forward).toEqual(["x-four", "4"]);
  });

  it("does not let Connection take the framing or the Host out", () => {
    const headers = ["Host", "h", "Content-Length", "5"];
    expect(splitRequestHeaders([...headers, "Connection", "host, content-length, close"]).forward).toEqual(headers);
  });

  it("takes the x-tallyman headers out and keeps them, names as sent", () => {
    expect(splitRequestHeaders(["X-Tallyman-Org-Id", "o", "a", "1", "x-tallyman-meta-Team", "red", "x-tallyman", "no", "x-tallyman-new", "n"])).toEqual({
      forward: ["a", "1", "x-tallyman", "no"],
      attribution: ["X-Tallyman-Org-Id", "o", "x-tallyman-meta-Team", "red", "x-tallyman-new", "n"],
    });
  });

  it("loses no header and makes none up", () => {
    const name = fc.constantFrom("a", "B", "Connection", "x-tallyman-org-id", "TE", "Expect", "__proto__", "Host");
    const pair = fc.tuple(name, fc.constantFrom("", "a", "b", "trailers", "close", "__proto__"));
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 12 }), (pairs) => {
        const { forward, attribution } = splitRequestHeaders(pairs.flat());
        expect(forward.length % 2).toBe(0);
        const rest = pairs.filter(([key]) => !key.startsWith("x-tallyman-"));
        let from = 0;
        for (let index = 0; index < forward.length; index += 2) {
          from = rest.findIndex(([key, value], at) => at >= from && key === forward[index] && value === forward[index + 1]) + 1;
          expect(from).toBeGreaterThan(0);
        }
        expect(attribution).toEqual(pairs.filter(([key]) => key.startsWith("x-tallyman-")).flat());
      }),
    );
  });
});

describe("stripResponseHeaders", () => {
  it("leaves only what belongs to the upstream's connection behind", () => {
    const headers = ["Server", "s", "Connection", "close, X-Hop", "X-Hop", "1", "Keep-Alive", "timeout=5", "Transfer-Encoding", "chunked", "Set-Cookie", "a", "set-cookie", "b", "X-Tallyman-Error", "theirs", "Content-Length", "0"];
    expect(stripResponseHeaders(headers)).toEqual(["Server", "s", "Set-Cookie", "a", "set-cookie", "b", "X-Tallyman-Error", "theirs", "Content-Length", "0"]);
  });
});
