import { WebClient } from "@slack/web-api";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createSlack, slackDefinitions } from "../../../../src/usage/providers/connectors/slack.ts";
import { METHOD_ROWS, UPLOAD_METHODS } from "../../../../src/usage/providers/connectors/slack-routes.ts";
import { createReplayJobs } from "../../../../src/usage/replay.ts";
import type { Reading } from "../../../../src/usage/handler.ts";
import { describeConnectorContract } from "../../../support/connector-contract.ts";
import { countsOf } from "../../../support/fixture.ts";
import { expectTold, loadSocketFixtures, runSocket, type ToldReading } from "../../../support/socket-fixture.ts";
import { TABLE, type TableRow } from "./slack/table.ts";

const slack = createSlack();

describeConnectorContract({ folder: "slack", handler: slack, definitions: slackDefinitions });

const tabled = METHOD_ROWS.flatMap(({ methods }) => methods.split(/\s+/)).concat(Object.values(UPLOAD_METHODS));

/** Every method that the client has, by calling each of its functions. */
function clientMethods(): readonly string[] {
  const called: string[] = [];
  class Recorder extends WebClient {
    override async apiCall(method: string): Promise<{ ok: true }> {
      called.push(method);
      return { ok: true };
    }
  }
  const visit = (place: object): void => {
    for (const value of Object.values(place)) {
      if (typeof value === "function" && value.name.includes("apiCall")) value();
      else if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) visit(value);
    }
  };
  visit(new Recorder());
  return called;
}

describe.each(TABLE.flatMap((row) => row.methods.split(/\s+/).map((method) => ({ method, row }))))("$method", ({ method, row }) => {
  it("counts what the reference says of a success, in any form of call", () => {
    const { document, usage } = successOf(row, 2);
    for (const http of ["GET", "POST"]) expect(countsOf(callOf(method, http, JSON.stringify(document))), http).toEqual(usage);
  });

  it("counts of an empty success only what is per call", () => {
    const { document, usage } = successOf(row, 0);
    expect(countsOf(callOf(method, "POST", JSON.stringify(document)))).toEqual(usage);
  });

  it("counts nothing of an error, with status 200 or another", () => {
    const { document } = successOf(row, 2);
    const error = JSON.stringify({ ...document, ok: false, error: "ratelimited" });
    for (const status of [200, 429, 500]) expect(callOf(method, "POST", error, status).kind, String(status)).toBe("free");
  });
});

/** A success in which each array has so many elements, and what it counts. */
function successOf({ category, counts, also = {} }: TableRow, length: number): { readonly document: object; readonly usage: Readonly<Record<string, number>> } {
  const arrays = [...(counts === 1 ? [] : [counts]), ...Object.values(also)];
  const document: Record<string, unknown> = { ok: true };
  for (const place of arrays) {
    const [first = "", second] = place.split(".");
    const array = Array.from({ length }, (_, at) => ({ id: `I${at}` }));
    document[first] = second === undefined ? array : { total: 900, ...(document[first] as object | undefined), [second]: array };
  }
  const counted = category === undefined ? [] : [[category, counts === 1 ? 1 : length], ...Object.keys(also).map((name) => [name, length])];
  return { document, usage: Object.fromEntries(counted.filter(([, count]) => count !== 0)) };
}

function callOf(method: string, http: string, body: string, status = 200): Reading {
  const headers = ["content-type", "application/x-www-form-urlencoded"];
  const { reader } = slack.open({ host: "slack.com", port: 443, protocol: "http", method: http, path: `/api/${method}`, query: "", headers }, { isEstimateAllowed: true, jobs: createReplayJobs() });
  if (reader === undefined) return { kind: "free", reason: "not_billable" };
  reader.requestEnd?.();
  reader.response({ status, statusText: "", headers: ["content-type", "application/json; charset=utf-8"] });
  reader.push(Buffer.from(body));
  const [reading] = reader.end({ kind: "complete" });
  return reading!;
}

