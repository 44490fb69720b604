/** The loads that every contestant carries, and what each of them counts. */

import { type Connection, openConnection, type Route } from "./client.ts";
import { type Answer, chatRequest, DOWNLOAD_BYTES, EVENTS_PER_STREAM, PACE_MS, stampOffset, STAMP_DIGITS } from "./payloads.ts";

export type WorkloadId = "json1" | "json64" | "stream" | "paced" | "download";

export interface Workload {
  readonly id: WorkloadId;
  readonly title: string;
  /** What CPU time is divided by. */
  readonly unit: "request" | "event" | "50 MB";
  /** What a latency sample is. */
  readonly sample: string;
  readonly answer: Answer;
  readonly connections: number;
  /** Every connection repeats its exchange for this part of the run's time; 0 = once. */
  readonly repeatShare: number;
}

export const WORKLOADS: readonly Workload[] = [
  { id: "json1", title: "2 KB JSON, 1 connection", unit: "request", sample: "request", answer: "json", connections: 1, repeatShare: 0.8 },
  { id: "json64", title: "2 KB JSON, 64 connections", unit: "request", sample: "request", answer: "json", connections: 64, repeatShare: 1 },
  { id: "stream", title: "stream, 200 events, unpaced, 8 at once", unit: "event", sample: "stream", answer: "stream", connections: 8, repeatShare: 0.8 },
  { id: "paced", title: `stream, 200 events, one each ${PACE_MS} ms, 16 at once`, unit: "event", sample: "event", answer: "paced", connections: 16, repeatShare: 0 },
  { id: "download", title: "50 MB of JSON down", unit: "50 MB", sample: "response", answer: "download", connections: 1, repeatShare: 0.5 },
];

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
  const warmUp = chatRequest(authority, "json");
  await Promise.all(connections.map((connection) => connection.exchange(warmUp)));
  return {
    async run(durationMs) {
      const latenciesUs: number[] = [];
      const until = performance.now() + durationMs * workload.repeatShare;
      const request = chatRequest(authority, workload.answer);
      const units = await Promise.all(connections.map((connection) => repeat(workload, connection, request, until, latenciesUs)));
      return { units: units.reduce((sum, count) => sum + count, 0), latenciesUs };
    },
    close() {
      for (const { socket } of connections) socket.destroy();
    },
  };
}

/** The Host header: https's own port is left out (RFC 9110 section 7.2). */
function authorityOf({ host, port }: Route): string {
  return port === 443 ? host : `${host}:${port}`;
}

async function repeat(workload: Workload, connection: Connection, request: Buffer, until: number, latenciesUs: number[]): Promise<number> {
  let units = 0;
  const onBody = workload.answer === "paced" ? (chunk: Buffer): void => addEventLatencies(chunk, latenciesUs) : undefined;
  do {
    const started = performance.now();
    const bytes = await connection.exchange(request, onBody);
    if (workload.answer === "download" && bytes !== DOWNLOAD_BYTES) throw new Error(`${bytes} bytes came of ${DOWNLOAD_BYTES}`);
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
  const request = chatRequest(authorityOf(route), "download");
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
