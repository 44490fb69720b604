/** The order and the timing of attempts: a sink of the test's own, a real store, and time that the test moves. */

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { createDelivery } from "../../../src/usage/delivery/delivery.ts";
import type { Delivery } from "../../../src/usage/delivery/delivery.ts";
import type { Sink, SinkBatch, SinkLimits, Verdict } from "../../../src/usage/delivery/sink.ts";
import type { DurableStore } from "../../../src/store/client.ts";
import { openTestStore, record, temporaryFolder } from "../../store/support.ts";
import { manualTime } from "../../support/manual-time.ts";
import type { ManualTime } from "../../support/manual-time.ts";
import { until } from "../../support/until.ts";

interface Sent {
  readonly ids: readonly string[];
  readonly batch: SinkBatch;
  /** The sink's answer. */
  readonly answer: (verdict: Verdict) => void;
}

interface Harness {
  readonly dataDir: string;
  readonly store: DurableStore;
  readonly time: ManualTime;
  readonly delivery: Delivery;
  readonly log: string[];
  /** Every attempt, in order; each is under way until it is answered. */
  readonly sent: Sent[];
  underWay(): string[];
  answer(id: string, verdict: Verdict): void;
}

const RETRY: Verdict = { kind: "retry", reason: "HTTP 500" };
const DELIVERED: Verdict = { kind: "delivered" };

/** `reply` answers at once; without it, or where it gives nothing, the test does. */
async function start(limits: Partial<SinkLimits>, reply?: (ids: readonly string[]) => Verdict | undefined, sink: Partial<Sink> = {}): Promise<Harness> {
  const dataDir = temporaryFolder();
  const store = await openTestStore(dataDir, { sinks: ["test"] });
  const time = manualTime();
  const sent: Sent[] = [];
  const open = new Map<string, Sent>();
  const log: string[] = [];
  const write = (_fields: object, message: string): void => void log.push(message);
  const delivery = createDelivery({
    store,
    sink: {
      id: "test",
      limits: { maxEvents: 1, maxBytes: 100_000, maxWaitMs: 0, concurrency: 4, ...limits },
      async send(batch) {
        const { promise, resolve } = Promise.withResolvers<Verdict>();
        const ids = batch.events.map(({ id }) => id);
        const attempt = { ids, batch, answer: resolve };
        sent.push(attempt);
        open.set(ids.join(), attempt);
        const verdict = reply?.(ids);
        if (verdict !== undefined) resolve(verdict);
        const given = await promise;
        open.delete(ids.join());
        return given;
      },
      close: () => Promise.resolve(),
      ...sink,
    },
    logger: { info: write, warn: write, error: write },
    random: () => 0.5,
    monotonicMs: time.monotonicMs,
    setTimer: time.setTimer,
  });
  onTestFinished(async () => {
    for (const attempt of open.values()) attempt.answer(RETRY);
    await delivery.stop(0);
  });
  delivery.start();
  return {
    dataDir,
    store,
    time,
    delivery,
    log,
    sent,
    underWay: () => [...open.keys()].toSorted(),
    answer(id, verdict) {
      const attempt = open.get(id);
      if (attempt === undefined) throw new Error(`${id} is not under way`);
      attempt.answer(verdict);
    },
  };
}

async function commitThreads(store: DurableStore, events: readonly (readonly [id: string, thread: string | null])[]): Promise<void> {
  await store.commit("f", events.map(([id, thread]) => record(id, { data: { thread_id: thread } })));
}

