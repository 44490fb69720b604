/**
 * GET /api/v1/stream: server-sent events `counters` (at most one a second, when they changed), `flow` and `usage` (as
 * they happen). Bounded: a number of clients, and what may wait for a slow one before it is dropped. While nobody
 * listens nothing is done.
 */

import type { ServerResponse } from "node:http";
import type { AdminSources } from "./api.ts";
import { liveCounters } from "./api.ts";

export interface EventStream {
  /** Takes a response over, its head not yet sent; false when there is no room. */
  add(response: ServerResponse): boolean;
  readonly clients: number;
  /** Ends every client's stream. */
  close(): void;
}

export interface EventStreamOptions {
  readonly sources: Pick<AdminSources, "counters" | "flows" | "tracker">;
  readonly onError: (error: unknown) => void;
  /** Default 64. */
  readonly maxClients?: number;
  /** Bytes that may wait for one client. Default 1 MiB. */
  readonly maxWaitingBytes?: number;
  /** Default 15 s. */
  readonly keepAliveMs?: number;
}

const DEFAULT_MAX_CLIENTS = 64;
const DEFAULT_MAX_WAITING_BYTES = 1024 * 1024;
const DEFAULT_KEEP_ALIVE_MS = 15_000;
const COUNTERS_MS = 1000;

/** Makes a stream without clients. */
export function createEventStream(options: EventStreamOptions): EventStream {
  const { sources, onError, maxClients = DEFAULT_MAX_CLIENTS, maxWaitingBytes = DEFAULT_MAX_WAITING_BYTES, keepAliveMs = DEFAULT_KEEP_ALIVE_MS } = options;
  const clients = new Set<ServerResponse>();
  let stop: (() => void) | undefined;
  let lastCounters = "";

  function send(client: ServerResponse, text: string): void {
    client.write(text);
    if (client.writableLength > maxWaitingBytes) client.destroy();
  }

  function broadcast(text: string): void {
    for (const client of clients) send(client, text);
  }

  /** Runs in the middle of a flow or in a timer: a fault ends here. */
  function guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      onError(error);
    }
  }

  function sendChangedCounters(): void {
    const counters = message("counters", liveCounters(sources));
    if (counters !== lastCounters) broadcast(counters);
    lastCounters = counters;
  }

  function start(): () => void {
    const ends = [
      sources.tracker.subscribe((event) => guarded(() => broadcast(message("usage", event)))),
      sources.flows.subscribe((change) => guarded(() => broadcast(message("flow", change)))),
    ];
    const counters = setInterval(() => guarded(sendChangedCounters), COUNTERS_MS);
    const keepAlive = setInterval(() => broadcast(":\n\n"), keepAliveMs);
    return () => {
      clearInterval(counters);
      clearInterval(keepAlive);
      for (const end of ends) end();
    };
  }

  function remove(client: ServerResponse): void {
    clients.delete(client);
    if (clients.size > 0) return;
    stop?.();
    stop = undefined;
  }

  return {
    add(response) {
      if (clients.size >= maxClients) return false;
      const first = message("counters", liveCounters(sources));
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no", connection: "close" });
      response.once("close", () => remove(response));
      clients.add(response);
      stop ??= start();
      send(response, `retry: 3000\n${first}`);
      return true;
    },
    get clients() {
      return clients.size;
    },
    close() {
      for (const client of clients) {
        client.end();
        remove(client);
      }
    },
  };
}

function message(event: string, value: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(value)}\n\n`;
}
