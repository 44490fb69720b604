import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadOrCreateAuthority } from "../../../src/proxy/certificate-authority.ts";
import { openStore } from "../../../src/store/client.ts";
import type { DurableStore } from "../../../src/store/client.ts";
import { createDelivery } from "../../../src/usage/delivery/delivery.ts";
import type { Delivery, DeliveryOptions } from "../../../src/usage/delivery/delivery.ts";
import type { SinkLimits } from "../../../src/usage/delivery/sink.ts";
import { createWebhook } from "../../../src/usage/sinks/webhook.ts";
import type { WebhookOptions } from "../../../src/usage/sinks/webhook.ts";
import { openTestStore, record, temporaryFolder } from "../../store/support.ts";
import { startReceiver } from "../../support/receiver.ts";
import type { Receiver, ReceiverOptions } from "../../support/receiver.ts";
import { until } from "../../support/until.ts";

const SECRET = `whsec_${Buffer.from("a secret of some thirty-two bytes").toString("base64")}`;

interface Harness {
  readonly store: DurableStore;
  readonly receiver: Receiver;
  readonly delivery: Delivery;
  /** Waits that were asked for; those of a second or more are over at once. */
  readonly waits: number[];
  readonly log: string[];
}

async function receiverFor(options: ReceiverOptions): Promise<Receiver> {
  const receiver = await startReceiver({ secret: SECRET, ...options });
  onTestFinished(() => receiver.close());
  return receiver;
}

type TestOptions = Partial<DeliveryOptions & Omit<WebhookOptions, "limits"> & SinkLimits>;

function deliveryFor(store: DurableStore, url: string, log: string[], waits: number[], options: TestOptions): Delivery {
  const write = (fields: object, message: string): void => void log.push(`${message} ${JSON.stringify(fields)}`);
  const limits = { maxEvents: 100, maxBytes: 256 * 1024, maxWaitMs: 20, concurrency: 2, ...options };
  const delivery = createDelivery({
    store,
    sink: createWebhook({ url, secrets: [SECRET], headers: {}, timeoutMs: 5000, version: "1.2.3", ...options, limits }),
    logger: { info: write, warn: write, error: write },
    random: () => 0.5,
    setTimer: (callback, delayMs) => {
      waits.push(delayMs);
      const timer = setTimeout(callback, delayMs >= 500 ? 1 : delayMs);
      return () => clearTimeout(timer);
    },
    ...options,
  });
  onTestFinished(() => delivery.stop(0));
  return delivery;
}

async function startHarness(answer: ReceiverOptions["answer"], options: TestOptions = {}): Promise<Harness> {
  const store = await openTestStore(temporaryFolder());
  const receiver = await receiverFor(answer === undefined ? {} : { answer });
  const log: string[] = [];
  const waits: number[] = [];
  const delivery = deliveryFor(store, receiver.url, log, waits, options);
  delivery.start();
  return { store, receiver, delivery, waits, log };
}

async function commitAll(store: DurableStore, ids: readonly string[]): Promise<void> {
  await Promise.all(ids.map((id) => store.commit(id, [record(id)])));
}

function idsOf(receiver: Receiver): unknown[] {
  return receiver.events().map((event) => event["id"]);
}

async function allDelivered(store: DurableStore): Promise<void> {
  await until(async () => (await store.counts()).pending === 0, "everything is delivered");
}

