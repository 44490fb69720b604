/**
 * Carries out a Dockerfile without an engine: each stage is a folder, COPY copies, RUN of the build stage runs in a
 * shell there as an unprivileged user. RUN of the last stage is left out: it makes folders at absolute paths as root.
 */

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { parseCopy, type Stage } from "./dockerfile.ts";

const PROJECT = resolve(import.meta.dirname, "../..");

/** `nobody` where the tests run as root; else whoever runs them, who is unprivileged already. */
export const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** Copies what .dockerignore lets in of the files that git knows or would add: the build context. */
export function copyContext(target: string): void {
  const allowed = readFileSync(join(PROJECT, ".dockerignore"), "utf8").split("\n").filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  const listed = spawnSync("git", ["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: PROJECT, encoding: "utf8" });
  if (listed.status !== 0) throw new Error(`git ls-files: ${listed.stderr}`);
  const files = new Set(listed.stdout.split("\0").filter((name) => allowed.some((path) => name === path || name.startsWith(`${path}/`))));
  for (const name of files) {
    // Listed and deleted in the work tree: not part of what would be sent to an engine either.
    if (!existsSync(join(PROJECT, name))) continue;
    mkdirSync(dirname(join(target, name)), { recursive: true });
    copyFileSync(join(PROJECT, name), join(target, name));
  }
}

/** A folder that the unprivileged user owns. */
export function ownedFolder(path: string): string {
  mkdirSync(path, { recursive: true });
  if (UNPRIVILEGED.uid !== undefined) chownSync(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  return path;
}

/** The Node that runs the tests, where any user may run it: a checkout below a private home would hide it. */
export function copyNode(folder: string): void {
  mkdirSync(folder, { recursive: true });
  copyFileSync(process.execPath, join(folder, "node"));
  chmodSync(join(folder, "node"), 0o755);
}

/** What a process of the image needs of this machine: a path, a home, and the way to the package registry. */
export function hostEnvironment(nodeFolder: string, home: string): Record<string, string> {
  const systemPath = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => basename(dirname(folder)) !== "node_modules" && folder !== "node_modules/.bin");
  const kept = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
  const registry = spawnSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).stdout.trim();
  return {
    ...Object.fromEntries(kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? ""]]))),
    PATH: [nodeFolder, ...systemPath].join(delimiter),
    HOME: home,
    npm_config_registry: registry,
    npm_config_update_notifier: "false",
  };
}

/** Where COPY takes from: folders. */
export interface Sources {
  readonly context: string;
  readonly stages: ReadonlyMap<string, string>;
}

/**
 * Carries out COPY and RUN of a stage in `folder`, which is its WORKDIR. Without `env` RUN is left out and the copies
 * belong to whoever runs the tests. Rejects with the output of a step that fails.
 */
export async function buildStage(stage: Stage, folder: string, sources: Sources, env: Record<string, string> | undefined): Promise<void> {
  for (const { name, text } of stage.instructions) {
    if (name === "COPY") copy(text, folder, sources);
    if (env === undefined) continue;
    if (name === "COPY") give(folder);
    if (name === "RUN") await run(text, folder, env);
  }
}

function copy(text: string, folder: string, sources: Sources): void {
  const { from, sources: paths, target } = parseCopy(text);
  const origin = from === undefined ? sources.context : sources.stages.get(from);
  if (origin === undefined) throw new Error(`no stage ${from ?? ""}`);
  for (const path of paths) {
    const source = join(origin, path.replace(/^\/app\//, ""));
    const isFolder = target.endsWith("/");
    cpSync(source, isFolder ? join(folder, target, basename(path)) : join(folder, target), { recursive: true, verbatimSymlinks: true });
  }
}

/** Root's copies belong to root; the stage's user has to write among them. */
function give(folder: string): void {
  const { uid, gid } = UNPRIVILEGED;
  if (uid === undefined) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.name === "node_modules" || entry.isSymbolicLink()) continue;
    chownSync(path, uid, gid);
    if (entry.isDirectory()) give(path);
  }
}

async function run(command: string, cwd: string, env: Record<string, string>): Promise<void> {
  const { code, output } = await finished(spawn("/bin/sh", ["-c", command], { cwd, env, ...UNPRIVILEGED, stdio: ["ignore", "pipe", "pipe"] }));
  if (code !== 0) throw new Error(`RUN ${command} ended with ${code}:\n${output.slice(-4_000)}`);
}

/** Waits for a child and gathers what it wrote on both streams. */
export async function finished(child: ChildProcess): Promise<{ readonly code: number | null; readonly output: string }> {
  let output = "";
  child.stdout?.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr?.on("data", (data: Buffer) => (output += data.toString()));
  const code = await new Promise<number | null>((done, fail) => child.once("error", fail).once("close", done));
  return { code, output };
}

/** Takes every write permission away below a folder, or gives the owner's back. */
export function setWritable(folder: string, isWritable: boolean): void {
  spawnSync("chmod", ["-R", isWritable ? "u+w" : "a-w", folder]);
}
