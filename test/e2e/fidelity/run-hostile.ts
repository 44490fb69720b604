/** Runs the hostile rows: what must not pass does not, and the engine goes on serving others. */

import { expect } from "vitest";

import { FRAME, frame } from "../../support/http2-frames.ts";
import { isGood, seen, servesGoodRequest, statusOf, type Row, type Stage } from "./harness.ts";
import { lines, readResponses, valuesOf } from "./message.ts";
import type { Arrival, Asked, Client } from "./peers.ts";
import type { HostileFramesRow } from "./rows-hostile-frames.ts";
import type { HostileRequestRow } from "./rows-hostile-requests.ts";
import type { HostileResponseRow } from "./rows-hostile-responses.ts";

/** A row made ready to run. */
export interface Runnable {
  readonly name: string;
  readonly run: (stage: Stage) => Promise<void>;
}

export const hostileRequest = (row: HostileRequestRow): Runnable => ({ name: row.name, run: (stage) => runHostileRequest(row, stage) });
export const hostileResponse = (row: HostileResponseRow): Runnable => ({ name: row.name, run: (stage) => runHostileResponse(row, stage) });
export const hostileClient = (row: HostileFramesRow): Runnable => ({ name: row.name, run: (stage) => runHostileClient(row, stage) });
export const hostileUpstream = (row: HostileFramesRow): Runnable => ({ name: row.name, run: (stage) => runHostileUpstream(row, stage) });

/** Answered and closed, and nothing of it gets through; or cut, where the upstream has its head already. */
async function runHostileRequest({ request, later, statuses = [400], mayStayOpen = false }: HostileRequestRow, stage: Stage): Promise<void> {
  const row = stage.row();
  try {
    // Leaves a connection to the upstream that is ready to take whatever gets through.
    await servesGoodRequest(row);
    const client = await row.client();
    const before = received(row);
    client.raw(row.text(request));
    if (later !== undefined) {
      await seen(() => row.asked.length > 1, "the head to reach the upstream");
      client.raw(later);
    }
    const answers = () => readResponses(client.received, [], client.isClosed);
    await seen(() => client.isClosed || answers().messages.some(({ isWhole }) => isWhole), "an answer");
    if (!mayStayOpen) await seen(() => client.isClosed, "the client's connection to end");
    const { messages, rest, fault } = answers();
    expect({ statuses: messages.map(({ start }) => Number(start.slice(9, 12))), rest, fault }).toEqual({ statuses: [expect.toSatisfy((status: number) => statuses.includes(status))], rest: "", fault: undefined });
    expect(messages[0]?.fields.filter((_, i, fields) => i % 2 === 1 && fields[i - 1] === "x-tallyman-error")).toHaveLength(1);
    if (later === undefined) await upstreamGetsNothing(row, before);
    else await upstreamSeesACut(row);
  } finally {
    row.end();
  }
}

/** Not a byte of the request; a good one afterwards is the first that comes. */
async function upstreamGetsNothing(row: Row, before: string): Promise<void> {
  expect(received(row)).toBe(before);
  expect(row.asked).toHaveLength(1);
  await servesGoodRequest(row);
  expect(row.asked).toHaveLength(2);
  if (row.stage.up === "h1") expect(received(row)).toBe(before + before);
}

async function upstreamSeesACut(row: Row): Promise<void> {
  const asked = row.asked[1] as Asked;
  await seen(() => asked.request.state !== "open", "the request to end at the upstream");
  expect(asked.request.state).toBe("cut");
  await servesGoodRequest(row);
}

function received(row: Row): string {
  return row.connections.map((connection) => connection.received).join("");
}

/** The client gets 502 or a response that it knows to be broken off, never one that it could take for the upstream's. */
async function runHostileResponse({ response, outcome = "refused", isClosed = false }: HostileResponseRow, stage: Stage): Promise<void> {
  const row = stage.row((asked) => {
    asked.raw(response);
    if (isClosed) asked.close();
  });
  try {
    const asking = (await row.client()).ask(row.text(GET));
    await seen(() => asking.answer.state !== "open", "the end of the answer");
    expect(OUTCOMES[outcome]).toContain(outcomeOf(asking.answer));
    expect(row.asked).toHaveLength(1);
    await servesGoodRequest(row);
  } finally {
    row.end();
  }
}

