/** Exchanges in which time matters: who has heard what before the other goes on, and how an end on one side ends the other. */

import { expect } from "vitest";

import { seen, servesGoodRequest, statusOf, type Combination, type Row } from "./harness.ts";
import { chunks, lastChunk, lines, readResponses, valuesOf } from "./message.ts";
import type { Asked, Asking } from "./peers.ts";

export interface ExchangeRow {
  /** A sentence in the present tense. */
  readonly name: string;
  readonly on?: readonly Combination[];
  readonly run: (row: Row) => Promise<void>;
}

const HOST = "Host: {host}";
const CHUNKED = "Transfer-Encoding: chunked";
const GET = lines("GET / HTTP/1.1", HOST);
const POST = lines("POST / HTTP/1.1", HOST, CHUNKED);
const OK = `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`;
const EARLY_HINTS = lines("HTTP/1.1 103 Early Hints", "Link: </a.css>");
const CONTINUE = lines("HTTP/1.1 100 Continue");
const STREAM = lines("HTTP/1.1 200 OK", CHUNKED);
const H1_DOWN = ["h1→h1", "h1→h2"] as const;
const H2_DOWN = ["h2→h1", "h2→h2"] as const;
const H1_UP = ["h1→h1", "h2→h1"] as const;

/** Sends a request and waits until the upstream has its head. */
async function ask(row: Row, text: string, isOpen = false): Promise<{ asking: Asking; asked: Asked }> {
  const before = row.asked.length;
  const asking = (await row.client()).ask(row.text(text), isOpen);
  await seen(() => row.asked.length > before, "the upstream to be asked");
  return { asking, asked: row.asked[before] as Asked };
}

function hears(what: string, condition: () => boolean): Promise<void> {
  return seen(condition, what);
}

function answered(asking: Asking): Promise<void> {
  return hears("the end of the answer", () => asking.answer.state !== "open");
}

function status(asking: Asking): string {
  return statusOf(asking.answer.head?.start ?? "");
}

/** For rows that are made in a callback, where the linter looks for a test. */
export function same(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected);
}

function pathOf(asked: Asked | undefined): string {
  return asked?.request.head?.start.split(" ").find((word) => word.startsWith("/")) ?? "";
}

/** The client knows that what it got is not whole. */
async function seesACut(asking: Asking, body: string): Promise<void> {
  await answered(asking);
  expect([asking.answer.state, asking.answer.body]).toEqual(["cut", body]);
}

async function isCancelled(asked: Asked): Promise<void> {
  await hears("the upstream's request to be cancelled", () => asked.isConnectionOver || asked.request.resetCode !== undefined);
}

