import { randomBytes } from "node:crypto";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";

import type { FlowHead, FlowObserver, FlowOutcome } from "../../src/flow/flow.ts";
import { createHostTable } from "../../src/flow/route.ts";
import type { FlowIntent, LedgerRecord } from "../../src/store/store.ts";
import { createCounters, type CounterSnapshot } from "../../src/usage/counters.ts";
import { createEventBuilder } from "../../src/usage/event.ts";
import type { UsageEvent } from "../../src/usage/event-types.ts";
import type { Handler, ModelReading, Reader, ReadEnd, Reading } from "../../src/usage/handler.ts";
import { createMeter, type MeterOptions } from "../../src/usage/meter.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const COMPLETE: FlowOutcome = { kind: "complete" };
const SECRET_TEXT = "the user's own words";

const HEAD: FlowHead = {
  flowId: "0193f0a2-0000-7000-8000-000000000000",
  startedAtMs: 1_700_000_000_000,
  protocol: "http",
  scheme: "https",
  host: HOST,
  port: 443,
  method: "POST",
  target: "/v1/chat?key=a-query-value",
  headers: [],
  proxyUser: undefined,
  attributionHeaders: [],
};

/** What a reader was shown. */
interface Seen {
  request: string;
  isRequestEnded: boolean;
  status: number | undefined;
  response: string;
  end: ReadEnd | undefined;
}

const measured = (tokens: number, more: Partial<ModelReading> = {}): ModelReading => ({
  kind: "measured",
  completeness: "complete",
  source: "provider",
  usage: { input_tokens: tokens },
  requestModel: "m",
  responseModel: "m",
  responseId: null,
  serviceTier: null,
  streamed: false,
  ...more,
});

/** One reading with a token for each character of the response. */
function recorder(seen: Seen): Reader {
  return {
    requestData: (chunk) => void (seen.request += Buffer.from(chunk).toString()),
    requestEnd: () => void (seen.isRequestEnded = true),
    response: (head) => void (seen.status = head.status),
    push: (chunk) => void (seen.response += Buffer.from(chunk).toString("latin1")),
    end(end) {
      seen.end = end;
      return [end.kind === "complete" ? measured(seen.response.length) : { kind: "unmeasured", reason: end.kind }];
    },
  };
}

interface SetUp {
  readonly meter: FlowObserver;
  readonly seen: Seen;
  readonly intents: FlowIntent[];
  readonly commits: { flowId: string; records: readonly LedgerRecord[] }[];
  readonly gaps: string[];
  readonly logged: string[];
  readonly stored: { event: UsageEvent; isDelivered: boolean }[];
  readonly waits: { waitedMs: number; isTimeout: boolean }[];
  readonly sums: number[];
  snapshot(): CounterSnapshot;
  events(): UsageEvent[];
}

interface SetUpOptions extends Partial<Omit<MeterOptions, "store">> {
  readonly reader?: (seen: Seen) => Reader | undefined;
  readonly open?: Handler["open"];
  readonly commit?: () => Promise<void>;
  readonly failure?: string;
}

