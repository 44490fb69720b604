/**
 * A proxy engine and its upstream in a process of their own, for tests of what a process as a whole does: that it lives
 * on, what it prints, which handles it holds. Started with `fork`; sends an EngineReady, then an EngineStatus for each
 * message it is sent. Hosts below `.tunnelled.example` are not intercepted.
 */

import { subscribe } from "node:diagnostics_channel";
import { readdirSync } from "node:fs";
import { Socket } from "node:net";
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
  /** Open sockets of the proxy: its clients', and its own to upstreams. */
  readonly downstreamSockets: number;
  readonly upstreamSockets: number;
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
  if (!connection.received.endsWith("\r\n\r\n")) return;
  connection.socket.write(isEndless(connection) ? ENDLESS : WHOLE);
}

function isEndless(connection: UpstreamConnection): boolean {
  return connection.received.slice(connection.received.lastIndexOf("GET ")).startsWith("GET /endless");
}

const engine = await startEngine(answer, { isIntercepted: (host) => !host.endsWith(".tunnelled.example") });

const sockets: Record<"client" | "server", Set<Socket>> = { client: new Set(), server: new Set() };
for (const side of ["client", "server"] as const) {
  subscribe(`net.${side}.socket`, (message) => {
    const socket: unknown = typeof message === "object" && message !== null && "socket" in message ? message.socket : undefined;
    if (!(socket instanceof Socket) || (side === "server" && socket.localPort !== engine.proxy.port)) return;
    sockets[side].add(socket);
    socket.once("close", () => sockets[side].delete(socket));
  });
}

function status(): EngineStatus {
  return {
    connections: engine.proxy.connections,
    downstreamSockets: sockets.server.size,
    upstreamSockets: sockets.client.size,
    listeners: process.getActiveResourcesInfo().filter((name) => name === "TCPServerWrap").length,
    streams: engine.upstream.connections.filter((connection) => isEndless(connection) && !connection.isEnded && !connection.isClosed).length,
    leftFolders: readdirSync(tmpdir()).filter((name) => name.startsWith("tallyman-front-")).length,
    flows: engine.flows.length,
    unendedFlows: engine.flows.filter((flow) => flow.outcome === undefined).length,
  };
}

process.on("message", () => process.send?.(status()));
process.on("disconnect", () => process.exit());
process.send?.({ port: engine.proxy.port, caPem: engine.ca.certificatePem } satisfies EngineReady);