const CONTINUED: readonly ExchangeRow[] = [
  {
    name: "a body that waits for 100 is sent when the upstream's 100 has come, and not before",
    async run(row) {
      const { asking, asked } = await ask(row, lines("POST / HTTP/1.1", HOST, "Expect: 100-continue", "Content-Length: 4"), true);
      expect(valuesOf(asked.request.head?.fields ?? [], "expect")).toEqual(["100-continue"]);
      expect([asked.request.body, asking.answer.informs.length]).toEqual(["", 0]);
      asked.send(CONTINUE, true);
      await hears("the 100", () => asking.answer.informs.length === 1);
      expect([statusOf(asking.answer.informs[0]?.start ?? ""), asked.request.state]).toEqual(["100", "open"]);
      asking.data("body");
      asking.end();
      await hears("the body", () => asked.request.state === "whole");
      asked.send(OK);
      await answered(asking);
      expect([asked.request.body, status(asking), asking.answer.body]).toEqual(["body", "200", "ok"]);
    },
  },
  {
    name: "a body that waits for 100 is not asked for when the upstream answers 417",
    async run(row) {
      const { asking, asked } = await ask(row, lines("POST / HTTP/1.1", HOST, "Expect: 100-continue", "Content-Length: 4"), true);
      asked.send(`${lines("HTTP/1.1 417 Expectation Failed", "Content-Length: 2")}no`);
      await answered(asking);
      expect([status(asking), asking.answer.body, asking.answer.informs]).toEqual(["417", "no", []]);
      await servesGoodRequest(row);
    },
  },
  {
    name: "a body that does not wait for its 100 goes up",
    async run(row) {
      const { asking, asked } = await ask(row, `${lines("POST / HTTP/1.1", HOST, "Expect: 100-continue", "Content-Length: 4")}body`);
      await hears("the body", () => asked.request.state === "whole");
      asked.send(`${CONTINUE}${OK}`);
      await answered(asking);
      expect([status(asking), asking.answer.body]).toEqual(["200", "ok"]);
    },
  },
  {
    name: "an expectation that nobody knows is the upstream's to refuse",
    async run(row) {
      const { asking, asked } = await ask(row, lines("GET / HTTP/1.1", HOST, "Expect: the-unexpected"));
      expect(valuesOf(asked.request.head?.fields ?? [], "expect")).toEqual(["the-unexpected"]);
      asked.send(lines("HTTP/1.1 417 Expectation Failed", "Content-Length: 0"));
      await answered(asking);
      expect(status(asking)).toBe("417");
    },
  },
  {
    name: "a 103 reaches the client before there is a final response",
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.send(EARLY_HINTS, true);
      await hears("the 103", () => asking.answer.informs.length === 1);
      expect([statusOf(asking.answer.informs[0]?.start ?? ""), asking.answer.head]).toEqual(["103", undefined]);
      asked.send(OK);
      await answered(asking);
      expect(status(asking)).toBe("200");
    },
  },
  {
    name: "a 103 reaches the client while its body is still going up",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asked.send(EARLY_HINTS, true);
      await hears("the 103", () => asking.answer.informs.length === 1);
      asking.data("body");
      asking.end();
      await hears("the body", () => asked.request.state === "whole");
      asked.send(OK);
      await answered(asking);
      expect([status(asking), asked.request.body]).toEqual(["200", "body"]);
    },
  },
  {
    name: "a 103 and a response are the same wherever they are split",
    on: H1_UP,
    async run(row) {
      const client = await row.client();
      const answer = `${EARLY_HINTS}${lines("HTTP/1.1 100 Continue")}${lines("HTTP/1.1 200 Fine", "X-A: 1", "Content-Length: 2")}ok`;
      for (let at = 1; at < answer.length; at++) {
        const asking = client.ask(row.text(GET));
        await hears("the request", () => row.asked.length === at);
        // A write is a TLS record, and a record is read by itself.
        row.asked[at - 1]?.raw(answer.slice(0, at));
        await new Promise(setImmediate);
        row.asked[at - 1]?.raw(answer.slice(at));
        await answered(asking);
        const { informs, head, body } = asking.answer;
        expect([at, informs.map(({ start }) => statusOf(start)), statusOf(head?.start ?? ""), body]).toEqual([at, ["103", "100"], "200", "ok"]);
      }
    },
  },
];

