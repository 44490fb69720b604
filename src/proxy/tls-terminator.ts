/**
 * Terminates TLS on a client's connection, in process, with a minted leaf of the CONNECT target, and hands the plain
 * connection to the HTTP server inside. A client that does not speak TLS is handed back.
 */

import type { Socket } from "node:net";
import { TLSSocket, type SecureContext } from "node:tls";

export interface TerminatorOptions {
  /** The context to present for a host; rejects when no leaf can be minted. */
  readonly contextFor: (host: string) => Promise<SecureContext>;
  readonly handshakeTimeoutMs: number;
}

export interface Terminator {
  /**
   * Calls exactly one of the callbacks, or none when the client goes away first. `onPlain` gets the socket with the
   * first bytes still readable.
   */
  terminate(socket: Socket, host: string, callbacks: TerminatorCallbacks): void;
}

export interface TerminatorCallbacks {
  readonly onSecure: (socket: TLSSocket) => void;
  readonly onPlain: (socket: Socket) => void;
  readonly onError: (error: Error) => void;
}

/** What clients are offered, the preferred one first; one that offers nothing speaks HTTP/1.1. */
const ALPN_PROTOCOLS = ["h2", "http/1.1"];

/** First byte of a TLS record that carries a handshake (RFC 8446 section 5.1). */
const TLS_HANDSHAKE = 0x16;

export function createTerminator(options: TerminatorOptions): Terminator {
  return {
    terminate(socket, host, callbacks) {
      // Until TLS has taken over, an idle or broken client is ended here.
      const timer = setTimeout(() => socket.destroy(), options.handshakeTimeoutMs);
      const giveUp = (): void => clearTimeout(timer);
      socket.once("close", giveUp);
      peekByte(socket, (first) => {
        if (first !== TLS_HANDSHAKE) {
          giveUp();
          callbacks.onPlain(socket);
          return;
        }
        options.contextFor(host).then(
          (context) => {
            if (!socket.destroyed) handshake(socket, context, timer, callbacks);
          },
          (error: unknown) => {
            socket.destroy();
            callbacks.onError(error instanceof Error ? error : new Error("no certificate"));
          },
        );
      });
    },
  };
}

function handshake(socket: Socket, context: SecureContext, timer: NodeJS.Timeout, callbacks: TerminatorCallbacks): void {
  const tls = new TLSSocket(socket, { isServer: true, secureContext: context, ALPNProtocols: ALPN_PROTOCOLS, requestCert: false });
  let isSecure = false;
  let hasFailed = false;
  const fail = (error: Error): void => {
    clearTimeout(timer);
    tls.destroy();
    socket.destroy();
    if (!isSecure && !hasFailed) callbacks.onError(error);
    hasFailed = true;
  };
  tls.on("error", fail);
  // Both sockets allow half-open: without this a client that leaves inside the handshake would stay until the timer. The
  // raw socket is the one that sees an end which came before TLS took over.
  const ended = (): void => {
    if (!isSecure) fail(new Error("closed during the TLS handshake"));
  };
  tls.once("end", ended);
  socket.once("end", ended);
  // Two sockets, one connection: whatever ends one ends the other.
  tls.once("close", () => socket.destroy());
  socket.once("close", () => tls.destroy());
  tls.once("secure", () => {
    isSecure = true;
    clearTimeout(timer);
    callbacks.onSecure(tls);
  });
}

/** Looks at the first byte and leaves it readable. Never calls back when the client ends without one. */
function peekByte(socket: Socket, callback: (first: number) => void): void {
  const onReadable = (): void => {
    const chunk: unknown = socket.read();
    if (!Buffer.isBuffer(chunk) || chunk.length === 0) {
      if (socket.readableEnded || socket.destroyed) socket.destroy();
      else socket.once("readable", onReadable);
      return;
    }
    socket.off("end", onEnd);
    socket.unshift(chunk);
    callback(chunk[0] as number);
  };
  const onEnd = (): void => void socket.destroy();
  socket.once("end", onEnd);
  socket.once("readable", onReadable);
}
