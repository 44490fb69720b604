import { describe, expect, it } from "vitest";

import { createConnectorPriceBook } from "../../../../src/usage/pricing/connector-price-book.ts";
import type { Reading } from "../../../../src/usage/handler.ts";
import { defineX } from "../../../../src/usage/providers/connectors/x/definition.ts";
import { createX } from "../../../../src/usage/providers/connectors/x.ts";
import type { XOptions } from "../../../../src/usage/providers/connectors/x.ts";
import { X_ROWS } from "../../../../src/usage/providers/connectors/x-routes.ts";
import { createReplayJobs, exchangeInfo, replayExchange } from "../../../../src/usage/replay.ts";
import type { RecordedExchange } from "../../../../src/usage/replay.ts";
import { describeConnectorContract } from "../../../support/connector-contract.ts";
import { countsOf } from "../../../support/fixture.ts";
import { X_TABLE } from "./x/table.ts";

const x = createX();

describeConnectorContract({
  folder: "x",
  handler: x,
  definitions: [defineX()],
  samples: {
    "tweets.create": { requestBody: '{"text":"hello"}', status: 201, usage: { "posts.create": 1 } },
    "media.upload": { target: "/2/media/upload?command=FINALIZE", body: '{"data":{"id":"1"}}', usage: { "media.upload": 1 } },
    "media.upload_v1": { target: "/1.1/media/upload.json?command=FINALIZE", body: '{"media_id":1}', usage: { "media.upload": 1 } },
    "media.append": { requestBody: "0123456789", usage: { "media.upload_bytes": 10 } },
    "media.download": { body: "0123456789", usage: { "media.downloaded": 1, "media.downloaded_bytes": 10 } },
    "activity.stream": { body: '{"data":{"event_type":"dm.received"}}\r\n', usage: { "activity.events": 1, "activity.events.message_received": 1 } },
  },
});

interface Call {
  readonly method?: string;
  readonly target: string;
  readonly status?: number;
  readonly request?: unknown;
  /** JSON, or a text as it is. */
  readonly response: unknown;
  readonly end?: "upstream_aborted";
  readonly options?: XOptions;
}

function read({ method = "GET", target, status = 200, request, response, end, options }: Call): readonly Reading[] {
  const exchange: RecordedExchange = {
    method,
    target,
    requestHeaders: ["host", "api.x.com", "authorization", "Bearer b", "content-type", "application/json"],
    requestBody: request === undefined ? "" : JSON.stringify(request),
    response: { status, statusText: "", headers: ["content-type", "application/json"], body: typeof response === "string" ? response : JSON.stringify(response) },
    options: end === undefined ? {} : { end },
    expected: undefined,
  };
  return replayExchange(exchange, options === undefined ? x : createX(options), { jobs: createReplayJobs() }).readings;
}

function count(call: Call): Readonly<Record<string, number>> {
  return Object.assign({}, ...read(call).map(countsOf));
}

/** "/2/users/{id}/likes" → "/2/users/p1/likes" */
function filled(path: string): string {
  let at = 0;
  return path.replaceAll(/\{\w+\}/g, () => `p${++at}`);
}

const TWO = [{ id: "1" }, { id: "2" }];