describe("a post", () => {
  it("is a signed JSON array of the frozen bytes", async () => {
    const { store, receiver } = await startHarness(undefined, { headers: { Authorization: "Bearer token", "Content-Type": "text/plain" } });
    const frozen = '{"id":"a", "spaced" : "Grüße 😀"}';
    await store.commit("a", [{ ...record("a"), body: frozen }, record("b")]);
    await allDelivered(store);
    const [request] = receiver.requests;
    expect(receiver.requests).toHaveLength(1);
    expect(request?.method).toBe("POST");
    expect(request?.body).toBe(`[${frozen},${record("b").body}]`);
    expect(request?.signatureError).toBeUndefined();
    expect(request?.headers).toMatchObject({
      "content-type": "application/cloudevents-batch+json",
      "content-length": String(Buffer.byteLength(request?.body ?? "")),
      "user-agent": "tallyman/1.2.3",
      authorization: "Bearer token",
      "webhook-id": expect.stringMatching(/^msg_/),
    });
    expect(Math.abs(Number(request?.headers["webhook-timestamp"]) - Date.now() / 1000)).toBeLessThan(60);
  });

  it("takes the user name and password of the address out of it", async () => {
    const store = await openTestStore(temporaryFolder());
    const receiver = await receiverFor({});
    const log: string[] = [];
    deliveryFor(store, receiver.url.replace("//", "//user:p%40ss@"), log, [], {}).start();
    await commitAll(store, ["a"]);
    await allDelivered(store);
    expect(receiver.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("user:p@ss").toString("base64")}`);
  });
});

describe("a receiver with TLS", () => {
  it("is posted to when its root is trusted, and never when it is not", async () => {
    const authority = await loadOrCreateAuthority(temporaryFolder());
    const leaf = await authority.issueLeaf("127.0.0.1", 3_600_000, Date.now());
    const receiver = await receiverFor({ tls: { key: leaf.keyPem, cert: leaf.certificatePem } });
    const store = await openTestStore(temporaryFolder());
    const distrusting = deliveryFor(store, receiver.url, [], [], {});
    distrusting.start();
    await commitAll(store, ["a"]);
    await until(() => distrusting.state().consecutiveFailures > 2, "it has failed some times");
    expect(distrusting.state().lastError).toMatch(/CERT|LEAF_SIGNATURE|SIGNED/);
    expect(receiver.requests).toEqual([]);
    await distrusting.stop();
    deliveryFor(store, receiver.url, [], [], { ca: authority.certificatePem }).start();
    await allDelivered(store);
    expect(idsOf(receiver)).toEqual(["a"]);
  });
});

describe("batches", () => {
  it("close at the number of events, and deliver each event once", async () => {
    const { store, receiver } = await startHarness(undefined, { maxEvents: 10, maxWaitMs: 60_000, setTimer: () => () => undefined });
    const ids = Array.from({ length: 50 }, (_, i) => `id-${i}`);
    await commitAll(store, ids);
    await allDelivered(store);
    expect(receiver.requests.map((request) => JSON.parse(request.body).length)).toEqual([10, 10, 10, 10, 10]);
    expect(idsOf(receiver).toSorted()).toEqual(ids.toSorted());
  });

  it("close at the number of bytes", async () => {
    const bytes = Buffer.byteLength(record("id-0").body);
    const { store, receiver } = await startHarness(undefined, { maxBytes: 3 * bytes + 4, maxWaitMs: 20 });
    await commitAll(store, ["id-0", "id-1", "id-2", "id-3"]);
    await allDelivered(store);
    const sizes = receiver.requests.map((request) => JSON.parse(request.body).length);
    expect(sizes.toSorted()).toEqual([1, 3]);
    expect(Math.max(...receiver.requests.map((request) => Buffer.byteLength(request.body)))).toBe(3 * bytes + 4);
  });

  it("are sent at once by a flush, which tells whether everything is delivered", async () => {
    const { store, receiver, delivery } = await startHarness(undefined, { maxWaitMs: 60_000, setTimer: () => () => undefined });
    await until(() => delivery.state().status === "idle", "it idles");
    await commitAll(store, ["a"]);
    expect(await delivery.flush(10_000)).toBe(true);
    expect(idsOf(receiver)).toEqual(["a"]);
    expect(delivery.state()).toMatchObject({ status: "idle", inFlight: 0, consecutiveFailures: 0 });
  });
});

describe("retries", () => {
  it.each([408, 425, 429, 500, 503])("repeat a batch that was answered %i with the same id and bytes and a fresh signature", async (status) => {
    const { store, receiver, delivery, waits, log } = await startHarness((request) => ({ status: request.attempt < 3 ? status : 200 }));
    await commitAll(store, ["a", "b"]);
    await allDelivered(store);
    expect(receiver.requests).toHaveLength(4);
    expect(new Set(receiver.requests.map((request) => request.headers["webhook-id"])).size).toBe(1);
    expect(new Set(receiver.requests.map((request) => request.body)).size).toBe(1);
    expect(receiver.requests.map((request) => request.signatureError)).toEqual([undefined, undefined, undefined, undefined]);
    expect(waits.filter((ms) => ms >= 500)).toEqual([500, 1000, 2000]);
    expect(log.map((line) => line.split(" {")[0])).toEqual(["delivery fails; trying again", "delivery works again"]);
    expect(delivery.state().lastError).toBeUndefined();
    expect(delivery.state().lastSuccessMs).toBeGreaterThan(0);
  });

  it("wait as long as Retry-After asks, in seconds or as a date", async () => {
    const nowMs = Date.parse("2026-11-21T10:00:00Z");
    const values = ["7", "Sat, 21 Nov 2026 10:00:30 GMT", "99999"];
    const { store, receiver, waits } = await startHarness(
      (request) => {
        const value = values[request.attempt];
        return value === undefined ? { status: 204 } : { status: 429, headers: { "retry-after": value } };
      },
      { clock: () => nowMs, secrets: [] },
    );
    await commitAll(store, Array.from({ length: 100 }, (_, i) => `id-${i}`));
    await allDelivered(store);
    expect(waits.filter((ms) => ms >= 500)).toEqual([7000, 30_000, 3_600_000]);
    expect(receiver.requests[0]?.headers["webhook-timestamp"]).toBe(String(nowMs / 1000));
    expect(receiver.requests[0]?.headers["webhook-signature"]).toBeUndefined();
  });

  it("redeliver the same bytes and ids when the answer was lost after the receiver had read", async () => {
    const { store, receiver, log } = await startHarness((request) => (request.attempt === 0 ? "reset" : { status: 200 }));
    await commitAll(store, ["a"]);
    await allDelivered(store);
    const [first, second] = receiver.requests;
    expect(receiver.requests).toHaveLength(2);
    expect(second?.body).toBe(first?.body);
    expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    expect(log[0]).toMatch(/"reason":"(ECONNRESET|UND_ERR_SOCKET)"/);
  });

  it("end a post that takes too long, whatever it waits for", async () => {
    const { store, receiver, log } = await startHarness((request) => ({ status: 200, ...(request.attempt === 0 ? { delayMs: 60_000 } : {}) }), {
      timeoutMs: 300,
    });
    await commitAll(store, ["a"]);
    await allDelivered(store);
    expect(receiver.requests).toHaveLength(2);
    expect(log[0]).toContain('"reason":"timeout"');
  });

  it("let other batches go on while one fails", async () => {
    const { store, receiver, delivery } = await startHarness((request) => ({ status: request.body.includes('"id":"bad"') ? 500 : 200 }), {
      maxEvents: 1,
      concurrency: 1,
      setTimer: (callback, delayMs) => {
        const timer = setTimeout(callback, delayMs).unref();
        return () => clearTimeout(timer);
      },
      random: () => 0.999,
    });
    await commitAll(store, ["bad", "a", "b", "c"]);
    await until(() => idsOf(receiver).length === 3, "the others are delivered");
    expect(idsOf(receiver)).toEqual(["a", "b", "c"]);
    await until(async () => (await store.counts()).pending === 1, "the others are marked");
    expect(delivery.state()).toMatchObject({ status: "retrying", lastError: "HTTP 500" });
  });

  it("name a refused connection without its address, and keep everything", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await new Promise((resolve) => taken.close(resolve));
    const store = await openTestStore(temporaryFolder());
    const log: string[] = [];
    const delivery = deliveryFor(store, `http://user:secret@127.0.0.1:${port}/hidden`, log, [], {});
    delivery.start();
    await commitAll(store, ["a"]);
    await until(() => delivery.state().consecutiveFailures > 3, "it has failed some times");
    expect(delivery.state()).toMatchObject({ status: "retrying", lastError: "ECONNREFUSED" });
    // One line for each change of its state: on a slow machine the circuit has opened as well.
    expect([1, 2]).toContain(log.length);
    expect(log.join()).not.toMatch(/secret|hidden|127\.0\.0\.1/);
    expect((await store.counts()).pending).toBe(1);
  });
});

