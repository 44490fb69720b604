/**
 * The bench's client: one keep-alive HTTP/1.1 connection over TLS, through a CONNECT proxy or straight to the upstream.
 * Hand-written so that it costs little beside the proxies; checks status, certificate and length, not content.
 */

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";

/** Where a connection leads. Without `proxyPort` it goes straight to `port`. */
export interface Route {
  readonly proxyPort: number | undefined;
  readonly host: string;
  readonly port: number;
  /** PEM of the only root that is trusted. */
  readonly ca: string;
}

export interface Connection {
  /** Sends one request and resolves with the body's bytes when its response is whole. Rejects when it breaks off or is no 200. */
  exchange(request: Buffer, onBody?: (chunk: Buffer) => void): Promise<number>;
  readonly socket: TLSSocket;
}

const CONNECT_TIMEOUT_MS = 10_000;
const LAST_CHUNK = "\r\n0\r\n\r\n";

export async function openConnection(route: Route): Promise<Connection> {
  const raw = connectTcp({ port: route.proxyPort ?? route.port, host: "127.0.0.1", noDelay: true });
  raw.setTimeout(CONNECT_TIMEOUT_MS, () => raw.destroy(new Error("no connection in time")));
  await once(raw, "connect");
  if (route.proxyPort !== undefined) await openTunnel(raw, `${route.host}:${route.port}`);
  const socket = connectTls({ socket: raw, servername: route.host, ca: route.ca, ALPNProtocols: ["http/1.1"] });
  await once(socket, "secureConnect");
  raw.setTimeout(0);
  return { socket, exchange: exchanger(socket) };
}

function once(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = (): void => reject(new Error(`closed before ${event}`));
    socket.once("error", reject).once("close", onClose);
    socket.once(event, () => {
      socket.off("error", reject).off("close", onClose);
      resolve();
    });
  });
}

function openTunnel(raw: Socket, authority: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let head = "";
    const onClose = (): void => reject(new Error("closed at CONNECT"));
    const onData = (data: Buffer): void => {
      head += data.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      raw.off("data", onData).off("error", reject).off("close", onClose);
      if (/^HTTP\/1\.[01] 200 /.test(head)) resolve();
      else reject(new Error(`CONNECT was answered ${head.slice(0, head.indexOf("\r\n"))}`));
    };
    raw.on("data", onData).once("error", reject).once("close", onClose);
    raw.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  });
}

/** What is left of the response under way. */
interface Pending {
  head: string;
  /** Body bytes still to come; Infinity while the end is a last chunk. */
  remaining: number;
  /** The last bytes of a chunked body, to see its end across reads. */
  tail: string;
  received: number;
  readonly onBody: ((chunk: Buffer) => void) | undefined;
  readonly resolve: (bytes: number) => void;
  readonly reject: (error: Error) => void;
}

function exchanger(socket: TLSSocket): Connection["exchange"] {
  let pending: Pending | undefined;
  const fail = (error: Error): void => {
    pending?.reject(error);
    pending = undefined;
    socket.destroy();
  };
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("the connection closed inside a response")));
  socket.on("data", (data: Buffer) => {
    if (pending === undefined) return fail(new Error("bytes that no request asked for"));
    try {
      if (!isWhole(pending, data)) return;
    } catch (error) {
      return fail(error instanceof Error ? error : new Error(String(error)));
    }
    const { resolve, received } = pending;
    pending = undefined;
    resolve(received);
  });
  return (request, onBody) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error("the connection is closed"));
      pending = { head: "", remaining: -1, tail: "", received: 0, onBody, resolve, reject };
      socket.write(request);
    });
}

/** Takes in what arrived; true when the response is complete. */
function isWhole(pending: Pending, data: Buffer): boolean {
  let body = data;
  if (pending.remaining < 0) {
    const before = pending.head.length;
    pending.head += data.toString("latin1");
    const end = pending.head.indexOf("\r\n\r\n");
    if (end < 0) return false;
    pending.remaining = bodyLength(pending.head.slice(0, end));
    body = data.subarray(end + 4 - before);
  }
  pending.received += body.length;
  if (body.length > 0) pending.onBody?.(body);
  if (pending.remaining !== Number.POSITIVE_INFINITY) {
    pending.remaining -= body.length;
    return pending.remaining === 0;
  }
  pending.tail = (pending.tail + body.subarray(-LAST_CHUNK.length).toString("latin1")).slice(-LAST_CHUNK.length);
  return pending.tail === LAST_CHUNK;
}

function bodyLength(head: string): number {
  if (!head.startsWith("HTTP/1.1 200 ")) throw new Error(`answered ${head.slice(0, 60).split("\r\n")[0] ?? ""}`);
  const length = /\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return Number(length);
  if (/\ntransfer-encoding: *chunked/i.test(head)) return Number.POSITIVE_INFINITY;
  throw new Error("a response without a length");
}