describe("the table of X's routes", () => {
  it.each(X_TABLE)("counts $method $path as $category by rule $rule", ({ method, path, category, rule }) => {
    const target = filled(path);
    switch (rule) {
      case "R":
        expect(count({ method, target, response: { data: TWO, includes: { users: [{ id: "7" }], polls: TWO } } })).toEqual(
          category === "users.read" ? { "users.read": 3, "polls.read": 2 } : { [category]: 2, "users.read": 1, "polls.read": 2 },
        );
        expect(count({ method, target, response: { data: { id: "1" } } })).toEqual({ [category]: 1 });
        expect(count({ method, target, response: { meta: { result_count: 0 } } })).toEqual({});
        expect(count({ method, target, response: { data: [] } })).toEqual({});
        break;
      case "S":
        expect(count({ method, target, response: '{"data":{"id":"1"},"includes":{"polls":[{"id":"1"}]}}\r\n\r\n{"data":{"id":"2"}}\r\n{"errors":[{}]}\r\n' })).toMatchObject({ [category]: 2, "polls.read": 1 });
        expect(count({ method, target, response: "\r\n\r\n" })).toEqual({});
        break;
      case "Q": {
        const body = category.startsWith("media.download") ? "0123456789" : { data: { id: "1" } };
        expect(count({ method, target, request: { text: "hello" }, response: body })[category]).toBe(1);
        if (category !== "media.downloaded") expect(count({ method, target, request: { text: "hello" }, response: { errors: [{ title: "t" }] } })[category]).toBeUndefined();
        break;
      }
      default:
        expect(rule).toBe("0");
        expect(count({ method, target, response: { data: TWO } })[category]).toBeUndefined();
    }
    for (const status of [400, 402, 403, 404, 429, 500, 503]) expect(count({ method, target, status, response: { title: "t", data: TWO } })).toEqual({});
  });

  it("has every route of the reference under a route of its own, and every route of ours is in the reference", () => {
    const routes = X_TABLE.map(({ method, path }) => operationOf(method, filled(path)));
    expect(routes.filter((route) => route.includes("/"))).toEqual([]);
    const further = ["media.upload_v1", "media.status_v1", "media.metadata_v1", "oauth", "mcp", "mcp.session"];
    expect(defineX().routes.map(({ id }) => id).filter((id) => !routes.includes(id))).toEqual(expect.arrayContaining(further));
    expect(new Set([...routes, ...further]).size).toBe(defineX().routes.length);
  });

  it("knows the twelve lists that an owner may read for less", () => {
    const ours = X_ROWS.filter((row) => row.rule === "resources" && row.isOwnable === true).map(({ id }) => id);
    const theirs = X_TABLE.filter(({ isOwnable }) => isOwnable).map(({ method, path }) => operationOf(method, filled(path)));
    expect(ours.toSorted()).toEqual(theirs.toSorted());
    expect(ours).toHaveLength(12);
  });

  it("names no MCP tool twice", () => {
    const tools = X_ROWS.flatMap(({ tools: names = [] }) => names);
    expect(tools.length).toBe(new Set(tools).size);
  });
});

function operationOf(method: string, target: string): string {
  const exchange = { method, target, requestHeaders: ["host", "api.x.com"], requestBody: "", response: undefined, options: {}, expected: undefined };
  return x.open(exchangeInfo(exchange), { isEstimateAllowed: true, jobs: createReplayJobs() }).operation;
}

describe("the prices of X", () => {
  const atMs = Date.parse("2026-11-28");
  const usd = (usage: Record<string, number>, route: string, profile: "list" | "strict" = "list"): string | undefined =>
    createConnectorPriceBook([], profile).price({ connector: "x", route, usage, atMs })?.amount;

  it("are there for every category of the table that X is known to charge for", () => {
    const unpriced = new Set(["public_keys.read", "media.downloaded", "analytics.read", "broadcasts.read", "broadcast_chat.read", "broadcasts.write"]);
    for (const { method, path, category, rule } of X_TABLE) {
      if (rule === "0") continue;
      const amount = usd({ [category]: 1 }, operationOf(method, filled(path)));
      expect(amount === undefined, `${method} ${path}`).toBe(unpriced.has(category));
    }
  });

  it("are those of the route where they differ by route", () => {
    expect(usd({ "users.read": 1 }, "users.lookup")).toBe("0.01");
    expect(usd({ "users.read": 1 }, "users.me")).toBe("0");
    expect(usd({ "users.read": 1 }, "users.me", "strict")).toBe("0.01");
    expect(usd({ "users.read": 1 }, "tweets.liking_users")).toBe("0");
    expect(usd({ "interactions.delete": 1 }, "likes.delete")).toBe("0.01");
    expect(usd({ "interactions.delete": 1 }, "retweets.delete")).toBe("0.005");
    expect(usd({ "media.read": 2 }, "search.recent", "strict")).toBe("0.01");
  });

  it("are those of reads that are not told apart, where some are", () => {
    expect(usd({ "posts.read": 12, "posts.read.unique": 9, _bad_lines: 1 }, "search.stream")).toBe("0.045");
    expect(usd({ "posts.read": 12, "posts.read.unique": 0 }, "search.recent")).toBe("0");
  });
});

