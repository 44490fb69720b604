import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { costMember, decimalText, tickCost, totalCostMember } from "../../../../src/usage/providers/protocols/stated-cost.ts";

describe("stated costs", () => {
  it.each([
    [0.00014, "0.00014"],
    [1e-7, "0.0000001"],
    [1.25e-9, "0.00000000125"],
    [0, "0"],
    [12, "12"],
    [1e21, "1000000000000000000000"],
    [0.1 + 0.2, "0.30000000000000004"],
    ["0.001230", "0.001230"],
  ])("write %j as the decimal text %s", (value, text) => {
    expect(decimalText(value)).toBe(text);
  });

  it.each([[null], [undefined], [-1], [Number.NaN], ["1e-7"], ["abc"], [{}]])("take %j for no amount", (value) => {
    expect(decimalText(value)).toBeUndefined();
  });

  it("never have an exponent and keep the number", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), (amount) => {
        const text = decimalText(amount) ?? "";
        expect(text).toMatch(/^\d+(?:\.\d+)?$/);
        expect(Number(text)).toBe(amount);
      }),
    );
  });

  it("convert ticks exactly: 10^10 of them are one dollar", () => {
    expect(tickCost({ cost_in_usd_ticks: 1 })).toEqual({ amount: "0.0000000001", currency: "USD" });
    expect(tickCost({ cost_in_usd_ticks: 37_756_000 })).toEqual({ amount: "0.0037756", currency: "USD" });
    expect(tickCost({ cost_in_usd_ticks: 123_456_789_012 })).toEqual({ amount: "12.3456789012", currency: "USD" });
    expect(tickCost({ cost_in_usd_ticks: 0 })).toEqual({ amount: "0", currency: "USD" });
    expect(tickCost({})).toBeUndefined();
  });

  it("are read from where each server puts them", () => {
    expect(costMember({ cost: 0.5 })).toEqual({ amount: "0.5", currency: "USD" });
    expect(costMember({ cost: null })).toBeUndefined();
    expect(totalCostMember({ cost: { total_cost: 0.25, currency: "EUR" } })).toEqual({ amount: "0.25", currency: "EUR" });
    expect(totalCostMember({ cost: 0.25 })).toBeUndefined();
  });
});
