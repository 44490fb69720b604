/**
 * Recorded WebSockets as test fixtures: test/fixtures/<handler>/<case>.ws, records in the format of src/usage/replay.ts
 * whose response is the 101, and whose response body has one message a line, in the order in which they passed:
 *
 *     > {"type":"response.create"}        a text message of the client; "<" is the server
 *     <b {"setupComplete":{}}             a binary message, given as UTF-8
 *     <o 20000000                         a message too large to be read, and its bytes
 *
 * A reading of the `expect` section is as in a .http fixture, and has beside it the number of the message that gives
 * it, from 1: `"at":3`. Without it the reading comes at the end of the socket.
 */

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect } from "vitest";

import type { Handler, ReadEnd, Reading, SocketMessage } from "../../src/usage/handler.ts";
import { createReplayJobs, exchangeInfo, parseRecord } from "../../src/usage/replay.ts";
import type { RecordedExchange } from "../../src/usage/replay.ts";
import { expectReadings, handlerOf } from "./fixture.ts";

const FIXTURES = join(import.meta.dirname, "..", "fixtures");

export interface RecordedMessage {
  readonly from: "client" | "server";
  readonly message: SocketMessage;
}

export interface SocketFixture {
  /** "openai/realtime-conversation" */
  readonly name: string;
  readonly exchange: RecordedExchange;
  readonly messages: readonly RecordedMessage[];
}

/** A reading, and the number of the message that gave it; undefined: the end of the socket. */
export interface ToldReading {
  readonly reading: Reading;
  readonly at: number | undefined;
}

/** Every socket of one folder, by name. */
export function loadSocketFixtures(folder: string): readonly SocketFixture[] {
  const files = readdirSync(join(FIXTURES, folder)).filter((file) => file.endsWith(".ws"));
  return files.toSorted().map((file) => {
    const name = `${folder}/${basename(file, ".ws")}`;
    const [exchange, ...others] = parseRecord(readFileSync(join(FIXTURES, folder, file), "utf8"));
    if (exchange?.response?.status !== 101 || others.length > 0) throw new Error(`${name} is not the record of one socket`);
    const lines = exchange.response.body.split("\n").filter((line) => line !== "");
    return { name, exchange, messages: lines.map(parseMessage) };
  });
}

/** Runs the messages of a fixture through its handler's reader, as the meter does. */
export function runSocket(fixture: SocketFixture, handlers: readonly Handler[], changes: Partial<Pick<SocketFixture, "messages"> & { end: ReadEnd["kind"]; estimate: boolean }> = {}): readonly ToldReading[] {
  const { exchange } = fixture;
  const { messages = fixture.messages, end = exchange.options.end ?? "complete", estimate = exchange.options.estimate ?? true } = changes;
  const { socket } = handlerOf(exchange, handlers).open(exchangeInfo(exchange), { isEstimateAllowed: estimate, jobs: createReplayJobs() });
  if (socket === undefined) throw new Error(`nobody reads the socket of ${fixture.name}`);
  const told = messages.flatMap(({ from, message }, index): readonly ToldReading[] => {
    if (from === "server") return socket.serverMessage(message).map((reading) => ({ reading, at: index + 1 }));
    socket.clientMessage(message);
    return [];
  });
  return [...told, ...socket.end({ kind: end }).map((reading) => ({ reading, at: undefined }))];
}

/** Compares what was told with the fixture's `expect` section. */
export function expectTold(told: readonly ToldReading[], expected: unknown): void {
  if (!Array.isArray(expected)) throw new Error("the fixture has no expect section that is an array");
  const wanted = expected.map((value: unknown) => splitPlace(value));
  expectReadings(told.map(({ reading }) => reading), wanted.map(({ reading }) => reading));
  expect(told.map(({ at }) => at)).toEqual(wanted.map(({ at }) => at));
}

function splitPlace(expected: unknown): { readonly reading: unknown; readonly at: unknown } {
  if (typeof expected !== "object" || expected === null) throw new Error("an expected reading is an object");
  const { at, ...reading } = Object.fromEntries(Object.entries(expected)) as { at?: unknown };
  return { reading, at };
}

const LINE = /^([<>])([bo]?) (.*)$/;

function parseMessage(line: string): RecordedMessage {
  const [, side, kind, content = ""] = LINE.exec(line) ?? [];
  if (side === undefined) throw new Error(`"${line.slice(0, 40)}" is not a message (> of the client, < of the server)`);
  return { from: side === ">" ? "client" : "server", message: messageOf(kind, content) };
}

function messageOf(kind: string | undefined, content: string): SocketMessage {
  if (kind === "b") return { kind: "binary", bytes: Buffer.from(content) };
  return kind === "o" ? { kind: "oversized", bytes: Number(content) } : { kind: "text", text: content };
}
