/**
 * What every handler keeps, run over its fixtures: readings do not depend on how bytes are cut, nor on line ends; a
 * cut or broken-off stream never throws and never counts more than the whole one; nor do damaged bytes throw.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { getHeader } from "../../src/flow/headers.ts";
import { totalsOf } from "../../src/usage/categories.ts";
import type { Handler, Reading } from "../../src/usage/handler.ts";
import type { RecordedExchange } from "../../src/usage/replay.ts";
import { createReplayJobs } from "../../src/usage/replay.ts";
import { CONTENT_CODINGS, readCoded } from "./coded-exchange.ts";
import { expectReadings, handlerOf, loadFixtures, runFixture } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";

/** Larger bodies are cut at this many positions, evenly. */
const MAX_CUTS = 3000;

/** An error event that every SSE protocol here understands. */
const ERROR_EVENT = 'event: error\ndata: {"type":"error","code":"server_error","message":"m","error":{"type":"server_error","message":"m"}}\n\n';

/** Declares the suite for one folder of fixtures. */
export function describeHandlerContract(folder: string, handlers: readonly Handler[]): void {
  const fixtures = loadFixtures(folder);
  describe(`the recorded exchanges of ${folder}`, () => {
    it("are there", () => expect(fixtures.length).toBeGreaterThan(0));
    describe.each(fixtures)("$name", (fixture) => describeFixture(fixture, handlers));
  });
}

function describeFixture(fixture: Fixture, handlers: readonly Handler[]): void {
  it("gives the expected readings", () => {
    runFixture(fixture, handlers).forEach(({ readings }, index) => expectReadings(readings, fixture.exchanges[index]!.expected));
  });

  it("gives the same readings when it is split at any byte", () => {
    const whole = readingsOf(fixture, handlers);
    expect(readingsOf(fixture, handlers, singleBytes)).toEqual(whole);
    const longest = Math.max(...fixture.exchanges.map((exchange) => Buffer.byteLength(exchange.response?.body ?? "")));
    const step = Math.max(1, Math.ceil(longest / MAX_CUTS));
    for (let at = 1; at < longest; at += step) {
      expect(readingsOf(fixture, handlers, (body) => [body.subarray(0, at), body.subarray(at)]), `split at ${at}`).toEqual(whole);
    }
  });

  it.each(CONTENT_CODINGS)("gives the same readings when it comes in %s, flushed after every event", async (coding) => {
    // A body that cannot be decoded comes in no coding.
    if (fixture.exchanges.some(({ options }) => options.end === "undecodable")) return;
    const jobs = createReplayJobs();
    const readings: (readonly Reading[])[] = [];
    // In order: one exchange may begin what another ends.
    for (const exchange of fixture.exchanges) readings.push(await readCoded(exchange, handlerOf(exchange, handlers), coding, jobs));
    expect(readings.map(usageOf)).toEqual(readingsOf(fixture, handlers).map(usageOf));
  });

  it("survives damaged bytes", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.nat(), (at, byte, cut) => {
        const damage = (body: Uint8Array): readonly Uint8Array[] => {
          const damaged = Uint8Array.from(body);
          if (damaged.length > 0) damaged[at % damaged.length] = byte;
          return [damaged.subarray(0, cut % (damaged.length + 1)), damaged.subarray(cut % (damaged.length + 1))];
        };
        for (const reading of readingsOf(fixture, handlers, damage).flat()) expect(["measured", "free", "unmeasured"]).toContain(reading.kind);
      }),
      { numRuns: 60 },
    );
  });

  const [only] = fixture.exchanges;
  if (fixture.exchanges.length !== 1 || only === undefined || !isEventStream(only)) return;

  it("gives the same readings with CRLF", () => {
    const crlf = withBody(only, only.response.body.replaceAll("\n", "\r\n"));
    expect(readingsOf(crlf, handlers)).toEqual(readingsOf(fixture, handlers));
  });

  it("never counts more when it is cut after any event", () => {
    const most = reportedTokens(readingsOf(withoutEstimates(only, only.response.body), handlers));
    for (const body of prefixes(only.response.body)) {
      const cut = withoutEstimates(only, body, "upstream_aborted");
      expect(reportedTokens(readingsOf(cut, handlers)), body.slice(-200)).toBeLessThanOrEqual(most);
      const [first] = readingsOf(withBody(only, body, "client_aborted"), handlers).flat();
      if (first?.kind === "measured" && first.completeness === "complete") {
        expect(readingsOf(withBody(only, body, "client_aborted"), handlers), "complete only after the terminal marker").toEqual(
          readingsOf(withBody(only, only.response.body), handlers),
        );
      }
    }
  });

  it("never counts more with an error in the middle, and is not complete then", () => {
    const most = reportedTokens(readingsOf(withoutEstimates(only, only.response.body), handlers));
    for (const body of prefixes(only.response.body)) {
      const isOver = isComplete(readingsOf(withBody(only, body, "client_aborted"), handlers));
      const readings = readingsOf(withoutEstimates(only, body + ERROR_EVENT), handlers);
      expect(reportedTokens(readings), body.slice(-200)).toBeLessThanOrEqual(most);
      if (!isOver) expect(isComplete(readings), body.slice(-200)).toBe(false);
    }
  });
}

/** What events are made of: of an exchange that costs nothing, only that. */
function usageOf(readings: readonly Reading[]): unknown {
  return readings.map((reading) => (reading.kind === "free" ? { kind: "free" } : reading));
}

type StreamedExchange = RecordedExchange & { readonly response: NonNullable<RecordedExchange["response"]> };

function isEventStream(exchange: RecordedExchange): exchange is StreamedExchange {
  return exchange.response !== undefined && getHeader(exchange.response.headers, "content-type")?.startsWith("text/event-stream") === true;
}

function readingsOf(fixture: Fixture, handlers: readonly Handler[], split?: (body: Uint8Array) => readonly Uint8Array[]): readonly Reading[][] {
  return runFixture(fixture, handlers, split).map(({ readings }) => [...readings]);
}

function withBody(exchange: StreamedExchange, body: string, end?: "upstream_aborted" | "client_aborted"): Fixture {
  const options = end === undefined ? exchange.options : { ...exchange.options, end };
  return { name: "changed", exchanges: [{ ...exchange, options, response: { ...exchange.response, body } }] };
}

function withoutEstimates(exchange: StreamedExchange, body: string, end?: "upstream_aborted" | "client_aborted"): Fixture {
  return withBody({ ...exchange, options: { ...exchange.options, estimate: false } }, body, end);
}

/** The stream up to and with each of its events but the last, and before the first. */
function prefixes(body: string): readonly string[] {
  const cuts: string[] = [""];
  for (let at = body.indexOf("\n\n"); at !== -1; at = body.indexOf("\n\n", at + 2)) cuts.push(body.slice(0, at + 2));
  return cuts.slice(0, -1);
}

function singleBytes(body: Uint8Array): readonly Uint8Array[] {
  return Array.from(body, (_byte, at) => body.subarray(at, at + 1));
}

function reportedTokens(readings: readonly (readonly Reading[])[]): number {
  return readings.flat().reduce((sum, reading) => sum + ("usage" in reading ? totalsOf(reading.usage).total_tokens : 0), 0);
}

function isComplete(readings: readonly (readonly Reading[])[]): boolean {
  return readings.flat().some((reading) => reading.kind === "measured" && reading.completeness === "complete");
}
