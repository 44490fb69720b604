/** The variables that point a program at the proxy and make it trust the proxy's certificates. Pure. */

export interface ProxyEnvironmentInput {
  /** `http://host:port`, perhaps with `user:secret@`. */
  readonly proxyUrl: string;
  /** PEM file that NODE_EXTRA_CA_CERTS names: it is added to the runtime's own roots. */
  readonly caFile: string;
  /** PEM file of the system's roots and ours: the other variables replace the roots of their programs. */
  readonly bundleFile: string;
  /** Further hosts that are reached without the proxy. */
  readonly noProxy?: readonly string[];
  /** The environment that the variables will join. */
  readonly existing: NodeJS.ProcessEnv;
}

/**
 * Variables that replace a program's roots: OpenSSL and what uses it, requests, curl, git, pip, cargo, the AWS tools, Deno.
 */
export const BUNDLE_VARIABLES = [
  "SSL_CERT_FILE",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "PIP_CERT",
  "CARGO_HTTP_CAINFO",
  "AWS_CA_BUNDLE",
  "DENO_CERT",
] as const;

/**
 * Names that programs read a proxy from, in both cases: curl reads http_proxy in lower case only. ALL_PROXY is among them
 * because Node's proxy-agent family looks there for `wss:` (it would miss WebSockets otherwise) and because a SOCKS proxy
 * left in it would take flows past the meter.
 */
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] as const;

const LOCAL = ["localhost", "127.0.0.1", "::1"] as const;

/** Only what is to be set, in a stable order; nothing of `existing` but the merged NO_PROXY. */
export function proxyEnvironment(input: ProxyEnvironmentInput): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const name of PROXY_VARIABLES) {
    variables[name] = input.proxyUrl;
    variables[name.toLowerCase()] = input.proxyUrl;
  }
  const noProxy = mergedNoProxy(input);
  variables["NO_PROXY"] = noProxy;
  variables["no_proxy"] = noProxy;
  variables["NODE_USE_ENV_PROXY"] = "1";
  variables["NODE_EXTRA_CA_CERTS"] = input.caFile;
  for (const name of BUNDLE_VARIABLES) variables[name] = input.bundleFile;
  return variables;
}

/** What is set in either case, then `noProxy`, then this machine; each once. */
function mergedNoProxy({ existing, noProxy = [] }: ProxyEnvironmentInput): string {
  const set = [existing["NO_PROXY"], existing["no_proxy"]].flatMap((list) => (list ?? "").split(/[\s,]+/));
  return [...new Set([...set, ...noProxy, ...LOCAL].filter((entry) => entry !== ""))].join(",");
}
