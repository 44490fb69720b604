import { request as httpRequest } from "node:http";
import { connect, createServer as createPlainServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createFlowFeed } from "../../src/admin/flow-feed.ts";
import type { FlowSummary } from "../../src/admin/flow-feed.ts";
import { createMetrics } from "../../src/admin/metrics.ts";
import { AdminListenError, createAdminServer } from "../../src/admin/server.ts";
import type { AdminServer, AdminServerOptions } from "../../src/admin/server.ts";
import type { AdminSources } from "../../src/admin/api.ts";
import type { EventQuery, StoredRecord, UsageQuery, UsageRow } from "../../src/store/store.ts";
import { createTracker } from "../../src/usage/tracker.ts";
import { modelEvent } from "../support/usage-event.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 12);
const HOUR_MS = 3_600_000;
const CA_PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

const ROW: UsageRow = {
  key: "gpt-5",
  requests: 1,
  usage: { input_tokens: 10, output_tokens: 5 },
  input_tokens: 10,
  output_tokens: 5,
  total_tokens: 15,
  cost: "0.25",
  unpriced: 0,
  partial: 0,
  unknown: 0,
};

const FLOW: FlowSummary = {
  flow_id: "f1",
  started_at: "2026-11-21T11:59:00.000Z",
  meter: "openai",
  api: "openai.chat_completions",
  operation: "chat",
  host: "api.openai.com",
  method: "POST",
  org_id: null,
  user_id: null,
  agent_id: "a",
  thread_id: null,
};

const started: AdminServer[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.close()));
});

/** A server over sources that remember what they were asked. */
async function setUp(options: Partial<AdminServerOptions> = {}, changed: Partial<AdminSources> = {}) {
  const eventQueries: EventQuery[] = [];
  const usageQueries: UsageQuery[] = [];
  const errors: unknown[] = [];
  const logger = { error: (fields: unknown) => void errors.push(fields), debug: () => undefined };
  const flows = createFlowFeed();
  const tracker = createTracker({ logger });
  const counters = { flows: 1, buffered: 0, reports: 2 };
  const records: StoredRecord[] = [
    { position: 7, id: "e7", timeMs: NOW_MS, delivery: "delivered", body: '{"id":"e7", "n":1.0}' },
    { position: 9, id: "e9", timeMs: NOW_MS, delivery: "none", body: '{"id":"e9"}' },
  ];
  const sources: AdminSources = {
    health: () => ({ live: true }),
    readiness: async () => ({ ready: true, reasons: [] }),
    counters: () => counters,
    caPem: CA_PEM,
    store: {
      events: async (query) => {
        eventQueries.push(query);
        return query.afterPosition === 9 ? [] : records;
      },
      usage: async (query) => {
        usageQueries.push(query);
        return [ROW];
      },
      counts: async () => ({ pending: 2, records: 9, dead_letters: 1, gaps: { commit_timeout: 1 } }),
      deadLetters: async () => [{ id: "e1", sink: "webhook", reason: "HTTP 422", refusedAtMs: NOW_MS, body: '{"id":"e1", "n":1.0}' }],
    },
    flows,
    tracker,
    metrics: createMetrics({ counters: () => counters }),
    drain: async () => ({ drained: true, counters: { flows: 0, buffered: 0, reports: 0 } }),
    ...changed,
  };
  const server = createAdminServer({ host: "127.0.0.1", port: 0, token: undefined, sources, logger, now: () => NOW_MS, ...options });
  started.push(server);
  const { url, port } = await server.listen();
  return { server, url, port, eventQueries, usageQueries, errors, flows, tracker, counters, logger };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** One request on a connection of its own, with headers as given (fetch sets Host by itself). */
function ask(port: number, path: string, options: { method?: string; headers?: Record<string, string>; host?: string; body?: string } = {}): Promise<Answer> {
  const { method = "GET", headers = {}, host = "127.0.0.1", body } = options;
  return new Promise((done, fail) => {
    const request = httpRequest({ host, port, path, method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => done({ status: response.statusCode ?? 0, headers: response.headers, text }));
      response.on("error", fail);
    });
    request.on("error", fail);
    request.end(body);
  });
}

function errorCode(answer: Answer): unknown {
  const body: unknown = JSON.parse(answer.text);
  return typeof body === "object" && body !== null && "error" in body && typeof body.error === "object" && body.error !== null && "code" in body.error ? body.error.code : undefined;
}