function setUp(options: SetUpOptions = {}): SetUp {
  const seen: Seen = { request: "", isRequestEnded: false, status: undefined, response: "", end: undefined };
  const handler: Handler = {
    id: "example",
    kind: "model",
    hosts: [HOST],
    open: options.open ?? (() => ({ api: "example.chat", operation: "chat", isBillable: true, reader: (options.reader ?? recorder)(seen) })),
    errorBody: ({ code }) => ({ error: { type: code } }),
  };
  const counters = createCounters({ pendingFile: undefined, onFileError: () => undefined, now: Date.now });
  const intents: FlowIntent[] = [];
  const commits: SetUp["commits"] = [];
  const gaps: string[] = [];
  const logged: string[] = [];
  const stored: SetUp["stored"] = [];
  const waits: SetUp["waits"] = [];
  const sums: number[] = [];
  counters.onChange(() => {
    const { flows, buffered, reports } = counters.snapshot();
    sums.push(flows + buffered + reports);
  });
  const log = (fields: unknown, message?: string): void => {
    logged.push(`${JSON.stringify(fields, (_key, value: unknown) => (value instanceof Error ? `${value.name} ${value.message}` : value))} ${message ?? ""}`);
  };
  const meter = createMeter({
    hosts: createHostTable([[HOST, handler]]),
    attribute: () => ({ orgId: "acme", userId: null, agentId: null, threadId: null, callerType: null, metadata: {} }),
    isBillable: () => true,
    events: createEventBuilder({ deploymentId: "d", price: () => null }),
    counters,
    jobsFor: () => ({ start: () => undefined, finish: () => false, claim: () => false }),
    isEstimateAllowed: true,
    hasReceiver: true,
    isQueueFull: () => false,
    isStrict: true,
    commitWaitMs: 60_000,
    monotonicMs: () => performance.now(),
    logger: { warn: log, error: log, debug: log },
    onStored: (events) => void stored.push(...events),
    onFlowStart: () => undefined,
    onFlowEnd: () => undefined,
    onCommitWait: (waitedMs, isTimeout) => void waits.push({ waitedMs, isTimeout }),
    ...options,
    store: {
      begin: (intent) => void intents.push(intent),
      commit(flowId, records) {
        commits.push({ flowId, records });
        return options.commit?.() ?? Promise.resolve();
      },
      failure: options.failure,
      recordGap: (kind, count) => void gaps.push(...Array<string>(count).fill(kind)),
    },
  });
  return {
    meter, seen, intents, commits, gaps, logged, stored, waits, sums,
    snapshot: () => counters.snapshot(),
    events: () => commits.flatMap(({ records }) => records.map((record): UsageEvent => JSON.parse(record.body))),
  };
}

interface Traffic {
  readonly head?: Partial<FlowHead>;
  readonly request?: readonly Uint8Array[];
  readonly status?: number;
  readonly responseHeaders?: readonly string[];
  readonly response?: readonly Uint8Array[];
  readonly outcome?: FlowOutcome;
}

/** A whole flow; resolves when its last byte may go. */
async function run({ meter }: SetUp, traffic: Traffic = {}): Promise<void> {
  const tap = meter.open({ ...HEAD, ...traffic.head });
  if (tap === undefined) throw new Error("the flow is not watched");
  for (const chunk of traffic.request ?? [Buffer.from("ask")]) tap.requestData(chunk);
  tap.requestEnd();
  tap.responseHead({ status: traffic.status ?? 200, statusText: "OK", headers: traffic.responseHeaders ?? [] });
  for (const chunk of traffic.response ?? [Buffer.from("answer")]) tap.responseData(chunk);
  await tap.end(traffic.outcome ?? COMPLETE);
}

const pieces = (data: Uint8Array, size: number): Uint8Array[] => Array.from({ length: Math.ceil(data.length / size) }, (_, index) => data.subarray(index * size, (index + 1) * size));