/** Frames of an HTTP/2 upstream in place of a response. */
async function runHostileUpstream({ frames, outcome = "refused" }: HostileFramesRow, stage: Stage): Promise<void> {
  const row = stage.row((asked) => {
    for (const bytes of frames(row.host, asked.streamId)) asked.raw(bytes);
    if (outcome === "survives") asked.send(`${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`);
  });
  try {
    const asking = (await row.client()).ask(row.text(GET));
    await seen(() => asking.answer.state !== "open", "the end of the answer");
    const { answer } = asking;
    expect([answer.head?.fields, answer.trailers, answer.body].flat().join("\n")).not.toMatch(/hidden/i);
    const what = outcomeOf(answer);
    if (outcome === "dropped") expect([what, answer.body]).toEqual(["200 ", "ok"]);
    else if (outcome !== "survives") expect([...OUTCOMES[outcome], ...OUTCOMES.cut]).toContain(what);
    await servesGoodRequest(row);
  } finally {
    row.end();
  }
}

/** Frames of an HTTP/2 client in place of a request. */
async function runHostileClient({ frames, outcome = "refused", endsConnection = false }: HostileFramesRow, stage: Stage): Promise<void> {
  const row = stage.row();
  try {
    await servesGoodRequest(row);
    const client = await row.client();
    client.raw(Buffer.concat(frames(row.host, 1)));
    const stream = client.stream(1);
    const isOver = (): boolean => client.isClosed || client.goawayCode !== undefined || stream.isEnded || stream.resetCode !== undefined;
    if (outcome === "dropped") {
      await seen(() => row.asked.length > 1, "the rest of the request");
      row.asked[1]?.send(`${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`);
    }
    if (outcome === "survives") await endOfFlood(client, endsConnection);
    else await seen(() => (endsConnection ? client.isClosed || client.goawayCode !== undefined : isOver()), "an end");
    const status = stream.blocks[0]?.[1];
    if (outcome === "dropped") expect([status, stream.data]).toEqual(["200", "ok"]);
    else if (outcome !== "survives" && status !== undefined) expect(status).toMatch(/^4\d\d$/);
    await servesGoodRequest(row);
    // Whatever got through of it is in what the upstream was asked between the two good requests.
    const got = row.asked.filter((asked) => !isGood(asked));
    if (outcome === "refused") expect(got).toEqual([]);
    if (outcome === "cut") await seen(() => got.every(({ request }) => request.state === "cut"), "the request to be cut at the upstream");
    expect(JSON.stringify(got.map(({ request, received: bytes }) => [request.head, bytes]))).not.toMatch(/hidden/i);
  } finally {
    row.end();
  }
}

/** A flood has been read when the ping behind it is answered, or when the connection has ended. */
async function endOfFlood(client: Client, endsConnection: boolean): Promise<void> {
  client.raw(frame(FRAME.ping, 0, 0, Buffer.from("the last")));
  const isOver = (): boolean => client.isClosed || client.goawayCode !== undefined;
  await seen(() => isOver() || (!endsConnection && client.isAnswered("the last")), "the end of the flood");
}

/** What a client has of a response, by the row's outcome. */
const OUTCOMES: Readonly<Record<"refused" | "failed" | "cut" | "either", readonly string[]>> = {
  refused: ["502 upstream_protocol"],
  failed: ["502 upstream_protocol", "502 upstream_unreachable"],
  cut: ["cut"],
  either: ["502 upstream_protocol", "cut"],
};

function outcomeOf({ head, state }: Arrival): string {
  if (head === undefined || state === "cut") return state;
  return `${statusOf(head.start)} ${valuesOf(head.fields, "x-tallyman-error")[0] ?? ""}`;
}

const GET = lines("GET /x HTTP/1.1", "Host: {host}");
