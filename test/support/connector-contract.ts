/**
 * What every connector keeps. Of its fixtures (test/fixtures/<connector>/<case>.http): the expected readings, whole,
 * split anywhere, compressed; cut anywhere they count no more and are not complete. Of each route of its definitions,
 * with made-up exchanges: a success counts, an empty one counts nothing that is counted by its body, an error nothing.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { FlowReading } from "../../src/usage/flow-reading.ts";
import type { Handler, Reading } from "../../src/usage/handler.ts";
import { BAD_LINES_CATEGORY } from "../../src/usage/providers/connectors/definition.ts";
import type { ConnectorDefinition, Route } from "../../src/usage/providers/connectors/definition.ts";
import { createReplayJobs, exchangeInfo } from "../../src/usage/replay.ts";
import type { RecordedExchange } from "../../src/usage/replay.ts";
import { sampleOf } from "./connector-sample.ts";
import type { Sample, SampleOverride } from "./connector-sample.ts";
import { countsOf, expectReadings, loadFixtures, runFixture } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";

export interface ConnectorContract {
  /** Of test/fixtures. */
  readonly folder: string;
  readonly handler: Handler;
  readonly definitions: readonly ConnectorDefinition[];
  /** By route id, where the made-up exchange does not fit (a hook that asks for more, a `when` that cannot be guessed). */
  readonly samples?: Readonly<Record<string, SampleOverride>>;
}

/** Larger bodies are cut at this many positions, evenly. */
const MAX_CUTS = 400;

const FIXTURES = join(import.meta.dirname, "..", "fixtures");

/** Declares the suite. */
export function describeConnectorContract(contract: ConnectorContract): void {
  const { folder, handler, definitions } = contract;
  const fixtures = existsSync(join(FIXTURES, folder)) ? loadFixtures(folder) : [];
  describe(`the recorded exchanges of ${folder}`, () => {
    it("are there", () => expect(fixtures.length).toBeGreaterThan(0));
    describe.each(fixtures)("$name", (fixture) => describeFixture(fixture, handler));
  });
  describe.each(definitions.flatMap(routesOf).filter(({ route }) => route.body !== "frames"))("the route $route.id at $path", ({ definition, route, path }) => {
    describeRoute(definition, route, path, contract);
  });
}

function describeFixture(fixture: Fixture, handler: Handler): void {
  const handlers = [handler];

  it("gives the expected readings", () => {
    runFixture(fixture, handlers).forEach(({ readings }, index) => expectReadings(readings, fixture.exchanges[index]!.expected));
  });

  it("gives the same readings when it is split at any byte", () => {
    const whole = readingsOf(fixture, handler);
    expect(readingsOf(fixture, handler, singleBytes)).toEqual(whole);
    for (const at of cutsOf(fixture)) {
      expect(readingsOf(fixture, handler, (body) => [body.subarray(0, at), body.subarray(at)]), `split at ${at}`).toEqual(whole);
    }
  });

  it("survives damaged bytes", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.nat(), (at, byte, cut) => {
        const damage = (body: Uint8Array): readonly Uint8Array[] => {
          const damaged = Uint8Array.from(body);
          if (damaged.length > 0) damaged[at % damaged.length] = byte;
          return [damaged.subarray(0, cut % (damaged.length + 1)), damaged.subarray(cut % (damaged.length + 1))];
        };
        for (const reading of readingsOf(fixture, handler, damage).flat()) expect(["measured", "free", "unmeasured"]).toContain(reading.kind);
      }),
      { numRuns: 40 },
    );
  });

  it("counts no more when it is cut anywhere, and is not complete then", () => {
    fixture.exchanges.forEach((exchange, index) => {
      const { response } = exchange;
      if (response === undefined || exchange.options.end !== undefined) return;
      const most = totalOf(readingsOf(withoutEstimates(fixture), handler)[index] ?? []);
      for (const at of cutsOf({ ...fixture, exchanges: [exchange] })) {
        const body = Buffer.from(response.body).subarray(0, at).toString("latin1");
        const options = { ...exchange.options, end: "upstream_aborted", estimate: false } as const;
        const cut = fixture.exchanges.with(index, { ...exchange, options, response: { ...response, body } });
        const readings = readingsOf({ ...fixture, exchanges: cut }, handler)[index] ?? [];
        for (const reading of readings) if (reading.kind === "measured") expect(reading.completeness, `cut at ${at}`).not.toBe("complete");
        const counted = readings.filter((reading) => countsOf(reading).attempted === undefined);
        expect(totalOf(counted), `cut at ${at}`).toBeLessThanOrEqual(most);
      }
    });
  });
}

