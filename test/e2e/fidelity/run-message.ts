/** Runs rows of one request and one response that are there at once, and compares what each end has received. */

import { expect } from "vitest";

import { seen, servesGoodRequest, statusOf, type Combination, type Stage } from "./harness.ts";
import { lines, readRequests, readResponses, valuesOf, type Message } from "./message.ts";
import { nodeReadsRequests, nodeReadsResponse } from "./node-reading.ts";
import { CONNECTION_FIELDS, lowered, without, type Arrival, type Client, type Head } from "./peers.ts";

/** Texts are HTTP/1.1 messages; `{host}` stands for the row's host. A combination's own text goes before the common one. */
export type Texts = string | Partial<Record<Combination | "else", string>>;

export interface MessageRow {
  /** A sentence in the present tense; its subject is the request or the response. */
  readonly name: string;
  /** Default: every combination. */
  readonly on?: readonly Combination[];
  /** What the client sends. Default: a GET. */
  readonly request?: Texts;
  /** What the upstream reads. Default: what the client sends. */
  readonly atUpstream?: Texts;
  /** What the upstream sends, interim responses first. Default: a 200 with a body. */
  readonly response?: Texts;
  /** What the client reads. Default: what the upstream sends. */
  readonly atClient?: Texts;
  /** The client's connection afterwards. Default: `kept`. */
  readonly after?: "kept" | "closed";
}

const GET = lines("GET / HTTP/1.1", "Host: {host}");
const OK = `${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`;

export async function runMessageRow(row: MessageRow, stage: Stage): Promise<void> {
  const pick = (texts: Texts | undefined, otherwise: string): string => {
    const picked = typeof texts === "object" ? (texts[stage.combination] ?? texts.else) : texts;
    return part.text(picked ?? otherwise);
  };
  const part = stage.row((asked) => void seen(() => asked.request.state === "whole", "the whole request").then(() => asked.send(response), () => undefined));
  const request = pick(row.request, GET);
  const response = pick(row.response, OK);
  const client = await part.client();
  try {
    const { answer } = await exchange(client, request);
    const asked = await part.firstAsked();
    expect(seenRequest(asked.request)).toEqual(expectedRequest(pick(row.atUpstream, request), stage));
    const method = request.trimStart().split(" ")[0] as string;
    expect(seenResponse(answer, stage)).toEqual(expectedResponse(pick(row.atClient, response), method, stage));
    if (stage.up === "h1") await nodeAgreesOnRequest(asked.received, stage.down === "h1" ? request : undefined);
    if (stage.down === "h1") await nodeAgreesOnResponse(method, client.received);
    if (row.after === "closed") await seen(() => client.isClosed, "the client's connection to end");
    else await servesGoodRequest(part, client);
  } finally {
    part.end();
  }
}

async function exchange(client: Client, request: string): Promise<{ answer: Arrival }> {
  const asking = client.ask(request);
  await seen(() => asking.answer.state !== "open" || isClosing(asking.answer), "the answer");
  return { answer: asking.answer };
}

/** The end of a 101 is the end of nothing. */
function isClosing(answer: Arrival): boolean {
  return answer.head?.start.startsWith("HTTP/1.1 101") === true;
}

/** A message in the form that is compared. */
interface Seen {
  readonly informs?: readonly Head[];
  readonly start: string;
  readonly fields: readonly string[];
  readonly framing: string;
  readonly body: string;
  readonly trailers: readonly string[];
  readonly state: string;
}

function seenRequest({ head, body, trailers, framing, state }: Arrival): Seen {
  const start = head?.start ?? "";
  return { start: framing === "stream" ? sortedWords(start) : start, fields: withoutOwnFields(head?.fields ?? []), framing, body, trailers, state };
}

