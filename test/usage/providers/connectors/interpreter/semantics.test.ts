import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Handler, ReadEnd, Reading } from "../../../../../src/usage/handler.ts";
import type { ConnectorDefinition, Expr, Predicate, Route } from "../../../../../src/usage/providers/connectors/definition.ts";
import { compileConnectors } from "../../../../../src/usage/providers/connectors/interpreter/compile-connectors.ts";
import { createReplayJobs } from "../../../../../src/usage/replay.ts";

const HOST = "c.example";
const context = { isEstimateAllowed: true, jobs: createReplayJobs() };

interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: readonly string[];
  readonly requestBody?: string;
  readonly status?: number;
  readonly responseHeaders?: readonly string[];
  readonly body?: string;
  readonly end?: ReadEnd["kind"];
}

function call(handler: Handler, { method = "POST", path = "/a", query = "", headers = [], requestBody = "", status = 200, responseHeaders = [], body = "{}", end = "complete" }: Call): Reading {
  const { reader } = handler.open({ host: HOST, port: 443, protocol: "http", method, path, query, headers }, context);
  reader?.requestData?.(Buffer.from(requestBody));
  reader?.requestEnd?.();
  reader?.response({ status, statusText: "", headers: responseHeaders });
  reader?.push(Buffer.from(body));
  return reader?.end({ kind: end })[0] ?? { kind: "free", reason: "no_reader" };
}

function definition(routes: readonly Route[], rest: Partial<ConnectorDefinition> = {}): ConnectorDefinition {
  return { id: "c", revision: "2026-11-28", hosts: [HOST], routes, ...rest };
}

function counts(count: Expr, given: Call, route: Partial<Route> = {}): number | undefined {
  const handler = compileConnectors([definition([{ id: "a", method: "*", path: "/a", request: { maxBytes: 200 }, meters: [{ category: "n", count }], ...route }])]);
  const reading = call(handler, given);
  return reading.kind === "measured" && "connectorUsage" in reading ? reading.connectorUsage["n"] : undefined;
}

const JSON_TYPE = ["content-type", "application/json"];
const FORM_TYPE = ["content-type", "application/x-www-form-urlencoded"];
const DOCUMENT = '{"list":[{"id":1,"parts":[1,2]},{"id":2,"parts":[3]},null],"object":{"a":1,"b":[]},"n":7,"text":"12.5","none":null,"yes":true}';