describe("events of one thread", () => {
  it("go out one batch after the other, those of others and of none beside them", async () => {
    const h = await start({});
    await commitThreads(h.store, [["a1", "a"], ["a2", "a"], ["b1", "b"], ["n1", null], ["n2", null]]);
    await until(() => h.underWay().length === 4, "four are under way");
    expect(h.underWay()).toEqual(["a1", "b1", "n1", "n2"]);
    h.answer("a1", DELIVERED);
    await until(() => h.underWay().includes("a2"), "the next of the thread");
  });

  it("keep their order over a retry", async () => {
    const h = await start({});
    await commitThreads(h.store, [["a1", "a"], ["b1", "b"], ["a2", "a"]]);
    await until(() => h.underWay().length === 2, "the first of each thread");
    h.answer("a1", RETRY);
    await until(() => h.time.waits().length === 1, "it waits for its retry");
    expect(h.underWay()).toEqual(["b1"]);
    h.time.advance(500);
    await until(() => h.underWay().includes("a1"), "it is tried again");
    expect(h.sent.map(({ ids }) => ids.join())).toEqual(["a1", "b1", "a1"]);
    h.answer("a1", DELIVERED);
    await until(() => h.underWay().includes("a2"), "the next of the thread");
  });

  it("overtake one that fails again and again while the sink takes others", async () => {
    const h = await start({}, (ids) => (ids[0] === "a1" ? RETRY : DELIVERED));
    await commitThreads(h.store, [["a1", "a"], ["a2", "a"]]);
    for (const waitMs of [500, 1000]) {
      await until(() => h.time.waits().includes(waitMs), "it waits for its retry");
      h.time.advance(waitMs);
    }
    await until(async () => (await h.store.pending()) === 1, "the next is delivered");
    expect(h.sent.map(({ ids }) => ids.join())).toEqual(["a1", "a1", "a1", "a2"]);
  });

  it("keep their order when a batch is split", async () => {
    const h = await start({ maxEvents: 4 }, (ids) => (ids.length > 1 ? { kind: "too_large", reason: "HTTP 413" } : DELIVERED));
    await commitThreads(h.store, [["a1", "a"], ["a2", "a"], ["a3", "a"], ["a4", "a"], ["a5", "a"]]);
    await until(async () => (await h.store.pending()) === 0, "all are delivered");
    expect(h.sent.filter(({ ids }) => ids.length === 1).map(({ ids }) => ids.join())).toEqual(["a1", "a2", "a3", "a4", "a5"]);
  });
});

describe("batches that fail", () => {
  it("keep no new ones back, however many they are", async () => {
    const h = await start({ concurrency: 1 }, (ids) => (ids[0]?.startsWith("bad") === true ? RETRY : DELIVERED));
    const ids = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? `bad-${i}` : `good-${i}`));
    await h.store.commit("f", ids.map((id) => record(id)));
    await until(async () => (await h.store.pending()) === 30, "the good ones are delivered");
    // Nothing of a batch that failed is in memory: it is read anew, and the same.
    h.time.advance(1000);
    await until(() => h.sent.filter(({ ids: [id] }) => id === "bad-0").length > 1, "a second attempt");
    const [first, second] = h.sent.filter(({ ids: [id] }) => id === "bad-0");
    expect(second?.batch).toEqual(first?.batch);
  });

  it("open the circuit after five failures in a row; then one probe goes out a minute later, and its success frees all", async () => {
    let isDown = true;
    const h = await start({ concurrency: 4 }, () => (isDown ? RETRY : DELIVERED));
    await h.store.commit("f", Array.from({ length: 40 }, (_, i) => record(`id-${i}`)));
    for (let i = 0; h.delivery.state().circuit !== "open"; i++) {
      if (i > 100) throw new Error("the circuit does not open");
      await new Promise((resolve) => setTimeout(resolve, 20));
      h.time.advance(500);
    }
    await until(() => h.delivery.state().inFlight === 0, "nothing is under way");
    const before = h.sent.length;
    // Four times four batches were tried, none more than five times.
    expect(new Set(h.sent.map(({ batch }) => batch.id)).size).toBeLessThanOrEqual(16 + 4);
    expect(before).toBeLessThanOrEqual(5 * 20);
    h.time.advance(59_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(h.sent).toHaveLength(before);
    h.time.advance(1001);
    await until(() => h.delivery.state().inFlight === 0 && h.sent.length > before, "the probe");
    expect(h.sent).toHaveLength(before + 1);
    expect(h.delivery.state()).toMatchObject({ status: "retrying", circuit: "open", lastError: "HTTP 500" });
    isDown = false;
    h.time.advance(300_000);
    await until(async () => {
      h.time.advance(1000);
      return (await h.store.pending()) === 0;
    }, "all are delivered");
    expect(h.log.filter((line) => line.includes("too often"))).toHaveLength(1);
    expect(h.log.at(-1)).toBe("delivery works again");
  });

  it("wait for the whole sink as long as it asks", async () => {
    let isAsking = true;
    const h = await start({ concurrency: 1 }, () => (isAsking ? { kind: "retry", reason: "HTTP 429", retryAfterMs: 30_000 } : DELIVERED));
    await h.store.commit("f", [record("a"), record("b"), record("c")]);
    await until(() => h.delivery.state().circuit === "asked", "it is asked to wait");
    isAsking = false;
    h.time.advance(29_999);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(h.sent).toHaveLength(1);
    h.time.advance(1);
    await until(async () => (await h.store.pending()) === 0, "all are delivered");
  });

  it("are tried at once by a flush although the circuit is open", async () => {
    let isDown = true;
    const h = await start({}, () => (isDown ? RETRY : DELIVERED));
    await h.store.commit("f", [record("a")]);
    for (const waitMs of [500, 1000, 2000, 4000]) {
      await until(() => h.time.waits().includes(waitMs), "it waits for its retry");
      h.time.advance(waitMs);
    }
    await until(() => h.delivery.state().circuit === "open", "the circuit opens");
    isDown = false;
    expect(await h.delivery.flush(10_000)).toBe(true);
  });
});

