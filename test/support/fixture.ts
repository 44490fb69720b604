/**
 * Recorded exchanges as test fixtures: test/fixtures/<handler>/<case>.http, in the format of src/usage/replay.ts.
 *
 * The `expect` section is an array of readings, in order. Of a reading only what is written is compared, but for
 * `usage`, which is compared whole and as an event would have it (zeros dropped beside positive counts); a count may
 * be a range [least, most] where it is an estimate. What is left out of a reading means: kind "measured",
 * completeness "complete", source "provider". Numbers are worked out by hand from reference/model-usage.md.
 */

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect } from "vitest";
import { createHostTable, type HostTable } from "../../src/flow/route.ts";
import { canonicalUsage } from "../../src/usage/categories.ts";
import type { ConnectorUsage } from "../../src/usage/categories.ts";
import type { Handler, Reading } from "../../src/usage/handler.ts";
import { createReplayJobs, exchangeInfo, parseRecord, replayExchange } from "../../src/usage/replay.ts";
import type { RecordedExchange, ReplayResult, ReplaySettings } from "../../src/usage/replay.ts";

const FIXTURES = join(import.meta.dirname, "..", "fixtures");

export interface Fixture {
  /** "anthropic/message-whole" */
  readonly name: string;
  readonly exchanges: readonly RecordedExchange[];
}

/** Every fixture of one folder, by name. */
export function loadFixtures(folder: string): readonly Fixture[] {
  const files = readdirSync(join(FIXTURES, folder)).filter((file) => file.endsWith(".http"));
  return files.toSorted().map((file) => ({
    name: `${folder}/${basename(file, ".http")}`,
    exchanges: parseRecord(readFileSync(join(FIXTURES, folder, file), "utf8")),
  }));
}

/** Runs a fixture's exchanges in order, in view of the same pending jobs. */
export function runFixture(fixture: Fixture, handlers: readonly Handler[], split?: ReplaySettings["split"]): readonly ReplayResult[] {
  const jobs = createReplayJobs();
  return fixture.exchanges.map((exchange) =>
    replayExchange(exchange, handlerOf(exchange, handlers), { jobs, ...(split === undefined ? {} : { split }) }),
  );
}

/** The handler that an exchange's host, or its options, name. */
export function handlerOf(exchange: RecordedExchange, handlers: readonly Handler[]): Handler {
  const { host, port } = exchangeInfo(exchange);
  const named = handlers.find(({ id }) => id === exchange.options.handler);
  const handler = named ?? tableOf(handlers).lookup(host, port);
  if (handler === undefined) throw new Error(`no handler for ${host}`);
  return handler;
}

const tables = new WeakMap<readonly Handler[], HostTable<Handler>>();

/** Made once for a list: a suite asks thousands of times. */
function tableOf(handlers: readonly Handler[]): HostTable<Handler> {
  let table = tables.get(handlers);
  if (table === undefined) {
    table = createHostTable(handlers.flatMap((handler) => handler.hosts.map((pattern) => [pattern, handler] as const)));
    tables.set(handlers, table);
  }
  return table;
}

/** Compares the readings of one exchange with its `expect` section. */
export function expectReadings(readings: readonly Reading[], expected: unknown): void {
  if (!Array.isArray(expected)) throw new Error("the fixture has no expect section that is an array");
  const wanted: unknown[] = expected;
  expect(readings, JSON.stringify(readings)).toHaveLength(wanted.length);
  wanted.forEach((reading, index) => expectReading(readings[index]!, reading));
}

function expectReading(actual: Reading, expected: unknown): void {
  if (typeof expected !== "object" || expected === null) throw new Error("an expected reading is an object");
  const { usage, ...facts } = Object.fromEntries(Object.entries(expected)) as { usage?: unknown };
  const isMeasured = !("kind" in facts) || facts.kind === "measured";
  const defaults = isMeasured ? { kind: "measured", completeness: "complete", source: "provider" } : {};
  expect(actual).toMatchObject({ ...defaults, ...facts });
  if (isMeasured) expectUsage(countsOf(actual), usage);
}

/** The counts of a reading as an event would have them. */
export function countsOf(reading: Reading): ConnectorUsage {
  if (reading.kind !== "measured") return {};
  return "usage" in reading ? Object.fromEntries(Object.entries(canonicalUsage(reading.usage))) : reading.connectorUsage;
}

function expectUsage(actual: ConnectorUsage, expected: unknown): void {
  if (typeof expected !== "object" || expected === null) throw new Error("a measured reading is expected with a usage");
  const ranges = Object.entries(expected).filter((entry): entry is [string, [number, number]] => Array.isArray(entry[1]));
  const counts = new Map<string, number>(Object.entries(actual));
  for (const [category, [least, most]] of ranges) {
    expect(counts.get(category), category).toBeGreaterThanOrEqual(least);
    expect(counts.get(category), category).toBeLessThanOrEqual(most);
    counts.delete(category);
  }
  const exact = Object.entries(expected).filter(([, count]) => !Array.isArray(count));
  expect(Object.fromEntries(counts)).toEqual(Object.fromEntries(exact));
}