describe("a flow", () => {
  it("of a host that no handler knows is not watched", () => {
    const { meter } = setUp();
    expect(meter.isMetered(HOST, 443)).toBe(true);
    expect(meter.isMetered("other.example", 443)).toBe(false);
    expect(meter.open({ ...HEAD, host: "other.example" })).toBeUndefined();
    expect(meter.errorShape?.(HEAD, { status: 502, code: "upstream_dns", message: "m" })).toEqual({ error: { type: "upstream_dns" } });
    expect(meter.errorShape?.({ ...HEAD, host: "other.example" }, { status: 502, code: "upstream_dns", message: "m" })).toBeUndefined();
  });

  it("is shown to the reader, noted when it starts, and one frozen event when it ends", async () => {
    const all = setUp();
    await run(all, { responseHeaders: ["Request-Id", "req_1"] });
    expect(all.seen).toMatchObject({ request: "ask", isRequestEnded: true, status: 200, response: "answer", end: { kind: "complete" } });
    expect(all.intents.map(({ flowId, startedAtMs }) => [flowId, startedAtMs])).toEqual([[HEAD.flowId, HEAD.startedAtMs]]);
    const [record] = all.commits[0]?.records ?? [];
    expect(record).toMatchObject({ id: HEAD.flowId, flowId: HEAD.flowId, delivery: "pending" });
    const [stored] = all.stored;
    expect(record?.body).toBe(JSON.stringify(stored?.event));
    expect(record?.timeMs).toBe(Date.parse(stored?.event.time ?? ""));
    expect(all.events()).toMatchObject([{ source: "/tallyman/d", subject: "acme", data: { meter: "example", api: "example.chat", request_id: "req_1", status: 200, usage: { input_tokens: 6 }, bytes_up: 3, bytes_down: 6 } }]);
  });

  it("has its path told without the query", async () => {
    const paths: unknown[] = [];
    const all = setUp({
      open(exchange) {
        paths.push([exchange.path, exchange.query, exchange.method, exchange.host, exchange.port]);
        return { api: "a", operation: "o", isBillable: true, reader: undefined };
      },
    });
    await run(all);
    await run(all, { head: { target: "/plain" } });
    await run(all, { head: { target: "/a?b?c=1" } });
    expect(paths).toEqual([["/v1/chat", "key=a-query-value", "POST", HOST, 443], ["/plain", "", "POST", HOST, 443], ["/a", "b?c=1", "POST", HOST, 443]]);
  });

  it("that crashes half-way would be an unknown event under the same id", async () => {
    const all = setUp();
    all.meter.open(HEAD);
    expect(JSON.parse(all.intents[0]?.unknownEvent ?? "")).toMatchObject({ id: HEAD.flowId, data: { completeness: "unknown", meter: "example", org_id: "acme" } });
  });

  it.each(["client_aborted", "upstream_aborted"] as const)("tells the reader that it was %s", async (kind) => {
    const all = setUp();
    await run(all, { outcome: { kind } });
    expect(all.seen.end).toEqual({ kind });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown", usage: {} } }]);
  });

  it("that the proxy refused is free, with the proxy's status, and asks no reader", async () => {
    const all = setUp();
    const tap = all.meter.open(HEAD);
    await tap?.end({ kind: "refused", status: 502, code: "upstream_dns" });
    expect(all.seen.end).toBeUndefined();
    expect(all.commits[0]?.records).toMatchObject([{ delivery: "none" }]);
    expect(all.events()).toMatchObject([{ data: { status: 502, completeness: "complete", usage: {}, time_to_first_byte_ms: null } }]);
  });

  it("with several readings is several events, in order", async () => {
    const readings: Reading[] = [measured(1), { kind: "free", reason: "poll" }, measured(3)];
    const all = setUp({ reader: (seen) => ({ ...recorder(seen), end: () => readings }) });
    await run(all);
    expect(all.commits).toHaveLength(1);
    expect(all.commits[0]?.records.map(({ id, delivery }) => [id, delivery])).toEqual([[HEAD.flowId, "pending"], [`${HEAD.flowId}-1`, "none"], [`${HEAD.flowId}-2`, "pending"]]);
    expect(all.events().map((event) => [event.data.flow_id, event.data.sequence])).toEqual([0, 1, 2].map((sequence) => [HEAD.flowId, sequence]));
    expect(all.stored.map(({ isDelivered }) => isDelivered)).toEqual([true, false, true]);
    expect(all.snapshot().reports).toBe(2);
  });

  it.each([
    ["no reader", () => undefined],
    ["no reading", (seen: Seen): Reader => ({ ...recorder(seen), end: () => [] })],
  ])("with %s is one free record", async (_name, reader) => {
    const all = setUp({ reader });
    await run(all);
    expect(all.commits[0]?.records).toMatchObject([{ delivery: "none" }]);
    expect(all.events()).toMatchObject([{ data: { completeness: "complete", usage: {}, bytes_down: 6 } }]);
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 0 });
  });

  it("without a receiver waits for no delivery", async () => {
    const all = setUp({ hasReceiver: false });
    await run(all);
    expect(all.commits[0]?.records).toMatchObject([{ delivery: "none" }]);
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 0 });
  });

  it("that finds the queue full is kept, not delivered, and counted in a gap", async () => {
    const all = setUp({ isQueueFull: () => true });
    await run(all);
    expect(all.commits[0]?.records).toMatchObject([{ delivery: "none" }]);
    expect(all.gaps).toEqual(["queue_full"]);
    const free = setUp({ isQueueFull: () => true, reader: () => undefined });
    await run(free);
    expect(free.gaps).toEqual([]);
  });

  it("is measured by a clock that does not jump", async () => {
    const clock = { ms: 5000 };
    const all = setUp({ monotonicMs: () => clock.ms });
    const tap = all.meter.open(HEAD);
    clock.ms += 412.66;
    tap?.responseHead({ status: 200, statusText: "", headers: [] });
    clock.ms += 1000;
    await tap?.end(COMPLETE);
    expect(all.events()).toMatchObject([{ time: "2023-11-14T22:13:21.412Z", data: { started_at: "2023-11-14T22:13:20.000Z", latency_ms: 1412.7, time_to_first_byte_ms: 412.7 } }]);
  });
});

