import { describe, expect, it } from "vitest";

import { rateLimited } from "../../src/app/rate-limit.ts";

describe("a rate-limited call", () => {
  it("goes through once per interval", () => {
    let calls = 0;
    const call = rateLimited(3_600_000, () => void (calls += 1));
    for (let i = 0; i < 100; i += 1) call();
    expect(calls).toBe(1);
  });

  it("goes through again when the interval is over", () => {
    let calls = 0;
    const call = rateLimited(0, () => void (calls += 1));
    call();
    call();
    expect(calls).toBe(2);
  });
});