const EXPRESSIONS: readonly (readonly [string, Expr, Call, number | undefined])[] = [
  ["an array's length", { len: "list" }, {}, 3],
  ["an object, 1", { len: "object" }, {}, 1],
  ["a scalar, 0", { len: "n" }, {}, undefined],
  ["nothing, 0", { len: "missing" }, {}, undefined],
  ["the document itself", { len: "" }, {}, 1],
  ["the document, a list", { len: "" }, { body: "[1,2,3,4]" }, 4],
  ["the sum over all elements", { len: "list.*.parts" }, {}, 3],
  ["each element, an object", { len: "list.*" }, {}, 2],
  ["values of an object", { len: "object.*" }, { body: '{"object":{"a":[1,2],"b":{},"c":5}}' }, 3],
  ["an object's keys", { keys: "object" }, {}, 2],
  ["a number", { num: "n" }, {}, 7],
  ["a number in a string, rounded up", { num: "text" }, {}, 13],
  ["a first match that is a number", { num: "list.*.id" }, { body: '{"list":[{"id":"x"},{"id":"4"}]}' }, 4],
  ["no number", { num: "yes" }, {}, undefined],
  ["the request's array", { reqLen: "ids" }, { headers: JSON_TYPE, requestBody: '{"ids":[1,2]}' }, 2],
  ["the request's number", { reqNum: "n" }, { headers: JSON_TYPE, requestBody: '{"n":4}' }, 4],
  ["a form's field with JSON in it", { reqLen: "ids" }, { headers: FORM_TYPE, requestBody: "ids=%5B1%2C2%2C3%5D&n=2" }, 3],
  ["a form's number", { reqNum: "n" }, { headers: FORM_TYPE, requestBody: "n=2" }, 2],
  ["a field of multipart", { reqNum: "n" }, { headers: ["content-type", "multipart/form-data; boundary=b"], requestBody: '--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n6\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\ndata\r\n--b--\r\n' }, 6],
  ["a body without a type", { reqNum: "n" }, { requestBody: '{"n":3}' }, 3],
  ["a request that is too long", { first: [{ reqLen: "ids" }, 99] }, { headers: JSON_TYPE, requestBody: `{"ids":[${"1,".repeat(200)}1]}` }, 99],
  ["parts of a parameter", { csv: "ids" }, { query: "ids=1,,2,%203" }, 3],
  ["a parameter", { query: "n" }, { query: "n=5" }, 5],
  ["a parameter that is no number", { first: [{ query: "n" }, 2] }, { query: "n=five" }, 2],
  ["a header", { header: "X-Cost" }, { responseHeaders: ["x-cost", "3"] }, 3],
  ["bytes of the request", { bytes: "request" }, { requestBody: "12345" }, 5],
  ["bytes of the response", { bytes: "response" }, { body: "[1,2]" }, 5],
  ["a sum without what is not known", { sum: [1, { num: "missing" }, { num: "n" }] }, {}, 8],
  ["a sum of nothing that is known", { sum: [{ num: "missing" }] }, {}, undefined],
  ["the largest", { max: [1, { num: "n" }, { num: "missing" }] }, {}, 7],
  ["a product", { mul: [2, { num: "n" }] }, {}, 14],
  ["a product with what is not known", { mul: [2, { num: "missing" }] }, {}, undefined],
  ["a quotient, rounded up", { ceilDiv: [{ num: "n" }, 5] }, {}, 2],
  ["what lies within bounds", { within: [{ num: "n" }, 1, 7] }, {}, 7],
  ["what does not", { within: [{ num: "n" }, 1, 6] }, {}, undefined],
  ["the first that is known", { first: [{ num: "missing" }, { num: "n" }, 1] }, {}, 7],
];

describe("an expression is", () => {
  it.each(EXPRESSIONS)("%s", (_name, expr, given, expected) => {
    expect(counts(expr, { body: DOCUMENT, ...given })).toBe(expected);
  });

  it("a choice by a predicate", () => {
    const choice: Expr = JSON.parse('{"when":{"eq":["yes",true]},"then":2,"else":3}');
    expect(counts(choice, { body: DOCUMENT })).toBe(2);
    expect(counts(choice, {})).toBe(3);
    expect(counts(JSON.parse('{"when":{"has":"none"},"then":2}') as Expr, { body: DOCUMENT })).toBeUndefined();
  });
});

const PREDICATES: readonly (readonly [string, Predicate, Call, boolean])[] = [
  ["eq", { eq: ["n", 7] }, {}, true],
  ["eq, of another type", { eq: ["n", "7"] }, {}, false],
  ["eq, of nothing", { eq: ["missing", true] }, {}, false],
  ["has", { has: "list" }, {}, true],
  ["has, of null", { has: "none" }, {}, false],
  ["status", { status: [200, 201] }, { status: 201 }, true],
  ["status, another", { status: [200, 201] }, { status: 202 }, false],
  ["contentType", { contentType: "application/JSON" }, { responseHeaders: ["Content-Type", "Application/json; charset=utf-8"] }, true],
  ["headerEq", { headerEq: ["X-A", "1"] }, { responseHeaders: ["x-a", "1"] }, true],
  ["headerEq, any value", { headerEq: ["x-a", true] }, {}, false],
  ["reqHeader", { reqHeader: ["X-A", true] }, { headers: ["x-a", ""] }, true],
  ["reqHas", { reqHas: "a" }, { requestBody: '{"a":1}' }, true],
  ["reqEq", { reqEq: ["a", "b"] }, { requestBody: '{"a":"b"}' }, true],
  ["queryHas", { queryHas: "q" }, { query: "q=" }, true],
  ["queryEq", { queryEq: ["q", "a b"] }, { query: "q=a%20b" }, true],
  ["all", { all: [{ has: "n" }, { has: "missing" }] }, {}, false],
  ["any", { any: [{ has: "missing" }, { has: "n" }] }, {}, true],
  ["not", { not: { has: "missing" } }, {}, true],
];

