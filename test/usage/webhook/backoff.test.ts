import { describe, expect, it } from "vitest";
import { backoffMs, retryAfterMs } from "../../../src/usage/webhook/backoff.ts";

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

describe("Retry-After", () => {
  const nowMs = Date.parse("2026-11-21T10:00:00Z");

  it.each([
    ["7", 7000],
    [" 0 ", 0],
    ["86400", 3_600_000],
    ["Sat, 21 Nov 2026 10:00:30 GMT", 30_000],
    ["Saturday, 21-Nov-26 10:00:30 GMT", 30_000],
    ["Sat Nov 21 10:00:30 2026 GMT", 30_000],
    ["Sat, 21 Nov 2026 09:00:00 GMT", 0],
    ["Sun, 22 Nov 2026 10:00:00 GMT", 3_600_000],
    ["-5", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("reads %j as %j", (value, expected) => {
    expect(retryAfterMs(value, nowMs)).toBe(expected);
  });
});
