import { describe, expect, it } from "vitest";

import type { ConnectorDefinition, Route } from "../../../../../src/usage/providers/connectors/definition.ts";
import { compileConnectors } from "../../../../../src/usage/providers/connectors/interpreter/compile-connectors.ts";
import { ConnectorDefinitionError } from "../../../../../src/usage/providers/connectors/interpreter/definition-fault.ts";

const sound: Route = { id: "a", method: "GET", path: "/a", meters: [{ category: "a.read", count: 1 }] };

function definition(change: Partial<ConnectorDefinition> = {}): ConnectorDefinition {
  return { id: "c", revision: "2026-11-28", hosts: ["c.example"], routes: [sound], ...change };
}

function route(change: Partial<Route>, rest: Partial<ConnectorDefinition> = {}): ConnectorDefinition {
  return definition({ routes: [{ ...sound, ...change }], ...rest });
}

function faultsOf(...definitions: readonly ConnectorDefinition[]): string {
  try {
    compileConnectors(definitions);
    return "";
  } catch (error) {
    if (error instanceof ConnectorDefinitionError) return error.message;
    throw error;
  }
}

const both = (a: Partial<Route>, b: Partial<Route>): ConnectorDefinition => definition({ routes: [{ ...sound, ...a }, { ...sound, id: "b", ...b }] });

const OF_DEFINITIONS: readonly (readonly [string, ConnectorDefinition, string])[] = [
  ["an id", definition({ id: "Not An Id" }), 'Not An Id: id "Not An Id" is not'],
  ["a revision", definition({ revision: "yesterday" }), 'c: revision "yesterday" is not a date'],
  ["no hosts", definition({ hosts: [] }), "c: hosts is empty"],
  ["a host", definition({ hosts: ["https://c.example/"] }), 'c: host "https://c.example/"'],
  ["no routes", definition({ routes: [] }), "c: routes is empty"],
  ["a prefix", definition({ pathPrefixes: ["v1"] }), 'c: pathPrefixes: "v1"'],
  ["an alias", definition({ aliases: [{ from: "/{x}", to: "/a" }] }), 'c: aliases: "/{x}"'],
  ["a success that asks for the request", definition({ success: { reqHas: "a" } }), "c: success asks for the request's body"],
  ["a success that asks for a parameter", definition({ success: { paramEq: ["id", "1"] } }), "c: success asks for a path parameter"],
  ["shared meters that use themselves", definition({ shared: { s: [{ use: "t" }], t: [{ use: "s" }] } }), 'c: shared s: use "t" leads back to s'],
  ["shared meters that use none", definition({ shared: { s: [{ use: "t" }] } }), 'c: shared s: use "t" names no shared meters'],
  ["a shared category", definition({ shared: { s: [{ category: "No", count: 1 }] } }), 'c: shared s: category "No"'],
];

