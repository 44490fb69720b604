import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { createTallyman, StartError, type Handler, type Sink, type Tallyman, type TallymanOptions, type UsageEvent } from "../src/index.ts";
import { loadOrCreateAuthority } from "../src/proxy/certificate-authority.ts";
import { rawClient, startRawUpstream, tunnelClient, type RawClient, type RawUpstream } from "./support/raw-peers.ts";
import { until } from "./support/until.ts";

const HOST = "api.example.com";
let dir: string;
let upstream: RawUpstream;
let upstreamCaFile: string;
const undo: (() => unknown)[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tallyman-library-"));
  const authority = await loadOrCreateAuthority(join(dir, "upstream"));
  upstreamCaFile = authority.certificatePath;
  upstream = await startRawUpstream(await authority.issueLeaf(HOST, 3_600_000, Date.now()), ({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  });
});

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
  await upstream.close();
  await rm(dir, { recursive: true, force: true });
});

/** Ten input tokens for every answer; the model is what the path says. */
const METER: Handler = {
  id: "example",
  kind: "model",
  hosts: [HOST],
  open: ({ path }) => ({
    api: "example.chat",
    operation: "chat",
    isBillable: true,
    reader: {
      response: () => undefined,
      push: () => undefined,
      end: ({ kind }) => [
        { kind: "measured", completeness: kind === "complete" ? "complete" : "partial", source: "provider", usage: { input_tokens: 10 }, requestModel: path.slice(1), responseModel: null, responseId: null, serviceTier: null, streamed: false },
      ],
    },
  }),
  errorBody: ({ message }) => ({ error: { kind: "theirs", message } }),
};

function quiet(): { logger: Logger; logged: string[] } {
  const logged: string[] = [];
  return { logged, logger: pino({ level: "trace" }, { write: (line) => void logged.push(line) }) };
}

function make(options: TallymanOptions = {}): Tallyman {
  const made = createTallyman({
    host: "127.0.0.1",
    port: 0,
    hasAdmin: false,
    caDir: join(dir, "ca"),
    dataDir: join(dir, "data"),
    upstreamCaFile,
    connectTo: [{ host: undefined, port: undefined, toHost: "127.0.0.1", toPort: upstream.port }],
    meters: [METER],
    logger: quiet().logger,
    ...options,
  });
  undo.push(() => made.stop(0));
  return made;
}

async function client(tallyman: Tallyman, extraHeaders = ""): Promise<RawClient> {
  const made = await tunnelClient(Number(new URL(tallyman.proxyUrl).port), `${HOST}:443`, { ca: await readFile(tallyman.caFile, "utf8"), extraHeaders });
  undo.push(() => made.destroy());
  return made;
}

