/**
 * Builds dist/, the package's program: JavaScript and declarations of src/ by tsc (tsconfig.build.json), the files of
 * src/ that are no TypeScript copied beside them, dist/main.js executable. `node scripts/build.ts [ROOT]`; dist/ is
 * made anew each time, and is gone when the build fails.
 */

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const SHEBANG = "#!/usr/bin/env node\n";

/** `new URL("./x.ts", import.meta.url)`: how a worker's file is named. tsc rewrites imports only. */
const FILE_URL = /new URL\((["'])(\.\.?\/[^"']+)\1,\s*import\.meta\.url\)/g;

function build(root: string): void {
  const dist = join(root, "dist");
  rmSync(dist, { recursive: true, force: true });
  try {
    compile(root);
    copyAssets(join(root, "src"), dist);
    for (const file of filesBelow(dist).filter((name) => name.endsWith(".js"))) pointAtBuiltFiles(file);
    makeExecutable(join(dist, "main.js"));
  } catch (error) {
    rmSync(dist, { recursive: true, force: true });
    throw error;
  }
}

function compile(root: string): void {
  const tsc = join(dirname(fileURLToPath(import.meta.resolve("typescript/package.json"))), "bin", "tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")], { stdio: "inherit" });
  if (status !== 0) throw new Error("tsc found the faults above; nothing was built");
}

/** The dashboard's page, tables in JSON and the like. */
function copyAssets(source: string, dist: string): void {
  for (const file of filesBelow(source)) {
    if (file.endsWith(".ts")) continue;
    const target = join(dist, file.slice(source.length + 1));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(file, target);
  }
}

/** Rewrites file URLs from .ts to .js, and refuses one that leads to no built file. */
function pointAtBuiltFiles(file: string): void {
  const before = readFileSync(file, "utf8");
  const after = before.replaceAll(FILE_URL, (whole: string, quote: string, path: string) => {
    const built = path.replace(/\.ts$/, ".js");
    if (path.endsWith(".ts") && !existsSync(join(dirname(file), built))) throw new Error(`${file}: ${whole} names no built file`);
    return `new URL(${quote}${built}${quote}, import.meta.url)`;
  });
  if (after !== before) writeFileSync(file, after);
}

function makeExecutable(file: string): void {
  const text = readFileSync(file, "utf8");
  if (!text.startsWith("#!")) writeFileSync(file, SHEBANG + text);
  chmodSync(file, 0o755);
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

try {
  build(resolve(process.argv[2] ?? join(import.meta.dirname, "..")));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