describe("what an operator may choose", () => {
  const page = { data: TWO, includes: { users: [{ id: "7" }], tweets: [{ id: "3" }], posts: [{ id: "4" }], media: [{ media_key: "3_1" }] } };

  it("counts the owner's own lists as such, and nobody else's", () => {
    const options = { ownerUserId: "7" };
    expect(count({ target: "/2/users/7/tweets", response: page, options })).toEqual({ owned_reads: 2, "posts.read": 2, "users.read": 1, "media.read": 1 });
    expect(count({ target: "/2/users/8/tweets", response: page, options })).toMatchObject({ "posts.read": 4 });
    expect(count({ target: "/2/users/7/timelines/reverse_chronological", response: { data: TWO }, options })).toEqual({ "posts.read": 2 });
    expect(count({ target: "/2/users/7/followers?max_results=50", response: "{", options })).toEqual({ owned_reads: 50 });
    expect(count({ target: "/2/users/7/tweets", response: { data: TWO } })).toEqual({ "posts.read": 2 });
  });

  it("counts all that was expanded, what is of the route's kind, or nothing of it", () => {
    const target = "/2/tweets/search/recent?query=q";
    expect(count({ target, response: page })).toEqual({ "posts.read": 4, "users.read": 1, "media.read": 1 });
    expect(count({ target, response: page, options: { includes: "same-type" } })).toEqual({ "posts.read": 4 });
    expect(count({ target, response: page, options: { includes: "none" } })).toEqual({ "posts.read": 2 });
    const line = '{"data":{"id":"1"},"includes":{"users":[{"id":"7"}],"tweets":[{"id":"2"}]}}\r\n';
    expect(count({ target: "/2/tweets/search/stream", response: line, options: { includes: "same-type" } })).toEqual({ "posts.read": 2 });
  });

  it("counts quotes, media, cards and links into messages as URLs by the conservative rule", () => {
    const options = { urlRule: "conservative" } as const;
    const create = (request: unknown, chosen: XOptions): Readonly<Record<string, number>> =>
      count({ method: "POST", target: "/2/tweets", status: 201, request, response: { data: { id: "1" } }, options: chosen });
    for (const extra of [{ quote_tweet_id: "9" }, { media: { media_ids: ["5"] } }, { card_uri: "card://1" }, { direct_message_deep_link: "https://x.com/messages/compose" }]) {
      expect(create({ text: "look", ...extra }, options)).toEqual({ "posts.create_with_url": 1 });
      expect(create({ text: "look", ...extra }, {})).toEqual({ "posts.create": 1 });
    }
    expect(create({ text: "look", media: { media_ids: [] } }, options)).toEqual({ "posts.create": 1 });
    expect(create({ text: "look", poll: { options: ["a", "b"], duration_minutes: 5 } }, options)).toEqual({ "posts.create": 1 });
  });
});

describe("reads that are told apart", () => {
  const DAY = 86_400_000;

  function reader(options: XOptions = {}): { readonly read: (target: string, body: unknown, token?: string) => Readonly<Record<string, number>>; readonly tomorrow: () => void } {
    let nowMs = 20_000 * DAY + DAY / 2;
    const handler = createX({ isDeduplicating: true, ...options }, () => nowMs);
    return {
      read(target, body, token = "b") {
        const text = typeof body === "string" ? body : JSON.stringify(body);
        const response = { status: 200, statusText: "", headers: ["content-type", "application/json"], body: text };
        const exchange = { method: "GET", target, requestHeaders: ["host", "api.x.com", "authorization", `Bearer ${token}`], requestBody: "", response, options: {}, expected: undefined };
        return Object.assign({}, ...replayExchange(exchange, handler, { jobs: createReplayJobs() }).readings.map(countsOf));
      },
      tomorrow: () => void (nowMs += DAY / 2),
    };
  }

  it("say how many were not read before on the same day by the same credential", () => {
    const { read: get, tomorrow } = reader();
    const page = { data: TWO, includes: { users: [{ id: "1" }], tweets: [{ id: "2" }, { id: "3" }] } };
    expect(get("/2/tweets?ids=1,2", page)).toEqual({ "posts.read": 4, "posts.read.unique": 3, "users.read": 1, "users.read.unique": 1 });
    expect(get("/2/tweets?ids=1,2", page)).toEqual({ "posts.read": 4, "posts.read.unique": 0, "users.read": 1, "users.read.unique": 0 });
    expect(get("/2/tweets/9", { data: { id: "9" } })).toEqual({ "posts.read": 1, "posts.read.unique": 1 });
    expect(get("/2/tweets/9", { data: { id: "9" } }, "another")).toEqual({ "posts.read": 1, "posts.read.unique": 1 });
    tomorrow();
    expect(get("/2/tweets/9", { data: { id: "9" } })).toEqual({ "posts.read": 1, "posts.read.unique": 1 });
  });

  it("are those of streams too", () => {
    const { read: get } = reader();
    const lines = [1, 2, 1].map((id) => JSON.stringify({ data: { id: String(id) }, includes: { users: [{ id: "7" }] } })).join("\r\n");
    expect(get("/2/tweets/search/stream", `${lines}\r\n`)).toEqual({ "posts.read": 3, "posts.read.unique": 2, "users.read": 3, "users.read.unique": 1 });
  });

  it("are told in their own category, and not where nothing tells them apart", () => {
    const { read: get } = reader({ ownerUserId: "7" });
    expect(get("/2/users/7/tweets", { data: TWO })).toEqual({ owned_reads: 2, "owned_reads.unique": 2 });
    expect(get("/2/users/8/tweets", { data: TWO })).toEqual({ "posts.read": 2, "posts.read.unique": 2 });
    expect(get("/2/tweets/counts/recent?query=q", { data: [{ id: "1" }] })).toEqual({ "counts.recent": 1 });
    expect(get("/2/tweets/analytics?ids=1", { data: TWO })).toEqual({ "analytics.read": 2 });
    expect(get("/2/tweets/5", { data: { id: "5" }, includes: { media: [{ media_key: "3_1" }], weird: [{ id: "1" }] } })).toEqual({ "posts.read": 1, "posts.read.unique": 1, "media.read": 1, "includes.weird": 1 });
  });

  it("are told apart only where the operator asks for it", () => {
    expect(reader({ isDeduplicating: false }).read("/2/tweets/9", { data: { id: "9" } })).toEqual({ "posts.read": 1 });
  });
});

