/** Rules that join several settings. Each is judged only where the settings it looks at could be read. */

import { bracketed, isLoopbackHost } from "./network-values.ts";
import type { Settings } from "./settings.ts";

/** A setting that cannot stand. `value` is as the user wrote it, "(redacted)" for secrets, undefined where it is missing. */
export interface Fault {
  readonly name: string;
  readonly value: string | undefined;
  /** What would be allowed. */
  readonly allowed: string;
}

/** Shorter keys are weaker than Standard Webhooks asks for (24 to 64 bytes). */
const MIN_SECRET_BYTES = 24;

/** Every fault that only shows when settings are seen together. */
export function crossFaults(settings: Partial<Settings>): Fault[] {
  return [adminTokenFault(settings), openProxyFault(settings), samePortFault(settings)].filter((fault) => fault !== undefined);
}

/** Settings that work and are probably not what was meant. */
export function crossWarnings(settings: Settings): string[] {
  const warnings: string[] = [];
  if (settings.webhookUrl !== undefined && settings.webhookSecrets.length === 0) {
    warnings.push("TALLYMAN_WEBHOOK_URL is set and TALLYMAN_WEBHOOK_SECRET is not: posts are not signed.");
  }
  if (settings.webhookSecrets.some((secret) => Buffer.from(secret.slice("whsec_".length), "base64").length < MIN_SECRET_BYTES)) {
    warnings.push(`TALLYMAN_WEBHOOK_SECRET holds fewer than ${MIN_SECRET_BYTES} bytes: it is weaker than Standard Webhooks asks for.`);
  }
  return warnings;
}

function adminTokenFault(settings: Partial<Settings>): Fault | undefined {
  const { adminHost, adminToken } = settings;
  const isRead = "adminToken" in settings;
  if (adminHost === undefined || isLoopbackHost(adminHost) || !isRead || adminToken !== undefined) return undefined;
  return { name: "TALLYMAN_ADMIN_TOKEN", value: undefined, allowed: `a bearer token, because TALLYMAN_ADMIN_HOST (${adminHost}) is not loopback` };
}

function openProxyFault({ host, proxyTokens, allowOpenProxy }: Partial<Settings>): Fault | undefined {
  if (host === undefined || isLoopbackHost(host) || proxyTokens === undefined || proxyTokens.length > 0 || allowOpenProxy !== false) return undefined;
  const allowed = `comma-separated secrets, because TALLYMAN_HOST (${host}) is not loopback; or set TALLYMAN_ALLOW_OPEN_PROXY=true to let anyone in`;
  return { name: "TALLYMAN_PROXY_TOKENS", value: undefined, allowed };
}

function samePortFault({ host, port, adminHost, adminPort }: Partial<Settings>): Fault | undefined {
  if (host === undefined || port === undefined || adminHost === undefined || port === 0 || port !== adminPort) return undefined;
  if (!overlaps(host, adminHost)) return undefined;
  return { name: "TALLYMAN_ADMIN_PORT", value: String(adminPort), allowed: `another port than the proxy's (TALLYMAN_PORT, ${bracketed(host)}:${port}), or 0` };
}

function overlaps(a: string, b: string): boolean {
  const isAny = (host: string): boolean => host === "0.0.0.0" || host === "::";
  const plain = (host: string): string => (host === "localhost" ? "127.0.0.1" : host);
  return plain(a) === plain(b) || isAny(a) || isAny(b);
}