const STREAMS: readonly ExchangeRow[] = [
  {
    name: "each piece of a response reaches the client before the next is sent",
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.send(STREAM, true);
      await hears("the head", () => asking.answer.head !== undefined);
      for (const body of ["data: 1\n\n", "data: 1\n\ndata: 2\n\n"]) {
        asked.data(body.slice(-9));
        await hears("a piece", () => asking.answer.body === body);
      }
      asked.end();
      await answered(asking);
      expect(asking.answer.state).toBe("whole");
    },
  },
  {
    name: "a head that comes before its body keeps its latin1 bytes",
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.send(lines("HTTP/1.1 200 OK", CHUNKED, "X-Name: caf\xe9 \xff"), true);
      await hears("the head", () => asking.answer.head !== undefined);
      expect(valuesOf(asking.answer.head?.fields ?? [], "x-name")).toEqual(["caf\xe9 \xff"]);
      asked.end();
      await answered(asking);
    },
  },
  {
    name: "the head of a request in chunks reaches the upstream before its body, and each piece before the next",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      expect([asked.request.body, asked.request.state]).toEqual(["", "open"]);
      for (const body of ["one", "onetwo"]) {
        asking.data(body.slice(-3));
        await hears("a piece", () => asked.request.body === body);
      }
      asking.end("X-Sum: 2");
      await hears("the end", () => asked.request.state === "whole");
      expect(asked.request.trailers.map((part) => part.toLowerCase())).toEqual(["x-sum", "2"]);
      asked.send(OK);
      await answered(asking);
    },
  },
  {
    name: "both bodies stream at the same time, as in gRPC, and end with trailers",
    async run(row) {
      const { asking, asked } = await ask(row, lines("POST /pkg.Service/Method HTTP/1.1", HOST, CHUNKED, "Content-Type: application/grpc", "TE: trailers"), true);
      expect(valuesOf(asked.request.head?.fields ?? [], "te")).toEqual(["trailers"]);
      asking.data("\x00\x00\x00\x00\x01a");
      await hears("the first message", () => asked.request.body.length === 6);
      asked.send(lines("HTTP/1.1 200 OK", CHUNKED, "Content-Type: application/grpc", "Trailer: grpc-status"), true);
      asked.data("\x00\x00\x00\x00\x01b");
      await hears("its answer", () => asking.answer.body.length === 6);
      asking.data("\x00\x00\x00\x00\x01c");
      await hears("the second message", () => asked.request.body.length === 12);
      asking.end();
      await hears("the end", () => asked.request.state === "whole");
      asked.end("grpc-status: 0", "grpc-message: fine");
      await answered(asking);
      expect([asking.answer.state, asking.answer.trailers]).toEqual(["whole", ["grpc-status", "0", "grpc-message", "fine"]]);
    },
  },
  {
    name: "a gRPC response of trailers alone is one head that ends the stream",
    on: ["h2→h2"],
    async run(row) {
      const { asking, asked } = await ask(row, lines("POST /pkg.Service/Method HTTP/1.1", HOST, "Content-Type: application/grpc", "TE: trailers"));
      asked.send(lines("HTTP/1.1 200 OK", "Content-Type: application/grpc", "grpc-status: 5", "grpc-message: no such thing"));
      await answered(asking);
      expect([asking.answer.state, asking.answer.head?.fields, asking.answer.trailers]).toEqual(["whole", ["content-type", "application/grpc", "grpc-status", "5", "grpc-message", "no such thing"], []]);
      expect(asking.answer.body).toBe("");
    },
  },
  {
    name: "a response that comes before the request's body is finished is whole, and nobody hangs",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asking.data("part");
      await hears("a part of the body", () => asked.request.body === "part");
      asked.send(`${lines("HTTP/1.1 413 Too Much", "Content-Length: 2")}no`);
      await answered(asking);
      expect([status(asking), asking.answer.body, asking.answer.state]).toEqual(["413", "no", "whole"]);
      asking.data("rest");
      asking.end();
      await servesGoodRequest(row);
    },
  },
  {
    name: "a response that comes before the body, with a close of the upstream behind it, is whole",
    on: H1_UP,
    async run(row) {
      const { asking, asked } = await ask(row, lines("POST / HTTP/1.1", HOST, "Content-Length: 1000000"), true);
      asking.data("a".repeat(1000));
      await hears("a part of the body", () => asked.request.body.length > 0);
      asked.send(`${lines("HTTP/1.1 401 Unauthorized", "Content-Length: 2", "Connection: close")}no`);
      await answered(asking);
      expect([status(asking), asking.answer.body, asking.answer.state]).toEqual(["401", "no", "whole"]);
      asking.data("a".repeat(1000));
      await servesGoodRequest(row);
    },
  },
  {
    name: "a response that begins before the body is finished goes on while the body does",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asked.send(STREAM, true);
      await hears("the head", () => asking.answer.head !== undefined);
      asking.data("late");
      await hears("the body", () => asked.request.body === "late");
      asked.data("more");
      await hears("more", () => asking.answer.body === "more");
      asking.end();
      await hears("the end", () => asked.request.state === "whole");
      asked.end();
      await answered(asking);
      expect(asking.answer.state).toBe("whole");
    },
  },
  {
    name: "a large body and a large response pass each other",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asked.send(STREAM, true);
      const piece = "x".repeat(10_000);
      for (let i = 0; i < 50; i++) {
        asking.data(piece);
        asked.data(piece);
      }
      asking.end();
      await hears("the end of the request", () => asked.request.state === "whole");
      asked.end();
      await answered(asking);
      expect([asking.answer.body.length, asked.request.body.length]).toEqual([500_000, 500_000]);
    },
  },
];

