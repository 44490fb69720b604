import { describe, expect, it } from "vitest";

import * as network from "../../src/config/network-values.ts";
import type { ValueKind } from "../../src/config/value-kind.ts";

function read<T>(kind: ValueKind<T>, text: string): T | "refused" {
  const parsed = kind.parse(text, { cwd: "/" });
  return parsed.isValid ? parsed.value : "refused";
}

function expectRoundTrip<T>(kind: ValueKind<T>, text: string): void {
  const parsed = kind.parse(text, { cwd: "/" });
  expect(parsed.isValid && kind.format(parsed.value)).toBe(text);
}

describe("hosts", () => {
  it.each([
    ["API.OpenAI.com.", "api.openai.com"], ["127.0.0.1", "127.0.0.1"], ["[::1]", "::1"], ["2001:DB8::1", "2001:db8::1"],
    ["bücher.example", "xn--bcher-kva.example"], ["my_host", "my_host"],
  ])("reads %s", (text, expected) => {
    expect(network.readHost(text)).toBe(expected);
  });

  it.each(["", "a b", "a/b", "-a", "a..b", "[127.0.0.1]", "[::1", "user@host", "x".repeat(64)])("refuses %j", (text) => {
    expect(network.readHost(text)).toBeUndefined();
  });

  it("knows loopback", () => {
    expect(["localhost", "127.0.0.1", "127.9.9.9", "::1"].every(network.isLoopbackHost)).toBe(true);
    expect(["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.com", "localhost.example.com"].some(network.isLoopbackHost)).toBe(false);
  });
});

describe("rules over hosts", () => {
  it.each([
    ["llm.internal", { host: "llm.internal", port: undefined, meter: undefined }],
    ["*.Gateway.example", { host: "*.gateway.example", port: undefined, meter: undefined }],
    ["llm.internal:8443=openai", { host: "llm.internal", port: 8443, meter: "openai" }],
    ["10.0.0.7 = anthropic", { host: "10.0.0.7", port: undefined, meter: "anthropic" }],
    ["[::1]:8000=x", { host: "::1", port: 8000, meter: "x" }],
    ["::1", { host: "::1", port: undefined, meter: undefined }],
  ])("reads %s", (text, expected) => {
    expect(read(network.interceptRule, text)).toEqual(expected);
  });

  it.each(["*", "*.", "a.*.b", "*.10.0.0.1", "host:0", "host:65536", "host:", "host=", "host=Open AI", "https://host", "host/path", "=openai"])("refuses %j", (text) => {
    expect(read(network.interceptRule, text)).toBe("refused");
  });

  it("takes no meter where none belongs", () => {
    expect(read(network.hostRule, "a.example=openai")).toBe("refused");
  });

  it("writes them as they are read", () => {
    for (const text of ["llm.internal", "*.a.example:8443=openai", "[::1]:80=x"]) expectRoundTrip(network.interceptRule, text);
  });
});

describe("connect-to rules", () => {
  it.each([
    ["api.openai.com:443:127.0.0.1:8443", { host: "api.openai.com", port: 443, toHost: "127.0.0.1", toPort: 8443 }],
    ["::127.0.0.1:8443", { host: undefined, port: undefined, toHost: "127.0.0.1", toPort: 8443 }],
    ["API.example:::", { host: "api.example", port: undefined, toHost: undefined, toPort: undefined }],
    ["[2001:DB8::1]:443:[::1]:8443", { host: "2001:db8::1", port: 443, toHost: "::1", toPort: 8443 }],
    [":443::9443", { host: undefined, port: 443, toHost: undefined, toPort: 9443 }],
  ])("reads %s", (text, expected) => {
    expect(read(network.connectToRule, text)).toEqual(expected);
  });

  it.each(["", "a:1:b", "a:1:b:2:c", "a:x:b:2", "a:0:b:2", "a:1:b:99999", "2001:db8::1:443:b:1", "*.a:1:b:2", "[a]:1:b:2"])("refuses %j", (text) => {
    expect(read(network.connectToRule, text)).toBe("refused");
  });

  it("writes them as they are read", () => {
    for (const text of ["a.example:443:[::1]:8443", "::b.example:", ":443::9443"]) expectRoundTrip(network.connectToRule, text);
  });
});

describe("address blocks", () => {
  it.each([["10.0.0.0/8", "10.0.0.0/8"], ["FE80::/10", "fe80::/10"], ["192.0.2.1", "192.0.2.1/32"], ["::1", "::1/128"], ["0.0.0.0/0", "0.0.0.0/0"]])("reads %s", (text, expected) => {
    expect(read(network.addressBlock, text)).toBe(expected);
  });

  it.each(["10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/8/8", "host", "fe80::1%eth0/64", "10.0.0.0/-1"])("refuses %j", (text) => {
    expect(read(network.addressBlock, text)).toBe("refused");
  });
});

describe("URLs", () => {
  it("takes http and https, and drops the fragment", () => {
    expect(read(network.webhookUrl, "https://billing.example/events?x=1#top")).toBe("https://billing.example/events?x=1");
    expect(read(network.webhookUrl, "http://127.0.0.1:9999")).toBe("http://127.0.0.1:9999/");
  });

  it.each(["billing.example", "ftp://billing.example", "https://", "/events"])("refuses %j", (text) => {
    expect(read(network.webhookUrl, text)).toBe("refused");
  });

  it("says where credentials belong", () => {
    const parsed = network.webhookUrl.parse("https://u:p@billing.example/", { cwd: "/" });
    expect(parsed.isValid ? "" : parsed.problem).toContain("TALLYMAN_WEBHOOK_HEADERS");
  });

  it.each([
    ["http://proxy.corp:3128", { host: "proxy.corp", port: 3128, credentials: undefined }],
    ["http://proxy.corp:80/", { host: "proxy.corp", port: 80, credentials: undefined }],
    ["http://ada:p%40ss@[2001:db8::1]:3128", { host: "2001:db8::1", port: 3128, credentials: { user: "ada", password: "p@ss" } }],
  ])("reads the upstream proxy %s", (text, expected) => {
    expect(read(network.upstreamProxy, text)).toEqual(expected);
  });

  it.each(["proxy.corp:3128", "https://proxy.corp:3128", "http://proxy.corp", "http://proxy.corp:3128/path", "http://a:%zz@proxy.corp:3128", "socks5://proxy.corp:1080"])(
    "refuses the upstream proxy %j",
    (text) => {
      expect(read(network.upstreamProxy, text)).toBe("refused");
    },
  );
});
