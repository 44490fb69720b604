/** The X client through the real program: what it read and wrote is what is counted, and nobody learns what was said. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { ApiResponseError, ETwitterStreamEvent, type TweetStream, type TweetV2SingleStreamResult } from "twitter-api-v2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ConnectorUsageEvent } from "../../src/usage/event-types.ts";
import type { Program } from "../support/program.ts";
import { post, SEARCH_PAGES, startSimulatedX, TIMELINE, user, type SimulatedX, type XCall } from "../support/simulated-x.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { X_BEARER, xClients, type XClients } from "../support/x-clients.ts";

const HOSTS = ["api.x.com", "api.twitter.com", "upload.x.com"];

/** What the tests say; no event, log line or row may have any of it. */
const SAID = { text: "we ship on friday", url: "https://wiki.example.com/launch", query: "from:grace_hopper_1906 launch", alt: "a photo of the ship", file: Buffer.alloc(2500, "pixels of a photo ") };

let stage: Stage;
let x: SimulatedX;
let program: Program;
let clients: XClients;

beforeAll(async () => {
  stage = await openStage();
  const tls = await createSimulatedTls(HOSTS);
  x = await startSimulatedX(tls);
  await writeFile(rootsFile(), tls.ca);
  program = await stage.start(settings());
  clients = xClients(program);
});
afterAll(async () => {
  clients?.close();
  await x?.close();
  await stage?.close();
});

function rootsFile(): string {
  return join(stage.dir, "x-ca.pem");
}

function settings(): Record<string, string> {
  return {
    TALLYMAN_UPSTREAM_CA_FILE: rootsFile(),
    TALLYMAN_CONNECT_TO: HOSTS.map((host) => `${host}:443:127.0.0.1:${x.port}`).join(","),
    TALLYMAN_LOG_LEVEL: "debug",
  };
}

function isConnectorEvent(event: object): event is ConnectorUsageEvent {
  return "type" in event && event.type === "connector.usage.v1";
}

function connectorEvents(): readonly ConnectorUsageEvent[] {
  return stage.receiver.events().map((event: object) => event).filter(isConnectorEvent);
}

/** Runs `work` and gives the events that were delivered of it, in order. */
async function eventsOf(work: () => Promise<unknown>): Promise<readonly ConnectorUsageEvent[]> {
  await settled(program);
  const before = connectorEvents().length;
  await work();
  await settled(program);
  return connectorEvents().slice(before);
}

function counts(events: readonly ConnectorUsageEvent[]): readonly (readonly [string, Readonly<Record<string, number>>])[] {
  return events.map(({ data }) => [data.route, data.usage] as const);
}

function lastCall(): XCall {
  const call = x.calls.at(-1);
  if (call === undefined) throw new Error("nobody called");
  return call;
}