const ENDS: readonly ExchangeRow[] = [
  ...[
    ["in chunks", STREAM, "hello"],
    ["of known length", lines("HTTP/1.1 200 OK", "Content-Length: 10"), "hello"],
    ["before its first byte", STREAM, ""],
  ].flatMap(([kind = "", head = "", body = ""]) => [
    {
      name: `a response ${kind} that the upstream breaks off is broken off for the client`,
      async run(row: Row) {
        const { asking, asked } = await ask(row, GET);
        asked.send(head, true);
        if (body !== "") asked.data(body);
        await hears("the beginning", () => asking.answer.head !== undefined && asking.answer.body === body);
        asked.destroy();
        await seesACut(asking, body);
        await servesGoodRequest(row);
      },
    },
    {
      name: `a response ${kind} whose connection the upstream closes in good order is broken off for the client`,
      async run(row: Row) {
        const { asking, asked } = await ask(row, GET);
        asked.send(head, true);
        if (body !== "") asked.data(body);
        await hears("the beginning", () => asking.answer.head !== undefined && asking.answer.body === body);
        asked.close();
        await seesACut(asking, body);
        await servesGoodRequest(row);
      },
    },
  ]),
  {
    name: "a response that ends inside a chunk is broken off for the client",
    on: H1_UP,
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.raw(`${STREAM}5\r\nhel`);
      await hears("the beginning", () => asking.answer.head !== undefined);
      asked.close();
      await answered(asking);
      expect(asking.answer.state).toBe("cut");
      expect("hel").toContain(asking.answer.body);
    },
  },
  {
    name: "a response that ends inside its trailers is broken off for the client",
    on: H1_UP,
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.raw(`${STREAM}${chunks("hello")}0\r\nX-Sum: `);
      await hears("the beginning", () => asking.answer.body === "hello");
      asked.close();
      await seesACut(asking, "hello");
    },
  },
  {
    name: "an upstream that goes away before it answers is 502 upstream_unreachable",
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.destroy();
      await answered(asking);
      expect([status(asking), valuesOf(asking.answer.head?.fields ?? [], "x-tallyman-error")]).toEqual(["502", ["upstream_unreachable"]]);
      await servesGoodRequest(row);
    },
  },
  {
    name: "an upstream that goes away inside the request's body is 502 or ends the client's request",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asking.data("part");
      await hears("a part of the body", () => asked.request.body === "part");
      asked.destroy();
      await answered(asking);
      expect(asking.answer.head === undefined ? asking.answer.state : status(asking)).toMatch(/^(cut|502)$/);
      asking.data("more");
      await servesGoodRequest(row);
    },
  },
  {
    name: "a client that goes away before the response cancels the request at the upstream",
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asking.destroy();
      await isCancelled(asked);
      await servesGoodRequest(row);
    },
  },
  {
    name: "a client that goes away inside the response cancels it at the upstream",
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.send(STREAM, true);
      asked.data("hello");
      await hears("the beginning", () => asking.answer.body === "hello");
      asking.destroy();
      await isCancelled(asked);
      await servesGoodRequest(row);
    },
  },
  {
    name: "a client that goes away inside its request breaks it off at the upstream",
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asking.data("part");
      await hears("a part of the body", () => asked.request.body === "part");
      asking.destroy();
      await isCancelled(asked);
      expect(asked.request.state).toBe("cut");
      await servesGoodRequest(row);
    },
  },
  {
    name: "a client that goes away while it waits for 100 cancels the request at the upstream",
    async run(row) {
      const { asking, asked } = await ask(row, lines("POST / HTTP/1.1", HOST, "Expect: 100-continue", "Content-Length: 4"), true);
      asking.destroy();
      await isCancelled(asked);
      expect(asked.request.state).toBe("cut");
    },
  },
  {
    name: "a client that resets its stream cancels the request at the upstream, and its other streams go on",
    on: H2_DOWN,
    async run(row) {
      const client = await row.client();
      const [first, second] = [client.ask(row.text(GET)), client.ask(row.text(GET))];
      await hears("both requests", () => row.asked.length === 2);
      for (const asked of row.asked) {
        asked.send(STREAM, true);
        asked.data("hello");
      }
      await hears("both beginnings", () => first.answer.body === "hello" && second.answer.body === "hello");
      first.reset(8);
      await hears("one to be cancelled", () => row.asked.some((asked) => asked.isConnectionOver || asked.request.resetCode !== undefined));
      const left = row.asked.filter((asked) => !asked.isConnectionOver && asked.request.resetCode === undefined);
      expect(left).toHaveLength(1);
      left[0]?.data(" again");
      left[0]?.end();
      await answered(second);
      expect([second.answer.state, second.answer.body]).toEqual(["whole", "hello again"]);
      await servesGoodRequest(row, client);
    },
  },
  ...[2, 8, 11, 13].flatMap((code) => [
    {
      name: `a stream that the upstream resets with code ${String(code)} before its head is reset with that code`,
      on: ["h2→h2"] as const,
      async run(row: Row) {
        const { asking, asked } = await ask(row, GET);
        asked.reset(code);
        await answered(asking);
        same([asking.answer.resetCode, asking.answer.head], [code, undefined]);
      },
    },
    {
      name: `a stream that the upstream resets with code ${String(code)} inside its response is reset with that code`,
      on: ["h2→h2"] as const,
      async run(row: Row) {
        const { asking, asked } = await ask(row, GET);
        asked.send(STREAM, true);
        asked.data("hello");
        await hears("the beginning", () => asking.answer.body === "hello");
        asked.reset(code);
        await seesACut(asking, "hello");
        same(asking.answer.resetCode, code);
      },
    },
  ]),
  {
    name: "a stream that the upstream resets before its head is 502 to a client of HTTP/1.1",
    on: ["h1→h2"],
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.reset(2);
      await answered(asking);
      expect(status(asking)).toBe("502");
      await servesGoodRequest(row);
    },
  },
  {
    name: "a stream that the upstream resets inside its response is broken off for a client of HTTP/1.1",
    on: ["h1→h2"],
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.send(STREAM, true);
      asked.data("hello");
      await hears("the beginning", () => asking.answer.body === "hello");
      asked.reset(2);
      await seesACut(asking, "hello");
    },
  },
  {
    name: "a stream that the upstream resets without an error inside its response is not taken for whole",
    on: ["h1→h2", "h2→h2"],
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asked.send(STREAM, true);
      asked.data("hello");
      await hears("the beginning", () => asking.answer.body === "hello");
      asked.reset(0);
      await seesACut(asking, "hello");
    },
  },
  {
    name: "a stream that the upstream resets without an error behind a whole response leaves it whole",
    on: ["h1→h2", "h2→h2"],
    async run(row) {
      const { asking, asked } = await ask(row, POST, true);
      asked.send(OK);
      asked.reset(0);
      await answered(asking);
      expect([asking.answer.state, status(asking), asking.answer.body]).toEqual(["whole", "200", "ok"]);
      await servesGoodRequest(row);
    },
  },
  {
    name: "a stream that the client resets is reset at the upstream as cancelled",
    on: ["h2→h2"],
    async run(row) {
      const { asking, asked } = await ask(row, GET);
      asking.reset(8);
      await hears("the reset", () => asked.request.resetCode !== undefined);
      expect([asked.request.resetCode, asked.isConnectionOver]).toEqual([8, false]);
    },
  },
];