async function call(tallyman: Tallyman, path = "/model-a", extraHeaders = ""): Promise<string> {
  const caller = await client(tallyman);
  caller.send(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${extraHeaders}\r\n`);
  await until(() => /\r\n\r\n[^]+/.test(caller.received), "the answer");
  return caller.received;
}

describe("createTallyman", () => {
  it("meters a call, tells its subscribers and adds it up", async () => {
    const tallyman = make({ orgId: "acme", metadata: { team: "red" } });
    const events: UsageEvent[] = [];
    tallyman.subscribe((event) => events.push(event));
    await tallyman.start();
    expect(await call(tallyman, "/model-a?key=x")).toMatch(/hello$/);
    await until(() => events.length === 1, "the event");
    expect(events).toMatchObject([{ type: "llm.usage.v1", subject: "acme", data: { meter: "example", request_model: "model-a", usage: { input_tokens: 10 }, org_id: "acme", metadata: { team: "red" }, status: 200 } }]);
    expect(Object.isFrozen(events[0])).toBe(true);
    await call(tallyman, "/model-b", "X-Tallyman-Agent-Id: agent-7\r\n");
    await call(tallyman, "/model-b", "X-Tallyman-Agent-Id: agent-8\r\n");
    await until(() => tallyman.totals().requests === 3, "the totals");
    expect(tallyman.totals()).toMatchObject({ requests: 3, usage: { input_tokens: 30 }, input_tokens: 30 });
    expect([...tallyman.totalsBy("model")].map(([key, tally]) => [key, tally.requests])).toEqual([["model-a", 1], ["model-b", 2]]);
    expect([...tallyman.totalsBy("agent").keys()]).toEqual(["(none)", "agent-7", "agent-8"]);
    expect(tallyman.counters()).toEqual({ flows: 0, buffered: 0, reports: 0 });
  });

  it("opens nothing before it starts", () => {
    const tallyman = make();
    for (const use of [() => tallyman.proxyUrl, () => tallyman.adminUrl, () => tallyman.caFile, () => tallyman.totals(), () => tallyman.totalsBy("agent"), () => tallyman.counters(), () => tallyman.drain()]) {
      expect(use).toThrow(StartError);
      expect(use).toThrow(expect.objectContaining({ code: "not_started" }));
    }
  });

  it("may be started twice and stopped twice", async () => {
    const tallyman = make();
    await tallyman.start();
    const url = tallyman.proxyUrl;
    await tallyman.start();
    expect(tallyman.proxyUrl).toBe(url);
    await tallyman.stop(0);
    await tallyman.stop(0);
    await expect(rawClient(Number(new URL(url).port))).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("tells what it counted after its end", async () => {
    const tallyman = make();
    await tallyman.start();
    await call(tallyman);
    await tallyman.stop();
    expect([tallyman.totals().requests, tallyman.totalsBy("model").get("model-a")?.requests]).toEqual([1, 1]);
    expect(tallyman.counters()).toEqual({ flows: 0, buffered: 0, reports: 0 });
    expect(() => tallyman.proxyUrl).toThrow(expect.objectContaining({ code: "not_started" }));
    await tallyman.start();
    expect(tallyman.totals().requests).toBe(0);
  });

  it("may be stopped without a start", async () => {
    await expect(make().stop()).resolves.toBeUndefined();
  });

  it("has an admin server where it is wanted", async () => {
    const tallyman = make({ hasAdmin: true, adminPort: 0 });
    await tallyman.start();
    const url = tallyman.adminUrl;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+/);
    expect((await fetch(new URL("/healthz", url))).status).toBe(200);
    const without = make({ dataDir: join(dir, "other") });
    await without.start();
    expect(without.adminUrl).toBeUndefined();
  });

  it("lets several run beside each other on one data directory", async () => {
    const [one, two] = [make(), make()];
    await Promise.all([one.start(), two.start()]);
    await call(one);
    await call(two);
    await until(() => one.totals().requests + two.totals().requests === 2, "the totals");
    expect([one.totals().requests, two.totals().requests]).toEqual([1, 1]);
  });
});

describe("options", () => {
  it.each([
    ["an open proxy beyond loopback", { host: "0.0.0.0" }, "TALLYMAN_PROXY_TOKENS"],
    ["an admin server beyond loopback without a token", { adminHost: "0.0.0.0" }, "TALLYMAN_ADMIN_TOKEN"],
    ["two servers on one port", { port: 4444, adminPort: 4444 }, "TALLYMAN_ADMIN_PORT"],
  ])("that make %s are refused with a message that names the setting", (_name, options, setting) => {
    const attempt = () => createTallyman(options);
    expect(attempt).toThrow(StartError);
    expect(attempt).toThrow(expect.objectContaining({ code: "wrong_settings", isWrongSetting: true, message: expect.stringContaining(setting) }));
  });

  it("may be written as their variables are", async () => {
    const tallyman = make({ connectTo: [`${HOST}:443:127.0.0.1:${upstream.port}`], leafTtl: "2h", webhookTimeout: "5s", retentionMs: "30d", metadata: '{"team":"red"}', denyAddresses: "10.0.0.0/8" });
    const events: UsageEvent[] = [];
    tallyman.subscribe((event) => events.push(event));
    await tallyman.start();
    expect(await call(tallyman)).toMatch(/hello$/);
    await until(() => events.length === 1, "the event");
    expect(events[0]?.data.metadata).toEqual({ team: "red" });
  });

  it("that are texts and not allowed are named with what is", () => {
    const wrong: TallymanOptions = { leafTtl: "soon", webhookSecret: "hunter2", connectTo: ["a:b"], dataDir: "data" };
    expect(() => createTallyman(wrong)).toThrow(/TALLYMAN_LEAF_TTL is "soon"; allowed: a duration[^]*TALLYMAN_CONNECT_TO[^]*TALLYMAN_WEBHOOK_SECRET is \(redacted\)/);
  });

  it("that are all wrong are named all at once", () => {
    expect(() => createTallyman({ host: "0.0.0.0", adminHost: "0.0.0.0" })).toThrow(/TALLYMAN_ADMIN_TOKEN[^]*TALLYMAN_PROXY_TOKENS/);
  });

  it("are not read from the environment", async () => {
    process.env["TALLYMAN_ORG_ID"] = "from the environment";
    undo.push(() => delete process.env["TALLYMAN_ORG_ID"]);
    const events: UsageEvent[] = [];
    const tallyman = make({ sinks: [(event) => events.push(event)] });
    await tallyman.start();
    await call(tallyman);
    await until(() => events.length === 1, "the event");
    expect(events[0]?.data.org_id).toBeNull();
  });

  it("that are undefined have their default", async () => {
    // What a caller without types may do.
    const options: TallymanOptions = {};
    for (const name of ["orgId", "metadata", "denyAddresses", "clock"]) Reflect.set(options, name, undefined);
    const tallyman = make(options);
    await tallyman.start();
    expect(await call(tallyman)).toMatch(/hello$/);
  });

  it("bind a host to a meter, and refuse one that does not exist", async () => {
    const bound = make({ meters: [], interceptHosts: [{ host: HOST, port: undefined, meter: "openai" }] });
    await bound.start();
    await call(bound, "/v1/models");
    const wrong = make({ interceptHosts: [{ host: HOST, port: undefined, meter: "opnai" }], dataDir: join(dir, "other") });
    await expect(wrong.start()).rejects.toMatchObject({ code: "unknown_meter", message: expect.stringContaining("openai") });
  });

  it("that ask for a port in use say so, and leave nothing running", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    undo.push(() => new Promise((resolve) => taken.close(resolve)));
    const { port } = taken.address() as AddressInfo;
    const tallyman = make({ port });
    await expect(tallyman.start()).rejects.toMatchObject({ code: "port_in_use", message: expect.stringContaining("TALLYMAN_PORT") });
    expect(() => tallyman.proxyUrl).toThrow(StartError);
    await new Promise((resolve) => taken.close(resolve));
    await tallyman.start();
    expect(tallyman.proxyUrl).toBe(`http://127.0.0.1:${port}`);
  });
});

