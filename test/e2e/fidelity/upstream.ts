/**
 * An upstream that speaks TLS under any name: HTTP/1.1 as raw text or HTTP/2 as frames. The server name of a connection
 * tells to which row it belongs.
 */

import type { AddressInfo, Socket } from "node:net";
import { createSecureContext, createServer, type SecureContext } from "node:tls";

import type { CertificateAuthority } from "../../../src/proxy/certificate-authority.ts";
import { headersFrames, Http2Wire, resetFrame, type WireOptions, type WireStream } from "../../support/http2-frames.ts";
import { trailerFields } from "./clients.ts";
import { chunks, lastChunk, readRequests, readResponses } from "./message.ts";
import { arrivalOf, responseFrames, streamArrival, type Asked, type Version } from "./peers.ts";

/** What an upstream does with each request, from the moment its head is in. */
export type Script = (asked: Asked) => void;

/** One accepted connection. */
export interface Accepted {
  /** The server name; "" where the client sent none. */
  readonly name: string;
  readonly socket: Socket;
  /** HTTP/1.1: everything received, latin1. */
  readonly received: string;
  readonly isOver: boolean;
}

export interface Upstream {
  readonly port: number;
  readonly connections: readonly Accepted[];
  /** What happens to requests on connections of a name. */
  script(name: string, script: Script): void;
  /** Requests on connections of a name, in the order of their heads. */
  asked(name: string): readonly Asked[];
  close(): Promise<void>;
}

/** The name of the certificate that is shown where the client sends no server name. */
export const NAMELESS = "::1";
const LEAF_TTL_MS = 3_600_000;

export async function startUpstream(version: Version, authority: CertificateAuthority, wireOptions: WireOptions = {}): Promise<Upstream> {
  const contextFor = async (name: string): Promise<SecureContext> => {
    const leaf = await authority.issueLeaf(name, LEAF_TTL_MS, Date.now());
    return createSecureContext({ key: leaf.keyPem, cert: leaf.certificatePem });
  };
  const showCertificate = async (name: string, done: (error: Error | null, context?: SecureContext) => void): Promise<void> => {
    done(null, await contextFor(name));
  };
  const nameless = await authority.issueLeaf(NAMELESS, LEAF_TTL_MS, Date.now());
  const scripts = new Map<string, Script>();
  const requests = new Map<string, Asked[]>();
  const connections: Accepted[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({
    key: nameless.keyPem,
    cert: nameless.certificatePem,
    ALPNProtocols: [version === "h1" ? "http/1.1" : "h2"],
    allowHalfOpen: true,
    noDelay: true,
    SNICallback: (name, done) => void showCertificate(name, done),
  });
  server.on("connection", (socket) => sockets.add(socket));
  server.on("tlsClientError", () => undefined);
  server.on("secureConnection", (socket) => {
    const name = typeof socket.servername === "string" ? socket.servername : "";
    const onAsked = (asked: Asked): void => {
      requests.set(name, [...(requests.get(name) ?? []), asked]);
      scripts.get(name)?.(asked);
    };
    connections.push(version === "h1" ? acceptHttp(name, socket, onAsked) : acceptHttp2(name, socket, onAsked, wireOptions));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    script: (name, script) => void scripts.set(name, script),
    asked: (name) => requests.get(name) ?? [],
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function acceptHttp(name: string, socket: Socket, onAsked: (asked: Asked) => void): Accepted {
  const accepted = { name, socket, received: "", isOver: false };
  let count = 0;
  socket.on("error", () => undefined);
  for (const event of ["end", "close"]) socket.on(event, () => (accepted.isOver = true));
  socket.on("data", (chunk: Buffer) => {
    accepted.received += chunk.toString("latin1");
    const { messages } = readRequests(accepted.received);
    for (; count < messages.length; count++) onAsked(askedInHttp(accepted, count));
  });
  return accepted;
}

function askedInHttp(accepted: { received: string; isOver: boolean; socket: Socket }, index: number): Asked {
  const { socket } = accepted;
  const request = () => arrivalOf([], readRequests(accepted.received).messages[index], accepted.isOver);
  const raw = (bytes: string | Uint8Array): void => {
    if (socket.destroyed) return;
    if (typeof bytes === "string") socket.write(bytes, "latin1");
    else socket.write(bytes);
  };
  let isChunked = false;
  return {
    version: "h1",
    get request() {
      return request();
    },
    send(text, isOpen = false) {
      isChunked = /\r\ntransfer-encoding:/i.test(text);
      raw(text);
      const { messages } = readResponses(text, [(request().head?.start ?? "GET").split(" ")[0] as string], true);
      const final = messages.at(-1);
      const isEndedByClose = final?.framing === "rest" && !final.start.startsWith("HTTP/1.1 101");
      if (!isOpen && (isEndedByClose || /\r\nconnection: close\r\n/i.test(text))) socket.end();
    },
    data: (piece) => raw(isChunked ? chunks(piece) : piece),
    end: (...trailerLines) => raw(isChunked ? lastChunk(...trailerLines) : ""),
    destroy: () => void socket.destroy(),
    reset() {
      throw new Error("HTTP/1.1 resets no streams");
    },
    raw,
    get received() {
      return accepted.received;
    },
    streamId: 0,
    get isConnectionOver() {
      return accepted.isOver;
    },
    close: () => void socket.end(),
  };
}

function acceptHttp2(name: string, socket: Socket, onAsked: (asked: Asked) => void, wireOptions: WireOptions): Accepted {
  const known = new Set<number>();
  const wire: Http2Wire = new Http2Wire(socket, "server", {
    ...wireOptions,
    onStream(stream) {
      if (known.has(stream.id) || stream.blocks.length === 0) return;
      known.add(stream.id);
      onAsked(askedInHttp2(wire, stream));
    },
  });
  return {
    name,
    socket,
    received: "",
    get isOver() {
      return wire.isClosed || wire.isEnded;
    },
  };
}

function askedInHttp2(wire: Http2Wire, stream: WireStream): Asked {
  const { id } = stream;
  const request = () => streamArrival(stream, wire.isClosed || wire.isEnded);
  return {
    version: "h2",
    get request() {
      return request();
    },
    send(text, isOpen = false) {
      const block = stream.blocks[0] ?? [];
      const { informs, fields, body, trailers } = responseFrames(text, block[block.indexOf(":method") + 1] ?? "GET");
      const isInterim = fields[1]?.startsWith("1") === true;
      const isBare = body === "" && trailers.length === 0 && !isOpen && !isInterim;
      wire.write(...informs.map((inform) => headersFrames(id, inform, false)), headersFrames(id, fields, isBare));
      if (body !== "") wire.send(id, body, !isOpen && trailers.length === 0);
      if (trailers.length > 0) wire.sendTrailers(id, trailers);
    },
    data: (piece) => wire.send(id, piece, false),
    end: (...trailerLines) => (trailerLines.length === 0 ? wire.send(id, "", true) : wire.sendTrailers(id, trailerFields(trailerLines))),
    destroy: () => void wire.socket.destroy(),
    reset: (code) => wire.write(resetFrame(id, code)),
    raw: (bytes) => wire.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes),
    received: "",
    streamId: id,
    get isConnectionOver() {
      return wire.isClosed || wire.isEnded;
    },
    close: () => void wire.socket.end(),
  };
}
