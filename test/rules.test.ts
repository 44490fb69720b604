import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import extractDepcruiseConfig from "dependency-cruiser/config-utl/extract-depcruise-config";
import { afterEach, describe, expect, it } from "vitest";

const PROJECT = resolve(import.meta.dirname, "..");
const trees: string[] = [];

afterEach(() => {
  for (const tree of trees.splice(0)) rmSync(tree, { recursive: true, force: true });
});

/** For each rule: a file that breaks it, and what that file imports. */
const VIOLATIONS: Readonly<Record<string, readonly [file: string, specifier: string]>> = {
  "flow-is-the-bottom": ["src/flow/a.ts", "../config/settings.ts"],
  "proxy-knows-no-usage": ["src/proxy/a.ts", "../usage/index.ts"],
  "usage-knows-no-proxy": ["src/usage/a.ts", "../proxy/tunnel.ts"],
  "store-is-below-usage": ["src/store/a.ts", "../usage/index.ts"],
  "config-is-below-its-readers": ["src/config/a.ts", "../store/store.ts"],
  "admin-is-not-the-program": ["src/admin/a.ts", "../app.ts"],
  "app-knows-no-command": ["src/app.ts", "./cli/serve.ts"],
  "main-is-the-top": ["src/cli/a.ts", "../main.ts"],
  "sqlite-only-in-database": ["src/store/ledger.ts", "node:sqlite"],
  "mitm-library-only-in-front": ["src/proxy/b.ts", "http-mitm-proxy"],
  "no-provider-but-by-the-list": ["src/usage/meter.ts", "./providers/anthropic.ts"],
  "provider-imports-no-provider": ["src/usage/providers/openai-compatible.ts", "./openai.ts"],
  "protocols-know-no-vendor": ["src/usage/providers/protocols/a.ts", "../anthropic.ts"],
  "flow-does-no-io": ["src/flow/b.ts", "node:net"],
  "extract-does-no-io": ["src/usage/extract/a.ts", "node:fs/promises"],
  "extract-knows-no-vendor": ["src/usage/extract/b.ts", "../providers/anthropic.ts"],
  "providers-do-no-io": ["src/usage/providers/cohere.ts", "undici"],
  "providers-know-no-pipeline": ["src/usage/providers/ollama.ts", "../event.ts"],
  "pricing-does-no-io": ["src/usage/pricing/a.ts", "node:worker_threads"],
  "no-circle": ["src/proxy/c.ts", "./d.ts"],
  "no-unresolvable": ["src/cli/b.ts", "./missing.ts"],
  "src-stands-alone": ["src/cli/c.ts", "../../test/support.ts"],
  "no-development-package": ["src/cli/d.ts", "vitest"],
  "only-declared-packages": ["src/cli/e.ts", "acorn"],
};

/** Imports that stand close to a rule and keep it. */
const ALLOWED: readonly (readonly [file: string, specifier: string])[] = [
  ["src/main.ts", "./cli/serve.ts"],
  ["src/cli/serve.ts", "../app.ts"],
  ["src/cli/demo.ts", "openai"],
  ["src/app.ts", "./usage/index.ts"],
  ["src/proxy/front.ts", "http-mitm-proxy"],
  ["src/proxy/upstream.ts", "undici"],
  ["src/store/database.ts", "node:sqlite"],
  ["src/flow/content-coding.ts", "node:zlib"],
  ["src/usage/index.ts", "../store/store.ts"],
  ["src/usage/registry.ts", "./providers/index.ts"],
  ["src/usage/providers/index.ts", "./anthropic.ts"],
  ["src/usage/providers/anthropic.ts", "./protocols/anthropic-messages.ts"],
  ["src/usage/providers/protocols/anthropic-messages.ts", "../../extract/sse.ts"],
  ["src/usage/providers/connectors/x.ts", "./x-routes.ts"],
  ["src/usage/providers/connectors/slack.ts", "./interpreter/compile-connectors.ts"],
  ["src/usage/extract/sse.ts", "../../flow/flow.ts"],
];

/** Makes a project of these imports; every file that is only imported is made as well. */
function makeTree(imports: readonly (readonly [string, string])[]): string {
  const root = mkdtempSync(join(tmpdir(), "rules-"));
  trees.push(root);
  mkdirSync(join(root, "src"));
  writeFileSync(join(root, "package.json"), readFileSync(join(PROJECT, "package.json")));
  symlinkSync(join(PROJECT, "node_modules"), join(root, "node_modules"));
  const files = new Map<string, string>();
  for (const [file, specifier] of imports) {
    files.set(file, `${files.get(file) ?? ""}import "${specifier}";\n`);
    const target = join(dirname(file), specifier);
    if (specifier.startsWith(".") && !specifier.includes("missing") && !files.has(target)) files.set(target, "");
  }
  for (const [file, text] of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text === "" ? "export {};\n" : text);
  }
  return root;
}

function check(root: string): { readonly status: number | null; readonly stderr: string; readonly stdout: string } {
  return spawnSync(process.execPath, [join(PROJECT, "scripts/check-imports.ts"), root], { encoding: "utf8" });
}

async function rules(): Promise<readonly { readonly name?: string; readonly comment?: string }[]> {
  return (await extractDepcruiseConfig(join(PROJECT, ".dependency-cruiser.mjs"))).forbidden ?? [];
}

describe("the import rules", () => {
  it("each have a sentence and a violation in this test", async () => {
    const all = await rules();
    expect(all.map((rule) => rule.name).toSorted()).toEqual(Object.keys(VIOLATIONS).toSorted());
    for (const rule of all) expect(rule.comment, rule.name).toMatch(/^.{40,}\.$/);
  });

  it("each refuse a file that breaks them, with their sentence", async () => {
    const circle = ["src/proxy/d.ts", "./c.ts"] as const;
    const { status, stderr } = check(makeTree([...Object.values(VIOLATIONS), circle]));
    expect(status).toBe(1);
    for (const { name, comment } of await rules()) {
      const [file] = VIOLATIONS[name ?? ""] ?? [""];
      expect(stderr).toMatch(new RegExp(`^${name}: ${file} → `, "m"));
      expect(stderr).toContain(comment);
    }
  });

  it("see an import of a type alone", () => {
    const root = makeTree([["src/flow/flow.ts", "node:util"]]);
    writeFileSync(join(root, "src/flow/flow.ts"), 'import type { Socket } from "node:net";\nexport type S = Socket;\n');
    expect(check(root).stderr).toContain("flow-does-no-io: src/flow/flow.ts → net");
  });

  it("see a dynamic import", () => {
    const root = makeTree([["src/flow/flow.ts", "node:util"]]);
    writeFileSync(join(root, "src/flow/flow.ts"), 'export const late = await import("node:sqlite");\n');
    expect(check(root).stderr).toContain("sqlite-only-in-database: src/flow/flow.ts");
  });

  it("let pass what stands close to them", () => {
    const { status, stderr, stdout } = check(makeTree(ALLOWED));
    expect(stderr).toBe("");
    expect(stdout).toContain(`${Object.keys(VIOLATIONS).length} rules, 0 violations`);
    expect(status).toBe(0);
  });

  it("fail where no module was read", () => {
    const { status, stderr } = check(makeTree([]));
    expect(stderr).toContain("no module was cruised");
    expect(status).toBe(1);
  });

  it("hold in this project", () => {
    const { status, stderr } = check(PROJECT);
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});
