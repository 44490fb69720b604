/**
 * Recorded WebSockets: a record in the format of replay.ts whose response is the 101, and whose response body has one
 * message a line, in the order in which they passed:
 *
 *     > {"type":"response.create"}        a text message of the client; "<" is the server
 *     <b {"setupComplete":{}}             a binary message, given as UTF-8
 *     <o 20000000                         a message too large to be read, and its bytes
 */

import type { OpenedExchange, ReadEnd, Reading, SocketMessage } from "./handler.ts";
import { RecordError } from "./replay.ts";
import type { RecordedExchange } from "./replay.ts";

export interface RecordedMessage {
  readonly from: "client" | "server";
  readonly message: SocketMessage;
}

/** A reading, and the number of the message that gave it, from 1; undefined: the end of the socket. */
export interface ToldReading {
  readonly reading: Reading;
  readonly at: number | undefined;
}

/** Whether an exchange is the record of a socket that opened. */
export function isSocketRecord(exchange: RecordedExchange): boolean {
  return exchange.response?.status === 101;
}

/** The messages of a record. Throws RecordError for a line that is none. */
export function parseMessages(exchange: RecordedExchange): readonly RecordedMessage[] {
  const lines = exchange.response?.body.split(/\r?\n/) ?? [];
  return lines.filter((line) => line !== "").map(parseMessage);
}

/** Runs messages through a socket's reader, as the meter does. Throws RecordError where nobody reads it. */
export function replayMessages(opened: OpenedExchange, messages: readonly RecordedMessage[], end: ReadEnd["kind"]): readonly ToldReading[] {
  const { socket } = opened;
  if (socket === undefined) throw new RecordError(`nobody reads the socket ${opened.api}`);
  const told = messages.flatMap(({ from, message }, index): readonly ToldReading[] => {
    if (from === "server") return socket.serverMessage(message).map((reading) => ({ reading, at: index + 1 }));
    socket.clientMessage(message);
    return [];
  });
  return [...told, ...socket.end({ kind: end }).map((reading) => ({ reading, at: undefined }))];
}

const LINE = /^([<>])([bo]?) (.*)$/;

function parseMessage(line: string): RecordedMessage {
  const [, side, kind, content = ""] = LINE.exec(line) ?? [];
  if (side === undefined) throw new RecordError(`"${line.slice(0, 40)}" is not a message (> of the client, < of the server)`);
  return { from: side === ">" ? "client" : "server", message: messageOf(kind, content) };
}

function messageOf(kind: string | undefined, content: string): SocketMessage {
  if (kind === "b") return { kind: "binary", bytes: Buffer.from(content) };
  return kind === "o" ? { kind: "oversized", bytes: Number(content) } : { kind: "text", text: content };
}
