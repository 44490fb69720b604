import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";

import { createAddressPolicy, type AddressPolicy } from "../../src/proxy/address-policy.ts";
import { ProxyError } from "../../src/proxy/proxy-error.ts";

const DEFAULTS = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "127.0.0.0/8", "::1/128", "0.0.0.0/8"];

function policy(denied: readonly string[] = DEFAULTS, ownPorts: readonly number[] = [8080]): AddressPolicy {
  return createAddressPolicy({ denied, ownPorts: () => new Set(ownPorts) });
}

function isDenied(rules: AddressPolicy, address: string, port = 443, isExempt = false): boolean {
  try {
    rules.check(address, port, isExempt);
    return false;
  } catch (error) {
    if (error instanceof ProxyError && error.code === "address_denied" && error.status === 403) return true;
    throw error;
  }
}

function lookup(rules: AddressPolicy, name: string, options: { port?: number; isExempt?: boolean; all?: boolean } = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    rules.lookupFor(options.port ?? 443, options.isExempt ?? false)(name, { all: options.all ?? false }, (error, address, family) => {
      if (error !== null) reject(error);
      else resolve(options.all === true ? address : { address, family });
    });
  });
}

describe("literal addresses", () => {
  it.each([
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.169.254", "::1", "0:0:0:0:0:0:0:1", "fe80::1", "FE80::abcd", "fe80::1%lo", "fd00:ec2::254",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::FFFF:169.254.169.254", "0:0:0:0:0:ffff:a9fe:a9fe", "::ffff:0.0.0.0", "::", "0:0:0:0:0:0:0:0",
  ])("denies %s by default", (address) => {
    expect(isDenied(policy(), address)).toBe(true);
  });

  it.each(["93.184.216.34", "10.0.0.1", "192.168.1.1", "128.0.0.1", "169.253.255.255", "1.0.0.0", "2606:2800::1", "fd00:ec2::253", "fec0::1", "::2", "::ffff:93.184.216.34"])("lets %s pass", (address) => {
    expect(isDenied(policy(), address)).toBe(false);
  });

  it("denies the unspecified address where loopback is denied, and where it is denied itself", () => {
    expect(isDenied(policy(["127.0.0.0/8"]), "0.0.0.0")).toBe(true);
    expect(isDenied(policy(["::1/128"]), "::")).toBe(true);
    expect(isDenied(policy(["::/128"]), "::")).toBe(true);
    expect(isDenied(policy(["10.0.0.0/8"]), "0.0.0.0")).toBe(false);
    expect(isDenied(policy(["10.0.0.0/8"]), "::")).toBe(false);
  });

  it("takes a block without a prefix for one address", () => {
    const rules = policy(["10.1.2.3", "2001:db8::1"]);
    expect(isDenied(rules, "10.1.2.3")).toBe(true);
    expect(isDenied(rules, "10.1.2.4")).toBe(false);
    expect(isDenied(rules, "2001:db8::1")).toBe(true);
    expect(isDenied(rules, "2001:db8::2")).toBe(false);
  });

  it("lets an exempt target pass", () => {
    expect(isDenied(policy(), "127.0.0.1", 443, true)).toBe(false);
  });
});

describe("the proxy's own ports", () => {
  const own = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []).map((entry) => entry.address);
  const mapped = own.filter((address) => !address.includes(":")).map((address) => `::ffff:${address.split(".").map(Number).reduce((text, part, index) => `${text}${index === 2 ? ":" : ""}${part.toString(16).padStart(2, "0")}`, "")}`);

  it.each(["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", ...own, ...mapped])("are never dialled on %s, exempt or not", (address) => {
    const rules = policy([]);
    expect(isDenied(rules, address, 8080)).toBe(true);
    expect(isDenied(rules, address, 8080, true)).toBe(true);
    expect(isDenied(rules, address, 8081)).toBe(false);
  });

  it("do not matter on another machine", () => {
    expect(isDenied(policy([]), "93.184.216.34", 8080)).toBe(false);
  });

  it("are asked for each time, as the admin server's is known only later", () => {
    const ports = new Set<number>();
    const rules = createAddressPolicy({ denied: [], ownPorts: () => ports });
    expect(isDenied(rules, "127.0.0.1", 9090)).toBe(false);
    ports.add(9090);
    expect(isDenied(rules, "127.0.0.1", 9090)).toBe(true);
  });
});

describe("names", () => {
  it("are denied when every address they have is", async () => {
    await expect(lookup(policy(), "localhost")).rejects.toMatchObject({ code: "address_denied" });
    await expect(lookup(policy(), "localhost", { all: true })).rejects.toMatchObject({ code: "address_denied" });
  });

  it("are judged by what they resolve to, whatever their spelling", async () => {
    // Forms of 127.0.0.1 that are no IP literals to Node, and addresses to the resolver.
    for (const name of ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"]) {
      await expect(lookup(policy(), name)).rejects.toMatchObject({ code: expect.stringMatching(/^(address_denied|upstream_dns)$/) });
    }
  });

  it("keep the addresses that are allowed", async () => {
    expect(await lookup(policy([]), "127.0.0.1")).toEqual({ address: "127.0.0.1", family: 4 });
    expect(await lookup(policy([]), "127.0.0.1", { all: true })).toEqual([{ address: "127.0.0.1", family: 4 }]);
    const all = await lookup(policy(["::1/128"]), "localhost", { all: true });
    expect(all).toEqual([{ address: "127.0.0.1", family: 4 }]);
  });

  it("pass when they are exempt, but never at an own port", async () => {
    expect(await lookup(policy(), "localhost", { isExempt: true })).toMatchObject({ address: expect.stringMatching(/^(127\.0\.0\.1|::1)$/) });
    await expect(lookup(policy(), "localhost", { isExempt: true, port: 8080 })).rejects.toMatchObject({ code: "address_denied" });
  });

  it("that do not resolve are upstream_dns", async () => {
    await expect(lookup(policy(), "no-such-name.invalid")).rejects.toMatchObject({ code: "upstream_dns", status: 502 });
  });
});
