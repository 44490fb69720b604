import { describe, expect, it } from "vitest";

import { createConnectorPriceBook } from "../../../src/usage/pricing/connector-price-book.ts";
import { CONNECTOR_PRICES } from "../../../src/usage/pricing/connector-prices.ts";
import { createPriceBook } from "../../../src/usage/pricing/price-book.ts";
import { PriceFileError } from "../../../src/usage/pricing/price-entry.ts";
import { GMAIL_METHODS } from "../../../src/usage/providers/connectors/gmail-routes.ts";
import { createX } from "../../../src/usage/providers/connectors/x.ts";

const NOW = Date.parse("2026-11-28T10:00:00Z");
const query = (route: string, usage: Record<string, number>, atMs = NOW) => ({ connector: "x", route, usage, atMs });

describe("a connector's price", () => {
  const book = createConnectorPriceBook();

  it("is the sum over the categories, exact", () => {
    expect(book.price(query("tweets.lookup", { "posts.read": 12, "users.read": 3 }))).toEqual({ amount: "0.09", source: "price_book" });
    expect(book.price(query("users.followers", { "follows.read": 1000 }))).toEqual({ amount: "10", source: "price_book" });
  });

  it("may be a route's own, before the category's", () => {
    expect(book.price(query("users.lookup", { "users.read": 1 }))?.amount).toBe("0.01");
    expect(book.price(query("users.me", { "users.read": 1 }))?.amount).toBe("0");
  });

  it("is that of its day", () => {
    const create = (day: string): string | undefined => book.price(query("tweets.create", { "posts.create_with_url": 1 }, Date.parse(day)))?.amount;
    expect([create("2026-01-31"), create("2026-04-19T23:59:59Z"), create("2026-04-20"), create("2026-11-28")]).toEqual([undefined, "0.01", "0.2", "0.2"]);
  });

  it("is null where one category has none, and where nothing was counted", () => {
    expect(book.price(query("x", { "posts.read": 1, "requests.unmatched": 1 }))).toBeNull();
    expect(book.price(query("x", { attempted: 1 }))).toBeNull();
    expect(book.price(query("x", {}))).toBeNull();
    expect(book.price({ ...query("x", { "posts.read": 1 }), connector: "slack" })).toBeNull();
  });

  it("is the dearer one in the strict profile", () => {
    const strict = createConnectorPriceBook([], "strict");
    expect(strict.price(query("users.me", { "users.read": 1, "media.read": 2 }))).toEqual({ amount: "0.02", source: "price_book" });
    expect(strict.version).not.toBe(book.version);
  });

  it("counts each of several once where events say which", () => {
    expect(book.price(query("search.recent", { "posts.read": 10, "posts.read.unique": 4 }))?.amount).toBe("0.02");
  });

  it("leaves out what the metering says of itself", () => {
    expect(book.price(query("search.stream", { "posts.read": 1, _bad_lines: 3 }))?.amount).toBe("0.005");
  });

  it("of what was counted inside is that of the inner route", () => {
    const parts = [{ route: "users.me", usage: { "users.read": 1 } }, { route: "users.lookup", usage: { "users.read": 2 } }];
    expect(book.price({ ...query("mcp", { "mcp.tool_calls": 2, "users.read": 3 }), parts })?.amount).toBe("0.02");
  });

  it("may be the operator's, for a number of them and from a day on", () => {
    const own = createConnectorPriceBook([
      { connector: "x", category: "posts.read", usd: "4", per: 1000 },
      { connector: "x", category: "posts.read", usd: 3, per: 1000, from: "2027-01-01" },
      { connector: "toy", category: "things.read@list", usd: "0.5" },
    ]);
    expect(own.price(query("a", { "posts.read": 1 }))).toEqual({ amount: "0.004", source: "override" });
    expect(own.price(query("a", { "posts.read": 1 }, Date.parse("2027-01-01")))?.amount).toBe("0.003");
    expect(own.price({ ...query("list", { "things.read": 2 }), connector: "toy" })?.amount).toBe("1");
    expect(own.price({ ...query("get", { "things.read": 2 }), connector: "toy" })).toBeNull();
  });
});

