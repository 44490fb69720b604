import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { PACKAGE_ROOT, isCheckout, standardDirectory } from "../../src/config/paths.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tallyman-paths-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function makePackage(root: string, files: readonly string[]): string {
  for (const file of files) {
    mkdirSync(join(root, file, ".."), { recursive: true });
    writeFileSync(join(root, file), "");
  }
  return root;
}

describe("isCheckout", () => {
  it("knows this checkout", () => {
    expect(isCheckout(PACKAGE_ROOT)).toBe(true);
  });

  it("asks for the sources and for what the package leaves out", () => {
    expect(isCheckout(makePackage(join(dir, "a"), ["package.json", "src/main.ts", "tsconfig.json"]))).toBe(true);
    expect(isCheckout(makePackage(join(dir, "b"), ["package.json", "src/main.ts", ".git/HEAD"]))).toBe(true);
    expect(isCheckout(makePackage(join(dir, "c"), ["package.json", "dist/main.js"]))).toBe(false);
    expect(isCheckout(makePackage(join(dir, "d"), ["package.json", "src/main.ts"]))).toBe(false);
    expect(isCheckout(join(dir, "nowhere"))).toBe(false);
  });

  it("takes no dependency of another project for one", () => {
    const files = ["package.json", "src/main.ts", "tsconfig.json"];
    expect(isCheckout(makePackage(join(dir, "node_modules", "tallyman"), files))).toBe(false);
  });
});

describe("standardDirectory", () => {
  const context = { cwd: "/somewhere", homeDir: "/home/ada", packageRoot: "/src/tallyman" };

  it("stands in the checkout, whatever the working directory is", () => {
    expect(standardDirectory("certs", { XDG_DATA_HOME: "/xdg" }, { ...context, isCheckout: true })).toBe("/src/tallyman/certs");
  });

  it("stands below the user's data directory elsewhere", () => {
    expect(standardDirectory("data", {}, { ...context, isCheckout: false })).toBe("/home/ada/.local/share/tallyman/data");
    expect(standardDirectory("certs", { XDG_DATA_HOME: "/xdg" }, { ...context, isCheckout: false })).toBe("/xdg/tallyman/certs");
  });

  it("ignores a relative XDG_DATA_HOME", () => {
    expect(standardDirectory("data", { XDG_DATA_HOME: "xdg" }, { ...context, isCheckout: false })).toBe("/home/ada/.local/share/tallyman/data");
  });
});
