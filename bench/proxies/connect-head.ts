/** Reads one CONNECT head and accepts it: all of HTTP that the hand-written contestants know. */

import type { Socket } from "node:net";

const ACCEPTED = "HTTP/1.1 200 Connection Established\r\n\r\n";

/** Calls `accepted` once the head is in and answered. The clients of the bench send nothing behind it before that. */
export function acceptConnect(socket: Socket, accepted: () => void): void {
  let head = "";
  const onData = (data: Buffer): void => {
    head += data.toString("latin1");
    if (!head.endsWith("\r\n\r\n")) return;
    socket.off("data", onData);
    socket.pause();
    socket.write(ACCEPTED);
    accepted();
  };
  socket.on("data", onData);
}