describe("a handler that throws", () => {
  const boom = (): never => {
    throw new SyntaxError(`Unexpected token in ${SECRET_TEXT}`);
  };
  const points: readonly [string, SetUpOptions][] = [
    ["open", { open: boom }],
    ["requestData", { reader: (seen) => ({ ...recorder(seen), requestData: boom }) }],
    ["requestEnd", { reader: (seen) => ({ ...recorder(seen), requestEnd: boom }) }],
    ["response", { reader: (seen) => ({ ...recorder(seen), response: boom }) }],
    ["push", { reader: (seen) => ({ ...recorder(seen), push: boom }) }],
    ["end", { reader: (seen) => ({ ...recorder(seen), end: boom }) }],
  ];

  it.each(points)("in %s gives one unknown event, and the log names no text", async (_point, options) => {
    const all = setUp(options);
    await run(all, { request: [Buffer.from(SECRET_TEXT)], response: [Buffer.from("a"), Buffer.from("b")] });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown", usage_source: "none", status: 200, bytes_down: 2 } }]);
    expect(all.commits[0]?.records).toMatchObject([{ delivery: "pending" }]);
    expect(all.logged).toHaveLength(1);
    expect(all.logged[0]).toContain("SyntaxError");
    expect(all.logged[0]).toContain("meter.test.ts");
    expect(all.logged[0]).not.toContain(SECRET_TEXT);
    expect(all.logged[0]).not.toContain("a-query-value");
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 1 });
  });

  it.each(points.filter(([point]) => point === "requestData" || point === "push"))("in %s behind a content coding does so too", async (_point, options) => {
    const all = setUp(options);
    const coded = { headers: ["Content-Encoding", "gzip"] };
    await run(all, { head: coded, request: [gzipSync("ask")], responseHeaders: coded.headers, response: [gzipSync("answer")] });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown" } }]);
  });

  it("is not called again", async () => {
    let calls = 0;
    const all = setUp({
      reader: (seen) => ({
        ...recorder(seen),
        push() {
          calls += 1;
          boom();
        },
      }),
    });
    await run(all, { response: [Buffer.from("a"), Buffer.from("b"), Buffer.from("c")] });
    expect(calls).toBe(1);
    expect(all.seen.end).toBeUndefined();
  });

  it("of something that is no error is survived too", async () => {
    const all = setUp({
      reader: (seen) => ({
        ...recorder(seen),
        push() {
          throw SECRET_TEXT;
        },
      }),
    });
    await run(all);
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown" } }]);
    expect(all.logged.join()).not.toContain(SECRET_TEXT);
  });

  it("in its error body leaves the proxy's own", () => {
    const handler: Handler = { id: "x", kind: "model", hosts: [HOST], open: boom, errorBody: boom };
    const all = setUp({ hosts: createHostTable([[HOST, handler]]) });
    expect(all.meter.errorShape?.(HEAD, { status: 502, code: "c", message: "m" })).toBeUndefined();
  });
});

