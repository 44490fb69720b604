import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { forEachJoined } from "../../src/usage/joined-run.ts";

describe("pieces in a row", () => {
  it("give all their bytes in order, in fewer pieces", () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 4000, max: 70_000 })), { maxLength: 300 });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const run = lengths.map((length, i) => new Uint8Array(length).fill(i % 251));
        const given: Uint8Array[] = [];
        forEachJoined(run, (bytes) => void given.push(Uint8Array.from(bytes)));
        expect(given.length).toBeLessThanOrEqual(run.length);
        expect(Buffer.concat(given).equals(Buffer.concat(run))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it("are joined when they are small, and lent uncopied when they are large or alone", () => {
    const given: Uint8Array[] = [];
    const small = [Buffer.from("a"), Buffer.from("b")];
    const large = Buffer.alloc(10_000);
    forEachJoined([...small, large], (bytes) => void given.push(bytes));
    expect(given.map(({ length }) => length)).toEqual([2, 10_000]);
    expect(given[1]).toBe(large);
    forEachJoined(small.slice(0, 1), (bytes) => expect(bytes).toBe(small[0]));
  });

  it("end where the reader throws, and leave nothing for the next", () => {
    const fail = (): void => {
      throw new Error("no");
    };
    expect(() => forEachJoined([Buffer.from("a"), Buffer.from("b")], fail)).toThrow("no");
    forEachJoined([Buffer.from("c"), Buffer.from("d")], (bytes) => expect(Buffer.from(bytes).toString()).toBe("cd"));
  });
});
