import { describe, expect, it } from "vitest";
import { draftIdIn, MAX_KEPT_BYTES, recipientsIn, type MessageRequest } from "../../../../../src/usage/providers/connectors/gmail/sent-message.ts";

const MESSAGE = "To: a@x, b@x\r\nCc: c@x\r\nSubject: s\r\n\r\nTo: d@x\r\n";

/** As the interpreter keeps a body: the first bytes. */
function request(body: string | Uint8Array, contentType = "application/json", isUpload = false): MessageRequest {
  const bytes = Buffer.from(body);
  const raw = bytes.subarray(0, MAX_KEPT_BYTES);
  return { isUpload, contentType, body: { json: undefined, form: undefined, raw, isTruncated: raw.length < bytes.length, totalBytes: bytes.length } };
}

function related(json: string, message: string, fields = "Content-Type: message/rfc822\r\n"): string {
  return `--b\r\nContent-Type: application/json\r\n\r\n${json}\r\n--b\r\n${fields}\r\n${message}\r\n--b--`;
}

const RELATED = "multipart/related; boundary=b";

describe("the recipients of a sent message", () => {
  it("are read from base64url in JSON, of a send and of a draft", () => {
    const raw = Buffer.from(MESSAGE).toString("base64url");
    expect(recipientsIn(request(JSON.stringify({ threadId: "t", raw })))).toBe(3);
    expect(recipientsIn(request(JSON.stringify({ id: "d", message: { raw } })))).toBe(3);
    expect(recipientsIn(request(JSON.stringify({ raw: Buffer.from(MESSAGE).toString("base64") })))).toBe(3);
  });

  it("are read from the body of an upload and from the second part of one, whatever its type", () => {
    expect(recipientsIn(request(MESSAGE, "message/rfc822", true))).toBe(3);
    expect(recipientsIn(request(related("{}", MESSAGE), RELATED, true))).toBe(3);
    expect(recipientsIn(request(related("{}", MESSAGE, ""), RELATED, true))).toBe(3);
    const base64 = Buffer.from(MESSAGE).toString("base64").replaceAll(/.{20}/g, "$&\r\n");
    expect(recipientsIn(request(related("{}", base64, "Content-Transfer-Encoding: Base64\r\n"), RELATED, true))).toBe(3);
  });

  it("are read of a message that is larger than what is kept", () => {
    const long = MESSAGE + "x".repeat(4 * MAX_KEPT_BYTES);
    expect(recipientsIn(request(JSON.stringify({ raw: Buffer.from(long).toString("base64url") })))).toBe(3);
    expect(recipientsIn(request(long, "message/rfc822", true))).toBe(3);
    expect(recipientsIn(request(related("{}", long), RELATED, true))).toBe(3);
  });

  it("are read of a message with a long header section, up to its bound", () => {
    const head = (bytes: number): string => `X: ${"x".repeat(bytes)}\r\n${MESSAGE}`;
    for (const bytes of [11_900, 12_300, 60_000, 250_000]) {
      const raw = Buffer.from(head(bytes)).toString("base64url");
      expect(recipientsIn(request(JSON.stringify({ raw }))), String(bytes)).toBe(3);
      expect(recipientsIn(request(head(bytes), "message/rfc822", true)), String(bytes)).toBe(3);
    }
    expect(recipientsIn(request(JSON.stringify({ raw: Buffer.from(head(300_000)).toString("base64url") })))).toBeUndefined();
  });

  it("cannot be told without a message", () => {
    for (const body of ["", "{}", '{"id":"d"}', '{"message":{}}', "not JSON"]) expect(recipientsIn(request(body))).toBeUndefined();
    expect(recipientsIn(request("--b\r\n\r\n{}\r\n--b--", RELATED, true))).toBeUndefined();
    expect(recipientsIn(request("no parts", RELATED, true))).toBeUndefined();
  });
});

describe("the id of a draft", () => {
  it("stands in the JSON of the request", () => {
    expect(draftIdIn(request('{"id":"r-1"}'))).toBe("r-1");
    expect(draftIdIn(request('{"message":{"id":"m"},"id":"r-1"}'))).toBe("r-1");
    expect(draftIdIn(request(related('{"id":"r-1"}', MESSAGE), RELATED, true))).toBe("r-1");
    expect(draftIdIn(request('{"message":{"id":"m"}}'))).toBeUndefined();
    expect(draftIdIn(request(`{"id":"${"x".repeat(300)}"}`))).toBeUndefined();
    expect(draftIdIn(request(MESSAGE, "message/rfc822", true))).toBeUndefined();
  });
});
