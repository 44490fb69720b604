/** How the real program stops, shares its data directory, waits for its receiver and lives with a store that cannot write. */

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, describe, expect, it } from "vitest";

import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { apiClient, CALLS, type ApiClient } from "../support/api-client.ts";
import type { Program } from "../support/program.ts";
import { rawClient, tunnelClient } from "../support/raw-peers.ts";
import type { ProgrammedAnswer } from "../support/receiver.ts";
import { messageEvents } from "../support/scripted-upstream.ts";
import { countersOf, GATEWAY, ledgerOf, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const open: { stage?: Stage; clients: ApiClient[] } = { clients: [] };
afterEach(async () => {
  await Promise.all(open.clients.splice(0).map((client) => client.close()));
  await open.stage?.close();
});

async function stageWith(answer?: () => ProgrammedAnswer | "reset"): Promise<Stage> {
  open.stage = await openStage(answer);
  return open.stage;
}

function clientOf(program: Program): ApiClient {
  const client = apiClient(program);
  open.clients.push(client);
  return client;
}

/** A stream that ends when the test says so. */
interface OpenStream {
  /** Sends the rest of it. */
  finish(): void;
  /** The whole text, or how it broke off. */
  readonly ended: Promise<string>;
}

/** Starts a stream and waits until its client sees it begin. */
async function beginStream(stage: Stage, client: ApiClient, thread: string): Promise<OpenStream> {
  let seen = "";
  const call = { ...CALLS.messageStream, url: `https://${GATEWAY}/v1/messages` };
  const ended = client.call(call, { thread, onText: (text) => void (seen = text) }).then(
    ({ text }) => text,
    (error: unknown) => `broken off: ${String(error)}`,
  );
  const { response } = await stage.gateway.next();
  const [start = "", ...rest] = messageEvents("msg_held");
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(start);
  await until(() => seen === start, "the stream to begin");
  return { ended, finish: () => void response.end(rest.join("")) };
}

const WHOLE_STREAM = messageEvents("msg_held").join("");

function threadsOf(events: readonly ModelUsageEvent[]): (string | null)[] {
  return events.map(({ data }) => data.thread_id);
}

describe("a drain", () => {
  it("by SIGTERM lets a stream finish, refuses what is new, delivers, and exits 0", async () => {
    const stage = await stageWith();
    const program = await stage.start();
    const client = clientOf(program);
    await client.call(CALLS.chat);
    const { ended, finish } = await beginStream(stage, client, "t-last");
    program.signal("SIGTERM");
    await refusesConnect(program);
    expect(await connectAnswer(program)).toMatch(/^x-tallyman-error: draining\r$/im);
    // On a connection that was there before: in the shape of the API.
    const answer = await client.call(CALLS.chat);
    expect([answer.status, answer.headers["x-tallyman-error"]]).toEqual([503, "draining"]);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { type: "tallyman_error", code: "draining", message: expect.any(String), param: null } });
    expect(program.exitCode).toBeUndefined();
    finish();
    expect(await ended).toBe(WHOLE_STREAM);
    expect(await program.exited()).toBe(0);
    expect(program.stderr).toContain("nothing is pending");
    const last = stage.received().filter(({ data }) => data.thread_id === "t-last");
    expect(last.map(({ data }) => [data.completeness, data.usage_source])).toEqual([["complete", "provider"]]);
  });

  it("by POST /drain answers when all is done, and the program exits 0", async () => {
    const stage = await stageWith();
    const program = await stage.start();
    const { ended, finish } = await beginStream(stage, clientOf(program), "t-last");
    let isAnswered = false;
    const drained = fetch(`${program.adminUrl}/drain`, { method: "POST" }).then((response) => {
      isAnswered = true;
      return response.json();
    });
    await refusesConnect(program);
    expect(isAnswered).toBe(false);
    finish();
    expect(await drained).toEqual({ drained: true, counters: { flows: 0, buffered: 0, reports: 0 } });
    expect(await ended).toBe(WHOLE_STREAM);
    expect(await program.exited()).toBe(0);
    expect(stage.received()).toHaveLength(1);
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("is cut short by a second %s with exit code %i; what was under way comes back as unknown", async (signal, code) => {
    const stage = await stageWith();
    const program = await stage.start();
    const { ended } = await beginStream(stage, clientOf(program), "t-cut");
    // A flow that ended later is on disk: so is the beginning of the one before it.
    await clientOf(program).call(CALLS.chat);
    program.signal(signal);
    await refusesConnect(program);
    expect(program.exitCode).toBeUndefined();
    expect(await program.stop(signal)).toBe(code);
    expect(await ended).toContain("broken off");
    const next = await stage.start();
    await settled(next);
    const cut = stage.received().filter(({ data }) => data.thread_id === "t-cut");
    expect(new Set(cut.map(({ id }) => id)).size).toBe(1);
    expect(["unknown", "partial"]).toContain(cut[0]!.data.completeness);
    expect(await next.stop()).toBe(0);
  });

  it("past its time breaks off what is left, which is counted once all the same", async () => {
    const stage = await stageWith();
    const program = await stage.start({ TALLYMAN_DRAIN_TIMEOUT: "300ms" });
    const { ended } = await beginStream(stage, clientOf(program), "t-late");
    expect(await program.stop()).toBe(0);
    expect(await ended).toContain("broken off");
    expect(program.stderr).toContain("stopped with work left");
    const next = await stage.start();
    await settled(next);
    const events = stage.received();
    expect(threadsOf(events)).toEqual(["t-late"]);
    expect(["unknown", "partial"]).toContain(events[0]!.data.completeness);
    expect(await next.stop()).toBe(0);
  });
});

/** Waits until a drain has begun. */
function refusesConnect(program: Program): Promise<void> {
  return until(async () => (await connectAnswer(program)).startsWith("HTTP/1.1 503 "), "new connections to be refused");
}

/** What a new CONNECT is answered. */
async function connectAnswer({ proxyPort }: Program): Promise<string> {
  const client = await rawClient(proxyPort);
  client.send("CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n");
  const answer = await client.sees("\r\n\r\n");
  client.destroy();
  return answer;
}

describe("TALLYMAN_PENDING_FILE", () => {
  it("shows flows and reports as they are, and ends at zero", async () => {
    let isUp = false;
    const stage = await stageWith(() => (isUp ? { status: 204 } : { status: 503 }));
    const file = join(stage.dir, "pending.json");
    const program = await stage.start({ TALLYMAN_PENDING_FILE: file });
    const shows = (expected: object, what: string): Promise<void> =>
      until(async () => {
        // Never seen half written: every read is a whole document, once there is one.
        const text = await readFile(file, "utf8").catch(() => "{}");
        const { updated_at_ms: _, state_id: __, ...counts } = JSON.parse(text) as Record<string, unknown>;
        return JSON.stringify(counts) === JSON.stringify({ pid: program.pid, ...expected });
      }, `the pending file to show ${what}`);
    await shows({ flows: 0, buffered: 0, reports: 0 }, "nothing");
    const client = clientOf(program);
    const { ended, finish } = await beginStream(stage, client, "t-0");
    await shows({ flows: 1, buffered: 0, reports: 0 }, "a flow");
    finish();
    await ended;
    await shows({ flows: 0, buffered: 0, reports: 1 }, "a report that the receiver does not take");
    await client.call(CALLS.message);
    await shows({ flows: 0, buffered: 0, reports: 2 }, "two of them");
    isUp = true;
    expect(await program.stop()).toBe(0);
    await shows({ flows: 0, buffered: 0, reports: 0 }, "nothing at the end");
    expect(stage.received()).toHaveLength(2);
  });
});

describe("two programs on one data directory", () => {
  it("deliver each event once, and the one that is left adopts what the other one held", async () => {
    const stage = await stageWith();
    const [first, second] = await Promise.all([stage.start(), stage.start()]);
    const clients = [clientOf(first), clientOf(second)];
    await Promise.all(Array.from({ length: 20 }, (_, i) => clients[i % 2]!.call(Object.values(CALLS)[i % 4]!, { thread: `t-${i}` })));
    await Promise.all([settled(first), settled(second)]);
    expect(threadsOf(stage.received()).toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => `t-${i}`).toSorted());
    for (const program of [first, second]) expect(await ledgerOf(program)).toHaveLength(20);
    expect(new Set(stage.received().map(({ source }) => source)).size).toBe(1);

    await beginStream(stage, clients[0]!, "t-dying");
    await clients[0]!.call(CALLS.chat, { thread: "t-20" });
    await first.kill9();
    await until(() => stage.received().some(({ data }) => data.thread_id === "t-dying"), "the other one to adopt the flow");
    await settled(second);
    const adopted = stage.received().filter(({ data }) => data.thread_id === "t-dying");
    expect(adopted.map(({ data }) => data.completeness)).toEqual(["unknown"]);
    expect(new Set(stage.received().map(({ id }) => id)).size).toBe(22);
    expect(await second.stop()).toBe(0);
  });
});

