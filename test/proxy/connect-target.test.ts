import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { formatAuthority, namesTarget, normalizeHost, parseAuthority } from "../../src/proxy/connect-target.ts";

describe("parseAuthority", () => {
  it.each([
    ["api.example.com:443", { host: "api.example.com", port: 443 }],
    ["API.Example.COM:443", { host: "api.example.com", port: 443 }],
    ["api.example.com.:443", { host: "api.example.com", port: 443 }],
    ["localhost:1", { host: "localhost", port: 1 }],
    ["localhost:65535", { host: "localhost", port: 65_535 }],
    ["127.0.0.1:8443", { host: "127.0.0.1", port: 8443 }],
    ["[::1]:443", { host: "::1", port: 443 }],
    ["[2001:DB8::A]:443", { host: "2001:db8::a", port: 443 }],
    ["[::ffff:127.0.0.1]:443", { host: "::ffff:127.0.0.1", port: 443 }],
    ["_service.example.com:443", { host: "_service.example.com", port: 443 }],
    ["constructor:443", { host: "constructor", port: 443 }],
    ["__proto__:443", { host: "__proto__", port: 443 }],
    [`${"a".repeat(63)}.example.com:443`, { host: `${"a".repeat(63)}.example.com`, port: 443 }],
    ["host:00443", { host: "host", port: 443 }],
  ])("reads %s", (text, target) => {
    expect(parseAuthority(text)).toEqual(target);
  });

  it.each([
    "", ":", ":443", "host", "host:", "host:0", "host:65536", "host:99999", "host:100000", "host:-1", "host:+443", "host:4e2", "host:0x1bb", "host: 443",
    "ho st:443", " host:443", "host:443 ", "host:443/", "host/x:443", "https://host:443", "user@host:443", "user:secret@host:443", "host:443:443", "a..b:443",
    ".host:443", "-host:443", "host-:443", "host\u0000:443", "hóst:443", "хост:443", "１２７.0.0.1:443", "host:４４３", "[::1]", "[::1]:", "[::1]:0", "[::1]:65536", "::1:443",
    "[::1:443", "::1]:443", "[]:443", "[host]:443", "[127.0.0.1]:443", "[fe80::1%25eth0]:443", "[:::1]:443", "host?:443", "host#:443", "host%41:443",
    "*.example.com:443", "host,other:443", "host\r\nX: y:443", `${"a".repeat(64)}.example.com:443`, `${"a.".repeat(127)}a:443`, "..:443",
  ])("refuses %j", (text) => {
    expect(parseAuthority(text)).toBeUndefined();
  });

  it("takes a default port where one is given, and only there", () => {
    expect(parseAuthority("host", 80)).toEqual({ host: "host", port: 80 });
    expect(parseAuthority("[::1]", 80)).toEqual({ host: "::1", port: 80 });
    expect(parseAuthority("host:8080", 80)).toEqual({ host: "host", port: 8080 });
    expect(parseAuthority("host:", 80)).toBeUndefined();
    expect(parseAuthority("host:0", 80)).toBeUndefined();
  });

  it("gives a target that writes back to what it reads as, or nothing, for any text", () => {
    const piece = fc.constantFrom("a", "B", "0", "1", ".", "-", "_", ":", "[", "]", "@", "/", " ", "%", "é", "443", "::1", "localhost");
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""))), (text) => {
        const target = parseAuthority(text, 443);
        if (target === undefined) return;
        expect(target.port).toBeGreaterThanOrEqual(1);
        expect(target.port).toBeLessThanOrEqual(65_535);
        expect(target.host).toMatch(/^[0-9a-z_.:-]+$/);
        expect(parseAuthority(formatAuthority(target))).toEqual(target);
      }),
      { numRuns: 2000 },
    );
  });

  // Backtracking over 60,000 characters would pass the time limit of the test by far.
  it("does not backtrack on long input", () => {
    for (const text of ["a".repeat(60_000), "a.".repeat(30_000), "[".repeat(60_000), "a-".repeat(30_000)]) expect(parseAuthority(`${text}:443`)).toBeUndefined();
  });
});

describe("normalizeHost", () => {
  it("takes one trailing dot away and no more", () => {
    expect(normalizeHost("Host.")).toBe("host");
    expect(normalizeHost("host..")).toBeUndefined();
    expect(normalizeHost(".")).toBeUndefined();
  });

  it("takes a name of 253 characters and refuses one of 254", () => {
    const label = "a".repeat(49);
    const name = `${label}.${label}.${label}.${label}.${label}`;
    expect(normalizeHost(`${name}.bcd`)).toHaveLength(253);
    expect(normalizeHost(`${name}.bcde`)).toBeUndefined();
  });
});

describe("formatAuthority", () => {
  it("puts IPv6 in brackets", () => {
    expect(formatAuthority({ host: "::1", port: 443 })).toBe("[::1]:443");
    expect(formatAuthority({ host: "a.example", port: 80 })).toBe("a.example:80");
  });
});

describe("namesTarget", () => {
  const target = { host: "api.example.com", port: 8443 };

  it.each(["api.example.com:8443", "API.EXAMPLE.COM:8443", "api.example.com", "api.example.com.", " api.example.com:8443 "])("says yes to %j", (host) => {
    expect(namesTarget(host, target)).toBe(true);
  });

  it.each(["", "api.example.com:443", "example.com:8443", "xapi.example.com:8443", "api.example.com.evil.net", "api.example.com@evil.net", "127.0.0.1:8443"])("says no to %j", (host) => {
    expect(namesTarget(host, target)).toBe(false);
  });

  it("knows an IPv6 literal in brackets", () => {
    expect(namesTarget("[::1]:8443", { host: "::1", port: 8443 })).toBe(true);
    expect(namesTarget("[::2]:8443", { host: "::1", port: 8443 })).toBe(false);
  });
});
