import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { distance, nearest } from "../../src/config/nearest.ts";

describe("distance", () => {
  it.each([["", "", 0], ["abc", "abc", 0], ["abc", "", 3], ["port", "prot", 1], ["port", "ports", 1], ["port", "sort", 1], ["kitten", "sitting", 3], ["ca", "abc", 3]])(
    "between %j and %j is %d",
    (from, to, expected) => {
      expect(distance(from, to)).toBe(expected);
    },
  );

  it("is the same both ways, zero only for equals, and no more than the longer length", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const edits = distance(a, b);
        return edits === distance(b, a) && (edits === 0) === (a === b) && edits <= Math.max(a.length, b.length);
      }),
    );
  });
});

describe("nearest", () => {
  it("takes the closest, the first of equals, whatever the case", () => {
    expect(nearest("SEVRE", ["run", "serve", "server"])).toBe("serve");
    expect(nearest("x", ["aa", "bb"])).toBe("aa");
  });

  it("finds nothing among nothing", () => {
    expect(nearest("x", [])).toBeUndefined();
  });
});
