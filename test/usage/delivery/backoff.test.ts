import { describe, expect, it } from "vitest";
import { backoffMs } from "../../../src/usage/delivery/backoff.ts";

describe("backoff", () => {
  it("doubles its ceiling from one second to sixty", () => {
    const almostOne = (): number => 0.999_999_9;
    expect([1, 2, 3, 6, 7, 1000].map((failures) => Math.ceil(backoffMs(failures, almostOne) / 1000))).toEqual([1, 2, 4, 32, 60, 60]);
  });

  it("jitters from nothing to the ceiling", () => {
    expect(backoffMs(5, () => 0)).toBe(0);
    expect(backoffMs(5, () => 0.5)).toBe(8000);
  });
});