describe("a success is told by", () => {
  it.each(PREDICATES)("%s", (_name, success, given, expected) => {
    expect(counts(1, { body: DOCUMENT, ...given }, { success })).toBe(expected ? 1 : undefined);
  });

  it("a short text, trimmed", () => {
    const route: Partial<Route> = { body: "text", success: { text: "ok" } };
    expect(counts(1, { body: " ok\n" }, route)).toBe(1);
    expect(counts(1, { body: "okay" }, route)).toBeUndefined();
    expect(counts(1, { body: `ok${" ".repeat(5000)}` }, route)).toBeUndefined();
  });

  it("three values: of a body that was cut, what did not come is not known", () => {
    const handler = compileConnectors([definition([{ id: "a", method: "*", path: "/a", success: { eq: ["ok", true] }, meters: [{ category: "n", count: { len: "list" } }] }])]);
    const cut = { end: "upstream_aborted" } as const;
    expect(call(handler, { ...cut, body: '{"list":[1,' })).toMatchObject({ completeness: "unknown", connectorUsage: { attempted: 1 } });
    expect(call(handler, { ...cut, method: "GET", body: '{"list":[1,' })).toMatchObject({ kind: "unmeasured", reason: "answer_lost" });
    expect(call(handler, { ...cut, body: '{"ok":true,"list":[1,{"a":[' })).toMatchObject({ completeness: "partial", source: "provider", connectorUsage: { n: 2 } });
    expect(call(handler, { ...cut, body: '{"ok":false,"list":[1,2' })).toMatchObject({ kind: "free", reason: "not_successful" });
    expect(call(handler, { body: "<html>" })).toMatchObject({ kind: "free", reason: "not_successful" });
  });
});

describe("a route is found by", () => {
  const paths: Readonly<Record<string, string>> = {
    "literal": "/users/me", "verb": "/users/{id}:disable", "parameter": "/users/{id}", "below": "/users/{id}/posts", "deep": "/users/me/posts/{post}", "rest": "/users/**", "root": "/",
  };
  const routes = Object.entries(paths).map(([id, path]): Route => ({ id, method: "GET", path, meters: [{ category: "n", count: 1 }] }));
  const more: readonly Route[] = [
    { id: "post", method: "POST", path: "/users/{id}", meters: [{ category: "n", count: 1 }] },
    { id: "any", method: "*", path: "/users/{id}", meters: [{ category: "n", count: 1 }] },
    { id: "asking", method: "GET", path: "/users/{id}", query: { format: "raw" }, meters: [{ category: "n", count: 1 }] },
  ];
  const handler = compileConnectors([definition([...routes, ...more], { aliases: [{ from: "/people", to: "/users" }] })]);
  const routeOf = (target: string, method = "GET"): string => {
    const [path = "", query = ""] = target.split("?");
    return handler.open({ host: HOST, port: 443, protocol: "http", method, path, query, headers: [] }, context).operation;
  };

  it.each([
    ["/users/me", "literal"], ["/users/7", "parameter"], ["/users/7:disable", "verb"], ["/users/:disable", "parameter"], ["/users/me/posts", "below"],
    ["/users/me/posts/1", "deep"], ["/users/7/posts/1", "rest"], ["/users", "rest"], ["/users/", "rest"], ["/", "root"], ["/people/me", "literal"], ["/peoples/me", "GET /{}/me"],
    ["/users/%6De", "literal"], ["/users/a%2Fb", "parameter"], ["/Users/me", "GET /{}/me"], ["/users/%zz", "parameter"], ["/users/7?format=raw", "asking"], ["/users/7?format=full", "parameter"],
  ])("%s: %s", (target, expected) => expect(routeOf(target)).toBe(expected));

  it("its method, a named one before any", () => {
    expect(["POST", "PATCH", "GET"].map((method) => routeOf("/users/7", method))).toEqual(["post", "any", "parameter"]);
  });

  it("whatever path, without a throw and without what may be a name in the name of a path that it does not know", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 12 }), { maxLength: 12 }), (segments) => {
        const name = routeOf(`/users/${segments.map(encodeURIComponent).join("/")}`, "DELETE");
        expect(name.length).toBeLessThan(400);
      }),
    );
    const name = compileConnectors([definition([{ id: "a", method: "GET", path: "/users/{name}/posts" }])]).open({ host: HOST, port: 443, protocol: "http", method: "PUT", path: "/users/someone/posts/jane.doe@example.org/likes", query: "", headers: [] }, context);
    expect(name.operation).toBe("PUT /users/{}/posts/{}/{}");
  });
});

