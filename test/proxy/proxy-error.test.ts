import { describe, expect, it } from "vitest";

import { answerBody, answerHeaders, errorCode, PROXY_ERROR_STATUS, ProxyError, rawAnswer, toProxyError } from "../../src/proxy/proxy-error.ts";

/** The contract's section 3, and 431 for a head that is too large. */
const CONTRACT: Readonly<Record<number, readonly string[]>> = {
  400: ["bad_request"],
  403: ["address_denied", "request_denied"],
  407: ["proxy_auth_required"],
  421: ["authority_mismatch"],
  429: ["budget_exhausted"],
  431: ["head_too_large"],
  502: ["upstream_unreachable", "upstream_dns", "upstream_tls", "upstream_protocol"],
  503: ["queue_full", "draining"],
  504: ["upstream_timeout"],
};

describe("the codes", () => {
  it("are those of the contract, with their status", () => {
    const expected = Object.fromEntries(Object.entries(CONTRACT).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)])));
    expect(PROXY_ERROR_STATUS).toEqual(expected);
  });

  it("give an error its status and keep its cause", () => {
    const cause = new Error("inner");
    const error = new ProxyError("upstream_tls", "refused", cause);
    expect(error).toMatchObject({ name: "ProxyError", code: "upstream_tls", status: 502, message: "refused", cause });
    expect(new ProxyError("draining", "m")).not.toHaveProperty("cause");
  });
});

describe("toProxyError", () => {
  const coded = (code: string): Error => Object.assign(new Error("with an address 10.1.2.3 in it"), { code });

  it.each([
    ["UND_ERR_HEADERS_TIMEOUT", "upstream_timeout"],
    ["UND_ERR_BODY_TIMEOUT", "upstream_timeout"],
    ["HPE_INVALID_CONSTANT", "upstream_protocol"],
    ["UND_ERR_HEADERS_OVERFLOW", "upstream_protocol"],
    ["UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "upstream_protocol"],
    ["UND_ERR_SOCKET", "upstream_unreachable"],
    ["ECONNRESET", "upstream_unreachable"],
    ["", "upstream_unreachable"],
  ])("maps %s to %s and does not repeat its message", (code, expected) => {
    const mapped = toProxyError(coded(code));
    expect(mapped.code).toBe(expected);
    expect(mapped.message).not.toContain("10.1.2.3");
  });

  it("passes a ProxyError through", () => {
    const error = new ProxyError("address_denied", "no");
    expect(toProxyError(error)).toBe(error);
  });

  it("knows undici's faults that have no code", () => {
    expect(toProxyError(new Error("bad response")).code).toBe("upstream_protocol");
    expect(toProxyError(Object.assign(new Error("x"), { name: "HTTPParserError" })).code).toBe("upstream_protocol");
  });

  it("takes what is no error at all", () => {
    for (const thrown of [undefined, null, "text", 7, {}, { code: 7 }]) expect(toProxyError(thrown).code).toBe("upstream_unreachable");
  });
});

describe("errorCode", () => {
  it("reads a code that is text, from anything", () => {
    expect(errorCode(Object.assign(new Error("x"), { code: "EPIPE" }))).toBe("EPIPE");
    for (const thrown of [undefined, null, "EPIPE", 1, {}, { code: 1 }, new Error("x")]) expect(errorCode(thrown)).toBe("");
  });
});

describe("an answer", () => {
  const answer = { status: 403, code: "address_denied", message: 'not "there"' };

  it("is JSON in the contract's shape", () => {
    expect(JSON.parse(answerBody(answer))).toEqual({ error: { type: "tallyman_error", code: "address_denied", message: 'not "there"' } });
  });

  it("lies over the provider's own error shape and keeps what that has besides", () => {
    const shape = { type: "error", request_id: "r", error: { type: "permission_error", message: "theirs", param: null } };
    expect(JSON.parse(answerBody(answer, shape))).toEqual({
      type: "error",
      request_id: "r",
      error: { type: "tallyman_error", code: "address_denied", message: 'not "there"', param: null },
    });
    expect(JSON.parse(answerBody(answer, { error: "text" }))).toEqual({ error: { type: "tallyman_error", code: "address_denied", message: 'not "there"' } });
  });

  it("names its code and length, and carries headers of its own", () => {
    expect(answerHeaders({ ...answer, headers: ["retry-after", "5"] }, 12)).toEqual([
      "content-type", "application/json", "content-length", "12", "x-tallyman-error", "address_denied", "retry-after", "5",
    ]);
  });

  it("is a whole HTTP/1.1 message for a bare socket", () => {
    const raw = rawAnswer({ ...answer, message: "größer" });
    const [head = "", body = ""] = raw.split("\r\n\r\n");
    expect(head.split("\r\n")[0]).toBe("HTTP/1.1 403 Forbidden");
    expect(head).toContain("\r\nconnection: close");
    expect(head).toContain(`\r\ncontent-length: ${Buffer.byteLength(body)}`);
    expect(JSON.parse(body)).toMatchObject({ error: { message: "größer" } });
  });

  it("has a reason phrase for every status of the contract", () => {
    for (const [code, status] of Object.entries(PROXY_ERROR_STATUS)) {
      expect(rawAnswer({ status, code, message: "m" })).toMatch(/^HTTP\/1\.1 \d{3} (?!Error\r)[A-Z][A-Za-z -]+\r\n/);
    }
  });
});
