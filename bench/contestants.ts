/** Who takes part: how each is started and which host it is asked for. Each is a process of its own. */

import { join } from "node:path";

/** What every contestant is told. */
export interface Arena {
  readonly upstreamPort: number;
  /** JSON list of `{host, cert, key}`: leaves of the bench's own root. */
  readonly leavesFile: string;
  readonly rootFile: string;
  /** A folder that is the contestant's own. */
  readonly folder: string;
  readonly proxyPort: number;
  readonly adminPort: number;
  /** Tallyman's own program: src/main.ts or dist/main.js. */
  readonly program: string;
}

export interface Contestant {
  readonly id: ContestantId;
  readonly title: string;
  /** The host that is asked for, on `port`; "metered": the one that the workload's provider has. */
  readonly host: string | "metered";
  readonly port: (arena: Arena) => number;
  /** Arguments of node and further environment. */
  readonly start: (arena: Arena) => { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> };
  /** The root that the client trusts. */
  readonly root: (arena: Arena) => string;
}

export type ContestantId = "tunnel" | "relay" | "stock" | "tunnelling" | "intercepting" | "relaxed" | "strict";

/** A host that no meter knows, and one that resolves: the stock library cannot be told where to connect. */
export const HOSTS = { unknown: "bench.test", loopback: "localhost" } as const;

const HTTPS_PORT = 443;
const program = (file: string): string => join(import.meta.dirname, file);

/** Tallyman as it starts by itself, with these settings more. */
function tallyman(settings: Readonly<Record<string, string>>): Contestant["start"] {
  return (arena) => ({
    args: [arena.program, "serve"],
    env: {
      TALLYMAN_PORT: String(arena.proxyPort),
      TALLYMAN_ADMIN_PORT: String(arena.adminPort),
      TALLYMAN_CA_DIR: join(arena.folder, "certs"),
      TALLYMAN_DATA_DIR: join(arena.folder, "data"),
      TALLYMAN_UPSTREAM_CA_FILE: arena.rootFile,
      TALLYMAN_CONNECT_TO: `::127.0.0.1:${arena.upstreamPort}`,
      ...settings,
    },
  });
}

const benchRoot = (arena: Arena): string => arena.rootFile;
const tallymanRoot = (arena: Arena): string => join(arena.folder, "certs", "ca.pem");
const httpsPort = (): number => HTTPS_PORT;

export const CONTESTANTS: readonly Contestant[] = [
  {
    id: "tunnel",
    title: "plain CONNECT tunnel",
    host: HOSTS.unknown,
    port: httpsPort,
    start: (arena) => ({ args: [program("proxies/tunnel.ts"), String(arena.proxyPort), String(arena.upstreamPort)], env: {} }),
    root: benchRoot,
  },
  {
    id: "relay",
    title: "TLS to TLS relay",
    host: HOSTS.unknown,
    port: httpsPort,
    start: (arena) => ({
      args: [program("proxies/relay.ts"), String(arena.proxyPort), String(arena.upstreamPort), arena.leavesFile, HOSTS.unknown],
      env: { NODE_EXTRA_CA_CERTS: arena.rootFile },
    }),
    root: benchRoot,
  },
  {
    id: "stock",
    title: "http-mitm-proxy stock, keep-alive",
    host: HOSTS.loopback,
    port: (arena) => arena.upstreamPort,
    start: (arena) => ({ args: [program("proxies/stock.ts"), String(arena.proxyPort), arena.folder], env: { NODE_EXTRA_CA_CERTS: arena.rootFile } }),
    root: (arena) => join(arena.folder, "certs", "ca.pem"),
  },
  { id: "tunnelling", title: "tallyman, tunnelling", host: HOSTS.unknown, port: httpsPort, start: tallyman({ TALLYMAN_INTERCEPT: "none" }), root: benchRoot },
  { id: "intercepting", title: "tallyman, intercepting", host: HOSTS.unknown, port: httpsPort, start: tallyman({ TALLYMAN_INTERCEPT_HOSTS: HOSTS.unknown }), root: tallymanRoot },
  {
    id: "relaxed",
    title: "tallyman, metering relaxed",
    host: "metered",
    port: httpsPort,
    start: tallyman({ TALLYMAN_DURABILITY: "relaxed" }),
    root: tallymanRoot,
  },
  { id: "strict", title: "tallyman, metering strict", host: "metered", port: httpsPort, start: tallyman({}), root: tallymanRoot },
];
