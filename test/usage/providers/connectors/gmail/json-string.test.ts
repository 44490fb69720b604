import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { stringAt } from "../../../../../src/usage/providers/connectors/gmail/json-string.ts";

const RAW = [["raw"], ["message", "raw"]];

function find(document: string, maxChars = 1000): ReturnType<typeof stringAt> {
  return stringAt(Buffer.from(document), RAW, maxChars);
}

describe("a string in the beginning of a JSON document", () => {
  it.each([
    ['{"raw":"QUJD"}', "QUJD"],
    ['{ "threadId" : "t" ,\n "raw" : "QUJD" }', "QUJD"],
    ['{"message":{"threadId":"t","raw":"QUJD"},"id":"d"}', "QUJD"],
    ['{"a":{"raw":"no"},"b":["raw",{"raw":"no"}],"c":"\\"raw\\":","raw":"QUJD"}', "QUJD"],
    ['{"message":{"payload":{"raw":"no"}},"raw":"QUJD"}', "QUJD"],
    ['{"raw":1,"message":{"raw":"QUJD"}}', "QUJD"],
    ['{"raw":""}', ""],
    ['{"raw":"QU\\/D\\u003d\\n\\\\"}', "QU/D=\n\\"],
  ])("is found in %s", (document, text) => expect(find(document)).toEqual({ text, isWhole: true }));

  it.each(["", "{}", '{"raw":null}', '["raw","x"]', '"raw"', '{"payload":{"raw":"x"}}', '{"raw', '{"raw":', '{"raw":"\\q"}'])("is not found in %s", (document) =>
    expect(find(document)).toBeUndefined(),
  );

  it("is given as far as the document or the asked length goes", () => {
    const document = '{"threadId":"t","raw":"QUJDREVG"}';
    for (let end = document.indexOf("QUJ"); end < document.indexOf('"}'); end++) {
      expect(find(document.slice(0, end))).toEqual({ text: document.slice(document.indexOf("QUJ"), end), isWhole: false });
    }
    expect(find(document, 3)).toEqual({ text: "QUJ", isWhole: false });
    expect(find(document, 8)).toEqual({ text: "QUJDREVG", isWhole: true });
  });

  it("leaves out an escape that is cut", () => {
    for (const cut of ["\\", "\\u", "\\u003", "\\\\\\"]) expect(find(`{"raw":"QUJD${cut}`)).toMatchObject({ isWhole: false });
    expect(find('{"raw":"QU\\/D\\u00')).toEqual({ text: "QU/D", isWhole: false });
  });

  it("is what JSON.parse finds, and the beginning of it where the document is cut", () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    fc.assert(
      fc.property(value, fc.base64String(), value, fc.nat(), (before, raw, after, cut) => {
        const document = Buffer.from(JSON.stringify({ before, message: { labelIds: [before], raw }, after }));
        expect(stringAt(document, RAW, 1000)).toEqual({ text: raw, isWhole: true });
        const part = stringAt(document.subarray(0, cut % document.length), RAW, 1000);
        if (part !== undefined) expect(raw.startsWith(part.text)).toBe(true);
      }),
    );
  });

  it("takes any bytes", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."{}[]\":,\\raw "), maxLength: 80 }), (text) => void find(text)), { numRuns: 1000 });
  });
});
