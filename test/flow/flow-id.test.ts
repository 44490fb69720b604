import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { eventId, newFlowId } from "../../src/flow/flow-id.ts";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("newFlowId", () => {
  it("is a UUIDv7 that begins with the moment, for every moment", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), (moment) => {
        const id = newFlowId(moment);
        expect(id).toMatch(UUID_V7);
        expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(moment);
      }),
    );
  });

  it("takes fractions and moments before the epoch", () => {
    expect(newFlowId(1.9).startsWith("00000000-0001-7")).toBe(true);
    expect(newFlowId(-5).startsWith("00000000-0000-7")).toBe(true);
  });

  it("sorts by time", () => {
    const ids = [5, 1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000].map(newFlowId);
    expect(ids.toSorted()).toEqual(ids);
  });

  it("is never the same twice, across refills of its pool of random bytes", () => {
    expect(new Set(Array.from({ length: 5000 }, () => newFlowId(1))).size).toBe(5000);
  });

  it("uses all of its 74 random bits", () => {
    let ones = 0n;
    let zeros = 0n;
    for (let count = 0; count < 500; count += 1) {
      const bits = BigInt(`0x${newFlowId(0).replaceAll("-", "")}`);
      ones |= bits;
      zeros |= ~bits;
    }
    const varying = (ones & zeros & ((1n << 128n) - 1n)).toString(2);
    expect(varying.replaceAll("0", "")).toHaveLength(74);
  });
});

describe("eventId", () => {
  it("is the flow id, with a suffix from the second event on", () => {
    expect([0, 1, 12].map((sequence) => eventId("f", sequence))).toEqual(["f", "f-1", "f-12"]);
  });
});
