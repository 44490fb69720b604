/**
 * Which network addresses the proxy may dial: the deny list and the proxy's own ports, judged after name resolution,
 * so that a name which changes its address cannot get around it. Resolves no names (name-resolution.ts).
 */

import type { LookupAddress } from "node:dns";
import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";

import { ProxyError } from "./proxy-error.ts";

/** `isExempt` lifts the deny list for what the operator chose; the proxy's own ports are never dialled. */
export interface AddressPolicy {
  /** Throws ProxyError address_denied when the literal address may not be dialled at this port. */
  check(address: string, port: number, isExempt: boolean): void;
  /** The addresses of a name that may be dialled at this port, in their order. Throws address_denied when none may. */
  allowed(addresses: readonly LookupAddress[], port: number, isExempt: boolean): LookupAddress[];
  /**
   * Judges a host that a chained proxy will resolve, and returns what that proxy is to be asked for. Names pass: what
   * they resolve to is seen there alone, and only that proxy can keep them away from its own network. What needs no
   * name service is judged here: addresses in any spelling that a resolver takes for one ("127.1", "0x7f000001";
   * returned in the usual form, so that what was judged is what is asked for), and names of the local machine, which
   * are denied unless exempt, whatever the deny list is: to the chained proxy they would mean itself.
   * Throws address_denied; upstream_dns for a number that is neither an address nor a name.
   */
  checkForeign(host: string, port: number, isExempt: boolean): string;
}

export interface AddressPolicyOptions {
  /**
   * CIDR blocks ("10.0.0.0/8", "fe80::/10"), validated by the settings. An IPv4 block also denies the IPv6 addresses
   * that lead to it: IPv4-mapped, NAT64 by the well-known prefix, 6to4. A NAT64 prefix of a network's own (RFC 6052
   * section 2.2, 64:ff9b:1::/48) is the operator's to add.
   */
  readonly denied: readonly string[];
  /** The ports this process listens on; they are never dialled on a local address. */
  readonly ownPorts: () => ReadonlySet<number>;
}

export function createAddressPolicy(options: AddressPolicyOptions): AddressPolicy {
  const denied = blockList(options.denied);
  const isDenied = (address: string, port: number, isExempt: boolean): boolean => {
    if (options.ownPorts().has(port) && isLocal(address)) return true;
    return !isExempt && (isInList(denied, address) || isInList(denied, reachedBy(address)));
  };
  const check = (address: string, port: number, isExempt: boolean): void => {
    if (isDenied(address, port, isExempt)) throw new ProxyError("address_denied", DENIED);
  };
  return {
    check,
    allowed(addresses, port, isExempt) {
      const allowed = addresses.filter((entry) => !isDenied(entry.address, port, isExempt));
      if (allowed.length === 0) throw new ProxyError("address_denied", DENIED);
      return allowed;
    },
    checkForeign(host, port, isExempt) {
      if (LOCAL_NAME.test(host)) {
        if (!isExempt) throw new ProxyError("address_denied", LOCAL_NAME_DENIED);
        check("127.0.0.1", port, true);
        return host;
      }
      const address = asAddress(host);
      if (address === undefined) return host;
      check(address, port, isExempt);
      return address;
    },
  };
}

const DENIED = "the target's address is in TALLYMAN_DENY_ADDRESSES or is the proxy itself";
const LOCAL_NAME_DENIED = "the target names the local machine, which the upstream proxy would take for itself; TALLYMAN_CONNECT_TO can lead it elsewhere";

/** RFC 6761 section 6.3, and what the usual /etc/hosts calls loopback. */
const LOCAL_NAME = /^(?:(?:.+\.)?localhost|localhost\.localdomain|localhost6|ip6-localhost|ip6-loopback)$/;

/** A last label that makes the URL standard read the host as an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker). */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;

/** The address that a resolver reads out of a host without asking anybody; undefined for a name. */
function asAddress(host: string): string | undefined {
  if (isIP(host) !== 0) return host;
  if (!ENDS_IN_NUMBER.test(host)) return undefined;
  const address = URL.parse(`http://${host}/`)?.hostname;
  if (address === undefined) throw new ProxyError("upstream_dns", "the upstream's name does not resolve");
  return address;
}

function blockList(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = "", prefix = ""] = cidr.split("/");
    if (isIP(address) === 6) {
      list.addSubnet(address, prefix === "" ? 128 : Number(prefix), "ipv6");
      continue;
    }
    const bits = prefix === "" ? 32 : Number(prefix);
    list.addSubnet(address, bits, "ipv4");
    // NAT64, RFC 6052 section 2.1: the IPv4 address is the last 32 bits.
    list.addSubnet(`64:ff9b::${address}`, 96 + bits, "ipv6");
    // 6to4, RFC 3056 section 2: it is the 32 bits behind the first 16.
    list.addSubnet(`2002:${asHex(address)}::`, 16 + bits, "ipv6");
  }
  return list;
}

/** "127.0.0.1" as "7f00:1". */
function asHex(ipv4: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split(".").map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

const LOCAL = blockList(["127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"]);

/** Loopback, unspecified, or an address of one of this machine's interfaces. */
function isLocal(address: string): boolean {
  if (isInList(LOCAL, address)) return true;
  const own = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return isInList(blockList(own.map((entry) => entry.address)), address);
}

const UNSPECIFIED_V4 = blockList(["0.0.0.0/32"]);
const UNSPECIFIED_V6 = blockList(["::/128"]);

/** Connecting to the unspecified address reaches loopback. */
function reachedBy(address: string): string {
  if (isInList(UNSPECIFIED_V4, address)) return "127.0.0.1";
  return isInList(UNSPECIFIED_V6, address) ? "::1" : address;
}

/** Any spelling of an address. The list itself sees through IPv4-mapped IPv6. */
function isInList(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