describe("a receiver that keeps up", () => {
  it("gets the events of each thread in the order in which they ended", async () => {
    const stage = await stageWith();
    const program = await stage.start();
    const client = clientOf(program);
    const threads = ["t-0", "t-1", "t-2"];
    await Promise.all(threads.map(async (thread) => {
      for (const call of [...Object.values(CALLS), ...Object.values(CALLS)]) await client.call(call, { thread });
    }));
    await settled(program);
    const idsByThread = (events: readonly ModelUsageEvent[]): unknown[] => threads.map((name) => events.filter(({ data }) => data.thread_id === name).map(({ id }) => id));
    const ledger = (await ledgerOf(program)).map(({ event }) => event);
    expect(idsByThread(stage.received())).toEqual(idsByThread(ledger));
    // Flow ids rise with time, and each call of a thread began when the one before had ended.
    expect(idsByThread(ledger)).toEqual(idsByThread(ledger.toSorted((a, b) => (a.id < b.id ? -1 : 1))));
    expect(await program.stop()).toBe(0);
  });
});

describe("a receiver that is down", () => {
  it("gets everything once when it comes", async () => {
    let isUp = false;
    const stage = await stageWith(() => (isUp ? { status: 200 } : "reset"));
    const program = await stage.start();
    const client = clientOf(program);
    for (let i = 0; i < 12; i++) await client.call(Object.values(CALLS)[i % 4]!);
    await until(() => stage.receiver.requests.length > 0, "the first attempt");
    expect(await countersOf(program)).toMatchObject({ flows: 0, buffered: 0, reports: 12 });
    await until(async () => JSON.stringify(await program.get("/readyz")).includes("the webhook receiver does not take events"), "the reason at /readyz");
    expect(await program.get("/readyz")).toMatchObject({ ready: true });
    isUp = true;
    await settled(program);
    const ledger = await ledgerOf(program);
    expect(ledger.map(({ delivery }) => delivery)).toEqual(ledger.map(() => "delivered"));
    const bytes = (events: readonly ModelUsageEvent[]): string[] => events.map((event) => JSON.stringify(event)).toSorted();
    expect(bytes(stage.received())).toEqual(bytes(ledger.map(({ event }) => event)));
    expect(stage.received()).toHaveLength(12);
    expect(await program.stop()).toBe(0);
  });

  it("gets after a restart what an earlier program could not deliver, with the same ids and bytes", async () => {
    let isUp = false;
    const stage = await stageWith(() => (isUp ? { status: 200 } : { status: 500 }));
    const program = await stage.start({ TALLYMAN_DRAIN_TIMEOUT: "200ms" });
    for (const call of Object.values(CALLS)) await clientOf(program).call(call);
    const kept = await ledgerOf(program);
    expect(await program.stop()).toBe(0);
    expect(program.stderr).toContain("stopped with work left");
    isUp = true;
    const next = await stage.start();
    await settled(next);
    expect(stage.received().map((event) => JSON.stringify(event)).toSorted()).toEqual(kept.map(({ event }) => JSON.stringify(event)).toSorted());
    expect(await next.stop()).toBe(0);
  });
});

