import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decimalOfNumber, divideHalfUp, formatUsd, parseDecimal, parseUsd } from "../../../src/usage/pricing/money.ts";

describe("money", () => {
  it("writes what it reads, for every amount", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 24n }), (pico) => {
        expect(parseUsd(formatUsd(pico))).toBe(pico);
      }),
    );
  });

  it.each([
    [0n, "0"],
    [1n, "0.000000000001"],
    [54_399_000_000n, "0.054399"],
    [3_000_000_000_000n, "3"],
    [12_500_000_000_000n, "12.5"],
  ])("writes %d pico-USD as %s", (pico, text) => {
    expect(formatUsd(pico)).toBe(text);
  });

  it("reads exponents and float noise as the decimal they stand for", () => {
    expect(parseUsd("4.5e-7")).toBe(450_000n);
    expect(parseUsd("1.2E+2")).toBe(120_000_000_000_000n);
    expect(parseUsd("0.0045000000000000005")).toBe(4_500_000_000n);
    expect(decimalOfNumber(0.1 + 0.2, 12)).toBe(300_000_000_000n);
    expect(decimalOfNumber(1e-9, 12)).toBe(1000n);
  });

  it("rounds half up beyond the last digit", () => {
    expect(parseDecimal("0.15", 1)).toBe(2n);
    expect(parseDecimal("0.149", 1)).toBe(1n);
    expect(divideHalfUp(5n, 2n)).toBe(3n);
    expect(divideHalfUp(4n, 3n)).toBe(1n);
  });

  it.each(["", "-1", "+1", " 1", "1 ", ".5", "1.", "1,5", "NaN", "Infinity", "0x10", "1e99", "1e999999999", "9".repeat(65)])(
    "refuses %j",
    (text) => {
      expect(parseUsd(text)).toBeUndefined();
    },
  );

  it("refuses numbers that are no amount", () => {
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) expect(decimalOfNumber(value, 12)).toBeUndefined();
  });
});
