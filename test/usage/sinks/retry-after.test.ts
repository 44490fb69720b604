import { describe, expect, it } from "vitest";
import { retryAfterMs } from "../../../src/usage/sinks/retry-after.ts";

describe("Retry-After", () => {
  const nowMs = Date.parse("2026-11-21T10:00:00Z");

  it.each([
    ["7", 7000],
    [" 0 ", 0],
    ["86400", 3_600_000],
    ["Sat, 21 Nov 2026 10:00:30 GMT", 30_000],
    ["Saturday, 21-Nov-26 10:00:30 GMT", 30_000],
    ["Sat Nov 21 10:00:30 2026", 30_000],
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