describe("refusals", () => {
  it.each([301, 307, 401, 403, 404, 410])("pause delivery at %i, drop nothing, and go on when it passes", async (status) => {
    let isRefusing = true;
    const { store, receiver, delivery, waits, log } = await startHarness(
      () => (isRefusing ? { status, headers: { location: "/elsewhere" } } : { status: 200 }),
      { maxEvents: 1, concurrency: 1 },
    );
    await commitAll(store, Array.from({ length: 20 }, (_, i) => `id-${i}`));
    await until(() => receiver.requests.length > 8, "it has been tried again");
    expect(delivery.state()).toMatchObject({ status: "paused", lastError: `HTTP ${status}` });
    // What was under way before the pause is tried again; nothing more is taken.
    expect(new Set(receiver.requests.map((request) => request.headers["webhook-id"])).size).toBeLessThanOrEqual(4);
    expect(receiver.requests.every((request) => request.path === "/usage")).toBe(true);
    expect(new Set(waits.filter((ms) => ms >= 500))).toEqual(new Set([60_000]));
    isRefusing = false;
    await allDelivered(store);
    expect(idsOf(receiver)).toHaveLength(20);
    expect(log.filter((line) => line.includes("refuses delivery"))).toHaveLength(1);
    await until(() => delivery.state().status === "idle", "it idles");
  });

  it.each([400, 422])("split a batch that is answered %i until the refused event stands alone", async (status) => {
    const { store, receiver, delivery, log } = await startHarness((request) => ({ status: request.body.includes('"id":"bad"') ? status : 200 }));
    const ids = Array.from({ length: 20 }, (_, i) => (i === 13 ? "bad" : `id-${i}`));
    await commitAll(store, ids);
    await allDelivered(store);
    expect(idsOf(receiver).toSorted()).toEqual(ids.filter((id) => id !== "bad").toSorted());
    const states = new Map((await store.events({})).map(({ id, delivery: state }) => [id, state]));
    expect(states.get("bad")).toBe("dead");
    expect([...states.values()].filter((state) => state === "delivered")).toHaveLength(19);
    // A batch and each half of it has an id of its own; none was sent twice.
    expect(new Set(receiver.requests.map((request) => request.headers["webhook-id"])).size).toBe(receiver.requests.length);
    expect(log).toEqual([expect.stringMatching(/refuses an event for good.*"event":"bad"/)]);
    expect(delivery.state()).toMatchObject({ status: "idle", circuit: "closed", consecutiveFailures: 0 });
  });

  it("halve a batch that is too large, and put a single event that is aside", async () => {
    const { store, receiver } = await startHarness((request) => ({ status: Buffer.byteLength(request.body) > 1000 ? 413 : 200 }));
    await store.commit("f", [...Array.from({ length: 8 }, (_, i) => record(`id-${i}`)), record("huge", { data: { text: "x".repeat(2000) } })]);
    await allDelivered(store);
    expect(idsOf(receiver).toSorted()).toEqual(Array.from({ length: 8 }, (_, i) => `id-${i}`));
    expect((await store.events({})).find(({ id }) => id === "huge")?.delivery).toBe("dead");
  });
});

