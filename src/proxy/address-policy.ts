/**
 * Which network addresses the proxy may dial: the deny list and the proxy's own ports, judged after name resolution,
 * so that a name which changes its address cannot get around it.
 */

import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { networkInterfaces } from "node:os";

import { ProxyError } from "./proxy-error.ts";

export interface AddressPolicy {
  /** Throws ProxyError address_denied when the literal address may not be dialled at this port. */
  check(address: string, port: number, isExempt: boolean): void;
  /** A `lookup` for net.connect that resolves all addresses and leaves the denied ones out. */
  lookupFor(port: number, isExempt: boolean): LookupFunction;
}

export interface AddressPolicyOptions {
  /** CIDR blocks ("10.0.0.0/8", "fe80::/10"), validated by the settings. */
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
  return {
    check(address, port, isExempt) {
      if (isDenied(address, port, isExempt)) throw deniedError();
    },
    lookupFor(port, isExempt) {
      return (hostname, lookupOptions, callback) => {
        dnsLookup(hostname, { ...lookupOptions, all: true }, (error, addresses) => {
          if (error !== null) {
            callback(new ProxyError("upstream_dns", "the upstream's name does not resolve", error), "");
            return;
          }
          const allowed = addresses.filter((entry) => !isDenied(entry.address, port, isExempt));
          answerLookup(allowed, lookupOptions.all === true, callback);
        });
      };
    },
  };
}

function answerLookup(allowed: readonly LookupAddress[], isAll: boolean, callback: Parameters<LookupFunction>[2]): void {
  const first = allowed[0];
  if (first === undefined) callback(deniedError(), "");
  else if (isAll) callback(null, [...allowed]);
  else callback(null, first.address, first.family);
}

function deniedError(): ProxyError {
  return new ProxyError("address_denied", "the target's address is in TALLYMAN_DENY_ADDRESSES or is the proxy itself");
}

function blockList(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = "", prefix = ""] = cidr.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    list.addSubnet(address, prefix === "" ? (family === "ipv6" ? 128 : 32) : Number(prefix), family);
  }
  return list;
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

/** Any spelling of an address, IPv4-mapped IPv6 included. */
function isInList(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