describe("keys that no map names", () => {
  const handler = compileConnectors([definition([{ id: "a", method: "*", path: "/a", meters: [{ each: "inc", map: { users: "users.read" }, unknown: "inc.{key}" }] }])]);
  const usageOf = (keys: readonly string[]): Readonly<Record<string, number>> => {
    const reading = call(handler, { body: JSON.stringify({ inc: Object.fromEntries(keys.map((key) => [key, [1]])) }) });
    return reading.kind === "measured" && "connectorUsage" in reading ? reading.connectorUsage : {};
  };

  it("are 64 of an exchange and 256 of a connector, the rest is one", () => {
    const usage = usageOf(["users", ...Array.from({ length: 100 }, (_, at) => `k${at}`), "not a name", "__proto__"]);
    expect(usage).toMatchObject({ "users.read": 1, "inc.k0": 1, "inc.k63": 1 });
    expect(Object.keys(usage)).toHaveLength(66);
    expect(Object.values(usage).reduce((sum, count) => sum + count, 0)).toBe(103);
    const seen = new Set<string>();
    for (let round = 0; round < 20; round++) for (const category of Object.keys(usageOf(Array.from({ length: 60 }, (_, at) => `r${round}-${at}`)))) seen.add(category);
    expect(seen.size).toBeLessThanOrEqual(257);
    expect(usageOf(["k0", "users", "fresh"])).toEqual({ "inc.k0": 1, "users.read": 1, "inc._other": 1 });
  });
});

describe("a count that only grows", () => {
  it("counts its growth, by key and account", () => {
    const handler = compileConnectors([definition([{ id: "a", method: "*", path: "/a", meters: [{ category: "credits", count: { num: "used" }, cumulative: { key: "id" } }] }])]);
    const poll = (id: string, used: number, account = "a"): unknown => {
      const reading = call(handler, { method: "GET", headers: ["authorization", account], body: JSON.stringify({ id, used }) });
      return reading.kind === "measured" && "connectorUsage" in reading ? reading.connectorUsage["credits"] : 0;
    };
    expect([poll("1", 2), poll("1", 2), poll("1", 5), poll("1", 4), poll("2", 5), poll("1", 5, "b")]).toEqual([2, 0, 3, 0, 5, 5]);
  });
});

describe("a body of any size", () => {
  it("is read in bounded memory, and its count is exact", () => {
    const handler = compileConnectors([definition([{ id: "a", method: "*", path: "/a", meters: [{ category: "n", count: { len: "data" } }] }])]);
    const { reader } = handler.open({ host: HOST, port: 443, protocol: "http", method: "GET", path: "/a", query: "", headers: [] }, context);
    reader?.response({ status: 200, statusText: "", headers: [] });
    reader?.push(Buffer.from('{"data":['));
    const post = Buffer.from(`{"id":"1","text":"${"x".repeat(900)}"},`.repeat(100));
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 500; i++) reader?.push(post);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20 * 1024 * 1024);
    reader?.push(Buffer.from("{}]}"));
    expect(reader?.end({ kind: "complete" })).toMatchObject([{ completeness: "complete", connectorUsage: { n: 50_001 } }]);
  });
});
