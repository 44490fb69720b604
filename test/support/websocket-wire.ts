/**
 * The server side of WebSockets, by hand: RFC 6455 frames and RFC 7692 compression over TLS, so that what passes the
 * proxy is exactly what a test wrote. Knows whole messages of the client, also masked and compressed; no fragments.
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type TLSSocket } from "node:tls";
import { constants, createDeflateRaw, inflateRawSync } from "node:zlib";

import type { SimulatedTls } from "../../src/demo/simulated-tls.ts";
import { until } from "./until.ts";

export interface FrameOptions {
  /** Default: text. 0 continuation, 2 binary, 8 close, 9 ping, 10 pong. */
  readonly opcode?: number;
  readonly isFinal?: boolean;
  readonly isCompressed?: boolean;
  /** Four bytes: as a client sends it. */
  readonly mask?: Uint8Array;
}

/** One frame of RFC 6455 section 5.2. */
export function frameOf(content: string | Uint8Array, options: FrameOptions = {}): Buffer {
  const { opcode = 1, isFinal = true, isCompressed = false, mask } = options;
  const payload = Buffer.from(content);
  const length = payload.length < 126 ? Buffer.alloc(0) : Buffer.alloc(payload.length < 65_536 ? 2 : 8);
  if (length.length === 2) length.writeUInt16BE(payload.length);
  if (length.length === 8) length.writeBigUInt64BE(BigInt(payload.length));
  const short = length.length === 0 ? payload.length : length.length === 2 ? 126 : 127;
  const head = Buffer.from([(isFinal ? 0x80 : 0) | (isCompressed ? 0x40 : 0) | opcode, (mask === undefined ? 0 : 0x80) | short]);
  if (mask !== undefined) payload.forEach((byte, i) => payload.writeUInt8(byte ^ mask[i % 4]!, i));
  return Buffer.concat([head, length, mask ?? Buffer.alloc(0), payload]);
}

/** Compresses the messages of one side with context takeover, as permessage-deflate does. */
export function createMessageDeflater(): (text: string) => Promise<Buffer> {
  const stream = createDeflateRaw();
  let pieces: Buffer[] = [];
  stream.on("data", (piece: Buffer) => pieces.push(piece));
  return async (text) => {
    pieces = [];
    stream.write(text);
    await new Promise<void>((resolve) => stream.flush(constants.Z_SYNC_FLUSH, resolve));
    return Buffer.concat(pieces).subarray(0, -4);
  };
}

export interface SocketPeer {
  /** The upgrade's request head. */
  readonly head: string;
  /** Text messages of the client so far. */
  readonly received: readonly string[];
  readonly isClosed: boolean;
  /** Answers 101. `deflate`: permessage-deflate, with context takeover for what is sent from here and without for what comes. */
  accept(options?: { readonly deflate?: boolean; readonly headers?: readonly string[] }): void;
  /** Answers something else and ends the connection. */
  refuse(response: string): void;
  send(...messages: readonly object[]): Promise<void>;
  sendBytes(bytes: Uint8Array): void;
  /** The client's next message that nobody has taken, parsed. */
  next(): Promise<unknown>;
  /** Sends a close frame, then ends the connection. */
  close(code: number): void;
  destroy(): void;
}

export interface SocketServer {
  readonly port: number;
  /** The next upgrade that nobody has taken. */
  next(): Promise<SocketPeer>;
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1. */
export async function startSocketServer(tls: SimulatedTls): Promise<SocketServer> {
  const waiting: SocketPeer[] = [];
  const sockets = new Set<TLSSocket>();
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (socket) => {
    sockets.add(socket);
    servePeer(socket, (peer) => waiting.push(peer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return {
    port: address.port,
    async next() {
      await until(() => waiting.length > 0, "an upgrade at the socket server");
      return waiting.shift()!;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** RFC 6455 section 1.3. */
const ACCEPT_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function servePeer(socket: TLSSocket, onUpgrade: (peer: SocketPeer) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  let head: string | undefined;
  let deflate: ((text: string) => Promise<Buffer>) | undefined;
  let isClosed = false;
  let taken = 0;
  const received: string[] = [];
  const peer = (request: string): SocketPeer => ({
    head: request,
    received,
    get isClosed() {
      return isClosed;
    },
    accept({ deflate: isDeflated = false, headers = [] } = {}) {
      const key = /^sec-websocket-key: *(\S+)/im.exec(request)?.[1] ?? "";
      const accept = createHash("sha1").update(key + ACCEPT_KEY).digest("base64");
      if (isDeflated) deflate = createMessageDeflater();
      const extension = isDeflated ? ["Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"] : [];
      const lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`, ...extension, ...headers];
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    },
    refuse: (response) => void socket.end(response),
    async send(...messages) {
      for (const message of messages) {
        const text = JSON.stringify(message);
        socket.write(deflate === undefined ? frameOf(text) : frameOf(await deflate(text), { isCompressed: true }));
      }
    },
    sendBytes: (content) => void socket.write(content),
    async next() {
      await until(() => received.length > taken, "a message of the client");
      const message: unknown = JSON.parse(received[taken++]!);
      return message;
    },
    close(code) {
      const payload = Buffer.alloc(2);
      payload.writeUInt16BE(code);
      socket.end(frameOf(payload, { opcode: 8 }));
    },
    destroy: () => void socket.destroy(),
  });
  socket.on("error", () => undefined);
  socket.on("close", () => (isClosed = true));
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (head === undefined) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end === -1) return;
      head = bytes.toString("latin1", 0, end + 4);
      bytes = bytes.subarray(end + 4);
      onUpgrade(peer(head));
    }
    for (let frame = readFrame(bytes); frame !== undefined; frame = readFrame(bytes)) {
      bytes = bytes.subarray(frame.bytes);
      if (frame.opcode === 1) received.push((frame.isCompressed ? inflateRawSync(frame.payload, { finishFlush: constants.Z_SYNC_FLUSH }) : frame.payload).toString());
      if (frame.opcode === 8) socket.end(frameOf(frame.payload, { opcode: 8 }));
    }
  });
}

interface Frame {
  readonly opcode: number;
  readonly isCompressed: boolean;
  readonly payload: Buffer;
  /** Of the whole frame. */
  readonly bytes: number;
}

/** The first frame, unmasked; undefined while it is not whole. */
function readFrame(data: Buffer): Frame | undefined {
  if (data.length < 2) return undefined;
  const first = data.readUInt8(0);
  const second = data.readUInt8(1);
  const short = second & 0x7f;
  const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8;
  const maskBytes = (second & 0x80) === 0 ? 0 : 4;
  const from = 2 + lengthBytes + maskBytes;
  if (data.length < from) return undefined;
  const length = lengthBytes === 0 ? short : lengthBytes === 2 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
  if (data.length < from + length) return undefined;
  const mask = data.subarray(from - maskBytes, from);
  const payload = Buffer.from(data.subarray(from, from + length));
  if (maskBytes > 0) payload.forEach((byte, i) => payload.writeUInt8(byte ^ mask[i % 4]!, i));
  return { opcode: first & 0x0f, isCompressed: (first & 0x40) !== 0, payload, bytes: from + length };
}