describe("twitter-api-v2 through the program", () => {
  it("counts a lookup by the posts that were found", async () => {
    const events = await eventsOf(async () => {
      const { data, errors } = await clients.app.v2.tweets(["11", "12", "13"]);
      expect([data.length, errors?.length]).toEqual([2, 1]);
    });
    expect(counts(events)).toEqual([["tweets.lookup", { "posts.read": 2 }]]);
    expect(events[0]!.data).toMatchObject({ meter: "x", host: "api.x.com", status: 200, completeness: "complete", usage_source: "provider", billable: true });
    expect(events[0]!.data.cost).toMatchObject({ amount: "0.01", currency: "USD", source: "price_book" });
    expect(lastCall().headers.authorization).toBe(`Bearer ${X_BEARER}`);
  });

  it("counts each page of a search with what was expanded on it", async () => {
    const events = await eventsOf(async () => {
      const pages = await clients.app.v2.search(SAID.query, { expansions: ["author_id", "attachments.media_keys"], max_results: 10 });
      while (!pages.done) await pages.fetchNext();
      expect(pages.tweets).toHaveLength(24);
      expect(pages.tweets[0]?.text).toBe(post(0).text);
    });
    expect(counts(events)).toEqual(
      SEARCH_PAGES.map(({ posts, users, media }) => ["search.recent", { "posts.read": posts, "users.read": users, ...(media === 0 ? {} : { "media.read": media }) }]),
    );
  });

  it("counts one request for a count of posts, and the user who asks", async () => {
    expect(counts(await eventsOf(() => clients.app.v2.tweetCountRecent(SAID.query)))).toEqual([["counts.recent", { "counts.recent": 1 }]]);
    expect(counts(await eventsOf(() => clients.user.v2.me()))).toEqual([["users.me", { "users.read": 1 }]]);
  });

  it("keeps the names in a path to itself, also where there is no such path", async () => {
    const events = await eventsOf(async () => {
      const { data } = await clients.app.v2.userByUsername(TIMELINE.userName);
      expect(data.username).toBe(TIMELINE.userName);
      await clients.app.v2.get(`users/by/${TIMELINE.userName}`).catch((error: unknown) => expect(error).toMatchObject({ code: 404 }));
      await clients.app.v2.get(`${TIMELINE.userName}/${TIMELINE.userId}`).catch((error: unknown) => expect(error).toMatchObject({ code: 404 }));
    });
    expect(counts(events)).toEqual([["users.by", { "users.read": 1 }]]);
  });

  it("tells a post with a URL from one without, whose signed requests pass as they were sent", async () => {
    const events = await eventsOf(async () => {
      await clients.user.v2.tweet(SAID.text);
      expect(JSON.parse(lastCall().body.toString())).toEqual({ text: SAID.text });
      await clients.user.v2.tweet(`${SAID.text}: ${SAID.url}`);
      await clients.user.v2.reply(`${SAID.text}: README.md`, "1", { media: { media_ids: [TIMELINE.mediaId] } });
    });
    expect(counts(events)).toEqual([
      ["tweets.create", { "posts.create": 1 }],
      ["tweets.create", { "posts.create_with_url": 1 }],
      ["tweets.create", { "posts.create_with_url": 1 }],
    ]);
    expect(events.map(({ data }) => data.dims)).toEqual([
      { reply: "false", quote: "false", edit: "false", media: "false" },
      { url_kind: "explicit", reply: "false", quote: "false", edit: "false", media: "false" },
      { url_kind: "bare-domain", reply: "true", quote: "false", edit: "false", media: "true" },
    ]);
    expect(events.map(({ data }) => data.cost?.amount)).toEqual(["0.015", "0.2", "0.2"]);
    expect(lastCall().headers.authorization).toMatch(/^OAuth oauth_consumer_key="/);
  });

  it("counts nothing of a post that was refused, and its client learns why", async () => {
    let refusal: unknown;
    const events = await eventsOf(async () => {
      refusal = await clients.user.v2.tweet("again").catch((error: unknown) => error);
    });
    expect(refusal).toBeInstanceOf(ApiResponseError);
    expect(refusal).toMatchObject({ code: 403 });
    expect(events).toEqual([]);
  });

  it("counts an upload once, in both versions, and the bytes of its chunks", async () => {
    const v1 = await eventsOf(async () => {
      const id = await clients.user.v1.uploadMedia(SAID.file, { mimeType: "image/png", chunkLength: 1000, maxConcurrentUploads: 1 });
      expect(id).toBe(TIMELINE.mediaId);
    });
    const sent = (from: number): number[] => x.calls.slice(from).filter(({ body, path }) => body.includes("APPEND") || path.endsWith("/append")).map(({ body }) => body.length);
    const chunks = sent(0);
    expect(chunks).toHaveLength(3);
    expect(counts(v1)).toEqual([...chunks.map((bytes) => ["media.upload_v1", { "media.upload_bytes": bytes }]), ["media.upload_v1", { "media.upload": 1 }]]);
    expect(v1.every(({ data }) => data.host === "upload.x.com")).toBe(true);
    const before = x.calls.length;
    const v2 = await eventsOf(() => clients.user.v2.uploadMedia(SAID.file, { media_type: "image/png" }, 2000));
    expect(counts(v2)).toEqual([...sent(before).map((bytes) => ["media.append", { "media.upload_bytes": bytes }]), ["media.finalize", { "media.upload": 1 }]]);
    const chunk = x.calls.find(({ path }) => path.endsWith("/append"))!;
    expect(chunk.body.includes(SAID.file.subarray(0, 2000))).toBe(true);
  });

  it("counts paths that nobody listed as unmatched", async () => {
    expect(counts(await eventsOf(() => clients.user.v1.accountSettings()))).toEqual([["GET /1.1/account/{}", { "requests.unmatched": 1 }]]);
  });

  it("passes bodies on byte for byte, compressed as they are, on the old host too", async () => {
    const sent = JSON.stringify({ text: `${SAID.text} \u{1F680} and spaces  ` });
    let received: Buffer | undefined;
    const events = await eventsOf(async () => {
      await byHand(clients, "POST", "https://api.twitter.com/2/tweets", sent);
      expect(lastCall().body.toString()).toBe(sent);
      received = await byHand(clients, "GET", "https://api.twitter.com/2/tweets/search/recent?query=q");
    });
    expect(lastCall().headers["accept-encoding"]).toBe("gzip");
    expect(received?.equals(lastCall().answer)).toBe(true);
    expect(received?.subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
    expect(counts(events).map(([route]) => route)).toEqual(["tweets.create", "search.recent"]);
    expect(events.map(({ data }) => data.host)).toEqual(["api.twitter.com", "api.twitter.com"]);
  });
});

/** A request without a client library: its body as it came, not decoded. */
function byHand({ agent }: XClients, method: string, url: string, body?: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${X_BEARER}`, "accept-encoding": "gzip", ...(body === undefined ? {} : { "content-type": "application/json" }) };
    const outgoing = httpsRequest(url, { method, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => resolve(Buffer.concat(chunks))).on("error", reject);
    });
    outgoing.on("error", reject).end(body);
  });
}

describe("what the operator chose for X", () => {
  it("decides what is counted, and how", async () => {
    const dir = join(stage.dir, "chosen");
    const chosen = await stage.start({
      ...settings(),
      TALLYMAN_DATA_DIR: dir,
      TALLYMAN_X_OWNER_USER_ID: TIMELINE.userId,
      TALLYMAN_X_INCLUDES: "same-type",
      TALLYMAN_X_URL_RULE: "conservative",
    });
    const own = xClients(chosen);
    const before = connectorEvents().length;
    await own.user.v2.userTimeline(TIMELINE.userId, { expansions: ["author_id"] });
    await own.app.v2.search(SAID.query, { expansions: ["author_id"] });
    await own.user.v2.quote(SAID.text, "1");
    await settled(chosen);
    own.close();
    await chosen.stop();
    expect(counts(connectorEvents().slice(before))).toEqual([
      ["users.tweets", { owned_reads: 10 }],
      ["search.recent", { "posts.read": 10 }],
      ["tweets.create", { "posts.create_with_url": 1 }],
    ]);
  });
});

describe("a stream through the program", () => {
  const opened: TweetStream<TweetV2SingleStreamResult>[] = [];
  afterAll(() => opened.forEach((stream) => stream.destroy()));

  async function open(): Promise<{ readonly client: TweetStream<TweetV2SingleStreamResult>; readonly seen: string[] }> {
    const client = await clients.app.v2.searchStream({ autoConnect: true, expansions: ["author_id"] });
    client.autoReconnect = false;
    opened.push(client);
    const seen: string[] = [];
    client.on(ETwitterStreamEvent.Data, ({ data }: TweetV2SingleStreamResult) => void seen.push(data.id));
    return { client, seen };
  }

  const total = (events: readonly ConnectorUsageEvent[], category: string): number => events.reduce((sum, { data }) => sum + (data.usage[category] ?? 0), 0);

  it("counts every post once, and what was expanded with it", async () => {
    const events = await eventsOf(async () => {
      const { seen } = await open();
      const stream = await x.stream();
      for (let index = 0; index < 1200; index++) stream.send({ data: post(index), includes: { users: [user(index % 7)] }, matching_rules: [{ id: "5", tag: "t" }] });
      stream.keepAlive();
      stream.send({ errors: [{ title: "operational-disconnect" }] });
      stream.end();
      await until(() => seen.length === 1200, "the client to have every post");
    });
    expect(total(events, "posts.read")).toBe(1200);
    expect(total(events, "users.read")).toBe(1200);
    expect(new Set(events.map(({ data }) => data.flow_id)).size).toBe(1);
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    expect(new Set(events.map(({ data }) => data.route))).toEqual(new Set(["search.stream"]));
    // 2400 things, and an event for each 500 or a little more: they are read in pieces.
    expect(events.map(({ data }) => data.sequence)).toEqual(events.map((_, index) => index));
    expect(events.length).toBeGreaterThan(1);
    expect(events.length).toBeLessThanOrEqual(5);
  });

  it("is counted while it goes on, and as far as it came when it breaks off", async () => {
    const events = await eventsOf(async () => {
      const { seen } = await open();
      const stream = await x.stream();
      const before = connectorEvents().length;
      const open500 = (): number => total(connectorEvents().slice(before), "posts.read");
      for (let index = 0; index < 520; index++) stream.send({ data: post(index) });
      await until(() => open500() >= 500, "the first event of a stream that is open", 60_000);
      for (let index = 0; index < 3; index++) stream.send({ data: post(index) });
      await until(() => open500() === 523, "the event of the interval", 60_000);
      stream.send({ data: post(1) });
      await until(() => seen.length === 524, "the client to have every post");
      stream.breakOff();
      await until(() => stream.isClosed, "the stream to be over");
    });
    expect(total(events, "posts.read")).toBe(524);
    expect(events.at(-1)!.data.completeness).toBe("partial");
    expect(events.slice(0, -1).every(({ data }) => data.completeness === "complete")).toBe(true);
  }, 150_000);

  it("is over at X when its client goes away", async () => {
    const events = await eventsOf(async () => {
      const { client, seen } = await open();
      const stream = await x.stream();
      stream.send({ data: post(1) });
      await until(() => seen.length === 1, "the client to have the post");
      client.close();
      await until(() => stream.isClosed, "the stream to be over at X");
    });
    expect(counts(events)).toEqual([["search.stream", { "posts.read": 1 }]]);
  });
});

describe("what was said, searched for and looked at", () => {
  it("is in no event, no log line and no file of the ledger", async () => {
    await settled(program);
    const files = await readdir(stage.dataDir, { recursive: true, withFileTypes: true });
    const texts = await Promise.all(files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), "latin1")));
    const everything = [...texts, program.stdout, program.stderr, ...stage.receiver.requests.map(({ body }) => body)].join("\n");
    expect(everything).toContain("search.recent");
    const secrets = [SAID.text, "wiki.example.com", "README.md", "from:grace", "pixels of", X_BEARER, "of-no-value", ...Object.values(TIMELINE), post(3).id, user(1).id];
    for (const secret of secrets) expect(everything.includes(secret), secret).toBe(false);
  });
});
