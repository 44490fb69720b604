import { describe, expect, it } from "vitest";

import type { FlowHead, FlowOutcome } from "../../src/flow/flow.ts";
import type { FlowIntent, LedgerRecord } from "../../src/store/store.ts";
import { createCounters } from "../../src/usage/counters.ts";
import { createEventBuilder } from "../../src/usage/event.ts";
import type { UsageEvent } from "../../src/usage/event-types.ts";
import type { ModelReading, Reading, SocketMessage, SocketReader } from "../../src/usage/handler.ts";
import { createSettlement } from "../../src/usage/settlement.ts";
import { SocketFlow, type SocketFlowOptions } from "../../src/usage/socket-flow.ts";
import { createMessageDeflater, frameOf, type FrameOptions } from "../support/websocket-wire.ts";

const FLOW_ID = "0193f0a2-0000-7000-8000-000000000000";
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

const HEAD: FlowHead = {
  flowId: FLOW_ID,
  startedAtMs: 1_700_000_000_000,
  protocol: "websocket",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  method: "GET",
  target: "/v1/socket",
  headers: [],
  proxyUser: undefined,
  attributionHeaders: [],
};

const measured = (tokens: number, completeness: ModelReading["completeness"] = "complete"): ModelReading => ({
  kind: "measured",
  completeness,
  source: "provider",
  usage: { input_tokens: tokens },
  requestModel: "m",
  responseModel: "m",
  responseId: null,
  serviceTier: null,
  streamed: true,
});

/** A protocol of one word a message: "begin" begins a response, "done 5" ends one of five tokens, "done 5 6" two, "free" one that cost nothing. */
function wordReader(seen: string[]): SocketReader {
  let isUnderWay = false;
  const told = (message: SocketMessage): string => (message.kind === "text" ? message.text : `${message.kind} ${message.kind === "binary" ? message.bytes.length : message.bytes}`);
  return {
    clientMessage: (message) => void seen.push(`client ${told(message)}`),
    serverMessage(message): readonly Reading[] {
      seen.push(told(message));
      const [word, ...counts] = told(message).split(" ");
      if (word === "begin") isUnderWay = true;
      if (word === "boom") throw new SyntaxError("in the words of the user");
      if (word === "free") return [{ kind: "free", reason: "error_event" }];
      if (word !== "done") return [];
      isUnderWay = false;
      return counts.map((count) => measured(Number(count)));
    },
    end(end) {
      seen.push(`end ${end.kind}`);
      return isUnderWay ? [measured(1, "partial")] : [];
    },
  };
}

interface SetUpOptions extends Partial<Omit<SocketFlowOptions, "store">> {
  /** Null: nobody reads the socket. */
  readonly reader?: ((seen: string[]) => SocketReader) | null;
  readonly commit?: () => Promise<void>;
}