const CONNECTIONS: readonly ExchangeRow[] = [
  {
    name: "requests of one client one after the other use one connection to the upstream",
    async run(row) {
      const client = await row.client();
      for (let i = 0; i < 5; i++) await servesGoodRequest(row, client);
      expect(row.connections).toHaveLength(1);
    },
  },
  {
    name: "requests that come in one write are answered in their order",
    on: H1_DOWN,
    async run(row) {
      const client = await row.client();
      const heads = ["/1", "/2", "/3"].map((path) => row.text(lines(`GET ${path} HTTP/1.1`, HOST)));
      const [first, second, third] = [heads.join(""), "", ""].map((text) => client.ask(text));
      for (let i = 0; i < 3; i++) {
        await hears("a request", () => row.asked.length > i);
        row.asked[i]?.send(`${lines("HTTP/1.1 200 OK", "Content-Length: 2")}${pathOf(row.asked[i])}`);
      }
      await answered(third as Asking);
      expect([first, second, third].map((asking) => asking?.answer.body)).toEqual(["/1", "/2", "/3"]);
    },
  },
  {
    name: "requests that are sent ahead reach the upstream one at a time",
    on: H1_DOWN,
    async run(row) {
      const client = await row.client();
      const askings = Array.from({ length: 50 }, (_, i) => client.ask(row.text(lines(`GET /${String(i)} HTTP/1.1`, HOST))));
      for (let i = 0; i < 50; i++) {
        await hears("a request", () => row.asked.length > i);
        expect(row.asked).toHaveLength(i + 1);
        row.asked[i]?.send(OK);
      }
      await answered(askings[49] as Asking);
      expect(askings.every(({ answer }) => answer.state === "whole")).toBe(true);
    },
  },
  {
    name: "a client that sends thousands of requests ahead loses its connection",
    on: H1_DOWN,
    async run(row) {
      const client = await row.client();
      client.raw(row.text(lines("GET / HTTP/1.1", HOST)).repeat(5000));
      await hears("the end", () => client.isClosed);
      expect(row.asked.length).toBeLessThan(2);
      await servesGoodRequest(row);
    },
  },
  ...["GET /socket", "CONNECT {host}:443"].map((begin) => ({
    name: `a ${begin.startsWith("C") ? "CONNECT" : "WebSocket request"} that is sent ahead of an answer ends the connection`,
    on: H1_DOWN,
    async run(row: Row) {
      const client = await row.client();
      client.raw(row.text(`${GET}${lines(`${begin} HTTP/1.1`, HOST, "Connection: Upgrade", "Upgrade: websocket")}`));
      await hears("the end", () => client.isClosed);
      same([client.received, row.asked.filter((asked) => pathOf(asked) !== "/")], ["", []]);
      await servesGoodRequest(row);
    },
  })),
  {
    name: "a request behind one with a body in the same write is one of its own",
    on: H1_DOWN,
    async run(row) {
      const client = await row.client();
      const both = `${lines("POST /1 HTTP/1.1", HOST, CHUNKED)}${chunks("a")}${lastChunk()}${lines("GET /2 HTTP/1.1", HOST)}`;
      const [first, second] = [both, ""].map((text) => client.ask(row.text(text)));
      for (let i = 0; i < 2; i++) {
        await hears("a request", () => row.asked[i]?.request.state === "whole");
        row.asked[i]?.send(`${lines("HTTP/1.1 200 OK", "Content-Length: 2")}${pathOf(row.asked[i])}`);
      }
      await answered(second as Asking);
      expect([first?.answer.body, second?.answer.body]).toEqual(["/1", "/2"]);
      // They may reach the upstream in either order, each on a connection of its own.
      expect(Object.fromEntries(row.asked.map((asked) => [pathOf(asked), asked.request.body]))).toEqual({ "/1": "a", "/2": "" });
    },
  },
  {
    name: "bytes behind a request that closes are not another request",
    on: H1_DOWN,
    async run(row) {
      const client = await row.client();
      client.raw(row.text(`${lines("GET /1 HTTP/1.1", HOST, "Connection: close")}${lines("GET /2 HTTP/1.1", HOST)}`));
      await hears("an answer or the request", () => client.isClosed || row.asked.length > 0);
      row.asked[0]?.send(OK);
      await hears("the close", () => client.isClosed);
      expect(readResponses(client.received, [], true).messages).toHaveLength(1);
      expect(row.asked.every(({ request }) => request.head?.start.includes("/1"))).toBe(true);
      await servesGoodRequest(row);
    },
  },
  {
    name: "a head that stops in its middle is given up, and nothing of it reaches the upstream",
    on: H1_DOWN,
    async run(row) {
      const client = await row.client();
      client.raw("GET /x HTTP/1.1\r\nX-Slo");
      await hears("the end", () => client.isClosed);
      expect(row.connections).toEqual([]);
      await servesGoodRequest(row);
    },
  },
  {
    name: "100 streams are answered out of order, each with its own response",
    on: H2_DOWN,
    async run(row) {
      const client = await row.client();
      const askings = Array.from({ length: 100 }, (_, i) => client.ask(row.text(lines(`GET /stream/${String(i)} HTTP/1.1`, HOST))));
      await hears("all requests", () => row.asked.length === 100);
      for (const asked of [...row.asked].toReversed()) {
        const path = pathOf(asked);
        asked.send(`${lines("HTTP/1.1 200 OK", `Content-Length: ${String(path.length)}`)}${path}`);
      }
      await hears("all answers", () => askings.every(({ answer }) => answer.state === "whole"));
      expect(askings.map(({ answer }) => answer.body)).toEqual(askings.map((_, i) => `/stream/${String(i)}`));
    },
  },
  {
    name: "a connection that the upstream closed while it was idle is not used again",
    async run(row) {
      await servesGoodRequest(row);
      row.asked[0]?.close();
      await hears("the connection to end", () => row.connections[0]?.isOver === true);
      await servesGoodRequest(row);
      expect(row.connections).toHaveLength(2);
    },
  },
  {
    name: "bytes that the upstream sends behind a whole response are not the answer to the next request",
    on: H1_UP,
    async run(row) {
      const client = await row.client();
      const asking = client.ask(row.text(GET));
      (await row.firstAsked()).raw(`${OK}${lines("HTTP/1.1 200 OK", "Content-Length: 6")}poison`);
      await answered(asking);
      expect([status(asking), asking.answer.body, asking.answer.state]).toEqual(["200", "ok", "whole"]);
      await servesGoodRequest(row, client);
      await servesGoodRequest(row);
    },
  },
  ...[
    ["204", GET, lines("HTTP/1.1 204 No Content")],
    ["304", GET, lines("HTTP/1.1 304 Not Modified", "Content-Length: 6")],
    ["HEAD", lines("HEAD / HTTP/1.1", HOST), lines("HTTP/1.1 200 OK", "Content-Length: 6")],
  ].map(([kind = "", request = "", head = ""]) => ({
    name: `a body behind a response to ${kind} is not the answer to the next request`,
    on: H1_UP,
    async run(row: Row) {
      const client = await row.client();
      const asking = client.ask(row.text(request));
      (await row.firstAsked()).raw(`${head}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`);
      await answered(asking);
      same([asking.answer.state, asking.answer.body], ["whole", ""]);
      await servesGoodRequest(row, client);
    },
  })),
];

