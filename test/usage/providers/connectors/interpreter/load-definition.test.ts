import { describe, expect, it } from "vitest";

import { ConnectorDefinitionError } from "../../../../../src/usage/providers/connectors/interpreter/definition-fault.ts";
import { loadConnectors } from "../../../../../src/usage/providers/connectors/interpreter/load-definition.ts";
import { createX } from "../../../../../src/usage/providers/connectors/x.ts";

const sound = { id: "acme", revision: "2026-11-28", hosts: ["api.acme.example"], routes: [{ id: "a", method: "GET", path: "/a", meters: [{ category: "a.read", count: { len: "data" } }] }] };

function faultsOf(json: unknown): readonly string[] {
  try {
    loadConnectors(json);
    return [];
  } catch (error) {
    if (error instanceof ConnectorDefinitionError) return error.message.split("\n");
    throw error;
  }
}

const count = (expr: unknown): unknown => ({ ...sound, routes: [{ ...sound.routes[0], meters: [{ category: "a.read", count: expr }] }] });
const success = (predicate: unknown): unknown => ({ ...sound, routes: [{ ...sound.routes[0], success: predicate }] });

describe("definitions out of JSON", () => {
  it("may be one, or a list, and give a handler for each id", () => {
    expect(loadConnectors(sound).map(({ id, hosts }) => [id, hosts])).toEqual([["acme", ["api.acme.example"]]]);
    const other = { ...sound, hosts: ["files.acme.example"] };
    const handlers = loadConnectors([sound, other, { ...sound, id: "b", hosts: ["b.example"] }]);
    expect(handlers.map(({ id, hosts }) => [id, hosts])).toEqual([["acme", ["api.acme.example", "files.acme.example"]], ["b", ["b.example"]]]);
    expect(createX({}).id).toBe("x");
  });

  it("want only the paths of their prefixes", () => {
    const [drive] = loadConnectors({ ...sound, id: "drive", hosts: ["www.googleapis.com"], pathPrefixes: ["/drive/v3/"] });
    expect(["/drive/v3/files", "/upload/gmail/v1/users/me/messages/send"].map((path) => drive?.ownsPath?.("www.googleapis.com", 443, path))).toEqual([true, false]);
    expect(loadConnectors(sound)[0]?.ownsPath?.("api.acme.example", 443, "/any")).toBe(true);
  });

  it.each([
    ["every operand", { sum: [1, { max: [{ num: "a" }, { keys: "b" }] }, { mul: [2, { csv: "ids" }] }, { ceilDiv: [{ query: "n" }, 5] }, { within: [{ header: "x-n" }, 1, 9] }, { bytes: "response" }] }],
    ["a choice", JSON.parse('{"when":{"all":[{"eq":["ok",true]},{"any":[{"status":[200,201]},{"not":{"headerEq":["a",true]}}]}]},"then":1,"else":{"first":[2]}}') as unknown],
  ])("may use %s", (_name, expr) => expect(faultsOf(count(expr))).toEqual([]));

  it.each([
    ["no object", "text", "definition 1: the definition: "],
    ["no list of hosts", { ...sound, hosts: "api.acme.example" }, "acme: hosts: "],
    ["a field that is unknown", { ...sound, host: [] }, "acme: the definition: Unrecognized key"],
    ["hooks", { ...sound, hooks: {} }, "acme: the definition: Unrecognized key"],
    ["frames", { ...sound, routes: [{ id: "a", method: "GET", path: "/a", body: "frames" }] }, "acme, route a: routes.0.body: "],
    ["an unknown operand", count({ length: "data" }), "acme, route a: routes.0.meters.0.count: is not an expression"],
    ["two operands at once", count({ len: "data", num: "n" }), "acme, route a: routes.0.meters.0.count: is not an expression"],
    ["an operand inside", count({ sum: [1, { max: [{ nope: 1 }] }] }), "routes.0.meters.0.count.sum.1.max.0: is not an expression"],
    ["an operand of another form", count({ len: 5 }), "routes.0.meters.0.count.len: "],
    ["a list that is none", count({ first: 5 }), "routes.0.meters.0.count.first: is not a list"],
    ["a list of another length", count({ within: [1, 2] }), "routes.0.meters.0.count.within: is not a list of 3"],
    ["a choice with more in it", count(JSON.parse('{"when":{"has":"a"},"then":1,"otherwise":2}')), "routes.0.meters.0.count.otherwise: is not when, then or else"],
    ["an unknown predicate", success({ ok: true }), "acme, route a: routes.0.success: is not a predicate"],
    ["a predicate inside", success({ all: [{ not: { is: 1 } }] }), "routes.0.success.all.0.not: is not a predicate"],
    ["what the compiler finds", { ...sound, routes: [{ ...sound.routes[0], method: "get" }] }, 'acme, route a: method "get"'],
  ])("tell of %s where it is", (_name, json, fault) => expect(faultsOf(json).join("\n")).toContain(fault));

  it("are told every fault in all of them at once", () => {
    const faults = faultsOf([{ ...sound, hosts: [] }, { ...sound, id: "b", routes: [{ id: "r", method: "GET", path: "x", meters: [{ category: "A", count: 1 }] }] }, 5]);
    expect(faults.map((line) => line.split(":")[0])).toEqual(["definition 3", "acme", "b, route r", "b, route r"]);
  });

  it("may be nested too deep to be read", () => {
    let expr: unknown = 1;
    for (let depth = 0; depth < 2000; depth++) expr = { sum: [expr] };
    expect(faultsOf(count(expr)).join("\n")).toContain("is nested too deep");
  });
});
