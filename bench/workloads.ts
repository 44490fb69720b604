/** The loads that every contestant carries, and what each of them counts. */

import { type Connection, openConnection, type Route } from "./client.ts";
import { EXCHANGES, type ExchangeId, requestOf } from "./exchanges.ts";
import { EVENTS_PER_STREAM, PACE_MS, stampOffset, STAMP_DIGITS } from "./payloads.ts";

/** `core`: a proxy's own work, against its peers. `providers`, `connectors`: metering what they send, against interception alone. */
export const GROUPS = ["core", "providers", "connectors"] as const;
export type Group = (typeof GROUPS)[number];

type Streamed = "openai" | "anthropic" | "bedrock";
export type WorkloadId =
  | "json1" | "json64" | "stream" | "paced" | "download" | "json40" | "x-page" | "x-stream" | "x-paced"
  | `${Streamed}-${"plain" | "gzip"}` | `${Streamed}-${"plain" | "gzip"}-paced`;

export interface Workload {
  readonly id: WorkloadId;
  readonly group: Group;
  readonly title: string;
  /** What CPU time is divided by. */
  readonly unit: "request" | "event" | "body";
  /** What a latency sample is. */
  readonly sample: string;
  readonly exchange: ExchangeId;
  readonly connections: number;
  /** Every connection repeats its exchange for this part of the run's time; 0 = once. */
  readonly repeatShare: number;
  /**
   * What is billed to an agent is the proxy's cost once it is warm: V8 needs some thousands of flows before the metering
   * code is compiled for good, however long that takes beside other work. A paced stream shows it nothing that the unpaced one
   * did not.
   */
  readonly warmUpUnits: number;
}

export const WORKLOADS: readonly Workload[] = [
  { id: "json1", group: "core", title: "2 KB JSON, 1 connection", unit: "request", sample: "request", exchange: "json", connections: 1, repeatShare: 0.8, warmUpUnits: 400 },
  { id: "json64", group: "core", title: "2 KB JSON, 64 connections", unit: "request", sample: "request", exchange: "json", connections: 64, repeatShare: 1, warmUpUnits: 15_000 },
  { id: "stream", group: "core", title: "stream, 200 events, unpaced, 8 at once", unit: "event", sample: "stream", exchange: "openai", connections: 8, repeatShare: 0.8, warmUpUnits: 250_000 },
  { id: "paced", group: "core", title: `stream, 200 events, one each ${PACE_MS} ms, 16 at once`, unit: "event", sample: "event", exchange: "openai-paced", connections: 16, repeatShare: 0, warmUpUnits: 0 },
  { id: "download", group: "core", title: "50 MB of JSON down", unit: "body", sample: "response", exchange: "download", connections: 1, repeatShare: 0.5, warmUpUnits: 2 },
  ...(["openai", "anthropic", "bedrock"] as const).flatMap(providerStreams),
  { id: "json40", group: "providers", title: "40 MB of JSON down", unit: "body", sample: "response", exchange: "json40", connections: 1, repeatShare: 1, warmUpUnits: 3 },
  { id: "x-page", group: "connectors", title: "X, a page of 100 posts, 8 connections", unit: "request", sample: "request", exchange: "x-page", connections: 8, repeatShare: 1, warmUpUnits: 3_000 },
  { id: "x-paced", group: "connectors", title: "X, a stream of posts, paced, 16 at once", unit: "event", sample: "stream", exchange: "x-paced", connections: 16, repeatShare: 0, warmUpUnits: 0 },
  { id: "x-stream", group: "connectors", title: "X, a stream of 100,000 posts", unit: "body", sample: "response", exchange: "x-stream", connections: 1, repeatShare: 1, warmUpUnits: 1 },
];

function providerStreams(provider: Streamed): Workload[] {
  const common = { group: "providers", unit: "event" } as const;
  return (["plain", "gzip"] as const).flatMap((coding): Workload[] => {
    const exchange = coding === "gzip" ? (`${provider}-gzip` as const) : provider;
    return [
      { ...common, id: `${provider}-${coding}`, title: `${provider}, ${coding}, unpaced, 8 at once`, sample: "stream", exchange, connections: 8, repeatShare: 0.8, warmUpUnits: 15_0000 },
      { ...common, id: `${provider}-${coding}-paced`, title: `${provider}, ${coding}, paced, 16 at once`, sample: "stream", exchange: `${exchange}-paced`, connections: 16, repeatShare: 0, warmUpUnits: 0 },
    ];
  });
}

/** The workloads of a list of groups and ids. Throws an Error whose message is for the user. */
export function selectWorkloads(names: readonly string[]): readonly Workload[] {
  const known = new Set<string>([...GROUPS, ...WORKLOADS.map(({ id }) => id)]);
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) throw new Error(`--workloads: "${unknown}" is none of ${[...known].join(", ")}`);
  return WORKLOADS.filter(({ id, group }) => names.includes(id) || names.includes(group));
}

