/** The upstream of the soak: chat streams with usage at their end, over HTTP/1.1 and HTTP/2, some of which it breaks off. */

import { once } from "node:events";
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import { streamEvents } from "../payloads.ts";

export interface SoakUpstream {
  readonly port: number;
  readonly caPem: string;
  /** Streams that it broke off. */
  readonly brokenOff: number;
  close(): void;
}

const EVENT_MS = 20;

/** `breakOffShare`: the part of the streams (0 to 1) that end at a random event without an end. */
export async function startSoakUpstream(breakOffShare: number, random: () => number): Promise<SoakUpstream> {
  const tls = await createSimulatedTls();
  const events = streamEvents().slice(-40);
  let brokenOff = 0;
  const answer = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    request.resume();
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    response.writeHead(200, { "content-type": "text/event-stream" });
    const breaksAt = random() < breakOffShare ? Math.floor(random() * events.length) : -1;
    let next = 0;
    const timer = setInterval(() => {
      const event = events[next];
      if (next === breaksAt) {
        clearInterval(timer);
        brokenOff += 1;
        // A compatibility response over HTTP/1.1 has no stream of its own.
        if (request.httpVersionMajor === 2) response.stream.close(2);
        else request.socket.destroy();
      } else if (event === undefined) {
        clearInterval(timer);
        response.end();
      } else {
        next += 1;
        response.write(event);
      }
    }, EVENT_MS);
    response.once("close", () => clearInterval(timer));
  };
  const server = createSecureServer({ key: tls.key, cert: tls.cert, allowHTTP1: true }, answer);
  const sockets = new Set<{ destroy(): void }>();
  server.on("secureConnection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("sessionError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    caPem: tls.ca,
    get brokenOff() {
      return brokenOff;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
