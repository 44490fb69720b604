/**
 * TLS contexts by host. Owns which leaf is used and for how long; signing is the authority's work.
 *
 * A context costs 18 KB and TLS session tickets live in it, so a host keeps one context while its leaf is fresh and
 * the least recently used one goes first.
 */

import { createSecureContext } from "node:tls";
import type { SecureContext } from "node:tls";
import type { CertificateAuthority } from "./certificate-authority.ts";

export interface LeafCacheOptions {
  readonly authority: Pick<CertificateAuthority, "issueLeaf">;
  /** Lifetime of a leaf, in milliseconds. A leaf is replaced when a quarter of it is left. */
  readonly leafTtlMs: number;
  /** Hosts remembered at once. Default 1000. */
  readonly maxEntries?: number;
  /** Epoch ms. Default: `Date`. */
  readonly clock?: { now(): number };
  /** Called for each leaf that was signed. */
  readonly onMint?: () => void;
}

export interface LeafCache {
  /**
   * The context to answer a ClientHello for `host` with; the same object while its leaf is fresh. Concurrent calls for
   * one host sign one leaf. Rejects as `issueLeaf` does, and remembers no failure.
   */
  contextFor(host: string): Promise<SecureContext>;
}

interface Entry {
  readonly context: Promise<SecureContext>;
  /** Epoch ms; Infinity while the leaf is being signed. */
  renewAtMs: number;
}

const DEFAULT_MAX_ENTRIES = 1000;
const RENEW_WITH_LEFT = 1 / 4;

/** Makes an empty cache. */
export function createLeafCache(options: LeafCacheOptions): LeafCache {
  const { authority, leafTtlMs, maxEntries = DEFAULT_MAX_ENTRIES, clock = Date, onMint } = options;
  /** In order of use, the least recent first. */
  const entries = new Map<string, Entry>();

  function mint(host: string): Entry {
    const signed = sign(host);
    const entry: Entry = { context: signed.then(({ context }) => context), renewAtMs: Infinity };
    signed.then(
      ({ renewAtMs }) => {
        entry.renewAtMs = renewAtMs;
      },
      () => {
        // The caller has the rejection; the next call tries again.
        if (entries.get(host) === entry) entries.delete(host);
      },
    );
    return entry;
  }

  async function sign(host: string): Promise<{ context: SecureContext; renewAtMs: number }> {
    const nowMs = clock.now();
    const leaf = await authority.issueLeaf(host, leafTtlMs, nowMs);
    const context = createSecureContext({ cert: leaf.certificatePem, key: leaf.keyPem });
    onMint?.();
    return { context, renewAtMs: leaf.notAfterMs - (leaf.notAfterMs - nowMs) * RENEW_WITH_LEFT };
  }

  return {
    contextFor(host) {
      const key = host.toLowerCase();
      const known = entries.get(key);
      const entry = known !== undefined && clock.now() < known.renewAtMs ? known : mint(key);
      entries.delete(key);
      entries.set(key, entry);
      if (entries.size > maxEntries) dropOldest(entries);
      return entry.context;
    },
  };
}

function dropOldest(entries: Map<string, Entry>): void {
  for (const oldest of entries.keys()) {
    entries.delete(oldest);
    return;
  }
}