describe("the table of Slack's methods", () => {
  it("has each method once", () => {
    expect(tabled).toHaveLength(289);
    expect(new Set(tabled).size).toBe(tabled.length);
  });

  it("has every method of Slack's own client", () => {
    const methods = clientMethods();
    expect(methods.length).toBeGreaterThan(270);
    expect(methods.filter((method) => !tabled.includes(method))).toEqual([]);
  });
});

describe.each(loadSocketFixtures("slack"))("the recorded socket $name", (fixture) => {
  const { messages, exchange } = fixture;

  it("gives the expected readings", () => expectTold(runSocket(fixture, [slack]), exchange.expected));

  it("counts no more when it is cut after any message", () => {
    const whole = totals(runSocket(fixture, [slack]));
    for (let count = 0; count < messages.length; count++) {
      const cut = totals(runSocket(fixture, [slack], { messages: messages.slice(0, count), end: "upstream_aborted" }));
      for (const [category, sum] of Object.entries(cut)) expect(sum, `${category} after ${count}`).toBeLessThanOrEqual(whole[category] ?? 0);
    }
  });

  it("counts no more when messages are damaged", () => {
    const whole = totals(runSocket(fixture, [slack]));
    messages.forEach((message, index) => {
      if (message.message.kind !== "text") return;
      const { text } = message.message;
      for (let at = 0; at < text.length; at++) {
        const damaged = { ...message, message: { kind: "text", text: `${text.slice(0, at)}\u0000${text.slice(at + 1)}` } } as const;
        const told = totals(runSocket(fixture, [slack], { messages: messages.with(index, damaged) }));
        for (const [category, sum] of Object.entries(told)) expect(sum, `${category}, message ${index} at ${at}`).toBeLessThanOrEqual(whole[category] ?? 0);
      }
    });
  });
});

function totals(told: readonly ToldReading[]): Readonly<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const { reading } of told) for (const [category, count] of Object.entries(countsOf(reading))) sums[category] = (sums[category] ?? 0) + count;
  return sums;
}

describe("a secret in a path, a query or a form", () => {
  const hosts = ["slack.com", "acme.slack.com", "files.slack.com", "hooks.slack.com", "wss-primary.slack.com", "mcp.slack.com"];
  const places = ["/api", "/api/chat.postMessage", "/api/oauth.v2.access", "/upload/v1", "/files-pri", "/services/T0", "/triggers", "/actions", "/link", "/mcp", ""];
  const secret = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{19,40}$/).map((text) => `x${text}`);

  it("is in no name and in no reading", () => {
    fc.assert(
      fc.property(fc.constantFrom(...hosts), fc.constantFrom(...places), fc.array(secret, { minLength: 1, maxLength: 4 }), secret, fc.constantFrom("GET", "POST"), (host, place, segments, token, method) => {
        const path = [place, ...segments].join("/");
        const headers = ["content-type", "application/x-www-form-urlencoded"];
        const opened = slack.open({ host, port: 443, protocol: "http", method, path, query: `token=${token}`, headers }, { isEstimateAllowed: true, jobs: createReplayJobs() });
        const { reader } = opened;
        reader?.requestData?.(Buffer.from(`token=${token}&text=${token}&users=${token}`));
        reader?.requestEnd?.();
        reader?.response({ status: 200, statusText: "OK", headers: ["content-type", "application/json"] });
        reader?.push(Buffer.from(JSON.stringify({ ok: true, upload_url: `https://files.slack.com/upload/v1/${token}`, access_token: token })));
        const said = JSON.stringify([opened.api, opened.operation, reader?.end({ kind: "complete" })]);
        for (const text of [token, ...segments]) expect(said).not.toContain(text);
      }),
    );
  });
});

describe("Slack's hosts", () => {
  it("are not those of its own client, whose connections pass as tunnels", () => {
    expect(slack.exceptHosts).toEqual(expect.arrayContaining(["app.slack.com", "edgeapi.slack.com"]));
  });

  it("pass what is no API unread", () => {
    const info = { host: "slack.com", port: 443, protocol: "http", method: "GET", path: "/oauth/v2/authorize", query: "", headers: [] } as const;
    expect(slack.open(info, { isEstimateAllowed: true, jobs: createReplayJobs() })).toMatchObject({ isBillable: false, reader: undefined });
  });
});