describe("a full outbox", () => {
  it("blocks metered requests with 503 queue_full, lets tunnels through, and opens again", async () => {
    let isUp = false;
    const stage = await stageWith(() => (isUp ? { status: 200 } : { status: 503 }));
    const echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await once(echo, "listening");
    const address = echo.address();
    const echoPort = typeof address === "object" && address !== null ? address.port : 0;
    const program = await stage.start({
      TALLYMAN_QUEUE_MAX_EVENTS: "2",
      TALLYMAN_CONNECT_TO: `${stage.env["TALLYMAN_CONNECT_TO"]},unmetered.example:443:127.0.0.1:${echoPort}`,
    });
    const client = clientOf(program);
    for (let i = 0; i < 2; i++) expect((await client.call(CALLS.chat)).status).toBe(200);
    const before = stage.openai.exchanges.length;
    const refused = await client.call(CALLS.chat);
    expect([refused.status, refused.headers["x-tallyman-error"]]).toEqual([503, "queue_full"]);
    expect(JSON.parse(refused.text)).toMatchObject({ error: { type: "tallyman_error", code: "queue_full" } });
    expect(await program.get("/readyz")).toMatchObject({ ready: false, reasons: expect.arrayContaining([expect.stringMatching(/^queue_full: /)]) });
    expect(stage.openai.exchanges).toHaveLength(before);
    const tunnel = await tunnelClient(program.proxyPort, "unmetered.example:443");
    tunnel.send("as before");
    await tunnel.sees("as before");
    tunnel.destroy();
    isUp = true;
    await settled(program);
    expect((await client.call(CALLS.chat)).status).toBe(200);
    await settled(program);
    expect(stage.received()).toHaveLength(3);
    echo.close();
    expect(await program.stop()).toBe(0);
  });

  it("under drop_newest lets traffic pass, and delivers a record of what it dropped", async () => {
    let isUp = false;
    const stage = await stageWith(() => (isUp ? { status: 200 } : { status: 503 }));
    const program = await stage.start({ TALLYMAN_QUEUE_MAX_EVENTS: "2", TALLYMAN_QUEUE_FULL: "drop_newest" });
    const client = clientOf(program);
    for (let i = 0; i < 4; i++) expect((await client.call(CALLS.chat)).status).toBe(200);
    await until(async () => (await countersOf(program)).ledger.gaps["queue_full"] === 2, "the gaps to be on disk");
    const deliveries = (await ledgerOf(program)).map(({ delivery }) => delivery);
    expect(deliveries).toEqual(["pending", "pending", "none", "none"]);
    isUp = true;
    const gaps = (): unknown[] => stage.receiver.events().filter(({ type }) => type === "usage.gap.v1").map(({ data }) => data);
    await until(() => gaps().length > 0, "the record at the receiver");
    await settled(program);
    expect(gaps()).toMatchObject([{ kind: "queue_full", count: 2, total: 2 }]);
    expect(stage.received()).toHaveLength(2);
    expect(await program.stop()).toBe(0);
  });
});