describe("a batch that another process has settled meanwhile", () => {
  it("is not sent again after a failure", async () => {
    const h = await start({});
    await h.store.commit("f", [record("a"), record("b")]);
    await until(() => h.underWay().length === 2, "both are under way");
    h.answer("a", RETRY);
    await until(() => h.time.waits().length === 1, "it waits for its retry");
    await h.store.outbox("test").delivered(h.sent.find(({ ids }) => ids[0] === "a")?.batch.id ?? "");
    h.time.advance(500);
    h.answer("b", DELIVERED);
    await until(async () => (await h.store.pending()) === 0 && h.delivery.state().status === "idle", "nothing is left");
    expect(h.sent.map(({ ids }) => ids.join())).toEqual(["a", "b"]);
  });

  it("is not sent at all by a process that stood still with it in memory", async () => {
    const h = await start({ concurrency: 1 });
    await h.store.commit("f", [record("a"), record("b")]);
    await until(() => h.underWay().length === 1, "the first is under way");
    await until(async () => (await h.store.outbox("test").take(1, 100_000)) === undefined, "the second is in memory");
    const other = new DatabaseSync(join(h.dataDir, "tallyman.db"));
    other.exec("UPDATE events SET waiting = 0, delivery = 3 WHERE id = 'b'; DELETE FROM batches WHERE positions = '[2]'");
    other.close();
    h.time.advance(31_000);
    h.answer("a", DELIVERED);
    await until(() => h.delivery.state().status === "idle", "nothing is left");
    expect(h.sent.map(({ ids }) => ids.join())).toEqual(["a"]);
  });
});

describe("a sink that makes requests of its own", () => {
  it("makes them once; every attempt has the same bytes", async () => {
    let made = 0;
    const h = await start({}, () => (h.sent.length < 3 ? RETRY : DELIVERED), { prepare: (events) => events.map(({ id }) => ({ key: id, body: `made ${++made}` })) });
    await h.store.commit("f", [record("a")]);
    for (const waitMs of [500, 1000]) {
      await until(() => h.time.waits().includes(waitMs), "it waits for its retry");
      h.time.advance(waitMs);
    }
    await until(async () => (await h.store.pending()) === 0, "it is delivered");
    const made1 = [{ key: "a", body: "made 1" }];
    expect(h.sent.map(({ batch }) => batch.requests)).toEqual([made1, made1, made1]);
  });

  it("has what it makes nothing of for delivered, and refuses what it cannot make", async () => {
    const h = await start({ maxEvents: 10 }, () => DELIVERED, {
      prepare: (events) => {
        if (events.some(({ id }) => id === "odd")) throw new Error("cannot");
        return events.filter(({ id }) => id !== "free").map(({ id }) => ({ key: id, body: id }));
      },
    });
    await h.store.commit("f", ["a", "odd", "b"].map((id) => record(id)));
    await until(async () => (await h.store.pending()) === 0, "all are settled");
    await h.store.commit("g", [record("free")]);
    await until(async () => (await h.store.pending()) === 0, "all are settled");
    expect(h.sent.flatMap(({ ids }) => ids).toSorted()).toEqual(["a", "b"]);
    const states = (await h.store.events({})).map(({ id, delivery }) => `${id} ${delivery}`);
    expect(states.toSorted()).toEqual(["a delivered", "b delivered", "free delivered", "odd dead"]);
  });
});
