/** The conformance tables, run through one engine per combination of HTTP versions. Each combination has a test file of its own, so that they run side by side. */

import { afterAll, beforeAll, describe, it } from "vitest";

import { startStage, type Combination, type Row, type Stage } from "./harness.ts";
import { REQUEST_ROWS } from "./rows-requests.ts";
import { RESPONSE_ROWS } from "./rows-responses.ts";
import { EXCHANGE_ROWS } from "./rows-exchanges.ts";
import { TARGET_ROWS } from "./rows-targets.ts";
import { HOSTILE_CLIENT_ROWS, HOSTILE_UPSTREAM_ROWS } from "./rows-hostile-frames.ts";
import { HOSTILE_REQUEST_ROWS } from "./rows-hostile-requests.ts";
import { HOSTILE_RESPONSE_ROWS } from "./rows-hostile-responses.ts";
import { hostileClient, hostileRequest, hostileResponse, hostileUpstream } from "./run-hostile.ts";
import { runMessageRow } from "./run-message.ts";

/** Declares the tests of one combination. */
export function testConformance(combination: Combination): void {
  describe(`${combination}, client to upstream`, () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await startStage(combination);
    });
    afterAll(() => stage.close());

    describe("a request", () => {
      it.each(named(rowsOf(REQUEST_ROWS, combination)))("%s", (_name, row) => runMessageRow(row, stage));
    });
    describe("a response", () => {
      it.each(named(rowsOf(RESPONSE_ROWS, combination)))("%s", (_name, row) => runMessageRow(row, stage));
    });
    describe("an exchange", () => {
      it.each(named(rowsOf([...EXCHANGE_ROWS, ...TARGET_ROWS], combination)))("%s", (_name, { run }) => inRow(stage, run));
    });
    describe("what must not get through, of a client that", () => {
      const clients = combination.startsWith("h1") ? HOSTILE_REQUEST_ROWS.map(hostileRequest) : HOSTILE_CLIENT_ROWS.map(hostileClient);
      it.each(named(clients))("%s", (_name, { run }) => run(stage));
    });
    describe("what must not get through, of an upstream that", () => {
      const upstreams = combination.endsWith("h1") ? HOSTILE_RESPONSE_ROWS.map(hostileResponse) : HOSTILE_UPSTREAM_ROWS.map(hostileUpstream);
      it.each(named(upstreams))("%s", (_name, { run }) => run(stage));
    });
  });
}

function rowsOf<Each extends { on?: readonly Combination[] }>(rows: readonly Each[], combination: Combination): Each[] {
  return rows.filter(({ on }) => on === undefined || on.includes(combination));
}

/** vitest cuts a `$name` after 40 characters. */
function named<Each extends { readonly name: string }>(rows: readonly Each[]): (readonly [string, Each])[] {
  return rows.map((row) => [row.name, row]);
}

async function inRow(stage: Stage, run: (row: Row) => Promise<void>): Promise<void> {
  const row = stage.row();
  try {
    await run(row);
  } finally {
    row.end();
  }
}