describe("a store that cannot write", () => {
  /** What another program does that holds the database's write lock. */
  function lockOf({ dataDir }: Stage): { release(): void } {
    const db = new DatabaseSync(join(dataDir, "tallyman.db"));
    db.exec("PRAGMA busy_timeout = 5000");
    db.exec("BEGIN EXCLUSIVE");
    return {
      release() {
        db.exec("ROLLBACK");
        db.close();
      },
    };
  }

  it("never holds or fails the traffic past the bound; what was written late is counted as a gap and delivered", async () => {
    const stage = await stageWith();
    const program = await stage.start();
    const client = clientOf(program);
    await client.call(CALLS.chat, { thread: "t-before" });
    await settled(program);
    // On a slow machine the first one may have been late as well.
    const { commit_timeout: late = 0 } = (await countersOf(program)).ledger.gaps;
    const lock = lockOf(stage);
    // Both end while the lock is held: nobody else can let them go.
    const answers = await Promise.all([client.call(CALLS.chat, { thread: "t-0" }), client.call(CALLS.messageStream, { thread: "t-1" })]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers[1]!.text).toContain("message_stop");
    expect(await countersOf(program)).toMatchObject({ flows: 0, buffered: 2 });
    lock.release();
    await settled(program);
    expect(threadsOf(stage.received()).toSorted()).toEqual(["t-0", "t-1", "t-before"]);
    const { gaps } = (await countersOf(program)).ledger;
    expect(gaps).toEqual({ commit_timeout: late + 2 });
    expect(await program.stop()).toBe(0);
  });

  it("is waited for however long it takes, and the counters never say zero meanwhile", async () => {
    const stage = await stageWith();
    const program = await stage.start();
    const client = clientOf(program);
    await client.call(CALLS.chat, { thread: "t-before" });
    await settled(program);
    const lock = lockOf(stage);
    await client.call(CALLS.chat, { thread: "t-0" });
    // The store says so when its own patience is over; the usage is in memory then.
    await until(() => program.stderr.includes("the store cannot write"), "the store to give up waiting");
    const during = await program.get("/api/v1/flows").then(() => fetch(`${program.adminUrl}/metrics`)).then((response) => response.text());
    expect(during).toMatch(/^tallyman_events_buffered 1$/m);
    lock.release();
    await until(() => threadsOf(stage.received()).includes("t-0"), "the event");
    await settled(program);
    expect(await program.stop()).toBe(0);
  });
});
