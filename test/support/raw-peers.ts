/** Peers that speak bytes, not HTTP libraries: a scripted TLS or TCP upstream, and a client behind the proxy. */

import { connect as netConnect, createServer as createNetServer, type AddressInfo, type Server, type Socket } from "node:net";
import { connect as tlsConnect, createServer as createTlsServer, type TLSSocket } from "node:tls";

import type { Leaf } from "../../src/proxy/certificate-authority.ts";
import { until } from "./until.ts";

/** One accepted connection of an upstream. */
export interface UpstreamConnection {
  readonly socket: Socket;
  /** Everything received, as latin1. */
  received: string;
  isEnded: boolean;
  isClosed: boolean;
}

export interface RawUpstream {
  readonly port: number;
  readonly connections: UpstreamConnection[];
  close(): Promise<void>;
}

/** Calls `onData` whenever bytes arrived on a connection. */
export async function startRawUpstream(leaf: Leaf | undefined, onData: (connection: UpstreamConnection) => void, host = "127.0.0.1"): Promise<RawUpstream> {
  const connections: UpstreamConnection[] = [];
  const accept = (socket: Socket): void => {
    const connection: UpstreamConnection = { socket, received: "", isEnded: false, isClosed: false };
    connections.push(connection);
    socket.on("data", (chunk: Buffer) => {
      connection.received += chunk.toString("latin1");
      onData(connection);
    });
    socket.on("end", () => (connection.isEnded = true));
    socket.on("close", () => (connection.isClosed = true));
    socket.on("error", () => undefined);
  };
  const server: Server =
    leaf === undefined
      ? createNetServer({ allowHalfOpen: true }, accept)
      : createTlsServer({ key: leaf.keyPem, cert: leaf.certificatePem, allowHalfOpen: true }, accept);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A socket whose bytes are collected. */
export interface RawClient {
  readonly socket: Socket;
  readonly received: string;
  readonly isEnded: boolean;
  readonly isClosed: boolean;
  send(text: string): void;
  /** Waits until the received text contains a part. */
  sees(part: string): Promise<string>;
  closed(): Promise<string>;
  destroy(): void;
}

function collect(socket: Socket): RawClient {
  const state = { received: "", isEnded: false, isClosed: false };
  socket.on("data", (chunk: Buffer) => (state.received += chunk.toString("latin1")));
  socket.on("end", () => (state.isEnded = true));
  socket.on("close", () => (state.isClosed = true));
  socket.on("error", () => undefined);
  return {
    socket,
    get received() {
      return state.received;
    },
    get isEnded() {
      return state.isEnded;
    },
    get isClosed() {
      return state.isClosed;
    },
    send: (text) => void socket.write(text, "latin1"),
    async sees(part) {
      await until(() => state.received.includes(part) || state.isClosed, `the client to see ${JSON.stringify(part)}`);
      if (!state.received.includes(part)) throw new Error(`closed before ${JSON.stringify(part)}: ${state.received}`);
      return state.received;
    },
    async closed() {
      await until(() => state.isClosed || state.isEnded, "the client's connection to end");
      return state.received;
    },
    destroy: () => void socket.destroy(),
  };
}

/** A TCP client of the proxy's own port. */
export async function rawClient(port: number, host = "127.0.0.1"): Promise<RawClient> {
  const socket = netConnect({ port, host });
  const client = collect(socket);
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return client;
}

export interface TunnelOptions {
  /** Roots the client trusts; without them the tunnel stays plain. */
  readonly ca?: string;
  readonly servername?: string;
  readonly extraHeaders?: string;
}

/** Opens a CONNECT tunnel, and TLS inside it when a CA is given. Rejects with the proxy's answer when it is not 200. */
export async function tunnelClient(proxyPort: number, authority: string, options: TunnelOptions = {}): Promise<RawClient> {
  const socket = netConnect({ port: proxyPort, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${options.extraHeaders ?? ""}\r\n`);
  const answer = await new Promise<string>((resolve, reject) => {
    socket.once("data", (chunk: Buffer) => resolve(chunk.toString("latin1")));
    socket.once("close", () => reject(new Error("the proxy closed the connection")));
  });
  if (!answer.startsWith("HTTP/1.1 200")) {
    socket.destroy();
    throw new Error(answer);
  }
  if (options.ca === undefined) return collect(socket);
  const tls: TLSSocket = tlsConnect({
    socket,
    ca: options.ca,
    ...(options.servername === undefined ? { host: authority.replace(/:\d+$/, "").replace(/[[\]]/g, "") } : { servername: options.servername }),
  });
  await new Promise<void>((resolve, reject) => tls.once("secureConnect", resolve).once("error", reject));
  return collect(tls);
}