function setUp({ reader = wordReader, commit, ...changes }: SetUpOptions = {}) {
  const seen: string[] = [];
  const intents = new Map<string, FlowIntent>();
  const begun: FlowIntent[] = [];
  const commits: (readonly LedgerRecord[])[] = [];
  const gaps: string[] = [];
  const logged: string[] = [];
  const ends: { readings: readonly Reading[]; outcome: FlowOutcome }[] = [];
  const sums: number[] = [];
  const counters = createCounters({ pendingFile: undefined, onFileError: () => undefined, now: Date.now });
  counters.onChange(() => {
    const { flows, buffered, reports } = counters.snapshot();
    sums.push(flows + buffered + reports);
  });
  const options: SocketFlowOptions = {
    events: createEventBuilder({ deploymentId: "d", price: () => null }),
    counters,
    hasReceiver: true,
    isQueueFull: () => false,
    isStrict: true,
    commitWaitMs: 60_000,
    monotonicMs: () => performance.now(),
    logger: { error: (fields: unknown, message?: string) => void logged.push(`${JSON.stringify(fields)} ${message ?? ""}`) },
    onStored: () => undefined,
    onCommitWait: () => undefined,
    onFlowStart: () => undefined,
    onFlowEnd: (_flow, _ending, readings, outcome) => void ends.push({ readings, outcome }),
    ...changes,
    store: {
      begin(intent) {
        begun.push(intent);
        intents.set(intent.flowId, intent);
      },
      commit(flowId, records) {
        intents.delete(flowId);
        commits.push(records);
        return commit?.() ?? Promise.resolve();
      },
      failure: undefined,
      recordGap: (kind, count) => void gaps.push(...Array<string>(count).fill(kind)),
    },
  };
  const opened = { api: "example.socket", operation: "chat", isBillable: true, reader: undefined, ...(reader === null ? {} : { socket: reader(seen) }) };
  const facts = {
    flowId: FLOW_ID, startedAtMs: HEAD.startedAtMs, host: HEAD.host, meter: "example", kind: "model" as const, api: opened.api, operation: opened.operation,
    attribution: { orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} }, billable: true,
  };
  const flow = new SocketFlow(HEAD, { facts, opened }, { options, settlement: createSettlement(options) });
  return {
    flow, seen, intents, begun, commits, gaps, logged, ends, sums,
    counts: () => counters.snapshot(),
    events: () => commits.flat().map((record): UsageEvent => JSON.parse(record.body)),
    /** The id that the `unknown` event of a crash would have now. */
    intentId: (): unknown => JSON.parse(intents.get(FLOW_ID)?.unknownEvent ?? "{}").id,
    switched(headers: readonly string[] = []) {
      flow.responseHead({ status: 101, statusText: "Switching Protocols", headers });
    },
    says: (text: string, frame: FrameOptions = {}) => flow.responseData(frameOf(text, frame)),
    asks: (text: string) => flow.requestData(frameOf(text, { mask: MASK })),
  };
}

