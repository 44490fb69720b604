import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");

it("lists every path of the admin server, and no other", async () => {
  const sources = await Promise.all(["server.ts", "api.ts"].map((name) => readFile(join(ROOT, "src", "admin", name), "utf8")));
  const served = [...sources.join("").matchAll(/^ {4}\["(\/[^"]*)",/gm)].map(([, path]) => path);
  const page = await readFile(join(ROOT, "docs", "admin-api.md"), "utf8");
  const listed = [...page.matchAll(/^\| `(?:GET|POST) (\/[^`?]*)[^`]*` \|/gm)].map(([, path]) => path);
  expect(served.length).toBeGreaterThan(10);
  expect(listed.toSorted()).toEqual(served.toSorted());
});