describe("listeners that throw", () => {
  const boom = (): never => {
    throw new Error("listener");
  };

  it.each(["onStored", "onFlowEnd", "onCommitWait"] as const)("in %s change nothing", async (name) => {
    const all = setUp({ [name]: boom });
    await run(all);
    expect(all.events()).toHaveLength(1);
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 1 });
  });
});

describe("content codings", () => {
  const text = JSON.stringify({ usage: { input_tokens: 12 }, filler: "words ".repeat(500) });
  const codings = [
    ["gzip", gzipSync],
    ["deflate", deflateSync],
    ["br", brotliCompressSync],
    ["zstd", zstdCompressSync],
  ] as const;

  it.each(codings)("%s is decoded in requests and responses, in pieces of any size", async (name, compress) => {
    for (const size of [1, 7, 100_000]) {
      const all = setUp();
      const headers = ["Content-Encoding", name];
      await run(all, { head: { headers }, request: pieces(compress(text), size), responseHeaders: headers, response: pieces(compress(text), size) });
      expect(all.seen).toMatchObject({ request: text, isRequestEnded: true, response: text, end: { kind: "complete" } });
      expect(all.events()).toMatchObject([{ data: { usage: { input_tokens: text.length }, bytes_up: compress(text).length, bytes_down: compress(text).length } }]);
    }
  });

  it("of a large body are decoded whole before its event is built", async () => {
    const large = randomBytes(2_000_000).toString("base64");
    const all = setUp();
    await run(all, { responseHeaders: ["content-encoding", "gzip"], response: pieces(gzipSync(large), 60_000) });
    expect(all.seen.response).toHaveLength(large.length);
  });

  it("in a row are undone in turn", async () => {
    const all = setUp();
    await run(all, { responseHeaders: ["Content-Encoding", "gzip, br"], response: [brotliCompressSync(gzipSync(text))] });
    expect(all.seen.response).toBe(text);
  });

  it("named identity, or not at all, leave the bytes as they are", async () => {
    const all = setUp();
    await run(all, { head: { headers: ["content-encoding", "identity"] }, responseHeaders: ["content-encoding", "identity"] });
    expect(all.seen).toMatchObject({ request: "ask", isRequestEnded: true, response: "answer" });
  });

  it("that nobody knows make a response undecodable, and a request unread", async () => {
    const all = setUp();
    await run(all, { head: { headers: ["content-encoding", "snappy"] }, responseHeaders: ["content-encoding", "snappy"] });
    expect(all.seen).toMatchObject({ request: "", response: "", end: { kind: "undecodable" } });
    expect(all.events()).toMatchObject([{ data: { completeness: "unknown", bytes_up: 3, bytes_down: 6 } }]);
  });

  it("that are not what the body is make it undecodable", async () => {
    for (const body of [Buffer.from("no gzip at all, by any means"), Buffer.concat([gzipSync(text).subarray(0, 40), Buffer.from("rubbish ".repeat(20))])]) {
      const all = setUp();
      await run(all, { responseHeaders: ["content-encoding", "gzip"], response: pieces(body, 10) });
      expect(all.seen.end).toEqual({ kind: "undecodable" });
      expect(all.events()).toMatchObject([{ data: { completeness: "unknown" } }]);
    }
  });

  it("that were found broken long before the end are not waited for", async () => {
    const all = setUp();
    const tap = all.meter.open(HEAD);
    tap?.responseHead({ status: 200, statusText: "", headers: ["content-encoding", "gzip"] });
    tap?.responseData(randomBytes(64 * 1024));
    await new Promise((resolve) => setTimeout(resolve, 150));
    await tap?.end(COMPLETE);
    expect(all.seen.end).toEqual({ kind: "undecodable" });
    expect(all.gaps).toEqual([]);
  });

  it("that are cut off give what came before the cut", async () => {
    const noise = randomBytes(3000).toString("base64");
    const whole = gzipSync(noise);
    const all = setUp();
    await run(all, { responseHeaders: ["content-encoding", "gzip"], response: [whole.subarray(0, whole.length - 500)] });
    expect(noise.startsWith(all.seen.response) && all.seen.response.length > 100).toBe(true);
    expect(all.seen.end).toEqual({ kind: "upstream_aborted" });
    const aborted = setUp();
    await run(aborted, { responseHeaders: ["content-encoding", "gzip"], response: [whole.subarray(0, whole.length - 500)], outcome: { kind: "client_aborted" } });
    expect(aborted.seen.end).toEqual({ kind: "client_aborted" });
  });

  it("of an empty body are no cut", async () => {
    const all = setUp();
    await run(all, { responseHeaders: ["content-encoding", "gzip"], response: [] });
    expect(all.seen.end).toEqual({ kind: "complete" });
  });
});