function describeRoute(definition: ConnectorDefinition, route: Route, path: string, { handler, samples = {} }: ConnectorContract): void {
  const sample = sampleOf(definition, route, path, samples[route.id]);
  const isFree = route.meters === undefined && route.hook === undefined && route.expand === undefined;
  const read = (change: Partial<RecordedExchange> = {}, split?: (body: Uint8Array) => readonly Uint8Array[]): readonly Reading[] =>
    readingsOf({ name: route.id, exchanges: [{ ...exchangeOf(sample), ...change }] }, handler, split).flat();

  it("is found", () => {
    const { operation } = handler.open(exchangeInfo(exchangeOf(sample)), { isEstimateAllowed: true, jobs: createReplayJobs() });
    expect(operation).toBe(route.id);
  });

  it("counts a success, in whatever pieces and coding it comes", async () => {
    const whole = read();
    if (isFree) expect(whole.every(({ kind }) => kind === "free")).toBe(true);
    if (sample.usage !== undefined) expect(countsOf(whole[0]!)).toEqual(sample.usage);
    expect(read({}, singleBytes)).toEqual(whole);
    for (const [coding, compress] of CODINGS) expect(await readCompressed(sample, handler, coding, compress), coding).toEqual(whole);
  });

  it("counts nothing of an error", () => {
    for (const status of [401, 404, 429, 500]) {
      const readings = read({ response: { ...sample.response, status } });
      expect(readings.map(({ kind }) => kind), String(status)).toEqual(readings.map(() => "free"));
    }
  });

  it("counts no more of an empty success than of a full one", () => {
    const isJson = route.body === undefined || route.body === "json";
    const readings = read({ response: { ...sample.response, body: isJson ? "{}" : "" } });
    for (const reading of readings) expect(reading.kind).not.toBe("unmeasured");
    if (sample.usage !== undefined) expect(totalOf(readings)).toBeLessThanOrEqual(totalOf(read()));
  });

  it("says that a write whose answer was lost was attempted", () => {
    const [reading] = read({ response: undefined, options: { end: "upstream_aborted" } });
    const isRead = route.effect === "read" || (route.effect === undefined && ["GET", "HEAD", "OPTIONS"].includes(sample.method));
    if (isFree || isRead) expect(reading?.kind).toBe("free");
    else if (route.expand === undefined) expect(reading).toMatchObject({ completeness: "unknown", connectorUsage: { attempted: 1 } });
  });
}

const CODINGS: readonly (readonly [string, (body: Buffer) => Buffer])[] = [
  ["gzip", (body) => gzipSync(body)],
  ["br", (body) => brotliCompressSync(body)],
  ["zstd", (body) => zstdCompressSync(body)],
];

/** As the meter does it, decoding included. */
async function readCompressed(sample: Sample, handler: Handler, coding: string, compress: (body: Buffer) => Buffer): Promise<readonly Reading[]> {
  const { response, method, target, headers } = sample;
  const { host, port } = exchangeInfo(exchangeOf(sample));
  const head = { flowId: "f", startedAtMs: 0, protocol: "http", scheme: "https", host, port, method, target, headers, proxyUser: undefined, attributionHeaders: [] } as const;
  const reading = new FlowReading(handler, head, {
    attribute: () => ({ orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} }),
    isBillable: () => true,
    jobsFor: () => createReplayJobs(),
    isEstimateAllowed: true,
    logger: { error: (...fault: unknown[]) => expect.fail(JSON.stringify(fault)) },
  });
  reading.requestData(Buffer.from(sample.requestBody));
  reading.requestEnd();
  reading.responseHead({ ...response, headers: [...response.headers, "content-encoding", coding] });
  reading.responseData([compress(Buffer.from(response.body))]);
  const readings = await reading.finish({ kind: "complete" });
  // What costs nothing whatever the answer is has no reader, here and in a replay, and each says so in its own words.
  return readings.map((each) => (each.kind === "free" && each.route === undefined ? { kind: "free", reason: "not_billable" } : each));
}

function routesOf(definition: ConnectorDefinition): readonly { readonly definition: ConnectorDefinition; readonly route: Route; readonly path: string }[] {
  return definition.routes.flatMap((route) => [route.path].flat().map((path) => ({ definition, route, path })));
}

function exchangeOf(sample: Sample): RecordedExchange {
  return { method: sample.method, target: sample.target, requestHeaders: sample.headers, requestBody: sample.requestBody, response: sample.response, options: {}, expected: undefined };
}

function readingsOf(fixture: Fixture, handler: Handler, split?: (body: Uint8Array) => readonly Uint8Array[]): readonly Reading[][] {
  return runFixture(fixture, [handler], split).map(({ readings }) => [...readings]);
}

function withoutEstimates(fixture: Fixture): Fixture {
  return { ...fixture, exchanges: fixture.exchanges.map((exchange) => ({ ...exchange, options: { ...exchange.options, estimate: false } })) };
}

function cutsOf(fixture: Fixture): readonly number[] {
  const longest = Math.max(0, ...fixture.exchanges.map(({ response }) => Buffer.byteLength(response?.body ?? "")));
  const step = Math.max(1, Math.ceil(longest / MAX_CUTS));
  return Array.from({ length: Math.max(0, Math.ceil((longest - 1) / step)) }, (_, index) => 1 + index * step);
}

function singleBytes(body: Uint8Array): readonly Uint8Array[] {
  return Array.from(body, (_byte, at) => body.subarray(at, at + 1));
}

/** All counts of all readings: of one exchange they only ever grow together. */
function totalOf(readings: readonly Reading[]): number {
  const counts = readings.flatMap((reading) => Object.entries(countsOf(reading)));
  return counts.reduce((sum, [category, count]) => (category === BAD_LINES_CATEGORY ? sum : sum + count), 0);
}