const SWITCH = lines("GET /socket HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat, superchat");
const SWITCHED = lines("HTTP/1.1 101 Going Over", "upgrade: WebSocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhZRbK+xOo=", "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover", "sec-websocket-protocol: superchat", "X-Own: 1");

const SOCKETS: readonly ExchangeRow[] = [
  {
    name: "the 101 of a WebSocket is the upstream's own, byte for byte, and bytes behind it in the same write follow",
    on: ["h1→h1"],
    async run(row) {
      const client = await row.client();
      client.raw(row.text(SWITCH));
      const asked = await row.firstAsked();
      expect(asked.received).toBe(row.text(SWITCH));
      asked.raw(`${SWITCHED}\x81\x02hi`);
      await hears("the 101", () => client.received.length >= SWITCHED.length + 4);
      expect(client.received).toBe(`${SWITCHED}\x81\x02hi`);
    },
  },
  {
    name: "bytes of a WebSocket pass unchanged both ways, those that the client sent early too",
    on: ["h1→h1"],
    async run(row) {
      const client = await row.client();
      client.raw(`${row.text(SWITCH)}\x81\x82\x01\x02\x03\x04ij`);
      const asked = await row.firstAsked();
      asked.raw(SWITCHED);
      await hears("the 101", () => client.received === SWITCHED);
      await hears("the early bytes", () => asked.received.endsWith("\x81\x82\x01\x02\x03\x04ij"));
      client.raw("\xff\x00\xfe not a frame at all");
      await hears("the later bytes", () => asked.received.endsWith("\xff\x00\xfe not a frame at all"));
      asked.raw("\x88\x02\x03\xe8");
      await hears("the close frame", () => client.received === `${SWITCHED}\x88\x02\x03\xe8`);
      asked.close();
      await hears("the end", () => client.isClosed);
    },
  },
  {
    name: "a client that leaves a WebSocket ends it at the upstream",
    on: ["h1→h1"],
    async run(row) {
      const client = await row.client();
      client.raw(row.text(SWITCH));
      const asked = await row.firstAsked();
      asked.raw(SWITCHED);
      await hears("the 101", () => client.received === SWITCHED);
      client.destroy();
      await hears("the end", () => asked.isConnectionOver);
    },
  },
];

export const EXCHANGE_ROWS: readonly ExchangeRow[] = [...CONTINUED, ...STREAMS, ...ENDS, ...CONNECTIONS, ...SOCKETS];
