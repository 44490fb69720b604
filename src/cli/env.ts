/** `tallyman env`: prints the variables that point a program at a running proxy. */

import { bracketed } from "../config/network-values.ts";
import type { Settings } from "../config/settings.ts";
import { type CertificateAuthority, loadOrCreateAuthority } from "../proxy/certificate-authority.ts";
import { type TrustFiles, prepareTrust } from "./ca-bundle.ts";
import { type CommandContext, EXIT, UsageError } from "./context.ts";
import { proxyEnvironment } from "./proxy-environment.ts";
import { type Shell, formatVariables } from "./shell-syntax.ts";

export interface EnvOptions {
  readonly shell: Shell;
  /** Undefined: where the settings say that the proxy listens. */
  readonly proxyUrl?: string;
}

export async function env(context: CommandContext, options: EnvOptions): Promise<number> {
  const proxyUrl = options.proxyUrl === undefined ? listeningUrl(context.settings) : checkedUrl(options.proxyUrl);
  const authority = await loadOrCreateAuthority(context.settings.caDir);
  const trust = prepareTrust(trustInput(context, authority));
  const variables = proxyEnvironment({ proxyUrl, ...trust, existing: context.env });
  context.stdout.write(formatVariables(variables, options.shell));
  for (const note of notes(context, options, proxyUrl, trust)) context.stderr.write(`tallyman: ${note}\n`);
  return EXIT.done;
}

/** What `prepareTrust` needs, for the program that this command's environment is meant for. */
export function trustInput(context: CommandContext, authority: CertificateAuthority): Parameters<typeof prepareTrust>[0] {
  const { certificatePem, certificatePath } = authority;
  return { caDir: context.settings.caDir, certificatePem, certificatePath, env: context.env };
}

/** A listener on every address is reached on loopback. */
function listeningUrl({ host, port }: Settings): string {
  if (port === 0) throw new UsageError("TALLYMAN_PORT is 0 (any free port): give the proxy's address with --proxy-url");
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${bracketed(reachable)}:${port}`;
}

function checkedUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol !== "http:" || url.hostname === "" || (url.pathname !== "/" && url.pathname !== "") || url.search !== "" || url.hash !== "") {
    throw new UsageError("--proxy-url wants http://host:port or http://agent:secret@host:port");
  }
  return url.href.replace(/\/$/, "");
}

/** What the variables alone do not say. On stderr, so that `eval` never sees it. */
function notes({ settings, env: existing }: CommandContext, { shell }: EnvOptions, proxyUrl: string, trust: TrustFiles): string[] {
  const found: string[] = [];
  if (settings.proxyTokens.length > 0 && URL.parse(proxyUrl)?.username === "") {
    found.push("the proxy asks for credentials (TALLYMAN_PROXY_TOKENS): give --proxy-url http://AGENT_ID:SECRET@HOST:PORT");
  }
  if (/(^|[\s,])\*($|[\s,])/.test(`${existing["NO_PROXY"] ?? ""},${existing["no_proxy"] ?? ""}`)) {
    found.push("NO_PROXY is set to *: programs that heed it will not use the proxy at all");
  }
  if (shell === "docker") {
    const mounts = [...new Set([trust.caFile, trust.bundleFile])].map((file) => `--volume '${file}:${file}:ro'`).join(" ");
    found.push(`save this as FILE, then: docker run --network host --env-file FILE ${mounts} IMAGE (without --network host, give --proxy-url an address that the container reaches)`);
  }
  return found;
}
