/** README.md names every meter of a model, with each of its hosts. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { handlers } from "../../src/usage/providers/index.ts";

const README = readFileSync(join(import.meta.dirname, "..", "..", "README.md"), "utf8");

const rows = new Map([...README.matchAll(/^\| `([a-z-]+)` \| (.*) \|$/gm)].map(([, id = "", hosts = ""]) => [id, hosts.replaceAll("\\", "")]));

/** Named in words: a port of this machine, a family of names. */
const IN_WORDS = new Set(["bedrock", "local", "ollama"]);

describe("the table of what is metered", () => {
  it.each(handlers.filter(({ kind }) => kind === "model").map((handler) => [handler.id, handler.hosts] as const))("has %s", (id, hosts) => {
    expect(rows.get(id)).toBeDefined();
    if (!IN_WORDS.has(id)) for (const host of hosts) expect(rows.get(id)).toContain(host);
  });
});