describe("an answer that cannot be read", () => {
  const cut = (target: string): Readonly<Record<string, number>> => count({ target, response: '{"data":[{"id":', end: "upstream_aborted" });

  it("counts what was asked for, within the bounds of the route", () => {
    expect(cut("/2/tweets?ids=1,2,,3")).toEqual({ "posts.read": 3 });
    expect(cut("/2/users/by?usernames=a,b")).toEqual({ "users.read": 2 });
    expect(cut("/2/tweets/search/recent?query=q&max_results=100")).toEqual({ "posts.read": 100 });
    expect(cut("/2/tweets/search/all?query=q&max_results=500")).toEqual({ "posts.read": 500 });
    expect(cut("/2/users/7/followers?max_results=1000")).toEqual({ "follows.read": 1000 });
    expect(cut("/2/tweets/5")).toEqual({ "posts.read": 1 });
  });

  it("guesses nothing beyond them: what had come is counted", () => {
    expect(cut("/2/tweets/search/recent?query=q")).toEqual({ "posts.read": 1 });
    expect(cut("/2/tweets/search/recent?query=q&max_results=101")).toEqual({ "posts.read": 1 });
    expect(cut("/2/tweets/search/recent?query=q&max_results=lots")).toEqual({ "posts.read": 1 });
    expect(cut(`/2/tweets?ids=${Array.from({ length: 101 }, (_, id) => id).join(",")}`)).toEqual({ "posts.read": 1 });
  });
});

describe("paths that X has and nobody listed", () => {
  it.each([
    ["GET", "/2/tweets/1445880548/annotations?grace=1", "GET /2/tweets/{}/annotations"],
    ["GET", "/1.1/users/show/grace_hopper.json", "GET /1.1/users/{}/{}"],
    ["GET", "/2/users/by/grace", "GET /2/users/by/{}"],
    ["GET", "/grace", "GET /{}"],
    ["GET", "/2/jobs/12345/applications", "GET /2/jobs/{}/{}"],
    ["POST", "/2/users/by/username/grace_hopper", "POST /2/users/by/username/{}"],
    ["GET", "/labs/2/tweets/1445880548", "GET /{}/2/tweets/{}"],
    ["GET", "/1.1/statuses/home_timeline.json?count=5", "GET /1.1/statuses/{}"],
  ])("are counted as unmatched, without ids and names: %s %s", (method, target, route) => {
    expect(read({ method, target, response: {} })).toMatchObject([{ kind: "measured", completeness: "complete", route, connectorUsage: { "requests.unmatched": 1 } }]);
  });

  it("count nothing when they fail", () => {
    expect(read({ target: "/2/nothing/here", status: 404, response: {} }).map(({ kind }) => kind)).toEqual(["free"]);
  });
});
