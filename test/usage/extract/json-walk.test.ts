import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createJsonWalk } from "../../../src/usage/extract/json-walk.ts";
import type { JsonVisitor } from "../../../src/usage/extract/json-walk.ts";

type Told = { readonly told: unknown; readonly isWhole: boolean };

/** Builds the document again out of what the walk tells. */
function rebuild(text: string, cuts: readonly number[] = []): Told {
  const stack: { value: Record<string, unknown> | unknown[]; key: string }[] = [];
  let root: unknown;
  const place = (value: unknown): void => {
    const top = stack.at(-1);
    if (top === undefined) root = value;
    else if (Array.isArray(top.value)) top.value.push(value);
    else Object.defineProperty(top.value, top.key, { value, enumerable: true, configurable: true, writable: true });
  };
  const visitor: JsonVisitor = {
    wantsScalar: true,
    enter(isObject) {
      const value = isObject ? {} : [];
      place(value);
      stack.push({ value, key: "" });
      return true;
    },
    leave: () => void stack.pop(),
    keyBytes(_bytes, _from, _to, keyText) {
      stack.at(-1)!.key = keyText();
    },
    scalar: place,
  };
  const walk = createJsonWalk(visitor);
  const bytes = Buffer.from(text);
  let from = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
    walk.push(bytes.subarray(from, Math.max(from, cut)));
    from = Math.max(from, cut);
  }
  return { isWhole: walk.end(), told: root };
}

describe("the walk over a document", () => {
  it("tells what JSON.parse reads, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.array(fc.nat(200), { maxLength: 6 }), (text, cuts) => {
        expect(rebuild(text, cuts)).toEqual({ isWhole: true, told: JSON.parse(text) as unknown });
      }),
    );
  });

  it("reads escapes, white space and a byte order mark byte by byte", () => {
    const text = '\uFEFF { "a\\"b\\u00e9" : [ 1 , -2.5e3 , "x\\\\" , true , null ] , "" : { } } ';
    const cuts = Array.from({ length: Buffer.byteLength(text) }, (_, at) => at);
    expect(rebuild(text, cuts)).toEqual({ isWhole: true, told: { 'a"bé': [1, -2500, "x\\", true, null], "": {} } });
  });

  it("is not whole when bytes are missing, left over or wrong", () => {
    for (const text of ["", "{", '{"a":1', "[1,]", '{"a" 1}', "{} {}", "tru", '{"a":tru}', "[1 2]", "{1:2}", '"\\x"', "<html>"]) {
      expect(rebuild(text).isWhole, text).toBe(false);
    }
  });

  it("never throws and never calls damaged bytes other than JSON.parse does, where all is entered", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), fc.nat(), fc.constantFrom("{", "}", "[", "]", '"', ",", ":", "\\", "1", " "), (text, at, by) => {
        const damaged = text.slice(0, at % (text.length + 1)) + by + text.slice((at % (text.length + 1)) + 1);
        expect(rebuild(damaged).isWhole, damaged).toBe(isJson(damaged));
      }),
      { numRuns: 400 },
    );
  });

  it("steps over what is not entered, and tells a string that is too long as that", () => {
    const told: unknown[] = [];
    const walk = createJsonWalk({
      wantsScalar: true,
      enter: (isObject) => isObject,
      leave: () => void told.push("leave"),
      keyBytes: (bytes, from, to) => void told.push(Buffer.from(bytes).toString("utf8", from, to)),
      scalar: (value) => void told.push(value),
    });
    walk.push(Buffer.from(`{"list":[{"a":"]}"},[[1,2,3]]],"long":"${"y".repeat(2000)}","short":"z"}`));
    expect(walk.end()).toBe(true);
    expect(told).toEqual(["list", "long", undefined, "short", "z", "leave"]);
  });

  it("lets what the visitor throws out, and is broken from there", () => {
    const walk = createJsonWalk({ wantsScalar: false, enter: () => true, leave: () => undefined, keyBytes: () => undefined, scalar: () => expect.fail("told") });
    expect(() => walk.push(Buffer.from("[1]"))).toThrow("told");
    walk.push(Buffer.from("[1]"));
    expect(walk.end()).toBe(false);
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
