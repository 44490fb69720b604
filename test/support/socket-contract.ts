/**
 * What every reader of sockets keeps, run over its fixtures: each response is told by the message that ends it, a socket
 * that is cut anywhere has told all that had ended by then, and no message that is damaged, repeated or too large makes
 * it throw or count more.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { totalsOf } from "../../src/usage/categories.ts";
import type { Handler, SocketMessage } from "../../src/usage/handler.ts";
import { expectTold, loadSocketFixtures, runSocket } from "./socket-fixture.ts";
import type { RecordedMessage, SocketFixture, ToldReading } from "./socket-fixture.ts";

/** Declares the suite for one folder of fixtures. */
export function describeSocketContract(folder: string, handlers: readonly Handler[]): void {
  const fixtures = loadSocketFixtures(folder);
  describe(`the recorded sockets of ${folder}`, () => {
    it("are there", () => expect(fixtures.length).toBeGreaterThan(0));
    describe.each(fixtures)("$name", (fixture) => describeSocket(fixture, handlers));
  });
}

function describeSocket(fixture: SocketFixture, handlers: readonly Handler[]): void {
  const { messages } = fixture;

  it("gives the expected readings, each with the message that ends its response", () => {
    expectTold(runSocket(fixture, handlers), fixture.exchange.expected);
  });

  it.each(["client_aborted", "upstream_aborted", "complete"] as const)("has told what had ended when it is cut after any message, %s", (end) => {
    const whole = runSocket(fixture, handlers, { estimate: false });
    for (let count = 0; count <= messages.length; count++) {
      const cut = runSocket(fixture, handlers, { messages: messages.slice(0, count), end, estimate: false });
      const told = cut.filter(({ at }) => at !== undefined);
      expect(told, `cut after ${count}`).toEqual(whole.filter(({ at }) => at !== undefined && at <= count));
      expect(reportedTokens(cut), `cut after ${count}`).toBeLessThanOrEqual(reportedTokens(whole));
      // A turn whose report was still to come is whole, and nobody knows its usage.
      for (const { reading } of cut.slice(told.length)) {
        if (reading.kind === "measured" && reading.completeness === "complete") expect(reading.source).toBe("none");
      }
    }
  });

  it("counts no more when a message of the server is too large to be read", () => {
    const whole = runSocket(fixture, handlers, { estimate: false });
    const oversized: SocketMessage = { kind: "oversized", bytes: 20_000_000 };
    messages.forEach(({ from }, index) => {
      if (from === "client") return;
      const told = runSocket(fixture, handlers, { messages: messages.with(index, { from, message: oversized }), estimate: false });
      expect(reportedTokens(told), `message ${index + 1}`).toBeLessThanOrEqual(reportedTokens(whole));
    });
  });

  it("survives damaged messages", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.constantFrom("", '"', "}", "[", "\\", "\u0000", "null"), (which, at, by) => {
        const index = which % messages.length;
        const damaged = messages.with(index, damage(messages[index]!, at, by));
        for (const { reading } of runSocket(fixture, handlers, { messages: damaged })) expect(["measured", "free", "unmeasured"]).toContain(reading.kind);
      }),
      { numRuns: 60 },
    );
  });
}

function damage({ from, message }: RecordedMessage, at: number, by: string): RecordedMessage {
  if (message.kind === "oversized") return { from, message };
  const text = message.kind === "text" ? message.text : Buffer.from(message.bytes).toString();
  const place = at % text.length;
  const damaged = text.slice(0, place) + by + text.slice(place + 1);
  return { from, message: message.kind === "text" ? { kind: "text", text: damaged } : { kind: "binary", bytes: Buffer.from(damaged) } };
}

function reportedTokens(told: readonly ToldReading[]): number {
  return told.reduce((sum, { reading }) => sum + ("usage" in reading ? totalsOf(reading.usage).total_tokens : 0), 0);
}
