/**
 * The last answer on a connection that ends with it. Closing at once with unread bytes of the client on the way makes the
 * kernel send a reset, which takes the answer with it (RFC 9112 section 9.6): what the client still sends is thrown away for
 * a while.
 */

import type { Socket } from "node:net";

/** Past either the connection is destroyed. */
export const LINGER_MS = 10_000;
export const LINGER_BYTES = 64 * 1024 * 1024;

/** Sends the text (latin1) and ends the connection. Nobody else may write to it or read from it. */
export function endWithAnswer(socket: Socket, text: string): void {
  socket.end(text, "latin1");
  linger(socket);
}

/** For a response that Node ends the connection behind: it calls `destroySoon` when the response has been written (lib/_http_server.js, resOnFinish). */
export function lingerAtEnd(socket: Socket): void {
  socket.destroySoon = () => {
    socket.end();
    linger(socket);
  };
}

/** To be called when the socket's writable side has been ended. */
export function linger(socket: Socket): void {
  if (socket.destroyed) return;
  const readBefore = socket.bytesRead;
  const destroy = (): void => void socket.destroy();
  const timer = setTimeout(destroy, LINGER_MS);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
  if (socket.readableEnded) socket.once("finish", destroy);
  else socket.once("end", () => (socket.writableFinished ? destroy() : socket.once("finish", destroy)));
  socket.on("data", () => {
    if (socket.bytesRead - readBefore > LINGER_BYTES) destroy();
  });
  socket.resume();
}
