/** docs/errors.md lists every code that the program can give, and none that it cannot. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROXY_ERROR_STATUS } from "../../src/proxy/proxy-error.ts";
import { firstCells, tableRows } from "./markdown-tables.ts";

const SOURCES = join(import.meta.dirname, "..", "..", "src");

describe("docs/errors.md", () => {
  it("lists the proxy's codes with their statuses", () => {
    const documented = tableRows("errors.md", "Answers of the proxy").map(([code, status]) => [code, Number(status)]);
    expect(documented).toEqual(Object.entries(PROXY_ERROR_STATUS));
  });

  it("lists the admin server's codes with their statuses", () => {
    const source = read("admin/server.ts");
    const sent = [...source.matchAll(/sendError\(response, (\d{3}), "([a-z_]+)"/g)].map(([, status, code]) => [code, Number(status)]);
    const raw = [...source.matchAll(/errorJson\("([a-z_]+)"/g)].map(([, code]) => code);
    const documented = tableRows("errors.md", "Answers of the admin server").map(([code, status]) => [code, Number(status)]);
    expect(sent.length).toBeGreaterThan(5);
    expect(documented).toEqual(expect.arrayContaining(sent));
    expect(documented.map(([code]) => code).toSorted()).toEqual([...new Set([...sent.map(([code]) => code), ...raw])].toSorted());
  });

  it("lists the codes of StartError", () => {
    const thrown = sourceFiles().flatMap((file) => [...read(file).matchAll(/new StartError\(\s*"([a-z_]+)"/g)].map(([, code]) => code));
    expect(firstCells("errors.md", "StartError").toSorted()).toEqual([...new Set(thrown)].toSorted());
  });

  it.each([
    ["StoreError", "store/store-error.ts", /export type StoreErrorCode =([^;]+);/],
    ["AuthorityError", "proxy/authority-files.ts", /export type AuthorityErrorCode =([^;]+);/],
    ["AdminListenError", "admin/server.ts", /class AdminListenError[^}]*?readonly code:([^;]+);/],
  ])("lists the codes of %s", (heading, file, declaration) => {
    const union = declaration.exec(read(file))?.[1] ?? "";
    const declared = [...union.matchAll(/"([a-z_]+)"/g)].map(([, code]) => code);
    expect(declared.length).toBeGreaterThan(0);
    expect(firstCells("errors.md", heading).toSorted()).toEqual(declared.toSorted());
  });

  it("lists the codes of all other error classes", () => {
    const fixed = sourceFiles().flatMap((file) => [...read(file).matchAll(/extends Error \{[^}]*?readonly code = "([a-z_]+)"/g)].map(([, code]) => code));
    expect(firstCells("errors.md", "Other").toSorted()).toEqual(fixed.toSorted());
  });

  it("lists the kinds of gaps", () => {
    const counted = sourceFiles().flatMap((file) => [...read(file).matchAll(/(?:recordGap\(|addGap\.run\(|MEMORY_FULL = )"([a-z_]+)"/g)].map(([, kind]) => kind));
    expect(firstCells("errors.md", "Gaps").toSorted()).toEqual([...new Set(counted)].toSorted());
  });
});

function sourceFiles(): readonly string[] {
  return readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
}

function read(file: string): string {
  return readFileSync(join(SOURCES, file), "utf8");
}