function expectedRequest(text: string, stage: Stage): Seen {
  const message = only(readRequests(text).messages);
  const [method = "", path = ""] = message.start.split(" ");
  const authority = valuesOf(message.fields, "host")[0] ?? "";
  const rest = lowered(without(message.fields, [...CONNECTION_FIELDS, "host"]));
  const common = { body: message.body, trailers: stage.down === "h2" || stage.up === "h2" ? lowered(message.trailers) : message.trailers, state: "whole" };
  if (stage.up === "h2") return { ...common, start: sortedWords(`${method} https ${authority} ${path}`), fields: rest, framing: "stream" };
  const fields = stage.down === "h2" ? ["host", authority, ...rest] : withoutOwnFields(message.fields);
  return { ...common, start: message.start, fields, framing: message.framing };
}

function seenResponse({ informs, head, body, trailers, framing, state }: Arrival, stage: Stage): Seen {
  const form = (each: Head): Head => ({ start: startOf(each.start, stage), fields: withoutOwnFields(each.fields) });
  return { informs: informs.map(form), ...form(head ?? { start: "", fields: [] }), framing, body, trailers, state };
}

function expectedResponse(text: string, method: string, stage: Stage): Seen {
  const { messages } = readResponses(text, [method], true);
  const isLowered = stage.down === "h2" || stage.up === "h2";
  const form = ({ start, fields }: Head): Head => {
    const kept = stage.down === "h2" ? without(fields, CONNECTION_FIELDS) : withoutOwnFields(fields);
    return { start: startOf(start, stage), fields: isLowered ? lowered(kept) : kept };
  };
  const final = messages.at(-1) as Message;
  return {
    informs: messages.slice(0, -1).map(form),
    ...form(final),
    framing: stage.down === "h2" ? "stream" : final.framing,
    body: final.body,
    trailers: isLowered ? lowered(final.trailers) : final.trailers,
    state: "whole",
  };
}

/** HTTP/2 has no reason phrase. */
function startOf(start: string, stage: Stage): string {
  return stage.down === "h1" && stage.up === "h1" ? start : statusOf(start);
}

/** The transfer coding shows as `framing`; a proxy's own fields say what it does with its own connection. */
function withoutOwnFields(fields: readonly string[]): string[] {
  return fields.filter((_, i) => !isOwnField(fields[i - (i % 2)] as string, fields[i - (i % 2) + 1] as string));
}

function isOwnField(name: string, value: string): boolean {
  const lower = name.toLowerCase();
  if (lower === "connection") return value === "keep-alive" || value === "close";
  return (lower === "transfer-encoding" && value === "chunked") || (lower === "keep-alive" && value === "timeout=75");
}

function sortedWords(text: string): string {
  return text.split(" ").toSorted().join(" ");
}

function only(messages: readonly Message[]): Message {
  if (messages.length !== 1) throw new Error(`the row's text holds ${String(messages.length)} messages`);
  return messages[0] as Message;
}

/** Node reads the same requests out of what the upstream got as the strict reader, and the same one out of what the client sent. */
async function nodeAgreesOnRequest(received: string, sent: string | undefined): Promise<void> {
  const { messages, fault } = await nodeReadsRequests(received);
  const own = readRequests(received).messages.map(({ start, fields, body, trailers }) => ({ start: start.replace(/ HTTP\/1\.\d$/, ""), fields, body, trailers }));
  expect({ messages, fault }).toEqual({ messages: own, fault: undefined });
  if (sent === undefined) return;
  const [asSent] = (await nodeReadsRequests(sent)).messages;
  expect([messages[0]?.start, messages[0]?.body]).toEqual([asSent?.start, asSent?.body]);
}

async function nodeAgreesOnResponse(method: string, received: string): Promise<void> {
  const own = readResponses(received, [method], true).messages.find(({ start }) => !/^HTTP\/1\.1 1(?!01)/.test(start)) as Message;
  const { message, isWhole } = await nodeReadsResponse(method, received);
  expect(message).toEqual({ start: statusOf(own.start), fields: own.fields, body: own.body, trailers: own.trailers });
  expect(isWhole).toBe(true);
}