const OF_ROUTES: readonly (readonly [string, ConnectorDefinition, string])[] = [
  ["an id that is there twice", definition({ routes: [sound, { ...sound, path: "/b" }] }), "there are two routes of this id"],
  ["an id", route({ id: "" }), "its id is not"],
  ["a method", route({ method: "get" }), 'method "get"'],
  ["no method", route({ method: [] }), "method is empty"],
  ["no path", route({ path: [] }), "path is empty"],
  ["a path without its slash", route({ path: "a" }), 'path "a" does not begin'],
  ["a path with a slash at its end", route({ path: "/a/" }), 'path "/a/" ends'],
  ["a path with a rest inside", route({ path: "/**/a" }), 'path "/**/a" has a segment "**"'],
  ["a path with half a parameter", route({ path: "/a{id}" }), 'path "/a{id}" has a segment "a{id}"'],
  ["a path with a parameter twice", route({ path: "/{id}/{id}" }), 'path "/{id}/{id}" has one parameter twice'],
  ["a tie", both({}, {}), "nothing decides between it and a"],
  ["a tie of parameters", both({ path: "/{x}" }, { path: ["/z", "/{y}"] }), "nothing decides between it and a"],
  ["a tie of a method in common", both({ method: ["GET", "PUT"] }, { method: ["PUT", "POST"] }), "nothing decides between it and a"],
  ["a tie of queries that go together", both({ query: { x: "1" } }, { query: { y: "1" } }), "nothing decides between it and a"],
  ["a category", route({ meters: [{ category: "Posts", count: 1 }] }), 'category "Posts"'],
  ["a path into the response", route({ meters: [{ category: "a.read", count: { len: "a..b" } }] }), 'a.read: path "a..b" has an empty step'],
  ["a path that is too deep", route({ success: { has: "a.".repeat(20) + "a" } }), "has more than 16 steps"],
  ["a negative count", route({ meters: [{ category: "a.read", count: -1 }] }), "a.read: -1 is no count"],
  ["a sum of nothing", route({ meters: [{ category: "a.read", count: { sum: [] } }] }), "a.read: sum has no operands"],
  ["a division by zero", route({ meters: [{ category: "a.read", count: { ceilDiv: [1, 0] } }] }), "a.read: ceilDiv needs a divisor"],
  ["bounds", route({ meters: [{ category: "a.read", count: { within: [1, 5, 2] } }] }), "a.read: within needs bounds"],
  ["a map's category", route({ meters: [{ each: "i", map: { a: "A" }, unknown: "i.{key}" }] }), 'the map of "i": category "A"'],
  ["a map's other keys", route({ meters: [{ each: "i", map: {}, unknown: "{key}!" }] }), 'the map of "i": unknown "{key}!"'],
  ["a map's ids", route({ meters: [{ each: "i", map: {}, unknown: "i.{key}", ids: "*.id" }] }), 'the map of "i": ids "*.id"'],
  ["ids", route({ meters: [{ category: "a.read", count: 1, ids: "a.*.b.*.id" }] }), 'a.read: ids "a.*.b.*.id"'],
  ["an unknown use", route({ meters: [{ use: "x" }] }), 'use "x" names no shared meters'],
  ["an unknown hook", route({ hook: "x" }), 'hook "x" is not among'],
  ["an unknown tool's route", route({ expand: "mcp", request: { maxBytes: 1 }, tools: { t: "x" } }), 'tool "t" is mapped to the route "x", which does not exist'],
  ["a tool's route that expands", route({ expand: "mcp", request: { maxBytes: 1 }, tools: { t: "a" } }), "which holds further exchanges itself"],
  ["tools of something else", route({ tools: { t: "a" } }), 'tools needs expand "mcp"'],
  ["a dim's name", route({ dims: { Kind: { query: "kind" } } }), 'dim "Kind"'],
  ["an operand of a request that is not kept", route({ meters: [{ category: "a.read", count: { reqLen: "ids" } }] }), 'asks for "ids" of the request'],
  ["an operand of a request that is not parsed", route({ success: { reqHas: "ids" }, request: { parse: "raw", maxBytes: 9 } }), 'parse "raw" does not read'],
  ["an expansion without its request", route({ expand: "google-batch" }), 'expand "google-batch" needs request'],
  ["an expansion with a body", route({ expand: "mcp", request: { maxBytes: 9 }, body: "sse" }), "leave body out"],
  ["a request without bound", route({ request: { maxBytes: 0 } }), "request.maxBytes must be"],
  ["a request that is too large", route({ request: { maxBytes: 1e9 } }), "request.maxBytes must be"],
  ["a parameter that is not there", route({ path: ["/{id}", "/b"], when: { paramEq: ["id", "1"] } }), "asks for the path parameter {id}"],
  ["a choice by the response", route({ when: { has: "ok" } }), "when looks at the response"],
  ["a choice by the status", route({ when: { not: { status: [200, 200] } } }), "when looks at the response"],
  ["a choice by the request's body", route({ when: { reqHas: "ok" }, request: { maxBytes: 9 } }), "when looks at the request's body"],
  ["a fallback on the response", route({ fallback: [{ category: "a.read", count: { len: "a" } }] }), "fallback looks at the response's body"],
  ["a text that is not read", route({ success: { text: "ok" } }), "asks for the body's text, and reads it as json"],
  ["a path into an unread body", route({ body: "none", success: { has: "ok" } }), "looks into a body that it does not read"],
  ["the definition's success in an unread body", route({ body: "none" }, { success: { has: "ok" } }), "looks into a body that it does not read"],
  ["a path into an expanded body", route({ expand: "mcp", request: { maxBytes: 9 }, success: { has: "x" } }), 'looks into a body that expand "mcp" takes apart'],
  ["frames without a hook", route({ body: "frames" }), 'body "frames" needs a hook'],
  ["frames with another hook", route({ body: "frames", hook: "h" }, { hooks: { h: {} } }), 'body "frames" needs a hook with onFrame'],
  ["a hook of frames elsewhere", route({ hook: "h" }, { hooks: { h: { onFrame: () => undefined } } }), 'its hook reads frames: body must be "frames"'],
];

describe("a fault of a definition", () => {
  it.each(OF_DEFINITIONS)("is found: %s", (_name, faulty, message) => expect(faultsOf(faulty)).toContain(message));

  it.each(OF_ROUTES)("is found with its route: %s", (_name, faulty, message) => {
    const line = faultsOf(faulty).split("\n").find((each) => each.includes(message));
    expect(line, faultsOf(faulty)).toMatch(/^c, route (?:a|b|): /);
  });

  it("does not hide another one", () => {
    expect(faultsOf(definition({ hosts: [], routes: [{ ...sound, method: "x", path: "y" }] })).split("\n")).toHaveLength(3);
  });

  it("is an id that definitions do not share, and having none", () => {
    expect(faultsOf(definition(), definition({ id: "d" }))).toContain('d: is compiled together with "c"');
    expect(faultsOf()).toContain("has no definition");
  });
});

const NO_TIES: readonly (readonly [string, ConnectorDefinition])[] = [
  ["a literal and a parameter", both({ path: "/{x}" }, { path: "/z" })],
  ["other methods", both({ method: "GET" }, { method: "POST" })],
  ["any method and a named one", both({ method: "*" }, { method: "POST" })],
  ["a query and none", both({ query: { x: true } }, {})],
  ["queries that exclude each other", both({ query: { x: "1" } }, { query: { x: "2" } })],
  ["conditions that exclude each other", both({ when: { queryHas: "x" } }, { when: { not: { queryHas: "x" } } })],
  ["a header's values", both({ when: { reqHeader: ["A", "1"] } }, { when: { reqHeader: ["A", "2"] } })],
  ["a rest and none", both({ path: "/a/**" }, { path: "/a" })],
];

describe("two routes of which one is more specific", () => {
  it.each(NO_TIES)("are no fault: %s", (_name, sane) => expect(faultsOf(sane)).toBe(""));
});