describe("subscribers", () => {
  it("that throw or reject are logged, and change nothing for the others or the call", async () => {
    const { logger, logged } = quiet();
    const tallyman = make({ logger });
    const events: UsageEvent[] = [];
    tallyman.subscribe(() => {
      throw new Error("a broken subscriber");
    });
    tallyman.subscribe(() => Promise.reject(new Error("a broken promise")));
    tallyman.subscribe((event) => events.push(event));
    await tallyman.start();
    expect(await call(tallyman)).toMatch(/hello$/);
    await call(tallyman);
    await until(() => events.length === 2, "the events");
    expect(tallyman.totals().requests).toBe(2);
    await until(() => logged.some((line) => line.includes("a broken promise")), "the log");
    expect(logged.some((line) => line.includes("a broken subscriber"))).toBe(true);
  });

  it("come and go at any time", async () => {
    const tallyman = make();
    const heard: string[] = [];
    const before = (): void => void heard.push("before");
    const after = (): void => void heard.push("after");
    const never = tallyman.subscribe(() => void heard.push("never"));
    tallyman.subscribe(before);
    never();
    await tallyman.start();
    const unsubscribe = tallyman.subscribe(after);
    await call(tallyman);
    await until(() => heard.length === 2, "both");
    tallyman.unsubscribe(before);
    tallyman.unsubscribe(before);
    await call(tallyman);
    await until(() => heard.length === 3, "the second");
    unsubscribe();
    await call(tallyman);
    await until(() => tallyman.totals().requests === 3, "the last call");
    expect(heard).toEqual(["before", "after", "after"]);
  });

  it("given as a Sink is delivered to from an outbox on disk: again after a failure, and at the next start", async () => {
    let isUp = false;
    const taken: string[] = [];
    const sink = (): Sink => ({
      id: "mine",
      limits: { maxEvents: 10, maxBytes: 100_000, maxWaitMs: 1, concurrency: 1 },
      send({ events }) {
        if (!isUp) return Promise.resolve({ kind: "retry", reason: "not now" });
        taken.push(...events.map(({ body }) => body));
        return Promise.resolve({ kind: "delivered" });
      },
      close: () => Promise.resolve(),
    });
    const first = make({ sinks: [sink()] });
    await first.start();
    await call(first);
    await until(() => first.counters().reports === 1, "the event to wait");
    await first.stop(100);
    isUp = true;
    const second = make({ sinks: [sink()] });
    await second.start();
    await until(() => taken.length === 1, "the event at the sink");
    await until(() => second.counters().reports === 0, "nothing to be left");
    expect(JSON.parse(taken[0] ?? "")).toMatchObject({ type: "llm.usage.v1", data: { meter: "example" } });
    const twice = make({ sinks: [sink(), sink()] });
    await expect(twice.start()).rejects.toMatchObject({ code: "sinks_invalid" });
  });

  it("given as sinks hear every event", async () => {
    const heard: unknown[] = [];
    const tallyman = make({ sinks: [(event) => heard.push(event.id), (event) => heard.push(event.id)] });
    await tallyman.start();
    await call(tallyman);
    await until(() => heard.length === 2, "both");
    expect(heard[0]).toBe(heard[1]);
  });
});

