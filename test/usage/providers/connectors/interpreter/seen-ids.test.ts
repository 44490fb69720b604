import { describe, expect, it } from "vitest";

import { createSeenIds } from "../../../../../src/usage/providers/connectors/interpreter/seen-ids.ts";

const DAY = 86_400_000;

describe("ids that were seen", () => {
  it("are new once for each account, kind and UTC day", () => {
    let nowMs = 20_000 * DAY;
    const seen = createSeenIds({ now: () => nowMs, maxIds: 1000 });
    expect([seen.isNew("a", "posts", "1"), seen.isNew("a", "posts", "1")]).toEqual([true, false]);
    expect([seen.isNew("b", "posts", "1"), seen.isNew("a", "users", "1"), seen.isNew("a", "posts", "11")]).toEqual([true, true, true]);
    nowMs += DAY - 1;
    expect(seen.isNew("a", "posts", "1")).toBe(false);
    nowMs += 1;
    expect(seen.isNew("a", "posts", "1")).toBe(true);
  });

  it("are all told apart up to the bound, and none beyond it", () => {
    const seen = createSeenIds({ now: () => 0, maxIds: 20_000 });
    for (let id = 0; id < 20_000; id++) expect(seen.isNew("a", "posts", String(1_445_880_548_472_328_192n + BigInt(id)))).toBe(true);
    for (let id = 0; id < 20_000; id++) expect(seen.isNew("a", "posts", String(1_445_880_548_472_328_192n + BigInt(id)))).toBe(false);
    expect(seen.isSaturated).toBe(true);
    expect([seen.isNew("a", "posts", "x"), seen.isNew("a", "posts", "x")]).toEqual([true, true]);
    expect(seen.isNew("a", "posts", "1445880548472328192")).toBe(false);
  });

  it("take their memory with the first one", () => {
    const seen = createSeenIds({ now: () => 0 });
    expect(seen.isSaturated).toBe(false);
    expect(seen.isNew("", "", "")).toBe(true);
    expect(seen.isNew("", "", "")).toBe(false);
  });
});