describe("the price file", () => {
  it("has connectors beside models, and names them in the version", () => {
    const book = createPriceBook({ overridesJson: { connectors: [{ connector: "x", category: "posts.read", usd: "0.001" }] } });
    const price = book.priceConnector(query("a", { "posts.read": 2 }));
    expect(price).toMatchObject({ amount: "0.002", currency: "USD", source: "override" });
    expect(price?.price_version).toMatch(/^connectors-2026-\d\d-\d\d\+overrides-[0-9a-f]{12}$/);
  });

  it("tells every fault with its place", () => {
    const faults = (): unknown => createPriceBook({ overridesJson: { connectors: [{ connector: "x", category: "No", usd: "-1" }] } });
    expect(faults).toThrow(PriceFileError);
    expect(faults).toThrow(/connectors\.0\.category.*connectors\.0\.usd/s);
  });
});

describe("the built-in table", () => {
  it("has decimals, days and sources in every row, and no row twice", () => {
    for (const row of CONNECTOR_PRICES) {
      for (const usd of [row.usd, row.strictUsd ?? "0"]) expect(usd, row.category).toMatch(/^\d+(\.\d{1,6})?$/);
      expect(Number(row.strictUsd ?? row.usd), row.category).toBeGreaterThanOrEqual(Number(row.usd));
      for (const day of [row.from, row.checked]) expect(day, row.category).toMatch(/^2026-\d\d-\d\d$/);
      expect(row.source.length).toBeGreaterThan(5);
    }
    expect(new Set(CONNECTOR_PRICES.map(({ connector, category, from }) => `${connector} ${category} ${from}`)).size).toBe(CONNECTOR_PRICES.length);
  });

  it("has a price for all that Gmail counts, so that one of its own for units is enough", () => {
    const own = createConnectorPriceBook([{ connector: "gmail", category: "quota_units", usd: "2", per: 1_000_000 }]);
    for (const method of GMAIL_METHODS) {
      const categories = [method.category, ...(method.further ?? []).map(({ category }) => category), ...(method.carries === undefined ? [] : ["recipients", "recipients_unknown"])];
      const usage = Object.fromEntries(categories.map((category) => [category, 1]));
      const priced = { connector: "gmail", route: method.id, usage: { ...usage, "batch.requests": 1, quota_units: 100 }, atMs: NOW };
      expect(createConnectorPriceBook().price(priced), method.id).toEqual({ amount: "0", source: "price_book" });
      expect(own.price(priced), method.id).toEqual({ amount: "0.0002", source: "override" });
    }
  });

  it("names routes that X has", () => {
    const handler = createX({});
    expect(handler.kind).toBe("connector");
    const routes = CONNECTOR_PRICES.flatMap(({ category }) => category.split("@").slice(1));
    const paths: Record<string, readonly [string, string]> = {
      "notes.eligible_posts": ["GET", "/2/notes/search/posts_eligible_for_notes"],
      "users.me": ["GET", "/2/users/me"],
      "tweets.liking_users": ["GET", "/2/tweets/1/liking_users"],
      "compliance.users": ["GET", "/2/users/compliance/stream"],
      "tweets.hide": ["PUT", "/2/tweets/1/hidden"],
      "retweets.delete": ["DELETE", "/2/users/1/retweets/2"],
      "chat.message": ["POST", "/2/chat/conversations/1/messages"],
    };
    for (const route of routes) {
      const [method, path] = paths[route] ?? expect.fail(`no path for ${route}`);
      const jobs = { start: () => undefined, finish: () => false, claim: () => false };
      const opened = handler.open({ host: "api.x.com", port: 443, protocol: "http", method, path, query: "", headers: [] }, { isEstimateAllowed: true, jobs });
      expect(opened.operation).toBe(route);
    }
  });
});
