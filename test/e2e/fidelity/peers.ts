/**
 * What rows say to a client and to an upstream, whatever HTTP version either speaks. Messages go in as HTTP/1.1 text;
 * an HTTP/2 peer sends the frames that mean the same.
 */

import type { FieldList } from "../../support/fidelity-hpack.ts";
import type { WireStream } from "../../support/http2-frames.ts";
import { readRequests, readResponses, valuesOf, type Message } from "./message.ts";

export type Version = "h1" | "h2";

/** A message on its way in. */
export interface Arrival {
  /** Interim responses, in order. */
  readonly informs: readonly Head[];
  /** Undefined until it is whole. */
  readonly head: Head | undefined;
  /** What has come of the body, without its framing. */
  readonly body: string;
  readonly trailers: FieldList;
  /** How HTTP/1.1 delimits the body; `stream` in HTTP/2. */
  readonly framing: Message["framing"] | "stream";
  /** `cut`: it has ended, and its receiver knows that it is not whole. */
  readonly state: "open" | "whole" | "cut";
  /** The code of the RST_STREAM that cut it. */
  readonly resetCode: number | undefined;
}

export interface Head {
  /** HTTP/1.1: the start line. HTTP/2: the pseudo fields' values in order, joined by spaces. */
  readonly start: string;
  /** Without pseudo fields. */
  readonly fields: FieldList;
}

/** The sending side of one exchange whose head has left. */
export interface Sender {
  data(piece: string): void;
  end(...trailerLines: readonly string[]): void;
  /** The connection is gone, at once. */
  destroy(): void;
  /** RST_STREAM; throws in HTTP/1.1. */
  reset(code: number): void;
}

/** A request that arrived at the upstream. */
export interface Asked extends Sender {
  readonly version: Version;
  readonly request: Arrival;
  /** Interim responses and a response, or a part of these. With `isOpen` more of the body comes. A text without an end is ended by the close. */
  send(text: string, isOpen?: boolean): void;
  /** Bytes as they are; HTTP/2 frames too. */
  raw(bytes: string | Uint8Array): void;
  /** HTTP/1.1: everything that came on the connection. */
  readonly received: string;
  /** HTTP/2: the stream's number. */
  readonly streamId: number;
  /** Ended by the proxy. */
  readonly isConnectionOver: boolean;
  /** Ends the connection in order. */
  close(): void;
}

/** A request of the client and what came back. */
export interface Asking extends Sender {
  readonly answer: Arrival;
}

export interface Client {
  readonly version: Version;
  /** Begins an exchange. With `isOpen` the body is not finished. */
  ask(text: string, isOpen?: boolean): Asking;
  /** Bytes as they are; HTTP/2 frames too. */
  raw(bytes: string | Uint8Array): void;
  /** HTTP/1.1: everything received. */
  readonly received: string;
  readonly isClosed: boolean;
  /** HTTP/2: the stream's state, and the code of a GOAWAY. */
  stream(id: number): WireStream;
  readonly goawayCode: number | undefined;
  /** HTTP/2: a PING of these eight characters was answered. */
  isAnswered(ping: string): boolean;
  destroy(): void;
}

/** The header lists of an HTTP/2 message that means the same as a text. */
export interface FrameForm {
  readonly informs: readonly FieldList[];
  readonly fields: FieldList;
  readonly body: string;
  readonly trailers: FieldList;
  /** The text's body has an end. */
  readonly isWhole: boolean;
}

export function requestFrames(text: string): FrameForm {
  const { messages, fault } = readRequests(text);
  const [message] = messages;
  if (message === undefined || fault !== undefined) throw new Error(`the row's request cannot be read: ${fault ?? text}`);
  const [method = "", path = ""] = message.start.split(" ");
  const authority = valuesOf(message.fields, "host")[0] ?? "";
  const pseudo = [":method", method, ":scheme", "https", ":authority", authority, ":path", path];
  return { informs: [], fields: [...pseudo, ...lowered(without(message.fields, ["host", ...CONNECTION_FIELDS]))], body: message.body, trailers: lowered(message.trailers), isWhole: message.isWhole };
}

export function responseFrames(text: string, method: string): FrameForm {
  const { messages, fault } = readResponses(text, [method], true);
  const final = messages.at(-1);
  if (final === undefined || fault !== undefined) throw new Error(`the row's response cannot be read: ${fault ?? text}`);
  const form = (message: Message): FieldList => [":status", message.start.slice(9, 12), ...lowered(without(message.fields, CONNECTION_FIELDS))];
  return { informs: messages.slice(0, -1).map(form), fields: form(final), body: final.body, trailers: lowered(final.trailers), isWhole: final.isWhole };
}

/** RFC 9113 section 8.2.2. */
export const CONNECTION_FIELDS = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

export function without(fields: FieldList, lowerNames: readonly string[]): string[] {
  return fields.filter((_, i) => !lowerNames.includes((fields[i - (i % 2)] as string).toLowerCase()));
}

export function lowered(fields: FieldList): string[] {
  return fields.map((part, i) => (i % 2 === 0 ? part.toLowerCase() : part));
}

/** What an HTTP/1.1 peer has of a message. */
export function arrivalOf(informs: readonly Message[], message: Message | undefined, isConnectionOver: boolean): Arrival {
  const open = isConnectionOver ? "cut" : "open";
  if (message === undefined) return { informs, head: undefined, body: "", trailers: [], framing: "none", state: open, resetCode: undefined };
  const { body, trailers, framing, isWhole } = message;
  return { informs, head: message, body, trailers, framing, state: isWhole ? "whole" : open, resetCode: undefined };
}

/** What an HTTP/2 peer has of a message. */
export function streamArrival(stream: WireStream, isConnectionOver: boolean): Arrival {
  const isInterim = (block: FieldList): boolean => block[0] === ":status" && (block[1] ?? "").startsWith("1");
  const heads = stream.blocks.filter((block, i) => stream.blockAt[i] === 0 && (i === 0 || block[0]?.startsWith(":")));
  const informs = heads.filter(isInterim);
  const head = heads.find((block) => !isInterim(block));
  const trailers = stream.blocks.slice(heads.length)[0] ?? [];
  const isCut = stream.resetCode !== undefined || isConnectionOver;
  return {
    informs: informs.map(splitPseudo),
    head: head === undefined ? undefined : splitPseudo(head),
    body: stream.data,
    trailers,
    framing: "stream",
    state: stream.isEnded ? "whole" : isCut ? "cut" : "open",
    resetCode: stream.resetCode,
  };
}

function splitPseudo(block: FieldList): Head {
  const isPseudo = (i: number): boolean => (block[i - (i % 2)] as string).startsWith(":");
  const pseudo = block.filter((_, i) => isPseudo(i));
  return { start: pseudo.filter((_, i) => i % 2 === 1).join(" "), fields: block.filter((_, i) => !isPseudo(i)) };
}
