import fc from "fast-check";
import { describe, expect, it } from "vitest";

import * as scalar from "../../src/config/scalar-values.ts";
import { type ValueKind, listOf } from "../../src/config/value-kind.ts";

function read<T>(kind: ValueKind<T>, text: string): T | "refused" {
  const parsed = kind.parse(text, { cwd: "/home/agent" });
  return parsed.isValid ? parsed.value : "refused";
}

describe("durations", () => {
  it.each([["250ms", 250], ["15s", 15_000], ["5m", 300_000], ["24h", 86_400_000], ["90d", 7_776_000_000], ["0s", 0]])("reads %s", (text, expected) => {
    expect(scalar.parseDuration(text)).toBe(expected);
  });

  it.each(["", "15", "s", "-1s", "1.5h", "1 h", "15S", "1w", "1e3s", "٣s", "15s\n15s"])("refuses %j", (text) => {
    expect(scalar.parseDuration(text)).toBeUndefined();
  });

  it("keeps to its bounds, both inclusive", () => {
    const kind = scalar.duration("1s", "1h");
    expect([read(kind, "1s"), read(kind, "1h"), read(kind, "999ms"), read(kind, "3601s")]).toEqual([1000, 3_600_000, "refused", "refused"]);
  });

  it("reads what it writes", () => {
    fc.assert(fc.property(fc.nat({ max: 10_000_000_000 }), (ms) => scalar.parseDuration(scalar.formatDuration(ms)) === ms));
  });
});

describe("sizes", () => {
  it.each([["512B", 512], ["64KiB", 65_536], ["10MB", 10_000_000], ["1GiB", 1_073_741_824], ["1gib", 1_073_741_824], ["2kb", 2000]])("reads %s", (text, expected) => {
    expect(scalar.parseSize(text)).toBe(expected);
  });

  it.each(["", "64", "64K", "64Ki", "-1B", "1.5MiB", "64 KiB", "999999999999999GiB"])("refuses %j", (text) => {
    expect(scalar.parseSize(text)).toBeUndefined();
  });

  it("reads what it writes", () => {
    fc.assert(fc.property(fc.nat(), (bytes) => scalar.parseSize(scalar.formatSize(bytes)) === bytes));
  });
});

describe("numbers, switches and words", () => {
  it("takes whole numbers within bounds only", () => {
    const kind = scalar.integer(1, 10);
    expect(["1", "10", "0", "11", "1.0", "+1", "0x1", "1e0", ""].map((text) => read(kind, text))).toEqual([1, 10, ...Array.from({ length: 7 }, () => "refused")]);
  });

  it("takes on, true, yes, 1 and their opposites in any case", () => {
    const kind = scalar.boolean({ on: "on", off: "off" });
    expect(["on", "TRUE", "Yes", "1"].map((text) => read(kind, text))).toEqual([true, true, true, true]);
    expect(["off", "false", "NO", "0"].map((text) => read(kind, text))).toEqual([false, false, false, false]);
    expect(["", "y", "enabled", "2"].map((text) => read(kind, text))).toEqual(["refused", "refused", "refused", "refused"]);
  });

  it("takes one of its words", () => {
    const kind = scalar.choice("block", "drop_newest");
    expect([read(kind, "BLOCK"), read(kind, "drop")]).toEqual(["block", "refused"]);
  });

  it("takes lines without control characters, and tokens without spaces", () => {
    const kind = scalar.line(5);
    expect([read(kind, "a b é"), read(kind, "abcdef"), read(kind, "a\nb")]).toEqual(["a b é", "refused", "refused"]);
    expect([read(scalar.token, "s3cret:/+"), read(scalar.token, "a b"), read(scalar.token, "é")]).toEqual(["s3cret:/+", "refused", "refused"]);
  });

  it("makes paths absolute", () => {
    expect([read(scalar.path, "data"), read(scalar.path, "/data"), read(scalar.path, "../x")]).toEqual(["/home/agent/data", "/data", "/home/x"]);
  });
});

describe("lists", () => {
  const kind = listOf(scalar.integer(0, 9));

  it("skips empty items and white space", () => {
    expect(read(kind, " 1, 2,,3 ,\n4")).toEqual([1, 2, 3, 4]);
  });

  it("refuses a list of nothing", () => {
    expect(read(kind, ",,")).toBe("refused");
  });

  it("says which item is wrong, and keeps secret items to itself", () => {
    const open = kind.parse("1,x,3", { cwd: "/" });
    expect(open.isValid ? "" : open.problem).toContain('wrong is item 2 ("x")');
    const secret = listOf(scalar.integer(0, 9), { hasSecretItems: true }).parse("1,x,3", { cwd: "/" });
    expect(secret.isValid ? "" : secret.problem).toMatch(/wrong is item 2$/);
  });
});
