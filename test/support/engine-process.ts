/**
 * A proxy engine and its upstream in a process of their own, for tests of what a process as a whole does: that it lives
 * on, what it prints, which handles it holds. Started with `fork`; sends an EngineReady, then an EngineStatus for each
 * message it is sent. Hosts below `.tunnelled.example` are not intercepted.
 */

import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";

import { startEngine } from "./engine.ts";
import type { UpstreamConnection } from "./raw-peers.ts";

export interface EngineReady {
  readonly port: number;
  readonly caPem: string;
}

export interface EngineStatus {
  /** What the proxy says of its client connections. */
  readonly connections: number;
  /** Sockets of the whole process, the upstream's side included. */
  readonly sockets: number;
  readonly listeners: number;
  /** Upstream connections with a response under way. */
  readonly streams: number;
  /** Folders that the front left in the temporary directory. */
  readonly leftFolders: number;
  readonly flows: number;
  readonly unendedFlows: number;
}

const WHOLE = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ENDLESS = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";

/** `/endless` begins a response that never ends; every other request gets a whole one. */
function answer(connection: UpstreamConnection): void {
  // Closes when the proxy has closed its side.
  connection.socket.allowHalfOpen = false;
  if (!connection.received.endsWith("\r\n\r\n")) return;
  connection.socket.write(isEndless(connection) ? ENDLESS : WHOLE);
}

function isEndless(connection: UpstreamConnection): boolean {
  return connection.received.slice(connection.received.lastIndexOf("GET ")).startsWith("GET /endless");
}

const engine = await startEngine(answer, { isIntercepted: (host) => !host.endsWith(".tunnelled.example") });

function status(): EngineStatus {
  const resources = process.getActiveResourcesInfo();
  const count = (name: string): number => resources.filter((resource) => resource === name).length;
  return {
    connections: engine.proxy.connections,
    sockets: count("TCPSocketWrap"),
    listeners: count("TCPServerWrap"),
    streams: engine.upstream.connections.filter((connection) => isEndless(connection) && !connection.isClosed).length,
    leftFolders: readdirSync(tmpdir()).filter((name) => name.startsWith("tallyman-front-")).length,
    flows: engine.flows.length,
    unendedFlows: engine.flows.filter((flow) => flow.outcome === undefined).length,
  };
}

process.on("message", () => process.send?.(status()));
process.on("disconnect", () => process.exit());
process.send?.({ port: engine.proxy.port, caPem: engine.ca.certificatePem } satisfies EngineReady);
