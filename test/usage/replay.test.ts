import { describe, expect, it } from "vitest";
import { exchangeInfo, parseRecord, RecordError } from "../../src/usage/replay.ts";

const RECORD = `POST /v1/messages?beta=true HTTP/1.1
Host: API.example.com:8443
X-Key:  a:b

{"model":"m"}
### response
HTTP/1.1 200 OK
content-type: text/event-stream

data: 1

data: 2

### options
{"end":"client_aborted","estimate":false,"handler":"openai"}
### expect
[]
`;

describe("a recorded exchange", () => {
  it("is taken apart, bodies verbatim", () => {
    expect(parseRecord(RECORD)).toEqual([
      {
        method: "POST",
        target: "/v1/messages?beta=true",
        requestHeaders: ["Host", "API.example.com:8443", "X-Key", "a:b"],
        requestBody: '{"model":"m"}\n',
        response: { status: 200, statusText: "OK", headers: ["content-type", "text/event-stream"], body: "data: 1\n\ndata: 2\n\n" },
        options: { end: "client_aborted", estimate: false, handler: "openai" },
        expected: [],
      },
    ]);
  });

  it("may have CRLF line ends", () => {
    const [exchange] = parseRecord(RECORD.replaceAll("\n", "\r\n"));
    expect(exchange).toMatchObject({ requestHeaders: ["Host", "API.example.com:8443", "X-Key", "a:b"], response: { body: "data: 1\r\n\r\ndata: 2\r\n\r\n" } });
  });

  it("may be one of several, and without body, answer or expectation", () => {
    const exchanges = parseRecord("GET /a HTTP/1.1\nhost: h\n### exchange\nGET /b HTTP/1.1\nhost: h\n\n### response\nHTTP/2 204\n");
    expect(exchanges).toMatchObject([
      { target: "/a", requestBody: "", response: undefined, options: {}, expected: undefined },
      { target: "/b", requestBody: "", response: { status: 204, statusText: "", headers: [], body: "" } },
    ]);
  });

  it("keeps a heading in a body that is no separator", () => {
    const [exchange] = parseRecord("POST /a HTTP/1.1\nhost: h\n\n### Response\n### other\ntext");
    expect(exchange?.requestBody).toBe("### Response\n### other\ntext");
  });

  it("tells a handler host, port, path and query", () => {
    expect(exchangeInfo(parseRecord(RECORD)[0]!)).toMatchObject({ host: "api.example.com", port: 8443, path: "/v1/messages", query: "beta=true", protocol: "http" });
  });

  it.each([
    ["", "request line"],
    ["GET /a\nhost: h\n", "request line"],
    ["GET /a HTTP/1.1\nnonsense\n", "header field"],
    ["GET /a HTTP/1.1\n### response\n200 OK\n", "status line"],
    ['GET /a HTTP/1.1\n### options\n{"end":"sometime"}\n', "options may have"],
    ["GET /a HTTP/1.1\n### options\n{", "not JSON"],
    ["GET /a HTTP/1.1\n### response\nHTTP/1.1 200 OK\n### response\n", "twice"],
  ])("is refused with a reason: %j", (text, reason) => {
    expect(() => parseRecord(text)).toThrow(RecordError);
    expect(() => parseRecord(text)).toThrow(reason);
  });

  it("needs a host header to be run", () => {
    expect(() => exchangeInfo(parseRecord("GET /a HTTP/1.1\n")[0]!)).toThrow(RecordError);
  });
});