/** What is written on a bare connection until it is closed. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((done) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("utf8").on("data", (chunk: string) => (received += chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => done(received));
  });
}

describe("health", () => {
  it("tells whether the process lives and whether it can take and deliver", async () => {
    const { port } = await setUp({}, { readiness: async () => ({ ready: false, reasons: ["the receiver answers 401"] }) });
    const alive = await ask(port, "/healthz");
    expect([alive.status, JSON.parse(alive.text)]).toEqual([200, { live: true }]);
    const ready = await ask(port, "/readyz");
    expect([ready.status, JSON.parse(ready.text)]).toEqual([503, { ready: false, reasons: ["the receiver answers 401"] }]);
  });

  it("answers 200 when ready, and HEAD without a body", async () => {
    const { port } = await setUp();
    expect((await ask(port, "/readyz")).status).toBe(200);
    const head = await ask(port, "/healthz", { method: "HEAD" });
    expect([head.status, head.text]).toEqual([200, ""]);
  });

  it("gives the certificate and the metrics as they are", async () => {
    const { port } = await setUp();
    expect((await ask(port, "/ca.pem")).text).toBe(CA_PEM);
    const metrics = await ask(port, "/metrics");
    expect(metrics.headers["content-type"]).toContain("version=0.0.4");
    expect(metrics.text).toContain("\ntallyman_events_pending 2\n");
  });
});

describe("the API", () => {
  it("gives usage rows for a dimension and a time", async () => {
    const { port, usageQueries } = await setUp();
    const answer = await ask(port, "/api/v1/usage?by=model&since=24h&until=2026-11-21T11:00:00Z");
    expect(JSON.parse(answer.text)).toEqual({ by: "model", since: "2026-11-20T12:00:00.000Z", until: "2026-11-21T11:00:00.000Z", rows: [ROW] });
    await ask(port, "/api/v1/usage");
    expect(usageQueries).toEqual([{ by: "model", sinceMs: NOW_MS - 24 * HOUR_MS, untilMs: NOW_MS - HOUR_MS }, {}]);
  });

  it("gives events as their frozen text, with a cursor to go on from", async () => {
    const { port, eventQueries } = await setUp();
    const first = await ask(port, "/api/v1/events?limit=2&since=2026-11-21");
    expect(first.text).toBe('{"events":[{"event":{"id":"e7", "n":1.0},"delivery":"delivered"},{"event":{"id":"e9"},"delivery":"none"}],"cursor":"9"}\n');
    const next = await ask(port, "/api/v1/events?cursor=9");
    expect(next.text).toBe('{"events":[],"cursor":"9"}\n');
    expect(eventQueries).toEqual([
      { limit: 2, sinceMs: NOW_MS - 12 * HOUR_MS },
      { limit: 100, afterPosition: 9 },
    ]);
  });

  it("gives flows under way, counters, budgets and dead letters", async () => {
    const { port, flows, tracker } = await setUp();
    flows.started(FLOW.flow_id, () => FLOW);
    flows.started("f2", () => ({ ...FLOW, flow_id: "f2" }));
    flows.ended({ flow_id: "f2", outcome: "complete", status: 200, latency_ms: 1, bytes_up: 1, bytes_down: 1 });
    tracker.record(modelEvent());
    const read = async (path: string): Promise<unknown> => JSON.parse((await ask(port, path)).text);
    expect(await read("/api/v1/flows")).toEqual({ flows: [FLOW], active: 1 });
    expect(await read("/api/v1/counters")).toMatchObject({
      flows: 1,
      buffered: 0,
      reports: 2,
      totals: { requests: 1, total_tokens: 15, cost: "0", unpriced: 1, mean_latency_ms: expect.any(Number) },
      ledger: { pending: 2, records: 9, dead_letters: 1, gaps: { commit_timeout: 1 } },
    });
    expect(await read("/api/v1/budgets")).toEqual({ budgets: [] });
    expect(await read("/api/v1/dead-letters")).toEqual({
      dead_letters: [{ id: "e1", sink: "webhook", reason: "HTTP 422", refused_at: new Date(NOW_MS).toISOString(), event: { id: "e1", n: 1 } }],
      total: 1,
    });
  });

  it.each([
    ["/api/v1/usage?by=color", "by"],
    ["/api/v1/usage?since=yesterday", "since"],
    ["/api/v1/usage?until=2026-02-31", "until"],
    ["/api/v1/usage?sinc=24h", "sinc"],
    ["/api/v1/events?limit=0", "limit"],
    ["/api/v1/events?limit=1001", "limit"],
    ["/api/v1/events?limit=1e1", "limit"],
    ["/api/v1/events?cursor=-1", "cursor"],
    ["/api/v1/events?cursor=abc", "cursor"],
    ["/api/v1/events?limit=1&limit=2", "limit"],
    ["/api/v1/events?since=", "since"],
    ["/api/v1/events?__proto__=1", "__proto__"],
  ])("refuses %s and names the parameter", async (path, parameter) => {
    const { port, eventQueries, usageQueries } = await setUp();
    const answer = await ask(port, path);
    expect([answer.status, errorCode(answer)]).toEqual([400, "bad_request"]);
    expect(answer.text).toContain(parameter);
    expect([eventQueries, usageQueries]).toEqual([[], []]);
  });

  it("takes a zone whose plus sign was read as a blank", async () => {
    const { port, usageQueries } = await setUp();
    await ask(port, "/api/v1/usage?since=2026-11-21T12:00:00+01:00");
    expect(usageQueries).toEqual([{ sinceMs: NOW_MS - HOUR_MS }]);
  });

  it("answers 404 for what is not there and 405 with what is allowed", async () => {
    const { port } = await setUp();
    for (const path of ["/nothing", "//healthz", "/api/v1/usage/", "/constructor", "*"]) {
      const answer = await ask(port, path);
      expect([path, answer.status, errorCode(answer)]).toEqual([path, 404, "not_found"]);
    }
    const post = await ask(port, "/metrics", { method: "POST" });
    expect([post.status, post.headers["allow"], errorCode(post)]).toEqual([405, "GET, HEAD", "method_not_allowed"]);
    const get = await ask(port, "/drain");
    expect([get.status, get.headers["allow"]]).toEqual([405, "POST"]);
  });

  it("turns what a source throws into a 500 that tells nothing, and goes on", async () => {
    const secret = new Error("secret detail");
    const { port, errors } = await setUp(
      {},
      {
        health: () => {
          throw secret;
        },
        readiness: () => Promise.reject(secret),
      },
    );
    for (const path of ["/healthz", "/readyz"]) {
      const answer = await ask(port, path);
      expect([answer.status, errorCode(answer)]).toEqual([500, "internal_error"]);
      expect(answer.text).not.toContain("secret");
    }
    expect(errors).toEqual([{ err: secret }, { err: secret }]);
    expect((await ask(port, "/metrics")).status).toBe(200);
  });
});

describe("drain", () => {
  it("answers with the counters when the drain is over", async () => {
    let finish = (): void => undefined;
    const over = new Promise<void>((done) => {
      finish = done;
    });
    let calls = 0;
    const { port } = await setUp(
      {},
      {
        drain: async () => {
          calls += 1;
          await over;
          return { drained: false, counters: { flows: 3, buffered: 0, reports: 1 } };
        },
      },
    );
    const answer = ask(port, "/drain", { method: "POST", body: "{}" });
    await expect.poll(() => calls).toBe(1);
    finish();
    expect(await answer).toMatchObject({ status: 200, text: '{"drained":false,"counters":{"flows":3,"buffered":0,"reports":1}}\n' });
  });

  it("is refused to a page of another site", async () => {
    let calls = 0;
    const drain: AdminSources["drain"] = async () => {
      calls += 1;
      return { drained: true, counters: { flows: 0, buffered: 0, reports: 0 } };
    };
    const { port } = await setUp({}, { drain });
    for (const headers of [{ origin: "https://evil.example" }, { origin: "null" }, { "sec-fetch-site": "cross-site" }]) {
      const answer = await ask(port, "/drain", { method: "POST", headers });
      expect([answer.status, errorCode(answer)]).toEqual([403, "origin_denied"]);
    }
    expect(calls).toBe(0);
    expect((await ask(port, "/drain", { method: "POST", headers: { origin: `http://127.0.0.1:${port}` } })).status).toBe(200);
  });
});

describe("the Host header", () => {
  it("must be one of the server's own names with its port", async () => {
    const { port } = await setUp();
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`]) {
      expect([host, (await ask(port, "/healthz", { headers: { host } })).status]).toEqual([host, 200]);
    }
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1", `127.0.0.1:${port + 1}`, `10.0.0.1:${port}`, `localhost:${port}@evil.example`]) {
      const answer = await ask(port, "/healthz", { headers: { host } });
      expect([host, answer.status, errorCode(answer)]).toEqual([host, 421, "host_denied"]);
      expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
    }
  });

  it("may be any address or localhost when the server is bound to all, but no other name", async () => {
    const { port, url } = await setUp({ host: "0.0.0.0", allowedHosts: ["tallyman.internal"] });
    expect(url).toBe(`http://127.0.0.1:${port}`);
    for (const host of ["10.1.2.3:19090", "[2001:db8::1]:9090", "localhost:9090", "tallyman.internal", "Tallyman.Internal:80"]) {
      expect([host, (await ask(port, "/healthz", { headers: { host } })).status]).toEqual([host, 200]);
    }
    expect((await ask(port, "/healthz", { headers: { host: `evil.example:${port}` } })).status).toBe(421);
  });
});

describe("the token", () => {
  it("is wanted everywhere but for health, the certificate and the dashboard's page", async () => {
    const { port } = await setUp({ token: "secret-token" });
    const status = async (path: string, authorization?: string) => (await ask(port, path, authorization === undefined ? {} : { headers: { authorization } })).status;
    for (const path of ["/", "/healthz", "/readyz", "/ca.pem"]) expect([path, await status(path)]).toEqual([path, 200]);
    const closed = ["/metrics", "/drain", "/nothing", "/api/v1/stream", "/api/v1/usage", "/api/v1/events", "/api/v1/flows", "/api/v1/counters", "/api/v1/budgets", "/api/v1/dead-letters"];
    for (const path of closed) expect([path, await status(path)]).toEqual([path, 401]);
    for (const wrong of ["Bearer secret-toke", "Bearer secret-token2", "Bearer", "Basic secret-token", "secret-token"]) expect([wrong, await status("/metrics", wrong)]).toEqual([wrong, 401]);
    expect(await status("/metrics", "Bearer secret-token")).toBe(200);
    expect(await status("/metrics", "bearer secret-token")).toBe(200);
    expect((await ask(port, "/metrics")).headers["www-authenticate"]).toContain("Bearer");
  });
});

describe("the dashboard", () => {
  it("is one page that loads nothing and may run only its own script", async () => {
    const { port } = await setUp();
    const page = await ask(port, "/");
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.headers["content-security-policy"]).toMatch(/default-src 'none'.*script-src 'sha256-[\w+/]+={0,2}'/);
    expect(page.text).not.toMatch(/(?:src|href)="(?!data:)/);
    expect(page.text.match(/<script/g)).toHaveLength(1);
    expect(page.text).not.toContain("innerHTML");
  });
});

describe("the stream", () => {
  /** Follows the stream and collects its messages. */
  async function follow(url: string) {
    const stop = new AbortController();
    const response = await fetch(`${url}/api/v1/stream`, { signal: stop.signal });
    const followed = { response, text: "", isEnded: false, stop: () => stop.abort() };
    const read = async (): Promise<void> => {
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) followed.text += decoder.decode(chunk, { stream: true });
    };
    read().then(
      () => (followed.isEnded = true),
      () => (followed.isEnded = true),
    );
    return followed;
  }

  it("sends counters at once and when they change, flows and usage as they happen", async () => {
    const { url, flows, tracker, counters } = await setUp();
    const client = await follow(url);
    expect(client.response.headers.get("content-type")).toBe("text/event-stream");
    await expect.poll(() => client.text).toContain('event: counters\ndata: {"flows":1,');
    flows.started(FLOW.flow_id, () => FLOW);
    const event = modelEvent();
    tracker.record(event);
    await expect.poll(() => client.text).toContain(`event: flow\ndata: ${JSON.stringify({ phase: "started", flow: FLOW })}\n\n`);
    await expect.poll(() => client.text).toContain(`event: usage\ndata: ${JSON.stringify(event)}\n\n`);
    counters.flows = 5;
    await expect.poll(() => client.text, { timeout: 10_000 }).toContain('event: counters\ndata: {"flows":5,');
    client.stop();
  });

  it("sends comments while nothing happens", async () => {
    const { url } = await setUp({ stream: { keepAliveMs: 20 } });
    const client = await follow(url);
    await expect.poll(() => client.text).toMatch(/\n:\n\n:\n\n/);
    client.stop();
  });

  it("takes a bounded number of clients and has room again when one leaves", async () => {
    const { url, port } = await setUp({ stream: { maxClients: 2 } });
    const first = await follow(url);
    await follow(url);
    const refused = await ask(port, "/api/v1/stream");
    expect([refused.status, errorCode(refused)]).toEqual([503, "too_many_streams"]);
    first.stop();
    await expect
      .poll(async () => {
        const next = await follow(url);
        return next.response.status;
      })
      .toBe(200);
  });

  it("drops a client that does not read", async () => {
    const { port, tracker } = await setUp({ stream: { maxWaitingBytes: 64 * 1024 } });
    const socket = connect(port, "127.0.0.1");
    let isClosed = false;
    socket.on("error", () => undefined);
    socket.on("close", () => (isClosed = true));
    socket.write(`GET /api/v1/stream HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
    await new Promise<void>((done) => {
      socket.once("readable", () => done());
    });
    const event = modelEvent({ response_id: "x".repeat(100_000) });
    await expect
      .poll(
        () => {
          for (let count = 0; count < 50; count += 1) tracker.record(event);
          return tracker.totals().requests > 0 && socket.readableLength > 0;
        },
        { timeout: 10_000 },
      )
      .toBe(true);
    socket.resume();
    await expect.poll(() => isClosed, { timeout: 10_000 }).toBe(true);
  });

  it("ends when the server closes", async () => {
    const { server, url } = await setUp();
    const client = await follow(url);
    await server.close();
    await expect.poll(() => client.isEnded).toBe(true);
  });
});

describe("bad input", () => {
  it("is answered when it is no HTTP, and ends nothing but its own connection", async () => {
    const { port } = await setUp();
    expect(await raw(port, "\x16\x03\x01 hello\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 .*bad_request/s);
    expect(await raw(port, `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nx: ${"y".repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 .*head_too_large/s);
    expect(await raw(port, "GET /healthz HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 421 /);
    expect(await raw(port, "GET /healthz HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n")).toMatch(/^HTTP\/1\.1 421 /);
    expect((await ask(port, "/healthz")).status).toBe(200);
  });

  it("is refused when it is a long body, with or without a length", async () => {
    let calls = 0;
    const drain: AdminSources["drain"] = () => {
      calls += 1;
      return new Promise(() => undefined);
    };
    const { port } = await setUp({}, { drain });
    const host = `host: 127.0.0.1:${port}\r\n`;
    const withLength = await raw(port, `POST /drain HTTP/1.1\r\n${host}content-length: 9000000\r\n\r\n`);
    expect(withLength).toMatch(/^HTTP\/1\.1 413 .*body_too_large/s);
    expect(calls).toBe(0);
    const chunk = "10000\r\n" + "z".repeat(0x10000) + "\r\n";
    expect(await raw(port, `POST /drain HTTP/1.1\r\n${host}transfer-encoding: chunked\r\n\r\n${chunk}${chunk}`)).toMatch(/^HTTP\/1\.1 413 .*body_too_large/s);
  });
});

describe("listen and close", () => {
  it("says which setting to change when the port is in use", async () => {
    const blocker = createPlainServer();
    await new Promise<void>((done) => {
      blocker.listen(0, "127.0.0.1", done);
    });
    const address = blocker.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { logger } = await setUp();
    const server = createAdminServer({ host: "127.0.0.1", port, token: undefined, sources: await bareSources(), logger });
    const error: unknown = await server.listen().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AdminListenError);
    expect(error).toMatchObject({ code: "port_in_use", message: expect.stringContaining("TALLYMAN_ADMIN_PORT") });
    await server.close();
    blocker.close();
  });

  it("says which setting to change when the address is not of this machine", async () => {
    const { logger } = await setUp();
    const server = createAdminServer({ host: "192.0.2.1", port: 0, token: undefined, sources: await bareSources(), logger });
    await expect(server.listen()).rejects.toMatchObject({ code: "host_unavailable", message: expect.stringContaining("TALLYMAN_ADMIN_HOST") });
  });

  it("closes with idle connections open, twice, and before it listened", async () => {
    const { server, url } = await setUp();
    await (await fetch(`${url}/healthz`)).text();
    await Promise.all([server.close(), server.close()]);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow("fetch failed");
    const { logger } = await setUp();
    await createAdminServer({ host: "127.0.0.1", port: 0, token: undefined, sources: await bareSources(), logger }).close();
  });

  async function bareSources(): Promise<AdminSources> {
    const logger = { error: () => undefined };
    return {
      health: () => ({ live: true }),
      readiness: async () => ({ ready: true, reasons: [] }),
      counters: () => ({ flows: 0, buffered: 0, reports: 0 }),
      caPem: CA_PEM,
      store: { events: async () => [], usage: async () => [], counts: async () => ({ pending: 0, records: 0, dead_letters: 0, gaps: {} }), deadLetters: async () => [] },
      flows: createFlowFeed(),
      tracker: createTracker({ logger }),
      metrics: { text: async () => "", contentType: "text/plain" },
      drain: async () => ({ drained: true, counters: { flows: 0, buffered: 0, reports: 0 } }),
    };
  }
});