describe("the last byte", () => {
  it("waits for the commit", async () => {
    const gate = Promise.withResolvers<void>();
    const all = setUp({ commit: () => gate.promise });
    let isReleased = false;
    const done = run(all).then(() => (isReleased = true));
    await until(() => all.commits.length === 1, "the commit");
    await new Promise((resolve) => setImmediate(resolve));
    expect(isReleased).toBe(false);
    expect(all.stored).toEqual([]);
    gate.resolve();
    await done;
    expect(all.stored).toHaveLength(1);
    expect(all.gaps).toEqual([]);
    expect(all.waits).toMatchObject([{ isTimeout: false }]);
  });

  it("goes at the bound when the commit does not come, and leaves a gap", async () => {
    const all = setUp({ commit: () => new Promise(() => undefined), commitWaitMs: 30 });
    await run(all);
    expect(all.gaps).toEqual(["commit_timeout"]);
    expect(all.waits).toMatchObject([{ isTimeout: true }]);
    // Its usage is still on its way.
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 1, reports: 0 });
  });

  it("waits for nothing under relaxed", async () => {
    const all = setUp({ isStrict: false, commit: () => new Promise(() => undefined) });
    const tap = all.meter.open(HEAD);
    expect(tap?.end(COMPLETE)).toBeUndefined();
    await until(() => all.commits.length === 1, "the commit");
  });

  it("waits for nothing while the store cannot write, and leaves a gap", async () => {
    const all = setUp({ failure: "disk full", commit: () => new Promise(() => undefined) });
    expect(all.meter.open(HEAD)?.end(COMPLETE)).toBeUndefined();
    expect(all.gaps).toEqual(["commit_timeout"]);
    await until(() => all.commits.length === 1, "the commit");
  });

  it("goes when the usage is lost, and the flow is counted no more", async () => {
    const all = setUp({ commit: () => Promise.reject(new Error("memory_full")) });
    await run(all);
    expect(all.stored).toEqual([]);
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 0 });
  });
});

describe("the counters", () => {
  it("are never all zero between the start of a flow and its delivery", async () => {
    const all = setUp({ commit: () => new Promise((resolve) => setTimeout(resolve, 20)) });
    const compressed = gzipSync("answer");
    await run(all, { responseHeaders: ["content-encoding", "gzip"], response: [compressed] });
    expect(all.sums.length).toBeGreaterThanOrEqual(3);
    expect(Math.min(...all.sums)).toBeGreaterThan(0);
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 1 });
  });

  it("count a flow from its head on", async () => {
    const all = setUp();
    const tap = all.meter.open(HEAD);
    expect(all.snapshot()).toEqual({ flows: 1, buffered: 0, reports: 0 });
    const done = tap?.end(COMPLETE);
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 1, reports: 0 });
    await done;
    expect(all.snapshot()).toEqual({ flows: 0, buffered: 0, reports: 1 });
  });
});