describe("stopping", () => {
  it("lets posts under way finish, releases the rest, and the next start sends it under the same ids", async () => {
    const dataDir = temporaryFolder();
    const store = await openStore({ dataDir, durability: "strict" });
    let isDown = true;
    const receiver = await receiverFor({
      answer: (request) => (request.body.includes('"id":"slow"') ? { status: 200, delayMs: 200 } : { status: isDown ? 503 : 200 }),
    });
    const delivery = deliveryFor(store, receiver.url, [], [], { maxEvents: 1, setTimer: () => () => undefined });
    delivery.start();
    await commitAll(store, ["slow", "failing"]);
    await until(() => receiver.requests.length === 2, "both are under way");
    await delivery.stop();
    await delivery.stop();
    expect(idsOf(receiver)).toEqual(["slow"]);
    await commitAll(store, ["later"]);
    expect((await store.counts()).pending).toBe(2);
    await store.close();

    isDown = false;
    const second = await openTestStore(dataDir);
    deliveryFor(second, receiver.url, [], [], {}).start();
    await allDelivered(second);
    expect(idsOf(receiver)).toEqual(["slow", "failing", "later"]);
    const attempts = receiver.requests.filter((request) => request.body.includes('"id":"failing"'));
    expect(attempts).toHaveLength(2);
    expect(attempts[1]?.headers["webhook-id"]).toBe(attempts[0]?.headers["webhook-id"]);
  });

  it("breaks off a post that outlives the deadline and keeps its batch", async () => {
    const { store, receiver, delivery } = await startHarness(() => ({ status: 200, delayMs: 60_000 }), { timeoutMs: 60_000 });
    await commitAll(store, ["a"]);
    await until(() => receiver.requests.length === 1, "the post is under way");
    expect(delivery.state()).toMatchObject({ status: "delivering", inFlight: 1 });
    expect(await delivery.flush(50)).toBe(false);
    await delivery.stop(50);
    expect((await store.counts()).pending).toBe(1);
    expect((await store.outbox("webhook").take(1, 1000))?.id).toBe(receiver.requests[0]?.headers["webhook-id"]);
  });

  it("sends what the outbox held before the start", async () => {
    const store = await openTestStore(temporaryFolder());
    await commitAll(store, ["a", "b"]);
    const receiver = await receiverFor({});
    const delivery = deliveryFor(store, receiver.url, [], [], { maxWaitMs: 60_000 });
    delivery.start();
    await allDelivered(store);
    expect(idsOf(receiver)).toEqual(["a", "b"]);
  });
});
