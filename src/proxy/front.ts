/**
 * The listener: http-mitm-proxy's server, CONNECT event and request hook. This is the only file that imports it; none
 * of its CONNECT, certificate, request or WebSocket paths is ever reached (docs/decisions/0001 says why).
 */

import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Proxy as MitmProxy } from "http-mitm-proxy";

import { checkedRequests, pendingOn, tuneServer, type RefusalWriter, type RequestHandler } from "./h1-server.ts";

export interface FrontHandlers {
  /** A connection beyond MAX_CONNECTIONS was closed as it came. */
  readonly onConnectionsFull: () => void;
  /** A CONNECT request. The socket is the handler's from here on; `first` holds bytes the client sent along. */
  readonly onConnect: (request: IncomingMessage, socket: Socket, first: Buffer) => void;
  readonly onRequest: RequestHandler;
  readonly writeRefusal: RefusalWriter;
}

export interface Front {
  readonly port: number;
  /** Stops listening; connections that exist go on. */
  stopListening(): void;
  /** Ends every connection that is left. */
  destroy(): void;
}

/** Client connections at once; one more is closed as it comes. Each holds up to two descriptors. */
export const MAX_CONNECTIONS = 8192;

/** Listens. Rejects with the listen error (EADDRINUSE, EACCES …). */
export async function listenFront(host: string, port: number, handlers: FrontHandlers): Promise<Front> {
  // The library insists on making an RSA CA when it listens; it is never used and its key must not stay on the disk.
  const unusedCaDir = await mkdtemp(join(tmpdir(), "tallyman-front-"));
  try {
    const server = await listen(host, port, unusedCaDir, handlers);
    return {
      port: (server.address() as AddressInfo).port,
      stopListening: () => void server.close(),
      destroy: () => server.closeAllConnections(),
    };
  } finally {
    await rm(unusedCaDir, { recursive: true, force: true });
  }
}

function listen(host: string, port: number, caDir: string, handlers: FrontHandlers): Promise<Server> {
  return new Promise((resolve, reject) => {
    const proxy = new MitmProxy();
    const handle = checkedRequests(handlers.onRequest, handlers.writeRefusal);
    // Its own handlers print to the console; a failed listen is reported once, by us.
    proxy._onError = (_kind: string, _context: unknown, error: Error) => reject(error);
    proxy._onSocketError = () => undefined;
    proxy.onConnect((request, socket, first) => {
      const client = socket as Socket;
      // Never calling back keeps the socket ours; one that was sent ahead of an answer would share it with that.
      if (pendingOn(client) === undefined) handlers.onConnect(request, client, first);
      else client.destroy();
    });
    // Taken over before its onRequest hook: by then it has cut the authority out of an absolute-form target, and it
    // answers a request without a Host by itself.
    proxy._onHttpServerRequest = (_isTls, request, response) => handle(request, response, false);
    proxy.listen({ host, port, sslCaDir: caDir }, (error) => {
      const server = proxy.httpServer;
      if (error !== undefined && error !== null) reject(error);
      else if (server === undefined) reject(new Error("the proxy did not listen"));
      else {
        // Its WebSocket server must not answer upgrades.
        server.removeAllListeners("upgrade");
        tuneServer(server, handle, handlers.writeRefusal);
        server.maxConnections = MAX_CONNECTIONS;
        server.on("drop", handlers.onConnectionsFull);
        resolve(server);
      }
    });
  });
}