describe("the billing gate", () => {
  it("refuses with 403 request_denied, in the shape of the host, before anything goes up", async () => {
    const asked: string[] = [];
    const tallyman = make({
      billingGate(head) {
        asked.push(`${head.method} ${head.host}`);
        return "no money left";
      },
    });
    await tallyman.start();
    const text = await call(tallyman);
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    expect(text).toContain("x-tallyman-error: request_denied");
    expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n")))).toEqual({ error: { kind: "theirs", type: "tallyman_error", code: "request_denied", message: "no money left" } });
    expect(asked).toEqual([`GET ${HOST}`]);
    expect(upstream.connections).toEqual([]);
    expect(tallyman.totals().requests).toBe(0);
  });

  it("may take its time, and lets pass with undefined", async () => {
    const tallyman = make({ billingGate: (head) => Promise.resolve(head.target === "/denied" ? "no" : undefined) });
    await tallyman.start();
    expect(await call(tallyman, "/denied")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await call(tallyman, "/allowed")).toMatch(/hello$/);
  });

  it.each([
    ["throws", () => { throw new Error("broken"); }],
    ["rejects", () => Promise.reject(new Error("broken"))],
  ])("that %s lets the request pass", async (_name, billingGate) => {
    const tallyman = make({ billingGate });
    await tallyman.start();
    expect(await call(tallyman)).toMatch(/hello$/);
  });
});

describe("the caller type", () => {
  async function callerType(options: TallymanOptions, headers = ""): Promise<string | null | undefined> {
    const events: UsageEvent[] = [];
    const tallyman = make({ ...options, sinks: [(event) => events.push(event)] });
    await tallyman.start();
    await call(tallyman, "/m", headers);
    await until(() => events.length === 1, "the event");
    return events[0]?.data.caller_type;
  }

  it("is decided by a function, from the head of the flow", async () => {
    expect(await callerType({ callerType: (head) => `${head.method} of ${head.host}` })).toBe(`GET of ${HOST}`);
  });

  it("is the client's own where it names one", async () => {
    expect(await callerType({ callerType: () => "decided" }, "X-Tallyman-Caller-Type: named\r\n")).toBe("named");
  });

  it("is fixed by a text, whatever the client names", async () => {
    expect(await callerType({ callerType: "fixed" }, "X-Tallyman-Caller-Type: named\r\n")).toBe("fixed");
  });

  it("is null where the function knows none", async () => {
    expect(await callerType({ callerType: () => undefined })).toBeNull();
  });
});

describe("the clock", () => {
  it("gives flows their times and ids", async () => {
    const events: UsageEvent[] = [];
    const at = Date.UTC(2030, 0, 2, 3, 4, 5);
    const tallyman = make({ clock: () => at, sinks: [(event) => events.push(event)] });
    await tallyman.start();
    await call(tallyman);
    await until(() => events.length === 1, "the event");
    expect(events[0]?.data.started_at).toBe("2030-01-02T03:04:05.000Z");
    expect(Number.parseInt((events[0]?.id ?? "").replace("-", "").slice(0, 12), 16)).toBe(at);
  });
});

describe("prices", () => {
  it("of the embedder are used", async () => {
    const events: UsageEvent[] = [];
    const prices = { models: [{ match: "model-a", meter: "example", per_million: { input_tokens: "2" } }] };
    const tallyman = make({ prices, sinks: [(event) => events.push(event)] });
    await tallyman.start();
    await call(tallyman);
    await until(() => events.length === 1, "the event");
    expect(events[0]?.data.cost).toMatchObject({ amount: "0.00002", source: "override" });
  });
});

describe("draining", () => {
  it("refuses what is new, lets what is under way finish, and says how it went", async () => {
    const tallyman = make();
    await tallyman.start();
    upstream.connections.length = 0;
    const idle = await client(tallyman);
    expect(await tallyman.drain(5000)).toEqual({ drained: true, counters: { flows: 0, buffered: 0, reports: 0 } });
    idle.send(`GET /m HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    expect(await idle.closed()).toContain("x-tallyman-error: draining");
  });
});