/** The host of a workload's provider, which a meter knows. */
export function meteredHostOf({ exchange }: Workload): string {
  return EXCHANGES[exchange].host;
}

/** The bytes of a workload's body, in MB; 1 where a unit is no body. */
export function megabytesOf({ unit, exchange }: Workload): number {
  const { answer } = EXCHANGES[exchange];
  return unit === "body" && answer.kind === "body" ? Math.round(answer.length / 1e6) : 1;
}

/** Units done, and latencies in microseconds, unsorted. */
export interface Done {
  readonly units: number;
  readonly latenciesUs: readonly number[];
}

/** Connections that are open and warm: their handshakes are no part of what is measured. */
export interface Load {
  run(durationMs: number): Promise<Done>;
  close(): void;
}

export async function prepareLoad(workload: Workload, route: Route): Promise<Load> {
  const connections = await Promise.all(Array.from({ length: workload.connections }, () => openConnection(route)));
  const authority = authorityOf(route);
  const warmUp = requestOf(warmUpOf(workload), authority);
  await Promise.all(connections.map((connection) => connection.exchange(warmUp)));
  return {
    async run(durationMs) {
      const latenciesUs: number[] = [];
      const until = performance.now() + durationMs * workload.repeatShare;
      const request = requestOf(workload.exchange, authority);
      const units = await Promise.all(connections.map((connection) => repeat(workload, connection, request, until, latenciesUs)));
      return { units: units.reduce((sum, count) => sum + count, 0), latenciesUs };
    },
    close() {
      for (const { socket } of connections) socket.destroy();
    },
  };
}

/** A short exchange on the same host: JSON for a body, the stream without its pauses for a paced one. */
function warmUpOf({ unit, exchange }: Workload): ExchangeId {
  return unit === "body" ? "json" : UNPACED[exchange] ?? exchange;
}

const UNPACED: Partial<Record<ExchangeId, ExchangeId>> = {
  "openai-paced": "openai",
  "openai-gzip-paced": "openai-gzip",
  "anthropic-paced": "anthropic",
  "anthropic-gzip-paced": "anthropic-gzip",
  "bedrock-paced": "bedrock",
  "bedrock-gzip-paced": "bedrock-gzip",
  "x-paced": "x-lines",
};

/** The Host header: https's own port is left out (RFC 9110 section 7.2). */
function authorityOf({ host, port }: Route): string {
  return port === 443 ? host : `${host}:${port}`;
}

async function repeat(workload: Workload, connection: Connection, request: Buffer, until: number, latenciesUs: number[]): Promise<number> {
  let units = 0;
  const onBody = workload.id === "paced" ? (chunk: Buffer): void => addEventLatencies(chunk, latenciesUs) : undefined;
  do {
    const started = performance.now();
    const bytes = await connection.exchange(request, onBody);
    const { answer } = EXCHANGES[workload.exchange];
    if (answer.kind === "body" && bytes !== answer.length) throw new Error(`${bytes} bytes came of ${answer.length}`);
    if (onBody === undefined) latenciesUs.push((performance.now() - started) * 1000);
    units += workload.unit === "event" ? EVENTS_PER_STREAM : 1;
  } while (performance.now() < until);
  return units;
}

/** The monotonic clock is one for all processes of the machine, so that the sender's stamp can be compared. */
function addEventLatencies(chunk: Buffer, latenciesUs: number[]): void {
  const nowUs = Number(process.hrtime.bigint() / 1000n);
  let rest = chunk;
  for (let offset = stampOffset(rest); offset !== undefined; offset = stampOffset(rest)) {
    const sentUs = Number(rest.toString("latin1", offset, offset + STAMP_DIGITS));
    if (sentUs > 0) latenciesUs.push(nowUs - sentUs);
    rest = rest.subarray(offset + STAMP_DIGITS);
  }
}

/** Opens `readers` downloads of 50 MB whose reader stops at the first bytes. Closing them ends it. */
export async function openStalledReaders(readers: number, route: Route): Promise<{ readonly close: () => void }> {
  const connections = await Promise.all(Array.from({ length: readers }, () => openConnection(route)));
  const request = requestOf("download", authorityOf(route));
  await Promise.all(connections.map((connection) => firstBytes(connection, request)));
  return {
    close() {
      for (const { socket } of connections) socket.destroy();
    },
  };
}

function firstBytes(connection: Connection, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    // The exchange itself ends when the socket is destroyed: only a failure before the first bytes is one.
    connection.exchange(request, () => {
      connection.socket.pause();
      resolve();
    }).catch(reject);
  });
}
