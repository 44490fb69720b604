import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";

import { packageVersion } from "../src/version.ts";

const MAIN = resolve(import.meta.dirname, "..", "src", "main.ts");

/** Runs before main.ts and makes the process look like an older Node. */
const PRETEND_NODE_20 = `data:text/javascript,${encodeURIComponent('Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.11.1" } });')}`;

describe("the program as a process", () => {
  it("prints its version and exits 0", () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "--version"], { encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${packageVersion()}\n`, stderr: "" });
  });

  it("exits 2 on wrong usage and on wrong settings", () => {
    expect(spawnSync(process.execPath, [MAIN, "sevre"]).status).toBe(2);
    expect(spawnSync(process.execPath, [MAIN, "config"], { env: { ...process.env, TALLYMAN_PORT: "x" } }).status).toBe(2);
  });

  it("says in one line that an older Node will not do, before it loads anything else", () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", PRETEND_NODE_20, MAIN], { encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: "",
      stderr: "tallyman needs Node 24 or newer; this is v20.11.1. Run it with `npm start`, which brings its own, or install Node 24.\n",
    });
  });
});
