import { describe, expect, it } from "vitest";
import { compilePaths, leadsOn, nodeOfBytes, nodeOfText } from "../../../src/usage/extract/json-path.ts";
import type { JsonPath } from "../../../src/usage/extract/json-path.ts";

const PATHS: readonly JsonPath[] = [["a"], ["a", "b"], ["*", "b"], ["é"]];

describe("compilePaths", () => {
  it("gives the same tree for the same table", () => {
    expect(compilePaths(PATHS)).toBe(compilePaths(PATHS));
    expect(compilePaths([...PATHS])).not.toBe(compilePaths(PATHS));
  });

  it("follows a named key by its name and by the wildcard, and another key by the wildcard only", () => {
    const root = compilePaths(PATHS);
    const named = nodeOfText(root, "a");
    const other = nodeOfText(root, "x");
    expect(named?.paths).toEqual([["a"]]);
    expect(nodeOfText(named!, "b")?.paths).toEqual([["a", "b"], ["*", "b"]]);
    expect(nodeOfText(other!, "b")?.paths).toEqual([["*", "b"]]);
    expect(nodeOfText(other!, "c")).toBeUndefined();
  });

  it("finds a key by its bytes, not by a part of them", () => {
    const root = compilePaths(PATHS);
    const bytes = Buffer.from('"é"');
    expect(nodeOfBytes(root, bytes, 1, 3)).toBe(nodeOfText(root, "é"));
    expect(nodeOfBytes(root, bytes, 1, 2)).toBeUndefined();
    expect(nodeOfBytes(root, Buffer.from("x"), 0, 1)).toBeUndefined();
  });

  it("tells where no path goes on", () => {
    const root = compilePaths(PATHS);
    expect([leadsOn(root), leadsOn(nodeOfText(root, "a")!), leadsOn(nodeOfText(nodeOfText(root, "a")!, "b")!)]).toEqual([true, true, false]);
    expect(leadsOn(compilePaths([[]]))).toBe(false);
  });
});
