/**
 * Recorded WebSockets as test fixtures: test/fixtures/<handler>/<case>.ws, in the format of src/usage/replay-socket.ts.
 * A reading of the `expect` section is as in a .http fixture, and has beside it the number of the message that gives it,
 * from 1: `"at":3`. Without it the reading comes at the end of the socket.
 */

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect } from "vitest";

import type { Handler, ReadEnd } from "../../src/usage/handler.ts";
import { createReplayJobs, exchangeInfo, parseRecord } from "../../src/usage/replay.ts";
import type { RecordedExchange } from "../../src/usage/replay.ts";
import { isSocketRecord, parseMessages, replayMessages } from "../../src/usage/replay-socket.ts";
import type { RecordedMessage, ToldReading } from "../../src/usage/replay-socket.ts";
import { expectReadings, handlerOf } from "./fixture.ts";

export type { RecordedMessage, ToldReading } from "../../src/usage/replay-socket.ts";

const FIXTURES = join(import.meta.dirname, "..", "fixtures");

export interface SocketFixture {
  /** "openai/realtime-conversation" */
  readonly name: string;
  readonly exchange: RecordedExchange;
  readonly messages: readonly RecordedMessage[];
}

/** Every socket of one folder, by name. */
export function loadSocketFixtures(folder: string): readonly SocketFixture[] {
  const files = readdirSync(join(FIXTURES, folder)).filter((file) => file.endsWith(".ws"));
  return files.toSorted().map((file) => {
    const name = `${folder}/${basename(file, ".ws")}`;
    const [exchange, ...others] = parseRecord(readFileSync(join(FIXTURES, folder, file), "utf8"));
    if (exchange === undefined || !isSocketRecord(exchange) || others.length > 0) throw new Error(`${name} is not the record of one socket`);
    return { name, exchange, messages: parseMessages(exchange) };
  });
}

/** Runs the messages of a fixture through its handler's reader, as the meter does. */
export function runSocket(fixture: SocketFixture, handlers: readonly Handler[], changes: Partial<Pick<SocketFixture, "messages"> & { end: ReadEnd["kind"]; estimate: boolean }> = {}): readonly ToldReading[] {
  const { exchange } = fixture;
  const { messages = fixture.messages, end = exchange.options.end ?? "complete", estimate = exchange.options.estimate ?? true } = changes;
  return replayMessages(handlerOf(exchange, handlers).open(exchangeInfo(exchange), { isEstimateAllowed: estimate, jobs: createReplayJobs() }), messages, end);
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
