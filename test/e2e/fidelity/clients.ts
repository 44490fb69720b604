/** Clients behind the proxy: TLS in a CONNECT tunnel, HTTP/1.1 as raw text or HTTP/2 as frames. */

import { connect as netConnect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";

import { FLAG, FRAME, headersFrames, Http2Wire, resetFrame, type WireOptions } from "../../support/http2-frames.ts";
import { chunks, lastChunk, readResponses } from "./message.ts";
import { arrivalOf, lowered, requestFrames, streamArrival, type Client, type Version } from "./peers.ts";

export interface ClientOptions extends WireOptions {
  readonly proxyPort: number;
  /** The CONNECT target. */
  readonly authority: string;
  readonly caPem: string;
  /** "" = no server name. */
  readonly serverName?: string;
}

/** Resolves when the client can speak. Rejects where the tunnel or TLS fails. */
export async function connectClient(version: Version, options: ClientOptions): Promise<Client> {
  const socket = await connectSocket(version, options);
  return version === "h1" ? httpClient(socket) : http2Client(new Http2Wire(socket, "client", options));
}

/** A CONNECT tunnel, before any TLS. */
export async function openTunnel(proxyPort: number, authority: string): Promise<Socket> {
  const socket = netConnect({ port: proxyPort, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => undefined);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const answer = await new Promise<string>((resolve, reject) => {
    socket.once("data", (chunk: Buffer) => resolve(chunk.toString("latin1")));
    socket.once("close", () => reject(new Error("the proxy closed the connection")));
  });
  if (answer !== "HTTP/1.1 200 Connection Established\r\n\r\n") throw new Error(answer);
  return socket;
}

async function connectSocket(version: Version, options: ClientOptions): Promise<Socket> {
  const socket = await openTunnel(options.proxyPort, options.authority);
  const name = options.serverName ?? options.authority.replace(/:\d+$/, "");
  const protocol = version === "h1" ? "http/1.1" : "h2";
  const tls = tlsConnect({ socket, ca: options.caPem, ALPNProtocols: [protocol], servername: name, checkServerIdentity: () => undefined });
  await new Promise<void>((resolve, reject) => tls.once("secureConnect", resolve).once("error", reject));
  tls.on("error", () => undefined);
  if (tls.alpnProtocol !== protocol) throw new Error(`the proxy chose ${String(tls.alpnProtocol)} instead of ${protocol}`);
  return tls;
}

function httpClient(socket: Socket): Client {
  const methods: string[] = [];
  const state = { received: "", isClosed: false };
  socket.on("data", (chunk: Buffer) => (state.received += chunk.toString("latin1")));
  for (const event of ["end", "close"]) socket.on(event, () => (state.isClosed = true));
  const write = (bytes: string | Uint8Array): void => {
    if (socket.destroyed) return;
    if (typeof bytes === "string") socket.write(bytes, "latin1");
    else socket.write(bytes);
  };
  return {
    version: "h1",
    ask(text) {
      const index = methods.push(text.trimStart().split(" ")[0] as string) - 1;
      const isChunked = /\r\ntransfer-encoding:/i.test(text);
      write(text);
      return {
        get answer() {
          const { messages } = readResponses(state.received, methods, state.isClosed);
          const isFinal = (start: string): boolean => !/^HTTP\/1\.[01] 1(?!01)/.test(start);
          const finals = messages.flatMap((message, i) => (isFinal(message.start) ? [i] : []));
          const from = index === 0 ? 0 : (finals[index - 1] ?? messages.length) + 1;
          const to = finals[index];
          return arrivalOf(messages.slice(from, to), to === undefined ? undefined : messages[to], state.isClosed);
        },
        data: (piece) => write(isChunked ? chunks(piece) : piece),
        end: (...trailerLines) => write(isChunked ? lastChunk(...trailerLines) : ""),
        destroy: () => void socket.destroy(),
        reset() {
          throw new Error("HTTP/1.1 resets no streams");
        },
      };
    },
    raw: write,
    get received() {
      return state.received;
    },
    get isClosed() {
      return state.isClosed;
    },
    stream() {
      throw new Error("HTTP/1.1 has no streams");
    },
    goawayCode: undefined,
    isAnswered: () => false,
    destroy: () => void socket.destroy(),
  };
}

function http2Client(wire: Http2Wire): Client {
  let nextId = 1;
  return {
    version: "h2",
    ask(text, isOpen = false) {
      const id = nextId;
      nextId += 2;
      const { fields, body, trailers } = requestFrames(text);
      const isBare = body === "" && !isOpen && trailers.length === 0;
      wire.write(headersFrames(id, fields, isBare));
      if (body !== "") wire.send(id, body, !isOpen && trailers.length === 0);
      if (trailers.length > 0) wire.sendTrailers(id, trailers);
      return {
        get answer() {
          return streamArrival(wire.stream(id), wire.isClosed || wire.isEnded);
        },
        data: (piece) => wire.send(id, piece, false),
        end: (...trailerLines) => (trailerLines.length === 0 ? wire.send(id, "", true) : wire.sendTrailers(id, trailerFields(trailerLines))),
        destroy: () => void wire.socket.destroy(),
        reset: (code) => wire.write(resetFrame(id, code)),
      };
    },
    raw: (bytes) => wire.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes),
    received: "",
    get isClosed() {
      return wire.isClosed || wire.isEnded;
    },
    stream: (id) => wire.stream(id),
    get goawayCode() {
      return wire.goawayCode;
    },
    isAnswered: (ping) => wire.frames.some(({ type, flags, payload }) => type === FRAME.ping && (flags & FLAG.ack) !== 0 && payload.toString("latin1") === ping),
    destroy: () => void wire.socket.destroy(),
  };
}

/** `Name: value` lines as an HTTP/2 field list. */
export function trailerFields(trailerLines: readonly string[]): string[] {
  return lowered(trailerLines.flatMap((line) => line.split(": ")));
}
