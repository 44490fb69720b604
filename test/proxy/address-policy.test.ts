import fc from "fast-check";
import type { LookupAddress } from "node:dns";
import { BlockList } from "node:net";
import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";

import { createAddressPolicy, type AddressPolicy } from "../../src/proxy/address-policy.ts";
import { createNameResolver } from "../../src/proxy/name-resolution.ts";
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

/** The addresses of a name, by the system's resolver, that may be dialled. */
async function allowed(rules: AddressPolicy, name: string, options: { port?: number; isExempt?: boolean } = {}): Promise<string[]> {
  const found = await new Promise<readonly LookupAddress[]>((resolve, reject) => {
    createNameResolver().resolve(name, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });
  return rules.allowed(found, options.port ?? 443, options.isExempt ?? false).map(({ address }) => address);
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
    await expect(allowed(policy(), "localhost")).rejects.toMatchObject({ code: "address_denied" });
  });

  it("are judged by what they resolve to, whatever their spelling", async () => {
    // Forms of 127.0.0.1 that are no IP literals to Node, and addresses to the resolver.
    for (const name of ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"]) {
      await expect(allowed(policy(), name)).rejects.toMatchObject({ code: expect.stringMatching(/^(address_denied|ENOTFOUND)$/) });
    }
  });

  it("keep the addresses that are allowed, in their order", () => {
    const addresses = ["::1", "93.184.216.34", "64:ff9b::7f00:1", "2606:2800::1", "127.0.0.1", "1.1.1.1"].map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    expect(policy().allowed(addresses, 443, false)).toEqual([addresses[1], addresses[3], addresses[5]]);
    expect(policy().allowed(addresses, 443, true)).toEqual(addresses);
    expect(policy().allowed(addresses, 8080, true)).toEqual([addresses[1], addresses[3], addresses[5]]);
  });

  it("pass when they are exempt, but never at an own port", async () => {
    expect(await allowed(policy(), "localhost", { isExempt: true })).toContain("127.0.0.1");
    await expect(allowed(policy(), "localhost", { isExempt: true, port: 8080 })).rejects.toMatchObject({ code: "address_denied" });
  });
});

describe("IPv4 addresses inside of IPv6", () => {
  it.each([
    "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:FF9B:0:0:0:0:a9fe:a9fe", "0064:ff9b::169.254.169.254", "64:ff9b::",
    "2002:7f00:1::", "2002:7f00:0001::1", "2002:a9fe:a9fe:1:2:3:4:5", "2002:7fff:ffff::127.0.0.1", "2002::",
  ])("are denied with the block they belong to: %s", (address) => {
    expect(isDenied(policy(), address)).toBe(true);
    expect(isDenied(policy(), address, 443, true)).toBe(false);
  });

  it.each(["64:ff9b::1.1.1.1", "64:ff9b:1::7f00:1", "64:ff9b::1:7f00:1", "2002:101:101::", "2002:101:101::7f00:1", "2003:7f00:1::", "2001:7f00:1::", "64:ff9a::7f00:1"])("pass otherwise: %s", (address) => {
    expect(isDenied(policy(), address)).toBe(false);
  });

  it("are denied on the own port where they are local", () => {
    expect(isDenied(policy([]), "64:ff9b::7f00:1", 8080, true)).toBe(true);
    expect(isDenied(policy([]), "2002:7f00:1::1", 8080, true)).toBe(true);
  });

  it("are judged as the IPv4 address itself is, whatever the block", () => {
    const part = fc.integer({ min: 0, max: 255 });
    const ipv4 = fc.tuple(part, part, part, part);
    fc.assert(
      fc.property(ipv4, fc.integer({ min: 0, max: 32 }), ipv4, fc.boolean(), fc.integer({ min: 0, max: 32 }), (base, prefix, other, isNear, flipped) => {
        // Near the block: the same address with one bit turned.
        const address = isNear ? flipBit(base, flipped) : other;
        const cidr = `${base.join(".")}/${prefix}`;
        const list = new BlockList();
        list.addSubnet(base.join("."), prefix, "ipv4");
        const isListed = list.check(address.join("."), "ipv4") || (address.join(".") === "0.0.0.0" && list.check("127.0.0.1", "ipv4"));
        const [a, b, c, d] = address.map((value) => value.toString(16).padStart(2, "0"));
        const rules = policy([cidr]);
        expect(isDenied(rules, address.join("."))).toBe(isListed);
        for (const spelled of [`::ffff:${address.join(".")}`, `64:ff9b::${address.join(".")}`, `64:ff9b::${a}${b}:${c}${d}`, `2002:${a}${b}:${c}${d}:9::1`]) {
          // Only an address that is unspecified altogether is known to reach loopback; 6to4 has a part of its own behind it.
          if (address.every((value) => value === 0)) continue;
          expect(isDenied(rules, spelled), `${spelled} under ${cidr}`).toBe(isListed);
        }
      }),
      { numRuns: 300 },
    );
  });
});

function flipBit(address: readonly number[], bit: number): number[] {
  return address.map((value, index) => (Math.floor(bit / 8) === index ? value ^ (1 << (bit % 8)) : value));
}

describe("hosts that a chained proxy resolves", () => {
  it.each(["localhost", "api.localhost", "a.b.localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost6"])("are denied where they name the local machine: %s", (host) => {
    expect(() => policy([]).checkForeign(host, 443, false)).toThrow(expect.objectContaining({ code: "address_denied", message: expect.stringContaining("TALLYMAN_CONNECT_TO") }));
    expect(policy().checkForeign(host, 443, true)).toBe(host);
    expect(() => policy([]).checkForeign(host, 8080, true)).toThrow(expect.objectContaining({ code: "address_denied" }));
  });

  it.each(["127.0.0.1", "::1", "169.254.169.254", "64:ff9b::a9fe:a9fe", "127.1", "2130706433", "2852039166", "0x7f000001", "0xa9.0xfe.0xa9.0xfe", "0177.0.0.1", "0"])("are denied where they are an address on the list in any spelling: %s", (host) => {
    expect(() => policy().checkForeign(host, 443, false)).toThrow(expect.objectContaining({ code: "address_denied" }));
  });

  it.each([
    ["1.1.1.1", "1.1.1.1"],
    ["2606:2800::1", "2606:2800::1"],
    ["10.1", "10.0.0.1"],
    ["010.0.0.1", "8.0.0.1"],
    ["16843009", "1.1.1.1"],
    ["api.example.com", "api.example.com"],
    ["localhost.example.com", "localhost.example.com"],
    ["notlocalhost", "notlocalhost"],
    ["1.example", "1.example"],
    ["0x7f.example", "0x7f.example"],
    ["x1", "x1"],
  ])("are asked for as they were judged: %s as %s", (host, asked) => {
    expect(policy().checkForeign(host, 443, false)).toBe(asked);
  });

  it.each(["127.0.0.08", "1.2.3.4.5", "256.1.1.1", "4294967296", "a.1", "a.0x7f"])("do not resolve where they are a number and no address: %s", (host) => {
    expect(() => policy().checkForeign(host, 443, false)).toThrow(expect.objectContaining({ code: "upstream_dns" }));
  });

  it("are never the own ports", () => {
    expect(() => policy([]).checkForeign("127.0.0.1", 8080, true)).toThrow(expect.objectContaining({ code: "address_denied" }));
    expect(() => policy([]).checkForeign("0x7f.1", 8080, true)).toThrow(expect.objectContaining({ code: "address_denied" }));
    expect(policy([]).checkForeign("api.example.com", 8080, false)).toBe("api.example.com");
  });
});
