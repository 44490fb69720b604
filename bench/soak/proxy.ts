/**
 * The proxy of the soak, a process of its own: a Tallyman as an embedder starts it, and what it holds whenever it is asked.
 * Started with `fork`; argv: the upstream's port, the folder for CA and data, the upstream's roots, a host to intercept. Sends a Held for each message.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pino } from "pino";

import { createTallyman } from "../../src/index.ts";

/** What the process holds. */
export interface Held {
  readonly proxyUrl: string;
  readonly caFile: string;
  readonly rssBytes: number;
  /** Of JavaScript objects, and of buffers outside of them; after a collection. */
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** User and system time of all threads so far. */
  readonly cpuMicros: number;
  /** Active resources by kind (process.getActiveResourcesInfo). */
  readonly resources: Readonly<Record<string, number>>;
  readonly flows: number;
  readonly buffered: number;
  /** Events of model responses that were stored. */
  readonly events: number;
  /** Warnings of Node, leaks of listeners among them. */
  readonly warnings: readonly string[];
  /** Log lines of level error. */
  readonly errors: readonly string[];
  readonly processListeners: number;
}

const [port = "", folder = "", upstreamCaFile = "", host] = process.argv.slice(2);
const errors: string[] = [];
const warnings: string[] = [];
let events = 0;

process.on("warning", (warning) => warnings.push(`${warning.name}: ${warning.message}`));
setFlagsFromString("--expose-gc");
const collectGarbage: unknown = runInNewContext("gc");

const tallyman = createTallyman({
  port: 0,
  hasAdmin: false,
  caDir: `${folder}/certs`,
  dataDir: `${folder}/data`,
  upstreamCaFile,
  ...(host === undefined ? {} : { interceptHosts: [{ host, port: undefined, meter: undefined }] }),
  connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: Number(port) }],
  logger: pino({ level: "error" }, { write: (line: string) => void errors.push(line) }),
});
tallyman.subscribe(() => void (events += 1));
await tallyman.start();

function held(): Held {
  const { user, system } = process.cpuUsage();
  if (typeof collectGarbage === "function") collectGarbage();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  const { flows, buffered } = tallyman.counters();
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    proxyUrl: tallyman.proxyUrl,
    caFile: tallyman.caFile,
    rssBytes: rss,
    heapBytes: heapUsed,
    externalBytes: external,
    cpuMicros: user + system,
    resources,
    flows,
    buffered,
    events,
    warnings: warnings.slice(0, 5),
    errors: errors.slice(0, 5),
    processListeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  };
}

process.on("message", () => process.send?.(held()));
process.on("disconnect", () => process.exit(0));
process.send?.(held());
