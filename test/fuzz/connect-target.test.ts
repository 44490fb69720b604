/** Random CONNECT targets: what is read of one is what is written in it. */

import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { formatAuthority, namesTarget, parseAuthority } from "../../src/proxy/connect-target.ts";

const SEED = 20_261_122;
const RUNS = 5_000;

const odd = fc.stringMatching(/^[a-zA-Z0-9.:[\]%@/?#_ -]{0,40}$/);
const mixed = fc.oneof(
  odd,
  fc.string({ maxLength: 40 }),
  fc.tuple(fc.domain(), fc.integer({ min: -1, max: 70_000 })).map(([host, port]) => `${host}:${port}`),
  fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 70_000 })).map(([host, port]) => `[${host}]:${port}`),
  fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 70_000 })).map(([host, port]) => `${host}:${port}`),
);

describe("an authority", () => {
  it("is refused or read as a host and a port that are written in it", () => {
    fc.assert(
      fc.property(mixed, (text) => {
        const target = parseAuthority(text);
        if (target === undefined) return;
        expect(target.port).toBeGreaterThanOrEqual(1);
        expect(target.port).toBeLessThanOrEqual(65_535);
        expect(text.endsWith(`:${target.port}`) || Number(/(\d+)$/.exec(text)?.[1]) === target.port).toBe(true);
        expect(text.toLowerCase()).toContain(target.host);
        expect(isIP(target.host) === 6 || /^[a-z0-9._-]+$/.test(target.host)).toBe(true);
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });

  it("that was read is read again from what is made of it, and names itself", () => {
    fc.assert(
      fc.property(mixed, (text) => {
        const target = parseAuthority(text);
        if (target === undefined) return;
        expect(parseAuthority(formatAuthority(target))).toEqual(target);
        expect(namesTarget(formatAuthority(target), target)).toBe(true);
        expect(namesTarget(text, { ...target, host: `x${target.host.replaceAll(":", "")}` })).toBe(false);
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });
});
