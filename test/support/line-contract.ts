/**
 * What the handler contract asks of event streams, for fixtures that are streamed as newline-delimited JSON: line ends
 * do not matter, a cut stream never counts more than the whole one and is not complete, nor is one with an error in it.
 */

import { describe, expect, it } from "vitest";
import { getHeader } from "../../src/flow/headers.ts";
import { totalsOf } from "../../src/usage/categories.ts";
import type { Handler, ReadEnd, Reading } from "../../src/usage/handler.ts";
import type { RecordedExchange } from "../../src/usage/replay.ts";
import { loadFixtures, runFixture } from "./fixture.ts";

/** Declares the suite for the fixtures of one folder that are lines. `errorLine` is what the server sends in a stream that fails. */
export function describeLineContract(folder: string, handlers: readonly Handler[], errorLine: string): void {
  const streams = loadFixtures(folder).flatMap(({ name, exchanges: [only, ...others] }) =>
    only !== undefined && others.length === 0 && isLines(only) && hasReadings(only, handlers) ? [{ name, exchange: only }] : [],
  );
  describe(`the streams of lines of ${folder}`, () => {
    it("are there", () => expect(streams.length).toBeGreaterThan(0));
    describe.each(streams)("$name", ({ exchange }) => describeStream(exchange, handlers, errorLine));
  });
}

function describeStream(exchange: StreamedExchange, handlers: readonly Handler[], errorLine: string): void {
  const { body } = exchange.response;
  const read = (text: string, end?: ReadEnd["kind"], isEstimated = true): readonly Reading[] => {
    const options = { ...exchange.options, ...(end === undefined ? {} : { end }), ...(isEstimated ? {} : { estimate: false }) };
    return runFixture({ name: "changed", exchanges: [{ ...exchange, options, response: { ...exchange.response, body: text } }] }, handlers).flatMap(({ readings }) => readings);
  };
  const whole = read(body);
  const most = reportedTokens(read(body, undefined, false));

  it("gives the same readings with CRLF, with empty lines, and without the end of its last line", () => {
    expect(read(body.replaceAll("\n", "\r\n"))).toEqual(whole);
    expect(read(`\n${body.replaceAll("\n", "\n\n \n")}`)).toEqual(whole);
    expect(read(body.slice(0, -1))).toEqual(whole);
  });

  it("never counts more when it is cut after any line, and is complete only after its marker", () => {
    for (const cut of prefixes(body)) {
      expect(reportedTokens(read(cut, "upstream_aborted", false)), cut.slice(-200)).toBeLessThanOrEqual(most);
      const readings = read(cut, "client_aborted");
      if (isComplete(readings)) expect(readings, cut.slice(-200)).toEqual(whole);
    }
  });

  it("never counts more with an error in the middle, and is not complete then", () => {
    for (const cut of prefixes(body)) {
      const readings = read(`${cut}${errorLine}\n`, undefined, false);
      expect(reportedTokens(readings), cut.slice(-200)).toBeLessThanOrEqual(most);
      expect(isComplete(readings), cut.slice(-200)).toBe(false);
    }
  });
}

type StreamedExchange = RecordedExchange & { readonly response: NonNullable<RecordedExchange["response"]> };

function isLines(exchange: RecordedExchange): exchange is StreamedExchange {
  const { response } = exchange;
  if (response === undefined || response.status !== 200) return false;
  return /^application\/(?:x-ndjson|stream\+json|octet-stream)/.test(getHeader(response.headers, "content-type") ?? "");
}

/** Whether the exchange has a reader at all. */
function hasReadings(exchange: RecordedExchange, handlers: readonly Handler[]): boolean {
  return runFixture({ name: "whole", exchanges: [exchange] }, handlers).some(({ opened }) => opened.reader !== undefined);
}

/** The stream before its first line, and up to and with each of its lines but the last. */
function prefixes(body: string): readonly string[] {
  const cuts = [""];
  for (let at = body.indexOf("\n"); at !== -1; at = body.indexOf("\n", at + 1)) cuts.push(body.slice(0, at + 1));
  return cuts.slice(0, -1);
}

function reportedTokens(readings: readonly Reading[]): number {
  return readings.reduce((sum, reading) => sum + ("usage" in reading ? totalsOf(reading.usage).total_tokens : 0), 0);
}

function isComplete(readings: readonly Reading[]): boolean {
  return readings.some((reading) => reading.kind === "measured" && reading.completeness === "complete");
}