/** Whether a promise has settled, once everything that waits for nothing else has run. */
async function isSettled(promise: Promise<unknown> | undefined | void): Promise<boolean> {
  let settled = false;
  void Promise.resolve(promise).then(() => (settled = true));
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe("a response on a socket", () => {
  it("is an event of its own, the sequence rising, while the socket goes on", async () => {
    const all = setUp();
    all.switched();
    all.asks("first");
    all.says("begin");
    await all.says("done 5");
    all.asks("second");
    await all.says("done 6");
    expect(all.counts()).toEqual({ flows: 1, buffered: 0, reports: 2 });
    await all.flow.end({ kind: "complete" });
    expect(all.seen).toEqual(["client first", "begin", "done 5", "client second", "done 6", "end complete"]);
    expect(all.commits.map((records) => records.map(({ id, delivery }) => [id, delivery]))).toEqual([[[FLOW_ID, "pending"]], [[`${FLOW_ID}-1`, "pending"]], []]);
    expect(all.events().map(({ data }) => [data.flow_id, data.sequence, data.status, data.usage])).toEqual([
      [FLOW_ID, 0, 101, { input_tokens: 5 }],
      [FLOW_ID, 1, 101, { input_tokens: 6 }],
    ]);
    expect(all.counts()).toEqual({ flows: 0, buffered: 0, reports: 2 });
  });

  it("holds the bytes that end it until it is stored, and no others", async () => {
    const stored = Promise.withResolvers<void>();
    const all = setUp({ commit: () => stored.promise });
    all.switched();
    expect(all.says("begin")).toBeUndefined();
    const held = all.says("done 5");
    expect(await isSettled(held)).toBe(false);
    expect(all.says("begin")).toBeUndefined();
    stored.resolve();
    expect(await isSettled(held)).toBe(true);
  });

  it("holds nothing under relaxed durability", () => {
    const all = setUp({ isStrict: false, commit: () => new Promise(() => undefined) });
    all.switched();
    expect(all.says("done 5")).toBeUndefined();
    expect(all.flow.end({ kind: "complete" })).toBeUndefined();
    expect(all.events()).toHaveLength(1);
  });

  it("is held no longer than the bound, and leaves a gap then", async () => {
    const all = setUp({ commitWaitMs: 1, commit: () => new Promise(() => undefined) });
    all.switched();
    await all.says("done 5");
    expect(all.gaps).toEqual(["commit_timeout"]);
    // Of a socket that has ended no byte waits.
    await all.flow.end({ kind: "complete" });
    expect(all.gaps).toEqual(["commit_timeout"]);
  });

  it("is stored with the others that end in the same bytes, in order, at once", async () => {
    const all = setUp();
    all.switched();
    await all.flow.responseData(Buffer.concat([frameOf("done 1 2"), frameOf("free"), frameOf("begin"), frameOf("done 3")]));
    expect(all.commits).toHaveLength(1);
    expect(all.events().map(({ id, data }) => [id, data.sequence, data.usage])).toEqual([
      [FLOW_ID, 0, { input_tokens: 1 }],
      [`${FLOW_ID}-1`, 1, { input_tokens: 2 }],
      [`${FLOW_ID}-2`, 2, {}],
      [`${FLOW_ID}-3`, 3, { input_tokens: 3 }],
    ]);
    expect(all.commits[0]?.map(({ delivery }) => delivery)).toEqual(["pending", "pending", "none", "pending"]);
    expect(all.counts()).toEqual({ flows: 1, buffered: 0, reports: 3 });
    await all.says("done 4");
    expect(all.events().at(-1)?.id).toBe(`${FLOW_ID}-4`);
  });

  it("ends with the last byte of its message, however that is cut", async () => {
    const bytes = Buffer.concat([frameOf("do", { isFinal: false }), frameOf("still here", { opcode: 9 }), frameOf("ne 5", { opcode: 0 })]);
    const all = setUp();
    all.switched();
    const waits = Array.from(bytes, (_byte, at) => all.flow.responseData(bytes.subarray(at, at + 1)));
    expect(waits.map((wait) => wait !== undefined)).toEqual(waits.map((_wait, at) => at === bytes.length - 1));
    await waits.at(-1);
    expect(all.events()).toHaveLength(1);
  });

  it("leaves an intent behind for what comes next, with the next sequence", async () => {
    const all = setUp();
    expect(all.intentId()).toBe(FLOW_ID);
    all.switched();
    await all.says("done 1 2");
    expect(all.intentId()).toBe(`${FLOW_ID}-2`);
    await all.says("done 3");
    expect(all.intentId()).toBe(`${FLOW_ID}-3`);
    expect(JSON.parse(all.intents.get(FLOW_ID)?.unknownEvent ?? "")).toMatchObject({ data: { flow_id: FLOW_ID, sequence: 3, completeness: "unknown", meter: "example" } });
    // What was noted before says the same whenever it is read.
    expect(all.begun.map(({ unknownEvent }): unknown => JSON.parse(unknownEvent).id)).toEqual([FLOW_ID, `${FLOW_ID}-2`, `${FLOW_ID}-3`]);
    await all.flow.end({ kind: "complete" });
    expect(all.intents.size).toBe(0);
  });

  it("never leaves all counters at zero while something is pending", async () => {
    const all = setUp();
    all.switched();
    await all.says("done 1");
    await all.says("done 2 3");
    await all.flow.end({ kind: "complete" });
    expect(Math.min(...all.sums)).toBeGreaterThan(0);
    expect(all.counts()).toEqual({ flows: 0, buffered: 0, reports: 3 });
  });

  it("is timed and sized from what the client said before it", async () => {
    const clock = { ms: 1000 };
    const all = setUp({ monotonicMs: () => clock.ms });
    all.switched();
    clock.ms += 500;
    all.asks("first");
    clock.ms += 40;
    all.says("begin");
    clock.ms += 60;
    await all.says("done 5");
    clock.ms += 10_000;
    all.asks("second");
    clock.ms += 5;
    await all.says("done 6");
    const timing = { first: { started_at: "2023-11-14T22:13:20.500Z", latency_ms: 100, time_to_first_byte_ms: 40 }, second: { started_at: "2023-11-14T22:13:30.600Z", latency_ms: 5, time_to_first_byte_ms: 5 } };
    const size = (client: string, ...server: string[]): object => ({ bytes_up: frameOf(client, { mask: MASK }).length, bytes_down: server.reduce((sum, text) => sum + frameOf(text).length, 0) });
    expect(all.events()).toMatchObject([
      { time: "2023-11-14T22:13:20.600Z", data: { ...timing.first, ...size("first", "begin", "done 5") } },
      { data: { ...timing.second, ...size("second", "done 6") } },
    ]);
  });
});

describe("messages of a socket", () => {
  it("are unmasked, inflated where that was negotiated, and told apart", async () => {
    const all = setUp();
    all.switched(["Sec-WebSocket-Extensions", "permessage-deflate"]);
    const client = createMessageDeflater();
    const server = createMessageDeflater();
    for (const text of ["ask ask ask", "ask ask ask"]) all.flow.requestData(frameOf(await client(text), { isCompressed: true, mask: MASK }));
    for (const text of ["done 5", "done 5"]) await all.flow.responseData(frameOf(await server(text), { isCompressed: true }));
    all.says("plain");
    all.says("123", { opcode: 2 });
    expect(all.seen).toEqual(["client ask ask ask", "client ask ask ask", "done 5", "done 5", "plain", "binary 3"]);
    expect(all.events()).toHaveLength(2);
  });

  it("over the bound are told by their size, and the next one is read", async () => {
    const all = setUp();
    all.switched();
    const size = 17 * 1024 * 1024;
    const head = frameOf(Buffer.alloc(70_000)).subarray(0, 10);
    head.writeBigUInt64BE(BigInt(size), 2);
    expect(all.flow.responseData(head)).toBeUndefined();
    const piece = Buffer.alloc(1024 * 1024);
    for (let sent = 0; sent < size; sent += piece.length) expect(all.flow.responseData(piece)).toBeUndefined();
    await all.says("done 5");
    expect(all.seen).toEqual([`oversized ${size}`, "done 5"]);
    expect(all.events()).toMatchObject([{ data: { usage: { input_tokens: 5 } } }]);
  });

  it.each([
    ["an extension that nobody knows", ["sec-websocket-extensions", "x-webkit-deflate-frame"], Buffer.from("")],
    ["frames that are none", [], Buffer.from("HTTP/1.1 200 OK\r\n\r\n")],
    ["a compression that was not negotiated", [], frameOf("xxxx", { isCompressed: true })],
  ])("that cannot be understood, by %s, are one unknown record at the end", async (_name, headers, bytes) => {
    const all = setUp();
    all.switched(headers);
    expect(all.flow.responseData(bytes)).toBeUndefined();
    expect(all.says("done 5")).toBeUndefined();
    expect(all.commits).toEqual([]);
    await all.flow.end({ kind: "complete" });
    expect(all.events()).toMatchObject([{ id: FLOW_ID, data: { completeness: "unknown", usage: {}, usage_source: "none" } }]);
    expect(all.commits[0]).toMatchObject([{ delivery: "pending" }]);
  });

  it("of the client that cannot be understood leave what was stored, and an unknown record behind it", async () => {
    const all = setUp();
    all.switched();
    await all.says("done 5");
    all.flow.requestData(frameOf("not masked"));
    all.says("done 6");
    await all.flow.end({ kind: "complete" });
    expect(all.events()).toMatchObject([{ data: { usage: { input_tokens: 5 } } }, { id: `${FLOW_ID}-1`, data: { sequence: 1, completeness: "unknown" } }]);
  });
});

describe("the end of a socket", () => {
  it("that the upstream refused is one free record", async () => {
    const all = setUp();
    all.flow.responseHead({ status: 401, statusText: "Unauthorized", headers: ["x-request-id", "req_1"] });
    expect(all.flow.responseData(Buffer.from('{"error":{}}'))).toBeUndefined();
    await all.flow.end({ kind: "complete" });
    expect(all.seen).toEqual([]);
    expect(all.commits[0]).toMatchObject([{ id: FLOW_ID, delivery: "none" }]);
    expect(all.events()).toMatchObject([{ data: { status: 401, request_id: "req_1", completeness: "complete", usage: {} } }]);
    expect(all.counts()).toEqual({ flows: 0, buffered: 0, reports: 0 });
  });

  it("that the proxy refused is one free record, with the proxy's status", async () => {
    const all = setUp();
    await all.flow.end({ kind: "refused", status: 503, code: "queue_full" });
    expect(all.commits[0]).toMatchObject([{ delivery: "none" }]);
    expect(all.events()).toMatchObject([{ data: { status: 503, completeness: "complete", usage: {} } }]);
  });

  it("on which nothing finished is one free record", async () => {
    const all = setUp();
    all.switched();
    all.says("hello");
    await all.flow.end({ kind: "complete" });
    expect(all.commits[0]).toMatchObject([{ delivery: "none" }]);
    expect(all.events()).toMatchObject([{ data: { status: 101, completeness: "complete", usage: {} } }]);
  });

  it("that nobody can read is one unknown record", async () => {
    const all = setUp({ reader: null });
    all.switched();
    all.says("done 5");
    await all.flow.end({ kind: "complete" });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown", usage: {} } }]);
  });

  it.each(["client_aborted", "upstream_aborted"] as const)("in the middle of a response gives a partial one, %s", async (kind) => {
    const all = setUp();
    all.switched();
    await all.says("done 5");
    all.says("begin");
    await all.flow.end({ kind });
    expect(all.seen.at(-1)).toBe(`end ${kind}`);
    expect(all.events()).toMatchObject([{ data: { completeness: "complete" } }, { id: `${FLOW_ID}-1`, data: { sequence: 1, completeness: "partial" } }]);
    expect(all.ends).toMatchObject([{ readings: [{ completeness: "partial" }], outcome: { kind } }]);
  });
});

describe("a reader that throws", () => {
  it("ends the reading and not the socket, keeps what was found, and its words out of the log", async () => {
    const all = setUp();
    all.switched();
    await all.flow.responseData(Buffer.concat([frameOf("done 5"), frameOf("boom")]));
    expect(all.says("done 6")).toBeUndefined();
    await all.flow.end({ kind: "complete" });
    expect(all.events()).toMatchObject([{ data: { usage: { input_tokens: 5 } } }, { id: `${FLOW_ID}-1`, data: { completeness: "unknown" } }]);
    expect(all.logged).toHaveLength(1);
    expect(all.logged[0]).toContain("socket-flow.test.ts");
    expect(all.logged[0]).not.toContain("words of the user");
    expect(all.seen).not.toContain("done 6");
    expect(all.seen).not.toContain("end complete");
  });

  it("is not asked again, not even for what came in the same bytes", async () => {
    const all = setUp();
    all.switched();
    expect(all.flow.responseData(Buffer.concat([frameOf("boom"), frameOf("done 6")]))).toBeUndefined();
    await all.flow.end({ kind: "complete" });
    expect(all.seen).toEqual(["boom"]);
    expect(all.events()).toMatchObject([{ id: FLOW_ID, data: { completeness: "unknown" } }]);
  });

  it("at the end leaves an unknown record", async () => {
    const boom = (): never => {
      throw new Error("end");
    };
    const all = setUp({ reader: (seen) => ({ ...wordReader(seen), end: boom }) });
    all.switched();
    await all.flow.end({ kind: "complete" });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown" } }]);
    expect(all.counts()).toEqual({ flows: 0, buffered: 0, reports: 1 });
  });

  it("on a message of the client is survived too", async () => {
    const boom = (): never => {
      throw new Error("ask");
    };
    const all = setUp({ reader: (seen) => ({ ...wordReader(seen), clientMessage: boom }) });
    all.switched();
    all.asks("x");
    await all.flow.end({ kind: "complete" });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown" } }]);
    expect(all.logged).toHaveLength(1);
  });
});
