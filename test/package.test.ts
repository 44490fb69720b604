import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";

const PROJECT = resolve(import.meta.dirname, "..");

const versions = z.record(z.string(), z.string());
const manifestShape = z.object({
  engines: z.object({ node: z.string() }),
  bin: versions,
  files: z.array(z.string()),
  scripts: versions,
  dependencies: versions,
  devDependencies: versions,
});
const lockShape = z.object({
  lockfileVersion: z.number(),
  packages: z.record(
    z.string(),
    z.object({ version: z.string().optional(), integrity: z.string().optional(), optionalDependencies: versions.optional() }),
  ),
});

const packShape = z.array(z.object({ files: z.array(z.object({ path: z.string() })) }));

const lockText = readFileSync(join(PROJECT, "package-lock.json"), "utf8");
const manifest = manifestShape.parse(JSON.parse(readFileSync(join(PROJECT, "package.json"), "utf8")));
const lock = lockShape.parse(JSON.parse(lockText));
const direct = { ...manifest.dependencies, ...manifest.devDependencies };

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A small project of these files that has this one's packages and build settings. */
function makeProject(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), "package-"));
  folders.push(root);
  for (const name of ["package.json", "tsconfig.json", "tsconfig.build.json"]) {
    writeFileSync(join(root, name), readFileSync(join(PROJECT, name)));
  }
  symlinkSync(join(PROJECT, "node_modules"), join(root, "node_modules"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

function node(...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(process.execPath, args, { encoding: "utf8" });
}

const build = (root: string) => node(join(PROJECT, "scripts/build.ts"), root);

describe("package.json and its lock file", () => {
  it("record no download address and an integrity for every package", () => {
    expect(lockText).not.toMatch(/"resolved": "https?:/);
    const fetched = Object.entries(lock.packages).filter(([path]) => path !== "");
    expect(fetched.length).toBeGreaterThan(Object.keys(direct).length);
    for (const [path, entry] of fetched) expect(entry.integrity, path).toMatch(/^sha512-/);
  });

  it("pin every direct dependency to the version that is locked", () => {
    for (const [name, version] of Object.entries(direct)) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
      expect(lock.packages[`node_modules/${name}`]?.version, name).toBe(version);
    }
  });

  // `npm ci` refuses a lock file without them, whatever the platform; npm drops those that the registry lacked when it was written.
  it("hold every platform's build of a package that comes in several", () => {
    const named = Object.values(lock.packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    expect(named).toContain("@oxlint/binding-linux-x64-gnu");
    expect(named.filter((name) => lock.packages[`node_modules/${name}`] === undefined)).toEqual([]);
  });

  it("agree on the Node version in engines, .nvmrc and the node package that runs the scripts", () => {
    const major = readFileSync(join(PROJECT, ".nvmrc"), "utf8").trim();
    expect(manifest.engines.node).toBe(`>=${major}`);
    expect(manifest.devDependencies["node"]?.split(".")[0]).toBe(major);
    expect(manifest.devDependencies["@types/node"]?.split(".")[0]).toBe(major);
    expect(process.versions.node).toBe(manifest.devDependencies["node"]);
  });

  it("pack the program and its docs, and no source, test, key or ledger", () => {
    const root = makeProject({
      "dist/main.js": "",
      "dist/index.js": "",
      "README.md": "",
      "docs/events.md": "",
      "certs/README.md": "",
      "certs/ca.key": "",
      "certs/ca.pem": "",
      "data/tallyman.db": "",
      "src/main.ts": "",
      "test/a.test.ts": "",
      ".env": "",
    });
    // Scripts off: a build hook of npm pack would need the whole source.
    const { stdout } = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root, encoding: "utf8" });
    const names = packShape.parse(JSON.parse(stdout)).flatMap((tarball) => tarball.files.map((file) => file.path));
    expect(names.toSorted()).toEqual(["README.md", "certs/README.md", "dist/index.js", "dist/main.js", "docs/events.md", "package.json"]);
  });
});

describe("the build", () => {
  it("makes an executable program whose imports, workers and assets lead to built files", () => {
    const root = makeProject({
      "src/main.ts":
        'import { readFileSync } from "node:fs";\nimport { Worker } from "node:worker_threads";\nimport { word } from "./word.ts";\n' +
        'new Worker(new URL("./worker.ts", import.meta.url), { workerData: word }).on("message", (said: unknown) => {\n' +
        '  process.stdout.write(String(said) + readFileSync(new URL("./page/index.html", import.meta.url), "utf8"));\n});\n',
      "src/worker.ts": 'import { parentPort, workerData } from "node:worker_threads";\nparentPort?.postMessage(`${String(workerData)} `);\n',
      "src/word.ts": 'export const word: string = "said";\n',
      "src/page/index.html": "<p>",
    });
    mkdirSync(join(root, "dist"));
    writeFileSync(join(root, "dist/stale.js"), "");
    expect(build(root)).toMatchObject({ status: 0 });
    expect(() => statSync(join(root, "dist/stale.js"))).toThrow("ENOENT");
    expect(readFileSync(join(root, "dist/main.js"), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
    expect(statSync(join(root, "dist/main.js")).mode & 0o111).toBe(0o111);
    expect(readFileSync(join(root, "dist/word.d.ts"), "utf8")).toContain("word: string");
    expect(node(join(root, "dist/main.js")).stdout).toBe("said <p>");
  });

  it("leaves no dist behind when a type is wrong", () => {
    const root = makeProject({ "src/main.ts": 'export const n: number = "one";\n' });
    const { status, stdout } = build(root);
    expect(status).toBe(1);
    expect(stdout).toContain("TS2322");
    expect(() => statSync(join(root, "dist"))).toThrow("ENOENT");
  });

  it("refuses a worker file that was not built", () => {
    const root = makeProject({ "src/main.ts": 'export const file = new URL("./gone.ts", import.meta.url);\n' });
    const { status, stderr } = build(root);
    expect(status).toBe(1);
    expect(stderr).toContain("names no built file");
  });

  it("gives declarations that a strict TypeScript user can read", () => {
    const root = makeProject({
      "src/main.ts": "export {};\n",
      "src/index.ts": 'export { start } from "./start.ts";\nexport type { Options } from "./start.ts";\n',
      "src/start.ts": "export interface Options { readonly port: number }\nexport function start(options: Options): number { return options.port; }\n",
    });
    expect(build(root).status).toBe(0);
    rmSync(join(root, "src"), { recursive: true });
    writeFileSync(join(root, "user.ts"), 'import { start } from "./dist/index.js";\nexport const wrong: string = start({ port: 1 });\n');
    const tsc = join(PROJECT, "node_modules/typescript/bin/tsc");
    const args = ["--noEmit", "--strict", "--module", "nodenext", "--ignoreConfig", join(root, "user.ts")];
    expect(node(tsc, ...args).stdout).toMatch(/user\.ts\(2,14\): error TS2322: Type 'number' is not assignable to type 'string'/);
  });
});
